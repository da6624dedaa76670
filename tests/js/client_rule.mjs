// The rule of the cursor: only what follows on without a hole moves it, and a hole is closed by one `sync`.
import assert from 'node:assert/strict';
import { Device, io, report } from './client_device.mjs';

const [url, ...tokens] = process.argv.slice(2);
let isLost = () => false;
let hear;
const asked = [];
const wire = (address, options) => {
  const socket = io(address, options);
  const onAny = socket.onAny.bind(socket);
  socket.onAny = (listener) => {
    hear = listener;
    onAny((name, data) => isLost(name, data) || listener(name, data));
  };
  socket.onAnyOutgoing((name, data) => asked.push([name, data]));
  return socket;
};
let loseAnswer = () => false;
const unanswered = (address, options) => {
  const socket = io(address, options);
  const { timeout } = socket;
  socket.timeout = (ms) => {
    const timed = timeout.call(socket, ms);
    const emitWithAck = async (name, data) => {
      const answer = await timed.emitWithAck(name, data);
      if (loseAnswer(name)) throw new Error('lost');
      return answer;
    };
    return { emitWithAck };
  };
  return socket;
};
const syncs = () => asked.filter(([name]) => name === 'sync').map(([, { cursors }]) => cursors);

const [ada, bob] = await Promise.all(tokens.map((token, n) => Device.of(url, token, { io: [unanswered, wire][n] })));
const { id } = await ada.createDirect('bob');
await ada.open(id);
await bob.until(() => bob.talk(id).isKnown, 'the conversation');
await bob.open(id);
const talk = bob.talk(id);
const start = talk.cursor.at;
asked.length = 0;

// An acknowledgement, a page and an object bring news, and leave the cursor where it is.

isLost = (name) => name === 'message:created';
const own = await bob.says(id, 'one');
assert.deepEqual([bob.contents(id), talk.cursor.at, own.event_seq], [['one'], start, start + 1]);
await bob.list({ fromStart: true });
await bob.open(id);
await ada.says(id, 'two');
await bob.request('message:list', { conversation_id: id });
assert.deepEqual([bob.contents(id), talk.cursor.at, syncs()], [['one'], start, []]);

// The next event is applied at once, and what is missing before it is asked for once.

isLost = () => false;
await ada.says(id, 'three');
await bob.until(() => bob.contents(id).length === 3, 'the hole is closed');
assert.deepEqual([bob.contents(id), talk.cursor.at], [['one', 'two', 'three'], start + 3]);
assert.deepEqual(syncs(), [{ [id]: start }]);

// Late and repeated events change nothing; an older form does not replace a newer one.

await ada.edit(ada.messages(id).at(-1), 'THREE');
await bob.until(() => bob.contents(id).at(-1) === 'THREE', 'the edit');
const late = [];
isLost = (name, data) => name === 'message:updated' && late.push(() => hear(name, data));
await ada.edit(ada.messages(id).at(-1), 'Three');
await ada.edit(ada.messages(id).at(-1), 'three!');
await bob.request('nobody:answers').catch(() => {}); // what was told before is here now
isLost = () => false;
const [first, second] = late;
[second, first, second, first].forEach((tell) => tell());
await bob.until(() => talk.cursor.isComplete, 'nothing is missing');
assert.deepEqual([bob.contents(id).at(-1), talk.cursor.at], ['three!', start + 6]);

// What this person has hidden stays hidden, whatever comes later.

await bob.hide(own);
await bob.edit(own, 'ONE');
await ada.until(() => ada.contents(id)[0] === 'ONE', 'the edit');
await bob.until(() => talk.cursor.at === start + 7, 'the edit at Bob');
assert.deepEqual(bob.contents(id), ['two', 'three!']);

// A conversation of which the first news was lost begins where it was fetched, not where it is when it is asked for.

isLost = () => true;
const { id: group } = await ada.createGroup('Late', ['bob', 'cleo']);
await bob.list({ fromStart: true });
assert.equal(bob.talk(group).others.length, 2);
let answersLost = 1;
loseAnswer = (name) => name === 'participant:remove' && answersLost-- > 0;
await ada.removePerson(group, 'cleo'); // the answer is lost: asked again, it is done already
loseAnswer = () => false;
assert.equal(answersLost, -1);
isLost = () => false;
bob.disconnect();
bob.connect();
await bob.hears('ready', ({ again }) => again);
assert.deepEqual(
  bob.talk(group).others.map(({ user }) => user.id),
  ['ada'],
);

// The server may say that it has left something out: `sync` again.

asked.length = 0;
report({ id });
await bob.until(() => bob.contents(id).length === 9, 'what the server had left out');
assert.deepEqual(bob.contents(id).slice(2), ['0', '1', '2', '3', '4', '5', 'And on']);
assert.equal(syncs().length, 1);
report({ contents: bob.contents(id) });
[ada, bob].forEach((device) => device.disconnect());
