import { PalabreError } from './errors.js';

const IDS_PER_REQUEST = 100;
const LONGEST_MS = 300_000; // what the protocol promises, should the clocks disagree
const MARGIN_MS = 30_000; // an address that is about to end is not given out

/** Files on their way to the server, and the addresses under which a page can show them. */
export class Files {
  #http;
  #now;
  #limits;
  #signed = new Map(); // attachment id -> {url, thumbnails, until}
  #asked = new Map(); // attachment id -> {promise, resolve, reject}
  #waiting = new Set(); // of these, the ones in no request yet

  /** `now()` is the server's time; `limits()` are its limits, as far as known. */
  constructor({ http, now, limits }) {
    this.#http = http;
    this.#now = now;
    this.#limits = limits;
  }

  async upload(file, options = {}) {
    const most = this.#limits().attachment_bytes;
    if (file.size > most) {
      const details = [{ field: 'file', problem: `is longer than ${most} bytes` }];
      throw new PalabreError({ code: 'payload_too_large', message: 'The file is too large.', details });
    }
    return this.#http.upload(file, options);
  }

  /** The best there is: the thumbnail, the next larger one, or the original. */
  async url({ id }, size) {
    const signed = this.#fresh(id) ?? (await this.#sign(id));
    const sizes = Object.keys(signed.thumbnails).map(Number);
    const best = sizes.filter((one) => one >= size).sort((a, b) => a - b)[0];
    return best === undefined ? signed.url : signed.thumbnails[best];
  }

  /** Another person, or another database: no address holds any more. */
  forget() {
    this.#signed.clear();
  }

  #fresh(id) {
    const signed = this.#signed.get(id);
    return signed && signed.until > Date.now() ? signed : null;
  }

  /** Whoever asks in the same turn goes into the same request. */
  #sign(id) {
    let asked = this.#asked.get(id);
    if (!asked) {
      asked = {};
      asked.promise = new Promise((resolve, reject) => Object.assign(asked, { resolve, reject }));
      this.#asked.set(id, asked);
      if (this.#waiting.size === 0) setTimeout(() => this.#flush(), 0);
      this.#waiting.add(id);
    }
    return asked.promise;
  }

  #flush() {
    const ids = [...this.#waiting];
    this.#waiting.clear();
    for (let at = 0; at < ids.length; at += IDS_PER_REQUEST) this.#ask(ids.slice(at, at + IDS_PER_REQUEST));
  }

  async #ask(ids) {
    let answer;
    try {
      answer = await this.#http.rest('POST', 'files/sign/', { body: { ids } });
      this.#keep(answer);
    } catch (error) {
      answer = { urls: {}, error };
    }
    for (const id of ids) {
      const { resolve, reject } = this.#asked.get(id);
      this.#asked.delete(id);
      if (answer.urls[id]) resolve(this.#signed.get(id));
      else reject(answer.error ?? new PalabreError({ code: 'not_found', message: 'There is no such file.' }));
    }
  }

  #keep({ urls, expires_at: end }) {
    const now = Date.now();
    for (const [id, { until }] of this.#signed) if (until <= now) this.#signed.delete(id);
    const left = Math.min(Date.parse(end) - this.#now(), LONGEST_MS);
    for (const [id, { url, thumbnails = {} }] of Object.entries(urls)) {
      const absolute = Object.entries(thumbnails).map(([size, path]) => [size, this.#http.absolute(path)]);
      const entry = { url: this.#http.absolute(url), thumbnails: Object.fromEntries(absolute) };
      this.#signed.set(id, { ...entry, until: now + left - MARGIN_MS });
    }
  }
}
