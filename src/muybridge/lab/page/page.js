/** The page: hears the user, asks the worker, shows what comes. */

import { tagsOf, toFile } from "./film.js";
import { Form } from "./form.js";
import { clips, dropClip, keepClip, keepWish, lastWish } from "./keep.js";
import { Player, still } from "./player.js";
import { showShelf } from "./shelf.js";

const $ = (/** @type {string} */ id) => /** @type {any} */ (document.getElementById(id));
const asked = new URLSearchParams(location.search);
const SHOWN_IN_STRIP = 8;

/** What is going on. @type {{worker: Worker | null, facts: any, clip: any, wish: any, queue: any[], frames: any[]}} */
const state = { worker: null, facts: null, clip: null, wish: null, queue: [], frames: [] };
const player = new Player($("canvas"), shown);
let lab;
let form;

begin().catch((error) => trouble(`The page could not start: ${error.message}. Reload it.`));

async function begin() {
  const [about, words] = await Promise.all(["lab.json", "model/vocabulary.json"].map((file) => fetch(file).then(json)));
  lab = { ...about, vocabulary: words };
  form = new Form(lab.model, words, { changed: estimate, trouble });
  if (asked.has("run")) $("run").value = asked.get("run");
  $("factmodel").textContent = `${lab.model.name} (${lab.model.hash}), learnt from ${lab.model.learnt_from}`;
  for (const times of [1, 2, 4]) {
    const [width, height] = [lab.model.trained.width * times, lab.model.trained.height * times];
    $("enlarged").add(new Option(times === 1 ? `${width}×${height}, as made` : `${width}×${height}`, String(times)));
  }
  listen();
  await Promise.all([remember(), stayOffline()]);
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
  $("canvas").addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step) [player.playing, player.at] = [false, player.at + step];
    else if (event.key === " ") player.playing = !player.playing;
    else return;
    event.preventDefault();
    player.seek(player.at);
  });
  $("canvas").onclick = $("play").onclick = () => {
    player.playing = !player.playing;
    player.seek(player.at);
  };
  $("seek").oninput = () => {
    player.playing = false;
    player.seek(Number($("seek").value));
  };
  $("stop").onclick = stop;
  $("save").onclick = save;
  $("again").onclick = () => {
    $("dice").click();
    make();
  };
  $("continue").onclick = async () => {
    const { frames, width, height } = state.clip;
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
  if (state.facts && state.facts.wish === form.run) return next();
  state.worker?.terminate();
  state.facts = null;
  state.worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
  state.worker.onmessage = ({ data }) => HEARD[data.type](data);
  state.worker.onerror = (event) => HEARD.failed({ sentence: event.message || "the model's worker broke down" });
  doing("loading the model", 0);
  const run = { run: form.run, threads: Number(asked.get("threads") ?? 0) };
  state.worker.postMessage({ type: "load", lab, vocabulary: lab.vocabulary, wish: run });
  state.began = performance.now();
}

function next() {
  const wish = state.queue.shift();
  if (!wish) return finish();
  state.wish = wish;
  state.frames = [];
  state.began = performance.now();
  doing(wish.still ? "reading words and picture" : "reading the words", 0);
  state.worker.postMessage({ type: "make", wish: { ...wish, previewEvery: lab.model.sampling.preview_every } });
}

function stop() {
  state.queue = [];
  if (state.facts) return state.worker.postMessage({ type: "stop" });
  state.worker.terminate();
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
    state.facts = { ...facts, wish: form.run };
    facts.notes.forEach(note);
    tell(facts);
    said(`The model is ready after ${time(seconds)}.`);
    next();
  },
  step({ step, steps, seconds }) {
    const more = state.queue.length ? `, ${state.queue.length} more to come` : "";
    doing(`step ${step} of ${steps}, ${time((seconds / step) * (steps - step))} left${more}`, step / (steps + 1));
    state.steps = seconds / step;
    estimate();
  },
  preview({ pictures }) {
    const { width, height } = state.wish;
    screen(true, "preview: what it may become");
    player.show(pictures, width, height, 2, true);
  },
  frames({ frames, done, of }) {
    if (done === 1) {
      screen(true, "");
      player.show([], state.wish.width, state.wish.height, state.wish.fps);
    }
    state.frames.push(...frames);
    player.add(frames);
    doing(`decoding frame ${state.frames.length} of ${state.wish.frames}`, done / of);
  },
  async made({ took, facts }) {
    const { width, height, fps, frames } = state.wish;
    const ran = on(facts);
    const made = { id: crypto.randomUUID?.() ?? `${Date.now()}`, made: Date.now(), wish: state.wish, took, ran };
    const clip = { ...made, frames: state.frames, width, height, fps };
    tell(facts);
    $("factspeed").textContent = `${(frames / took.seconds).toFixed(2)} frames a second, ${took.secondsAStep.toFixed(2)} s a step`;
    said(`The clip is made, in ${time(took.seconds)}.`);
    await keepClip(clip).catch(() => note("The clip could not be kept in this browser: save it before you close the page."));
    open(clip);
    await shelf();
    next();
  },
  stopped() {
    said("Stopped.");
    finish();
  },
  failed({ sentence }) {
    trouble(`It did not work: ${sentence}`);
    state.facts = null;
    finish();
  },
};

function finish() {
  if (state.wish) keepWish(state.wish, false).catch(() => {});
  state.wish = null;
  busy(false);
  if (state.clip) open(state.clip);
  else screen(false, "made by nano");
}

/** Puts a clip on the screen. */
function open(clip) {
  state.clip = clip;
  screen(true, "");
  $("canvas").setAttribute("aria-label", `A clip: ${clip.wish.prompt || "anything"}`);
  player.show(clip.frames, clip.width, clip.height, clip.fps);
  const last = clip.frames.length - 1;
  const count = Math.min(SHOWN_IN_STRIP, clip.frames.length);
  const numbers = [...new Set(Array.from({ length: count }, (_, i) => Math.round((i * last) / Math.max(1, count - 1))))];
  $("strip").replaceChildren(...numbers.map((number) => stripButton(clip, number)));
  for (const id of ["strip", "controls", "actions"]) $(id).hidden = false;
  $("seek").max = last;
  const { wish, took, ran } = clip;
  $("caption").textContent =
    `${wish.prompt || "(no words)"} · seed ${wish.seed}, ${wish.steps} steps, guidance ${wish.guidance}` +
    ` · ${time(took.seconds)} on ${ran}. A synthetic video.`;
  for (const button of document.querySelectorAll("#clips .open")) button.setAttribute("aria-current", "false");
}

function stripButton(clip, number) {
  const button = document.createElement("button");
  Object.assign(button, { type: "button", onclick: () => ([player.playing, player.at] = [false, number]) && player.seek(number) });
  button.dataset.frame = number;
  button.setAttribute("aria-label", `Frame ${number + 1}`);
  button.append(still(clip.frames[number], clip.width, clip.height));
  return button;
}

/** The player's word on what it shows. */
function shown(frame, frames) {
  $("seek").value = frame;
  $("time").textContent = `${frame + 1} of ${frames}, ${(frame / player.fps).toFixed(2)} s`;
  $("play").textContent = player.playing ? "Pause" : "Play";
  $("play").setAttribute("aria-pressed", String(player.playing));
  const buttons = [...$("strip").children];
  const nearest = buttons.findLast((one) => Number(one.dataset.frame) <= frame);
  buttons.forEach((one) => one.setAttribute("aria-current", String(one === nearest)));
}

async function save() {
  const button = $("save");
  button.disabled = true;
  try {
    const { clip } = state;
    const imageHash = clip.wish.still ? await sha256(clip.wish.still) : "";
    const tags = tagsOf(clip, lab.model, lab.muybridge, imageHash);
    const { blob, name, codec } = await toFile(clip, Number($("enlarged").value), tags);
    const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
    said(codec === "avc" ? `${name} is saved.` : `${name} is saved; this browser cannot encode H.264, so it is WebM.`, true);
  } catch (error) {
    trouble(`The clip could not be saved: ${error.message}`);
  } finally {
    button.disabled = false;
  }
}

/** The digest of a still's pixels, as `muybridge generate` writes it: (height, width, 3), 0 to 255. */
async function sha256(pixels) {
  const size = pixels.length / 3;
  const bytes = Uint8ClampedArray.from(pixels, (_, i) => (pixels[(i % 3) * size + Math.floor(i / 3)] + 1) * 127.5);
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function shelf() {
  showShelf(await clips().catch(() => []), state.clip?.id, { open: pick, drop });
}

async function pick(clip) {
  open(clip);
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
  if (newest) open(newest);
  await shelf();
}

/** The service worker keeps the page for times without a net, and gives it threads where the server does not. */
async function stayOffline() {
  if (!navigator.serviceWorker) {
    note("The page works only while its server runs: open it on localhost or by https to keep it for times without a net.");
    return;
  }
  const controlled = Boolean(navigator.serviceWorker.controller);
  await navigator.serviceWorker.register(`sw.js?v=${lab.version}`);
  await navigator.serviceWorker.ready;
  if (self.crossOriginIsolated || controlled || sessionStorage.getItem("reloaded")) return;
  sessionStorage.setItem("reloaded", "once"); // with the worker's headers this time
  location.reload();
}

function tell(facts) {
  $("factrun").textContent = on(facts);
  const here = `${megabytes(facts.weights)} of weights`;
  $("factbytes").textContent = facts.downloaded ? `${megabytes(facts.downloaded)} (${here}, the rest is the runtime)` : `nothing: ${here} were here`;
}

function on(facts) {
  const threads = facts.threads === 1 ? "1 thread" : `${facts.threads} threads`;
  return facts.device === "webgpu" ? "WebGPU, the graphics card" : `WebAssembly, ${threads}`;
}

function estimate() {
  if (!form || !lab) return;
  const { trained } = lab.model;
  const share = (1 + (Number($("frames").value) - 1) / 4) / (1 + ((state.wish?.frames ?? trained.frames) - 1) / 4);
  const seconds = state.steps && !state.wish ? ` About ${time(state.steps * Number($("steps").value) * share)} on this machine.` : "";
  $("estimate").textContent = `Fewer steps are faster and rougher; ${lab.model.sampling.steps} measured best.${seconds}`;
}

function screen(canvas, badge) {
  $("still").hidden = canvas;
  $("canvas").hidden = !canvas;
  $("badge").textContent = badge;
}

function busy(is) {
  $("make").disabled = is;
  $("make").textContent = is ? "Making…" : "Make the clip";
  $("stop").hidden = $("work").hidden = !is;
  for (const id of ["again", "continue", "save"]) $(id).disabled = is;
}

function doing(text, share) {
  $("doing").textContent = text[0].toUpperCase() + text.slice(1);
  $("progress").value = share;
}

/** For screen readers, and in sight where it matters. */
function said(text, visible = false) {
  $("said").textContent = text;
  $("said").className = visible ? "note" : "hidden";
}

function trouble(text) {
  $("trouble").textContent = text;
  $("trouble").hidden = !text;
}

function note(text) {
  const notes = [...$("notes").children].map((one) => one.textContent);
  if (!notes.includes(text)) $("notes").append(Object.assign(document.createElement("li"), { textContent: text }));
}

function time(seconds) {
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  return seconds < 90 ? `${Math.round(seconds)} s` : `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
}

function megabytes(bytes) {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}
