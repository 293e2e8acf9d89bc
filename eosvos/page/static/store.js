// The state of the page, and what is painted: every stroke goes to the server, again and again until it has it.

import { Mask, Painting } from "./mask.js";
import { $, ask, call, tell } from "./server.js";

const UNDONE = 2 ** 27; // bytes of masks kept for undo

export const page = {
  id: "",
  state: null, // what the server said last
  index: 0, // the frame asked for
  mask: null, // shown
  image: null,
  seen: {}, // what is shown: frame k, before?, painted; index and before may be ahead of it, on their way
  before: false, // whether the result before is shown
  tool: "brush",
  object: 1,
  follow: false, // the frames that are being segmented
  playing: false,
  changed: false, // painted since the newest run began
  stroke: null, // what is being drawn
  edits: 0, // what the server said before the last of them is old
  saving: false,
};
export const painted = new Map(); // frame -> Painting
export const pending = new Map(); // not on the server yet: frame -> Painting, or null
export const versions = new Map(); // of what is painted, as the server has it
const undone = [], redone = [], listeners = [], shown = [];

export const mine = (path) => `sessions/${page.id}${path}`;
/** Calls `work` after each change of the state; the page is then drawn anew. */
export const onChange = (work) => listeners.push(work);
export const notify = () => listeners.forEach((work) => work());
/** Calls `work` with a frame that a change of what is painted has to show. */
export const onPainted = (work) => shown.push(work);
export const onSaved = (work) => saved.push(work);
const saved = [];

export const blank = () => new Mask(page.state.size[1], page.state.size[0]);

/** The bytes of an id mask; of a painted one with the objects that are told to be absent. */
export async function ids(path) {
  return (await answered(path))[0];
}
async function answered(path) {
  const answer = await call("GET", mine(path)), bytes = await answer.arrayBuffer(), said = answer.headers.get("Absent");
  const mask = new Mask(page.state.size[1], page.state.size[0], new Uint8Array(bytes));
  return [mask, said === null ? null : said.split(" ").filter(Boolean).map(Number)];
}

export async function save() {
  if (page.saving) return;
  page.saving = true;
  while (pending.size) {
    const [k, what] = pending.entries().next().value;
    $("saved").textContent = "saving …";
    try {
      const absent = what && what.absent ? `?absent=${[...what.absent].join(",")}` : "";
      const answer = what ? await call("PUT", mine(`/annotations/${k}${absent}`), what.mask.ids, true) : await call("DELETE", mine(`/annotations/${k}`));
      page.edits++;
      known(k, (await answer.json()).version);
      if (pending.get(k) === what) pending.delete(k);
    } catch (error) {
      $("saved").textContent = "not saved yet";
      if (!error.away) tell(`${error.message} Your painting is kept here and sent again.`);
      if (error.status === 404) pending.delete(k); // the session was deleted
      await new Promise((resolve) => setTimeout(resolve, 2000));
      continue;
    }
    if (!pending.size) {
      $("saved").textContent = "saved";
      if (!$("message").hidden && $("message").textContent.includes("sent again")) tell("");
      for (const work of saved) work();
    }
  }
  page.saving = false;
}
window.addEventListener("beforeunload", (event) => pending.size && event.preventDefault());

/** Takes over what was painted in another tab, unless something is painted here meanwhile. */
export async function take(found, at) {
  const there = new Map(Object.entries(found).map(([k, version]) => [Number(k), version]));
  for (const k of new Set([...versions.keys(), ...there.keys()])) {
    if (pending.has(k) || versions.get(k) === there.get(k)) continue;
    const its = there.has(k) ? await answered(`/annotations/${k}`).catch(lost) : null;
    if (at !== page.edits) return;
    if (its) painted.set(k, new Painting(...its));
    else painted.delete(k);
    known(k, there.get(k));
  }
}
function lost(error) {
  if (error.status === 404) return null; // taken back meanwhile
  throw error;
}
function known(k, version) {
  if (version) versions.set(k, version);
  else versions.delete(k);
}
export const annotated = () => [...painted.keys()].sort((a, b) => a - b);

function keep(k, what) {
  page.edits++;
  if (what) painted.set(k, what);
  else painted.delete(k);
  page.state.annotated = annotated();
  page.changed = true;
  pending.delete(k);
  pending.set(k, what);
  save();
  notify();
}
/** A change of what is painted on a frame, which can be undone; what tells nothing is none. */
export function change(k, what) {
  what = what && !what.empty ? what : null;
  undone.push([k, painted.get(k) || null, what]);
  while (undone.length > 1 && undone.length * 2 * page.state.size[0] * page.state.size[1] > UNDONE) undone.shift();
  redone.length = 0;
  keep(k, what);
}
function swap(from, to, side) {
  const step = from.pop();
  if (!step) return;
  to.push(step);
  keep(step[0], step[side]);
  for (const work of shown) work(step[0]);
}
export const undo = () => swap(undone, redone, 1);
export const redo = () => swap(redone, undone, 2);
export const undoable = () => undone.length > 0;
export const redoable = () => redone.length > 0;

// ---- the objects: their names, colours and flags in their order

export const objects = []; // {id, name, colour, hidden, locked, deleted}
let stored = 0; // how often they were stored from here: what the server said before is old

/** The object of an id; one that has no entry yet gets one. */
export function objectOf(id) {
  let found = objects.find((one) => one.id === id);
  if (!found) objects.push((found = { id, name: "", colour: "", hidden: false, locked: false, deleted: false }));
  return found;
}
export const listed = () => objects.filter((one) => !one.deleted);
export const locked = () => new Set(objects.filter((one) => one.locked && one.id !== page.object).map((one) => one.id));
export const deleted = () => objects.filter((one) => one.deleted).map((one) => one.id);

export const objectEdits = () => stored;
/** Takes over the objects that the server had when `objectEdits` was `at`. */
export function takeObjects(found, at) {
  if (at === stored) objects.splice(0, objects.length, ...found);
}
export async function storeObjects() {
  stored++;
  try {
    await ask("PUT", mine("/objects"), { objects });
  } finally {
    stored++;
  }
}
