import { Conversation } from './conversation.js';
import { Cursor } from './cursor.js';

/** Everything the client knows. No network and no page here: objects and events go in, state comes out. */
export class Store {
  me = null;
  epoch = null;
  limits = {};
  features = [];
  users = new Map();
  conversations = new Map();
  hidden = new Set(); // ids of messages this person has hidden
  cursor = new Cursor(); // user_seq
  serverUnread = 0;
  clockAhead = 0; // of the server's clock, in milliseconds

  #onTouch;

  constructor(onTouch = () => {}) {
    this.#onTouch = onTouch;
  }

  /** The record of a conversation, made on first mention. */
  conversation(id) {
    let record = this.conversations.get(id);
    if (!record) {
      record = new Conversation(id, () => this.me?.id);
      this.conversations.set(id, record);
    }
    return record;
  }

  /** What a list shows: pinned on top, newest activity first. */
  list() {
    const pinned = (one) => Number(Boolean(one.my?.is_pinned));
    return this.#known((one) => !one.isArchived).sort((a, b) => pinned(b) - pinned(a) || newestFirst(a, b));
  }

  archived() {
    return this.#known((one) => one.isArchived).sort(newestFirst);
  }

  #known(isWanted) {
    return [...this.conversations.values()].filter((one) => one.isKnown && isWanted(one));
  }

  user(id) {
    return this.users.get(id) ?? null;
  }

  /** `session:ready` has come. Returns true when it is another database's or another person's: nothing known counts. */
  enter(ready) {
    const isOther = this.me !== null && (ready.epoch !== this.epoch || ready.user.id !== this.me.id);
    if (isOther) this.#clear();
    this.epoch = ready.epoch;
    this.me = ready.user;
    this.applyUser(ready.user);
    this.limits = ready.limits ?? {};
    this.features = ready.features ?? [];
    this.serverUnread = ready.unread_total ?? 0;
    this.clockAhead = Date.parse(ready.server_time) - Date.now();
    return isOther;
  }

  #clear() {
    const stale = [...this.conversations.keys()];
    this.users.clear();
    this.conversations.clear();
    this.hidden.clear();
    this.cursor.clear();
    for (const id of stale) this.#onTouch(id);
  }

  applyUser(user, { isCard = false } = {}) {
    if (!user?.id || (isCard && this.users.has(user.id))) return;
    this.users.set(user.id, { ...this.users.get(user.id), ...user });
  }

  applyConversation(object) {
    const record = this.conversation(object.id);
    for (const participant of object.participants ?? []) this.applyUser(participant.user);
    if (object.last_message) this.applyUser(object.last_message.sender, { isCard: true });
    record.applyConversation(object);
    this.#onTouch(object.id);
    return record;
  }

  /** Returns true when the message is news. */
  applyMessage(message) {
    this.applyUser(message.sender, { isCard: true });
    const isNews = this.conversation(message.conversation_id).applyMessage(message);
    this.#onTouch(message.conversation_id);
    return isNews;
  }

  applyParticipant(conversationId, participant) {
    this.applyUser(participant.user);
    const record = this.conversation(conversationId);
    record.applyParticipant(participant);
    if (participant.user.id === this.me?.id)
      record.setMembership(participant.is_active !== false, participant.event_seq);
    this.#onTouch(conversationId);
  }

  /** All people present, as fetched. */
  applyEverybody(conversationId, participants) {
    for (const participant of participants) this.applyParticipant(conversationId, participant);
    this.conversation(conversationId).knowEverybody();
  }

  applyReceipt(conversationId, userId, receipt) {
    this.conversations.get(conversationId)?.applyReceipt(userId, receipt);
    this.#onTouch(conversationId);
  }

  applyPage(conversationId, page, before) {
    for (const user of page.users ?? []) this.applyUser(user);
    for (const message of page.messages) this.applyUser(message.sender, { isCard: true });
    this.conversation(conversationId).applyPage(page, before);
    for (const receipt of page.receipts ?? []) this.applyReceipt(conversationId, receipt.user_id, receipt);
    this.#onTouch(conversationId);
  }

  applyMy(conversationId, my) {
    this.conversation(conversationId).applyMy(my);
    this.#onTouch(conversationId);
  }

  /** Hidden ids are kept: whatever arrives later stays hidden. */
  hide(conversationId, messageIds) {
    for (const id of messageIds) this.hidden.add(id);
    this.#onTouch(conversationId);
  }

  /** The answer of `sync`, also the one inside `session:ready`. */
  applySync(answer) {
    for (const user of answer.users ?? []) this.applyUser(user);
    for (const id of answer.hidden_ids ?? []) this.hidden.add(id);
    for (const entry of answer.conversations ?? []) this.#applyEntry(entry);
    for (const membership of answer.memberships ?? []) this.#applyMembership(membership);
    for (const id of answer.unseated ?? []) this.conversation(id).isSeated = false;
    if (typeof answer.unread_total === 'number') this.serverUnread = answer.unread_total;
    this.cursor.synced(answer.user_seq);
  }

  #applyEntry(entry) {
    const record = this.conversation(entry.id);
    for (const message of entry.messages ?? []) this.applyUser(message.sender, { isCard: true });
    for (const participant of entry.participants ?? []) this.applyUser(participant.user);
    record.applySync(entry);
    record.isSeated = true;
    this.#onTouch(entry.id);
  }

  #applyMembership({ conversation, conversation_id: id, is_active: isActive, my }) {
    const record = conversation ? this.applyConversation(conversation) : this.conversation(id);
    record.isMember = isActive;
    if (my) record.applyMy(my);
    this.#onTouch(record.id);
  }
}

const compare = (a, b) => (a < b ? -1 : Number(a > b));
const newestFirst = (a, b) => compare(b.activityAt, a.activityAt) || compare(b.id, a.id);
