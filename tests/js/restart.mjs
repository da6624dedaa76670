// Two people write while the server is killed and started again. Their clients reconnect by
// themselves, say where they are, and ask again for what was not acknowledged.
import assert from 'node:assert/strict';
import { Client, report } from './rule.mjs';

const COUNT = 150;
const [url, ...tokens] = process.argv.slice(2);
const people = await Promise.all(tokens.map((token) => Client.of(url, token)));
const [ada, bob] = people;
const talk = await ada.creates('direct', 'bob');
await bob.until(() => bob.talks.has(talk.id), 'the conversation');

const acknowledged = [];
const says = async (client, content) => {
  acknowledged.push(await client.says(talk, content));
  if (acknowledged.length === 60) report({ acknowledged: acknowledged.length });
};
const writes = async (client, name) => {
  for (let n = 1; n <= COUNT; n += 1) await says(client, `${name} ${n}`);
};
await Promise.all([writes(ada, 'ada'), writes(bob, 'bob')]);

for (const client of people) {
  await client.until(() => client.messages(talk).length === 2 * COUNT, 'all messages');
  await client.heard();
  assert.ok(client.readies.length > 1, 'was never disconnected');
  assert.ok(client.readies.at(-1).sync, 'the hello did not answer the cursors');
  const messages = client.messages(talk);
  assert.deepEqual(messages.map(({ seq }) => seq), messages.map((_, n) => n + 1));
  for (const name of ['ada', 'bob']) {
    const own = messages.filter(({ sender }) => sender.id === name).map(({ content }) => content);
    assert.deepEqual(own, Array.from({ length: COUNT }, (_, n) => `${name} ${n + 1}`));
  }
}
const ids = new Set(ada.messages(talk).map(({ id }) => id));
assert.deepEqual(ada.messages(talk), bob.messages(talk));
assert.ok(acknowledged.every(({ id }) => ids.has(id)), 'an acknowledged message is lost');
report({ conversation: talk.id, said: [...ids] });
people.forEach((client) => client.close());
