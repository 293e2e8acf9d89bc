"use strict";
// Id masks in the browser: a byte for each pixel, never colours, so that nothing is blurred or rounded.

/** The colours of PASCAL VOC and DAVIS: those of eosvos.data.palette. */
const PALETTE = Array.from({ length: 256 }, (_, id) => {
  const rgb = [0, 0, 0];
  for (let shift = 0; shift < 8; shift++)
    for (let channel = 0; channel < 3; channel++) rgb[channel] |= ((id >> (3 * shift + channel)) & 1) << (7 - shift);
  return rgb;
});
const bright = (id) => PALETTE[id].map((value) => Math.min(255, 2 * value));
const css = (rgb) => `rgb(${rgb.join(",")})`;

class Mask {
  constructor(width, height, ids) {
    this.width = width;
    this.height = height;
    this.ids = ids || new Uint8Array(width * height);
  }

  copy() {
    return new Mask(this.width, this.height, this.ids.slice());
  }

  /** A thick line with round ends, in pixels of the frame. */
  line(x0, y0, x1, y1, radius, id) {
    const left = Math.max(0, Math.floor(Math.min(x0, x1) - radius)), right = Math.min(this.width - 1, Math.ceil(Math.max(x0, x1) + radius));
    const top = Math.max(0, Math.floor(Math.min(y0, y1) - radius)), bottom = Math.min(this.height - 1, Math.ceil(Math.max(y0, y1) + radius));
    const dx = x1 - x0, dy = y1 - y0, length = dx * dx + dy * dy, most = radius * radius;
    for (let y = top; y <= bottom; y++)
      for (let x = left; x <= right; x++) {
        const px = x + 0.5 - x0, py = y + 0.5 - y0;
        const along = length ? Math.max(0, Math.min(1, (px * dx + py * dy) / length)) : 0;
        const ex = px - along * dx, ey = py - along * dy;
        if (ex * ex + ey * ey <= most) this.ids[y * this.width + x] = id;
      }
  }

  /** All pixels whose centre is within a closed line of points [x, y] (even-odd). */
  fill(points, id) {
    for (let y = 0; y < this.height; y++) {
      const crossings = [], middle = y + 0.5;
      points.forEach(([x0, y0], k) => {
        const [x1, y1] = points[(k + 1) % points.length];
        if ((y0 <= middle) !== (y1 <= middle)) crossings.push(x0 + ((middle - y0) * (x1 - x0)) / (y1 - y0));
      });
      crossings.sort((a, b) => a - b);
      for (let k = 0; k + 1 < crossings.length; k += 2) {
        const end = Math.min(this.width, Math.ceil(crossings[k + 1] - 0.5));
        for (let x = Math.max(0, Math.ceil(crossings[k] - 0.5)); x < end; x++) this.ids[y * this.width + x] = id;
      }
    }
  }

  has(id) {
    return this.ids.includes(id);
  }

  replace(id, other) {
    this.ids.forEach((value, k) => { if (value === id) this.ids[k] = other; });
  }

  objects() {
    const there = new Uint8Array(256);
    for (const id of this.ids) there[id] = 1;
    return [...there.keys()].filter((id) => id && id < 255 && there[id]);
  }

  /** Draw it on a canvas of its size: tinted, with a bright edge. */
  draw(canvas, alpha) {
    const { width, height, ids } = this, image = new ImageData(width, height), out = new Uint32Array(image.data.buffer);
    const pixel = ([r, g, b], a) => ((a << 24) | (b << 16) | (g << 8) | r) >>> 0; // of little-endian machines, as all are
    const tint = PALETTE.map((rgb, id) => (id && id < 255 ? pixel(bright(id), Math.round(alpha * 255)) : 0));
    const edge = PALETTE.map((rgb, id) => (id && id < 255 && alpha ? pixel(bright(id), 255) : 0));
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
