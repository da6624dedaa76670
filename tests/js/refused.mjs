// Who is refused gets a connect_error with the error object; `auth` is asked again each time.
import assert from 'node:assert/strict';
import { Client, report } from './rule.mjs';

const [url, expired, fresh] = process.argv.slice(2);
const errors = [];
const tokens = [undefined, 'not a token', expired, fresh];
const client = new Client(url, '', { auth: (answer) => answer({ token: tokens.shift() }) });
client.socket.on('connect_error', (error) => {
  errors.push(error.data);
  assert.equal(client.socket.active, false); // a refusal is not a bad network: no blind retries
  client.socket.connect();
});
await client.until(() => client.readies.length === 1, 'session:ready');

assert.deepEqual(errors.map(({ code }) => code), ['unauthorized', 'unauthorized', 'token_expired']);
for (const error of errors) assert.deepEqual(Object.keys(error).sort(), ['code', 'message', 'retryable']);
assert.deepEqual(tokens, []);
report({ user: client.readies[0].user.id });
client.close();
