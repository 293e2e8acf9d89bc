// The list of objects: name, colour, hidden, locked, deleted, their order, and their area over time.

import { colourOf, draw, show } from "./frames.js";
import { COLOURS } from "./mask.js";
import { following } from "./curves.js";
import { $, act } from "./server.js";
import { change, listed, notify, objectOf, objects, onChange, page, painted, storeObjects } from "./store.js";

const MOST = 254;
let areas = {}; // by object and frame
let drawn = "";

const stored = act(storeObjects);
/** Changes an object; the list holds other ones than the rows after the server was asked. */
function alter({ id }, values) {
  Object.assign(objectOf(id), values);
  stored();
  if (page.mask) draw();
  notify();
}
export function choose(id) {
  page.object = id;
  Object.assign(objectOf(id), { hidden: false, deleted: false });
  if (page.tool === "eraser") page.tool = "brush";
  notify();
}
/** The object at a place of the list, from 0 on; the next new one behind its end. */
export function chooseAt(place) {
  const found = listed()[place];
  if (found) choose(found.id);
  else if (place === listed().length) add();
}
export function add() {
  const id = Math.max(0, ...objects.map((one) => one.id)) + 1;
  if (id > MOST) return;
  objectOf(id);
  choose(id);
  stored();
}
export const nameOf = (id) => objectOf(id).name || `object ${id}`;

function remove({ id }) {
  objectOf(id).deleted = true;
  if (page.object === id) page.object = (listed()[0] || { id }).id;
  stored();
  notify();
  show(page.index);
}
function step({ id }, by) {
  const row = listed(), one = objectOf(id), other = row[row.indexOf(one) + by];
  if (!other) return;
  const [a, b] = [objects.indexOf(one), objects.indexOf(other)];
  [objects[a], objects[b]] = [objects[b], objects[a]];
  stored();
  notify();
}

function button(text, label, work, pressed) {
  const made = document.createElement("button");
  made.textContent = text;
  made.ariaLabel = made.title = label;
  if (pressed !== undefined) made.ariaPressed = String(pressed);
  made.onclick = (event) => { event.stopPropagation(); work(); };
  return made;
}
function row(one, place) {
  const item = document.createElement("li"), pick = document.createElement("button"), name = document.createElement("input");
  const colour = document.createElement("input"), chart = document.createElement("canvas"), called = nameOf(one.id);
  item.dataset.object = one.id;
  item.classList.toggle("chosen", one.id === page.object);
  pick.className = "pick";
  pick.ariaPressed = String(one.id === page.object);
  pick.ariaLabel = `Choose ${called}`;
  pick.title = place < 9 ? `Choose ${called} (${place + 1})` : `Choose ${called}`;
  pick.textContent = one.id;
  pick.onclick = () => choose(one.id);
  Object.assign(colour, { type: "color", value: colourOf(one.id), ariaLabel: `Colour of ${called}`, title: `Colour of ${called}` });
  colour.onchange = () => alter(one, { colour: colour.value });
  Object.assign(name, { type: "text", value: one.name, placeholder: `object ${one.id}`, maxLength: 80, ariaLabel: `Name of object ${one.id}` });
  name.onchange = () => alter(one, { name: name.value.trim() });
  name.onkeydown = (event) => { if (event.key === "Enter") name.blur(); };
  chart.role = "img";
  chart.ariaLabel = `Area of ${called} over time`;
  chart.title = chart.ariaLabel;
  item.append(
    pick, colour, name,
    button(one.hidden ? "Show" : "Hide", `${one.hidden ? "Show" : "Hide"} ${called}`, () => alter(one, { hidden: !one.hidden }), one.hidden),
    button(one.locked ? "Unlock" : "Lock", `${one.locked ? "Unlock" : "Lock"} ${called}: other objects are not painted over it`, () => alter(one, { locked: !one.locked }), one.locked),
    button("↑", `Move ${called} up`, () => step(one, -1)),
    button("↓", `Move ${called} down`, () => step(one, 1)),
    button("×", `Delete ${called}; Undelete brings it back`, () => remove(one)),
    chart,
  );
  return item;
}
function chart(one, canvas) {
  const values = areas[one.id] || [], scale = window.devicePixelRatio || 1;
  const width = canvas.clientWidth || 200, height = canvas.clientHeight || 18, context = canvas.getContext("2d");
  [canvas.width, canvas.height] = [width * scale, height * scale];
  context.scale(scale, scale);
  const top = Math.max(1, ...values.filter((value) => value !== null));
  context.fillStyle = colourOf(one.id);
  values.forEach((value, k) => {
    if (value === null) return;
    const tall = Math.max(value ? 1 : 0, (height - 1) * (value / top)), wide = width / values.length;
    context.fillRect(k * wide, height - tall, Math.max(1, wide), tall);
  });
  context.fillStyle = getComputedStyle(canvas).color;
  if (values.length) context.fillRect((page.index / values.length) * width, 0, 1.5, height);
}

const measure = following("curves", (found) => {
  areas = found ? found.areas : {};
  charts();
});
const charts = () => {
  for (const item of $("objects").children) chart(objectOf(Number(item.dataset.object)), item.querySelector("canvas"));
};

onChange(() => {
  for (const id of page.state.run ? page.state.run.objects : []) objectOf(id);
  for (const what of painted.values()) for (const id of what.shown) objectOf(id);
  if (!listed().length) objectOf(page.object).deleted = false;
  const there = listed(), key = JSON.stringify([there, page.object]);
  if (drawn !== key) {
    drawn = key;
    const place = document.activeElement && $("objects").contains(document.activeElement) ? [document.activeElement.closest("li").dataset.object, [...document.activeElement.closest("li").children].indexOf(document.activeElement)] : null;
    $("objects").replaceChildren(...there.map(row));
    if (place) $("objects").querySelector(`[data-object="${place[0]}"]`)?.children[place[1]]?.focus();
  }
  charts();
  measure();
  $("add").disabled = objects.length >= MOST;
  $("undelete").hidden = !objects.some((one) => one.deleted);
});
$("add").onclick = add;
$("undelete").onclick = () => {
  for (const one of objects) one.deleted = false;
  stored();
  notify();
  show(page.index);
};
