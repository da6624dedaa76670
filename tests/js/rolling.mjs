// Ada (the official client) and Bob (our module) write without a pause while servers are restarted under them.
import assert from 'node:assert/strict';
import { Device } from './client_device.mjs';
import { Client, report } from './rule.mjs';

const [url, ada, bob, withinMs] = process.argv.slice(2);
const hers = await Client.of(url, ada);
const his = await Device.of(url, bob);
const talk = await hers.creates('direct', 'bob');
await his.open(talk.id);

let isOver = false;
let slowest = 0;
const said = [];

async function writes(says) {
  for (let n = 1; !isOver; n += 1) {
    const began = performance.now();
    said.push((await says(n)).id);
    slowest = Math.max(slowest, performance.now() - began);
    await new Promise((done) => setTimeout(done, 20));
  }
}
const everybody = Promise.all([
  writes((n) => hers.says(talk, `ada ${n}`)),
  writes((n) => his.says(talk.id, `bob ${n}`)),
]);
const isTold = new Promise((told) => process.once('SIGUSR2', told));
report({ writing: talk.id });
await isTold; // that all of them have been restarted
const cameBack = ([type, detail]) => type === 'ready' && detail.again;
await hers.until(() => hers.readies.length > 1, 'being sent elsewhere');
await his.until(() => his.heard.some(cameBack), 'being sent elsewhere');
await hers.until(() => said.length > 50, 'enough to lose some of');
isOver = true;
await everybody;

assert.ok(slowest < Number(withinMs), `a send took ${slowest} ms`);
const seen = his.heard.filter(([type]) => ['failed', 'closed', 'expiring'].includes(type));
assert.deepEqual(seen, [], 'a person sees an error');
await hers.until(() => hers.messages(talk).length === said.length, 'all messages');
await his.until(() => his.contents(talk.id).length === said.length, 'all messages');
assert.deepEqual(his.contents(talk.id), hers.contents(talk));
assert.deepEqual(new Set(hers.messages(talk).map(({ id }) => id)), new Set(said));
report({ said: said.length });
hers.close();
his.disconnect();
