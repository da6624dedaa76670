import { offline, refusal, timedOut } from './errors.js';

const WITHIN_MS = 30_000; // for an answer
const STALLED_MS = 60_000; // an upload of which nothing moves any more

/** The HTTP door: asks with the token of the moment, and once more with a fresh one when it is refused. */
export class Http {
  #url;
  #token;

  constructor({ url, token }) {
    this.#url = url;
    this.#token = token;
  }

  /** Answers the body, or throws a PalabreError. */
  rest(method, path, { query = {}, body, signal } = {}) {
    const search = new URLSearchParams(query).toString();
    const address = this.#address(path) + (search && `?${search}`);
    const type = body === undefined ? {} : { 'Content-Type': 'application/json' };
    return this.#withToken((headers) =>
      fetched(address, {
        method,
        headers: { ...headers, ...type },
        body: body === undefined ? undefined : JSON.stringify(body),
        signal,
        withinMs: WITHIN_MS,
      }),
    );
  }

  /** Send a file; answers the attachment. `signal` ends it with its reason. */
  upload(file, { name = file.name ?? 'file', onProgress = () => {}, signal }) {
    const send = typeof XMLHttpRequest === 'function' ? sentWithProgress : sentAtOnce;
    return this.#withToken((headers) => {
      signal?.throwIfAborted();
      const form = new FormData();
      form.append('file', file, name);
      return send(this.#address('uploads/'), { headers, form, onProgress, signal });
    });
  }

  /** A path of the server as an address that holds everywhere. */
  absolute(path) {
    return new URL(path, this.#url).href;
  }

  #address(path) {
    return `${this.#url}/api/messaging/${path}`;
  }

  async #withToken(ask) {
    const shown = this.#token.value;
    try {
      return await ask(this.#headers);
    } catch (error) {
      if (!error.isAboutToken || !this.#token.isRenewable) throw error;
      if (shown === this.#token.value) await this.#token.renew(); // unless somebody else has, meanwhile
      return ask(this.#headers);
    }
  }

  get #headers() {
    return { Authorization: `Bearer ${this.#token.value}`, Accept: 'application/json' };
  }
}

async function fetched(address, { signal, withinMs, ...options }) {
  const stop = new AbortController();
  const abort = () => stop.abort();
  const timer = withinMs && setTimeout(abort, withinMs);
  signal?.addEventListener('abort', abort, { once: true });
  try {
    signal?.throwIfAborted();
    const response = await fetch(address, { ...options, signal: stop.signal });
    const body = await response.text();
    return answered(response.status, body);
  } catch (error) {
    if (signal?.aborted) throw signal.reason;
    if (error.name === 'PalabreError') throw error;
    throw stop.signal.aborted ? timedOut() : offline();
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', abort);
  }
}

/** Where there is no XMLHttpRequest, nobody says how far an upload is. */
async function sentAtOnce(address, { headers, form, onProgress, signal }) {
  onProgress(0);
  const attachment = await fetched(address, { method: 'POST', headers, body: form, signal });
  onProgress(1);
  return attachment;
}

function sentWithProgress(address, { headers, form, onProgress, signal }) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    let timer;
    const end = (settle, value) => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', abort);
      settle(value);
    };
    const abort = () => {
      request.abort();
      end(reject, signal.reason);
    };
    const moved = () => {
      clearTimeout(timer);
      timer = setTimeout(() => {
        request.abort();
        end(reject, timedOut());
      }, STALLED_MS);
    };
    signal?.addEventListener('abort', abort, { once: true });
    request.upload.onprogress = ({ loaded, total }) => {
      moved();
      onProgress(total > 0 ? loaded / total : 0);
    };
    request.onerror = () => end(reject, offline());
    request.onload = () => {
      try {
        end(resolve, answered(request.status, request.responseText));
      } catch (error) {
        end(reject, error);
      }
    };
    request.open('POST', address);
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    moved();
    request.send(form);
  });
}

/** The body of an answer that says yes; throws the refusal otherwise. */
function answered(status, text) {
  let body = null;
  try {
    body = JSON.parse(text);
  } catch {
    if (status < 400) throw offline(); // cut off in the middle
  }
  if (status >= 400) throw refusal(status, body);
  return body;
}
