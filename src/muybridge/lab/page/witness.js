/**
 * Which of several first frames shows what was asked for: muybridge/conditioning/witness.py, number for number
 * (tests/test_lab_witness.py holds one against the other). The network is a graph; this reads what it says.
 *
 * @typedef {{data: ArrayLike<number>, dims: readonly number[]}} Scores
 * @typedef {{colours: Scores, shapes: Scores, colour: Scores, shape: Scores}} Said
 *     Scores of each place (1, kinds, rows, columns), the last colour being no object, and of each object that the
 *     prompt may name (1, objects, kinds).
 */

const SMALLEST = 2;

/**
 * How far a picture is from what was asked: objects missing or too many, and a part of one for doubts.
 * @param {Said} said
 */
export function mistakes({ colours, shapes, colour, shape }) {
  const [, most, rows, columns] = colours.dims;
  const nothing = most - 1;
  const wanted = new Set(named(colour, shape, nothing));
  if (!wanted.size) return 0;
  const size = rows * columns;
  const kinds = shapes.dims[1];
  const seen = Array.from({ length: size }, (_, place) => largest(most, (c) => colours.data[c * size + place]));
  const counts = new Map();
  const surely = new Map();
  for (const { of, places } of regions(seen, columns, nothing)) {
    const likely = new Float64Array(kinds);
    for (const place of places) {
      const each = softmax(Array.from({ length: kinds }, (_, s) => shapes.data[s * size + place]));
      each.forEach((value, s) => (likely[s] += value / places.length));
    }
    const kind = of * kinds + largest(kinds, (s) => likely[s]);
    counts.set(kind, (counts.get(kind) ?? 0) + 1);
    likely.forEach((value, s) => surely.set(of * kinds + s, Math.max(surely.get(of * kinds + s) ?? 0, value)));
  }
  let wrong = 0;
  for (const kind of new Set([...counts.keys(), ...wanted])) {
    wrong += Math.abs((counts.get(kind) ?? 0) - (wanted.has(kind) ? 1 : 0));
  }
  const sure = [...wanted].reduce((sum, kind) => sum + (surely.get(kind) ?? 0), 0) / wanted.size;
  return wrong + 0.99 * (1 - sure);
}

/** The kinds that a prompt names: colour * shapes + shape. */
export function named(/** @type {Scores} */ colour, /** @type {Scores} */ shape, /** @type {number} */ nothing) {
  const [, objects, colours] = colour.dims;
  const kinds = shape.dims[2];
  const found = [];
  for (let i = 0; i < objects; i++) {
    const of = largest(colours, (c) => colour.data[i * colours + c]);
    if (of < nothing) found.push(of * kinds + largest(kinds, (s) => shape.data[i * kinds + s]));
  }
  return found;
}

/** Connected places of one colour (sides touch, corners do not), at least SMALLEST of them. */
function* regions(/** @type {number[]} */ colours, /** @type {number} */ columns, /** @type {number} */ nothing) {
  const left = [...colours];
  for (let start = 0; start < left.length; start++) {
    const of = left[start];
    if (of >= nothing) continue;
    const places = [];
    const waiting = [start];
    left[start] = nothing;
    for (let place = waiting.pop(); place !== undefined; place = waiting.pop()) {
      places.push(place);
      const beside = [place - columns, place + columns];
      if (place % columns) beside.push(place - 1);
      if ((place + 1) % columns) beside.push(place + 1);
      for (const next of beside) {
        if (left[next] !== of) continue;
        left[next] = nothing;
        waiting.push(next);
      }
    }
    if (places.length >= SMALLEST) yield { of, places };
  }
}

/** Which of `count` values is largest, the first of equals. */
function largest(/** @type {number} */ count, /** @type {(i: number) => number} */ value) {
  let best = 0;
  for (let i = 1; i < count; i++) if (value(i) > value(best)) best = i;
  return best;
}

function softmax(/** @type {number[]} */ scores) {
  const most = Math.max(...scores);
  const exponentials = scores.map((score) => Math.exp(score - most));
  const sum = exponentials.reduce((a, b) => a + b);
  return exponentials.map((value) => value / sum);
}
