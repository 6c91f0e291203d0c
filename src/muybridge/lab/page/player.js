/** Plays frames in a loop, forwards; can be paused, stepped and sought. */

export class Player {
  /** @param {HTMLCanvasElement} canvas @param {(frame: number, frames: number) => void} heard of every frame shown */
  constructor(canvas, heard) {
    this.canvas = canvas;
    this.heard = heard;
    /** @type {Uint8ClampedArray[]} */
    this.frames = [];
    this.playing = false;
    this.at = 0;
    this.due = 0;
    this.fps = 15;
    requestAnimationFrame((now) => this.tick(now));
  }

  /** Shows other frames; those that come while a clip is decoded are put behind with `add`. */
  show(frames, width, height, fps, playing = !matchMedia("(prefers-reduced-motion: reduce)").matches) {
    Object.assign(this, { frames: [...frames], width, height, fps, playing, at: 0 });
    this.canvas.width = width;
    this.canvas.height = height;
    if (frames.length) this.draw();
  }

  add(frames) {
    this.frames.push(...frames);
    if (this.frames.length === frames.length) this.draw();
  }

  seek(frame) {
    const count = this.frames.length;
    if (!count) return;
    this.at = ((frame % count) + count) % count;
    this.draw();
  }

  tick(now) {
    if (this.playing && this.frames.length > 1 && now >= this.due) {
      this.due = Math.max(this.due + 1000 / this.fps, now - 1000 / this.fps);
      this.seek(this.at + 1);
    }
    requestAnimationFrame((later) => this.tick(later));
  }

  draw() {
    const pixels = new ImageData(this.frames[this.at], this.width, this.height);
    this.canvas.getContext("2d").putImageData(pixels, 0, 0);
    this.heard(this.at, this.frames.length);
  }
}

/** A canvas with one frame on it, for strips and shelves. */
export function still(frame, width, height) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  canvas.getContext("2d").putImageData(new ImageData(frame, width, height), 0, 0);
  return canvas;
}
