import { Cursor } from './cursor.js';

const CURSORS = ['read_seq', 'delivered_seq'];

/** One conversation as this client knows it. Objects come from anywhere, in any order: the highest `event_seq` holds. */
export class Conversation {
  info = null; // the Conversation object without `my`, `participants`, `last_message`
  my = null;
  participants = new Map(); // by user id, present and former
  messages = new Map(); // by seq, tombstones included
  typing = new Map(); // user id -> {kind, timer}
  cursor = new Cursor();
  isMember = true;
  isSeated = false; // the server sends this conversation's room events to this socket
  from = null; // everything from this seq to the newest is in `messages`; null: no history asked yet
  hasOlder = true;
  lastSeq = 0;

  #me;
  #membershipSeq = 0;
  #absent = new Set(); // seqs that a page of history left out: I have hidden them before this client came
  #knowsEverybody = false; // large conversations name only some of their participants
  #counted = { count: 0, lastSeq: 0, head: 0 }; // the server's last word on unread, and what it knew then

  /** `me()` answers the id of the person whose client this is, once that is known. */
  constructor(id, me) {
    this.id = id;
    this.#me = me;
  }

  get isKnown() {
    return this.info !== null && this.isMember;
  }

  get purgedSeq() {
    return this.info?.purged_seq ?? 0;
  }

  /** Somebody else's message lifts the archive mark, unless the conversation is muted. */
  get isArchived() {
    if (!this.my?.is_archived || this.isMuted) return Boolean(this.my?.is_archived);
    const mark = this.my.archived_seq ?? this.lastSeq;
    for (const message of this.messages.values()) if (message.seq > mark && this.#isNews(message)) return false;
    return true;
  }

  get isMuted() {
    return Boolean(this.my?.muted_until) && Date.parse(this.my.muted_until) > Date.now();
  }

  get canWrite() {
    return this.isKnown && this.info.is_active !== false && this.my?.role !== 'read_only';
  }

  get lastMessage() {
    return this.messages.get(this.#newestStored()) ?? null;
  }

  /** When something last happened here: what the list is sorted by. */
  get activityAt() {
    return this.lastMessage?.created_at ?? this.info?.created_at ?? '';
  }

  /** People present, myself excluded. */
  get others() {
    return [...this.participants.values()].filter((row) => row.is_active !== false && row.user.id !== this.#me());
  }

  get peopleCount() {
    return this.#knowsEverybody ? this.others.length + 1 : (this.info?.participants_count ?? 1);
  }

  /** The page of history that is complete: ascending, without a hole up to the newest. */
  history(hidden = new Set()) {
    if (this.from === null) return [];
    return [...this.messages.values()]
      .filter((message) => this.#isShown(message, hidden))
      .sort((a, b) => a.seq - b.seq);
  }

  #isShown({ id, seq }, hidden) {
    return seq >= this.from && seq > this.purgedSeq && !hidden.has(id) && !this.#absent.has(seq);
  }

  /** Other people's messages after my read cursor; the same whatever order things were heard in. */
  get unread() {
    const { count, lastSeq, head } = this.#counted;
    const readSeq = this.my?.read_seq ?? 0;
    let unread = count;
    for (const message of this.messages.values()) {
      if (message.seq <= readSeq || !this.#isNews(message)) continue;
      if (message.seq > lastSeq) unread += message.is_deleted ? 0 : 1;
      else if (message.is_deleted && message.event_seq > head) unread -= 1;
    }
    return Math.max(0, unread);
  }

  /** `sent`, `delivered` or `read`, for a message of mine. */
  status(message) {
    const others = this.others;
    if (others.length === 0 || !this.#knowsEverybody) return message.status ?? 'sent';
    if (others.every((row) => (row.read_seq ?? 0) >= message.seq)) return 'read';
    return others.every((row) => (row.delivered_seq ?? 0) >= message.seq) ? 'delivered' : 'sent';
  }

  readersOf(message) {
    return this.others.filter((row) => (row.read_seq ?? 0) >= message.seq).map((row) => row.user.id);
  }

  // Applying what arrives.

  applyConversation(object) {
    const { my, participants, last_message, ...fields } = object;
    if (participants) this.cursor.read(object.head);
    if (!this.info || object.event_seq >= this.info.event_seq) this.info = { ...this.info, ...fields };
    this.lastSeq = Math.max(this.lastSeq, object.last_seq ?? 0);
    for (const participant of participants ?? []) this.applyParticipant(participant);
    if (participants?.length >= fields.participants_count) this.knowEverybody();
    if (last_message) this.applyMessage(last_message);
    if (my) this.applyMy(my, object);
  }

  /** `knew`: the numbers the server had when it counted `my.unread_count`. */
  applyMy(my, knew = {}) {
    const kept = this.my;
    if (kept && (my.user_seq ?? 0) < (kept.user_seq ?? 0)) return;
    this.my = { ...kept, ...my };
    for (const name of CURSORS) this.my[name] = Math.max(my[name] ?? 0, kept?.[name] ?? 0);
    this.#takeRole();
    if (typeof my.unread_count !== 'number' || (my.read_seq ?? 0) < this.my.read_seq) return;
    this.countUnread(my.unread_count, knew.last_seq, knew.head);
  }

  countUnread(count, lastSeq = this.lastSeq, head = this.cursor.at ?? 0) {
    this.#counted = { count, lastSeq, head };
  }

  /** Returns true when it is news. */
  applyMessage(message) {
    const kept = this.messages.get(message.seq);
    if (kept && kept.event_seq >= message.event_seq) return false;
    this.messages.set(message.seq, message);
    this.lastSeq = Math.max(this.lastSeq, message.seq);
    if (message.sender && message.type !== 'system') this.applyReceipt(message.sender.id, { read_seq: message.seq });
    return true;
  }

  applyParticipant(participant) {
    const id = participant.user.id;
    const kept = this.participants.get(id);
    const isNewer = !kept || participant.event_seq >= kept.event_seq;
    const row = isNewer ? { ...kept, ...participant } : { ...kept };
    for (const name of CURSORS) row[name] = Math.max(participant[name] ?? 0, kept?.[name] ?? 0);
    this.participants.set(id, row);
    if (id === this.#me()) this.#takeRole();
  }

  /** Receipts merge by maximum, and who has read has received. */
  applyReceipt(userId, { read_seq = 0, delivered_seq = 0 }) {
    const heard = { read_seq, delivered_seq: Math.max(read_seq, delivered_seq) };
    const row = this.participants.get(userId);
    if (row) for (const name of CURSORS) row[name] = Math.max(row[name] ?? 0, heard[name]);
    if (userId !== this.#me() || !this.my) return;
    const moved = read_seq > (this.my.read_seq ?? 0);
    for (const name of CURSORS) this.my[name] = Math.max(this.my[name] ?? 0, heard[name]);
    if (moved && this.#holdsAllAfter(read_seq)) this.countUnread(0, read_seq);
  }

  /** A page of history that ends before the message `before`, or with the newest one. */
  applyPage({ messages, has_more_before: hasMoreBefore, last_seq: lastSeq }, before = lastSeq + 1) {
    for (const message of messages) this.applyMessage(message);
    const first = messages.length ? messages[0].seq : before;
    const seqs = new Set(messages.map(({ seq }) => seq));
    for (let seq = first; seq < before; seq++) if (!seqs.has(seq)) this.#absent.add(seq);
    this.from = Math.min(this.from ?? first, first);
    this.hasOlder = hasMoreBefore && messages.length > 0;
  }

  /** One entry of a `sync` answer. */
  applySync(entry) {
    if (entry.reset) this.#forget();
    if (entry.conversation) this.applyConversation(entry.conversation);
    for (const participant of entry.participants ?? []) this.applyParticipant(participant);
    for (const message of entry.messages ?? []) this.applyMessage(message);
    for (const receipt of entry.receipts ?? []) this.applyReceipt(receipt.user_id, receipt);
    if (entry.reset) this.#standOn(entry);
    else this.cursor.synced(entry.event_seq);
  }

  /** Membership news can cross on the wire: the higher number holds. */
  setMembership(isMember, eventSeq = this.#membershipSeq) {
    if (eventSeq < this.#membershipSeq) return;
    this.#membershipSeq = eventSeq;
    this.isMember = isMember;
    if (!isMember) this.isSeated = false;
  }

  /** A new role is told to the room and has its number there; `my` only repeats it. */
  #takeRole() {
    const row = this.participants.get(this.#me());
    if (this.my && row?.is_active) this.my.role = row.role;
  }

  /** Everybody present is in `participants`. */
  knowEverybody() {
    this.#knowsEverybody = true;
  }

  /** What somebody else has said. */
  #isNews({ type, sender }) {
    return type !== 'system' && sender?.id !== this.#me();
  }

  #standOn(entry) {
    const seqs = (entry.messages ?? []).map((message) => message.seq);
    this.from = seqs.length ? Math.min(...seqs) : this.lastSeq + 1;
    this.hasOlder = this.from > this.purgedSeq + 1;
    this.cursor.reset(entry.event_seq);
  }

  #forget() {
    this.info = this.info && { ...this.info, event_seq: 0 };
    this.my = this.my && { ...this.my, user_seq: 0 };
    this.messages.clear();
    this.#absent.clear();
    this.participants.clear();
    this.#knowsEverybody = false;
    this.lastSeq = 0;
    this.from = null;
    this.hasOlder = true;
  }

  #holdsAllAfter(seq) {
    return seq >= this.lastSeq || (this.from !== null && this.from <= seq + 1);
  }

  #newestStored() {
    let newest = 0;
    for (const seq of this.messages.keys()) newest = Math.max(newest, seq);
    return newest;
  }
}
