// The `lumaai` library for JavaScript as shipped, against a server in another process.

import assert from "node:assert/strict";
import { test } from "node:test";

import { downloadedClip, library, listening, pictureUri, SERVER, TOKEN, until } from "./library.js";

const LumaAI = library.default;
const client = new LumaAI({ baseURL: `${SERVER}/dream-machine/v1`, authToken: TOKEN });
const small = { model: "ray-2", resolution: "90p", duration: "1s" };

const finished = (id) =>
  until(() => client.generations.get(id), (found) => ["completed", "failed"].includes(found.state));

const refusal = async (call) => {
  const error = await call.then(() => assert.fail("it was accepted"), (error) => error);
  assert.ok(error instanceof LumaAI.APIError, String(error));
  return error;
};

test("a generation", async () => {
  const created = await client.generations.create({ ...small, prompt: "a red ball", aspect_ratio: "1:1" });
  assert.ok(["queued", "dreaming"].includes(created.state));
  const made = await finished(created.id);
  assert.equal(made.state, "completed", made.failure_reason);
  assert.equal(made.request.aspect_ratio, "1:1");
  await downloadedClip(made.assets.video);
});

test("a keyframe", async () => {
  const keyframes = { frame0: { type: "image", url: pictureUri } };
  const created = await client.generations.create({ ...small, model: "ray-flash-2", prompt: "x", keyframes });
  assert.equal((await finished(created.id)).state, "completed");
});

test("a generation is carried on", async () => {
  const first = await finished((await client.generations.create({ ...small, prompt: "x", aspect_ratio: "1:1" })).id);
  const keyframes = { frame0: { type: "generation", id: first.id } };
  const made = await finished((await client.generations.create({ ...small, prompt: "on", keyframes })).id);
  assert.equal(made.state, "completed", made.failure_reason);
  assert.ok((await downloadedClip(made.assets.video)).length > (await downloadedClip(first.assets.video)).length);
});

test("a callback holds the generation", async () => {
  await listening(0, async (heard, url) => {
    const created = await client.generations.create({ ...small, prompt: "x", callback_url: `${url}/told` });
    await until(() => heard.length, (count) => count === 2);
    const told = heard.map((one) => JSON.parse(one.body));
    assert.deepEqual(new Set(told.map((one) => one.state)), new Set(["dreaming", "completed"]));
    assert.ok(told.every((one) => one.id === created.id));
  });
});

test("a list, and what is deleted is gone", async () => {
  const made = [];
  for (let i = 0; i < 3; i++) made.push(await client.generations.create({ ...small, prompt: `clip ${i}` }));
  const page = await client.generations.list({ limit: 2 });
  const generations = page.generations ?? page;
  assert.equal(generations.length, 2);
  await client.generations.delete(made[0].id);
  const error = await refusal(client.generations.get(made[0].id));
  assert.ok(error instanceof LumaAI.NotFoundError);
});

test("camera moves, credits, ping", async () => {
  const moves = await (client.generations.concepts ?? client.generations.cameraMotion).list();
  assert.ok(moves.includes("pan_left"));
  if (client.credits) assert.ok((await client.credits.get()).credit_balance > 0); // 1.0 does not ask
  assert.equal((await client.ping.check()).message, "pong");
});

test("what cannot be made is said", async () => {
  const cases = [
    [{ loop: true }, /no model here loops/],
    [{ concepts: [{ key: "bolt_cam" }] }, /pan_left/],
    [{ keyframes: { frame1: { type: "generation", id: "x" } } }, /what comes before/],
  ];
  for (const [more, said] of cases) {
    const error = await refusal(client.generations.create({ ...small, prompt: "x", ...more }));
    assert.equal(error.status, 400);
    assert.match(error.message, said);
  }
});

test("a wrong key", async () => {
  const stranger = new LumaAI({ baseURL: `${SERVER}/dream-machine/v1`, authToken: "mb-wrong" });
  assert.ok((await refusal(stranger.generations.get("x"))) instanceof LumaAI.AuthenticationError);
});
