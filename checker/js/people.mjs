// A share of the people, on the official socket.io-client with the rule of tests/js: each talks where
// it may, is sent to another node whenever its connection ends, and reports what came over the wire.
import { randomUUID } from 'node:crypto';
import { createInterface } from 'node:readline';
import { Client, report } from '../../tests/js/rule.mjs';

const [url, said, pause, ...people] = process.argv.slice(2);
const now = () => Date.now() / 1_000;
let isOver = false;

class Person extends Client {
  constructor(name, token) {
    super(url, token, { retries: 0, timeout: 3_000 });
    this.name = name;
    this.starts = new Map(); // where each conversation began: what came after is owed
    this.socket.on('disconnect', () => this.tell({ closed: now() }));
    // Whoever the server turned away comes back by themselves; the library does not.
    this.socket.on('connect_error', () => this.again());
    this.socket.on('disconnect', () => this.again());
  }

  tell(line) {
    report({ person: this.name, ...line });
  }

  again() {
    if (!isOver && !this.socket.active) setTimeout(() => this.socket.connect(), 200);
  }

  talk(id, head) {
    if (!this.talks.has(id)) this.starts.set(id, head);
    return super.talk(id, head);
  }

  hear(name, data) {
    this.tell({ at: now(), name, data: name === 'session:ready' ? { epoch: data.epoch } : data });
    super.hear(name, data);
    if (name === 'session:resync') this.resync(data);
  }

  /** Ask for everything of these conversations, at a moment of the time that was given. */
  resync({ conversation_ids, epoch, within_ms }) {
    const ids = conversation_ids ?? [...this.talks.keys()];
    if (epoch !== undefined) this.live(epoch);
    setTimeout(() => {
      for (const id of ids) if (this.talks.has(id)) this.talks.get(id).more = true;
      if (epoch === undefined) this.catchUp();
      else this.beginAnew(ids);
    }, Math.random() * within_ms);
  }

  /** Ask where these conversations stand in another epoch, and for one's seats there. */
  async beginAnew(ids) {
    const cursors = Object.fromEntries(ids.map((id) => [id, this.talks.get(id)?.cursor ?? null]));
    const { epoch } = this;
    const sync = await this.asks('sync', { cursors, user_seq: 0, epoch });
    if (this.epoch === epoch) this.apply(sync);
    this.catchUp();
  }

  async lives() {
    for (let number = 1; !isOver; number += 1) {
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 2 * Number(pause)));
      const ids = [...this.talks.keys()];
      if (ids.length === 0 || !this.socket.connected) continue;
      const conversation_id = ids[Math.floor(Math.random() * ids.length)];
      await this.sends(conversation_id, `${said}${this.name} ${number} ${'x'.repeat(80)}`);
    }
  }

  /** Send, and ask again with the same id until somebody knows; report every attempt. */
  async sends(conversation_id, content) {
    const fields = { conversation_id, client_msg_id: randomUUID(), content };
    const attempts = [];
    for (;;) {
      const attempt = { asked: now(), code: 'lost' };
      attempts.push(attempt);
      const answer = await this.socket.timeout(6_000).emitWithAck('message:send', fields).catch(() => null);
      attempt.answered = now();
      const { message } = answer?.data ?? {};
      attempt.code = answer === null ? 'lost' : answer.ok ? '' : answer.error.code;
      if (answer && (answer.ok || !answer.error.retryable)) {
        const { id, seq, event_seq } = message ?? {};
        this.tell({ sent: fields, attempts, stored: message ? { id, seq, event_seq } : null });
        return;
      }
      await new Promise((resolve) => setTimeout(resolve, answer?.error.retry_after_ms ?? 100));
    }
  }

  /** Wait until everything that was heard of is here, but not for ever. */
  async rests() {
    const isBehind = () => [...this.talks.values()].some((talk) => talk.more || talk.heard > talk.cursor);
    await this.until(() => this.socket.connected && !isBehind(), 'rest').catch((error) => {
      this.tell({ restless: error.message, connected: this.socket.connected, behind: isBehind() });
    });
  }

  shown() {
    const talks = [...this.talks].map(([id, talk]) => {
      const messages = [...talk.messages.values()].map((one) => ({
        id: one.id,
        event_seq: one.event_seq,
        content: one.content,
        is_deleted: one.is_deleted,
      }));
      return { id, start: this.starts.get(id), messages };
    });
    this.tell({ shown: talks });
  }
}

const everybody = people.map((text) => new Person(...text.split('=')));
const living = everybody.map((person) => person.lives());
for await (const line of createInterface({ input: process.stdin })) {
  if (line === 'stop') {
    isOver = true;
    Promise.all(living).then(() => report({ stopped: true }));
  } else {
    await Promise.all(everybody.map((person) => person.rests()));
    for (const person of everybody) person.shown();
    for (const person of everybody) person.close();
    report({ left: true });
  }
}
