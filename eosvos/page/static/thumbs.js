// Thumbnails over the timeline: a bounded number, however long the video is, loaded one after another.

import { $, whenBack } from "./server.js";
import { mine, onChange, page } from "./store.js";

const MOST = 24, HEIGHT = 36; // thumbnails, and pixels of one in the page
let built = "", turn = 0;

function build() {
  const { id, state } = page, across = $("thumbs").clientWidth;
  if (!across || !state.counted) return; // of a large file the number of frames comes later
  const count = Math.max(1, Math.min(MOST, state.frames, Math.floor((across * state.size[0]) / (HEIGHT * state.size[1]))));
  const wanted = `${id} ${state.frames} ${count}`;
  if (wanted === built) return;
  built = wanted;
  $("thumbs").replaceChildren(...Array.from({ length: count }, () => document.createElement("span")));
  fill(++turn, state.frames);
}
async function fill(asked, frames) {
  const slots = [...$("thumbs").children];
  for (const [n, slot] of slots.entries()) {
    while (page.playing || document.hidden) await new Promise((resolve) => setTimeout(resolve, 300)); // the frames shown go first
    if (asked !== turn) return; // others are asked for since
    const image = new Image();
    image.alt = "";
    image.draggable = false;
    image.src = `/api/${mine(`/thumbnails/${Math.floor(((n + 0.5) * frames) / slots.length)}`)}`;
    if (await image.decode().then(() => true, () => false)) slot.replaceChildren(image);
  }
}

onChange(build);
whenBack(() => { built = ""; });
