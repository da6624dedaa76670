const AT_ONCE = 200;
const MOST = 500;

/**
 * Who is there: subscribes to the people that somebody looks at and to oneself, and again after each connection. Beyond
 * what the server allows, those who were named longest ago are let go.
 */
export class Presence {
  #people = new Map(); // user id -> what the server said last, or null; the least recently named first
  #unasked = new Set();
  #limits;
  #me;
  #request;
  #changed;
  #isOpen = false;
  #isStirring = false;

  /** `limits()` and `me()` answer what the server has said; `changed(ids)` is told. */
  constructor({ request, limits, me, changed }) {
    this.#request = request;
    this.#limits = limits;
    this.#me = me;
    this.#changed = changed;
  }

  of(userId) {
    return this.#people.get(userId) ?? null;
  }

  follow(userIds) {
    for (const id of [...userIds, ...(this.#isOpen ? [this.#me()] : [])]) {
      const known = this.#people.get(id) ?? null;
      if (!this.#people.delete(id)) this.#want(id);
      this.#people.set(id, known);
    }
  }

  /** The server knows nothing of what an earlier connection asked for. */
  open() {
    this.#isOpen = true;
    this.follow([]);
    for (const id of this.#people.keys()) this.#want(id);
  }

  close() {
    this.#isOpen = false;
    this.#unasked.clear();
  }

  forget() {
    this.#people.clear();
  }

  heard(presence) {
    this.#take([presence]);
  }

  /** Somebody touches this device: not away any more, but as invisible as they wanted to be. */
  stir() {
    if (!this.#isOpen || this.#isStirring || this.of(this.#me())?.status !== 'away') return;
    this.#isStirring = true;
    this.set('active')
      .catch(() => {})
      .finally(() => (this.#isStirring = false));
  }

  async set(status) {
    return (await this.#request('presence:set', { status })).status;
  }

  /** Many people in one turn are one request. */
  #want(id) {
    if (!this.#isOpen) return;
    if (this.#unasked.size === 0) queueMicrotask(() => this.#ask());
    this.#unasked.add(id);
  }

  async #ask() {
    const { presence_ids: atOnce = AT_ONCE } = this.#limits();
    this.#letGo();
    const wanted = [...this.#unasked];
    this.#unasked.clear();
    try {
      for (let start = 0; start < wanted.length && this.#isOpen; start += atOnce) {
        const ids = wanted.slice(start, start + atOnce);
        this.#take((await this.#request('presence:subscribe', { user_ids: ids })).presence);
      }
    } catch {
      // Who is there is no matter of life: the next connection asks again.
    }
  }

  #letGo() {
    const { presence_subscriptions: most = MOST, presence_ids: atOnce = AT_ONCE } = this.#limits();
    const tooMany = [...this.#people.keys()].slice(0, Math.max(0, this.#people.size - most));
    const asked = tooMany.filter((id) => !this.#unasked.has(id));
    for (const id of tooMany) {
      this.#people.delete(id);
      this.#unasked.delete(id);
    }
    for (let start = 0; start < asked.length; start += atOnce)
      this.#request('presence:unsubscribe', { user_ids: asked.slice(start, start + atOnce) }).catch(() => {});
  }

  #take(presences) {
    const known = presences.filter(({ user_id: id }) => this.#people.has(id));
    for (const presence of known) this.#people.set(presence.user_id, presence);
    if (known.length > 0) this.#changed(new Set(known.map(({ user_id: id }) => id)));
  }
}
