/**
 * The model in this browser: ONNX graphs in onnxruntime-web, on the GPU (WebGPU) or the processor (WebAssembly).
 *
 * @typedef {{version: string, model: any, graphs: Record<string, string>, files: Record<string, number>}} Lab
 *     What lab.json says: the model, where each of its parts lies, how many bytes every file has.
 * @typedef {{done: number, total: number, what: string}} Loading bytes that are here, of how many, and what comes now
 */

import { certain, plan } from "./plan.js";
import { mistakes } from "./witness.js";

const RUNTIMES = {
  wasm: { entry: "ort.wasm.min.mjs", binary: "ort-wasm-simd-threaded" },
  webgpu: { entry: "ort.webgpu.min.mjs", binary: "ort-wasm-simd-threaded.asyncify" },
};
const MOST_THREADS = 8;

/**
 * Loads the model on the best that there is.
 * @param {Lab} lab
 * @param {{run: string, threads: number}} wish run: "webgpu", "wasm" or "" for the best; threads: 0 for as many as help
 * @param {(loading: Loading) => void} report
 * @returns {Promise<Model>}
 */
export async function load(lab, wish, report) {
  const notes = [];
  if (wish.run !== "wasm") {
    const reason = await noGpu();
    if (!reason) {
      try {
        return await Model.open(lab, "webgpu", 1, notes, report);
      } catch (error) {
        notes.push(`WebGPU failed (${sentence(error)}), so the processor is used`);
      }
    } else if (wish.run === "webgpu") notes.push(`${reason}, so the processor is used`);
  }
  if (!self.crossOriginIsolated) {
    notes.push("one thread only: this server does not send the headers that threads need (COOP and COEP)");
  }
  const most = Math.min(navigator.hardwareConcurrency || 1, MOST_THREADS);
  const threads = self.crossOriginIsolated ? Math.min(wish.threads || most, most) : 1;
  return Model.open(lab, "wasm", threads, notes, report);
}

/** Why there is no WebGPU, or "" if there is. */
async function noGpu() {
  if (!navigator.gpu) return "this browser has no WebGPU";
  const adapter = await navigator.gpu.requestAdapter().catch(() => null);
  return adapter ? "" : "this browser has WebGPU, but no graphics card for it";
}

export class Model {
  /** Use `load`. */
  constructor(ort, sessions, facts) {
    this.ort = ort;
    this.sessions = sessions;
    /** @type {{device: string, threads: number, notes: string[], downloaded: number, weights: number}} */
    this.facts = facts;
  }

  static async open(lab, device, threads, notes, report) {
    const runtime = RUNTIMES[device];
    const binary = `runtime/${runtime.binary}.wasm`;
    const parts = lab.graphs;
    const wanted = ["text", "transformer", "decoder", ...["witness", "eye", "planner"].filter((part) => parts[part])];
    const files = [binary, ...wanted.map((part) => parts[part])];
    const fetcher = new Fetcher(lab, files, report);
    const ort = await import(new URL(`runtime/${runtime.entry}`, import.meta.url).href);
    ort.env.logLevel = "error";
    ort.env.wasm.numThreads = threads;
    ort.env.wasm.wasmPaths = { mjs: new URL(`runtime/${runtime.binary}.mjs`, import.meta.url).href };
    ort.env.wasm.wasmBinary = await fetcher.bytes(binary);
    const options = { executionProviders: [device], graphOptimizationLevel: "all", logSeverityLevel: 3 };
    const open = async (part) => {
      const bytes = await fetcher.bytes(parts[part]);
      fetcher.say(`preparing the ${part}`);
      return ort.InferenceSession.create(bytes, options);
    };
    const sessions = {};
    for (const part of wanted) sessions[part] = await open(part);
    const weights = files.slice(1).reduce((sum, file) => sum + lab.files[file], 0);
    const model = new Model(ort, sessions, { device, threads, notes, downloaded: fetcher.downloaded, weights });
    const fetchEncoder = async (tell) => {
      const more = new Fetcher(lab, [parts.encoder], tell);
      const bytes = await more.bytes(parts.encoder);
      model.facts.downloaded += more.downloaded;
      model.facts.weights += lab.files[parts.encoder];
      return bytes;
    };
    const early = fetchEncoder(() => {}).catch(() => null); // when a still comes there may be no net
    model.openEncoder = async () => {
      const bytes = (await early) ?? (await fetchEncoder(report));
      sessions.encoder = await ort.InferenceSession.create(bytes, options);
    };
    return model;
  }

  /** Features of a prompt: (1, tokens, width). */
  async text(/** @type {number[]} */ ids) {
    const feed = { ids: new this.ort.Tensor("int64", BigInt64Array.from(ids, BigInt), [1, ids.length]) };
    return Object.values(await this.sessions.text.run(feed))[0];
  }

  /** Whether frames are told of the known frame nearest to them; a clip then begins with a first frame made alone. */
  get anchored() {
    return this.sessions.transformer.inputNames.includes("known");
  }

  /** Whether it can tell which of several first frames shows what was asked for. */
  get witnesses() {
    return Boolean(this.sessions.witness);
  }

  /** How far a latent frame is from what a prompt's features ask for: the fewer the better. */
  async mistakes(latent, text, shape) {
    const picture = new this.ort.Tensor("float32", latent, [1, ...shape.slice(2)]);
    return mistakes(await this.sessions.witness.run({ picture, text }));
  }

  /** Whether it can foresee where things go. */
  get plans() {
    return Boolean(this.sessions.planner);
  }

  /**
   * What the words leave no doubt of in a plan; null where they do.
   * @param {import("./plan.js").About} about
   * @param {Float32Array | null} course
   */
  async certain(text, prompt, about, shape, course) {
    if (!this.witnesses) return null;
    const nothing = new Float32Array(shape.reduce((a, b) => a * b));
    const picture = new this.ort.Tensor("float32", nothing, [1, ...shape.slice(2)]);
    return certain(await this.sessions.witness.run({ picture, text }), prompt, about, course);
  }

  /**
   * Tracks for each seed, of a window each; `known` latent frames are those that all the clips begin with.
   * @param {import("./plan.js").About} about
   */
  async foreseen(about, steps, seeds, text, fps, known, shape, held) {
    const { Tensor } = this.ort;
    const [clips, window] = [seeds.length, about.window];
    const size = shape.reduce((a, b) => a * b);
    const latent = new Float32Array(window * size);
    latent.set(known);
    const isKnown = Float32Array.from({ length: window }, (_, f) => (f < known.length / size ? 1 : 0));
    const looked = await this.sessions.eye.run({
      latent: new Tensor("float32", latent, [1, window, ...shape.slice(2)]),
      known: new Tensor("float32", isKnown, [1, window]),
    });
    const beside = {
      text: this.repeated(text, clips),
      fps: new Tensor("float32", new Float32Array(clips).fill(fps), [clips]),
      seen: this.repeated(looked.seen, clips),
      whole: this.repeated(looked.whole, clips),
    };
    const foresee = async (tracks, levels) => {
      const feeds = {
        tracks: new Tensor("float32", tracks, [clips, window, about.things, about.numbers]),
        level: new Tensor("float32", levels, [clips, window, about.things]),
      };
      return Object.values(await this.sessions.planner.run({ ...feeds, ...beside }))[0].data;
    };
    return plan(foresee, about, steps, seeds, held);
  }

  /**
   * Velocity of latents: `shape` is (clips, frames, channels, rows, columns). All have the same words, and of each the
   * first `held` frames are known. `tracks` is a window of them for each clip; null where nothing is foreseen.
   */
  async velocity(x, levels, spans, text, fps, shape, held, tracks) {
    const { Tensor } = this.ort;
    const [clips, frames] = shape;
    const feeds = {
      latent: new Tensor("float32", x, shape),
      level: new Tensor("float32", levels, [clips, frames]),
      text: clips === 1 ? text : this.repeated(text, clips),
      fps: new Tensor("float32", new Float32Array(clips).fill(fps), [clips]),
    };
    if (this.anchored) {
      const known = Float32Array.from(levels, (_, i) => (i % frames < held ? 1 : 0));
      feeds.known = new Tensor("float32", known, [clips, frames]);
    }
    const told = this.sessions.transformer.inputMetadata.find(({ name }) => name === "tracks");
    if (told) {
      const size = told.shape[2] * told.shape[3];
      const first = new Float32Array(clips * frames * size);
      for (let i = 0; tracks && i < clips; i++) {
        const begin = (i * tracks.length) / clips;
        first.set(tracks.subarray(begin, begin + frames * size), i * frames * size);
      }
      feeds.tracks = new Tensor("float32", first, [clips, frames, told.shape[2], told.shape[3]]);
    }
    if (this.sessions.transformer.inputNames.includes("span")) {
      feeds.span = new Tensor("float32", spans ?? new Float32Array(levels.length), [clips, frames]);
    }
    return Object.values(await this.sessions.transformer.run(feeds))[0].data;
  }

  /** A tensor (1, …) as one of (times, …). */
  repeated(tensor, times) {
    const data = new Float32Array(times * tensor.data.length);
    for (let i = 0; i < times; i++) data.set(tensor.data, i * tensor.data.length);
    return new this.ort.Tensor("float32", data, [times, ...tensor.dims.slice(1)]);
  }

  /** The latent frame of a still: pixels (3, height, width) in [-1, 1]. The encoder is opened the first time. */
  async encode(pixels, height, width, stride) {
    if (!this.sessions.encoder) await this.openEncoder();
    const { encoder } = this.sessions;
    const fourTimes = new Float32Array(4 * pixels.length); // a clip's first frame fills its latent frame alone
    for (let i = 0; i < 4; i++) fourTimes.set(pixels, i * pixels.length);
    const feeds = { pixels: new this.ort.Tensor("float32", fourTimes, [1, 4, 3, height, width]) };
    this.nothingBefore(encoder, feeds, { batch: 1, frames: 1, height: height / stride, width: width / stride });
    return (await encoder.run(feeds)).latent.data;
  }

  /**
   * Pixels of one latent frame, and what the next one has to be told. Without that the clip begins here: of the four
   * frames of a latent frame it has the last alone.
   * @returns {Promise<[Uint8ClampedArray[], Record<string, any>]>} RGBA frames
   */
  async decode(latent, shape, before) {
    const { decoder } = this.sessions;
    const feeds = { latent: new this.ort.Tensor("float32", latent, shape), ...before };
    this.nothingBefore(decoder, feeds, { batch: 1, frames: 1, height: shape[3], width: shape[4] });
    const { pixels, ...after } = await decoder.run(feeds);
    const [, count, , height, width] = pixels.dims;
    const frames = Array.from({ length: count }, (_, f) => rgba(pixels.data, f, height * width));
    const next = Object.entries(after).map(([name, tensor]) => [name.replace("after.", "before."), tensor]);
    return [before ? frames : frames.slice(-1), Object.fromEntries(next)];
  }

  /** Fills in zeros for what the graph asks of the frames before. */
  nothingBefore(session, feeds, sizes) {
    for (const { name, type, shape } of session.inputMetadata) {
      if (name in feeds) continue;
      const dims = shape.map((axis) => extent(axis, sizes));
      feeds[name] = new this.ort.Tensor(type, new Float32Array(dims.reduce((a, b) => a * b)), dims);
    }
  }
}

/** How long an axis is: 3, "height" or "8*height". */
function extent(axis, sizes) {
  if (typeof axis === "number") return axis;
  const [, factor, name] = axis.match(/^(?:(\d+)\*)?(\w+)$/);
  return Number(factor ?? 1) * sizes[name];
}

/** Frame f of planar pixels in [-1, 1], as a canvas wants it. */
function rgba(planes, f, size) {
  const out = new Uint8ClampedArray(4 * size).fill(255);
  for (let c = 0; c < 3; c++) {
    const start = (3 * f + c) * size;
    for (let i = 0; i < size; i++) out[4 * i + c] = (planes[start + i] + 1) * 127.5; // rounds and clamps
  }
  return out;
}

/** Fetches files and tells how far it is; knows which of them were on this machine already. */
class Fetcher {
  constructor(lab, files, report) {
    this.sizes = lab.files;
    this.cacheName = `muybridge-lab-${lab.version}`; // as sw.js calls it
    this.report = report;
    this.total = files.reduce((sum, file) => sum + lab.files[file], 0);
    this.done = 0;
    this.downloaded = 0;
  }

  say(what) {
    this.report({ done: this.done, total: this.total, what });
  }

  /** @returns {Promise<Uint8Array>} */
  async bytes(file) {
    const url = new URL(file, import.meta.url).href;
    const kept = await self.caches?.match(url, { cacheName: this.cacheName });
    const answer = kept ?? (await fetch(url));
    if (!answer.ok || !answer.body) throw new Error(`the server answers ${answer.status} for ${file}`);
    const out = new Uint8Array(this.sizes[file]);
    let at = 0;
    for (const reader = answer.body.getReader(); ; ) {
      const { done, value } = await reader.read();
      if (done) break;
      if (at + value.length > out.length) throw new Error(`${file} is longer than it should be: reload the page`);
      out.set(value, at);
      at += value.length;
      this.done += value.length;
      if (!kept) this.downloaded += value.length;
      this.say(kept ? "opening the model" : "downloading the model");
    }
    if (at < out.length) throw new Error(`the download of ${file} broke off: load it again`);
    return out;
  }
}

/** What went wrong, as one sentence for people. */
export function sentence(/** @type {unknown} */ error) {
  const said = String(error instanceof Error ? error.message : error).split("\n")[0].slice(0, 200);
  if (/memory|alloc|out of bounds|RangeError/i.test(`${error}`) && !/longer than/.test(said)) {
    return "there is too little memory for it in this browser: close other tabs, or make a shorter clip";
  }
  if (/Failed to fetch|NetworkError|Load failed/i.test(said)) {
    return "the model could not be fetched: is the server still running, or is this machine offline? Try again";
  }
  return said;
}
