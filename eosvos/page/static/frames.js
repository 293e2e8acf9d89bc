// The frame shown and its mask, composed of the result and what is painted.

import { COLOURS } from "./mask.js";
import { $, call, tell } from "./server.js";
import { blank, deleted, ids, mine, notify, objectOf, objects, onPainted, page, painted } from "./store.js";

const KEPT = 96; // frames and masks of results that are kept for scrubbing
const cache = new Map(), looks = [];
let wanted = 0, whole = false;

function remembered(key, load) {
  if (!cache.has(key)) {
    const found = load();
    found.catch(() => cache.delete(key));
    cache.set(key, found);
    if (cache.size > KEPT) cache.delete(cache.keys().next().value);
  }
  return cache.get(key);
}
const picture = async (path) => createImageBitmap(await (await call("GET", mine(path))).blob());
export const frameAt = (k) => remembered(`f${k}${whole}`, () => picture(`/frames/${k}${whole ? "?whole=1" : ""}`));
/** A mask of a run; while it goes on, later passes through the video may change it. */
export function resultAt(run, k) {
  const { state } = page, going = state.run && state.run.number === run && state.run.state !== "finished";
  return remembered(`m${run}/${k}/${going ? (state.job || {}).done : ""}`, () => ids(`/runs/${run}/masks/${k}`));
}
export const isDone = (k) => !!page.state.run && page.state.run.done.some(([a, b]) => a <= k && k <= b);

/** The result on a frame, without what is painted; empty where there is none. */
export async function resultShown(k) {
  const { run, previous } = page.state;
  if (page.before && previous) return resultAt(previous, k).catch(blank);
  return isDone(k) ? resultAt(run.number, k) : blank();
}
/** The mask to show on a frame, and what it is. */
export async function maskAt(k) {
  const { previous } = page.state, before = page.before && previous, what = before ? null : painted.get(k);
  let mask = await resultShown(k);
  const name = before ? "Before" : what ? "Painted" : isDone(k) ? (previous ? "After" : "Result") : "";
  if (what) mask = what.over(mask);
  const gone = deleted().filter((id) => mask.has(id));
  if (gone.length) mask = mask.only(mask.objects().filter((id) => !gone.includes(id)));
  return [mask, name];
}

/** Calls `work` after another frame is shown. */
export const onShown = (work) => looks.push(work);

export async function show(k) {
  const asked = ++wanted, { state } = page;
  page.index = Math.max(0, Math.min(state.frames - 1, k));
  const { index, before } = page, view = { k: index, before, painted: painted.get(index) };
  const [image, [mask, what]] = await Promise.all([frameAt(index), maskAt(index)]).catch((error) => {
    if (!error.away) tell(error.message);
    return [null, [null, ""]];
  });
  if (asked !== wanted || !image) return; // another frame has been asked for since
  Object.assign(page, { image, mask, seen: view });
  const canvas = $("frame");
  if (canvas.width !== image.width || canvas.height !== image.height) [canvas.width, canvas.height] = [image.width, image.height];
  canvas.getContext("2d").drawImage(image, 0, 0);
  for (const id of mask.objects()) objectOf(id); // what has no entry is not drawn
  draw();
  $("shown").textContent = what;
  $("frame").setAttribute("aria-label", `Frame ${index + 1} of ${state.frames}`);
  history.replaceState(null, "", `#${page.id}/${index}`);
  for (const work of looks) work();
  notify();
}
onPainted(show);
/** Whatever is still on its way is not shown. */
export const stay = () => wanted++;
/** Shows frames in all their pixels, which is asked for when they are seen close. */
export function showWhole() {
  if (whole || page.state.size[1] <= page.image.width) return;
  whole = true;
  show(page.index);
}

export const colourOf = (id) => objectOf(id).colour || COLOURS[(id - 1) % COLOURS.length];
const rgb = (text) => [1, 3, 5].map((at) => parseInt(text.slice(at, at + 2), 16));
export function draw(mask = page.mask) {
  const there = objects.filter((one) => !one.hidden && !one.deleted);
  mask.draw($("mask"), $("alpha").value / 100, there.map((one) => [one.id, rgb(colourOf(one.id))]));
}
