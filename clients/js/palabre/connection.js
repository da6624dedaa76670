import { PalabreError, backoff, offline, sleep, timedOut } from './errors.js';

const RENEWALS = 4; // refused tokens in a row before giving up
const TRIES = 4;
const LAST_ANSWERS_MS = 5_000;
const RETRY_MS = 10_000; // at most, between two tries
const SOON_MS = 1_000; // the same while a server is being restarted
const RESTART_MS = 20_000;

/**
 * The socket: connects, comes back, renews the token, asks and gets answers.
 *
 * `listener` is told: credentials() → fields for the handshake, ready(payload), event(name, payload), lost(),
 * status(status, error), expiring(seconds), closed(code).
 */
export class Connection {
  status = 'idle';

  #io;
  #url;
  #token;
  #ackTimeout;
  #listener;
  #socket = null;
  #asked = new Set(); // what is not answered yet
  #wasReady = false;
  #attempt = 0; // what was planned for an earlier one is void
  #failures = 0; // in a row
  #refusals = 0; // of a token, in a row

  constructor({ io, url, token, ackTimeout }, listener) {
    this.#io = io;
    this.#url = url;
    this.#token = token;
    this.#ackTimeout = ackTimeout;
    this.#listener = listener;
  }

  get isOnline() {
    return this.status === 'online';
  }

  /** Connect; while already trying, try now. */
  open(token = this.#token.value) {
    const isOther = token !== this.#token.value;
    this.#token.value = token;
    if (this.isOnline && isOther) return this.#refresh();
    if (!this.isOnline) this.#reopen();
  }

  close() {
    this.#attempt += 1;
    this.#setStatus('closed');
    this.#socket?.disconnect();
  }

  /** Ask over the socket. Answers `data`, or throws a PalabreError. */
  async request(event, payload = {}) {
    if (!this.#socket?.connected) throw offline();
    const asked = this.#socket.timeout(this.#ackTimeout).emitWithAck(event, payload);
    this.#asked.add(asked);
    const answer = await asked.catch(() => null);
    this.#asked.delete(asked);
    if (!answer) throw timedOut();
    if (!answer.ok) throw new PalabreError(answer.error);
    return answer.data;
  }

  /** For what may be asked again: some patience with an unknown outcome. `isDone(error)`: the try before has worked. */
  async insist(event, payload, isDone = () => false) {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.request(event, payload);
      } catch (error) {
        if (attempt > 1 && isDone(error)) return {};
        if (!error.retryable || attempt === TRIES) throw error;
        await sleep(error.retryAfterMs ?? backoff(attempt));
      }
    }
  }

  /** Say something nobody waits for. */
  hint(event, payload) {
    this.request(event, payload).catch(() => {});
  }

  // Coming

  #reopen() {
    this.#failures = 0;
    this.#refusals = 0;
    this.#socket ??= this.#makeSocket();
    this.#setStatus(this.#away);
    this.#socket.disconnect(); // ends a wait of Socket.IO's own
    this.#comeBack(0);
  }

  #makeSocket() {
    const socket = this.#io(this.#url, {
      transports: ['websocket'],
      autoConnect: false,
      forceNew: true,
      reconnectionDelay: 500,
      reconnectionDelayMax: RETRY_MS,
      timeout: 10_000, // a wire that is cut in the middle of the handshake is noticed by nothing else
      auth: (answer) => answer({ token: this.#token.value, ...this.#listener.credentials() }),
    });
    socket.on('connect_error', (error) => this.#refused(error));
    socket.on('disconnect', (reason) => this.#lost(reason));
    socket.onAny((event, payload = {}) => this.#hear(event, payload));
    return socket;
  }

  #comeBack(delayMs) {
    const attempt = ++this.#attempt;
    const knock = () => {
      if (attempt !== this.#attempt || this.#socket.connected) return;
      if (this.#token.value) this.#socket.connect();
      else this.#renewAndComeBack('unauthorized');
    };
    if (delayMs > 0) setTimeout(knock, delayMs);
    else knock();
  }

  /** Socket.IO tries again by itself when nobody answered; when the server said no, the next step is ours. */
  #refused({ data }) {
    if (this.status === 'closed') return;
    const error = data?.code ? new PalabreError(data) : offline();
    this.#setStatus(this.#away, error);
    if (this.#socket.active) return;
    this.#failures += 1;
    if (error.isAboutToken) this.#tokenRefused(error.code);
    else if (error.retryable) this.#comeBack(error.retryAfterMs ?? backoff(this.#failures));
    else this.#end(error.code);
  }

  #tokenRefused(code) {
    this.#refusals += 1;
    if (this.#refusals > RENEWALS) this.#end(code);
    else this.#renewAndComeBack(code);
  }

  /** The place where tokens come from may be as unreachable as the server: then it is asked again. */
  async #renewAndComeBack(code) {
    if (!this.#token.isRenewable) return this.#end(code);
    const attempt = ++this.#attempt;
    const failure = await this.#token.renew().catch((error) => error);
    if (attempt !== this.#attempt) return;
    if (!failure) return this.#comeBack(this.#refusals > 1 ? backoff(this.#refusals) : 0);
    if (!failure.retryable) return this.#end(failure.code);
    this.#failures += 1;
    this.#setStatus(this.#away, failure);
    setTimeout(() => attempt === this.#attempt && this.#renewAndComeBack(code), backoff(this.#failures));
  }

  // Being there

  #hear(event, payload) {
    if (event === 'session:ready') this.#ready(payload);
    else if (event === 'session:closed') this.#sessionClosed(payload);
    else if (event === 'auth:expiring') this.#expiring(payload);
    else if (event === 'server:draining') this.#draining(payload);
    else this.#listener.event(event, payload);
  }

  #ready(payload) {
    this.#wasReady = true;
    this.#failures = 0;
    this.#refusals = 0;
    this.status = 'online';
    this.#listener.ready(payload);
    this.#listener.status('online', null);
  }

  async #expiring({ in_s: seconds }) {
    if (!this.#token.isRenewable) return this.#listener.expiring(seconds);
    try {
      await this.#token.renew();
      await this.request('auth:refresh', { token: this.#token.value });
    } catch {
      this.#listener.expiring(seconds); // the refusal after the end is another occasion
    }
  }

  /** Live on with another token; a server that does not want that is asked by a new connection. */
  #refresh() {
    this.request('auth:refresh', { token: this.#token.value }).catch(() => this.#reopen());
  }

  /** The server stops: go to another one at the moment it says, and take the answers along that are still to come. */
  async #draining({ reconnect_in_ms: delayMs = 1_000 }) {
    const { id } = this.#socket;
    await sleep(delayMs);
    await Promise.race([Promise.allSettled([...this.#asked]), sleep(LAST_ANSWERS_MS)]);
    if (!this.isOnline || this.#socket.id !== id) return;
    this.#socket.io.reconnectionDelayMax(SOON_MS);
    setTimeout(() => this.#socket.io.reconnectionDelayMax(RETRY_MS), RESTART_MS).unref?.();
    this.#socket.disconnect().connect();
  }

  /** Leave after a while, and come back at once, unless something else happens first. */
  comeAgain(delayMs) {
    const attempt = this.#attempt;
    setTimeout(() => {
      if (attempt === this.#attempt && this.isOnline) this.#socket.disconnect().connect();
    }, delayMs);
  }

  // Going

  #lost(reason) {
    this.#listener.lost();
    if (this.status === 'closed') return;
    this.#setStatus(this.#away);
    if (reason === 'io server disconnect') this.#comeBack(backoff(1)); // Socket.IO leaves this case to us
  }

  #sessionClosed({ code, reconnect }) {
    if (reconnect) return; // the disconnect that follows brings us back
    if (code !== 'token_expired' || !this.#token.isRenewable) this.#end(code);
  }

  #end(code) {
    this.close();
    this.#listener.closed(code);
  }

  get #away() {
    return this.#wasReady ? 'reconnecting' : 'connecting';
  }

  #setStatus(status, error = null) {
    if (status === this.status && !error) return;
    this.status = status;
    this.#listener.status(status, error);
  }
}
