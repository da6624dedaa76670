import { backoff, sleep } from './errors.js';

const CURSORS_PER_REQUEST = 200;
const STALLS = 3; // answers in a row that move nothing, before giving up

/** Asks `sync`, one request at a time, until every cursor has reached what was heard. */
export class CatchUp {
  #store;
  #request;
  #applied;
  #isOnline;
  #wanted = new Set(); // conversation ids
  #wantsPersonal = false;
  #running = null;

  /** `applied(answer)` is told after each answer has gone into the store. */
  constructor({ store, request, applied, isOnline }) {
    this.#store = store;
    this.#request = request;
    this.#applied = applied;
    this.#isOnline = isOnline;
  }

  want(id) {
    this.#wanted.add(id);
  }

  wantPersonal() {
    this.#wantsPersonal = true;
  }

  /** Nothing asked before counts any more. */
  forget() {
    this.#wanted.clear();
  }

  /** An answer that came another way, inside `session:ready`. */
  take(answer) {
    this.#apply(answer, {});
  }

  /** Resolves when everything wanted is there, or the connection is gone. */
  run() {
    this.#running ??= this.#loop().finally(() => (this.#running = null));
    return this.#running;
  }

  async #loop() {
    for (let stalls = 0, failures = 0; this.#isOnline() && this.#hasWork;) {
      const payload = this.#question();
      try {
        const moved = this.#apply(await this.#request('sync', payload), payload.cursors);
        stalls = moved ? 0 : stalls + 1;
        failures = 0;
      } catch (error) {
        if (!error.retryable) return this.#giveUp();
        failures += 1;
        await sleep(error.retryAfterMs ?? backoff(failures));
      }
      if (stalls >= STALLS) return this.#giveUp();
    }
  }

  get #hasWork() {
    return this.#wanted.size > 0 || this.#wantsPersonal;
  }

  #question() {
    const ids = [...this.#wanted].slice(0, CURSORS_PER_REQUEST);
    const payload = { cursors: Object.fromEntries(ids.map((id) => [id, this.#store.conversation(id).cursor.from])) };
    for (const id of ids) this.#store.conversation(id).cursor.ask();
    this.#store.cursor.ask();
    if (this.#store.epoch !== null) payload.epoch = this.#store.epoch;
    if (this.#store.cursor.at !== null) payload.user_seq = this.#store.cursor.at;
    this.#wantsPersonal = false;
    return payload;
  }

  /** Returns whether anything moved, or anything wanted is done. */
  #apply(answer, asked) {
    const personalBefore = this.#store.cursor.at;
    this.#store.applySync(answer);
    for (const id of Object.keys(asked)) this.#wanted.delete(id); // unless it turns out below that there is more
    for (const [id, number] of Object.entries(asked)) this.#seat(id, number);
    for (const { conversation } of answer.memberships ?? [])
      if (conversation) this.#seat(conversation.id, conversation.head);
    for (const entry of answer.conversations ?? []) if (entry.has_more) this.#wanted.add(entry.id);
    this.#wantsPersonal ||= Boolean(answer.user_has_more) || this.#store.cursor.behind;
    this.#applied(answer);
    const isDone = ([id, number]) => !this.#wanted.has(id) || this.#store.conversation(id).cursor.at !== number;
    return this.#store.cursor.at !== personalBefore || Object.entries(asked).some(isDone);
  }

  /** Being named in `sync` seats a conversation; one the answer leaves out has not changed since. */
  #seat(id, number) {
    const { cursor } = this.#store.conversation(id);
    cursor.start(number);
    if (cursor.behind) this.#wanted.add(id);
  }

  #giveUp() {
    for (const id of this.#wanted) this.#store.conversation(id).cursor.settle();
    this.#store.cursor.settle();
    this.#wanted.clear();
    this.#wantsPersonal = false;
  }
}
