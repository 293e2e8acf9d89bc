// Requests to the server, and what it or the page has to say.

export const $ = (id) => document.getElementById(id);

let away = false, retry = 0;
const returned = []; // called when the server answers again

/** Calls `work` when the server is back after it did not answer. */
export const whenBack = (work) => returned.push(work);

export async function call(method, path, body, raw) {
  const options = { method, body: raw ? body : body && JSON.stringify(body) };
  let answer;
  try {
    answer = await fetch(`/api/${path}`, options);
  } catch {
    gone();
    throw Object.assign(new Error("The server does not answer; is it still running?"), { away: true });
  }
  back();
  if (!answer.ok) {
    const told = await answer.json().catch(() => ({}));
    throw Object.assign(new Error(told.error || answer.statusText), { status: answer.status });
  }
  return answer;
}
export const ask = async (method, path, body) => (await call(method, path, body)).json();

function gone() {
  away = true;
  $("offline").hidden = false;
  clearTimeout(retry);
  retry = setTimeout(() => fetch("/api/sessions").then(back, gone), 1500);
}
function back() {
  if (!away) return;
  away = false;
  clearTimeout(retry);
  $("offline").hidden = true;
  for (const work of returned) work();
}

export function tell(text) {
  $("message").hidden = !text;
  $("message").firstElementChild.textContent = text || "";
}
/** Runs something a user asked for; what goes wrong is told. */
export const act = (work) => async (...given) => {
  try {
    tell("");
    await work(...given);
  } catch (error) {
    if (!error.away) tell(error.message); // that is told until the server is back
  }
};
