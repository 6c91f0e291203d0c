/** The screen: plays the clip, shows its frames side by side, says what it is. */

import { Player, still } from "./player.js";
import { time } from "./say.js";

const $ = (/** @type {string} */ id) => /** @type {any} */ (document.getElementById(id));
const SHOWN_IN_STRIP = 8;

export class Stage {
  constructor() {
    /** @type {import("./keep.js").Clip | null} */
    this.clip = null;
    this.watching = false; // what is being made
    this.badge = $("badge").textContent;
    this.player = new Player($("canvas"), (frame, frames) => this.shown(frame, frames));
    $("canvas").onclick = $("play").onclick = () => this.pause(this.player.playing);
    $("seek").oninput = () => this.seek(Number($("seek").value));
    $("canvas").addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (step) this.seek(this.player.at + step);
      else if (event.key === " ") this.pause(this.player.playing);
      else return;
      event.preventDefault();
    });
  }

  /** Puts a finished clip on the screen. */
  open(/** @type {import("./keep.js").Clip} */ clip) {
    this.clip = clip;
    this.watching = false;
    this.face(true, "");
    $("canvas").setAttribute("aria-label", `A clip: ${clip.wish.prompt || "anything"}`);
    this.player.show(clip.frames, clip.width, clip.height, clip.fps);
    const last = clip.frames.length - 1;
    const count = Math.min(SHOWN_IN_STRIP, clip.frames.length);
    const numbers = new Set(Array.from({ length: count }, (_, i) => Math.round((i * last) / Math.max(1, count - 1))));
    $("strip").replaceChildren(...[...numbers].map((number) => this.stripButton(clip, number)));
    this.tools(true);
    $("seek").max = last;
    const { wish, took, ran } = clip;
    $("caption").textContent =
      `${wish.prompt || "(no words)"} · seed ${wish.seed}, ${wish.steps} steps, guidance ${wish.guidance}` +
      ` · ${time(took.seconds)} on ${ran}. A synthetic video.`;
  }

  /** The last finished clip again, or the picture of before. */
  restore() {
    if (this.clip) this.open(this.clip);
    else this.face(false, this.badge);
  }

  /** Shows what is being made from now on, until another clip is opened. */
  watch() {
    this.watching = true;
  }

  /** A few frames of what it may become, in turn. */
  preview(pictures, width, height) {
    if (!this.watching) return;
    this.face(true, "preview: what it may become");
    this.tools(false);
    this.player.show(pictures, width, height, 2, true);
  }

  /** Frames of a clip that is being decoded; `first` of them begins it. */
  add(frames, first, wish) {
    if (!this.watching) return;
    if (first) {
      this.face(true, "");
      this.tools(false);
      this.player.show([], wish.width, wish.height, wish.fps);
    }
    this.player.add(frames);
  }

  face(canvas, badge) {
    $("still").hidden = canvas;
    $("canvas").hidden = !canvas;
    $("badge").textContent = badge;
  }

  /** What belongs to a finished clip. */
  tools(/** @type {boolean} */ are) {
    for (const id of ["strip", "controls", "actions", "caption"]) $(id).hidden = !are;
  }

  pause(is) {
    this.player.playing = !is;
    this.player.seek(this.player.at);
  }

  seek(frame) {
    this.player.playing = false;
    this.player.seek(frame);
  }

  stripButton(clip, number) {
    const button = document.createElement("button");
    Object.assign(button, { type: "button", onclick: () => this.seek(number) });
    button.dataset.frame = String(number);
    button.setAttribute("aria-label", `Frame ${number + 1}`);
    button.append(still(clip.frames[number], clip.width, clip.height));
    return button;
  }

  /** The player's word on what it shows. */
  shown(frame, frames) {
    const { player } = this;
    $("seek").value = frame;
    $("time").textContent = `${frame + 1} of ${frames}, ${(frame / player.fps).toFixed(2)} s`;
    $("play").textContent = player.playing ? "Pause" : "Play";
    $("play").setAttribute("aria-pressed", String(player.playing));
    const buttons = [...$("strip").children];
    const nearest = buttons.findLast((one) => Number(one.dataset.frame) <= frame);
    buttons.forEach((one) => one.setAttribute("aria-current", String(one === nearest)));
  }
}
