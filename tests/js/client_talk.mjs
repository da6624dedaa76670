// Two people do with the module what people do, and each sees at once what the other did; an outsider sees nothing.
import assert from 'node:assert/strict';
import { Device, report } from './client_device.mjs';

const [url, ...tokens] = process.argv.slice(2);
const [ada, bob, cleo, eve] = await Promise.all(tokens.map((token) => Device.of(url, token)));
await Promise.all([ada, bob, cleo, eve].map((device) => device.list()));

// A direct conversation: typing, read marks, edit, delete

const [found] = await ada.searchPeople('bob');
const { id: direct } = await ada.createDirect(found.id);
assert.equal((await ada.createDirect('bob')).id, direct, 'there is one conversation of two people');
await bob.until(() => bob.conversations.some(({ id }) => id === direct));
await bob.open(direct);
await ada.open(direct);

bob.typing(direct, true);
await ada.until(() => ada.talk(direct).typing.has('bob'), 'typing');
const hello = await ada.says(direct, 'Hello Bob');
assert.equal((await bob.hears('message')).message.id, hello.id);
assert.equal(ada.pending(direct).length, 0);
await ada.until(() => ada.talk(direct).status(hello) === 'delivered', 'delivered');
assert.deepEqual([bob.talk(direct).unread, bob.unreadTotal], [1, 1]);
bob.read(direct, hello.seq);
await ada.until(() => ada.talk(direct).status(hello) === 'read', 'read');
assert.deepEqual([ada.talk(direct).readersOf(hello), bob.talk(direct).unread], [['bob'], 0]);

await ada.edit(ada.messages(direct).at(-1), 'Hi Bob');
await bob.until(() => bob.contents(direct).at(-1) === 'Hi Bob', 'the edit');
const oops = await ada.says(direct, 'Oops');
await ada.remove(oops);
await bob.until(() => bob.messages(direct).at(-1).is_deleted, 'the deletion');
const secret = await bob.says(direct, 'A note');
await bob.hide(secret);
assert.deepEqual(bob.contents(direct), ['Hi Bob', '']);
await ada.until(() => ada.contents(direct).length === 3, 'what Bob only hid for himself');
await assert.rejects(ada.edit(secret, 'Mine now'), { name: 'PalabreError', code: 'forbidden', retryable: false });

// A group: name, people, roles

const { id: group } = await ada.createGroup('A house', ['bob']);
await bob.until(() => bob.talk(group).isKnown, 'the group');
await ada.open(group);
await ada.addPeople(group, ['cleo']);
await cleo.until(() => cleo.talk(group).isKnown, 'Cleo is in');
await ada.setRole(group, 'bob', 'admin');
await bob.until(() => bob.talk(group).my.role === 'admin', 'a new role');
await bob.rename(group, 'The house');
await cleo.until(() => cleo.talk(group).info.title === 'The house', 'the new name');
assert.deepEqual((await cleo.loadPeople(group)).map(({ user }) => user.id).sort(), ['ada', 'bob', 'cleo']);
await cleo.open(group);
const said = await cleo.says(group, 'What a garden');
await ada.until(() => ada.contents(group).includes('What a garden'));
await ada.removePerson(group, 'cleo');
assert.deepEqual(await cleo.hears('removed'), { id: group, reason: 'removed' });
assert.ok(!cleo.conversations.some(({ id }) => id === group));
await ada.says(group, 'Cleo is gone');
const refused = cleo.send(group, 'Am I?');
const { entry } = await cleo.hears('failed');
assert.deepEqual([entry.payload, entry.error.code], [refused.payload, 'not_found']);
cleo.discard(entry.payload.client_msg_id);
assert.deepEqual(cleo.pending(group), []);
await bob.leave(group);
await ada.until(() => ada.talk(group).others.length === 0, 'Bob has left');
assert.equal((await bob.hears('removed')).reason, 'left');

// For oneself: archive, mute, pin

await ada.archive(direct, true);
assert.deepEqual([ada.talk(direct).isArchived, ada.store.archived().map(({ id }) => id)], [true, [direct]]);
await bob.says(direct, 'Back to the list');
await ada.until(() => !ada.talk(direct).isArchived, 'a message lifts the mark');
await ada.mute(direct, new Date(Date.now() + 3_600_000).toISOString());
await ada.archive(direct, true);
await bob.says(direct, 'Not any more');
await ada.until(() => ada.contents(direct).at(-1) === 'Not any more');
assert.deepEqual([ada.talk(direct).isMuted, ada.talk(direct).isArchived], [true, true]);
await ada.listArchived();
assert.deepEqual([ada.store.archived().length, ada.hasMoreArchived], [1, false]);
await ada.archive(direct, false);
await ada.mute(direct, null);
await ada.pinConversation(direct, true);
await ada.markUnread(direct, true);
assert.equal(ada.conversations[0].id, direct);
assert.deepEqual([ada.talk(direct).my.is_pinned, ada.talk(direct).my.marked_unread], [true, true]);

// Looking for something

assert.deepEqual(
  (await ada.searchMessages('garden')).results.map(({ id }) => id),
  [said.id],
);
assert.deepEqual((await ada.searchMessages('garden', { conversationId: direct })).results, []);
assert.deepEqual(
  (await ada.searchConversations('The house')).map(({ id }) => id),
  [group],
);
for (let n = 1; n <= 150; n += 1) ada.send(direct, `number ${n}`);
await ada.until(() => ada.pending(direct).length === 0, 'everything is stored');

// Somebody new to the conversation's history, page by page, then in one go

const again = await Device.of(url, tokens[0]);
await again.open(direct);
const newest = again.messages(direct).length;
await again.older(direct);
assert.ok(again.messages(direct).length > newest && again.talk(direct).hasOlder);
await again.older(direct, { toSeq: hello.seq });
assert.equal(again.messages(direct).find(({ id }) => id === hello.id).content, 'Hi Bob');
const his = await Device.of(url, tokens[1]);
await his.open(direct);
await his.older(direct, { toSeq: 1 });
await bob.edit(secret, 'A hidden note');
await his.until(() => his.talk(direct).messages.get(secret.seq)?.content === 'A hidden note', 'the edit');
assert.ok(!his.contents(direct).includes('A hidden note'), 'hidden before this device came');
await assert.rejects(eve.open(direct), { code: 'not_found' });
assert.deepEqual([eve.conversations, eve.heard.filter(([type]) => type === 'message')], [[], []]);

report({ direct, said: ada.contents(direct) });
[ada, bob, cleo, eve, again, his].forEach((device) => device.disconnect());
