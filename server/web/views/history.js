import { t } from '../i18n/index.js';
import { h, reconcile } from './dom.js';
import { typingWords } from './header.js';
import { icon } from './icons.js';
import { Roving } from './roving.js';
import { keyOf, rowsOf, timeline } from './timeline.js';
import { count } from './words.js';

const NEAR_PX = 80; // this close to the end counts as at the end
const EDGE_PX = 600; // this close to an edge brings more
const PAUSE_MS = 3_000; // after a page that did not come
const FIRST = 60; // entries shown when a conversation opens
const STEP = 50;
const MOST = 240; // entries that are elements at a time
const LIT_MS = 2_200;

/**
 * What was said, as a list one scrolls in. However long the history, only a stretch of it is made of elements: scrolling
 * moves the stretch, and the message at the top of the window keeps its place, measured, whatever is added around it.
 */
export class HistoryView {
  element;

  #palabre;
  #departures;
  #actions;
  #id = null;
  #state = 'loading';
  #items = [];
  #known = new Map();
  #top = null; // key of the first entry that is an element; null: as many as at the beginning
  #bottom = null; // key of the last one; null: to the end
  #newFrom = null; // the first message that was unread when the conversation was opened
  #isAtEnd = true;
  #lastSeen = 0; // the newest seq at the time the reader was at the end
  #loading = null; // the conversation whose older page is on its way

  #begin = h('div', { class: 'thread-top' });
  #rows = h('ol', { class: 'messages' });
  #typing = h('div', { class: 'typing' });
  #scroller = h('div', { class: 'thread-scroll', tabindex: '0', role: 'region', onscroll: () => this.#onScroll() });
  #latest = h('button', { class: 'latest', type: 'button', hidden: true, onclick: () => this.toEnd() });
  #roving = new Roving(this.#rows, '.message-menu', () => [...this.#rows.querySelectorAll('.message-menu')].at(-1));

  /** `actions`: those of a row, open(id), older(id) → whether it came, isLooking(). */
  constructor(palabre, departures, actions) {
    this.#palabre = palabre;
    this.#departures = departures;
    this.#actions = actions;
    const content = h('div', { class: 'thread-content' }, this.#begin, this.#rows, this.#typing);
    this.#scroller.append(content);
    this.#latest.setAttribute('aria-label', t('thread.latest'));
    this.#latest.title = t('thread.latest');
    this.element = h('div', { class: 'thread-middle' }, this.#scroller, this.#latest);
    // A phone's keyboard, a growing composer or a late font must not hide the newest message.
    const observer = new ResizeObserver(() => this.#isAtEnd && this.#stickToEnd());
    observer.observe(this.#scroller);
    observer.observe(content);
  }

  show(id) {
    this.#id = id;
    this.#state = 'loading';
    this.#items = [];
    this.#known.clear();
    this.#rows.replaceChildren();
    this.#top = this.#bottom = this.#newFrom = null;
    this.#isAtEnd = true;
    this.#lastSeen = 0;
  }

  /** `loading`, `ready`, `failed`, or `gone`. */
  set state(state) {
    const isNew = state === 'ready' && this.#state !== 'ready';
    if (isNew) this.#markNew();
    this.#state = state;
    this.draw();
    if (isNew && this.#newFrom) this.#revealNew();
  }

  get state() {
    return this.#state;
  }

  draw() {
    if (!this.#id) return;
    const anchor = this.#anchor();
    this.#items = timeline(this.#palabre, this.#departures, this.#conversation);
    this.#widen();
    this.#drawStretch();
    this.#drawBegin();
    this.#drawTyping();
    this.#label();
    if (this.#isAtEnd) this.#stickToEnd();
    else this.#restore(anchor);
    this.noteSeen();
    this.#extend();
  }

  /** Whoever looks at the end of the thread has read it. */
  noteSeen() {
    if (!this.#id) return;
    const { lastSeq } = this.#conversation;
    if (this.#isAtEnd) this.#lastSeen = lastSeq;
    if (this.#isAtEnd && this.#state === 'ready' && this.#actions.isLooking()) this.#palabre.read(this.#id, lastSeq);
    this.#drawLatest();
  }

  toEnd() {
    this.#top = this.#bottom = null;
    this.#isAtEnd = true;
    this.draw();
  }

  /** Whoever answers has seen what was new. */
  sent() {
    this.#newFrom = null;
    this.toEnd();
  }

  /** Bring a stored message to the middle of the window and light it up. */
  reveal(seq) {
    const at = this.#items.findIndex((item) => item.seq >= seq);
    if (at < 0) return;
    const last = at + FIRST / 2;
    this.#top = this.#key(Math.max(0, at - FIRST / 2));
    this.#bottom = last < this.#items.length - 1 ? this.#key(last) : null;
    this.#isAtEnd = false;
    this.draw();
    const row = this.#known.get(this.#key(at))?.element;
    if (!row) return;
    row.scrollIntoView({ block: 'center' });
    row.classList.add('is-lit');
    row.querySelector('.message-menu')?.focus({ preventScroll: true });
    setTimeout(() => row.classList.remove('is-lit'), LIT_MS);
    this.#onScroll();
  }

  get #conversation() {
    return this.#palabre.store.conversation(this.#id);
  }

  #key(index) {
    return keyOf(this.#palabre, this.#items[index]);
  }

  // The stretch that is made of elements

  /** Its first index and the one after its last. */
  get #stretch() {
    const length = this.#items.length;
    const indexOf = (key) => this.#items.findIndex((item) => keyOf(this.#palabre, item) === key);
    const last = this.#bottom === null ? -1 : indexOf(this.#bottom);
    const to = last < 0 ? length : last + 1;
    const first = this.#top === null ? -1 : indexOf(this.#top);
    return [first < 0 ? Math.max(0, to - FIRST) : first, to];
  }

  #setStretch(from, to) {
    this.#top = this.#items.length > 0 ? this.#key(from) : null;
    this.#bottom = to < this.#items.length ? this.#key(to - 1) : null;
  }

  #drawStretch() {
    const [from, to] = this.#stretch;
    // At the end of a lively conversation, what scrolled out of sight long ago is let go.
    const first = this.#isAtEnd && to - from > MOST ? to - FIRST : from;
    this.#setStretch(first, to);
    reconcile(
      this.#rows,
      rowsOf(this.#palabre, this.#conversation, this.#items, [first, to], this.#newFrom, this.#actions),
      this.#known,
    );
    this.#roving.refresh();
  }

  /**
   * Before the reader gets to an edge of the stretch, move it. Done before drawing, not after: at the very top there is no
   * room to put back what a heading that went away has moved.
   */
  #widen() {
    if (this.#state !== 'ready' || this.element.offsetParent === null) return false;
    const [from, to] = this.#stretch;
    const { length } = this.#items;
    if (this.#isNearTop && from > 0) this.#setStretch(Math.max(0, from - STEP), Math.min(to, from - STEP + MOST));
    else if (this.#isNearBottom && to < length)
      this.#setStretch(Math.max(from, to + STEP - MOST), Math.min(length, to + STEP));
    const [newFrom, newTo] = this.#stretch;
    if (newTo < length) this.#isAtEnd = false;
    return newFrom !== from || newTo !== to;
  }

  #extend() {
    if (this.#widen()) this.draw();
    else if (this.#state === 'ready' && this.#isNearTop && this.element.offsetParent !== null) this.#loadOlder();
  }

  get #isNearTop() {
    return this.#scroller.scrollTop < EDGE_PX;
  }

  get #isNearBottom() {
    const { scrollTop, scrollHeight, clientHeight } = this.#scroller;
    return scrollHeight - scrollTop - clientHeight < EDGE_PX;
  }

  async #loadOlder() {
    const conversation = this.#conversation;
    if (this.#loading === this.#id || !conversation.hasOlder || conversation.from === null) return;
    const id = this.#id;
    this.#loading = id;
    const isThere = await this.#actions.older(id);
    if (!isThere) await new Promise((done) => setTimeout(done, PAUSE_MS));
    if (this.#loading === id) this.#loading = null;
    if (this.#id === id) this.draw();
  }

  // Place

  /** The message at the top of the window, whose end is to be found at the same height afterwards. */
  #anchor() {
    const top = this.#scroller.getBoundingClientRect().top;
    for (const row of this.#rows.querySelectorAll('.message, .system')) {
      const { bottom } = row.getBoundingClientRect();
      if (bottom > top) return { row, bottom };
    }
    return null;
  }

  #restore(anchor) {
    if (!anchor?.row.isConnected) return;
    const moved = anchor.row.getBoundingClientRect().bottom - anchor.bottom;
    if (moved !== 0) this.#scroller.scrollTop += moved;
  }

  #stickToEnd() {
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
  }

  #onScroll() {
    const { scrollTop, scrollHeight, clientHeight } = this.#scroller;
    this.#isAtEnd = this.#bottom === null && scrollHeight - scrollTop - clientHeight < NEAR_PX;
    this.noteSeen();
    this.#extend();
  }

  #markNew() {
    const conversation = this.#conversation;
    const readSeq = conversation.my?.read_seq ?? 0;
    const me = this.#palabre.me?.id;
    const first = this.#palabre
      .messages(this.#id)
      .find((message) => message.seq > readSeq && message.type !== 'system' && message.sender?.id !== me);
    this.#newFrom = conversation.unread > 0 ? (first?.seq ?? null) : null;
  }

  /** Open at the first unread message when the end would hide it. */
  #revealNew() {
    const line = this.#rows.querySelector('.news');
    if (!line || line.getBoundingClientRect().top >= this.#scroller.getBoundingClientRect().top) return;
    line.scrollIntoView({ block: 'start' });
    this.#onScroll();
  }

  // Around the rows

  #drawBegin() {
    const hasOlder = this.#conversation.hasOlder || this.#stretch[0] > 0;
    const key = this.#state === 'ready' && hasOlder ? 'older' : this.#state;
    if (this.#begin.dataset.key === key) return;
    this.#begin.dataset.key = key;
    const loading = () => [h('span', { class: 'spinner' }), h('span', { class: 'sr-only' }, t('thread.loading'))];
    const retry = () =>
      h(
        'button',
        { class: 'quiet-button', type: 'button', onclick: () => this.#actions.open(this.#id) },
        t('list.retry'),
      );
    const content = {
      loading: () => [h('span', { class: 'sr-only', role: 'status' }, t('thread.loading')), ...skeletons()],
      older: loading,
      ready: () => [h('p', {}, t('thread.beginning'))],
      failed: () => [h('p', { role: 'alert' }, t('thread.failed')), retry()],
      gone: () => [h('p', { role: 'alert' }, t('thread.notFound'))],
    };
    this.#begin.replaceChildren(...content[key]());
  }

  #drawTyping() {
    const words = typingWords(this.#palabre.store, this.#conversation);
    if (this.#typing.dataset.words === words) return;
    this.#typing.dataset.words = words;
    const dots = [h('i', {}), h('i', {}), h('i', {})];
    const bubble = h('span', { class: 'typing-bubble', title: words, 'aria-hidden': 'true' }, dots);
    this.#typing.replaceChildren(...(words ? [bubble] : []));
  }

  #label() {
    const label = t('thread.messages');
    if (this.#scroller.getAttribute('aria-label') !== label) this.#scroller.setAttribute('aria-label', label);
  }

  #drawLatest() {
    const isHidden = this.#isAtEnd || this.#state !== 'ready';
    const missed = isHidden ? 0 : this.#missed;
    const signature = `${isHidden} ${missed}`;
    if (this.#latest.dataset.signature === signature) return;
    this.#latest.dataset.signature = signature;
    this.#latest.hidden = isHidden;
    const badge = missed > 0 ? h('span', { class: 'badge' }, count(missed)) : null;
    this.#latest.replaceChildren(icon('down'), ...(badge ? [badge] : []));
  }

  get #missed() {
    const me = this.#palabre.me?.id;
    const isMissed = ({ seq, type, sender }) => seq > this.#lastSeen && type !== 'system' && sender?.id !== me;
    return this.#items.filter(isMissed).length;
  }
}

/** Shapes of messages to come. */
function skeletons() {
  const widths = ['is-long', 'is-short is-mine', 'is-mid', 'is-long is-mine', 'is-short'];
  return [
    h(
      'div',
      { class: 'thread-skeleton', 'aria-hidden': 'true' },
      widths.map((name) => h('span', { class: name })),
    ),
  ];
}
