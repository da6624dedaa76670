// A client as section 9 of the protocol describes it, on the official socket.io-client: two kinds of
// cursors, messages by number, and a send that asks again until it knows.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { io } from 'socket.io-client';

const WITHIN_MS = 20_000;

export class Refused extends Error {
  constructor(error) {
    super(`${error.code}: ${error.message}`);
    this.error = error;
  }
}

/** Write a line for the test that started this program. */
export const report = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

export class Client {
  constructor(url, token, options = {}) {
    this.token = token;
    this.talks = new Map(); // id -> {cursor, heard, messages}
    this.userSeq = 0;
    this.epoch = undefined;
    this.readies = [];
    this.events = []; // [name, data] of everything heard since the last look
    this.waiting = [];
    this.catchingUp = null;
    this.socket = io(url, {
      transports: ['websocket'],
      forceNew: true,
      retries: 3,
      ackTimeout: 2_000,
      reconnectionDelay: 50,
      reconnectionDelayMax: 200,
      auth: (answer) => answer(this.hello()),
      ...options,
    });
    this.socket.onAny((name, data) => this.hear(name, data));
  }

  /** Connect and wait for the hello. */
  static async of(url, token, options) {
    const client = new Client(url, token, options);
    await client.until(() => client.readies.length === 1, 'session:ready');
    return client;
  }

  hello() {
    const cursors = Object.fromEntries([...this.talks].map(([id, talk]) => [id, talk.cursor]));
    return { token: this.token, epoch: this.epoch, cursors, user_seq: this.userSeq };
  }

  // What arrives

  hear(name, data) {
    if (name === 'session:ready') this.ready(data);
    else {
      this.events.push([name, data]);
      if ('prev_event_seq' in data) this.hearRoom(data);
      if ('prev_user_seq' in data) this.hearPersonal(name, data);
    }
    this.news();
  }

  ready(ready) {
    this.live(ready.epoch);
    for (const [id, head] of Object.entries(ready.joined)) this.talk(id, head);
    if (ready.sync) this.apply(ready.sync);
    this.readies.push(ready);
    this.catchUp();
  }

  /** Forget what was of another epoch: the database was replaced. */
  live(epoch) {
    if (this.epoch !== undefined && this.epoch !== epoch) {
      this.talks.clear();
      this.userSeq = 0;
    }
    this.epoch = epoch;
  }

  talk(id, head) {
    if (!this.talks.has(id)) this.talks.set(id, { cursor: head, heard: head, messages: new Map() });
    return this.talks.get(id);
  }

  hearRoom(data) {
    const talk = this.talk(data.conversation_id, data.prev_event_seq);
    if (data.message) this.keep(talk, data.message);
    if (data.prev_event_seq <= talk.cursor) talk.cursor = Math.max(talk.cursor, data.event_seq);
    talk.heard = Math.max(talk.heard, data.event_seq);
    this.catchUp();
  }

  hearPersonal(name, data) {
    if (name === 'conversation:added') this.talk(data.conversation.id, data.conversation.head);
    if (name === 'conversation:removed') this.talks.delete(data.conversation_id);
    if (data.prev_user_seq <= this.userSeq) this.userSeq = Math.max(this.userSeq, data.user_seq);
  }

  keep(talk, message) {
    const { is_read, status, ...shared } = message; // what answers add for their reader
    const stored = talk.messages.get(message.id);
    if (!stored || message.event_seq > stored.event_seq) talk.messages.set(message.id, shared);
  }

  /** Take a `sync` answer; return whether there is more. */
  apply(sync) {
    this.live(sync.epoch);
    for (const entry of sync.conversations) {
      if (entry.reset) this.talks.delete(entry.id);
      const talk = this.talk(entry.id, entry.event_seq);
      for (const message of entry.messages) this.keep(talk, message);
      talk.cursor = Math.max(talk.cursor, entry.event_seq);
      talk.more = entry.has_more;
    }
    for (const { is_active, conversation, conversation_id } of sync.memberships) {
      if (!is_active) this.talks.delete(conversation_id);
      // A seat there has to be asked for.
      else if (!this.talks.has(conversation.id)) this.talk(conversation.id, conversation.head).more = true;
    }
    this.userSeq = Math.max(this.userSeq, sync.user_seq);
  }

  /** Ask for what was missed, one `sync` at a time, until nothing is. */
  catchUp() {
    this.catchingUp ??= this.closeGaps().finally(() => (this.catchingUp = null));
  }

  async closeGaps() {
    const behind = () => [...this.talks].filter(([, talk]) => talk.more || talk.heard > talk.cursor);
    while (behind().length > 0) {
      const cursors = Object.fromEntries(behind().map(([id, talk]) => [id, talk.cursor]));
      const { epoch, userSeq: user_seq } = this;
      const sync = await this.asks('sync', { cursors, user_seq, epoch });
      if (this.epoch === epoch) this.apply(sync); // else it was read in an epoch that has ended meanwhile
      this.news();
    }
  }

  // What is asked

  /** Ask, and ask again while the outcome is unknown; return the data, or throw `Refused`. */
  async asks(name, data = {}) {
    for (;;) {
      let answer;
      try {
        answer = await this.socket.emitWithAck(name, data);
      } catch {
        continue; // the library gave up after its retries; the same once more changes nothing
      }
      if (answer.ok) return answer.data;
      if (!answer.error.retryable) throw new Refused(answer.error);
      await new Promise((resolve) => setTimeout(resolve, answer.error.retry_after_ms ?? 100));
    }
  }

  async says(conversation, content, client_msg_id = randomUUID()) {
    const fields = { conversation_id: conversation.id, client_msg_id, content };
    return (await this.asks('message:send', fields)).message;
  }

  async creates(type, ...participant_ids) {
    return (await this.asks('conversation:create', { type, participant_ids })).conversation;
  }

  /** Everything said by people here, in the order of the conversation. */
  messages(conversation) {
    const all = [...this.talks.get(conversation.id).messages.values()];
    return all.filter((message) => message.type !== 'system').sort((a, b) => a.seq - b.seq);
  }

  contents(conversation) {
    return this.messages(conversation).map((message) => message.content);
  }

  // Waiting and looking

  news() {
    this.waiting = this.waiting.filter(({ happened, resolve }) => !happened() || resolve());
  }

  /** Wait until something is true; it is looked at whenever something arrives. */
  async until(happened, what) {
    if (happened()) return;
    let timer;
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error(`in vain: ${what}`)), WITHIN_MS);
    });
    const arrived = new Promise((resolve) => this.waiting.push({ happened, resolve }));
    await Promise.race([arrived, late]).finally(() => clearTimeout(timer));
  }

  /** Return the names and data of everything heard since the last look, once it has arrived. */
  async heard() {
    // Frames are queued before the answer to what caused them, and a queue keeps its order.
    const answer = await this.socket.emitWithAck('nobody:answers');
    assert.equal(answer.error.code, 'unknown_event');
    const events = this.events;
    this.events = [];
    return events;
  }

  async heardNames() {
    return (await this.heard()).map(([name]) => name);
  }

  close() {
    this.socket.disconnect();
  }
}
