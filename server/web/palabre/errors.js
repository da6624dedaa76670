/** A refusal of the server, or the absence of an answer, in the words of the protocol. */
export class PalabreError extends Error {
  constructor({ code = 'internal', message = code, retryable = false, retry_after_ms = null, details = [] } = {}) {
    super(message);
    this.name = 'PalabreError';
    this.code = code;
    this.retryable = retryable;
    this.retryAfterMs = retry_after_ms;
    this.details = details;
  }

  /** The credentials are the problem: nothing else will work until they are renewed. */
  get isAboutToken() {
    return this.code === 'unauthorized' || this.code === 'token_expired';
  }

  /** No answer came: the outcome is unknown, the same request may be asked again. */
  static timeout() {
    return new PalabreError({ code: 'timeout', message: 'The server did not answer in time.', retryable: true });
  }

  static offline() {
    return new PalabreError({ code: 'unavailable', message: 'There is no connection to the server.', retryable: true });
  }
}

export const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

/** Waiting time before attempt `n` (from 1): doubling, at most `most`, never the same for two clients. */
export function backoff(n, least = 500, most = 15_000) {
  const full = Math.min(most, least * 2 ** (n - 1));
  return full / 2 + Math.random() * (full / 2);
}
