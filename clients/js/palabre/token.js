import { PalabreError } from './errors.js';

/** The token that both doors are shown, and where the next one comes from. */
export class Token {
  value;

  #source;
  #renewing = null;

  /** `source()` gives a fresh token, or null when there is none any more; without it, nothing can be renewed. */
  constructor(value, source) {
    this.value = value ?? null;
    this.#source = source;
  }

  get isRenewable() {
    return Boolean(this.#source);
  }

  /** One question for everybody who asks meanwhile. Throws a PalabreError; `retryable` when it may work later. */
  renew() {
    this.#renewing ??= this.#ask().finally(() => (this.#renewing = null));
    return this.#renewing;
  }

  async #ask() {
    let fresh;
    try {
      fresh = await this.#source();
    } catch (error) {
      if (error instanceof PalabreError) throw error;
      const message = `A fresh token could not be fetched: ${error?.message ?? error}`;
      throw new PalabreError({ code: 'unavailable', message, retryable: true });
    }
    if (!fresh) throw new PalabreError({ code: 'token_expired', message: 'There is no fresh token.' });
    this.value = fresh;
  }
}
