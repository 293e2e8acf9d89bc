// Curves of a result over its frames, asked for again when it has changed, at most every two seconds.
import { ask } from "./server.js";
import { mine, page } from "./store.js";

const OFTEN = 2000; // milliseconds

/** Gives a function to call at each change; `take` gets what /runs/N/WHAT answers, or null. */
export function following(what, take) {
  let asked = "", due = 0, later = 0;
  return async function look() {
    const { run } = page.state, key = run ? `${run.number}/${run.done.join()}` : "";
    if (key === asked) return;
    clearTimeout(later);
    const wait = due - performance.now();
    if (wait > 0) {
      later = setTimeout(look, wait); // this change may be the last one
      return;
    }
    [asked, due] = [key, performance.now() + OFTEN];
    take(run ? await ask("GET", mine(`/runs/${run.number}/${what}`)).catch(() => null) : null);
  };
}
