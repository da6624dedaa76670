// Tokens end: while connected, at the door, over HTTP. Where they come from may be away, or have none any more.
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { createServer } from 'node:http';
import { Device, io, report } from './client_device.mjs';

const [url, secret] = process.argv.slice(2);

/** What the application of an embedder signs: a token that ends in so many seconds. */
function signed(sub, seconds) {
  const now = Math.floor(Date.now() / 1_000);
  const parts = [
    { alg: 'HS256', typ: 'JWT' },
    { sub, iat: now, exp: now + seconds },
  ];
  const text = parts.map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.');
  return `${text}.${createHmac('sha256', secret).update(text).digest('base64url')}`;
}
const [ada, bob] = [signed('ada', 3_600), signed('bob', 3_600)];
const expired = signed('ada', -60);
const watched = (asked) => (address, options) => {
  const socket = io(address, options);
  socket.onAnyOutgoing((name, data) => asked.push([name, data.token]));
  return socket;
};
const statuses = (device) =>
  device.heard.filter(([type]) => type === 'status').map(([, { status, error }]) => error?.code ?? status);
const giving = (...answers) => {
  const source = async () => {
    source.calls += 1;
    const answer = answers.length > 1 ? answers.shift() : answers[0];
    if (answer instanceof Error) throw answer;
    return answer;
  };
  source.calls = 0;
  return source;
};

/** A token about to end is replaced on the same connection. */
async function renewsInPlace() {
  const asked = [];
  const renewToken = giving(ada);
  const device = await Device.of(url, signed('ada', 40), { io: watched(asked), renewToken });
  await device.until(() => asked.some(([name]) => name === 'auth:refresh'), 'auth:refresh');
  await device.createDirect('bob');
  assert.deepEqual(
    asked.filter(([name]) => name === 'auth:refresh'),
    [['auth:refresh', ada]],
  );
  assert.deepEqual([renewToken.calls, statuses(device)], [1, ['connecting', 'online']]);
  return device;
}

/** Without a source the page is told, and may bring another token to the same connection. */
async function isTold() {
  const asked = [];
  const device = await Device.of(url, signed('ada', 40), { io: watched(asked) });
  assert.ok((await device.hears('expiring')).seconds <= 40);
  device.connect(ada);
  await device.until(() => asked.some(([name]) => name === 'auth:refresh'), 'auth:refresh');
  assert.deepEqual(statuses(device), ['connecting', 'online']);
  await device.createDirect('bob');
  device.connect(bob); // somebody else: nothing of the first person is left
  await device.until(() => device.isOnline && device.me.id === 'bob', 'Bob');
  assert.deepEqual([device.conversations, device.store.users.has('ada')], [[], false]);
  return device;
}

/** Refused at the door: asked for another one until there is one that is taken. */
async function comesBack() {
  const renewToken = giving(new Error('away'), expired, ada);
  const device = await Device.of(url, expired, { renewToken });
  assert.deepEqual(statuses(device), ['connecting', 'token_expired', 'unavailable', 'token_expired', 'online']);
  assert.equal(renewToken.calls, 3);
  return device;
}

/** No token to begin with. */
async function beginsWithout() {
  return Device.of(url, null, { renewToken: giving(ada) });
}

/** A session that ran out comes back by itself. */
async function outlives() {
  const device = await Device.of(url, signed('ada', 5), { renewToken: giving(new Error('away'), ada) });
  await device.hears('expiring');
  await device.hears('ready', ({ again }) => again);
  return device;
}

/** There is none any more: the session is over, until somebody brings one. */
async function ends() {
  const device = new Device(url, expired, { renewToken: giving(null) });
  device.connect();
  assert.deepEqual([await device.hears('closed'), device.status], [{ code: 'token_expired' }, 'closed']);
  const other = new Device(url, 'nonsense');
  other.connect();
  assert.deepEqual(await other.hears('closed'), { code: 'unauthorized' });
  other.connect(ada);
  await other.hears('ready');
  other.connect(); // nothing to do
  assert.equal(other.status, 'online');
  return other;
}

/** Over HTTP: one question for many requests. */
async function asksOnce() {
  let refused = 0;
  let all;
  const allRefused = new Promise((resolve) => (all = resolve));
  const { fetch } = globalThis;
  globalThis.fetch = async (...asked) => {
    const response = await fetch(...asked);
    if (response.status === 401 && ++refused === 3) all();
    return response;
  };
  const renewToken = giving(allRefused.then(() => ada));
  const device = new Device(url, expired, { renewToken });
  await Promise.all([device.list(), device.searchPeople(), device.rest('GET', 'me/')]);
  globalThis.fetch = fetch;
  assert.equal(renewToken.calls, 1);
  const helpless = new Device(url, expired);
  await assert.rejects(helpless.list(), { code: 'token_expired', isAboutToken: true });
  return device;
}

/** Whoever stands between us and the server answers in a form of its own. */
async function understandsProxies() {
  const proxy = createServer((request, response) => {
    const status = Number(request.url.split('/').at(-2));
    response.writeHead(status, { 'Content-Type': 'text/html' }).end('<h1>nginx</h1>');
  });
  await new Promise((done) => proxy.listen(0, '127.0.0.1', done));
  const device = new Device(`http://127.0.0.1:${proxy.address().port}/`, ada);
  for (const [status, code, retryable] of [
    [502, 'unavailable', true],
    [504, 'timeout', true],
    [413, 'payload_too_large', false],
    [418, 'internal', true],
    [200, 'unavailable', true], // cut off in the middle
  ])
    await assert.rejects(device.rest('GET', `${status}/`), { code, retryable });
  proxy.close();
  return device;
}

const scenes = [renewsInPlace, isTold, comesBack, beginsWithout, outlives, ends, understandsProxies];
const devices = await Promise.all([asksOnce(), ...scenes.map((scene) => scene())]);
report({ scenes: devices.length });
devices.forEach((device) => device.disconnect());
