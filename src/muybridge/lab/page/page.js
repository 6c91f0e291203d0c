/** The page: hears the user, asks the worker, shows what comes. */

import { tagsOf, toFile, writer } from "./film.js";
import { Form } from "./form.js";
import { clips, dropClip, keepClip, keepWish, lastWish } from "./keep.js";
import { asPython, movesOf } from "./moves.js";
import { still } from "./player.js";
import { doing, megabytes, note, on, said, tell, time, trouble } from "./say.js";
import { showShelf } from "./shelf.js";
import { Stage } from "./stage.js";

const $ = (/** @type {string} */ id) => /** @type {any} */ (document.getElementById(id));
const asked = new URLSearchParams(location.search);

/**
 * What is going on: the worker was asked to `run` on something and told its `facts` once the model was there; `wish` is
 * being made unless it is `stopping`, `queue` waits; `pace` is seconds a step and frame, 0 where nobody knows yet;
 * `outdated`: a newer page is here.
 * @type {{worker: Worker | null, run: string, facts: any, wish: any, stopping: boolean, queue: any[], frames: any[],
 *     began: number, pace: number, outdated: boolean}}
 */
const state = {
  worker: null, run: "", facts: null, wish: null, stopping: false, queue: [], frames: [], began: 0, pace: 0, outdated: false,
};
const stage = new Stage();
let lab;
let form;

begin().catch((error) => trouble(`The page could not start: ${error.message}. Reload it.`));

async function begin() {
  const [about, words] = await Promise.all(["lab.json", "model/vocabulary.json"].map((file) => fetch(file).then(json)));
  lab = { ...about, vocabulary: words };
  form = new Form(lab.model, words, { changed: estimate, trouble });
  estimate();
  if (asked.has("run")) $("run").value = asked.get("run");
  $("factmodel").textContent = `${lab.model.name} (${lab.model.hash}), learnt from ${lab.model.learnt_from}`;
  for (const times of [1, 2, 4]) {
    const [width, height] = [lab.model.trained.width * times, lab.model.trained.height * times];
    $("enlarged").add(new Option(times === 1 ? `${width}×${height}, as made` : `${width}×${height}`, String(times)));
  }
  listen();
  stayOffline()
    .catch(() => note("This browser keeps no page for times without a net (a private window?): it works while its server runs."))
    .then(underTheServiceWorker)
    .then(writer)
    .catch(() => {}); // whoever saves a clip hears of it
  await remember();
  if (matchMedia("(pointer: coarse)").matches && (navigator.deviceMemory ?? 8) < 3) {
    note("This device has little memory: if the page is reloaded by itself, make shorter clips. What is finished is kept.");
  }
  document.documentElement.dataset.ready = "yes";
}

async function json(answer) {
  if (!answer.ok) throw new Error(`${answer.url} is missing (${answer.status})`);
  return answer.json();
}

function listen() {
  $("form").addEventListener("submit", (event) => {
    event.preventDefault();
    make();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) make();
    if (event.key === "Escape" && !$("stop").hidden) stop();
  });
  window.addEventListener("beforeunload", (event) => {
    if (state.wish) event.preventDefault(); // the browser asks whether to leave
  });
  $("stop").onclick = stop;
  $("save").onclick = save;
  $("again").onclick = () => {
    $("dice").click();
    make();
  };
  $("continue").onclick = async () => {
    const { frames, width, height } = stage.clip;
    await form.take(still(frames.at(-1), width, height));
    said("The last frame is now the first frame of the next clip.");
    $("prompt").focus();
  };
}

/** Asks for as many clips as there are variants, with seeds that follow each other. */
async function make() {
  if (state.wish || !form) return;
  trouble("");
  let wish;
  try {
    wish = form.read();
  } catch (error) {
    return trouble(error.message);
  }
  state.queue = Array.from({ length: form.variants }, (_, i) => ({ ...wish, seed: wish.seed + i }));
  state.wish = wish;
  busy(true);
  keepWish(wish, true).catch(() => note("This browser keeps nothing for this page: clips are lost when it is closed."));
  if (state.facts && state.run === form.run) return next();
  await load();
}

/** Loads the model for what the form says it is to run on; then the queue is worked off. */
async function load() {
  const { wish } = state;
  state.worker?.terminate();
  Object.assign(state, { worker: null, facts: null, run: form.run });
  await underTheServiceWorker();
  if (state.wish !== wish) return; // stopped meanwhile
  if (state.outdated) return stop();
  state.worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
  state.worker.onmessage = ({ data }) => HEARD[data.type](data);
  state.worker.onerror = (event) => HEARD.failed({ sentence: event.message || "the model's worker broke down" });
  doing("loading the model", 0);
  const run = { run: state.run, threads: Number(asked.get("threads") ?? 0) };
  state.worker.postMessage({ type: "load", lab, vocabulary: lab.vocabulary, wish: run });
  state.began = performance.now();
}

function next() {
  const wish = state.queue.shift();
  if (!wish) return finish();
  state.wish = wish;
  state.stopping = false;
  state.frames = [];
  state.began = performance.now();
  stage.watch();
  doing(wish.still ? "reading words and picture" : "reading the words", 0);
  state.worker.postMessage({ type: "make", wish: { ...wish, previewEvery: lab.model.sampling.preview_every } });
}

function stop() {
  state.queue = [];
  state.stopping = true;
  if (state.facts) return state.worker.postMessage({ type: "stop" });
  state.worker?.terminate(); // there is none yet while the service worker is awaited
  state.worker = null;
  finish();
}

/** What the worker tells of. */
const HEARD = {
  loading({ done, total, what }) {
    const rate = done / ((performance.now() - state.began) / 1000);
    const left = done && done < total ? `, ${time((total - done) / rate)} left` : "";
    doing(`${what}: ${megabytes(done)} of ${megabytes(total)}${left}`, done / total);
  },
  ready({ facts, seconds }) {
    state.facts = facts;
    facts.notes.forEach(note);
    tell(facts);
    said(`The model is ready after ${time(seconds)}.`);
    next();
  },
  step({ step, steps, done, seconds }) {
    const more = state.queue.length ? `, ${state.queue.length} more to come` : "";
    doing(`step ${step} of ${steps}, ${time(seconds / done - seconds)} left${more}`, done * (steps / (steps + 1)));
    state.pace = seconds / (done * state.wish.steps * state.wish.frames); // first frames made alone count, too
  },
  preview({ pictures }) {
    stage.preview(pictures, state.wish.width, state.wish.height);
  },
  frames({ frames, done, of }) {
    state.frames.push(...frames);
    stage.add(frames, done === 1, state.wish);
    doing(`decoding frame ${state.frames.length} of ${state.wish.frames}`, done / of);
  },
  async made({ took, facts }) {
    const { width, height, fps, frames } = state.wish;
    const ran = on(facts);
    const made = { id: crypto.randomUUID?.() ?? `${Date.now()}`, made: Date.now(), wish: state.wish, took, ran };
    const clip = { ...made, frames: state.frames, width, height, fps, model: lab.model, version: lab.muybridge };
    tell(facts);
    $("factspeed").textContent = `${(frames / took.seconds).toFixed(2)} frames a second, ${took.secondsAStep.toFixed(2)} s a step`;
    said(`The clip is made, in ${time(took.seconds)}.`);
    await keepClip(clip).catch(() => note("The clip could not be kept in this browser: save it before you close the page."));
    stage.open(clip);
    await shelf();
    next();
  },
  stopped() {
    said("Stopped.");
    finish();
  },
  failed({ sentence }) {
    if (state.wish && !state.stopping && state.facts?.device === "webgpu") return withoutWebGpu(sentence);
    trouble(`It did not work: ${sentence}`);
    state.facts = null;
    state.queue = [];
    finish();
  },
};

/** The graphics card failed in the middle of a clip: the processor makes it from the start, and all that follow. */
async function withoutWebGpu(sentence) {
  note(`WebGPU failed (${sentence}), so the processor is used`);
  $("run").value = "wasm"; // until the user chooses otherwise
  state.queue.unshift(state.wish);
  await load();
}

/**
 * What a worker fetches is kept for offline only if the service worker had the page when the worker began; one of another
 * version would give it another model.
 */
function underTheServiceWorker() {
  const keeper = navigator.serviceWorker;
  if (!keeper || keeper.controller?.scriptURL.endsWith(`?v=${lab.version}`)) return;
  return new Promise((resolve) => {
    keeper.addEventListener("controllerchange", resolve, { once: true });
    setTimeout(resolve, 5000); // some browsers never let one in: the model runs all the same
  });
}

async function finish() {
  const { wish } = state;
  state.wish = null;
  busy(false);
  estimate();
  stage.restore();
  if (wish) await keepWish(wish, false).catch(() => {});
  renew();
}

/** Takes the newer page, if there is one and nothing is being made or saved: old and new parts do not fit together. */
function renew() {
  if (state.outdated && !$("save").disabled) location.reload();
}

async function save() {
  const button = $("save");
  button.disabled = true;
  try {
    const { clip } = stage;
    const { still: first, moves } = clip.wish;
    const imageHash = first ? await sha256(bytesOf(first)) : "";
    const movesHash = moves ? await sha256(new TextEncoder().encode(asPython(movesOf(moves)))) : "";
    const { blob, name, codec } = await toFile(clip, Number($("enlarged").value), tagsOf(clip, imageHash, movesHash));
    const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
    said(codec === "avc" ? `${name} is saved.` : `${name} is saved; this browser cannot encode H.264, so it is WebM.`, true);
  } catch (error) {
    trouble(`The clip could not be saved: ${error.message}`);
  } finally {
    button.disabled = false;
    renew();
  }
}

/** A still's pixels as `muybridge generate` digests them: (height, width, 3), 0 to 255. */
function bytesOf(pixels) {
  const size = pixels.length / 3;
  return Uint8ClampedArray.from(pixels, (_, i) => (pixels[(i % 3) * size + Math.floor(i / 3)] + 1) * 127.5);
}

async function sha256(bytes) {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function shelf() {
  showShelf(await clips().catch(() => []), stage.clip?.id, { open: pick, drop });
}

async function pick(clip) {
  stage.open(clip);
  form.write(clip.wish);
  await shelf();
  $("screen").scrollIntoView({ block: "nearest" });
}

async function drop(clip) {
  await dropClip(clip.id);
  await shelf();
}

/** What was there when the page was last closed. */
async function remember() {
  const last = await lastWish().catch(() => undefined);
  if (last) form.write(last.wish);
  if (last?.open) said("The page was closed while a clip was being made. Its words and seed are here: make it again.", true);
  const [newest] = await clips().catch(() => []);
  if (newest) stage.open(newest);
  await shelf();
}

/** The service worker keeps the page for times without a net, and gives it threads where the server does not. */
async function stayOffline() {
  if (!navigator.serviceWorker) {
    note("The page works only while its server runs: open it on localhost or by https to keep it for times without a net.");
    return;
  }
  const keeper = navigator.serviceWorker;
  const controlled = Boolean(keeper.controller);
  let known = controlled;
  keeper.addEventListener("controllerchange", () => {
    [state.outdated, known] = [known, true]; // the first one that a page gets is its own
    renew();
  });
  await keeper.register(`sw.js?v=${lab.version}`);
  await keeper.ready;
  if (self.crossOriginIsolated || controlled || state.wish || sessionStorage.getItem("reloaded")) return;
  sessionStorage.setItem("reloaded", "once"); // with the worker's headers this time
  location.reload();
}

function estimate() {
  if (!form) return;
  const seconds = state.pace * Number($("frames").value) * Number($("steps").value);
  const here = seconds ? ` About ${time(seconds)} on this machine.` : "";
  $("estimate").textContent = `Fewer steps are faster and rougher; it comes with ${lab.model.sampling.steps}.${here}`;
}

function busy(is) {
  $("make").disabled = is;
  $("make").textContent = is ? "Making…" : "Make the clip";
  $("stop").hidden = $("work").hidden = !is;
  for (const id of ["again", "continue", "save"]) $(id).disabled = is;
}
