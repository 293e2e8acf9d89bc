// Fine-tuning and segmenting: what the server is doing, its result before and after, and the export.

import { colourOf, isDone, show } from "./frames.js";
import { nameOf } from "./objects.js";
import { $, act, ask, tell, whenBack } from "./server.js";
import { annotated, mine, notify, objectEdits, onChange, onSaved, page, painted, pending, take, takeObjects } from "./store.js";

let timer = 0, fetched = 0, starting = false, typed = false;
const clock = (seconds) => (seconds < 59.5 ? `${Math.ceil(seconds)} s` : `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`);
const left = (seconds) => (seconds === null ? "" : `, ${clock(seconds)} left`);

export async function refresh() {
  clearTimeout(timer);
  const asked = ++fetched, at = page.edits, before = objectEdits();
  let found;
  try {
    found = await ask("GET", mine(""));
    await take(found.versions, at);
    if (asked !== fetched) return;
  } catch (error) {
    if (asked === fetched && !error.away) tell(error.message);
    return; // away: called again when the server is back
  }
  const old = page.state, had = isDone(page.index), news = painted.get(page.index) !== page.seen.painted;
  page.state = found;
  found.annotated = annotated(); // what is on its way counts
  takeObjects(found.objects, before);
  if (old.failure !== found.failure && found.failure) tell(found.failure);
  if (old.job && old.job.kind === "export" && !found.job && found.exported && !found.failure) download();
  if (!found.previous) page.before = false;
  const latest = found.run && found.run.latest, working = found.job && found.job.kind === "run";
  if (page.follow && !page.playing && working && latest !== null && latest !== page.index) show(latest);
  else if (!page.playing && !page.stroke && (news || had !== isDone(page.index) || ["number", "state"].some((what) => (old.run || {})[what] !== (found.run || {})[what]))) show(page.index);
  if (!found.job) page.follow = false;
  notify();
  if (found.job || !found.counted) timer = setTimeout(refresh, 400);
}
whenBack(() => page.state && refresh());
onSaved(refresh);

async function go(path, body) {
  if (starting) return; // a double click
  starting = true;
  notify();
  try {
    while (pending.size) await new Promise((resolve) => setTimeout(resolve, 50));
    page.before = page.changed = false;
    page.follow = true;
    await ask("POST", mine(path), body);
    await refresh();
  } finally {
    starting = false;
    notify();
  }
}
/** T, the number of steps: as it was typed, else the last run's. */
export const steps = () => Number(($("steps").value ||= page.state.steps));

/** What is being done, in words; sets the bar. */
function progress() {
  const { job, run, frames } = page.state;
  $("progress").hidden = !job;
  if (job) {
    const { tuning } = job;
    const [done, total] = tuning ? [tuning.object - 1 + tuning.step / (tuning.steps || 1), tuning.objects] : [job.done, job.total];
    if (total && !(tuning && !tuning.steps)) $("progress").value = done / total;
    else $("progress").removeAttribute("value");
    if (job.cancelled) return "Cancelling …";
    if (tuning) {
      const which = tuning.objects > 1 ? `object ${tuning.object} of ${tuning.objects}, ` : "";
      return `Fine-tuning: ${which}step ${tuning.step}${tuning.steps ? ` of ${tuning.steps}` : ""}${left(tuning.left)}`;
    }
    if (!job.total) return "Preparing, or waiting for another session …";
    const what = job.kind === "run" ? "frames" : job.step === "zip" ? "files packed" : `frames, ${job.step}`;
    const rate = job.kind === "run" && job.rate ? `, ${job.rate.toPrecision(2)} frames a second` : "";
    return `${job.done} of ${job.total} ${what}${rate}${left(job.left)}`;
  }
  if (!run) return painted.size ? "Learns what is marked, then finds it on all frames." : "Mark an object first.";
  const news = page.changed || run.frames.join() !== page.state.annotated.join();
  const count = run.done.reduce((sum, [a, b]) => sum + b - a + 1, 0);
  if (run.state === "stopped") return `Stopped after ${count} of ${frames} frames.`;
  if (run.state === "failed") return `Failed: ${run.message}`;
  const spent = run.seconds ? ` in ${clock(run.seconds)}` : ""; // not known of masks that came in from a folder
  return `${frames} frames${spent}, T=${run.steps}.${news ? " Refine learns from the new painting, too." : ""}`;
}

const download = () => $("download").click();
onChange(() => {
  const { job, run, previous, finished, exported } = page.state, cut = !!run && !job && ["stopped", "failed"].includes(run.state);
  $("told").textContent = progress();
  $("go").textContent = run ? "Refine" : "Start";
  $("go").hidden = !!job;
  $("steps").disabled = !!job;
  $("go").disabled = starting || !painted.size;
  $("more").disabled = starting;
  $("more").hidden = !cut;
  $("stop").hidden = !job;
  $("stop").disabled = !!job && job.cancelled;
  $("before").disabled = !previous;
  $("after").disabled = !run;
  $("after").ariaChecked = String(!page.before);
  $("before").ariaChecked = String(page.before);
  $("export").disabled = !!job || !finished || !!pending.size;
  $("export").textContent = finished && finished !== run.number ? "Make zip of the result before" : "Make zip";
  $("download").hidden = !exported || !!job || !!pending.size;
  $("download").href = `/api/${mine(`/runs/${finished}/export`)}`;
  if (!typed && run) $("steps").value = run.steps;
  curve();
});

function curve() {
  const { run } = page.state, losses = run ? run.losses : [], canvas = $("loss"), context = canvas.getContext("2d");
  const told = $("curve").querySelector("span");
  told.textContent = "";
  canvas.width = 0; // nothing of a run before
  if (!losses.length) return;
  const lines = [];
  for (const [done, total, loss] of losses) {
    if (done === 1 || !lines.length) lines.push([]);
    lines.at(-1).push([done, total, loss]);
  }
  const scale = window.devicePixelRatio || 1, width = canvas.clientWidth || 290, height = canvas.clientHeight || 60;
  [canvas.width, canvas.height] = [width * scale, height * scale];
  context.scale(scale, scale);
  const top = Math.max(...losses.map((l) => l[2])), longest = Math.max(...losses.map((l) => l[1] || l[0]));
  context.font = "11px sans-serif";
  context.fillStyle = getComputedStyle(canvas).color;
  context.fillText(top.toPrecision(2), 2, 11);
  context.fillText("0", 2, height - 3);
  context.lineWidth = 1.5;
  lines.forEach((line, k) => {
    context.strokeStyle = context.fillStyle = colourOf(run.objects[k % run.objects.length] || 1);
    context.beginPath();
    line.forEach(([done, , loss], n) => {
      const x = 28 + ((width - 34) * (done - 1)) / Math.max(1, longest - 1), y = 5 + (height - 10) * (1 - loss / top);
      context[n ? "lineTo" : "moveTo"](x, y);
      if (line.length === 1) context.fillRect(x - 1, y - 1, 3, 3);
    });
    context.stroke();
  });
  const [done, total, loss] = losses.at(-1), which = run.objects.length > 1 ? `${nameOf(run.objects[(lines.length - 1) % run.objects.length])}, ` : "";
  told.textContent = `, ${which}step ${done}${total ? ` of ${total}` : ""}: ${loss.toPrecision(3)}`;
}

$("steps").oninput = () => { typed = true; };
$("go").onclick = act(() => go("/run", { steps: steps() }));
$("more").onclick = act(() => go("/continue"));
$("stop").onclick = act(async () => { await ask("POST", mine("/cancel")); await refresh(); });
$("after").onclick = () => { page.before = false; show(page.index); };
$("before").onclick = () => { page.before = true; show(page.index); };
$("export").onclick = act(async () => {
  const outputs = [...document.querySelectorAll("#exporting input:checked")].map((box) => box.value);
  await ask("POST", mine(`/runs/${page.state.finished}/export`), { outputs });
  await refresh();
});
window.addEventListener("focus", () => page.state && refresh()); // another tab may have changed something
document.addEventListener("visibilitychange", () => page.state && refresh());
