import { io } from '../vendor/socket.io.esm.min.js';
import { PalabreError, backoff, sleep } from './errors.js';

const RENEWALS = 4; // refused tokens in a row before giving up

/**
 * The socket and the HTTP door, with one token for both: connects, comes back, renews the token, asks and gets answers.
 *
 * `listener` is told: credentials() → fields for the handshake, ready(payload), event(name, payload), lost(),
 * status(status, error), expiring(seconds), closed(code).
 */
export class Connection {
  status = 'idle';

  #url;
  #token;
  #renewToken;
  #ackTimeout;
  #listener;
  #socket = null;
  #session = 0; // counts connections, so that a timer of an earlier one does nothing
  #refusals = 0;

  constructor({ url, token, renewToken, ackTimeout }, listener) {
    this.#url = url.replace(/\/$/, '');
    this.#token = token;
    this.#renewToken = renewToken;
    this.#ackTimeout = ackTimeout;
    this.#listener = listener;
  }

  get isOnline() {
    return this.status === 'online';
  }

  open(token = this.#token) {
    this.#token = token;
    this.#refusals = 0;
    this.#socket ??= this.#makeSocket();
    this.#setStatus(this.#away);
    this.#socket.connect();
  }

  close() {
    this.#setStatus('closed');
    this.#socket?.disconnect();
  }

  /** Ask over the socket. Answers `data`, or throws a PalabreError. */
  async request(event, payload) {
    if (!this.#socket?.connected) throw PalabreError.offline();
    const asked = this.#socket.timeout(this.#ackTimeout).emitWithAck(event, payload);
    const answer = await asked.catch(() => ({ ok: false, error: PalabreError.timeout() }));
    if (!answer.ok) throw answer.error instanceof PalabreError ? answer.error : new PalabreError(answer.error);
    return answer.data;
  }

  /** Say something nobody waits for. */
  hint(event, payload) {
    this.request(event, payload).catch(() => {});
  }

  /** Ask over HTTP. Answers the body, or throws a PalabreError. */
  async rest(method, path, { query = {}, body } = {}, isSecondTry = false) {
    const search = new URLSearchParams(query).toString();
    const headers = { Authorization: `Bearer ${this.#token}`, Accept: 'application/json' };
    if (body) headers['Content-Type'] = 'application/json';
    const address = `${this.#url}/api/messaging/${path}${search && `?${search}`}`;
    const response = await fetch(address, { method, headers, body: body && JSON.stringify(body) }).catch(() => null);
    if (!response) throw PalabreError.offline();
    const answer = await response.json().catch(() => ({}));
    if (response.ok) return answer;
    const error = new PalabreError(answer.error);
    if (!error.isAboutToken || isSecondTry || !this.#renewToken) throw error;
    await this.#renew();
    return this.rest(method, path, { query, body }, true);
  }

  #makeSocket() {
    const socket = io(this.#url, {
      transports: ['websocket'],
      autoConnect: false,
      forceNew: true,
      reconnectionDelay: 500,
      reconnectionDelayMax: 10_000,
      auth: (answer) => answer({ token: this.#token, ...this.#listener.credentials() }),
    });
    socket.on('connect_error', (error) => this.#refused(error));
    socket.on('disconnect', (reason) => this.#lost(reason));
    socket.onAny((event, payload = {}) => this.#hear(event, payload));
    return socket;
  }

  #hear(event, payload) {
    if (event === 'session:ready') this.#ready(payload);
    else if (event === 'session:closed') this.#sessionClosed(payload);
    else if (event === 'auth:expiring') this.#expiring(payload);
    else if (event === 'server:draining') this.#draining(payload);
    else this.#listener.event(event, payload);
  }

  get #away() {
    return this.#session > 0 ? 'reconnecting' : 'connecting';
  }

  #setStatus(status, error = null) {
    if (status === this.status && !error) return;
    this.status = status;
    this.#listener.status(status, error);
  }

  #ready(payload) {
    this.#session += 1;
    this.#refusals = 0;
    this.status = 'online';
    this.#listener.ready(payload);
    this.#listener.status('online', null);
  }

  #lost(reason) {
    this.#listener.lost();
    if (this.status === 'closed') return;
    this.#setStatus(this.#away);
    if (reason === 'io server disconnect') this.#comeBack(backoff(1)); // Socket.IO leaves this case to us
  }

  /** Socket.IO tries again by itself when nobody answered; when the server said no, the next step is ours. */
  #refused({ data }) {
    if (this.status === 'closed') return;
    const refusal = data?.code ? new PalabreError(data) : PalabreError.offline();
    this.#refusals += 1;
    this.#setStatus(this.#away, refusal);
    if (this.#socket.active) return;
    if (refusal.isAboutToken) this.#renewAndComeBack(refusal);
    else if (refusal.retryable) this.#comeBack(refusal.retryAfterMs ?? backoff(this.#refusals));
    else this.#end(refusal.code);
  }

  async #renewAndComeBack(refusal) {
    if (!this.#renewToken || this.#refusals > RENEWALS) return this.#end(refusal.code);
    if (this.#refusals > 1) await sleep(backoff(this.#refusals));
    await this.#renew().catch(() => {}); // the door refuses the old token once more, and we ask again
    this.#comeBack(0);
  }

  async #renew() {
    this.#token = await this.#renewToken();
  }

  #comeBack(delayMs) {
    const session = this.#session;
    setTimeout(() => {
      const isMoot = this.status === 'closed' || session !== this.#session || this.#socket.connected;
      if (!isMoot) this.#socket.connect();
    }, delayMs);
  }

  #end(code) {
    this.close();
    this.#listener.closed(code);
  }

  #sessionClosed({ code, reconnect }) {
    if (reconnect) return; // the disconnect that follows brings us back
    if (code !== 'token_expired' || !this.#renewToken) this.#end(code);
  }

  async #expiring({ in_s: seconds }) {
    if (!this.#renewToken) return this.#listener.expiring(seconds);
    try {
      await this.#renew();
      await this.request('auth:refresh', { token: this.#token });
    } catch {
      this.#listener.expiring(seconds);
    }
  }

  #draining({ reconnect_in_ms: delayMs = 1_000 }) {
    const session = this.#session;
    setTimeout(() => {
      if (session === this.#session && this.isOnline) this.#socket.disconnect().connect();
    }, delayMs);
  }
}
