/**
 * What outlives a closed tab, in the browser's own database: finished clips, the last wish, and whether it was fulfilled.
 *
 * @typedef {{id: string, made: number, wish: any, frames: Uint8ClampedArray[], width: number, height: number,
 *     fps: number, took: any, ran: string, model?: any, version?: string}} Clip
 *     `model` is what lab.json said of the one that made it, `version` that of Muybridge; older clips say neither.
 */

const MOST = 24;

/** @returns {Promise<IDBDatabase>} */
function database() {
  return new Promise((resolve, reject) => {
    const asked = indexedDB.open("muybridge-lab", 1);
    asked.onupgradeneeded = () => {
      asked.result.createObjectStore("clips", { keyPath: "id" });
      asked.result.createObjectStore("wishes");
    };
    asked.onsuccess = () => resolve(asked.result);
    asked.onerror = () => reject(asked.error);
  });
}

async function ask(store, mode, work) {
  const base = await database();
  try {
    return await new Promise((resolve, reject) => {
      const transaction = base.transaction(store, mode);
      const asked = work(transaction.objectStore(store));
      transaction.oncomplete = () => resolve(asked.result);
      transaction.onerror = transaction.onabort = () => reject(transaction.error);
    });
  } finally {
    base.close();
  }
}

/** All kept clips, the newest first. @returns {Promise<Clip[]>} */
export async function clips() {
  const all = await ask("clips", "readonly", (store) => store.getAll());
  return all.sort((a, b) => b.made - a.made);
}

/** Keeps a clip, and no more than the newest 24. */
export async function keepClip(/** @type {Clip} */ clip) {
  await ask("clips", "readwrite", (store) => store.put(clip));
  for (const old of (await clips()).slice(MOST)) await dropClip(old.id);
}

export async function dropClip(/** @type {string} */ id) {
  await ask("clips", "readwrite", (store) => store.delete(id));
}

/** Keeps what is in the form; `open`: a clip of it is being made. */
export async function keepWish(/** @type {any} */ wish, /** @type {boolean} */ open) {
  await ask("wishes", "readwrite", (store) => store.put({ wish, open }, "last"));
}

/** @returns {Promise<{wish: any, open: boolean} | undefined>} */
export async function lastWish() {
  return ask("wishes", "readonly", (store) => store.get("last"));
}
