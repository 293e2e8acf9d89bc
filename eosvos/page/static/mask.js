// Id masks in the browser: a byte for each pixel, never colours, so that nothing is blurred or rounded.

/** Twenty colours, the first seven Okabe and Ito's; any two differ by 15 in CIELAB or more, also for those who see red,
 * green or blue less (protanopia, deuteranopia and tritanopia by Machado et al., 2009). */
export const COLOURS = [
  "#e69f00", "#56b4e9", "#f0e442", "#009e73", "#d55e00", "#cc79a7", "#0072b2", "#8800ff", "#bbeeaa", "#00ffee",
  "#994433", "#9977ff", "#99aa55", "#884477", "#bb1100", "#5544cc", "#eeaabb", "#88ee77", "#ff4477", "#cc00aa",
];

export class Mask {
  constructor(width, height, ids) {
    this.width = width;
    this.height = height;
    this.ids = ids || new Uint8Array(width * height);
  }

  copy() {
    return new Mask(this.width, this.height, this.ids.slice());
  }

  /** A thick line with round ends, in pixels of the frame; pixels of `kept` objects stay. */
  line(x0, y0, x1, y1, radius, id, kept = new Set()) {
    const left = Math.max(0, Math.floor(Math.min(x0, x1) - radius)), right = Math.min(this.width - 1, Math.ceil(Math.max(x0, x1) + radius));
    const top = Math.max(0, Math.floor(Math.min(y0, y1) - radius)), bottom = Math.min(this.height - 1, Math.ceil(Math.max(y0, y1) + radius));
    const dx = x1 - x0, dy = y1 - y0, length = dx * dx + dy * dy, most = radius * radius;
    for (let y = top; y <= bottom; y++)
      for (let x = left; x <= right; x++) {
        const px = x + 0.5 - x0, py = y + 0.5 - y0;
        const along = length ? Math.max(0, Math.min(1, (px * dx + py * dy) / length)) : 0;
        const ex = px - along * dx, ey = py - along * dy;
        if (ex * ex + ey * ey <= most) this.set(y * this.width + x, id, kept);
      }
  }

  /** All pixels whose centre is within a closed line of points [x, y] (even-odd); pixels of `kept` objects stay. */
  fill(points, id, kept = new Set()) {
    for (let y = 0; y < this.height; y++) {
      const crossings = [], middle = y + 0.5;
      points.forEach(([x0, y0], k) => {
        const [x1, y1] = points[(k + 1) % points.length];
        if ((y0 <= middle) !== (y1 <= middle)) crossings.push(x0 + ((middle - y0) * (x1 - x0)) / (y1 - y0));
      });
      crossings.sort((a, b) => a - b);
      for (let k = 0; k + 1 < crossings.length; k += 2) {
        const end = Math.min(this.width, Math.ceil(crossings[k + 1] - 0.5));
        for (let x = Math.max(0, Math.ceil(crossings[k] - 0.5)); x < end; x++) this.set(y * this.width + x, id, kept);
      }
    }
  }

  set(pixel, id, kept) {
    if (!kept.size || !kept.has(this.ids[pixel])) this.ids[pixel] = id;
  }

  has(id) {
    return this.ids.includes(id);
  }

  replace(id, other) {
    this.ids.forEach((value, k) => { if (value === id) this.ids[k] = other; });
  }

  /** A copy with the pixels of some objects alone. */
  only(objects) {
    const table = new Uint8Array(256);
    for (const id of objects) table[id] = id;
    return new Mask(this.width, this.height, this.ids.map((id) => table[id]));
  }

  /** Number of pixels by object. */
  areas() {
    const counts = new Uint32Array(256), found = new Map();
    for (const id of this.ids) counts[id]++;
    counts.forEach((count, id) => { if (count && id && id < 255) found.set(id, count); });
    return found;
  }

  objects() {
    return [...this.areas().keys()];
  }

  /** Draw it on a canvas of its size: tinted, with an opaque edge. `colours`: [r, g, b] by object, none for hidden ones. */
  draw(canvas, alpha, colours) {
    const { width, height, ids } = this, image = new ImageData(width, height), out = new Uint32Array(image.data.buffer);
    const pixel = ([r, g, b], a) => ((a << 24) | (b << 16) | (g << 8) | r) >>> 0; // of little-endian machines, as all are
    const tint = new Uint32Array(256), edge = new Uint32Array(256);
    for (const [id, rgb] of colours) {
      tint[id] = pixel(rgb, Math.round(alpha * 255));
      edge[id] = alpha ? pixel(rgb, 255) : 0;
    }
    for (let y = 0, k = 0; y < height; y++)
      for (let x = 0; x < width; x++, k++) {
        const id = ids[k];
        if (!id) continue;
        const inner = x && y && x < width - 1 && y < height - 1 && ids[k - 1] === id && ids[k + 1] === id && ids[k - width] === id && ids[k + width] === id;
        out[k] = inner ? tint[id] : edge[id];
      }
    canvas.getContext("2d").putImageData(image, 0, 0);
  }
}

/** What is painted on a frame: it tells of the objects that it shows and of those that are `absent`, and of no others.
 * absent null: it was not said which are; a mask that shows none then tells that none is there. */
export class Painting {
  constructor(mask, absent = new Set()) {
    this.mask = mask;
    this.absent = absent && new Set(absent);
    this.shown = mask.objects();
  }

  get empty() {
    return !this.shown.length && this.absent !== null && !this.absent.size;
  }

  get tellsAll() {
    return !this.shown.length && this.absent === null;
  }

  tells(id) {
    return this.tellsAll || this.shown.includes(id) || (!!this.absent && this.absent.has(id));
  }

  /** The mask to show: of objects that this does not tell of, the result stays. */
  over(result) {
    if (this.tellsAll) return this.mask.copy();
    const painted = this.mask.ids, told = new Uint8Array(256);
    for (const id of [...this.shown, ...(this.absent || [])]) told[id] = 1;
    return new Mask(this.mask.width, this.mask.height, result.ids.map((id, k) => painted[k] || (told[id] ? 0 : id)));
  }
}
