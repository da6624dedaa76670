// Two people talk, then three: send, edit, delete, type, read, leave somebody out.
import assert from 'node:assert/strict';
import { Client, report } from './rule.mjs';

const [url, ...tokens] = process.argv.slice(2);
const [ada, bob, cleo] = await Promise.all(tokens.map((token) => Client.of(url, token)));
const everybody = [ada, bob, cleo];
const quiet = () => Promise.all(everybody.map((client) => client.heard()));

const direct = await ada.creates('direct', 'bob');
await quiet();

const hello = await ada.says(direct, 'Hello Bob');
for (const client of [ada, bob]) {
  const { is_read, status, ...shared } = hello;
  assert.deepEqual(await client.heard(), [
    [
      'message:created',
      {
        conversation_id: direct.id,
        event_seq: hello.event_seq,
        prev_event_seq: hello.event_seq - 1,
        actor_id: 'ada',
        message: shared,
      },
    ],
  ]);
}
assert.deepEqual(await cleo.heard(), []);

bob.socket.volatile.emit('typing:start', { conversation_id: direct.id });
await ada.until(() => ada.events.length === 1, 'typing');
const [[typing, { user_id, kind }]] = await ada.heard();
assert.deepEqual([typing, user_id, kind], ['typing:started', 'bob', 'text']);

await bob.asks('receipt:read', { conversation_id: direct.id, up_to_seq: hello.seq });
const [[receipt, { up_to_seq }]] = (await ada.heard()).filter(([name]) => name.startsWith('receipt'));
assert.deepEqual([receipt, up_to_seq], ['receipt:read', hello.seq]);
await quiet();

const { message: edited } = await ada.asks('message:edit', { message_id: hello.id, content: 'Hi Bob' });
assert.equal(edited.version, 2);
await ada.asks('message:delete', { message_id: (await ada.says(direct, 'Oops')).id });
assert.deepEqual(await bob.heardNames(), ['message:updated', 'message:created', 'message:deleted']);
assert.deepEqual(bob.contents(direct), ['Hi Bob', '']);
assert.deepEqual(bob.messages(direct).map((message) => message.is_deleted), [false, true]);

const group = await ada.creates('group', 'bob', 'cleo');
await cleo.says(group, 'I am here');
await cleo.until(() => cleo.contents(group).length === 1, 'her own message');
await quiet();
await ada.asks('participant:remove', { conversation_id: group.id, user_id: 'cleo' });
await ada.says(group, 'Cleo is gone');
await bob.says(group, 'Yes');
assert.deepEqual(await cleo.heardNames(), ['participant:removed', 'conversation:removed']);
await assert.rejects(cleo.says(group, 'Am I?'), (refused) => refused.error.code === 'not_found');
for (const one of [ada, bob]) await one.until(() => one.contents(group).length === 3, 'the last message');
assert.deepEqual(ada.contents(group), ['I am here', 'Cleo is gone', 'Yes']);
assert.deepEqual(bob.contents(group), ada.contents(group));
assert.deepEqual(await cleo.heard(), []);

report({ direct: direct.id, group: group.id, said: ada.messages(group).map(({ id }) => id) });
everybody.forEach((client) => client.close());
