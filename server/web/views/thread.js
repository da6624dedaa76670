import { t } from '../i18n/index.js';
import { avatar } from './avatar.js';
import { Composer } from './composer.js';
import { h, reconcile } from './dom.js';
import { icon, mark } from './icons.js';
import { openMenu } from './menu.js';
import { dayRow, messageRow, newRow, systemRow } from './message.js';
import { count, day, dayKey, faceOf, nameOf, names, senderOf, titleOf } from './words.js';

const GROUP_MS = 5 * 60_000; // messages of one person closer than this belong together
const NEAR_PX = 80; // this close to the end counts as at the end
const OLDER_PX = 400; // this close to the beginning asks for more
const PAUSE_MS = 3_000; // after a page that did not come

/** The right pane: one conversation, or an invitation to pick one. */
export class ThreadView {
  element = h('main', { class: 'pane thread-pane', id: 'thread', tabindex: '-1' });

  #palabre;
  #actions;
  #id = null;
  #rows = new Map();
  #state = 'loading';
  #newFrom = null; // the first message that was unread when the conversation was opened
  #isAtEnd = true;
  #lastSeen = 0; // the newest seq at the time the reader was at the end
  #loadingOlder = null; // the conversation whose older page is on its way
  #parts = null;
  #composer;

  /** `actions`: back(), open(id), older(id) → whether it came, retry(id), discard(id), copy(message), remove(message), save(message, text). */
  constructor(palabre, actions) {
    this.#palabre = palabre;
    this.#actions = actions;
    this.#composer = new Composer(palabre, {
      sent: () => this.#onSent(),
      save: actions.save,
      lastOwn: () => this.#lastEditable(),
    });
    this.draw();
  }

  get id() {
    return this.#id;
  }

  show(id) {
    this.#composer.leave();
    this.#id = id;
    this.#rows.clear();
    this.#state = 'loading';
    this.#newFrom = null;
    this.#isAtEnd = true;
    this.#parts = null;
    this.draw();
    if (id) this.#composer.enter(id);
  }

  /** `loading`, `ready`, `failed`, or `gone`. */
  set state(state) {
    if (state === 'ready' && this.#state !== 'ready') this.#markNew();
    this.#state = state;
    this.draw();
    if (state === 'ready' && this.#newFrom) this.#revealNew();
  }

  focusComposer() {
    this.#composer.focus();
  }

  draw() {
    if (!this.#id) return this.#drawNothing();
    this.#parts ??= this.#frame();
    this.#drawHeader();
    this.#drawRows();
    this.#composer.draw(this.#conversation);
    this.noteSeen();
    this.#loadOlder();
  }

  scrollToEnd() {
    const { scroller } = this.#parts;
    scroller.scrollTop = scroller.scrollHeight;
    this.#isAtEnd = true;
    this.noteSeen();
  }

  #onSent() {
    this.#newFrom = null; // whoever answers has seen what was new
    this.scrollToEnd();
  }

  /** Whoever looks at the end of the thread has read it. */
  noteSeen() {
    if (!this.#id || !this.#parts) return;
    const conversation = this.#conversation;
    const isLooking =
      document.visibilityState === 'visible' && document.hasFocus() && this.element.offsetParent !== null;
    if (this.#isAtEnd) this.#lastSeen = conversation.lastSeq;
    if (isLooking && this.#isAtEnd && this.#state === 'ready') this.#palabre.read(this.#id, conversation.lastSeq);
    this.#drawLatest();
  }

  get #conversation() {
    return this.#palabre.store.conversation(this.#id);
  }

  // Frame

  #drawNothing() {
    const hint = h('p', {}, t('thread.noneHint'));
    this.element.replaceChildren(
      h('div', { class: 'nothing' }, mark(), h('p', { class: 'strong' }, t('thread.none')), hint),
    );
  }

  #frame() {
    const back = t('thread.back');
    const parts = {
      face: h('span', { class: 'thread-face' }),
      title: h('h2', { class: 'thread-title', dir: 'auto', tabindex: '-1' }),
      subtitle: h('p', { class: 'thread-subtitle', dir: 'auto' }),
      top: h('div', { class: 'thread-top' }),
      rows: h('ol', { class: 'messages' }),
      typing: h('div', { class: 'typing' }),
      latest: h('button', { class: 'latest', type: 'button', hidden: true, onclick: () => this.scrollToEnd() }),
    };
    parts.scroller = h(
      'div',
      { class: 'thread-scroll', tabindex: '0', role: 'region', onscroll: () => this.#onScroll() },
      h('div', { class: 'thread-content' }, parts.top, parts.rows, parts.typing),
    );
    const header = h(
      'header',
      { class: 'bar thread-bar' },
      h(
        'button',
        { class: 'icon-button back', type: 'button', 'aria-label': back, onclick: this.#actions.back },
        icon('back'),
      ),
      parts.face,
      h('div', { class: 'thread-heading' }, parts.title, parts.subtitle),
    );
    this.element.replaceChildren(
      header,
      h('div', { class: 'thread-middle' }, parts.scroller, parts.latest),
      this.#composer.element,
    );
    this.#keepEndInSight(parts.scroller);
    return parts;
  }

  /** A phone's keyboard or a growing composer must not hide the newest message. */
  #keepEndInSight(scroller) {
    new ResizeObserver(() => this.#isAtEnd && this.#parts?.scroller === scroller && this.scrollToEnd()).observe(
      scroller,
    );
  }

  #drawHeader() {
    const { store } = this.#palabre;
    const conversation = this.#conversation;
    const { face, title, subtitle, scroller } = this.#parts;
    const who = faceOf(store, conversation);
    const words = conversation.info ? titleOf(store, conversation) : '';
    const signature = JSON.stringify([who.id, who.name, who.avatar_url]);
    if (face.dataset.signature !== signature) face.replaceChildren(avatar(who, 'medium'));
    face.dataset.signature = signature;
    title.textContent = words;
    subtitle.textContent = this.#subtitle(conversation, words);
    scroller.setAttribute('aria-label', t('thread.messages', { name: words }));
  }

  #subtitle(conversation, title) {
    const { store } = this.#palabre;
    const typing = this.#typingWords(conversation);
    if (typing) return typing;
    if (conversation.info?.type === 'direct' || conversation.others.length === 0) return '';
    const people = conversation.others.map((row) => nameOf(store.user(row.user.id) ?? row.user));
    const list = names([...people, t('system.youObject')]);
    const total = conversation.peopleCount;
    return title === names(people) || people.length + 1 < total ? t('thread.people', { count: total }) : list;
  }

  #typingWords(conversation) {
    const { store } = this.#palabre;
    const people = [...conversation.typing.keys()].map((id) => nameOf(store.user(id) ?? { id }));
    if (people.length === 0) return '';
    if (people.length > 2) return t('typing.many');
    return t(people.length === 1 ? 'typing.one' : 'typing.several', { names: names(people) });
  }

  // Rows

  #drawRows() {
    const { rows, typing } = this.#parts;
    const conversation = this.#conversation;
    const anchor = this.#anchor();
    reconcile(rows, this.#describe(conversation), this.#rows);
    this.#drawTop(conversation);
    this.#drawTyping(typing, conversation);
    if (this.#isAtEnd) this.scrollToEnd();
    else this.#restore(anchor);
  }

  /** The message at the top of the window, to be found at the same height afterwards; the day above it may move. */
  #anchor() {
    const { scroller, rows } = this.#parts;
    const top = scroller.getBoundingClientRect().top;
    for (const row of rows.querySelectorAll('.message, .system')) {
      const box = row.getBoundingClientRect();
      if (box.bottom > top) return { row, offset: box.top };
    }
    return null;
  }

  #restore(anchor) {
    if (!anchor?.row.isConnected) return;
    const moved = anchor.row.getBoundingClientRect().top - anchor.offset;
    if (moved !== 0) this.#parts.scroller.scrollTop += moved;
  }

  #describe(conversation) {
    const { store } = this.#palabre;
    const items = [
      ...conversation.history(store.hidden).map((message) => this.#messageFacts(conversation, message)),
      ...this.#palabre.pending(conversation.id).map((entry) => this.#entryFacts(entry)),
    ];
    const rows = [];
    items.forEach((facts, index) => this.#describeItem(rows, facts, items[index - 1], items[index + 1]));
    return rows;
  }

  #describeItem(rows, facts, before, after) {
    const date = new Date(facts.createdAt);
    if (!before || dayKey(date) !== dayKey(new Date(before.createdAt))) {
      const label = day(date);
      rows.push({ key: `day ${dayKey(date)}`, signature: label, build: () => dayRow(label) });
    }
    if (facts.message && facts.message.seq === this.#newFrom) {
      rows.push({ key: 'new', signature: 'new', build: newRow });
      before = null;
    }
    if (facts.isSystem) return rows.push(this.#systemItem(facts));
    facts.isFirst = !belong(before, facts);
    facts.isLast = !belong(facts, after) || after.message?.seq === this.#newFrom;
    const { message, ...visible } = facts;
    const signature = JSON.stringify([visible, message?.event_seq]);
    rows.push({ key: facts.key, signature, build: () => messageRow(facts, this.#rowActions) });
  }

  #systemItem({ key, message }) {
    const { store } = this.#palabre;
    const build = () => systemRow(store, message);
    return { key, signature: JSON.stringify([message.event_seq, build().textContent]), build };
  }

  #messageFacts(conversation, message) {
    const { store } = this.#palabre;
    const sender = senderOf(store, message);
    const isOwn = sender?.id === store.me?.id;
    if (message.type === 'system') return { key: message.id, message, createdAt: message.created_at, isSystem: true };
    return {
      key: isOwn && message.client_msg_id ? message.client_msg_id : message.id,
      message,
      isOwn,
      sender: { id: sender?.id, name: sender?.name, avatar_url: sender?.avatar_url },
      showsAuthor: !isOwn && conversation.info?.type !== 'direct',
      text: this.#bodyOf(message),
      createdAt: message.created_at,
      status: isOwn ? conversation.status(message) : null,
      readers: isOwn ? conversation.readersOf(message).map((id) => nameOf(store.user(id) ?? { id })) : [],
      canEdit:
        isOwn &&
        conversation.canWrite &&
        message.type === 'text' &&
        this.#isWithin(conversation, message, 'edit_seconds'),
      canDelete: isOwn && conversation.canWrite && this.#isWithin(conversation, message, 'delete_seconds'),
    };
  }

  #bodyOf(message) {
    const files = (message.attachments ?? []).map((file) => `📎 ${file.name}`);
    return [message.content, ...files].filter(Boolean).join('\n');
  }

  #entryFacts(entry) {
    return {
      key: entry.payload.client_msg_id,
      message: null,
      entry,
      isOwn: true,
      sender: this.#palabre.me ?? {},
      showsAuthor: false,
      text: entry.payload.content,
      createdAt: entry.createdAt,
      status: entry.state,
      readers: [],
    };
  }

  /** Members have a limited time; owners and admins, and a limit of 0, have not. */
  #isWithin(conversation, message, name) {
    const seconds = this.#palabre.store.limits[name];
    if (!seconds || ['owner', 'admin'].includes(conversation.my?.role)) return true;
    return Date.now() - new Date(message.created_at).getTime() < seconds * 1_000;
  }

  #drawTop(conversation) {
    const { top } = this.#parts;
    const key = this.#state === 'ready' && conversation.hasOlder ? 'older' : this.#state;
    if (top.dataset.key === key) return;
    top.dataset.key = key;
    const loading = () => [h('span', { class: 'spinner' }), h('span', { class: 'sr-only' }, t('thread.loading'))];
    const content = {
      loading,
      older: loading,
      ready: () => [h('p', {}, t('thread.beginning'))],
      failed: () => [h('p', {}, t('thread.failed')), this.#retryButton()],
      gone: () => [h('p', {}, t('thread.notFound'))],
    };
    top.replaceChildren(...content[key]());
  }

  #retryButton() {
    return h(
      'button',
      { class: 'quiet-button', type: 'button', onclick: () => this.#actions.open(this.#id) },
      t('list.retry'),
    );
  }

  #drawTyping(element, conversation) {
    const words = this.#typingWords(conversation);
    if (element.dataset.words === words) return;
    element.dataset.words = words;
    const dots = [h('i', {}), h('i', {}), h('i', {})];
    element.replaceChildren(
      ...(words ? [h('span', { class: 'typing-bubble', title: words, 'aria-hidden': 'true' }, dots)] : []),
    );
  }

  // Place

  #markNew() {
    const conversation = this.#conversation;
    const readSeq = conversation.my?.read_seq ?? 0;
    const me = this.#palabre.me?.id;
    const first = conversation
      .history(this.#palabre.store.hidden)
      .find((message) => message.seq > readSeq && message.type !== 'system' && message.sender?.id !== me);
    this.#newFrom = conversation.unread > 0 ? (first?.seq ?? null) : null;
  }

  /** Open at the first unread message when the end would hide it. */
  #revealNew() {
    const { scroller, rows } = this.#parts;
    const line = rows.querySelector('.news');
    if (!line || line.getBoundingClientRect().top >= scroller.getBoundingClientRect().top) return;
    line.scrollIntoView({ block: 'start' });
    this.#onScroll();
  }

  #onScroll() {
    const { scroller } = this.#parts;
    this.#isAtEnd = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < NEAR_PX;
    this.noteSeen();
    this.#loadOlder();
  }

  /** Before the reader gets there, or when a page does not fill the window. */
  async #loadOlder() {
    const conversation = this.#conversation;
    const isNear = this.#parts.scroller.scrollTop < OLDER_PX && this.element.offsetParent !== null;
    if (!isNear || this.#state !== 'ready' || this.#loadingOlder === this.#id) return;
    if (!conversation.hasOlder || conversation.from === null) return;
    const id = this.#id;
    this.#loadingOlder = id;
    const isThere = await this.#actions.older(id);
    if (!isThere) await new Promise((done) => setTimeout(done, PAUSE_MS));
    if (this.#loadingOlder === id) this.#loadingOlder = null;
  }

  #drawLatest() {
    const { latest } = this.#parts;
    latest.hidden = this.#isAtEnd;
    if (this.#isAtEnd) return;
    const missed = [...this.#conversation.messages.values()].filter(
      (message) => message.seq > this.#lastSeen && message.sender?.id !== this.#palabre.me?.id,
    ).length;
    const badge = missed > 0 ? h('span', { class: 'badge' }, count(missed)) : null;
    latest.setAttribute('aria-label', t('thread.latest'));
    latest.replaceChildren(icon('down'), ...(badge ? [badge] : []));
  }

  // Messages

  #rowActions = {
    retry: (id) => this.#actions.retry(id),
    discard: (id) => this.#actions.discard(id),
    menu: (button, message, rights) => this.#openMenu(button, message, rights),
  };

  #openMenu(button, message, { canEdit, canDelete }) {
    const entries = [];
    if (message.content)
      entries.push({ label: t('message.copy'), icon: 'copy', action: () => this.#actions.copy(message) });
    if (canEdit) entries.push({ label: t('message.edit'), icon: 'edit', action: () => this.#composer.edit(message) });
    if (canDelete) {
      const action = () => this.#actions.remove(message);
      entries.push({ label: t('message.delete'), icon: 'trash', action, isDanger: true });
    }
    if (entries.length > 0) openMenu(button, entries);
  }

  #lastEditable() {
    const conversation = this.#conversation;
    const own = conversation.history(this.#palabre.store.hidden).filter((message) => !message.is_deleted);
    const facts = own.map((message) => this.#messageFacts(conversation, message)).findLast((one) => one.isOwn);
    return facts?.canEdit ? facts.message : null;
  }
}

/** Two neighbours that read as one utterance. */
function belong(a, b) {
  if (!a || !b || a.isSystem || b.isSystem || a.isOwn !== b.isOwn || a.sender?.id !== b.sender?.id) return false;
  const [first, second] = [new Date(a.createdAt), new Date(b.createdAt)];
  return second - first < GROUP_MS && dayKey(first) === dayKey(second);
}
