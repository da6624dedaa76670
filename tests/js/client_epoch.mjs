// The database is replaced by an older copy: nothing is left of what was heard in between, and everything goes on.
import assert from 'node:assert/strict';
import { Device, report } from './client_device.mjs';

const [url, id, adaToken, bobToken] = process.argv.slice(2);
const [ada, bob] = await Promise.all([adaToken, bobToken].map((token) => Device.of(url, token)));
await Promise.all([ada.open(id), bob.open(id)]);
const kept = bob.contents(id);
await ada.says(id, 'lost');
await bob.until(() => bob.contents(id).at(-1) === 'lost', 'the message');
await bob.hide(bob.messages(id)[1]);
const before = bob.store.epoch;
report({ kept });

await Promise.all([ada, bob].map((one) => one.hears('ready', ({ again }) => again)));
assert.notEqual(bob.store.epoch, before);
assert.equal(bob.store.hidden.size, 0);
await Promise.all([ada.open(id), bob.open(id)]);
assert.deepEqual([bob.contents(id), ada.contents(id)], [kept, kept]);
await ada.says(id, 'on');
await bob.until(() => bob.contents(id).at(-1) === 'on', 'what is said now');
assert.deepEqual(bob.contents(id), [...kept, 'on']);
report({ epoch: bob.store.epoch });
[ada, bob].forEach((one) => one.disconnect());
