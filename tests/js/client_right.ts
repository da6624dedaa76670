// A program that uses the whole module, for the compiler.
import { io } from 'socket.io-client';
import {
  Palabre,
  PalabreError,
  type Attachment,
  type Conversation,
  type OutboxEntry,
  type PalabreEvents,
} from 'palabre-client';

const palabre = new Palabre({
  io,
  url: 'http://127.0.0.1:8000',
  token: 'x',
  renewToken: async () => 'y',
  storage: localStorage,
});
palabre.addEventListener('change', ({ detail }) => console.log(detail.ids.has('c')));
palabre.addEventListener('message', ({ detail: { message } }) => console.log(message.sender.name));
palabre.addEventListener('status', ({ detail }) => {
  const said: PalabreEvents['status'] = detail;
  if (said.status === 'reconnecting') console.log(said.error?.code, said.error?.retryAfterMs);
});
palabre.connect();
await palabre.list({ fromStart: true });
const talk: Conversation = await palabre.open('c');
const seen: number = talk.unread + palabre.unreadTotal + (talk.my?.read_seq ?? 0);
const file: Attachment = await palabre.upload(new Blob(['x']), {
  name: 'x.txt',
  onProgress: (fraction) => console.log(fraction.toFixed()),
  signal: new AbortController().signal,
});
const entry: OutboxEntry = palabre.send('c', 'Hello', { attachments: [file], metadata: { a: 1 } });
const address: string = await palabre.fileUrl(file, 320);
for (const message of palabre.messages('c')) await palabre.edit(message, talk.status(message));
const { results, next_cursor } = await palabre.searchMessages('x', { conversationId: 'c', hasAttachment: true });
await palabre.mute('c', null);
palabre.follow(['bob', ...talk.participants.keys()]);
palabre.stir();
const here: boolean = palabre.presenceOf('bob')?.status === 'away' && (await palabre.setStatus('active')) === 'active';
palabre.addEventListener('presence', ({ detail }) => console.log(detail.ids.has('bob'), here));
await palabre.setRole('c', 'bob', 'read_only');
await palabre.request('message:delete', { message_id: 'm', scope: 'me' });
const { message } = await palabre.request('message:edit', { message_id: 'm', content: 'Hi' });
const version: number = message.version;
const other: { fresh: boolean } = await palabre.rest<{ fresh: boolean }>('GET', 'something/');
try {
  await palabre.rename(talk.id, 'A title');
} catch (error) {
  if (error instanceof PalabreError && error.retryable) console.log(error.details[0]?.field);
}
console.log(seen, entry.state, address, results[0]?.is_read, next_cursor, palabre.me?.name, version, other.fresh);
