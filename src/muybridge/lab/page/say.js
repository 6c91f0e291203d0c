/** Numbers and news in words. */

const $ = (/** @type {string} */ id) => /** @type {any} */ (document.getElementById(id));

export function time(/** @type {number} */ seconds) {
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  return seconds < 90 ? `${Math.round(seconds)} s` : `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
}

export function megabytes(/** @type {number} */ bytes) {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}

/** What is being done, and how much of it is. */
export function doing(/** @type {string} */ text, /** @type {number} */ share) {
  $("doing").textContent = text[0].toUpperCase() + text.slice(1);
  $("progress").value = share;
}

/** For screen readers, and in sight where it matters. */
export function said(/** @type {string} */ text, visible = false) {
  $("said").textContent = text;
  $("said").className = visible ? "note" : "hidden";
}

/** What went wrong; "" takes it away. */
export function trouble(/** @type {string} */ text) {
  $("trouble").textContent = text;
  $("trouble").hidden = !text;
}

/** A sentence at the foot of the page, once. */
export function note(/** @type {string} */ text) {
  const notes = [...$("notes").children].map((one) => one.textContent);
  if (!notes.includes(text)) $("notes").append(Object.assign(document.createElement("li"), { textContent: text }));
}

/** "WebAssembly, 2 threads" */
export function on(/** @type {{device: string, threads: number}} */ facts) {
  const threads = facts.threads === 1 ? "1 thread" : `${facts.threads} threads`;
  return facts.device === "webgpu" ? "WebGPU, the graphics card" : `WebAssembly, ${threads}`;
}

/** What it runs on and what was downloaded, at the foot of the page. */
export function tell(/** @type {any} */ facts) {
  $("factrun").textContent = on(facts);
  const here = `${megabytes(facts.weights)} of weights`;
  const all = `${megabytes(facts.downloaded)} (${here}, the rest is the runtime)`;
  $("factbytes").textContent = facts.downloaded ? all : `nothing: ${here} were here`;
}
