import { CatchUp } from './palabre/catchup.js';
import { Connection } from './palabre/connection.js';
import { PalabreError } from './palabre/errors.js';
import { Feed } from './palabre/feed.js';
import { Files } from './palabre/files.js';
import { Http } from './palabre/http.js';
import { Outbox } from './palabre/outbox.js';
import { Pages } from './palabre/pages.js';
import { Presence } from './palabre/presence.js';
import { Receipts } from './palabre/receipts.js';
import { Store } from './palabre/store.js';
import { Token } from './palabre/token.js';
import { Typing } from './palabre/typing.js';

export { PalabreError };

const PROTOCOL = 1;
const JOINED = 200;

/**
 * A client of a Palabre server: one connection, the state it keeps true, the verbs of the protocol. It knows no page.
 *
 *     const palabre = new Palabre({ io, token, renewToken: async () => freshToken });
 *     palabre.addEventListener('change', ({ detail }) => draw(detail.ids));
 *     palabre.connect();
 *     await palabre.list();
 *     palabre.send(conversationId, 'Hello');
 *
 * palabre.d.ts says what each method takes and gives. Events (a CustomEvent each, with `detail`):
 *   status   {status, error}   idle, connecting, online, reconnecting, closed
 *   ready    {again}           connected and caught up; `again` when it was connected before
 *   change   {ids}             these conversations look different now; null among them: the unread total
 *   presence {ids}             of these people it is known anew how they are: `presenceOf(id)`
 *   message  {message}         somebody else's message just arrived
 *   sent     {message}         the server has stored a message of the outbox
 *   failed   {entry}           the server has refused one
 *   removed  {id, reason}      this person is no longer in that conversation
 *   expiring {seconds}         the token ends soon and there is no fresh one
 *   closed   {code}            the session is over; `connect()` with another token begins a new one
 */
export class Palabre extends EventTarget {
  store = new Store((id) => this.#touch(id));

  #connection;
  #http;
  #catchUp;
  #feed;
  #files;
  #outbox;
  #pages;
  #presence;
  #receipts;
  #typing;
  #wasReady = false;
  #touched = new Set();

  constructor({
    io = globalThis.io,
    url = globalThis.location?.origin,
    token = null,
    renewToken = null,
    storage = null,
    ackTimeout = 10_000,
  }) {
    super();
    if (typeof io !== 'function') throw new TypeError("Palabre needs `io`: import { io } from 'socket.io-client'");
    if (!url) throw new TypeError('Palabre needs `url`, the origin of the server');
    const server = { url: url.replace(/\/+$/, ''), token: new Token(token, renewToken) };
    const { store } = this;
    const changed = (id) => this.#touch(id);
    this.#http = new Http(server);
    this.#connection = new Connection({ io, ackTimeout, ...server }, this.#listener());
    const request = (event, payload) => this.request(event, payload);
    this.#catchUp = new CatchUp({
      store,
      request,
      applied: (answer) => this.#feed.caughtUp(answer),
      isOnline: () => this.isOnline,
    });
    this.#pages = new Pages({ store, catchUp: this.#catchUp, connection: this.#connection, http: this.#http });
    this.#files = new Files({ http: this.#http, now: () => this.now(), limits: () => store.limits });
    this.#receipts = new Receipts({ request, onRead: (id, answer) => this.#tookRead(id, answer) });
    this.#presence = new Presence({
      request,
      limits: () => store.limits,
      me: () => store.me?.id,
      changed: (ids) => this.#emit('presence', { ids }),
    });
    this.#typing = new Typing({ tell: (event, payload) => this.#connection.hint(event, payload), changed });
    this.#outbox = new Outbox({
      deliver: (payload) => this.#deliver(payload),
      storage,
      changed,
      failed: (entry) => this.#emit('failed', { entry }),
    });
    this.#feed = new Feed({
      store,
      catchUp: this.#catchUp,
      outbox: this.#outbox,
      typing: this.#typing,
      presence: this.#presence,
      meet: (id) => this.#pages.meet(id),
      refresh: () => this.list({ fromStart: true }),
      touch: changed,
      emit: (type, detail) => this.#emit(type, detail),
      comeAgain: (delayMs) => this.#connection.comeAgain(delayMs),
    });
  }

  // Connection

  connect(token) {
    this.#connection.open(token);
  }

  disconnect() {
    this.#connection.close();
  }

  forget() {
    this.disconnect();
    this.#outbox.clear();
    this.#files.forget();
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

  now() {
    return Date.now() + this.store.clockAhead;
  }

  request(event, payload) {
    return this.#connection.request(event, payload);
  }

  rest(method, path, options) {
    return this.#http.rest(method, path, options);
  }

  // Reading

  get conversations() {
    return this.store.list();
  }

  list({ fromStart = false } = {}) {
    return this.#pages.list({ archived: false, fromStart });
  }

  get hasMoreConversations() {
    return this.#pages.hasMore({ archived: false });
  }

  listArchived({ fromStart = false } = {}) {
    return this.#pages.list({ archived: true, fromStart });
  }

  get hasMoreArchived() {
    return this.#pages.hasMore({ archived: true });
  }

  open(id) {
    return this.#pages.open(id);
  }

  older(id, { toSeq } = {}) {
    return this.#pages.older(id, toSeq);
  }

  messages(id) {
    return this.store.conversation(id).history(this.store.hidden);
  }

  pending(id) {
    return this.#outbox.of(id);
  }

  get unreadTotal() {
    if (this.hasMoreConversations) return this.store.serverUnread;
    return this.store.list().reduce((sum, one) => sum + one.unread, 0);
  }

  searchPeople(q = '') {
    return this.#pages.searchPeople(q);
  }

  searchConversations(q) {
    return this.#pages.searchConversations(q);
  }

  searchMessages(q, options = {}) {
    return this.#pages.searchMessages(q, options);
  }

  loadPeople(id) {
    return this.#pages.people(id);
  }

  // Writing

  send(conversationId, content, { attachments = [], ...fields } = {}) {
    this.#typing.sent(conversationId);
    const files = attachments.length > 0 ? { attachment_ids: attachments.map(({ id }) => id) } : {};
    const payload = { conversation_id: conversationId, client_msg_id: uuid(), content, ...files, ...fields };
    return this.#outbox.add(payload, attachments);
  }

  retry(clientMsgId) {
    this.#outbox.retry(clientMsgId);
  }

  discard(clientMsgId) {
    this.#outbox.settle(clientMsgId);
  }

  async edit(message, content) {
    const payload = { message_id: message.id, content, base_version: message.version };
    this.store.applyMessage((await this.#connection.insist('message:edit', payload)).message);
  }

  async remove(message) {
    const payload = { message_id: message.id, scope: 'everyone' };
    this.store.applyMessage((await this.#connection.insist('message:delete', payload)).message);
  }

  async hide(message) {
    await this.#connection.insist('message:delete', { message_id: message.id, scope: 'me' });
    this.store.hide(message.conversation_id, [message.id]);
  }

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

  // Presence

  follow(userIds) {
    this.#presence.follow(userIds);
  }

  presenceOf(userId) {
    return this.#presence.of(userId);
  }

  setStatus(status) {
    return this.#presence.set(status);
  }

  stir() {
    this.#presence.stir();
  }

  // Files

  upload(file, options) {
    return this.#files.upload(file, options);
  }

  fileUrl(attachment, size) {
    return this.#files.url(attachment, size);
  }

  // Conversations

  async create(fields) {
    return this.store.applyConversation(
      await this.rest('POST', 'conversations/create_with_participants/', { body: fields }),
    );
  }

  createDirect(userId) {
    return this.create({ type: 'direct', participant_ids: [userId] });
  }

  createGroup(title, userIds) {
    return this.create({ type: 'group', participant_ids: userIds, ...(title ? { title } : {}) });
  }

  async update(id, fields) {
    const payload = { conversation_id: id, ...fields };
    this.store.applyConversation((await this.#connection.insist('conversation:update', payload)).conversation);
  }

  rename(id, title) {
    return this.update(id, { title });
  }

  leave(id) {
    return this.removePerson(id, this.me.id);
  }

  addPeople(id, userIds) {
    return this.#changePeople(id, 'participant:add', { user_ids: userIds });
  }

  removePerson(id, userId) {
    const isGone = (error) => error.code === 'not_found';
    return this.#changePeople(id, 'participant:remove', { user_id: userId }, isGone);
  }

  setRole(id, userId, role) {
    return this.#changePeople(id, 'participant:update', { user_id: userId, role });
  }

  archive(id, on) {
    return this.#changeMy(id, { is_archived: on });
  }

  mute(id, until) {
    return this.#changeMy(id, { muted_until: until });
  }

  pinConversation(id, on) {
    return this.#changeMy(id, { is_pinned: on });
  }

  markUnread(id, on) {
    return this.#changeMy(id, { marked_unread: on });
  }

  async #changePeople(id, event, fields, isDone) {
    const payload = { conversation_id: id, ...fields };
    const { participants = [] } = await this.#connection.insist(event, payload, isDone);
    for (const participant of participants) this.store.applyParticipant(id, participant);
  }

  async #changeMy(id, fields) {
    const payload = { conversation_id: id, ...fields };
    this.store.applyMy(id, (await this.#connection.insist('conversation:update_my', payload)).my);
  }

  // Session

  #listener() {
    return {
      credentials: () => this.#credentials(),
      ready: (payload) => this.#ready(payload),
      event: (name, payload) => this.#feed.hear(name, payload),
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
    return Object.fromEntries(
      followed.slice(0, this.store.limits.joined ?? JOINED).map((one) => [one.id, one.cursor.at]),
    );
  }

  #ready(ready) {
    const isOther = this.store.enter(ready);
    if (isOther) this.#startOver();
    else if (ready.sync) this.#catchUp.take(ready.sync); // the cursors it answers are void otherwise
    for (const [id, head] of Object.entries(ready.joined ?? {})) this.#feed.seat(id, head);
    this.store.cursor.start(ready.user_seq);
    if (this.store.cursor.behind) this.#catchUp.wantPersonal();
    this.#outbox.open(this.me.id);
    this.#receipts.open();
    if (this.store.features.includes('presence')) this.#presence.open();
    this.#announceReady();
  }

  async #announceReady() {
    const again = this.#wasReady;
    this.#wasReady = true;
    await this.#catchUp.run();
    if (again) await this.list({ fromStart: true }).catch(() => {});
    if (this.isOnline) this.#emit('ready', { again });
  }

  /** Nothing known counts any more, except what this person still wants to send. */
  #startOver() {
    this.#pages.forget();
    this.#catchUp.forget();
    this.#receipts.forget();
    this.#presence.forget();
    this.#files.forget();
  }

  #lost() {
    this.#outbox.close();
    this.#receipts.close();
    this.#presence.close();
    this.#feed.lost();
  }

  async #deliver(payload) {
    const { message } = await this.request('message:send', payload);
    if (message.content !== undefined) this.store.applyMessage(message); // a former member gets only the numbers
    this.#emit('sent', { message });
  }

  #tookRead(id, { unread_count: count, unread_total: total }) {
    const conversation = this.store.conversation(id);
    if (conversation.my && conversation.from === null) conversation.countUnread(count);
    this.store.serverUnread = total;
    this.#touch(null);
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
