/**
 * Where the model works, so that the page stays awake. It is asked for one clip at a time and tells of every step:
 *
 *   in    {type: "load", lab, wish} | {type: "make", wish} | {type: "stop"}
 *   out   loading, ready, step, preview, frames, made, stopped, failed
 */

import { load, sentence } from "./model.js";
import { draftSeeds, normals } from "./noise.js";
import { sample } from "./sampler.js";
import { Vocabulary } from "./text.js";

/** @type {{model: import("./model.js").Model, lab: any, vocabulary: Vocabulary} | undefined} */
let ready;
let stopped = false;

self.onmessage = async ({ data }) => {
  if (data.type === "stop") stopped = true;
  else if (data.type === "load") await answer(() => open(data));
  else if (data.type === "make") await answer(() => make(data.wish));
};

async function answer(/** @type {() => Promise<void>} */ work) {
  try {
    await work();
  } catch (error) {
    self.postMessage({ type: "failed", sentence: sentence(error) });
  }
}

async function open({ lab, vocabulary, wish }) {
  const began = performance.now();
  const model = await load(lab, wish, (loading) => self.postMessage({ type: "loading", ...loading }));
  ready = { model, lab, vocabulary: new Vocabulary(vocabulary) };
  self.postMessage({ type: "ready", facts: model.facts, seconds: seconds(began) });
}

/**
 * @param {{prompt: string, negative: string, seed: number, steps: number, guidance: number, drafts: number,
 *     frames: number, fps: number, width: number, height: number, still: Float32Array | null, previewEvery: number}} wish
 */
async function make(wish) {
  if (!ready) throw new Error("the model is not loaded");
  stopped = false;
  const began = performance.now();
  const { model, lab } = ready;
  const settings = { ...lab.model.sampling, steps: wish.steps, guidance: wish.guidance };
  const { channels, stride } = lab.model;
  const shape = [1, 1, channels, wish.height / stride, wish.width / stride];
  const size = shape.reduce((a, b) => a * b);
  const frames = 1 + (wish.frames - 1) / 4;
  const read = (prompt) => model.text(ready.vocabulary.read(prompt));
  const [positive, negative] = [await read(wish.prompt), await read(wish.negative)];
  let given = wish.still ? await model.encode(wish.still, wish.height, wish.width, stride) : new Float32Array();
  const walk = (noise, clips, how) => {
    const dims = [clips, noise.length / size / clips, ...shape.slice(2)];
    const under = (text) => (x, levels, spans) =>
      model.velocity(x, levels, spans, text, wish.fps, dims, given.length / size);
    return sample(under(positive), under(negative), noise, given, dims[0] * dims[1], how);
  };

  const first = performance.now();
  const chosen = model.witnesses ? wish.drafts : 0;
  const begins = !given.length && (chosen || (model.anchored && frames > 1));
  const drafts = begins ? draftSeeds(wish.seed, chosen || 1) : [];
  const before = begins ? settings.draft_steps : 0;
  const steps = before + (begins && frames === 1 ? 0 : wish.steps);
  const work = (step) => Math.min(step, before) * drafts.length + Math.max(0, step - before) * frames;
  const tell = (step) =>
    self.postMessage({ type: "step", step, steps, done: work(step) / work(steps), seconds: seconds(first) });
  if (begins) {
    const noise = new Float32Array(drafts.length * size);
    drafts.forEach((seed, i) => noise.set(normals(size, seed), i * size));
    let stills = noise;
    for await (const step of walk(noise, drafts.length, { ...settings, steps: before })) {
      stills = step.x;
      tell(step.index);
      if (await left()) return;
    }
    given = await best(Array.from(drafts, (_, i) => stills.slice(i * size, (i + 1) * size)), positive, shape);
  }
  let latent = given;
  for await (const step of steps > before ? walk(normals(frames * size, wish.seed), 1, settings) : []) {
    latent = step.x;
    tell(before + step.index);
    if (await left()) return;
    const due = wish.previewEvery && step.index % wish.previewEvery === 0 && step.index < wish.steps;
    if (due && (await preview(step.data, frames, size, shape))) return;
  }
  if (!latent.every(Number.isFinite)) {
    throw new Error("the clip came out with values that are no numbers: take a lower guidance, or another seed");
  }
  const sampling = seconds(first);
  let carry;
  for (let i = 0; i < frames; i++) {
    let decoded;
    [decoded, carry] = await model.decode(latent.slice(i * size, (i + 1) * size), shape, carry);
    self.postMessage({ type: "frames", frames: decoded, done: i + 1, of: frames });
    if (await left()) return;
  }
  const took = { seconds: seconds(began), sampling, secondsAStep: sampling / steps };
  self.postMessage({ type: "made", took, facts: model.facts });
}

/** That of several first frames which shows best what was asked for. */
async function best(stills, text, shape) {
  const wrong = [];
  for (const still of stills) wrong.push(stills.length > 1 ? await ready.model.mistakes(still, text, shape) : 0);
  return stills[wrong.indexOf(Math.min(...wrong))];
}

/** The first, the middle and the last latent frame as foretold, each decoded by itself: rough, but little work. */
async function preview(data, frames, size, shape) {
  const pictures = [];
  for (const i of new Set([0, frames >> 1, frames - 1])) {
    const [[picture]] = await ready.model.decode(data.slice(i * size, (i + 1) * size), shape);
    pictures.push(picture);
    if (await left()) return true;
  }
  self.postMessage({ type: "preview", pictures });
  return false;
}

/** Lets messages in; true if one of them was to stop. */
async function left() {
  await new Promise((resolve) => setTimeout(resolve));
  if (stopped) self.postMessage({ type: "stopped" });
  return stopped;
}

const seconds = (/** @type {number} */ since) => (performance.now() - since) / 1000;
