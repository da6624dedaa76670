const DEFAULT_INTERVAL_MS = 2_000;
const DEFAULT_EXPIRY_MS = 6_000;

/** Who is writing: ours is told at most once per interval, theirs fades by itself when nobody says it stopped. */
export class Typing {
  #toldAt = new Map(); // conversation id -> time of our last typing:start
  #active = new Set();
  #tell;
  #changed;

  constructor({ tell, changed }) {
    this.#tell = tell;
    this.#changed = changed;
  }

  start(conversationId, intervalMs = DEFAULT_INTERVAL_MS) {
    const now = Date.now();
    if (now - (this.#toldAt.get(conversationId) ?? 0) < intervalMs) return;
    this.#toldAt.set(conversationId, now);
    this.#active.add(conversationId);
    this.#tell('typing:start', { conversation_id: conversationId });
  }

  stop(conversationId) {
    if (this.#active.delete(conversationId)) this.#tell('typing:stop', { conversation_id: conversationId });
  }

  /** Our message says it better than `typing:stop`: the server stops it by itself. */
  sent(conversationId) {
    this.#active.delete(conversationId);
  }

  heard(conversation, { user_id: userId, kind = 'text', expires_in_ms: expiry = DEFAULT_EXPIRY_MS }) {
    clearTimeout(conversation.typing.get(userId)?.timer);
    const timer = setTimeout(() => this.gone(conversation, userId), expiry);
    conversation.typing.set(userId, { kind, timer });
    this.#changed(conversation.id);
  }

  gone(conversation, userId) {
    const entry = conversation.typing.get(userId);
    if (!entry) return;
    clearTimeout(entry.timer);
    conversation.typing.delete(userId);
    this.#changed(conversation.id);
  }
}
