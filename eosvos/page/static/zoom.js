// Zoom and pan of the stage: by wheel, by two fingers, and by dragging with the space bar or the middle button.

import { onShown, showWhole } from "./frames.js";
import { $ } from "./server.js";
import { page } from "./store.js";

const MOST = 64; // screen pixels of a pixel of the stage, at most
const PIXELS = 3; // from this many screen pixels on a pixel of the frame is drawn as a square
const view = { scale: 1, x: 0, y: 0 };
const fingers = new Map(); // pointers that touch: id -> [x, y]
let space = false, dragged = null, pinched = null, moved = false;

/** Whether the pointer moves the frame, so that it must not paint. */
export const panning = () => space || !!dragged || fingers.size > 1;
export const scale = () => view.scale;

function place() {
  const stage = $("stage").getBoundingClientRect();
  view.scale = Math.max(1, Math.min(MOST, view.scale));
  view.x = Math.min(0, Math.max(stage.width * (1 - view.scale), view.x));
  view.y = Math.min(0, Math.max(stage.height * (1 - view.scale), view.y));
  $("world").style.transform = `translate(${view.x}px, ${view.y}px) scale(${view.scale})`;
  $("fit").disabled = view.scale === 1;
  $("zoomed").textContent = `${Math.round(100 * view.scale)} %`;
  if (!page.image) return;
  const shown = (view.scale * stage.width) / page.image.width;
  $("frame").style.imageRendering = shown >= PIXELS ? "pixelated" : "auto";
  if (view.scale > 1 && shown > 1.2) showWhole();
}
onShown(place);

/** Zooms by a factor; the point (x, y) of the window stays where it is. */
export function zoom(factor, x, y) {
  const stage = $("stage").getBoundingClientRect();
  const [px, py] = [(x ?? stage.left + stage.width / 2) - stage.left, (y ?? stage.top + stage.height / 2) - stage.top];
  const before = view.scale;
  view.scale = Math.max(1, Math.min(MOST, view.scale * factor));
  const grown = view.scale / before;
  view.x = px - (px - view.x) * grown;
  view.y = py - (py - view.y) * grown;
  place();
}
export function fit() {
  Object.assign(view, { scale: 1, x: 0, y: 0 });
  place();
}
function pan(dx, dy) {
  view.x += dx;
  view.y += dy;
  place();
}

const middle = () => {
  const [[ax, ay], [bx, by]] = [...fingers.values()];
  return { x: (ax + bx) / 2, y: (ay + by) / 2, far: Math.hypot(ax - bx, ay - by) };
};
/** Takes a press that is to move the frame; returns whether it does. */
export function grab(event) {
  if (event.pointerType === "touch") fingers.set(event.pointerId, [event.clientX, event.clientY]);
  if (fingers.size > 1) {
    pinched = middle();
    return true;
  }
  if (!space && event.button !== 1) return false;
  event.preventDefault();
  [dragged, moved] = [event, true];
  $("stage").setPointerCapture(event.pointerId);
  return true;
}
function move(event) {
  if (fingers.has(event.pointerId)) {
    fingers.set(event.pointerId, [event.clientX, event.clientY]);
    if (fingers.size === 2 && pinched) {
      const now = middle();
      zoom(now.far / pinched.far, pinched.x, pinched.y);
      pan(now.x - pinched.x, now.y - pinched.y);
      pinched = now;
    }
  }
  if (!dragged || event.pointerId !== dragged.pointerId) return;
  pan(event.clientX - dragged.clientX, event.clientY - dragged.clientY);
  dragged = event;
}
function drop(event) {
  fingers.delete(event.pointerId);
  if (fingers.size < 2) pinched = null;
  if (dragged && event.pointerId === dragged.pointerId) dragged = null;
}
/** The space bar is held, or let go; returns whether the frame was moved meanwhile. */
export function hold(down) {
  if (down && !space) moved = false;
  space = down;
  $("stage").classList.toggle("pan", down);
  return moved;
}

$("stage").addEventListener("wheel", (event) => {
  event.preventDefault();
  if (event.shiftKey) pan(-event.deltaY - event.deltaX, 0);
  else zoom(Math.exp(-Math.max(-60, Math.min(60, event.deltaY)) / (event.ctrlKey ? 50 : 250)), event.clientX, event.clientY);
}, { passive: false });
window.addEventListener("pointermove", move);
window.addEventListener("pointerup", drop);
window.addEventListener("pointercancel", drop);
window.addEventListener("resize", () => page.image && place());
window.addEventListener("blur", () => hold(false));
$("fit").onclick = fit;
$("closer").onclick = () => zoom(1.5);
$("farther").onclick = () => zoom(1 / 1.5);
