const PREFIX = 'palabre:outbox';

/**
 * One person's unsent messages in a Storage. A storage that is full, forbidden or holds nonsense costs the survival of
 * a restart, never a message.
 */
export class Shelf {
  #storage;
  #prefix;

  constructor(storage, owner) {
    this.#storage = storage;
    this.#prefix = `${PREFIX}:${owner}:`;
  }

  /** Every entry that is there. */
  all() {
    const entries = this.#keys().map((key) => this.#read(key));
    return entries.filter((entry) => typeof entry?.payload?.client_msg_id === 'string');
  }

  /** Whether it is known to be gone: another tab has brought it to the server or given it up. */
  isGone(id) {
    return this.#try(() => this.#storage.getItem(this.#prefix + id) === null, false);
  }

  /** Returns whether it is kept now. */
  put(id, entry) {
    return this.#try(() => {
      this.#storage.setItem(this.#prefix + id, JSON.stringify(entry));
      return true;
    }, false);
  }

  remove(id) {
    this.#try(() => this.#storage.removeItem(this.#prefix + id));
  }

  clear() {
    for (const key of this.#keys()) this.#try(() => this.#storage.removeItem(key));
  }

  #keys() {
    return this.#try(() => {
      const keys = Array.from({ length: this.#storage.length }, (_, n) => this.#storage.key(n));
      return keys.filter((key) => key?.startsWith(this.#prefix));
    }, []);
  }

  #read(key) {
    return this.#try(() => JSON.parse(this.#storage.getItem(key)), null);
  }

  #try(act, otherwise) {
    if (!this.#storage) return otherwise;
    try {
      return act();
    } catch {
      return otherwise;
    }
  }
}
