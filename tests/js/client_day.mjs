// A busy day by a seed: people do what they like on five devices whose wires lose and delay what they are told.
// In the end each device believes what a fresh fetch says.
import assert from 'node:assert/strict';
import { Device, io, report } from './client_device.mjs';

const [url, seed, ...tokens] = process.argv.slice(2);
const STEPS = 150;
const LOST = 0.08;
const LATE = 0.08;
const HARMLESS = new Set(['forbidden', 'not_found', 'version_conflict', 'edit_window_closed']);

let state = Number(seed) + 1;
/** A small generator by a seed: from 0 to 1. */
function random() {
  state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
  return state / 2 ** 32;
}
const pick = (list) => list[Math.floor(random() * list.length)];

let lossy = true;
let lost = 0;
const sockets = new Map(); // device number -> socket

const unreliable = (number) => (address, options) => {
  const socket = io(address, { ...options, reconnectionDelay: 20, reconnectionDelayMax: 40, timeout: 1_000 });
  sockets.set(number, socket);
  const onAny = socket.onAny.bind(socket);
  socket.onAny = (listener) =>
    onAny((name, data) => {
      const isNumbered = data.prev_event_seq !== undefined || data.prev_user_seq !== undefined;
      const fate = lossy && isNumbered ? random() : 1;
      if (fate >= LOST + LATE) listener(name, data);
      else if (fate >= LOST) setTimeout(() => listener(name, data), 15);
      else lost += 1;
    });
  return socket;
};

const people = tokens.flatMap((token, n) => (n === 0 ? [token, token] : [token]));
const devices = await Promise.all(people.map((token, n) => Device.of(url, token, { io: unreliable(n) })));
await Promise.all(devices.map((device) => device.list()));
const ids = [...new Set(devices.map((device) => device.me.id))];
const groups = [];

const creates = async () => groups.push((await pick(devices).createGroup('A group', ids)).id);
const somewhere = (act) => async () => {
  const device = pick(devices);
  await device.until(() => device.isOnline, 'online');
  const known = device.conversations.filter(({ id }) => groups.includes(id));
  if (known.length > 0) await act(device, pick(known));
};
const mine = (device, { id }) =>
  device.messages(id).filter((one) => one.sender.id === device.me.id && one.type === 'text' && !one.is_deleted);
const ofMine = (act) =>
  somewhere(async (device, talk) => {
    const message = pick(mine(device, talk));
    if (message) await act(device, message);
  });

const says = somewhere((device, { id }) => void device.send(id, `number ${random()}`));
const opens = somewhere((device, { id }) => device.open(id));
const steps = [
  ...[says, says, says, says, says, opens, opens],
  ofMine((device, message) => device.edit(message, `edited ${random()}`)),
  ofMine((device, message) => device.remove(message)),
  ofMine((device, message) => device.hide(message)),
  somewhere((device, { id }) => device.addPeople(id, [pick(ids)])),
  somewhere((device, { id }) => device.addPeople(id, [pick(ids)])),
  somewhere((device, { id }) => device.removePerson(id, pick(ids))),
  somewhere((device, { id }) => device.rename(id, `title ${random()}`)),
  somewhere((device, talk) => device.read(talk.id, Math.ceil(random() * talk.lastSeq))),
  somewhere((device, talk) => device.read(talk.id, Math.ceil(random() * talk.lastSeq))),
  somewhere((device, { id }) => device.archive(id, random() < 0.5)),
  somewhere((device, { id }) => device.pinConversation(id, random() < 0.5)),
  somewhere((device, { id }) => device.markUnread(id, random() < 0.5)),
  async () => sockets.get(Math.floor(random() * devices.length)).io.engine?.transport?.ws?.terminate(), // a cut wire
  async () => {
    const device = pick(devices);
    device.disconnect();
    device.connect();
  },
];

await creates();
await creates();
for (let step = 0; step < STEPS; step += 1) {
  await pick(steps)().catch((error) => {
    if (!HARMLESS.has(error.code) && !error.retryable) throw error;
  });
}

// The wires are good again; one more change everywhere shows who has missed something.

lossy = false;
await Promise.all(devices.map((device) => device.until(() => device.isOnline)));
const unsent = (device) => groups.flatMap((id) => device.pending(id)).filter((entry) => entry.state === 'pending');
await Promise.all(devices.map((device) => device.until(() => unsent(device).length === 0, 'everything is stored')));
const all = async (device, path, query = {}) => {
  const results = [];
  for (let cursor; cursor !== null;) {
    const page = await device.rest('GET', path, { query: { ...query, limit: 100, ...(cursor ? { cursor } : {}) } });
    results.push(...page.results);
    cursor = page.next_cursor;
  }
  return results;
};
const listing = async (device) => [
  ...(await all(device, 'conversations/', { archived: false })),
  ...(await all(device, 'conversations/', { archived: true })),
];
await devices[0].createGroup('The last', ids);
for (const device of devices) {
  for (const { id, my } of await listing(device)) {
    await device.until(() => device.isOnline, 'online'); // a cut is noticed late
    await device.pinConversation(id, !my.is_pinned);
    await device.says(id, 'The end');
  }
}

/** Everything this device had to tell has been told: its own read marks are the server's. */
const isTold = async (device) =>
  (await listing(device)).every(({ id, my }) => my.read_seq === device.talk(id).my?.read_seq);
for (const device of devices) while (!(await isTold(device)));

const own = ({ my, participants, last_message, participants_count, last_seq, head, ...fields }) => fields;
const shared = ({ is_read, status, sender, ...fields }) => fields;

for (const device of devices) {
  const { id: me } = device.me;
  const { user_seq: personal } = await device.request('sync', { user_seq: device.store.cursor.at });
  await device.until(() => device.store.cursor.at === personal, `everything personal of ${me}`);
  const listed = await listing(device);
  await device.until(
    () =>
      listed.every(
        ({ id, head, my }) => device.talk(id).cursor.at === head && device.talk(id).my?.user_seq === my.user_seq,
      ),
    `${me} has caught up`,
  );
  const known = [...device.store.conversations.values()].filter((one) => one.isKnown).map(({ id }) => id);
  assert.deepEqual(known.sort(), listed.map(({ id }) => id).sort(), `${me} is elsewhere`);
  for (const fresh of listed) {
    const talk = await device.open(fresh.id);
    await device.older(fresh.id, { toSeq: 1 });
    const present = () => [...talk.participants.values()].filter((row) => row.is_active);
    await device.until(() => present().every((row) => row.delivered_seq === talk.lastSeq), 'delivered everywhere');
    const page = await device.rest('GET', `conversations/${fresh.id}/messages/`, {
      query: { after_seq: 0, limit: 100 },
    });
    const rest = page.has_more_after
      ? await device.rest('GET', `conversations/${fresh.id}/messages/`, {
          query: { after_seq: page.results.at(-1).seq, limit: 100 },
        })
      : { results: [], has_more_after: false };
    assert.ok(!rest.has_more_after);
    const stored = [...page.results, ...rest.results];
    assert.deepEqual(device.messages(fresh.id).map(shared), stored.map(shared), `${me} sees other messages`);
    for (const message of stored.filter(({ sender, type }) => sender.id === me && type !== 'system'))
      assert.equal(talk.status(message), message.status, `${me}'s mark at ${message.seq}`);
    assert.deepEqual(own(talk.info), own(fresh));
    const members = await all(device, `conversations/${fresh.id}/participants/`);
    const facts = ({ user, role, event_seq, read_seq, delivered_seq }) => [
      user,
      role,
      event_seq,
      read_seq,
      delivered_seq,
    ];
    const byId = (a, b) => (a.user.id < b.user.id ? -1 : 1);
    const withUser = present().map((row) => ({ ...row, user: device.store.user(row.user.id) }));
    assert.deepEqual(withUser.sort(byId).map(facts), members.sort(byId).map(facts), `${me} sees other people`);
    const { my } = await device.rest('GET', `conversations/${fresh.id}/`);
    for (const name of ['is_pinned', 'muted_until', 'marked_unread', 'role', 'user_seq', 'read_seq'])
      assert.equal(talk.my[name], my[name], `${name} of ${me}`);
    assert.equal(talk.isArchived, my.is_archived, `archive mark of ${me}`);
    assert.equal(talk.unread, my.unread_count, `unread of ${me}`);
  }
  device.hasMoreConversations && (await device.list());
  assert.equal(device.unreadTotal, (await device.rest('GET', 'me/unread/')).total, `unread total of ${me}`);
}
assert.ok(lost > 0, 'the wires were too good');
report({ lost });
devices.forEach((device) => device.disconnect());
