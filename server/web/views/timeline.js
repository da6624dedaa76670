import { stateOf } from '../uploads.js';
import { dayRow, messageRow, newRow, systemRow } from './message.js';
import { day, dayKey, nameOf, senderOf } from './words.js';

const GROUP_MS = 5 * 60_000; // messages of one person closer than this belong together

/** Everything that is shown of a conversation in order: what is stored, what is in the outbox, what waits for its files. */
export function timeline(palabre, departures, conversation) {
  const entries = palabre.pending(conversation.id).map((entry) => entryFacts(palabre, entry));
  const leaving = departures.of(conversation.id).map((departure) => departureFacts(palabre, departure));
  return [...palabre.messages(conversation.id), ...entries, ...leaving];
}

/** What identifies an entry of the timeline; one's own message keeps its key while it goes from here to the server. */
export function keyOf(palabre, item) {
  if (item.key) return item.key;
  const isOwn = item.sender && item.sender.id === palabre.me?.id;
  return isOwn && item.client_msg_id ? item.client_msg_id : item.id;
}

/** The rows, for `reconcile`, of a stretch of the timeline. `newFrom`: the seq of the first message that was unread. */
export function rowsOf(palabre, conversation, items, [from, to], newFrom, actions) {
  const facts = (index) => (index < 0 || index >= items.length ? null : factsOf(palabre, conversation, items[index]));
  const rows = [];
  let before = facts(from - 1);
  let current = facts(from);
  for (let index = from; index < to; index++) {
    const after = facts(index + 1);
    describe(rows, { before, current, after, newFrom, palabre, actions });
    [before, current] = [current, after];
  }
  return rows;
}

function describe(rows, { before, current, after, newFrom, palabre, actions }) {
  const date = new Date(current.createdAt);
  if (!before || dayKey(date) !== dayKey(new Date(before.createdAt))) {
    const label = day(date);
    rows.push({ key: `day ${dayKey(date)}`, signature: label, build: () => dayRow(label) });
  }
  const isFirstNew = current.message && current.message.seq === newFrom;
  if (isFirstNew) rows.push({ key: 'new', signature: 'new', build: newRow });
  if (current.isSystem) return rows.push(systemItem(palabre, current));
  const facts = {
    ...current,
    isFirst: isFirstNew || !belong(before, current),
    isLast: !belong(current, after) || after.message?.seq === newFrom,
  };
  rows.push({ key: facts.key, signature: signatureOf(facts), build: () => messageRow(facts, actions) });
}

function systemItem({ store }, { key, message }) {
  const build = () => systemRow(store, message);
  return { key, signature: JSON.stringify([message.event_seq, build().textContent]), build };
}

/** Files report their own progress: only what decides the shape of the row is in here. */
function signatureOf({ message, entry, uploads, ...visible }) {
  const files = uploads?.map((upload) => [upload.id, upload.state, Boolean(upload.preview)]);
  return JSON.stringify([visible, message?.event_seq, entry?.error?.code, files]);
}

function factsOf(palabre, conversation, item) {
  return item.key ? item : messageFacts(palabre, conversation, item);
}

function messageFacts(palabre, conversation, message) {
  const { store } = palabre;
  const key = keyOf(palabre, message);
  if (message.type === 'system') return { key, message, createdAt: message.created_at, isSystem: true };
  const sender = senderOf(store, message);
  const isOwn = Boolean(sender) && sender.id === store.me?.id;
  return {
    key,
    message,
    isOwn,
    sender: { id: sender?.id, name: sender?.name, avatar_url: sender?.avatar_url },
    showsAuthor:
      !isOwn && (conversation.others.length > 1 || !conversation.others.some((row) => row.user.id === sender?.id)),
    text: message.content ?? '',
    files: message.attachments ?? [],
    createdAt: message.created_at,
    status: isOwn ? conversation.status(message) : null,
    readers: isOwn ? conversation.readersOf(message).map((id) => nameOf(store.user(id) ?? { id })) : [],
  };
}

const ownFacts = (palabre) => ({
  message: null,
  isOwn: true,
  sender: palabre.me ?? {},
  showsAuthor: false,
  readers: [],
});

function entryFacts(palabre, entry) {
  return {
    ...ownFacts(palabre),
    key: entry.payload.client_msg_id,
    entry,
    text: entry.payload.content,
    files: entry.attachments ?? [],
    createdAt: entry.createdAt,
    status: entry.state,
  };
}

function departureFacts(palabre, departure) {
  return {
    ...ownFacts(palabre),
    key: departure.id,
    text: departure.content,
    files: [],
    uploads: departure.uploads,
    createdAt: departure.createdAt,
    status: stateOf(departure) === 'failed' ? 'failed' : 'pending',
  };
}

/** Two neighbours that read as one utterance. */
function belong(a, b) {
  if (!a || !b || a.isSystem || b.isSystem || a.isOwn !== b.isOwn || a.sender?.id !== b.sender?.id) return false;
  const [first, second] = [new Date(a.createdAt), new Date(b.createdAt)];
  return second - first < GROUP_MS && dayKey(first) === dayKey(second);
}
