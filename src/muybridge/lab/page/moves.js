/**
 * Motion that is drawn and not said: muybridge/data/moves.py and what it names, number for number
 * (tests/test_lab_plan.py holds one against the other). In text a move is as `muybridge generate --move` has it:
 *
 *   red ball: 0.2,0.5 0.8,0.5
 *
 * @typedef {{thing: string, points: number[][]}} Move x and y from 0 to 1, at even times, straight lines between them
 */

/** How far beyond the picture's edge a thing may go, in pictures. */
const OUTSIDE = 1;

/** The things with a colour that a text names, as they come up: what they are called, and the number of their colour. */
export function named(/** @type {string} */ text, /** @type {import("./plan.js").About} */ about) {
  const either = (words) => words.join("|");
  const noun = new RegExp(`(${either(Object.keys(about.colours))}) (?:${either(about.shapes)})\\b`, "g");
  return [...text.matchAll(noun)].map(([thing, colour]) => ({ thing, colour: about.colours[colour] }));
}

/** The moves in a text, one a line. Throws a sentence for a line that is none. @returns {Move[]} */
export function movesOf(/** @type {string} */ text) {
  return linesOf(text).map(moveOf);
}

/** The lines of a text that say something. */
export function linesOf(/** @type {string} */ text) {
  return text.split("\n").map((line) => line.trim()).filter(Boolean);
}

/** The move that a line says. Throws a sentence if it says none. @returns {Move} */
export function moveOf(/** @type {string} */ line) {
  const colon = line.indexOf(":");
  const thing = line.slice(0, Math.max(0, colon)).trim();
  const points = line.slice(colon + 1).trim().split(/\s+/).map((point) => point.split(",").map(numberOf));
  if (!thing || points.some((point) => point.length !== 2 || !point.every(Number.isFinite))) {
    throw new Error(
      `“${line}” is no move: write a thing and its points, x,y from 0 to 1, like “red ball: 0.2,0.5 0.8,0.5”`,
    );
  }
  return { thing, points };
}

const numberOf = (/** @type {string} */ text) => (text === "" ? NaN : Number(text));

/**
 * Where moves have things at each pixel frame of each latent frame: (latent frames, 4, things, 2), NaN where one is free.
 * Throws a sentence for a thing that is not known, or is moved twice, and for points far outside of the picture.
 * @param {Move[]} moves
 * @param {number} frames of the clip
 * @param {import("./plan.js").About} about
 */
export function courseOf(moves, frames, about) {
  const course = new Float32Array((1 + (frames - 1) / 4) * 4 * about.things * 2).fill(NaN);
  const taken = new Set();
  for (const { thing, points } of moves) {
    const [one] = named(thing, about);
    if (!one || one.colour >= about.things - 1) {
      const known = [...new Set(Object.values(about.colours))].map((colour) => nameOf(colour, about));
      throw new Error(`“${thing}” cannot be moved: name a colour and a shape, like “red ball” (${known.join(", ")})`);
    }
    if (taken.has(one.colour)) {
      throw new Error(`two moves are of ${nameOf(one.colour, about)} things: give one, with all of its points`);
    }
    taken.add(one.colour);
    if (points.flat().some((share) => Math.abs(share - 0.5) > 0.5 + OUTSIDE)) {
      throw new Error(`“${thing}” would go far outside: x and y are shares of the picture, 0 to 1`);
    }
    for (let slot = 0; slot < course.length / about.things / 2; slot++) {
      const frame = Math.max(0, slot - 3); // the first latent frame stands for one frame, four times over
      const at = frames > 1 ? (frame / (frames - 1)) * (points.length - 1) : 0;
      const [from, to] = [points[Math.floor(at)], points[Math.ceil(at)]];
      const share = at - Math.floor(at);
      const where = from.map((value, axis) => value + share * (to[axis] - value));
      course.set(where, 2 * (slot * about.things + one.colour));
    }
  }
  return course;
}

/** What a colour is called, by its number. */
export function nameOf(/** @type {number} */ colour, /** @type {import("./plan.js").About} */ about) {
  return Object.keys(about.colours).find((word) => about.colours[word] === colour) ?? "";
}

/** A move in text, its points to a hundredth of the picture. */
export function written({ thing, points }) {
  return `${thing}: ${points.map((point) => point.map((share) => Number(share.toFixed(2))).join(",")).join(" ")}`;
}

/** How Python writes moves: files say of them what its digest is. */
export function asPython(/** @type {Move[]} */ moves) {
  const tuple = (parts) => `(${parts.join(", ")}${parts.length === 1 ? "," : ""})`;
  const number = (value) => (Number.isInteger(value) ? `${value}.0` : String(value));
  const quoted = (text) => (text.includes("'") && !text.includes('"') ? `"${text}"` : `'${text.replaceAll("'", "\\'")}'`);
  return tuple(moves.map(({ thing, points }) => {
    return `Move(thing=${quoted(thing)}, points=${tuple(points.map((point) => tuple(point.map(number))))})`;
  }));
}
