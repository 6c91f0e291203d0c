/**
 * From noise to a latent clip, in steps that can be watched and left off: what muybridge/flow and muybridge/sampler do,
 * number for number (tests/test_lab_sampler.py holds one against the other).
 *
 * Time runs from 1 (noise) to 0 (data); x_t = (1 - t) data + t noise; velocity = noise - data. Every latent frame has a
 * level of its own: frames that are given stay at theirs, all others walk down the grid.
 *
 * @typedef {(x: Float32Array, levels: Float32Array, spans: Float32Array | null) => Promise<Float32Array>} Field
 *     The velocity of a latent of `levels.length` frames; with spans, the mean one from level down to level - span.
 * @typedef {{steps: number, solver: string, guidance: number, guidance_interval: number[], guidance_rescale: number,
 *     shift: number, context_noise: number}} Settings
 * @typedef {{index: number, x: Float32Array, data: Float32Array}} Step
 *     The latent after a step, and the data as foretold at its start.
 */

export const SOLVERS = ["euler", "heun", "multistep", "jump"];

/**
 * t_i = shifted (1 - i / steps) from 1 to 0; the shift is that of Esser et al. 2403.03206, eq. 23.
 * @param {number} steps
 * @param {number} shift above 1: more of the steps where the noise is strong
 * @returns {Float32Array} of steps + 1 levels
 */
export function timeGrid(steps, shift) {
  return Float32Array.from({ length: steps + 1 }, (_, i) => {
    const t = 1 - i / steps;
    return t / (t + (1 - t) / shift);
  });
}

/**
 * Walks from noise to data, yielding each step. To cancel, stop iterating: nothing more is evaluated.
 * @param {Field} wanted the velocity under the prompt
 * @param {Field} unwanted the velocity under the negative (or empty) prompt; not asked for where it does not matter
 * @param {Float32Array} noise of the whole clip
 * @param {Float32Array} given the first latent frames, as many as are known; empty if none are
 * @param {number} frames latent frames of the clip
 * @param {Settings} settings
 * @returns {AsyncGenerator<Step>}
 */
export async function* sample(wanted, unwanted, noise, given, frames, settings) {
  const size = noise.length / frames;
  const held = given.length / size;
  const grid = timeGrid(settings.steps, settings.shift);
  const levels = (/** @type {number} */ i) =>
    Float32Array.from({ length: frames }, (_, f) => (f < held ? settings.context_noise : grid[i]));
  const field = settings.solver === "jump" ? wanted : guided(wanted, unwanted, settings, held);
  let x = noise.map((n, i) => (i < given.length ? mix(given[i], n, settings.context_noise) : n));
  let before = null;
  for (let i = 0; i < settings.steps; i++) {
    const step = await advance(field, x, levels(i), levels(i + 1), settings.solver, before);
    x = step.x;
    before = step;
    const finish = (/** @type {Float32Array} */ y) => y.map((value, j) => (j < given.length ? given[j] : value));
    yield { index: i + 1, x: finish(x), data: finish(step.data) };
  }
}

/**
 * One step of a solver. Euler; Heun; Adams-Bashforth 2 with variable steps (Hairer, Nørsett, Wanner, §III.5):
 * x' = x + h v + h^2 / 2 (v - v_before) / h_before; or a jump, whose velocity is that of the whole step.
 */
async function advance(field, x, level, after, solver, before) {
  const h = level.map((t, f) => after[f] - t);
  const frame = frameOf(x.length, level.length);
  const v = await field(x, level, solver === "jump" ? h.map((value) => -value) : null);
  const data = x.map((value, i) => value - level[frame(i)] * v[i]);
  let next = x.map((value, i) => value + h[frame(i)] * v[i]);
  if (solver === "heun" && after.some((t, f) => t > 0 && t !== level[f])) {
    const w = await field(next, after, null);
    next = x.map((value, i) => (after[frame(i)] > 0 ? value + (h[frame(i)] * (v[i] + w[i])) / 2 : next[i]));
  }
  if (solver === "multistep" && before) {
    const slope = h.map((value, f) => (before.h[f] === 0 ? 0 : (value * value) / 2 / before.h[f]));
    next = next.map((value, i) => value + slope[frame(i)] * (v[i] - before.v[i]));
  }
  return { x: next, data, v, h };
}

/** Classifier-free guidance (2207.12598) inside its interval (2404.07724); elements that are held have no say in it. */
function guided(wanted, unwanted, settings, held) {
  const [low, high] = settings.guidance_interval;
  return async (/** @type {Float32Array} */ x, /** @type {Float32Array} */ levels) => {
    const positive = await wanted(x, levels, null);
    const applies = Array.from(levels, (t, f) => f >= held && t > low && t <= high);
    if (settings.guidance === 1 || !applies.includes(true)) return positive;
    const negative = await unwanted(x, levels, null);
    const frame = frameOf(x.length, levels.length);
    const led = positive.map((p, i) => (applies[frame(i)] ? negative[i] + settings.guidance * (p - negative[i]) : p));
    return settings.guidance_rescale ? rescaled(x, levels, led, positive, settings.guidance_rescale, applies) : led;
  };
}

/** Takes back contrast that guidance added to the foretold data (2305.08891, §3.4): d' = d + Δ, v' = v - Δ / t. */
function rescaled(x, levels, led, positive, amount, applies) {
  const size = x.length / levels.length;
  const out = led.slice();
  levels.forEach((t, f) => {
    if (!applies[f] || t <= 0) return;
    const data = (v) => Array.from({ length: size }, (_, i) => x[f * size + i] - t * v[f * size + i]);
    const guidedData = data(led);
    const ratio = deviation(data(positive)) / deviation(guidedData);
    const change = amount * ((Number.isFinite(ratio) ? ratio : 1) - 1);
    guidedData.forEach((d, i) => (out[f * size + i] -= (d * change) / t));
  });
  return out;
}

function deviation(values) {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length);
}

/** The frame that element i of a latent belongs to. */
function frameOf(length, frames) {
  const size = length / frames;
  return (i) => Math.floor(i / size);
}

function mix(data, noise, level) {
  return (1 - level) * data + level * noise;
}
