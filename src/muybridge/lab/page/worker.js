/**
 * Where the model works, so that the page stays awake. It is asked for one clip at a time and tells of every step:
 *
 *   in    {type: "load", lab, wish} | {type: "make", wish} | {type: "stop"}
 *   out   loading, ready, step, preview, frames, made, stopped, failed
 */

import { load, sentence } from "./model.js";
import { courseOf, movesOf } from "./moves.js";
import { draftSeeds, normals } from "./noise.js";
import { holding } from "./plan.js";
import { sample } from "./sampler.js";
import { Vocabulary } from "./text.js";

/** As muybridge/sampler/drafts.py has them: drafts that are drawn together, and mistakes below which one will do. */
const [AT_ONCE, WILL_DO] = [4, 0.05];

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
 *     plan_steps: number, frames: number, fps: number, width: number, height: number, still: Float32Array | null,
 *     moves?: string, previewEvery: number}} wish
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
  const about = lab.model.planner;
  const planned = model.plans && wish.plan_steps > 0;
  const course = planned && wish.moves ? courseOf(movesOf(wish.moves), wish.frames, about) : null;
  const said = planned && !given.length ? await model.certain(positive, wish.prompt, about, shape, course) : null;
  const foreseen = async (seeds, length) => {
    const held = planned ? holding(said, course, length, about) : null;
    return planned ? model.foreseen(about, wish.plan_steps, seeds, positive, wish.fps, given, shape, held) : null;
  };
  const walk = async function* (noise, seeds, how) {
    const dims = [seeds.length, noise.length / size / seeds.length, ...shape.slice(2)];
    const tracks = await foreseen(seeds, dims[1]);
    const under = (text, told) => (x, levels, spans) =>
      model.velocity(x, levels, spans, text, wish.fps, dims, given.length / size, told);
    yield* sample(under(positive, tracks), under(negative, null), noise, given, dims[0] * dims[1], how);
  };

  const first = performance.now();
  const chosen = model.witnesses ? wish.drafts : 0;
  const begins = !given.length && (chosen || (model.anchored && frames > 1));
  const drafts = begins ? draftSeeds(wish.seed, chosen || 1) : [];
  const rest = begins && frames === 1 ? 0 : wish.steps;
  let [taken, worked] = [0, 0]; // steps so far, and their cost in latent frames
  const tell = (clips, after) => {
    [taken, worked] = [taken + 1, worked + clips];
    const done = worked / (worked + after.drafts * clips + after.rest * frames);
    const steps = taken + after.drafts + after.rest;
    self.postMessage({ type: "step", step: taken, steps, done, seconds: seconds(first) });
  };
  let [best, least] = [given, Infinity];
  for (let from = 0; from < drafts.length && least >= WILL_DO; from += AT_ONCE) {
    const seeds = drafts.slice(from, from + AT_ONCE);
    let stills = new Float32Array(seeds.length * size);
    seeds.forEach((seed, i) => stills.set(normals(size, seed), i * size));
    for await (const step of walk(stills, seeds, { ...settings, steps: settings.draft_steps })) {
      stills = step.x;
      tell(seeds.length, { drafts: settings.draft_steps - step.index, rest });
      if (await left()) return;
    }
    for (let i = 0; i < seeds.length; i++) {
      const still = stills.slice(i * size, (i + 1) * size);
      const wrong = drafts.length > 1 ? await model.mistakes(still, positive, shape) : 0;
      if (wrong < least) [best, least] = [still, wrong];
    }
  }
  given = best;
  let latent = given;
  for await (const step of rest ? walk(normals(frames * size, wish.seed), [wish.seed], settings) : []) {
    latent = step.x;
    tell(frames, { drafts: 0, rest: rest - step.index });
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
  const took = { seconds: seconds(began), sampling, secondsAStep: sampling / taken };
  self.postMessage({ type: "made", took, facts: model.facts });
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
