import { backoff, sleep } from './errors.js';

const PREFIX = 'palabre:outbox';

/**
 * Messages on their way. Each keeps its `client_msg_id` and its exact content until the server has answered for it, also
 * across a reload: asking again with the same id can never make two messages. One at a time and in order per conversation.
 */
export class Outbox {
  #entries = new Map(); // client_msg_id -> entry
  #running = new Set(); // conversation ids
  #isOpen = false;
  #owner = null;
  #deliver;
  #storage;
  #changed;

  /** `deliver(payload)` sends and resolves when it is stored; `changed(conversationId)` tells the views. */
  constructor({ deliver, storage = null, changed = () => {} }) {
    this.#deliver = deliver;
    this.#storage = storage;
    this.#changed = changed;
  }

  /** Connected as `owner`: take up what an earlier run left behind, and send. */
  open(owner) {
    if (this.#owner !== owner) this.#load(owner);
    this.#isOpen = true;
    for (const entry of this.#entries.values()) this.#run(entry.payload.conversation_id);
  }

  close() {
    this.#isOpen = false;
  }

  of(conversationId) {
    return [...this.#entries.values()]
      .filter((entry) => entry.payload.conversation_id === conversationId)
      .sort((a, b) => a.order - b.order);
  }

  add(payload) {
    const entry = {
      payload,
      state: 'pending',
      error: null,
      createdAt: new Date().toISOString(),
      order: this.#nextOrder(),
    };
    this.#keep(entry);
    this.#run(payload.conversation_id);
    return entry;
  }

  /** A refused message changed nothing on the server: the same id may be tried again. */
  retry(clientMsgId) {
    const entry = this.#entries.get(clientMsgId);
    if (!entry) return;
    this.#keep({ ...entry, state: 'pending', error: null, order: this.#nextOrder() });
    this.#run(entry.payload.conversation_id);
  }

  discard(clientMsgId) {
    this.settle(clientMsgId);
  }

  /** The message is stored, whoever said so first: the acknowledgement or the room. */
  settle(clientMsgId) {
    const entry = this.#entries.get(clientMsgId);
    if (!entry) return;
    this.#entries.delete(clientMsgId);
    this.#storage?.removeItem(this.#key(clientMsgId));
    this.#changed(entry.payload.conversation_id);
  }

  clear() {
    this.close();
    for (const clientMsgId of [...this.#entries.keys()]) this.settle(clientMsgId);
  }

  async #run(conversationId) {
    if (this.#running.has(conversationId)) return;
    this.#running.add(conversationId);
    for (let attempt = 1, entry; (entry = this.#next(conversationId));) {
      const error = await this.#attempt(entry);
      if (!error) attempt = 1;
      else if (error.isAboutToken)
        break; // sent again by `open`, with a new token
      else if (error.retryable) await sleep(error.retryAfterMs ?? backoff(attempt++));
      else this.#fail(entry, error);
    }
    this.#running.delete(conversationId);
  }

  async #attempt(entry) {
    try {
      await this.#deliver(entry.payload);
      this.settle(entry.payload.client_msg_id);
      return null;
    } catch (error) {
      return error;
    }
  }

  #next(conversationId) {
    return this.#isOpen ? this.of(conversationId).find((entry) => entry.state === 'pending') : undefined;
  }

  #fail({ payload }, error) {
    const entry = this.#entries.get(payload.client_msg_id);
    if (entry) this.#keep({ ...entry, state: 'failed', error: { code: error.code, message: error.message } });
  }

  #keep(entry) {
    this.#entries.set(entry.payload.client_msg_id, entry);
    this.#storage?.setItem(this.#key(entry.payload.client_msg_id), JSON.stringify(entry));
    this.#changed(entry.payload.conversation_id);
  }

  #load(owner) {
    this.#owner = owner;
    for (const key of this.#storage ? Object.keys(this.#storage) : []) {
      if (!key.startsWith(this.#key(''))) continue;
      const entry = JSON.parse(this.#storage.getItem(key));
      if (entry && !this.#entries.has(entry.payload.client_msg_id))
        this.#entries.set(entry.payload.client_msg_id, entry);
    }
    for (const entry of this.#entries.values()) this.#changed(entry.payload.conversation_id);
  }

  #key(clientMsgId) {
    return `${PREFIX}:${this.#owner}:${clientMsgId}`;
  }

  #order = 0;

  #nextOrder() {
    this.#order = Math.max(this.#order + 1, Date.now());
    return this.#order;
  }
}
