// What the three files of tests share: which library is under test, where the server is, a picture, patience.

import assert from "node:assert/strict";
import http from "node:http";

export const { SERVER, TOKEN, LIBRARY } = process.env;

export const library = await import(LIBRARY);

/** A small PNG. */
export const picture = Buffer.from(process.env.PICTURE, "base64");

export const pictureUri = `data:image/png;base64,${process.env.PICTURE}`;

/** What `look` sees as soon as it is what is wanted. */
export async function until(look, wanted, seconds = 600) {
  for (const end = Date.now() + 1000 * seconds; ; ) {
    const seen = await look();
    if (wanted(seen)) return seen;
    assert.ok(Date.now() < end, `after ${seconds} s: ${JSON.stringify(seen)}`);
    await new Promise((go) => setTimeout(go, 200));
  }
}

/** The bytes at an address that needs no key; they have to be an MP4. */
export async function downloadedClip(url) {
  const answer = await fetch(url);
  assert.equal(answer.status, 200);
  assert.equal(answer.headers.get("content-type"), "video/mp4");
  return assertMp4(Buffer.from(await answer.arrayBuffer()));
}

export function assertMp4(bytes) {
  assert.equal(bytes.subarray(4, 8).toString(), "ftyp");
  return bytes;
}

/** Listens on this machine until `body` is done; `heard` fills with the POSTs that came, {headers, body}. */
export async function listening(port, body) {
  const heard = [];
  const ear = http.createServer(async (request, response) => {
    const parts = await request.toArray();
    heard.push({ headers: request.headers, body: Buffer.concat(parts).toString() });
    response.end();
  });
  await new Promise((ready) => ear.listen(port, "127.0.0.1", ready));
  try {
    return await body(heard, `http://127.0.0.1:${ear.address().port}`);
  } finally {
    ear.close();
    ear.closeAllConnections();
  }
}
