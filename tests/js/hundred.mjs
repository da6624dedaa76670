// A hundred messages in one go keep their order, with the library's retries and timeouts on.
import assert from 'node:assert/strict';
import { Client, report } from './rule.mjs';

const [url, ...tokens] = process.argv.slice(2);
const [ada, bob] = await Promise.all(tokens.map((token) => Client.of(url, token)));
const talk = await ada.creates('direct', 'bob');
const contents = Array.from({ length: 100 }, (_, n) => `Message ${n + 1}`);

const stored = await Promise.all(contents.map((content) => ada.says(talk, content)));
await bob.until(() => bob.contents(talk).length === 100, 'a hundred messages');
const said = (await bob.heard()).filter(([name]) => name === 'message:created');

assert.deepEqual(stored.map((message) => message.seq), contents.map((_, n) => n + 1));
assert.deepEqual(said.map(([, data]) => data.message.content), contents);
assert.deepEqual(bob.contents(talk), contents);
assert.deepEqual(ada.contents(talk), contents);
report({ conversation: talk.id, contents });
[ada, bob].forEach((client) => client.close());
