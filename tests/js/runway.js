// The `@runwayml/sdk` library as shipped, against a server in another process.

import assert from "node:assert/strict";
import { test } from "node:test";

import { downloadedClip, library, picture, pictureUri, SERVER, TOKEN, until } from "./library.js";

const RunwayML = library.default;
const client = new RunwayML({ baseURL: SERVER, apiKey: TOKEN });
const wish = { model: "gen4.5", promptText: "a cat", ratio: "160:90", duration: 2 };

const finished = (id) =>
  until(() => client.tasks.retrieve(id), (task) => ["SUCCEEDED", "FAILED"].includes(task.status));

const refusal = async (call) => {
  const error = await call.then(() => assert.fail("it was accepted"), (error) => error);
  assert.ok(error instanceof RunwayML.APIError, String(error));
  return error;
};

test("text to video, waited for", async () => {
  const created = client.textToVideo.create({ ...wish, seed: 3 });
  const task = await (created.waitForTaskOutput ?? (async () => finished((await created).id))).call(created);
  assert.equal(task.status, "SUCCEEDED");
  assert.equal(task.cost.credits, 4);
  await downloadedClip(task.output[0]);
});

test("image to video from an upload, a data URI, and first frames in a list", async () => {
  const uploaded = client.uploads
    ? (await client.uploads.createEphemeral({ file: await library.toFile(picture, "first.png") })).uri
    : pictureUri;
  for (const promptImage of [uploaded, pictureUri, [{ uri: uploaded, position: "first" }]]) {
    const created = await client.imageToVideo.create({ ...wish, model: "gen4_turbo", promptImage });
    assert.equal((await finished(created.id)).status, "SUCCEEDED");
  }
});

test("video to video, of what an earlier task gave", async () => {
  const first = await finished((await client.textToVideo.create(wish)).id);
  const body = { ...wish, promptText: "blue", videoUri: first.output[0] };
  const created = client.videoToVideo ? await client.videoToVideo.create(body) : null; // the first versions lack it
  if (created) await downloadedClip((await finished(created.id)).output[0]);
});

test("text to image", async () => {
  const created = await client.textToImage.create({ model: "gen4_image", promptText: "a cat", ratio: "160:90" });
  const task = await finished(created.id);
  assert.equal((await fetch(task.output[0])).headers.get("content-type"), "image/jpeg");
});

test("to delete is to cancel and to forget", async () => {
  const created = await client.textToVideo.create(wish);
  await client.tasks.delete(created.id);
  for (const call of [client.tasks.retrieve, client.tasks.delete]) {
    const error = await refusal(call.call(client.tasks, created.id));
    assert.ok(error instanceof RunwayML.NotFoundError, String(error));
  }
});

test("the organization and its usage", async () => {
  const created = await client.textToVideo.create(wish);
  await finished(created.id);
  const organization = await client.organization.retrieve();
  assert.ok(organization.usage.models["gen4.5"].dailyGenerations >= 1);
  const used = await client.organization.retrieveUsage();
  assert.ok(used.models.includes("gen4.5"));
  assert.ok(used.results.at(-1).usedCredits[0].amount > 0);
});

test("what cannot be made is said", async () => {
  const wide = await refusal(client.textToVideo.create({ ...wish, ratio: "wide" }));
  assert.equal(wide.status, 400);
  assert.deepEqual(wide.error.issues[0].path, ["ratio"]);
  const last = [{ uri: pictureUri, position: "last" }];
  const ends = await refusal(client.imageToVideo.create({ ...wish, model: "gen4_turbo", promptImage: last }));
  assert.match(ends.message, /tiny does not take last frames/);
  const video = "https://example.com/a.mp4";
  for (const call of [
    () => client.post("/v1/video_upscale", { body: { model: "upscale_v1", videoUri: video } }),
    () => client.post("/v1/robotics_action_to_video", { body: { model: "robotics_v1", robotAction: [[0]] } }),
  ]) {
    const error = await refusal(call());
    assert.equal(error.status, 400);
    assert.match(error.message, /no model here does this/);
  }
});

test("a wrong key", async () => {
  const stranger = new RunwayML({ baseURL: SERVER, apiKey: "mb-wrong" });
  assert.ok((await refusal(stranger.tasks.retrieve("x"))) instanceof RunwayML.AuthenticationError);
});
