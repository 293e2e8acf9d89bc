// The keyboard.

import { chooseAt } from "./objects.js";
import { $ } from "./server.js";
import { page, redo, undo } from "./store.js";
import { goTo, play, toAnnotated } from "./timeline.js";
import { cancel, close, pick, resize } from "./tools.js";
import { fit, hold, zoom } from "./zoom.js";

const FAR = 10; // frames of Page Up and Page Down

const keys = {
  ArrowLeft: () => goTo(page.index - 1), ArrowRight: () => goTo(page.index + 1),
  ArrowUp: () => toAnnotated(-1), ArrowDown: () => toAnnotated(1),
  PageUp: () => goTo(page.index - FAR), PageDown: () => goTo(page.index + FAR),
  Home: () => goTo(0), End: () => goTo(page.state.frames - 1),
  b: () => pick("brush"), o: () => pick("outline"), e: () => pick("eraser"), p: () => pick("polygon"),
  x: () => pick("box"), a: () => pick("plus"), s: () => pick("minus"),
  "[": () => resize(-1), "]": () => resize(1), n: () => $("absent").click(), v: () => $(page.before ? "after" : "before").click(),
  j: () => $("suggested").click(),
  "+": () => zoom(1.5), "=": () => zoom(1.5), "-": () => zoom(1 / 1.5), f: fit, 0: fit,
  Enter: close, Escape: cancel, "?": () => $("help").showModal(),
};

document.onkeydown = (event) => {
  if (!page.state || $("help").open || event.target.matches("input:not([type=range]):not([type=checkbox]), select")) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (event.ctrlKey || event.metaKey) {
    if (key !== "z" && key !== "y") return;
    event.preventDefault();
    if (key === "y" || event.shiftKey) redo();
    else undo();
    return;
  }
  const onRange = event.target.matches("input[type=range]") && /^(Arrow|Page|Home|End)/.test(key);
  const onButton = event.target.matches("button, a, label") && key === "Enter";
  if (event.altKey || onRange || onButton) return;
  if (key === " ") {
    if (event.target.matches("button")) event.target.blur();
    event.preventDefault();
    if (!event.repeat) hold(true);
    return;
  }
  const work = keys[key] || (key >= "1" && key <= "9" && (() => chooseAt(Number(key) - 1)));
  if (!work) return;
  event.preventDefault();
  work();
};
document.onkeyup = (event) => {
  if (event.key !== " " || !page.state) return;
  const typing = event.target.matches("input:not([type=range]):not([type=checkbox]), select") || $("help").open;
  if (!hold(false) && !typing) play(); // the space bar plays, unless the frame was moved with it
};
$("keys").onclick = () => $("help").showModal();
