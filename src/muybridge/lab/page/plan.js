/**
 * Where things go, before anything is drawn: what muybridge/sampler/plan.py and muybridge/transformer/planner.py do for
 * clips of one window, number for number (tests/test_lab_plan.py holds one against the other).
 *
 * Tracks are numbers: of each latent frame and each thing its places, what it is, and whether it is there. A thing that
 * has a colour stands at the number of that colour, a prop comes last.
 *
 * @typedef {{things: number, kinds: number[], numbers: number, window: number, shift: number, salt: number,
 *     props: string[], colours: Record<string, number>, shapes: string[], middle: number[], spread: number[]}} About
 *     what lab.json says of the planner
 * @typedef {(tracks: Float32Array, levels: Float32Array) => Promise<Float32Array>} Foresee
 *     The tracks that noisy ones of as many clips as there are seeds stand for.
 */

import { normals } from "./noise.js";
import { timeGrid } from "./sampler.js";
import { named } from "./witness.js";

/**
 * The tracks of one window for each seed, one clip after the other.
 * @param {Foresee} foresee
 * @param {About} about
 * @param {number} steps from noise to a plan
 * @param {number[]} seeds of the clips
 * @param {Float32Array | null} held what is certain of every clip, NaN where nothing is
 */
export async function plan(foresee, about, steps, seeds, held) {
  const size = about.window * about.things * about.numbers;
  const x = new Float32Array(seeds.length * size);
  seeds.forEach((seed, i) => x.set(noise(size, seed, about.salt), i * size));
  const grid = timeGrid(steps, about.shift);
  for (let i = 0; i < steps; i++) {
    const level = new Float32Array(x.length / about.numbers).fill(grid[i]);
    const foreseen = await foresee(x, level);
    const part = (grid[i + 1] - grid[i]) / Math.max(grid[i], 1e-6);
    for (let j = 0; j < x.length; j++) {
      const certain = held ? held[j % size] : NaN;
      x[j] += part * (x[j] - (Number.isNaN(certain) ? foreseen[j] : certain));
    }
  }
  return x;
}

/** A plan is drawn from other noise than its clip. */
function noise(/** @type {number} */ size, /** @type {number} */ seed, /** @type {number} */ salt) {
  const other = Number((BigInt(seed) ^ BigInt(salt)) & 0xffffffffn);
  return normals(16 * Math.ceil(size / 16), other).subarray(0, size);
}

/**
 * What is certain of each frame of a plan from words alone: things that are named are there, and nothing else is, but
 * what a course leads. Null where the words name nothing, or the witness knows other colours than the planner.
 * @param {{colour: import("./witness.js").Scores, shape: import("./witness.js").Scores}} said
 * @param {string} prompt
 * @param {About} about
 * @param {Float32Array | null} course of `courseOf` in moves.js
 */
export function certain({ colour, shape }, prompt, about, course) {
  const [colours, shapes] = [colour.dims[2] - 1, shape.dims[2]];
  const asked = new Set(named(colour, shape, colours));
  if (!asked.size || colours !== about.things - 1) return null;
  const moving = placesOf(about);
  const one = new Float32Array(about.things * about.numbers).fill(NaN);
  const bare = !new RegExp(`\\b(?:${about.props.join("|")})s?\\b`, "i").test(prompt);
  for (let thing = 0; thing < about.things; thing++) {
    const numbers = one.subarray(thing * about.numbers, (thing + 1) * about.numbers);
    const as = Array.from({ length: shapes }, (_, s) => s).filter((s) => asked.has(thing * shapes + s));
    const goes = course !== null && !Number.isNaN(course[2 * thing]);
    if (thing === colours ? bare : as.length === 0 && !goes) numbers.fill(0, 0, moving).fill(-1, moving);
    if (as.length === 1) {
      numbers.fill(-1, moving);
      [moving + thing, moving + about.kinds[0] + as[0], numbers.length - 1].forEach((at) => (numbers[at] = 1));
    }
  }
  return one;
}

/**
 * What is certain of a window whose first `frames` are the clip's, NaN where nothing is: what words say of each, and where
 * a course leads. Null if that is nothing at all.
 * @param {Float32Array | null} one of `certain`
 * @param {Float32Array | null} course
 * @param {number} frames
 * @param {About} about
 */
export function holding(one, course, frames, about) {
  if (!one && !course) return null;
  const size = about.things * about.numbers;
  const held = new Float32Array(about.window * size).fill(NaN);
  const [moving, a_place] = [placesOf(about), placesOf(about) / 4];
  for (let frame = 0; frame < Math.min(frames, about.window); frame++) {
    if (one) held.set(one, frame * size);
    for (let thing = 0; course && thing < about.things; thing++) {
      const numbers = held.subarray(frame * size + thing * about.numbers, frame * size + (thing + 1) * about.numbers);
      for (let p = 0; p < 4; p++) {
        const at = 2 * ((4 * frame + p) * about.things + thing);
        if (Number.isNaN(course[at])) continue;
        for (const axis of [0, 1]) numbers[p * a_place + axis] = (course[at + axis] - about.middle[axis]) / about.spread[axis];
        numbers[numbers.length - 1] = 1;
      }
    }
  }
  return held;
}

/** Numbers that say where a thing is in one latent frame: of each of the four frames that it stands for. */
const placesOf = (/** @type {About} */ about) => about.numbers - about.kinds[0] - about.kinds[1] - 1;
