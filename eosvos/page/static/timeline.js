// The timeline: which frames are annotated, segmented, suggested and uncertain; and playing.

import { following } from "./curves.js";
import { frameAt, onShown, show } from "./frames.js";
import { $ } from "./server.js";
import { notify, onChange, page } from "./store.js";

const UNSURE = 0.25; // from this uncertainty on, 1 - J as the network expects it, a frame is marked
let curve = [];

export const suggestion = () => {
  const { run, annotated } = page.state;
  return run && run.state === "finished" && run.suggested !== null && !annotated.includes(run.suggested) ? run.suggested : null;
};

/** Goes to a frame; playing and following end. */
export function goTo(k) {
  pause();
  show(k);
}
export function pause() {
  page.playing = page.follow = false;
  notify();
}
/** The nearest annotated frame before or behind the one that is shown. */
export function toAnnotated(by) {
  const way = by > 0 ? page.state.annotated : [...page.state.annotated].reverse();
  const found = way.find((k) => (k - page.index) * by > 0);
  if (found !== undefined) goTo(found);
}
export async function play() {
  page.follow = false;
  page.playing = !page.playing;
  notify();
  let time = performance.now();
  while (page.playing) {
    const k = (page.index + 1) % page.state.frames;
    for (let ahead = 1; ahead < 6; ahead++) frameAt((k + ahead) % page.state.frames).catch(() => 0);
    await show(k);
    time = Math.max(time + 1000 / (page.state.rate * Number($("speed").value)), performance.now());
    await new Promise((resolve) => setTimeout(resolve, time - performance.now()));
  }
}

const measure = following("uncertainty", (found) => {
  curve = found ? found.frames : [];
  marks();
});

const HEIGHT = 34, CURVE = 20; // of the canvas, and of the curve in it, in pixels
function marks() {
  const { state } = page, canvas = $("marks"), scale = window.devicePixelRatio || 1, width = canvas.clientWidth || 600;
  [canvas.width, canvas.height] = [width * scale, HEIGHT * scale];
  const context = canvas.getContext("2d"), step = width / state.frames, style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name);
  context.scale(scale, scale);
  const block = (a, b, top, tall, name) => {
    context.fillStyle = colour(name);
    context.fillRect(a * step, top, Math.max(2, (b - a + 1) * step - (step > 4 ? 1 : 0)), tall);
  };
  for (const [a, b] of state.run ? state.run.done : []) block(a, b, HEIGHT - 5, 5, "--done");
  const known = new Set(state.annotated), unsure = [...curve.keys()].filter((k) => !known.has(k) && curve[k] !== null && curve[k] >= UNSURE);
  for (const k of unsure) block(k, k, 0, CURVE, "--unsure");
  for (const k of state.annotated) block(k, k, CURVE, HEIGHT - CURVE - 5, "--painted");
  const next = suggestion();
  if (next !== null) block(next, next, CURVE, HEIGHT - CURVE - 5, "--next");
  context.strokeStyle = colour("--ink");
  context.lineWidth = 1.2;
  context.beginPath();
  let drawn = false;
  curve.forEach((value, k) => {
    if (value === null) drawn = false;
    else context[drawn ? "lineTo" : "moveTo"]((k + 0.5) * step, 1 + (CURVE - 2) * (1 - value));
    drawn = value !== null;
  });
  context.stroke();
  context.fillStyle = colour("--ink");
  context.fillRect((page.index + 0.5) * step - 0.75, 0, 1.5, HEIGHT);
  canvas.setAttribute("aria-label", `${state.annotated.length} annotated frames, ${unsure.length} uncertain ones, ${next === null ? "none suggested" : `frame ${next + 1} suggested`}`);
}

/** Where the frame shown is; a large file is still being counted when its first frame is there. */
function located() {
  const { state, index } = page;
  $("scrub").max = state.frames - 1;
  $("scrub").value = index;
  $("scrub").setAttribute("aria-valuetext", `frame ${index + 1} of ${state.frames}`);
  $("place").textContent = `${index + 1} of ${state.counted ? state.frames : "… (counting)"}`;
}
onShown(located);
onChange(() => {
  const next = suggestion();
  $("play").textContent = page.playing ? "Pause" : "Play";
  $("suggested").disabled = next === null;
  $("suggested").textContent = next === null ? "No frame suggested yet" : `Jump to the suggested frame, ${next + 1}`;
  located();
  marks();
  measure();
});
$("marks").onpointerdown = $("thumbs").onpointerdown = (event) => {
  const box = $("marks").getBoundingClientRect();
  goTo(Math.floor(((event.clientX - box.left) / box.width) * page.state.frames));
};
$("scrub").oninput = () => goTo(Number($("scrub").value));
$("back").onclick = () => goTo(page.index - 1);
$("forth").onclick = () => goTo(page.index + 1);
$("play").onclick = play;
$("suggested").onclick = () => goTo(suggestion());
window.addEventListener("resize", () => page.state && notify());
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => page.state && notify());
