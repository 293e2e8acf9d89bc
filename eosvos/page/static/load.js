// A mask from a file, loaded onto the frame shown: it tells of the objects in it and of no others.

import { show } from "./frames.js";
import { Mask, Painting } from "./mask.js";
import { $, act, call, tell } from "./server.js";
import { change, locked, mine, objectOf, onChange, page, painted, storeObjects } from "./store.js";

/** What is painted on the frame with the objects of a file in place of their former masks; the locked ones stay. */
function joined(old, found, absent) {
  const shown = found.objects();
  if (!old || !shown.length) return new Painting(found, absent);
  const mask = old.mask.copy(), kept = locked(), gone = new Set([...(old.absent || []), ...absent]);
  if (old.tellsAll) for (const id of page.state.run ? page.state.run.objects : []) gone.add(id);
  for (const id of shown) {
    mask.replace(id, 0);
    gone.delete(id);
  }
  for (const id of absent) mask.replace(id, 0);
  found.ids.forEach((id, at) => { if (id) mask.set(at, id, kept); });
  return new Painting(mask, gone);
}

const load = act(async (file) => {
  const { k, before } = page.seen, old = painted.get(k);
  if (before) return tell("This is the result before; go back to After to load a mask.");
  const query = `object=${page.object}&name=${encodeURIComponent(file.name)}`;
  const answer = await call("POST", mine(`/frames/${k}/import?${query}`), file, true);
  const bytes = new Uint8Array(await answer.arrayBuffer()), end = bytes.indexOf(10);
  const { absent, names, notes } = JSON.parse(new TextDecoder().decode(bytes.subarray(0, end)));
  if (painted.get(k) !== old) return tell("This frame was painted meanwhile; load the file again.");
  const found = new Mask(page.state.size[1], page.state.size[0], bytes.slice(end + 1)), shown = found.objects();
  for (const id of shown) {
    const one = objectOf(id);
    Object.assign(one, { hidden: false, deleted: false, name: one.name || (names[id] || "").trim().slice(0, 80) });
  }
  if (shown.length && !shown.includes(page.object)) page.object = shown[0];
  change(k, joined(old, found, absent));
  if (page.index === k) await show(k);
  await storeObjects();
  tell(`Loaded ${file.name}: ${notes.join("; ")}. Undo takes it back.`);
});

onChange(() => { $("load").disabled = page.before; });
$("load").onclick = () => $("mask-file").click();
$("mask-file").onchange = async () => {
  const [file] = $("mask-file").files;
  if (file) await load(file);
  $("mask-file").value = ""; // the same one may be chosen again
};
