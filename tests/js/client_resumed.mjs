// Ada is back, in two tabs that share what was unsent. Bob uses the same browser, and her outbox is not his.
import assert from 'node:assert/strict';
import { Device, FileStorage, io, report } from './client_device.mjs';

const [url, ada, bob, path, id] = process.argv.slice(2);
const storage = new FileStorage(path);
const keys = () => Array.from({ length: storage.length }, (_, n) => storage.key(n));

const his = await Device.of(url, bob, { storage });
await his.open(id);
assert.deepEqual([his.pending(id), storage.length], [[], 3]);

const tabs = await Promise.all([Device.of(url, ada, { storage }), Device.of(url, ada, { storage })]);
await Promise.all(tabs.map((tab) => tab.until(() => tab.pending(id).length === 0, 'everything is sent')));
const said = tabs[0].heard.filter(([type]) => type === 'failed');
assert.deepEqual([said, keys()], [[], []]);
await his.until(() => his.contents(id).length === 3, 'three messages');
for (const tab of tabs) await tab.open(id);
assert.deepEqual(
  tabs.map((tab) => tab.contents(id)),
  [his.contents(id), his.contents(id)],
);

// A tab gives up a message that another one cannot bring to the server: it is not sent later.

let isStuck = true;
const stuck = (address, options) => {
  const socket = io(address, options);
  const { timeout } = socket;
  socket.timeout = (ms) => {
    const timed = timeout.call(socket, ms);
    const emitWithAck = (name, data) =>
      name === 'message:send' && isStuck ? Promise.reject(new Error('stuck')) : timed.emitWithAck(name, data);
    return { emitWithAck };
  };
  return socket;
};
const other = await Device.of(url, ada, { storage, io: stuck });
const { client_msg_id: given } = other.send(id, 'Given up').payload;
storage.removeItem(keys()[0]); // what `discard` does in the tab that has taken it up
isStuck = false;
await other.until(() => other.pending(id).length === 0, 'it is given up here, too');
assert.ok(!other.heard.some(([type, detail]) => type === 'sent' && detail.message.client_msg_id === given));

// A storage that refuses everything costs nothing but the restart.

const broken = new Proxy(
  {},
  {
    get: () => {
      throw new Error('forbidden');
    },
  },
);
const careless = await Device.of(url, ada, { storage: broken });
await careless.says(id, 'four');

// Another database: nothing known counts.

const { epoch } = tabs[0].store;
report({ contents: ['one', 'two', 'three', 'four'] });
await tabs[0].until(() => tabs[0].store.epoch !== epoch && tabs[0].isOnline, 'another epoch');
await tabs[0].hears('ready', ({ again }) => again);
assert.deepEqual(tabs[0].messages(id), [], 'what was known is void');
const talk = await tabs[0].open(id);
assert.deepEqual([talk.cursor.at !== null, tabs[0].contents(id)], [true, ['one', 'two', 'three', 'four']]);
await tabs[0].says(id, 'five');
report({ contents: tabs[0].contents(id) });
[his, ...tabs, other, careless].forEach((device) => device.disconnect());
