import { backoff } from './errors.js';
import { Shelf } from './shelf.js';

/**
 * Messages on their way. Each keeps its `client_msg_id` and its exact content until the server has answered for it,
 * also across a restart: asking again with the same id can never make two messages. One at a time and in order per
 * conversation.
 */
export class Outbox {
  #entries = new Map(); // client_msg_id -> entry
  #kept = new Set(); // ids that are on the shelf
  #running = new Set(); // conversation ids
  #isOpen = false;
  #owner = null;
  #shelf = null;
  #storage;
  #deliver;
  #changed;
  #failed;
  #sleepers = new Set(); // what ends each pause
  #order = 0;

  /**
   * `deliver(payload)` sends and resolves when it is stored; `changed(conversationId)` and `failed(entry)` tell the
   * views; `storage` survives restarts.
   */
  constructor({ deliver, storage, changed, failed }) {
    this.#deliver = deliver;
    this.#storage = storage;
    this.#changed = changed;
    this.#failed = failed;
  }

  /** Connected as `owner`: take up what an earlier run, or another tab, has left behind, and send. */
  open(owner) {
    this.#belongTo(owner);
    this.#isOpen = true;
    this.#wake();
    for (const entry of this.#entries.values()) this.#run(entry.payload.conversation_id);
  }

  close() {
    this.#isOpen = false;
    this.#wake();
  }

  of(conversationId) {
    return [...this.#entries.values()]
      .filter((entry) => entry.payload.conversation_id === conversationId)
      .sort((a, b) => a.order - b.order);
  }

  add(payload, attachments) {
    const createdAt = new Date().toISOString();
    const entry = { payload, attachments, state: 'pending', error: null, createdAt, order: this.#nextOrder() };
    this.#keep(entry);
    this.#run(payload.conversation_id);
    return entry;
  }

  /** A refused message changed nothing on the server: the same id may be tried again. */
  retry(id) {
    const entry = this.#entries.get(id);
    if (!entry) return;
    this.#keep({ ...entry, state: 'pending', error: null, order: this.#nextOrder() });
    this.#run(entry.payload.conversation_id);
  }

  /** The message is stored, whoever said so first, the acknowledgement or the room; or nobody wants it any more. */
  settle(id) {
    const entry = this.#entries.get(id);
    if (!entry) return;
    this.#entries.delete(id);
    this.#kept.delete(id);
    this.#shelf?.remove(id);
    this.#changed(entry.payload.conversation_id);
  }

  clear() {
    this.close();
    for (const id of [...this.#entries.keys()]) this.settle(id);
    this.#shelf?.clear();
  }

  /** What was written before anybody knew who writes belongs to the first to connect, and to nobody else. */
  #belongTo(owner) {
    if (this.#owner !== null && this.#owner !== owner) {
      this.#entries.clear();
      this.#kept.clear();
    }
    this.#owner = owner;
    this.#shelf = new Shelf(this.#storage, owner);
    for (const entry of this.#entries.values()) this.#keep(entry);
    for (const entry of this.#shelf.all()) this.#takeUp(entry);
  }

  #takeUp(entry) {
    const { client_msg_id: id, conversation_id: conversationId } = entry.payload;
    if (this.#entries.has(id)) return;
    this.#entries.set(id, { attachments: [], ...entry });
    this.#kept.add(id);
    this.#changed(conversationId);
  }

  async #run(conversationId) {
    if (this.#running.has(conversationId)) return;
    this.#running.add(conversationId);
    for (let attempt = 1, entry; (entry = this.#next(conversationId));) {
      const error = await this.#attempt(entry);
      if (!error) attempt = 1;
      else if (error.isAboutToken)
        await this.#pause(null); // `open` comes with a new token
      else if (error.retryable) await this.#pause(error.retryAfterMs ?? backoff(attempt++));
      else this.#fail(entry, error);
    }
    this.#running.delete(conversationId);
  }

  async #attempt({ payload }) {
    try {
      await this.#deliver(payload);
      this.settle(payload.client_msg_id);
      return null;
    } catch (error) {
      return error;
    }
  }

  #next(conversationId) {
    if (!this.#isOpen) return undefined;
    for (const { payload } of this.of(conversationId)) {
      const id = payload.client_msg_id;
      if (this.#kept.has(id) && this.#shelf.isGone(id)) this.settle(id); // another tab was faster
    }
    return this.of(conversationId).find((entry) => entry.state === 'pending');
  }

  /** Until the time is over, or the connection comes or goes. */
  #pause(ms) {
    return new Promise((done) => {
      const wake = () => {
        clearTimeout(timer);
        this.#sleepers.delete(wake);
        done();
      };
      const timer = ms === null ? undefined : setTimeout(wake, ms);
      this.#sleepers.add(wake);
    });
  }

  #wake() {
    for (const wake of [...this.#sleepers]) wake();
  }

  #fail({ payload }, error) {
    const entry = this.#entries.get(payload.client_msg_id);
    if (!entry) return;
    const failed = { ...entry, state: 'failed', error: { code: error.code, message: error.message } };
    this.#keep(failed);
    this.#failed(failed);
  }

  #keep(entry) {
    const id = entry.payload.client_msg_id;
    this.#entries.set(id, entry);
    if (this.#shelf?.put(id, entry)) this.#kept.add(id);
    this.#changed(entry.payload.conversation_id);
  }

  #nextOrder() {
    this.#order = Math.max(this.#order + 1, Date.now());
    return this.#order;
  }
}
