import { sleep } from './errors.js';

const BATCH = 100;
const DELIVERED_EVERY_MS = 400;
const RETRY_MS = 1_000;

/** What this client has received and what its person has read, told to the server in few requests and never backwards. */
export class Receipts {
  #delivered = new Map(); // conversation id -> up_to_seq, to be told
  #read = new Map();
  #told = { delivered: new Map(), read: new Map() };
  #reading = new Set();
  #timer = null;
  #isOpen = false;
  #request;
  #onRead;

  /** `request(event, payload)` asks the server; `onRead(conversationId, answer)` takes the numbers it answers. */
  constructor({ request, onRead }) {
    this.#request = request;
    this.#onRead = onRead;
  }

  open() {
    this.#isOpen = true;
    this.#schedule();
    for (const id of this.#read.keys()) this.#tellRead(id);
  }

  close() {
    this.#isOpen = false;
    clearTimeout(this.#timer);
    this.#timer = null;
  }

  /** Another database lifetime: whatever was told is unknown there. */
  forget() {
    this.#told = { delivered: new Map(), read: new Map() };
  }

  delivered(conversationId, upToSeq) {
    if (!this.#isNews('delivered', conversationId, upToSeq)) return;
    raise(this.#delivered, conversationId, upToSeq);
    this.#schedule();
  }

  read(conversationId, upToSeq) {
    if (!this.#isNews('read', conversationId, upToSeq)) return;
    raise(this.#read, conversationId, upToSeq);
    this.#tellRead(conversationId);
  }

  #isNews(kind, conversationId, upToSeq) {
    return upToSeq > (this.#told[kind].get(conversationId) ?? 0);
  }

  #schedule() {
    if (!this.#isOpen || this.#timer !== null || this.#delivered.size === 0) return;
    this.#timer = setTimeout(() => this.#tellDelivered(), DELIVERED_EVERY_MS);
  }

  async #tellDelivered() {
    const batch = [...this.#delivered].slice(0, BATCH);
    for (const [id] of batch) this.#delivered.delete(id);
    try {
      await this.#request('receipt:delivered', {
        items: batch.map(([conversation_id, up_to_seq]) => ({ conversation_id, up_to_seq })),
      });
      for (const [id, seq] of batch) raise(this.#told.delivered, id, seq);
    } catch (error) {
      if (error.retryable) for (const [id, seq] of batch) raise(this.#delivered, id, seq);
      await sleep(error.retryAfterMs ?? RETRY_MS);
    }
    this.#timer = null;
    this.#schedule();
  }

  async #tellRead(conversationId) {
    if (!this.#isOpen || this.#reading.has(conversationId)) return;
    const upToSeq = this.#read.get(conversationId);
    if (upToSeq === undefined) return;
    this.#reading.add(conversationId);
    this.#read.delete(conversationId);
    try {
      const answer = await this.#request('receipt:read', { conversation_id: conversationId, up_to_seq: upToSeq });
      raise(this.#told.read, conversationId, upToSeq);
      raise(this.#told.delivered, conversationId, upToSeq);
      this.#onRead(conversationId, answer);
    } catch (error) {
      if (error.retryable) raise(this.#read, conversationId, upToSeq);
      await sleep(error.retryAfterMs ?? RETRY_MS);
    }
    this.#reading.delete(conversationId);
    this.#tellRead(conversationId);
  }
}

const raise = (map, id, seq) => map.set(id, Math.max(map.get(id) ?? 0, seq));
