/** A finished clip -> a video file, by the browser's own encoder (WebCodecs) and Mediabunny. */

import { linesOf } from "./moves.js";

/**
 * MP4 with H.264, or WebM with VP9 or VP8 where the browser cannot encode that.
 * @param {import("./keep.js").Clip} clip
 * @param {number} enlarged how many times as wide and high as it was made
 * @param {{title: string, comment: string, raw: Record<string, string>}} tags
 * @returns {Promise<{blob: Blob, name: string, codec: string}>}
 */
export async function toFile(clip, enlarged, tags) {
  if (!("VideoEncoder" in globalThis)) {
    throw new Error("this browser cannot encode video here (it has no WebCodecs, or the page is not on localhost or https)");
  }
  const { BufferTarget, CanvasSource, Mp4OutputFormat, Output, WebMOutputFormat, getFirstEncodableVideoCodec } =
    await writer();
  const [width, height] = [clip.width * enlarged, clip.height * enlarged];
  const codec = await getFirstEncodableVideoCodec(["avc", "vp9", "vp8"], { width, height });
  if (!codec) throw new Error("this browser can encode neither H.264 nor VP9 nor VP8: try another one");
  const mp4 = codec === "avc";
  const format = mp4
    ? new Mp4OutputFormat({ fastStart: "in-memory", metadataFormat: "mdta" })
    : new WebMOutputFormat();
  const output = new Output({ format, target: new BufferTarget() });
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { alpha: false });
  context.imageSmoothingQuality = "high";
  const source = new CanvasSource(canvas, { codec, bitrate: bitrate(width, height, clip.fps), keyFrameInterval: 2 });
  output.addVideoTrack(source, { frameRate: clip.fps });
  output.setMetadataTags(tags);
  await output.start();
  for (let i = 0; i < clip.frames.length; i++) {
    const picture = await createImageBitmap(new ImageData(clip.frames[i], clip.width, clip.height));
    context.drawImage(picture, 0, 0, width, height);
    await source.add(i / clip.fps, 1 / clip.fps);
  }
  await output.finalize();
  const blob = new Blob([output.target.buffer], { type: mp4 ? "video/mp4" : "video/webm" });
  return { blob, name: `${slug(clip.wish.prompt)}-${clip.wish.seed}.${mp4 ? "mp4" : "webm"}`, codec };
}

/** Mediabunny. The page asks for it before any clip is saved: then there may be no net. */
export function writer() {
  return import(new URL("runtime/mediabunny.min.mjs", import.meta.url).href);
}

/** Generous: half a bit a pixel, and never so little that a small picture shows its blocks. */
function bitrate(width, height, fps) {
  return Math.max(1_500_000, Math.round(width * height * fps * 0.5));
}

/** What the file says of itself; the same words and keys as `muybridge generate` writes and `inspect` reads. */
export function tagsOf(clip, imageHash, movesHash) {
  const { wish, model, version } = clip;
  const title = wish.prompt.slice(0, 200);
  if (!model) return { title, comment: "Made by Muybridge, in a browser. A synthetic video.", raw: {} }; // older ones do not say
  const { solver, shift, guidance_interval: interval, guidance_rescale: rescale, context_noise, draft_steps } = model.sampling;
  const how = `seed ${wish.seed}, ${wish.steps} steps of ${solver}, guidance ${wish.guidance}`;
  const content = {
    format: 1, prompt: wish.prompt, negative: wish.negative, seed: wish.seed, model: model.name, model_hash: model.hash,
    steps: wish.steps, guidance: wish.guidance, solver, frames: wish.frames, height: clip.height, width: clip.width,
    fps: wish.fps, version, image: imageHash, shift, guidance_low: interval[0], guidance_high: interval[1], rescale,
    context_noise, drafts: wish.drafts, draft_steps, plan_steps: wish.plan_steps ?? 0,
    given: movesHash && `{"moves": "${movesHash}"}`,
    options: movesHash && JSON.stringify(linesOf(wish.moves).flatMap((line) => ["--move", line])),
  };
  return {
    title,
    comment: `Made by Muybridge ${version} with ${model.name} (${model.hash}), in a browser: ${how}. A synthetic video.`,
    raw: { muybridge: JSON.stringify(content).replace(FLOATS, "$1.0") },
  };
}

/** Whole numbers where Python has floats: it tells 3 from 3.0. Quotes inside a prompt are escaped, so none is meant. */
const FLOATS = /("(?:guidance|fps|shift|guidance_low|guidance_high|rescale|context_noise)":-?\d+)(?=[,}])/g;

function slug(prompt) {
  return prompt.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-+|-+$/g, "").slice(0, 60) || "clip";
}
