/**
 * How far one stream of changes is complete: a conversation's `event_seq`, or a person's `user_seq`.
 *
 * Only two things move it: an event that follows on without a hole, and the answer of `sync`. Whatever else is heard is
 * remembered, so that `sync` is asked until the cursor has reached it.
 */
export class Cursor {
  at = null;
  #heard = 0;
  #sinceAsked = 0;

  get behind() {
    return this.at !== null && this.at < this.#heard;
  }

  /** Begin at a head the server named. A cursor that already stands somewhere only learns how far it has to go. */
  start(head) {
    if (typeof head !== 'number') return;
    if (this.at === null) this.at = head;
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
    this.#heard = 0;
    this.#sinceAsked = 0;
  }

  /** The server cannot bring what was heard: stop asking. */
  settle() {
    this.#heard = this.at ?? 0;
  }
}
