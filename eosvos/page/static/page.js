"use strict";
// One session: what is painted goes to the server at the end of each stroke, everything shown comes from it.

const $ = (id) => document.getElementById(id);
const KEPT = 96; // frames and masks of results that are kept for scrubbing
const UNDONE = 2 ** 27; // bytes of masks kept for undo
let id = "", state = null, index = 0, mask = null, image = null;
let seen = {}; // what is shown: frame k, before?, painted; index and before may be ahead of it, on their way
let tool = "brush", object = 1, most = 1, before = false, follow = false, playing = false, wanted = 0, timer = 0, fetched = 0;
let changed = false; // painted since the newest run began
let starting = false; // a run is asked for, once
const painted = new Map(), pending = new Map(), cache = new Map();
const versions = new Map(); // of what is painted, as the server has it
let edits = 0; // what the server said before the last of them is old
let undone = [], redone = [];

// ---- the server

async function call(method, path, body, raw) {
  const options = { method, body: raw ? body : body && JSON.stringify(body) };
  let answer;
  try {
    answer = await fetch(`/api/${path}`, options);
  } catch {
    throw Object.assign(new Error("The server does not answer; is it still running?"), { away: true });
  }
  if (!answer.ok) {
    const told = await answer.json().catch(() => ({}));
    throw Object.assign(new Error(told.error || answer.statusText), { status: answer.status });
  }
  return answer;
}
const ask = async (method, path, body) => (await call(method, path, body)).json();
const mine = (path) => `sessions/${id}${path}`;

function tell(text) {
  $("message").hidden = !text;
  $("message").firstElementChild.textContent = text || "";
}
/** Runs something a user asked for; what goes wrong is told. */
const act = (work) => async (...given) => {
  try {
    tell("");
    await work(...given);
  } catch (error) {
    tell(error.message);
  }
};

function remembered(key, load) {
  if (!cache.has(key)) {
    const found = load();
    found.catch(() => cache.delete(key));
    cache.set(key, found);
    if (cache.size > KEPT) cache.delete(cache.keys().next().value);
  }
  return cache.get(key);
}
async function ids(path) {
  const bytes = await (await call("GET", mine(path))).arrayBuffer();
  return new Mask(state.size[1], state.size[0], new Uint8Array(bytes));
}
const frameAt = (k) => remembered(`f${k}`, async () => createImageBitmap(await (await call("GET", mine(`/frames/${k}`))).blob()));
const resultAt = (run, k) => remembered(`m${run}/${k}`, () => ids(`/runs/${run}/masks/${k}`));
const isDone = (k) => !!state.run && state.run.done.some(([a, b]) => a <= k && k <= b);

/** The mask to show on a frame, and what it is. */
async function maskAt(k) {
  const empty = new Mask(state.size[1], state.size[0]);
  if (before && state.previous) return [await resultAt(state.previous, k).catch(() => empty), "Before"];
  if (painted.has(k)) return [painted.get(k), "Painted"];
  if (isDone(k)) return [await resultAt(state.run.number, k), state.previous ? "After" : "Result"];
  return [empty, ""];
}

// ---- saving: one after the other, again and again until the server has it

let saving = false;
async function save() {
  if (saving) return;
  saving = true;
  while (pending.size) {
    const [k, what] = pending.entries().next().value;
    $("saved").textContent = "saving …";
    try {
      const answer = what ? await call("PUT", mine(`/annotations/${k}`), what.ids, true) : await call("DELETE", mine(`/annotations/${k}`));
      edits++;
      known(k, (await answer.json()).version);
      if (pending.get(k) === what) pending.delete(k);
    } catch (error) {
      $("saved").textContent = "not saved";
      tell(`${error.message} Your painting is kept here and sent again.`);
      if (error.status === 404) pending.delete(k); // the session was deleted
      await new Promise((resolve) => setTimeout(resolve, 2000));
      continue;
    }
    if (!pending.size) {
      $("saved").textContent = "saved";
      if (!$("message").hidden && $("message").textContent.includes("sent again")) tell("");
      refresh();
    }
  }
  saving = false;
}
window.addEventListener("beforeunload", (event) => pending.size && event.preventDefault());

/** Takes over what was painted in another tab, unless something is painted here meanwhile. */
async function take(found, at) {
  const there = new Map(Object.entries(found).map(([k, version]) => [Number(k), version]));
  for (const k of new Set([...versions.keys(), ...there.keys()])) {
    if (pending.has(k) || versions.get(k) === there.get(k)) continue;
    const its = there.has(k) ? await ids(`/annotations/${k}`).catch(gone) : null;
    if (at !== edits) return;
    if (its) painted.set(k, its);
    else painted.delete(k);
    known(k, there.get(k));
    most = Math.max(most, ...(its ? its.objects() : []));
  }
}
function gone(error) {
  if (error.status === 404) return null; // taken back meanwhile
  throw error;
}
function known(k, version) {
  if (version) versions.set(k, version);
  else versions.delete(k);
}
function keep(k, what) {
  edits++;
  if (what) painted.set(k, what);
  else painted.delete(k);
  state.annotated = [...painted.keys()].sort((a, b) => a - b);
  changed = true;
  pending.delete(k);
  pending.set(k, what);
  save();
  controls();
}
/** A change of what is painted on a frame, which can be undone. */
function change(k, what) {
  undone.push([k, painted.get(k) || null, what]);
  while (undone.length > 1 && undone.length * 2 * state.size[0] * state.size[1] > UNDONE) undone.shift();
  redone = [];
  keep(k, what);
}
function swap(from, to, side) {
  const step = from.pop();
  if (!step) return;
  to.push(step);
  keep(step[0], step[side]);
  show(step[0]);
}
const undo = () => swap(undone, redone, 1);
const redo = () => swap(redone, undone, 2);

// ---- showing

async function show(k) {
  const asked = ++wanted;
  index = Math.max(0, Math.min(state.frames - 1, k));
  const view = { k: index, before, painted: painted.get(index) };
  const [picture, [found, what]] = await Promise.all([frameAt(index), maskAt(index)]).catch((error) => {
    tell(error.message);
    return [null, [null, ""]];
  });
  if (asked !== wanted || !picture) return; // another frame has been asked for since
  [image, mask, seen] = [picture, found, view];
  const canvas = $("frame");
  if (canvas.width !== image.width || canvas.height !== image.height) [canvas.width, canvas.height] = [image.width, image.height];
  canvas.getContext("2d").drawImage(image, 0, 0);
  draw();
  $("shown").textContent = what;
  $("scrub").value = index;
  located();
  history.replaceState(null, "", `#${id}/${index}`);
  most = Math.max(most, ...mask.objects());
  controls();
}
/** Where the frame shown is; a large file is still being counted when its first frame is there. */
function located() {
  $("scrub").max = state.frames - 1;
  $("place").textContent = `${index + 1} of ${state.counted ? state.frames : "… (counting)"}`;
}
function draw() {
  mask.draw($("mask"), $("alpha").value / 100);
}
function marks() {
  const canvas = $("marks"), width = (canvas.width = canvas.clientWidth || 600), context = canvas.getContext("2d");
  const step = width / state.frames, line = (k, colour, top) => {
    context.fillStyle = colour;
    context.fillRect(k * step, top, Math.max(3, step - 1), 14 - top);
  };
  const colours = getComputedStyle(document.documentElement);
  for (const [a, b] of state.run ? state.run.done : []) {
    context.fillStyle = colours.getPropertyValue("--done");
    context.fillRect(a * step, 8, (b - a + 1) * step, 6);
  }
  for (const k of state.annotated) line(k, colours.getPropertyValue("--painted"), 0);
  if (next() !== null) line(next(), colours.getPropertyValue("--next"), 0);
}
const next = () => (state.run && state.run.state === "finished" && !state.annotated.includes(state.run.suggested) ? state.run.suggested : null);
const clock = (seconds) => (seconds < 59.5 ? `${Math.ceil(seconds)} s` : `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`);

function progress() {
  const { job, run } = state;
  $("progress").hidden = !job;
  if (job) {
    const tuning = job.kind === "run" && !job.done && run && run.losses.length;
    const [done, total] = tuning ? run.losses.at(-1) : [job.done, job.total];
    if (total) $("progress").value = done / total;
    else $("progress").removeAttribute("value");
    if (job.cancelled) return "Cancelling …";
    if (tuning) return `Fine-tuning: step ${done}${total ? ` of ${total}` : ""}`;
    if (!job.total) return "Preparing, or waiting for another session …";
    const what = job.kind === "run" ? "frames" : job.step === "zip" ? "files packed" : `frames, ${job.step}`;
    return `${job.done} of ${job.total} ${what}${job.left === null ? "" : `, ${clock(job.left)} left`}`;
  }
  if (!run) return painted.size ? "" : "Paint an object first.";
  const news = changed || run.frames.join() !== state.annotated.join();
  const count = run.done.reduce((sum, [a, b]) => sum + b - a + 1, 0);
  if (run.state === "stopped") return `Stopped after ${count} of ${state.frames} frames.`;
  if (run.state === "failed") return `Failed: ${run.message}`;
  return `${state.frames} frames in ${clock(run.seconds)}.${news ? " Refine learns from the new painting, too." : ""}`;
}

function controls() {
  const { job, run } = state, cut = !!run && !job && ["stopped", "failed"].includes(run.state);
  $("told").textContent = progress();
  $("go").textContent = run ? "Refine" : "Start";
  $("go").hidden = $("steps").parentElement.hidden = !!job;
  $("go").disabled = starting || !painted.size;
  $("more").disabled = starting;
  $("more").hidden = !cut;
  $("stop").hidden = !job;
  $("stop").disabled = !!job && job.cancelled;
  $("suggested").disabled = next() === null;
  $("suggested").textContent = next() === null ? "No frame suggested yet" : `Jump to the suggested frame, ${next() + 1}`;
  $("before").disabled = !state.previous;
  $("after").disabled = !run;
  $("after").ariaChecked = !before;
  $("before").ariaChecked = before;
  $("export").disabled = !!job || !state.finished;
  $("export").textContent = state.finished && state.finished !== run.number ? "Make zip of the result before" : "Make zip";
  $("download").hidden = !state.exported || !!job;
  $("download").href = `/api/${mine(`/runs/${state.finished}/export`)}`;
  $("undo").disabled = !undone.length;
  $("redo").disabled = !redone.length;
  $("clear").disabled = !painted.has(seen.k);
  $("absent").disabled = before || (!run && !painted.size);
  $("absent").textContent = `${object} not here`;
  $("hint").textContent = hint();
  for (const button of document.querySelectorAll("[data-tool]")) button.ariaChecked = button.dataset.tool === tool;
  $("radius").textContent = `${2 * $("size").value} px`;
  most = Math.max(most, object, ...(run ? run.objects : []));
  const key = `${most}/${object}`;
  if ($("objects").dataset.key !== key) {
    $("objects").dataset.key = key;
    $("objects").replaceChildren(...Array.from({ length: most }, (_, k) => choice(k + 1)), adding());
  }
  marks();
  curve();
}
function hint() {
  if (before) return "This is the result before. Go back to After to paint.";
  if (painted.has(index)) return "This frame is painted: it tells of all objects, also of those that are not on it.";
  if (!painted.size) return "Draw on any frame: with the brush, or with the outline around the object.";
  return isDone(index) ? "Paint where the result is wrong; the rest of it is kept." : "";
}
function choice(number) {
  const button = document.createElement("button"), colour = document.createElement("i");
  colour.style.background = css(bright(number));
  button.append(colour, number);
  button.role = "radio";
  button.ariaChecked = number === object;
  button.title = `Object ${number}${number < 10 ? ` (${number})` : ""}`;
  button.onclick = () => choose(number);
  return button;
}
function adding() {
  const button = document.createElement("button");
  button.textContent = "+ object";
  button.disabled = most >= 254;
  button.onclick = () => choose(most + 1);
  return button;
}
function choose(number) {
  object = number;
  if (tool === "eraser") tool = "brush";
  controls();
}
function curve() {
  const losses = state.run ? state.run.losses : [], canvas = $("loss"), context = canvas.getContext("2d");
  $("curve").hidden = !losses.length;
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
  context.fillStyle = context.strokeStyle = "#a4abb6";
  context.fillText(top.toPrecision(2), 2, 11);
  context.fillText("0", 2, height - 3);
  context.lineWidth = 1.5;
  lines.forEach((line, k) => {
    const number = state.run.objects[k % state.run.objects.length] || 1;
    context.strokeStyle = context.fillStyle = css(bright(number));
    context.beginPath();
    line.forEach(([done, , loss], n) => {
      const x = 28 + ((width - 34) * (done - 1)) / Math.max(1, longest - 1), y = 5 + (height - 10) * (1 - loss / top);
      context[n ? "lineTo" : "moveTo"](x, y);
      if (line.length === 1) context.fillRect(x - 1, y - 1, 3, 3);
    });
    context.stroke();
  });
  const [done, total, loss] = losses.at(-1);
  $("curve").querySelector("span").textContent = `step ${done}${total ? ` of ${total}` : ""}: ${loss.toPrecision(3)}`;
}

// ---- what the server is doing

async function refresh() {
  clearTimeout(timer);
  const asked = ++fetched, at = edits;
  let found;
  try {
    found = await ask("GET", mine(""));
    await take(found.versions, at);
    if (asked !== fetched) return;
  } catch (error) {
    if (asked === fetched) tell(error.message);
    if (error.away) timer = setTimeout(refresh, 2000);
    return;
  }
  const old = state, had = isDone(index), news = painted.get(index) !== seen.painted;
  state = found;
  state.annotated = [...painted.keys()].sort((a, b) => a - b); // what is on its way counts
  if (old.failure !== state.failure && state.failure) tell(state.failure);
  if (old.job && old.job.kind === "export" && !state.job && state.exported && !state.failure) $("download").click();
  if (!state.previous) before = false;
  const latest = state.run && state.run.latest;
  const working = state.job && state.job.kind === "run";
  if (follow && !playing && working && latest !== null && latest !== index) show(latest);
  else if (!playing && !stroke && (news || had !== isDone(index) || (old.run || {}).number !== (state.run || {}).number)) show(index);
  if (!state.job) follow = false;
  located();
  controls();
  if (state.job || !state.counted) timer = setTimeout(refresh, 400);
}
async function go(path, body) {
  if (starting) return; // a double click
  starting = true;
  controls();
  try {
    while (pending.size) await new Promise((resolve) => setTimeout(resolve, 50));
    before = false;
    changed = false;
    follow = true;
    await ask("POST", mine(path), body);
    await refresh();
  } finally {
    starting = false;
    controls();
  }
}

// ---- playing

async function play() {
  playing = !playing;
  $("play").textContent = playing ? "Pause" : "Play";
  let due = performance.now();
  while (playing) {
    const k = (index + 1) % state.frames;
    for (let ahead = 1; ahead < 6; ahead++) frameAt((k + ahead) % state.frames).catch(() => 0);
    await show(k);
    due = Math.max(due + 1000 / state.rate, performance.now());
    await new Promise((resolve) => setTimeout(resolve, due - performance.now()));
  }
}
function pause() {
  if (playing) play();
  follow = false;
}
const go_to = (k) => { pause(); show(k); };

// ---- painting

let stroke = null; // {mask, points}
function place(event) {
  const box = $("mask").getBoundingClientRect();
  return [((event.clientX - box.left) / box.width) * state.size[1], ((event.clientY - box.top) / box.height) * state.size[0]];
}
function ring(event) {
  const box = $("mask").getBoundingClientRect(), size = tool === "outline" ? 6 : (2 * $("size").value * box.width) / state.size[1];
  Object.assign($("ring").style, { width: `${size}px`, height: `${size}px`, left: `${event.clientX - box.left}px`, top: `${event.clientY - box.top}px` });
  $("ring").hidden = event.type === "pointerleave";
}
function press(event) {
  if (event.button || !mask) return;
  pause();
  if (seen.before) return tell("This is the result before; go back to After to paint.");
  wanted++; // whatever is still on its way must not replace what is painted
  [index, before] = [seen.k, false];
  stroke = { k: index, mask: mask.copy(), points: [place(event)] };
  mask = stroke.mask;
  $("mask").setPointerCapture(event.pointerId);
  extend(event);
}
function extend(event) {
  if (!stroke) return;
  for (const one of (event.getCoalescedEvents && event.getCoalescedEvents()) || []) segment(place(one));
  segment(place(event));
  if (!stroke.asked) stroke.asked = requestAnimationFrame(() => { if (stroke) { stroke.asked = 0; draw(); trace(); } });
}
function segment([x, y]) {
  const [x0, y0] = stroke.points.at(-1);
  stroke.points.push([x, y]);
  if (tool !== "outline") stroke.mask.line(x0, y0, x, y, Number($("size").value), tool === "eraser" ? 0 : object);
}
function trace() {
  if (tool !== "outline") return;
  const context = $("mask").getContext("2d");
  context.strokeStyle = css(bright(object));
  context.lineWidth = Math.max(1, state.size[1] / 400);
  context.beginPath();
  stroke.points.forEach(([x, y], n) => context[n ? "lineTo" : "moveTo"](x, y));
  context.stroke();
}
function release() {
  if (!stroke) return;
  const { k, mask: done, points } = stroke;
  if (tool === "outline") done.fill(points, object);
  stroke = null;
  change(k, done);
  show(k);
}
async function absent() {
  const [k, number] = [index, object];
  const [found] = await maskAt(k); // the mask that is shown may still be another frame's
  const without = (painted.get(k) || found).copy();
  without.replace(number, 0);
  change(k, without);
  show(index);
}

// ---- pages

async function open() {
  const [, found, at] = location.hash.match(/^#([0-9a-f]{32})(?:\/(\d+))?$/) || [];
  if (!found) return start();
  id = found;
  state = await ask("GET", mine(""));
  await take(state.versions, edits);
  document.title = `${state.name} – eosvos`;
  $("name").textContent = state.name;
  $("work").hidden = false;
  [$("mask").width, $("mask").height] = [state.size[1], state.size[0]];
  $("stage").style.aspectRatio = `${state.size[1]} / ${state.size[0]}`;
  $("stage").style.maxWidth = `calc((100vh - 180px) * ${state.size[1] / state.size[0]})`;
  $("size").max = Math.max(20, Math.round(state.size[0] / 6));
  $("size").value = Math.max(2, Math.round(state.size[0] / 40));
  $("steps").value = (state.run && state.run.steps) || state.steps;
  await show(Number(at) || state.annotated[0] || 0);
  follow = !!state.job;
  if (state.failure) tell(state.failure);
  refresh();
}
async function start() {
  $("start").hidden = false;
  const { sessions, limit, damaged } = await ask("GET", "sessions");
  if (damaged.length) tell(`Left out, as session.json is damaged in the folder of each: ${damaged.join(", ")}`);
  $("file").dataset.limit = limit;
  $("earlier").hidden = !sessions.length;
  $("sessions").replaceChildren(
    ...sessions.map((one) => {
      const row = document.createElement("li"), link = document.createElement("a"), note = document.createElement("span");
      const remove = document.createElement("button");
      link.href = `/#${one.id}`;
      link.onclick = () => enter(one.id);
      link.textContent = one.name;
      note.textContent = `${one.frames === null ? "" : `${one.frames} frames, `}${new Date(one.made * 1000).toLocaleString()}${one.busy ? ", at work" : ""}`;
      remove.textContent = "Delete";
      remove.onclick = act(async () => {
        if (!confirm(`Delete ${one.name} with its painting and masks?`)) return;
        await ask("DELETE", `sessions/${one.id}`);
        await start();
      });
      row.append(link, note, remove);
      return row;
    }),
  );
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

$("message").lastElementChild.onclick = () => tell("");
$("home").onclick = () => { history.replaceState(null, "", "/"); location.reload(); return false; };
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
$("scrub").oninput = () => go_to(Number($("scrub").value));
$("back").onclick = () => go_to(index - 1);
$("forth").onclick = () => go_to(index + 1);
$("play").onclick = () => { follow = false; play(); };
$("alpha").oninput = () => draw();
$("size").oninput = () => controls();
$("undo").onclick = undo;
$("redo").onclick = redo;
$("clear").onclick = () => { change(seen.k, null); show(seen.k); };
$("absent").onclick = act(absent);
$("go").onclick = act(() => go("/run", { steps: Number(($("steps").value ||= state.steps)) }));
$("more").onclick = act(() => go("/continue"));
$("stop").onclick = act(async () => { await ask("POST", mine("/cancel")); await refresh(); });
$("suggested").onclick = () => go_to(next());
$("after").onclick = () => { before = false; show(index); };
$("before").onclick = () => { before = true; show(index); };
$("export").onclick = act(async () => {
  const outputs = [...document.querySelectorAll("#exporting input:checked")].map((box) => box.value);
  await ask("POST", mine(`/runs/${state.finished}/export`), { outputs });
  await refresh();
});
for (const button of document.querySelectorAll("[data-tool]")) {
  button.role = "radio";
  button.onclick = () => { tool = button.dataset.tool; controls(); };
}
Object.assign($("mask"), { onpointerdown: press, onpointerup: release, onpointercancel: release, onpointerleave: ring });
$("mask").onpointermove = (event) => { ring(event); extend(event); };
window.onresize = () => state && controls();
window.onfocus = document.onvisibilitychange = () => state && refresh(); // another tab may have changed something
window.onhashchange = () => { if (!location.hash.startsWith(`#${id}`) || !id) location.reload(); };

const keys = {
  " ": () => $("play").click(), ArrowLeft: () => go_to(index - 1), ArrowRight: () => go_to(index + 1),
  "[": () => resize(-1), "]": () => resize(1), n: () => $("absent").click(),
  b: () => pick("brush"), o: () => pick("outline"), e: () => pick("eraser"),
  v: () => $(before ? "after" : "before").click(),
};
const pick = (name) => { tool = name; controls(); };
const resize = (sign) => { $("size").value = Number($("size").value) + sign * Math.max(1, Math.round($("size").value / 6)); controls(); };
document.onkeydown = (event) => {
  if (!state || event.target.matches("input[type=number]")) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (event.ctrlKey || event.metaKey) {
    if (key === "z" || key === "y") {
      event.preventDefault();
      if (key === "y" || event.shiftKey) redo();
      else undo();
    }
    return;
  }
  if (event.altKey || (event.target.matches("input") && key.startsWith("Arrow"))) return;
  if (key === " " && event.target.matches("button")) event.target.blur();
  const work = keys[key] || (key >= "1" && key <= "9" && Number(key) <= most + 1 && (() => choose(Number(key))));
  if (work) {
    event.preventDefault();
    work();
  }
};
act(open)();
