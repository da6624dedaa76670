const BY_STATUS = {
  401: 'unauthorized',
  403: 'forbidden',
  404: 'not_found',
  413: 'payload_too_large',
  429: 'rate_limited',
  502: 'unavailable',
  503: 'unavailable',
  504: 'timeout',
  507: 'storage_full',
};
const RETRYABLE = new Set(['rate_limited', 'unavailable', 'timeout', 'storage_full', 'internal']);

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
}

/** No answer came: the outcome is unknown, the same request may be asked again. */
export const timedOut = () =>
  new PalabreError({ code: 'timeout', message: 'The server did not answer in time.', retryable: true });

export const offline = () =>
  new PalabreError({ code: 'unavailable', message: 'There is no connection to the server.', retryable: true });

/** A refusal over HTTP; whoever stands between us and the server may have answered in a form of its own. */
export function refusal(status, body) {
  if (body?.error?.code) return new PalabreError(body.error);
  const code = BY_STATUS[status] ?? 'internal';
  return new PalabreError({ code, message: `HTTP status ${status}`, retryable: RETRYABLE.has(code) });
}

export const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

/** Waiting time before attempt `n` (from 1): doubling, at most `most`, never the same for two clients. */
export function backoff(n, least = 500, most = 15_000) {
  const full = Math.min(most, least * 2 ** (n - 1));
  return full / 2 + Math.random() * (full / 2);
}
