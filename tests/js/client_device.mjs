// A device of somebody: the client module on the official socket.io-client, as an embedder in Node uses it.
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { io } from 'socket.io-client';
import { Palabre } from '../../clients/js/palabre.js';

const WITHIN_MS = 20_000;
const EVENTS = ['status', 'ready', 'change', 'presence', 'message', 'sent', 'failed', 'removed', 'expiring', 'closed'];

export { io };

/** Write a line for the test that started this program. */
export const report = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

export class Device extends Palabre {
  heard = []; // [type, detail] of everything told
  #waiting = new Set();

  constructor(url, token, options = {}) {
    super({ io, url, token, ...options });
    for (const type of EVENTS) this.addEventListener(type, ({ detail }) => this.#told(type, detail));
  }

  /** Connect and wait until everything missed is there. */
  static async of(url, token, options) {
    const device = new Device(url, token, options);
    device.connect();
    await device.hears('ready');
    return device;
  }

  #told(type, detail) {
    this.heard.push([type, detail]);
    for (const look of [...this.#waiting]) look();
  }

  /** Wait until something is true; it is looked at whenever something is told. */
  until(happened, what = String(happened)) {
    return new Promise((resolve, reject) => {
      const late = setTimeout(() => end(() => reject(this.#inVain(what))), WITHIN_MS);
      const look = () => {
        const found = happened();
        if (found) end(() => resolve(found));
      };
      const end = (settle) => {
        clearTimeout(late);
        this.#waiting.delete(look);
        settle();
      };
      this.#waiting.add(look);
      look();
    });
  }

  #inVain(what) {
    const told = this.heard.filter(([type]) => type === 'status').slice(-5);
    return new Error(`${this.me?.id} waits in vain: ${what}; ${JSON.stringify(told)}`);
  }

  /** Wait for an event and return its detail; each is found once. */
  async hears(type, is = () => true) {
    const place = () => this.heard.findIndex(([name, detail]) => name === type && is(detail));
    await this.until(() => place() >= 0, type);
    return this.heard.splice(place(), 1)[0][1];
  }

  talk(id) {
    return this.store.conversation(id);
  }

  contents(id) {
    return this.messages(id)
      .filter(({ type }) => type !== 'system')
      .map(({ content }) => content);
  }

  /** Send, and wait until the server has it. */
  async says(id, content, fields) {
    const { client_msg_id: clientMsgId } = this.send(id, content, fields).payload;
    return (await this.hears('sent', ({ message }) => message.client_msg_id === clientMsgId)).message;
  }
}

/** A Storage in a file, which survives the death of the program. */
export class FileStorage {
  #path;

  constructor(path) {
    this.#path = path;
  }

  get #all() {
    try {
      return JSON.parse(readFileSync(this.#path, 'utf8'));
    } catch {
      return {};
    }
  }

  #write(all) {
    writeFileSync(`${this.#path}.new`, JSON.stringify(all));
    renameSync(`${this.#path}.new`, this.#path);
  }

  get length() {
    return Object.keys(this.#all).length;
  }

  key(n) {
    return Object.keys(this.#all)[n] ?? null;
  }

  getItem(key) {
    return this.#all[key] ?? null;
  }

  setItem(key, value) {
    this.#write({ ...this.#all, [key]: value });
  }

  removeItem(key) {
    const { [key]: _, ...rest } = this.#all;
    this.#write(rest);
  }
}

/** A wire that loses what `isLost(name, data)` says, on its way to the client. */
export const losing = (isLost) => (url, options) => {
  const socket = io(url, options);
  const onAny = socket.onAny.bind(socket);
  socket.onAny = (listener) => onAny((name, data) => isLost(name, data) || listener(name, data));
  return socket;
};
