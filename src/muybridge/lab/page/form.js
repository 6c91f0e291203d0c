/**
 * What the user asks for: reads the form, puts an older wish back into it, says at once what is wrong with one.
 *
 * @typedef {{model: string, prompt: string, negative: string, seed: number, steps: number, guidance: number,
 *     drafts: number, plan_steps: number, frames: number, fps: number, width: number, height: number, still: Float32Array | null,
 *     moves?: string}} Wish
 *     `model` is the hash of the one that it was meant for; `moves` as moves.js reads them.
 */

import { courseOf, movesOf } from "./moves.js";
import { readStill } from "./still.js";
import { Vocabulary } from "./text.js";
import { Ways } from "./ways.js";

const LARGEST_SEED = Number.MAX_SAFE_INTEGER - 3; // variants take the three that follow
const LENGTHS = [9, 17, 33, 49];
const DRAFTS = [1, 2, 4, 8, 16];
const PLANS = [0, 2, 4, 8];
const IDEAS = [
  "a small red ball rolls behind a tall blue box",
  "a large green ball drops and bounces",
  "a yellow ball hits a small blue box",
  "a blue cylinder and a red ball while the camera pans right",
];

const $ = (/** @type {string} */ id) => /** @type {any} */ (document.getElementById(id));

export class Form {
  /**
   * @param {any} model what lab.json says of it
   * @param {any} vocabulary
   * @param {{changed: () => void, trouble: (sentence: string) => void}} heard
   */
  constructor(model, vocabulary, heard) {
    this.model = model;
    this.vocabulary = new Vocabulary(vocabulary);
    this.heard = heard;
    /** @type {Float32Array | null} */
    this.still = null;
    const { trained, sampling } = model;
    for (const frames of LENGTHS) {
      const text = `${(frames / trained.fps).toFixed(1)} s`;
      $("frames").add(new Option(frames > trained.frames ? `${text} (more than it learnt)` : text, String(frames)));
    }
    $("frames").value = trained.frames;
    $("steps").value = sampling.steps;
    $("guidance").value = sampling.guidance;
    $("guidance").disabled = sampling.solver === "jump";
    $("drafting").hidden = !sampling.drafts;
    for (const count of DRAFTS.filter((count) => count < sampling.drafts)) $("drafts").add(new Option(String(count)));
    $("drafts").add(new Option(String(sampling.drafts)));
    $("drafts").value = sampling.drafts;
    $("planning").hidden = $("leading").hidden = !model.planner;
    this.ways = model.planner && new Ways(model.planner, trained.height / trained.width, () => this.changed());
    for (const steps of [...new Set([...PLANS, sampling.plan_steps])].sort((a, b) => a - b)) {
      $("plan_steps").add(new Option(steps ? `in ${steps} steps` : "none", String(steps)));
    }
    $("plan_steps").value = sampling.plan_steps;
    for (const idea of IDEAS) {
      const button = Object.assign(document.createElement("button"), { type: "button", textContent: idea });
      button.onclick = () => {
        $("prompt").value = idea;
        this.changed();
      };
      $("ideas").append(button);
    }
    $("dice").onclick = () => {
      $("seed").value = crypto.getRandomValues(new Uint32Array(1))[0] % 1_000_000;
      this.changed();
    };
    $("form").addEventListener("input", () => this.changed());
    this.listenForPictures();
    this.changed();
  }

  /** The wish in the form. Throws a sentence if a number makes no sense. @returns {Wish} */
  read() {
    const seed = Number($("seed").value);
    if ($("seed").value === "" || !Number.isInteger(seed) || seed < 0 || seed > LARGEST_SEED) {
      throw new Error(`the seed is ${$("seed").value || "no number"}: take a whole number from 0 to ${LARGEST_SEED}`);
    }
    const { width, height, fps } = this.model.trained;
    const number = (/** @type {string} */ name) => Number($(name).value);
    const guidance = this.model.sampling.solver === "jump" ? 1 : number("guidance");
    const numbers = { seed, steps: number("steps"), guidance, drafts: number("drafts"), plan_steps: this.planSteps };
    const words = { prompt: $("prompt").value.trim(), negative: $("negative").value.trim(), moves: this.moves() };
    return { model: this.model.hash, ...words, ...numbers, frames: number("frames"), fps, width, height, still: this.still };
  }

  /** The ways in the form, as text. Throws a sentence where they make no sense. */
  moves() {
    const { planner, trained } = this.model;
    const text = planner ? $("moves").value.trim() : "";
    if (text && !this.planSteps) {
      const most = (trained.frames / trained.fps).toFixed(1);
      throw new Error(`ways are drawn, but nothing is planned: choose a plan, and ${most} s at most, or leave the ways out`);
    }
    if (text) courseOf(movesOf(text), Number($("frames").value), planner);
    return text;
  }

  /** How many clips, and what they are to run on. */
  get variants() {
    return Number($("variants").value);
  }

  /** Of a plan, 0 for none: nothing is foreseen of clips that are longer than the planner's. */
  get planSteps() {
    const { planner } = this.model;
    return planner && 1 + (Number($("frames").value) - 1) / 4 <= planner.window ? Number($("plan_steps").value) : 0;
  }

  get run() {
    return $("run").value;
  }

  /** Puts a wish back; of one that was meant for another model the words and the seed, since the rest suits that one. */
  write(/** @type {Wish} */ wish) {
    const ours = wish.model === this.model.hash;
    if (ours && wish.still) this.give(wish.still, fromPixels(wish.still, wish.width, wish.height));
    else this.forget();
    const numbers = ours ? ["steps", "guidance", "drafts", "plan_steps", "frames"] : [];
    for (const name of ["prompt", "negative", "seed", ...numbers]) $(name).value = wish[name] ?? 0; // older wishes plan nothing
    $("moves").value = (ours && wish.moves) || "";
    this.changed();
  }

  /** A picture as the first frame: a file, or a canvas. */
  async take(source) {
    try {
      const { width, height } = this.model.trained;
      const { canvas, pixels } = await readStill(source, width, height);
      this.give(pixels, canvas);
      this.changed();
    } catch (error) {
      this.heard.trouble(`${source.name ? `${source.name}: ` : ""}${error.message}`);
    }
  }

  /** The guidance that the model does best with: from a picture on it may be another one. */
  get bestGuidance() {
    const { guidance, given_guidance } = this.model.sampling;
    return this.still ? (given_guidance ?? guidance) : guidance;
  }

  /** From now on the first frame is this, or is drawn; guidance that nobody has moved follows. */
  begin(/** @type {Float32Array | null} */ still) {
    const follows = Number($("guidance").value) === this.bestGuidance;
    this.still = still;
    if (follows) $("guidance").value = String(this.bestGuidance);
  }

  give(pixels, canvas) {
    this.begin(pixels);
    if (this.ways) this.ways.picture = canvas;
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", "The first frame");
    $("thumb").replaceChildren(canvas);
    $("given").hidden = false;
    $("imagetext").textContent = "Choose another picture, or drop one here";
  }

  forget() {
    this.begin(null);
    if (this.ways) this.ways.picture = null;
    $("image").value = "";
    $("given").hidden = true;
    $("imagetext").textContent = "Choose a picture, or drop one here";
  }

  changed() {
    $("stepsout").textContent = $("steps").value;
    $("guidanceout").textContent = $("guidance").value === "1" ? "off" : `× ${$("guidance").value}`;
    $("words").textContent = this.words();
    this.ways?.show($("prompt").value);
    this.heard.changed();
  }

  /** Words that the model has never seen are named, with the nearest that it has. */
  words() {
    const said = this.vocabulary.unknown($("prompt").value).map(([word, near]) => {
      return near.length ? `“${word}” (it knows ${near.join(", ")})` : `“${word}”`;
    });
    const beyond = this.vocabulary.beyond($("prompt").value);
    const unknown = said.length ? `The model has never seen ${said.join(", ")}.` : "";
    return `${unknown}${beyond ? ` The last ${beyond} words are not read.` : ""}`.trim();
  }

  listenForPictures() {
    $("image").onchange = () => $("image").files[0] && this.take($("image").files[0]);
    $("forget").onclick = () => {
      this.forget();
      this.changed();
    };
    const drop = $("drop");
    for (const kind of ["dragover", "dragleave", "drop"]) {
      drop.addEventListener(kind, (event) => {
        event.preventDefault();
        drop.classList.toggle("over", kind === "dragover");
        if (kind === "drop" && event.dataTransfer.files[0]) this.take(event.dataTransfer.files[0]);
      });
    }
    document.addEventListener("paste", (event) => {
      const file = [...(event.clipboardData?.files ?? [])].find((one) => one.type.startsWith("image/"));
      if (file) this.take(file);
    });
  }
}

/** Pixels in [-1, 1] as a canvas. */
function fromPixels(pixels, width, height) {
  const size = width * height;
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const image = new ImageData(width, height);
  for (let i = 0; i < size; i++) {
    for (let c = 0; c < 3; c++) image.data[4 * i + c] = (pixels[c * size + i] + 1) * 127.5;
    image.data[4 * i + 3] = 255;
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}
