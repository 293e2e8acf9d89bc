// One session: what is painted goes to the server at the end of each stroke, everything shown comes from it.

import { draw, show } from "./frames.js";
import "./keys.js";
import "./load.js";
import "./objects.js";
import { refresh } from "./run.js";
import { $, act, ask, tell } from "./server.js";
import { remember, start } from "./start.js";
import { annotated, mine, objectEdits, onChange, page, redo, redoable, take, takeObjects, undo, undoable } from "./store.js";
import "./thumbs.js";
import "./timeline.js";
import "./tools.js";
import { fit } from "./zoom.js";

async function open() {
  if (location.search) history.replaceState(null, "", `/${location.hash}`); // the token, which is in a cookie now
  const [, found, at] = location.hash.match(/^#([0-9a-f]{32})(?:\/(\d+))?$/) || [];
  if (!found) return start();
  page.id = found;
  const state = (page.state = await ask("GET", mine(""))), [height, width] = state.size;
  remember(found);
  await take(state.versions, page.edits);
  takeObjects(state.objects, objectEdits());
  state.annotated = annotated();
  document.title = `${state.name} – eosvos`;
  $("name").textContent = state.name;
  $("work").hidden = false;
  [$("mask").width, $("mask").height] = [width, height];
  document.documentElement.style.setProperty("--shape", width / height);
  $("size").max = Math.max(20, Math.round(height / 6));
  $("size").value = Math.max(2, Math.round(height / 40));
  $("steps").value = (state.run && state.run.steps) || state.steps;
  const first = state.objects.find((one) => !one.deleted);
  if (first) page.object = first.id;
  await show(Number(at) || state.annotated[0] || 0);
  fit();
  page.follow = !!state.job;
  if (state.failure) tell(state.failure);
  refresh();
}

onChange(() => {
  $("undo").disabled = !undoable();
  $("redo").disabled = !redoable();
});
$("message").lastElementChild.onclick = () => tell("");
$("home").onclick = () => { history.replaceState(null, "", "/"); location.reload(); return false; };
$("alpha").oninput = () => draw();
$("undo").onclick = undo;
$("redo").onclick = redo;
window.onhashchange = () => { if (!location.hash.startsWith(`#${page.id}`) || !page.id) location.reload(); };
act(open)();
