// Painting: what a tool does with the strokes of a pointer on the frame.

import { colourOf, draw, maskAt, resultShown, show, stay } from "./frames.js";
import { Painting } from "./mask.js";
import { nameOf } from "./objects.js";
import { $, act, call, tell } from "./server.js";
import { blank, change, listed, locked, mine, notify, onChange, page, painted } from "./store.js";
import { grab, panning } from "./zoom.js";

const HINTS = ["box", "plus", "minus"]; // tools whose strokes the server makes a mask of
const CLICK = 4; // screen pixels that a click may move
let corners = null; // of the polygon that is being drawn: {k, points}
let thinking = 0; // masks that are on their way from the server

const size = () => Number($("size").value);
function place(event) {
  const box = $("mask").getBoundingClientRect();
  return [((event.clientX - box.left) / box.width) * page.state.size[1], ((event.clientY - box.top) / box.height) * page.state.size[0]];
}
const thickness = () => (page.state.size[1] / $("mask").getBoundingClientRect().width) * 1.5; // of a thin line on the screen

/** The ring has the brush's size at every zoom. */
function ring(event) {
  const stage = $("stage").getBoundingClientRect(), box = $("mask").getBoundingClientRect();
  const across = ["brush", "eraser"].includes(page.tool) ? (2 * size() * box.width) / page.state.size[1] : 6;
  Object.assign($("ring").style, { width: `${across}px`, height: `${across}px`, left: `${event.clientX - stage.left}px`, top: `${event.clientY - stage.top}px` });
  $("ring").hidden = event.type === "pointerleave" || panning();
}

export function press(event) {
  if (grab(event)) {
    cancel();
    return;
  }
  const right = event.button === 2 && page.tool === "plus";
  if ((event.button && !right) || !page.mask) return;
  page.follow = page.playing = false;
  if (page.seen.before) return tell("This is the result before; go back to After to paint.");
  stay(); // whatever is still on its way must not replace what is painted
  [page.index, page.before] = [page.seen.k, false];
  const tool = right ? "minus" : page.tool;
  page.stroke = { k: page.seen.k, tool, before: page.mask, mask: page.mask.copy(), points: [place(event)], from: [event.clientX, event.clientY], far: 0 };
  $("mask").setPointerCapture(event.pointerId);
  extend(event);
}
function extend(event) {
  const { stroke } = page;
  if (!stroke) {
    if (corners) trace([...corners.points, place(event)]);
    return;
  }
  stroke.far = Math.max(stroke.far, Math.hypot(event.clientX - stroke.from[0], event.clientY - stroke.from[1]));
  for (const one of (event.getCoalescedEvents && event.getCoalescedEvents()) || []) segment(place(one));
  segment(place(event));
  if (!stroke.asked) stroke.asked = requestAnimationFrame(() => { stroke.asked = 0; if (page.stroke === stroke) sketch(stroke); });
}
function segment([x, y]) {
  const { stroke } = page, [x0, y0] = stroke.points.at(-1);
  stroke.points.push([x, y]);
  if (stroke.tool === "brush") stroke.mask.line(x0, y0, x, y, size(), page.object, locked());
  if (stroke.tool === "eraser") stroke.mask.line(x0, y0, x, y, size(), 0, locked());
}
function sketch(stroke) {
  const { tool, points } = stroke, [[x0, y0], [x1, y1]] = [points[0], points.at(-1)];
  if (tool === "box") trace([[x0, y0], [x1, y0], [x1, y1], [x0, y1], [x0, y0]]);
  else if (["outline", "plus", "minus"].includes(tool)) trace(points, tool === "minus" ? "#ff3b30" : undefined);
  else if (tool !== "polygon") draw(stroke.mask);
}
/** A line over the mask that is shown. */
function trace(points, colour = colourOf(page.object)) {
  draw();
  const context = $("mask").getContext("2d");
  for (const [style, wide] of [["#000", 2.2], [colour, 1]]) {
    context.strokeStyle = style;
    context.lineWidth = wide * Math.max(0.3, thickness());
    context.beginPath();
    points.forEach(([x, y], n) => context[n ? "lineTo" : "moveTo"](x, y));
    context.stroke();
  }
}
export function release() {
  const { stroke } = page;
  if (!stroke) return;
  page.stroke = null;
  const { k, tool, points, mask } = stroke;
  if (tool === "polygon") return corner(k, points[0], points.at(-1));
  if (HINTS.includes(tool)) return hint(stroke);
  if (tool === "outline") mask.fill(points, page.object, locked());
  finish(k, stroke.before, mask, tool === "eraser" ? null : page.object);
}
/** Ends what is being drawn, without an effect. */
export function cancel() {
  page.stroke = corners = null;
  if (page.mask) draw();
}

/** Makes what was drawn the frame's painting: it tells of the objects that it told of before and of those drawn. */
async function finish(k, before, mask, object) {
  const old = painted.get(k), was = before.areas(), now = mask.areas();
  const told = new Set(old ? old.shown : []), absent = new Set((old && old.absent) || []);
  if (old && old.tellsAll) for (const id of page.state.run ? page.state.run.objects : []) absent.add(id);
  if (object !== null) told.add(object);
  else for (const [id, area] of was) if ((now.get(id) || 0) < area) told.add(id);
  for (const id of told) if (now.has(id)) absent.delete(id);
  const erased = object === null ? [...was.keys()].filter((id) => !now.has(id)) : [];
  change(k, new Painting(mask.only(told), absent));
  show(k);
  if (!erased.length) return;
  const result = await resultShown(k); // where the result shows an object, taking all of it away says that it is not here
  const gone = erased.filter((id) => result.has(id)), what = painted.get(k);
  if (!gone.length || (what && !what.absent)) return;
  change(k, new Painting(what ? what.mask : blank(), [...(what ? what.absent : []), ...gone]));
  show(k);
  tell(`All of ${gone.map(nameOf).join(" and ")} was taken away: told not to be on this frame. Undo brings it back.`);
}

function corner(k, [x, y]) {
  if (!corners || corners.k !== k) corners = { k, points: [] };
  const [x0, y0] = corners.points[0] || [-1e9, 0];
  if (corners.points.length > 2 && Math.hypot(x - x0, y - y0) < 5 * thickness()) return close();
  corners.points.push([x, y]);
  trace([...corners.points, [x + 0.1, y]]);
}
/** Ends the polygon, which is filled. */
export function close() {
  if (!corners || corners.points.length < 3) return;
  const { k, points } = corners, before = page.mask, mask = before.copy();
  corners = null;
  mask.fill(points, page.object, locked());
  finish(k, before, mask, page.object);
}

// ---- a box, points and scribbles, of which the server makes a mask

/** Adds a hint to those of the object's mask, and has the server make the mask of all of them. */
const hint = act(async (stroke) => {
  const { k, tool, points, far } = stroke, object = page.object, old = painted.get(k);
  const round = (list) => list.map(([x, y]) => [Math.round(10 * x) / 10, Math.round(10 * y) / 10]);
  let hints = old && old.hints && old.hints.object === object ? old.hints : null;
  if (tool === "box") {
    const [[x0, y0], [x1, y1]] = [points[0], points.at(-1)];
    if (far < CLICK) return tell("A box is drawn from one corner of the object to the other one.");
    hints = { object, box: [Math.min(x0, x1), Math.min(y0, y1), Math.max(x0, x1), Math.max(y0, y1)], inside: [], outside: [], start: null };
  } else {
    hints = hints || { object, box: null, inside: [], outside: [], start: stroke.before.has(object) ? stroke.before.only([object]) : null };
    const way = round(far < CLICK ? points.slice(0, 1) : points), side = tool === "plus" ? "inside" : "outside";
    hints = { ...hints, [side]: [...hints[side], way] };
  }
  if (!hints.box && !hints.start && !hints.inside.length) return tell("Begin with a box around the object, or with a point on it.");
  const { box, inside, outside, start } = hints;
  const words = JSON.stringify({ box, inside, outside, radius: Math.max(2, page.state.size[0] / 160) });
  $("stage").classList.add("thinking");
  thinking++;
  try {
    const body = new Blob(start ? [words, "\n", start.ids] : [words]);
    const answer = await call("POST", mine(`/frames/${k}/mask`), body, true);
    const found = new Uint8Array(await answer.arrayBuffer());
    const now = painted.get(k), kept = locked(), mask = (await maskAt(k))[0].copy();
    if (now !== old) return; // painted otherwise meanwhile
    mask.replace(object, 0);
    found.forEach((one, at) => { if (one) mask.set(at, object, kept); });
    const told = new Set([...(old ? old.shown : []), object]), absent = new Set((old && old.absent) || []);
    if (mask.has(object)) absent.delete(object);
    const what = new Painting(mask.only(told), absent);
    what.hints = hints;
    change(k, what);
    if (page.index === k) await show(k);
    if (!mask.has(object)) tell("Nothing of the object was found there; try a box around it, or the brush.");
  } finally {
    if (!--thinking) $("stage").classList.remove("thinking");
  }
});

/** Tells that the chosen object is not on the frame, or takes that back. */
export function absent() {
  const { index: k, object } = page, old = painted.get(k); // the mask that is shown may still be another frame's
  if (old && old.tellsAll) return;
  const gone = new Set(old ? old.absent : []), mask = old ? old.mask.copy() : blank();
  if (gone.has(object)) gone.delete(object);
  else gone.add(object);
  mask.replace(object, 0);
  change(k, new Painting(mask, gone));
  show(k);
}

export function pick(tool) {
  cancel();
  page.tool = tool;
  notify();
}
export function resize(sign) {
  $("size").value = size() + sign * Math.max(1, Math.round(size() / 6));
  notify();
}

onChange(() => {
  const { state, seen, index, object } = page, what = painted.get(index);
  for (const button of document.querySelectorAll("[data-tool]")) button.ariaChecked = String(button.dataset.tool === page.tool);
  $("radius").textContent = `${2 * size()} px`;
  $("sizes").hidden = !["brush", "eraser"].includes(page.tool);
  $("clear").disabled = !painted.has(seen.k);
  $("absent").disabled = page.before || (!state.run && !painted.size) || !!(what && what.tellsAll);
  $("absent").ariaPressed = String(!!what && what.tells(object) && !what.shown.includes(object));
  $("absent").textContent = `${nameOf(object)} is not here`;
  $("hint").textContent = advice(what);
});
function advice(what) {
  if (page.before) return "This is the result before. Go back to After to paint.";
  if (page.tool === "polygon") return "Click the corners; a click on the first one, or Enter, closes the polygon. Esc drops it.";
  if (what) return told(what);
  if (page.tool === "box") return "Drag a box around the object; points then correct the mask.";
  if (page.tool === "plus") return "Click on the object, or scribble; with the right button on what is not part of it.";
  if (page.tool === "minus") return "Click or scribble on what is not part of the object.";
  if (!painted.size) return "Mark an object on any frame: by a box, points, an outline, a polygon or the brush.";
  return page.state.run ? "Paint where the result is wrong; the rest of it is kept." : "";
}
/** What the painting of a frame tells. */
function told(what) {
  if (what.tellsAll) return "This frame is painted: no object is on it.";
  const there = what.shown.length ? `where ${what.shown.map(nameOf).join(" and ")} ${what.shown.length > 1 ? "are" : "is"}` : "";
  const gone = what.absent && what.absent.size ? `that ${[...what.absent].map(nameOf).join(" and ")} ${what.absent.size > 1 ? "are" : "is"} not here` : "";
  return `This frame is painted: it tells ${[there, gone].filter(Boolean).join(", and ")}${listed().every((one) => what.tells(one.id)) ? "" : ", and nothing of other objects"}.`;
}

Object.assign($("mask"), { onpointerdown: press, onpointerup: release, onpointercancel: release, onpointerleave: ring });
$("mask").onpointermove = (event) => { ring(event); extend(event); };
$("mask").ondblclick = close;
$("mask").oncontextmenu = (event) => event.preventDefault();
for (const button of document.querySelectorAll("[data-tool]")) {
  button.role = "radio";
  button.onclick = () => pick(button.dataset.tool);
}
$("size").oninput = notify;
$("absent").onclick = act(async () => absent());
$("clear").onclick = () => { change(page.seen.k, null); show(page.seen.k); };
