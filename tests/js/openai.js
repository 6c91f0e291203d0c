// The `openai` library for JavaScript as shipped, against a server in another process.

import assert from "node:assert/strict";
import { test } from "node:test";

import { assertMp4, library, listening, picture, pictureUri, SERVER, TOKEN, until } from "./library.js";

const OpenAI = library.default;
const client = new OpenAI({ baseURL: `${SERVER}/v1`, apiKey: TOKEN });
const small = { model: "testcard", seconds: "1", size: "160x90" };

const finished = (id) =>
  until(() => client.videos.retrieve(id), (video) => ["completed", "failed"].includes(video.status));

const refusal = async (call) => {
  const error = await call.then(() => assert.fail("it was accepted"), (error) => error);
  assert.ok(error instanceof OpenAI.APIError, String(error));
  return error;
};

test("a video is made, listed and downloaded", async () => {
  const created = await client.videos.create({ prompt: "a red ball", ...small });
  assert.equal(created.object, "video");
  assert.ok(["queued", "in_progress", "completed"].includes(created.status));
  const video = await finished(created.id);
  assert.deepEqual(
    [video.status, video.progress, video.error, video.seconds, video.size, video.prompt],
    ["completed", 100, null, "1", "160x90", "a red ball"],
  );
  assert.ok(Number.isInteger(video.created_at) && Number.isInteger(video.completed_at));
  assertMp4(Buffer.from(await (await client.videos.downloadContent(video.id)).arrayBuffer()));
  const thumbnail = await (await client.videos.downloadContent(video.id, { variant: "thumbnail" })).arrayBuffer();
  assert.equal(Buffer.from(thumbnail).toString("hex", 0, 2), "ffd8");
});

test("pages follow one another", async () => {
  for (const prompt of ["one", "two", "three"]) await client.videos.create({ prompt, ...small });
  const page = await client.videos.list({ limit: 2 });
  assert.equal(page.data.length, 2);
  assert.ok(page.hasNextPage());
  const next = await page.getNextPage();
  const ids = [...page.data, ...next.data].map((video) => video.id);
  assert.equal(new Set(ids).size, ids.length);
});

test("a first frame as a file and as an address", async () => {
  const file = await OpenAI.toFile(picture, "first.png", { type: "image/png" });
  for (const input_reference of [file, { image_url: pictureUri }]) {
    const made = await client.videos.create({ prompt: "x", ...small, model: "tiny", input_reference });
    assert.equal((await finished(made.id)).status, "completed");
  }
  const broken = await OpenAI.toFile(Buffer.from("no picture"), "first.png");
  const error = await refusal(client.videos.create({ prompt: "x", ...small, input_reference: broken }));
  assert.equal(error.status, 400);
  assert.match(error.message, /no picture/);
});

test("a remix remembers what it came from", async () => {
  const video = await client.videos.create({ prompt: "a red ball", ...small });
  const remix = await client.videos.remix(video.id, { prompt: "a blue ball" });
  assert.deepEqual([remix.remixed_from_video_id, remix.prompt, remix.size], [video.id, "a blue ball", "160x90"]);
});

test("a video is carried on, and made over", async () => {
  const first = await finished((await client.videos.create({ prompt: "a red ball", ...small })).id);
  const longer = await finished((await client.videos.extend({ prompt: "on", seconds: "1", video: { id: first.id } })).id);
  assert.deepEqual([longer.status, longer.size, longer.remixed_from_video_id], ["completed", "160x90", first.id]);
  const file = await OpenAI.toFile(await (await client.videos.downloadContent(first.id)).arrayBuffer(), "first.mp4");
  const edit = await finished((await client.videos.edit({ prompt: "blue", video: { id: first.id } })).id);
  assert.deepEqual([edit.status, edit.size], ["completed", "160x90"]);
  assert.equal((await client.videos.extend({ prompt: "on", seconds: "1", video: file })).size, "160x90");
});

test("what is deleted is gone", async () => {
  const video = await client.videos.create({ prompt: "to be deleted", ...small });
  assert.deepEqual(await client.videos.delete(video.id), { id: video.id, object: "video.deleted", deleted: true });
  for (const call of [client.videos.retrieve, client.videos.delete, client.videos.downloadContent]) {
    const error = await refusal(call.call(client.videos, video.id));
    assert.ok(error instanceof OpenAI.NotFoundError, String(error));
  }
});

test("what cannot be made is said", async () => {
  const unknown = await refusal(client.videos.create({ prompt: "x", model: "sora-9" }));
  assert.deepEqual([unknown.status, unknown.code, unknown.param], [400, "model_not_found", "model"]);
  const long = await refusal(client.videos.create({ prompt: "x", model: "tiny", seconds: "12" }));
  assert.match(long.message, /at most 8\.5 s/);
  const file = await OpenAI.toFile(picture, "x.mp4");
  assert.match((await refusal(client.videos.edit({ prompt: "x", video: file }))).message, /no MP4/);
  assert.match((await refusal(client.videos.createCharacter({ name: "x", video: file }))).message, /keeps characters/);
  const nobody = await refusal(client.videos.extend({ prompt: "x", seconds: "4", video: { id: "video_x" } }));
  assert.ok(nobody instanceof OpenAI.NotFoundError, String(nobody));
});

test("a wrong key", async () => {
  const stranger = new OpenAI({ baseURL: `${SERVER}/v1`, apiKey: "mb-wrong" });
  const error = await refusal(stranger.videos.create({ prompt: "x" }));
  assert.ok(error instanceof OpenAI.AuthenticationError);
  assert.equal(error.code, "invalid_api_key");
});

test("models are listed", async () => {
  const names = [];
  for await (const model of client.models.list()) names.push(model.id);
  assert.ok(["tiny", "testcard", "sora-2"].every((name) => names.includes(name)), names.join());
});

test("a webhook is signed as the library checks it", async () => {
  const { WEBHOOK_PORT, WEBHOOK_SECRET, WEBHOOK_TOKEN } = process.env;
  const told = new OpenAI({ baseURL: `${SERVER}/v1`, apiKey: WEBHOOK_TOKEN, webhookSecret: WEBHOOK_SECRET });
  await listening(Number(WEBHOOK_PORT), async (heard) => {
    const video = await told.videos.create({ prompt: "x", ...small });
    await until(() => heard.length, (count) => count > 0);
    const event = await told.webhooks.unwrap(heard[0].body, heard[0].headers);
    assert.deepEqual([event.type, event.data.id], ["video.completed", video.id]);
    const forged = heard[0].body.replace("completed", "failed");
    await assert.rejects(told.webhooks.unwrap(forged, heard[0].headers));
  });
});
