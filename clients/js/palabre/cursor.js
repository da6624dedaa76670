/**
 * How far one stream of changes is complete: a conversation's `event_seq`, or a person's `user_seq`.
 *
 * Only two things move it: an event that follows on without a hole, and the answer of `sync`. Whatever else is heard is
 * remembered, so that `sync` is asked until the cursor has reached it.
 */
export class Cursor {
  at = null;
  #read = null; // the head of the first object that was fetched, as long as nothing is followed
  #heard = 0;
  #sinceAsked = 0;

  get behind() {
    return this.at !== null && this.at < this.#heard;
  }

  /** Nothing is known to be missing. */
  get isComplete() {
    return this.at !== null && !this.behind;
  }

  /** Where `sync` has to begin: what changed since then may never have reached us. */
  get from() {
    return this.at ?? this.#read;
  }

  /** What is stored was fetched when the head stood here; what is fetched later does not make up for a loss. */
  read(head) {
    this.#read ??= head;
  }

  /** Begin at a head the server named. A cursor that already stands somewhere only learns how far it has to go. */
  start(head) {
    if (typeof head !== 'number') return;
    this.at ??= Math.min(this.#read ?? head, head);
    this.hear(head);
  }

  hear(number) {
    this.#heard = Math.max(this.#heard, number);
  }

  /** An event numbered `number`, sent after `previous`. */
  follow(number, previous) {
    this.#sinceAsked = Math.max(this.#sinceAsked, number);
    this.hear(number);
    if (this.at !== null && previous <= this.at) this.at = Math.max(this.at, number);
  }

  /** A `sync` is about to leave. */
  ask() {
    this.#sinceAsked = 0;
  }

  /** The answer of `sync`: complete up to `number`, if it speaks of this stream at all. */
  synced(number) {
    if (typeof number === 'number') this.at = Math.max(this.at ?? 0, number);
  }

  /** What was stored is void: stand at `number`, keep only what was heard since `sync` was asked. */
  reset(number) {
    this.at = number;
    this.#heard = this.#sinceAsked;
  }

  /** Another database lifetime: nothing known. */
  clear() {
    this.at = null;
    this.#read = null;
    this.#heard = 0;
    this.#sinceAsked = 0;
  }

  /** The server cannot bring what was heard: stop asking. */
  settle() {
    this.#heard = this.at ?? 0;
  }
}
