// Files with the module in Node: sent, shown by an address of their own, given up; and what is refused before it leaves.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { Device, report } from './client_device.mjs';

const [url, photoPath, expired, ...tokens] = process.argv.slice(2);
const photo = new File([readFileSync(photoPath)], 'garden.jpg');

const asked = []; // the path of every request over HTTP
const { fetch } = globalThis;
globalThis.fetch = (address, options) => {
  asked.push(new URL(address).pathname);
  return fetch(address, options);
};
const signings = () => asked.filter((path) => path.endsWith('/files/sign/')).length;

const [ada, bob, eve] = await Promise.all(tokens.map((token) => Device.of(url, token)));
const { id } = await ada.createDirect('bob');
await ada.open(id);
await bob.open(id);

// Up, with a token that has to be renewed first

const late = new Device(url, expired, { renewToken: async () => tokens[0] });
const told = [];
const [image, paper] = await Promise.all([
  late.upload(photo, { onProgress: (fraction) => told.push(fraction) }),
  late.upload(new Blob(['A lease']), { name: 'lease.txt' }),
]);
assert.deepEqual([told.at(0), told.at(-1)], [0, 1]);
assert.deepEqual([image.kind, image.name, paper.kind, paper.name], ['image', 'garden.jpg', 'file', 'lease.txt']);

// Sent; both see the same

const sent = await ada.says(id, '', { attachments: [image, paper] });
assert.equal(sent.type, 'file');
await bob.until(() => bob.messages(id).at(-1)?.attachments.length === 2, 'the files');
const [seen, other] = bob.messages(id).at(-1).attachments;
assert.deepEqual(seen, image);

// Addresses: one question for many, none for what is known, another when they end

const before = signings();
const small = await Promise.all([
  bob.fileUrl(seen, 320),
  bob.fileUrl(seen, 960),
  bob.fileUrl(seen),
  bob.fileUrl(other, 320),
]);
assert.equal(signings(), before + 1);
const loaded = await Promise.all(small.map((address) => fetch(address)));
const kinds = loaded.map((response) => [response.status, response.headers.get('content-type').split(';')[0]]);
assert.deepEqual(kinds, [
  [200, 'image/jpeg'],
  [200, 'image/jpeg'],
  [200, 'image/jpeg'],
  [200, 'text/plain'],
]);
const sizes = await Promise.all(loaded.map(async (response) => (await response.arrayBuffer()).byteLength));
assert.deepEqual([sizes[2], sizes[3], sizes[0] < sizes[1]], [image.size, paper.size, true]);
assert.equal(await bob.fileUrl(seen, 320), small[0]);
assert.equal(signings(), before + 1);
const { now } = Date;
Date.now = () => now() + 280_000; // five minutes are not over, but soon
await bob.fileUrl(seen, 320);
assert.equal(signings(), before + 2);
Date.now = now;

await assert.rejects(eve.fileUrl(seen), { name: 'PalabreError', code: 'not_found' });

// Refused before it leaves, given up, refused by the server

const count = asked.length;
const large = new Blob([new Uint8Array(ada.store.limits.attachment_bytes + 1)]);
await assert.rejects(ada.upload(large), { code: 'payload_too_large', retryable: false });
await assert.rejects(ada.upload(photo, { signal: AbortSignal.abort() }), { name: 'AbortError' });
assert.equal(asked.length, count);
const stop = new AbortController();
const given = ada.upload(new Blob([new Uint8Array(ada.store.limits.attachment_bytes)]), { signal: stop.signal });
setTimeout(() => stop.abort(), 1);
await assert.rejects(given, { name: 'AbortError' });
const again = ada.send(id, '', { attachments: [image] });
const { entry } = await ada.hears('failed');
assert.deepEqual([entry.payload, entry.error.code], [again.payload, 'validation_failed']);
assert.deepEqual(ada.pending(id)[0].attachments, [image]);

const stranger = new Device('http://127.0.0.1:1', tokens[0]);
await assert.rejects(stranger.upload(photo), { code: 'unavailable', retryable: true });

report({ shown: [image, paper] });
[ada, bob, eve].forEach((device) => device.disconnect());
