import { CatchUp } from './palabre/catchup.js';
import { Connection } from './palabre/connection.js';
import { PalabreError, backoff, sleep } from './palabre/errors.js';
import { Outbox } from './palabre/outbox.js';
import { Receipts } from './palabre/receipts.js';
import { Store } from './palabre/store.js';
import { Typing } from './palabre/typing.js';

export { PalabreError };

const PROTOCOL = 1;
const TRIES = 4;

/**
 * A client of a Palabre server: one connection, the state it keeps true, and the verbs of the protocol. It knows no page.
 *
 *     const palabre = new Palabre({ token, renewToken: async () => freshToken });
 *     palabre.addEventListener('change', ({ detail }) => draw(detail.ids));
 *     palabre.connect();
 *     await palabre.list();
 *     palabre.send(conversationId, 'Hello');
 *
 * Events (a CustomEvent each, with `detail`):
 *   status   {status, error}   idle, connecting, online, reconnecting, closed
 *   ready    {again}           connected and caught up; `again` when it was connected before
 *   change   {ids}             these conversations look different now
 *   message  {message}         somebody else's message just arrived
 *   removed  {id, reason}      this person is no longer in that conversation
 *   expiring {seconds}         the token ends soon and there is no `renewToken`
 *   closed   {code}            the session is over; `connect()` with another token begins a new one
 */
export class Palabre extends EventTarget {
  store = new Store((id) => this.#touch(id));

  #connection;
  #catchUp;
  #outbox;
  #receipts;
  #typing;
  #wasReady = false;
  #nextPage; // of the list of conversations: null after the last, undefined before the first
  #paging = new Map(); // conversation id -> the running request for history
  #meeting = new Map(); // conversation id -> the running request for an unknown conversation
  #touched = new Set();

  /**
   * `url`: the server's origin. `token`: what to show at the door. `renewToken`: async, gives a fresh one when asked.
   * `storage`: where unsent messages survive a restart (localStorage, or null for nowhere).
   */
  constructor({ url = globalThis.location?.origin, token, renewToken = null, storage = null, ackTimeout = 10_000 }) {
    super();
    const request = (event, payload) => this.request(event, payload);
    const changed = (id) => this.#touch(id);
    this.#connection = new Connection({ url, token, renewToken, ackTimeout }, this.#listener());
    this.#catchUp = new CatchUp({
      store: this.store,
      request,
      applied: (answer) => this.#caughtUp(answer),
      isOnline: () => this.isOnline,
    });
    this.#outbox = new Outbox({ deliver: (payload) => this.#deliver(payload), storage, changed });
    this.#receipts = new Receipts({ request, onRead: (id, answer) => this.#tookRead(id, answer) });
    this.#typing = new Typing({ tell: (event, payload) => this.#connection.hint(event, payload), changed });
  }

  // Connection

  connect(token) {
    this.#connection.open(token);
  }

  disconnect() {
    this.#connection.close();
  }

  /** Sign out: disconnect, and leave nothing of this person on the device, unsent messages included. */
  forget() {
    this.disconnect();
    this.#outbox.clear();
  }

  get status() {
    return this.#connection.status;
  }

  get isOnline() {
    return this.#connection.isOnline;
  }

  get me() {
    return this.store.me;
  }

  /** Ask over the socket. Answers `data`, or throws a PalabreError. */
  request(event, payload) {
    return this.#connection.request(event, payload);
  }

  /** Ask over HTTP, `path` below `/api/messaging/`. Answers the body, or throws a PalabreError. */
  rest(method, path, options) {
    return this.#connection.rest(method, path, options);
  }

  // Reading

  /** The next page of conversations, newest activity first. */
  async list({ fromStart = false } = {}) {
    if (this.#nextPage === null && !fromStart) return;
    const isFirst = fromStart || this.#nextPage === undefined;
    const page = await this.rest('GET', 'conversations/', { query: isFirst ? {} : { cursor: this.#nextPage } });
    for (const object of page.results) this.store.applyConversation(object);
    if (!isFirst || this.#nextPage === undefined) this.#nextPage = page.next_cursor ?? null;
  }

  get hasMoreConversations() {
    return this.#nextPage !== null;
  }

  /** Make sure a conversation is known, followed live, and that its newest page is there. */
  async open(id) {
    if (!this.store.conversations.get(id)?.info) await this.#meet(id);
    const conversation = this.store.conversation(id);
    if (!conversation.isSeated || conversation.cursor.at === null) this.#catchUp.want(id);
    await this.#catchUp.run();
    if (conversation.from === null) await this.#page(id);
    return conversation;
  }

  /** The page of history before what is known. */
  async older(id) {
    const conversation = this.store.conversation(id);
    if (conversation.from !== null && conversation.hasOlder) await this.#page(id, { before_seq: conversation.from });
  }

  /** Messages the server has not stored yet, in the order they were written: `{payload, state, error, createdAt}`. */
  pending(id) {
    return this.#outbox.of(id);
  }

  /** People one may write to, by a part of their name. */
  async people(q = '') {
    const query = q === '' ? { limit: 20 } : { q, limit: 20 };
    const { results } = await this.rest('GET', 'users/', { query });
    for (const user of results) this.store.applyUser(user);
    return results;
  }

  get unreadTotal() {
    if (this.hasMoreConversations) return this.store.serverUnread;
    return this.store.list().reduce((sum, one) => sum + one.unread, 0);
  }

  // Writing

  /** Answers at once: the message waits in the outbox until the server has stored it, however long that takes. */
  send(conversationId, content, fields = {}) {
    this.#typing.sent(conversationId);
    return this.#outbox.add({ conversation_id: conversationId, client_msg_id: uuid(), content, ...fields });
  }

  retry(clientMsgId) {
    this.#outbox.retry(clientMsgId);
  }

  discard(clientMsgId) {
    this.#outbox.settle(clientMsgId);
  }

  async edit(message, content) {
    const payload = { message_id: message.id, content, base_version: message.version };
    this.store.applyMessage((await this.#insist('message:edit', payload)).message);
  }

  /** For everyone: a tombstone stays. */
  async remove(message) {
    const payload = { message_id: message.id, scope: 'everyone' };
    this.store.applyMessage((await this.#insist('message:delete', payload)).message);
  }

  /** `{type, participant_ids, title?}`; a direct conversation that exists already is the answer. */
  async create(fields) {
    return this.store.applyConversation(
      await this.rest('POST', 'conversations/create_with_participants/', { body: fields }),
    );
  }

  /** This person has the conversation before their eyes, up to this message. */
  read(conversationId, upToSeq) {
    const conversation = this.store.conversation(conversationId);
    if (!this.me || upToSeq <= (conversation.my?.read_seq ?? 0)) return;
    this.store.applyReceipt(conversationId, this.me.id, { read_seq: upToSeq });
    this.#receipts.read(conversationId, upToSeq);
  }

  typing(conversationId, isTyping) {
    if (isTyping) this.#typing.start(conversationId, this.store.limits.typing_interval_ms);
    else this.#typing.stop(conversationId);
  }

  // Session

  #listener() {
    return {
      credentials: () => this.#credentials(),
      ready: (payload) => this.#ready(payload),
      event: (name, payload) => this.#hear(name, payload),
      lost: () => this.#lost(),
      status: (status, error) => this.#emit('status', { status, error }),
      expiring: (seconds) => this.#emit('expiring', { seconds }),
      closed: (code) => this.#emit('closed', { code }),
    };
  }

  #credentials() {
    const { epoch, cursor } = this.store;
    const fields = { protocol: PROTOCOL, cursors: this.#cursors() };
    if (epoch !== null) fields.epoch = epoch;
    if (cursor.at !== null) fields.user_seq = cursor.at;
    return fields;
  }

  /** The most recently active conversations, as many as one socket is seated in. */
  #cursors() {
    const followed = this.store.list().filter((one) => one.cursor.at !== null);
    return Object.fromEntries(followed.slice(0, this.store.limits.joined ?? 200).map((one) => [one.id, one.cursor.at]));
  }

  #ready(ready) {
    this.store.welcome(ready);
    if (this.store.enterEpoch(ready.epoch)) this.#startOver();
    if (ready.sync) this.#catchUp.take(ready.sync);
    for (const [id, head] of Object.entries(ready.joined ?? {})) this.#seat(id, head);
    this.store.cursor.start(ready.user_seq);
    if (this.store.cursor.behind) this.#catchUp.wantPersonal();
    this.#outbox.open(this.me.id);
    this.#receipts.open();
    this.#announceReady();
  }

  async #announceReady() {
    const again = this.#wasReady;
    this.#wasReady = true;
    await this.#catchUp.run();
    if (again) await this.list({ fromStart: true }).catch(() => {});
    if (this.isOnline) this.#emit('ready', { again });
  }

  /** A restored database: nothing known counts any more, except what this person still wants to send. */
  #startOver() {
    this.#nextPage = undefined;
    this.#catchUp.forget();
    this.#receipts.forget();
  }

  #seat(id, head) {
    const conversation = this.store.conversation(id);
    conversation.isSeated = true;
    conversation.cursor.start(head);
    if (conversation.cursor.behind) this.#catchUp.want(id);
  }

  #lost() {
    this.#outbox.close();
    this.#receipts.close();
    for (const conversation of this.store.conversations.values()) {
      conversation.isSeated = false;
      conversation.cursor.ask();
      for (const userId of [...conversation.typing.keys()]) this.#typing.gone(conversation, userId);
    }
  }

  // Hearing

  #hear(name, event) {
    if (event.prev_event_seq !== undefined) this.#followRoom(event);
    if (event.prev_user_seq !== undefined) this.#followPerson(event);
    this.#heard[name]?.(event);
  }

  /** What each event says; whether it left a hole was looked at before. */
  #heard = {
    'message:created': (event) => this.#messageCreated(event),
    'message:updated': ({ message }) => this.store.applyMessage(message),
    'message:deleted': ({ message }) => this.store.applyMessage(message),
    'participant:added': (event) => this.store.applyParticipant(event.conversation_id, event.participant),
    'participant:removed': (event) => this.store.applyParticipant(event.conversation_id, event.participant),
    'participant:updated': (event) => this.store.applyParticipant(event.conversation_id, event.participant),
    'conversation:updated': ({ conversation }) => this.store.applyConversation(conversation),
    'conversation:added': (event) => this.#conversationAdded(event),
    'conversation:removed': (event) => this.#conversationRemoved(event),
    'conversation:activity': ({ conversation_id: id }) => this.#meet(id),
    'my:updated': (event) => this.store.applyMy(event.conversation_id, event.my),
    'my:message_hidden': (event) => this.store.hide(event.conversation_id, event.message_ids),
    'my:unread': ({ total }) => this.#tookTotal(total),
    'receipt:read': (event) => this.#receipt(event, { read_seq: event.up_to_seq }),
    'receipt:delivered': (event) => this.#receipt(event, { delivered_seq: event.up_to_seq }),
    'user:updated': ({ user }) => this.#userUpdated(user),
    'typing:started': (event) => this.#typingStarted(event),
    'typing:stopped': (event) => this.#typing.gone(this.store.conversation(event.conversation_id), event.user_id),
    'session:resync': (event) => this.#resync(event),
  };

  #followRoom({ conversation_id: id, event_seq: number, prev_event_seq: previous }) {
    const conversation = this.store.conversation(id);
    conversation.cursor.follow(number, previous);
    if (!conversation.info) this.#meet(id);
    if (!conversation.cursor.behind) return;
    this.#catchUp.want(id);
    this.#catchUp.run();
  }

  #followPerson({ user_seq: number, prev_user_seq: previous }) {
    this.store.cursor.follow(number, previous);
    if (!this.store.cursor.behind) return;
    this.#catchUp.wantPersonal();
    this.#catchUp.run();
  }

  #messageCreated({ message }) {
    const isNews = this.store.applyMessage(message);
    const isMine = message.sender?.id === this.me.id;
    if (isMine) this.#outbox.settle(message.client_msg_id);
    if (message.sender) this.#typing.gone(this.store.conversation(message.conversation_id), message.sender.id);
    if (isNews && !isMine) this.#emit('message', { message });
  }

  #conversationAdded({ conversation, event_seq: eventSeq }) {
    const record = this.store.applyConversation(conversation);
    record.setMembership(true, eventSeq);
    this.#seat(record.id, conversation.head);
    this.#catchUp.run();
  }

  #conversationRemoved({ conversation_id: id, event_seq: eventSeq, reason }) {
    const record = this.store.conversation(id);
    record.setMembership(false, eventSeq);
    this.#touch(id);
    if (!record.isMember) this.#emit('removed', { id, reason });
  }

  #receipt(event, cursors) {
    this.store.applyReceipt(event.conversation_id, event.user_id, cursors);
  }

  #typingStarted(event) {
    if (event.user_id !== this.me.id) this.#typing.heard(this.store.conversation(event.conversation_id), event);
  }

  #userUpdated(user) {
    this.store.applyUser(user);
    if (user.id === this.me.id) this.store.me = { ...this.me, ...user };
    for (const id of this.store.conversations.keys()) this.#touch(id);
  }

  #resync({ conversation_ids: ids, within_ms: most = 0 }) {
    setTimeout(() => {
      const followed = [...this.store.conversations.values()].filter((one) => one.cursor.at !== null);
      for (const id of ids ?? followed.map((one) => one.id)) this.#catchUp.want(id);
      if (!ids) this.#catchUp.wantPersonal();
      this.#catchUp.run();
    }, Math.random() * most);
  }

  // Answers

  /** Conversations that were reset lost their counts: the server knows them. */
  #caughtUp(answer) {
    for (const entry of answer.conversations ?? []) {
      for (const message of entry.messages ?? []) this.#settleIfMine(message);
      if (entry.reset) this.#meet(entry.id);
    }
    for (const { conversation_id: id, is_active: isActive } of answer.memberships ?? []) {
      if (id && isActive && !this.store.conversation(id).info) this.#meet(id);
    }
  }

  #settleIfMine({ sender, client_msg_id: clientMsgId }) {
    if (sender && sender.id === this.me?.id) this.#outbox.settle(clientMsgId);
  }

  async #deliver(payload) {
    const { message } = await this.request('message:send', payload);
    if (message.content !== undefined) this.store.applyMessage(message); // a former member gets only the numbers
  }

  #tookRead(id, { unread_count: count, unread_total: total }) {
    const conversation = this.store.conversation(id);
    if (conversation.my && typeof count === 'number' && conversation.from === null) conversation.countUnread(count);
    this.#tookTotal(total);
  }

  #tookTotal(total) {
    if (typeof total !== 'number') return;
    this.store.serverUnread = total;
    this.#touch(null);
  }

  /** Learn about a conversation from the server; whoever asks meanwhile gets the same answer. */
  #meet(id) {
    let asked = this.#meeting.get(id);
    if (!asked) {
      asked = this.rest('GET', `conversations/${encodeURIComponent(id)}/`)
        .then((object) => this.store.applyConversation(object))
        .finally(() => this.#meeting.delete(id));
      asked.catch(() => {}); // whoever needs it hears of the failure, the others do not mind
      this.#meeting.set(id, asked);
    }
    return asked;
  }

  /** One page of history; without a place to start from, the newest. */
  #page(id, place = {}) {
    let asked = this.#paging.get(id);
    if (!asked) {
      asked = this.#insist('message:list', { conversation_id: id, ...place })
        .then((page) => this.store.applyPage(id, page, { isNewest: !('before_seq' in place) }))
        .finally(() => this.#paging.delete(id));
      this.#paging.set(id, asked);
    }
    return asked;
  }

  /** For requests that may be asked again: some patience with an unknown outcome. */
  async #insist(event, payload) {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.request(event, payload);
      } catch (error) {
        if (!error.retryable || attempt === TRIES) throw error;
        await sleep(error.retryAfterMs ?? backoff(attempt));
      }
    }
  }

  // Telling

  /** Many changes in one turn are one `change`. */
  #touch(id) {
    if (this.#touched.size === 0) queueMicrotask(() => this.#flush());
    this.#touched.add(id);
  }

  #flush() {
    const ids = new Set(this.#touched);
    this.#touched.clear();
    for (const id of ids) this.#reportDelivered(this.store.conversations.get(id));
    this.#emit('change', { ids });
  }

  #reportDelivered(conversation) {
    if (!conversation?.isKnown || !conversation.my) return;
    if (conversation.lastSeq > (conversation.my.delivered_seq ?? 0))
      this.#receipts.delivered(conversation.id, conversation.lastSeq);
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

/** `crypto.randomUUID` is missing on pages served without TLS. */
function uuid() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
}
