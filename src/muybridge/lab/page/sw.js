/**
 * Keeps the page working offline: what was loaded once comes from this machine from then on. It also adds the two headers
 * that threads need, for web servers that cannot be told to send them.
 */

const CACHE = `muybridge-lab-${new URL(self.location.href).searchParams.get("v")}`;
const PAGE = [
  "./", "style.css", "page.js", "player.js", "stage.js", "say.js", "form.js", "shelf.js", "still.js", "film.js", "keep.js",
  "worker.js", "model.js", "moves.js", "ways.js", "noise.js", "plan.js", "sampler.js", "witness.js", "text.js", "icon.svg", "still.webp",
  "lab.json", "model/vocabulary.json",
];

self.addEventListener("install", (event) => {
  const files = PAGE.map((name) => new Request(name, { cache: "no-cache" })); // the browser may still hold older ones
  event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll(files)).then(() => self.skipWaiting()));
});

self.addEventListener("activate", (event) => {
  const sweep = async () => {
    const old = (await caches.keys()).filter((name) => name.startsWith("muybridge-lab-") && name !== CACHE);
    await Promise.all(old.map((name) => caches.delete(name)));
    await self.clients.claim();
  };
  event.waitUntil(sweep());
});

self.addEventListener("fetch", (event) => {
  const url = new URL(event.request.url);
  if (event.request.method !== "GET" || url.origin !== self.location.origin) return;
  event.respondWith(answer(event.request, url));
});

/**
 * All comes from the cache first, but lab.json fresh while the server answers, since it says which version is the newest;
 * the one that is kept stays that of this version.
 */
async function answer(request, url) {
  const cache = await caches.open(CACHE);
  const key = request.mode === "navigate" ? new URL("./", self.registration.scope).href : request.url;
  const kept = await cache.match(key);
  const fresh = url.pathname.endsWith("/lab.json");
  if (kept && !fresh) return isolated(kept);
  try {
    const found = await fetch(request);
    if (found.status === 200 && !fresh) await cache.put(key, found.clone());
    return isolated(found);
  } catch (error) {
    if (kept) return isolated(kept);
    throw error;
  }
}

function isolated(/** @type {Response} */ found) {
  const headers = new Headers(found.headers);
  headers.set("Cross-Origin-Opener-Policy", "same-origin");
  headers.set("Cross-Origin-Embedder-Policy", "require-corp");
  headers.set("Cross-Origin-Resource-Policy", "same-origin");
  return new Response(found.body, { status: found.status, statusText: found.statusText, headers });
}
