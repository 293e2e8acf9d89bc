// The first page: opening a video, the sample, or an earlier session.

import { $, act, ask, tell } from "./server.js";

// The sessions that were opened in this browser: a server for several people lists no others.
const KNOWN = "eosvos-sessions", MOST = 200;
const known = () => {
  try {
    return JSON.parse(localStorage.getItem(KNOWN)) || [];
  } catch {
    return []; // the browser keeps nothing
  }
};
/** Keeps a session for the list of the first page. */
export function remember(id) {
  try {
    localStorage.setItem(KNOWN, JSON.stringify([id, ...known().filter((one) => one !== id)].slice(0, MOST)));
  } catch { /* its address leads to it */ }
}

export async function start() {
  $("start").hidden = false;
  const { sessions, limit, damaged } = await ask("GET", `sessions?ids=${known().join(",")}`);
  if (damaged.length) tell(`Left out, as session.json is damaged in the folder of each: ${damaged.join(", ")}`);
  $("file").dataset.limit = limit;
  $("earlier").hidden = !sessions.length;
  $("sessions").replaceChildren(...sessions.map(row));
}
function row(one) {
  const item = document.createElement("li"), link = document.createElement("a"), note = document.createElement("span");
  const remove = document.createElement("button");
  link.href = `/#${one.id}`;
  link.onclick = () => enter(one.id);
  link.textContent = one.name;
  note.textContent = `${one.frames === null ? "" : `${one.frames} frames, `}${new Date(one.made * 1000).toLocaleString()}${one.busy ? ", at work" : ""}`;
  remove.textContent = "Delete";
  remove.ariaLabel = `Delete ${one.name}`;
  remove.onclick = act(async () => {
    if (!confirm(`Delete ${one.name} with its painting and masks?`)) return;
    await ask("DELETE", `sessions/${one.id}`);
    await start();
  });
  item.append(link, note, remove);
  return item;
}
function enter(found) {
  location.hash = `#${found}`;
  location.reload();
}
function wait(text, share) {
  $("uploading").hidden = !text;
  $("uploading").lastElementChild.textContent = text;
  if (share === undefined) $("uploaded").removeAttribute("value");
  else $("uploaded").value = share;
}
/** A file, as it is, with its progress. */
const send = (path, file, moved) =>
  new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("PUT", `/api/${path}`);
    request.upload.onprogress = (event) => moved(event.loaded);
    request.onerror = () => reject(new Error("The upload was cut off; is the server still running?"));
    request.onload = () => (request.status < 300 ? resolve() : reject(new Error(JSON.parse(request.responseText).error)));
    request.send(file);
  });
const upload = act(async (files) => {
  files = [...files];
  if (!files.length) return;
  const total = files.reduce((sum, file) => sum + file.size, 0), limit = Number($("file").dataset.limit);
  const much = (bytes) => (bytes < 2 ** 20 ? `${Math.ceil(bytes / 1024)} KiB` : `${Math.ceil(bytes / 2 ** 20)} MiB`);
  try {
    if (total > limit) throw new Error(`${much(total)} are more than the ${much(limit)} allowed; start the server with a larger upload=`);
    wait("Sending …", 0);
    const { id: made } = await ask("POST", "sessions");
    let sent = 0;
    for (const file of files) {
      await send(`sessions/${made}/file?name=${encodeURIComponent(file.name)}`, file, (n) => wait(`Sending ${file.name}`, (sent + n) / total));
      sent += file.size;
    }
    wait("Looking at it …");
    await ask("POST", `sessions/${made}/open`, { name: files.length > 1 ? `${files[0].name} and ${files.length - 1} more` : files[0].name });
    enter(made);
  } finally {
    wait("");
    $("file").value = "";
  }
});

$("file").onchange = () => upload($("file").files);
$("drop").ondragover = (event) => { event.preventDefault(); $("drop").classList.add("over"); };
$("drop").ondragleave = () => $("drop").classList.remove("over");
$("drop").ondrop = (event) => { event.preventDefault(); $("drop").classList.remove("over"); upload(event.dataTransfer.files); };
$("sample").onclick = act(async () => {
  $("sample").disabled = true;
  wait("Rendering the sample: some seconds, the first time …");
  try {
    enter((await ask("POST", "sample")).id);
  } finally {
    wait("");
    $("sample").disabled = false;
  }
});
