/**
 * The canvas on which ways are drawn, with the mouse, a finger or a pen. What is drawn stands as text below it, where it
 * can be typed and changed as well; the text is what counts.
 */

import { linesOf, moveOf, named, nameOf, written } from "./moves.js";

const SIDE = 256; // pixels of the canvas, across
const MOST_POINTS = 9;

const $ = (/** @type {string} */ id) => /** @type {any} */ (document.getElementById(id));

export class Ways {
  /**
   * @param {import("./plan.js").About} about
   * @param {number} aspect height over width of the clips
   * @param {() => void} changed
   */
  constructor(about, aspect, changed) {
    this.about = about;
    this.changed = changed;
    /** @type {CanvasImageSource | null} */
    this.picture = null;
    /** @type {number[][] | null} */
    this.drawing = null;
    this.canvas = $("ways");
    Object.assign(this.canvas, { width: SIDE, height: Math.round(SIDE * aspect) });
    this.canvas.addEventListener("pointerdown", (event) => this.begin(event));
    this.canvas.addEventListener("pointermove", (event) => this.goOn(event));
    for (const end of ["pointerup", "pointercancel"]) this.canvas.addEventListener(end, () => this.end());
    $("unway").onclick = () => this.say([]);
  }

  /** Offers the things that the words name, and draws what the text says. */
  show(/** @type {string} */ prompt) {
    const things = new Map(named(prompt.toLowerCase(), this.about).map(({ thing, colour }) => [colour, thing]));
    const known = [...$("thing").options].map((option) => option.value);
    if (known.join() !== [...things.values()].join()) {
      const before = $("thing").value;
      $("thing").replaceChildren(...[...things.values()].map((thing) => new Option(thing)));
      if ([...things.values()].includes(before)) $("thing").value = before;
    }
    $("thing").disabled = !things.size;
    $("wayhint").textContent = things.size
      ? "Draw on the picture where it goes, from the first moment to the last."
      : "Name a thing with its colour above, like “red ball”, and its way can be drawn here.";
    this.draw();
  }

  begin(event) {
    if (!$("thing").value) return;
    this.canvas.setPointerCapture(event.pointerId);
    this.drawing = [];
    this.goOn(event);
    event.preventDefault();
  }

  goOn(event) {
    if (!this.drawing) return;
    const { left, top, width, height } = this.canvas.getBoundingClientRect();
    const inside = (share) => Math.min(1, Math.max(0, share));
    this.drawing.push([inside((event.clientX - left) / width), inside((event.clientY - top) / height)]);
    this.draw();
  }

  end() {
    if (!this.drawing) return;
    const [thing, points] = [$("thing").value, evenly(this.drawing)];
    const [{ colour }] = named(thing, this.about);
    this.drawing = null;
    const others = this.lines.filter(({ move }) => !move || this.colour(move) !== colour);
    this.say([...others.map(({ line }) => line), written({ thing, points })]);
  }

  /** The lines of the text, each with the move that it says, if it can be read. */
  get lines() {
    return linesOf($("moves").value).map((line) => {
      try {
        return { line, move: moveOf(line) };
      } catch {
        return { line, move: null };
      }
    });
  }

  say(/** @type {string[]} */ lines) {
    $("moves").value = lines.join("\n");
    this.changed();
  }

  colour(move) {
    return named(move.thing, this.about)[0]?.colour;
  }

  draw() {
    const { canvas } = this;
    const pen = canvas.getContext("2d");
    pen.fillStyle = "#d9d6cf";
    pen.fillRect(0, 0, canvas.width, canvas.height);
    if (this.picture) pen.drawImage(this.picture, 0, 0, canvas.width, canvas.height);
    for (const { move } of this.lines) if (move) this.line(pen, move.points, this.colour(move));
    if (this.drawing) this.line(pen, this.drawing, named($("thing").value, this.about)[0].colour);
    canvas.setAttribute("aria-label", $("moves").value ? `Ways: ${$("moves").value}` : "No ways are drawn");
  }

  line(pen, points, colour) {
    const places = points.map(([x, y]) => [x * this.canvas.width, y * this.canvas.height]);
    Object.assign(pen, { lineCap: "round", lineJoin: "round" });
    for (const [width, style] of [[9, "#ffffffcc"], [5, nameOf(colour, this.about) || "black"]]) {
      Object.assign(pen, { lineWidth: width, strokeStyle: style, fillStyle: style });
      pen.beginPath();
      places.forEach(([x, y]) => pen.lineTo(x, y));
      pen.stroke();
      pen.beginPath();
      pen.arc(...places.at(-1), width + 3, 0, 2 * Math.PI); // where it ends
      pen.fill();
    }
  }
}

/** A few of the points of a stroke, as far from each other along it; a dot is one. */
function evenly(/** @type {number[][]} */ stroke) {
  const along = [0];
  for (let i = 1; i < stroke.length; i++) {
    along.push(along[i - 1] + Math.hypot(stroke[i][0] - stroke[i - 1][0], stroke[i][1] - stroke[i - 1][1]));
  }
  const length = along.at(-1);
  if (length < 0.02) return [stroke[0]];
  return Array.from({ length: MOST_POINTS }, (_, k) => {
    const at = (length * k) / (MOST_POINTS - 1);
    const next = Math.max(1, along.findIndex((reached) => reached >= at - 1e-9));
    const share = (at - along[next - 1]) / (along[next] - along[next - 1] || 1);
    return stroke[next].map((value, axis) => stroke[next - 1][axis] + share * (value - stroke[next - 1][axis]));
  });
}
