import { t } from '../i18n/index.js';
import { avatar } from './avatar.js';
import { h, reconcile } from './dom.js';
import { icon, mark } from './icons.js';
import { count, faceOf, nameOf, senderOf, stamp, textOf, titleOf } from './words.js';

/** The left pane: who I am, and my conversations with the newest activity on top. */
export class ListView {
  element;

  #palabre;
  #actions;
  #rows = new Map();
  #current = null;
  #state = 'loading';
  #list = h('ul', { class: 'conversations', onkeydown: (event) => this.#moveFocus(event) });
  #note = h('div', { class: 'list-note' });
  #account = h('div', { class: 'account' });

  /** `actions`: open(id), startNew(), signOut(), more(). */
  constructor(palabre, actions) {
    this.#palabre = palabre;
    this.#actions = actions;
    const newButton = h(
      'button',
      {
        class: 'icon-button',
        type: 'button',
        'aria-label': t('list.new'),
        title: t('list.new'),
        onclick: actions.startNew,
      },
      icon('plus'),
    );
    this.element = h(
      'nav',
      { class: 'pane list-pane', 'aria-label': t('list.title') },
      h('header', { class: 'bar' }, mark(), h('h1', { class: 'brand' }, t('app.name')), newButton),
      h('div', { class: 'list-scroll', onscroll: (event) => this.#onScroll(event) }, this.#list, this.#note),
      this.#account,
    );
  }

  set current(id) {
    this.#current = id;
    this.draw();
  }

  /** `loading`, `ready` or `failed`. */
  set state(state) {
    this.#state = state;
    this.draw();
  }

  draw() {
    const conversations = this.#palabre.store.list();
    reconcile(
      this.#list,
      conversations.map((one) => this.#row(one)),
      this.#rows,
    );
    this.#drawNote(conversations.length);
    this.#drawAccount();
  }

  focus() {
    (this.#list.querySelector('[aria-current="true"]') ?? this.#list.querySelector('button'))?.focus();
  }

  #row(conversation) {
    const facts = this.#facts(conversation);
    return { key: conversation.id, signature: JSON.stringify(facts), build: () => this.#build(conversation, facts) };
  }

  #facts(conversation) {
    const { store } = this.#palabre;
    const face = faceOf(store, conversation);
    return {
      title: titleOf(store, conversation),
      face: [face.id, face.name, face.avatar_url],
      preview: this.#preview(conversation),
      time: conversation.activityAt && stamp(new Date(conversation.activityAt)),
      unread: conversation.unread,
      marked: Boolean(conversation.my?.marked_unread),
      pinned: Boolean(conversation.my?.is_pinned),
      typing: conversation.typing.size > 0,
      isCurrent: conversation.id === this.#current,
    };
  }

  #preview(conversation) {
    const { store } = this.#palabre;
    const pending = this.#palabre.pending(conversation.id).at(-1);
    if (conversation.typing.size > 0) return this.#typing(conversation);
    if (pending) return t('list.you', { text: pending.payload.content });
    const message = conversation.lastMessage;
    if (!message || store.hidden.has(message.id)) return t('list.nothing');
    const text = textOf(store, message);
    if (message.type === 'system') return text;
    if (message.sender?.id === store.me?.id) return t('list.you', { text });
    if (conversation.others.length < 2) return text;
    return t('list.said', { name: nameOf(senderOf(store, message)), text });
  }

  #typing(conversation) {
    const { store } = this.#palabre;
    const [userId] = conversation.typing.keys();
    return t('typing.one', { names: nameOf(store.user(userId) ?? { id: userId }) });
  }

  #build(conversation, facts) {
    const { store } = this.#palabre;
    const hasNews = facts.unread > 0 || facts.marked;
    const button = h(
      'button',
      {
        'data-conversation': conversation.id,
        class: `conversation${hasNews ? ' has-news' : ''}`,
        type: 'button',
        'aria-current': facts.isCurrent ? 'true' : null,
        onclick: () => this.#actions.open(conversation.id),
      },
      avatar(faceOf(store, conversation), 'large'),
      h(
        'span',
        { class: 'conversation-words' },
        h('span', { class: 'conversation-title', dir: 'auto' }, facts.title),
        h('span', { class: `conversation-preview${facts.typing ? ' is-typing' : ''}`, dir: 'auto' }, facts.preview),
      ),
      h(
        'span',
        { class: 'conversation-side' },
        h('span', { class: 'conversation-time' }, facts.time),
        this.#badge(facts),
      ),
    );
    return h('li', {}, button);
  }

  #badge({ unread, marked, pinned }) {
    if (unread > 0) {
      const words = h('span', { class: 'sr-only' }, t('list.unread', { count: unread }));
      return h('span', { class: 'badge' }, h('span', { 'aria-hidden': 'true' }, count(unread)), words);
    }
    if (marked) return h('span', { class: 'badge badge-dot' }, h('span', { class: 'sr-only' }, t('list.markedUnread')));
    return pinned
      ? h('span', { class: 'pinned' }, icon('pin'), h('span', { class: 'sr-only' }, t('list.pinned')))
      : null;
  }

  #drawNote(length) {
    if (this.#state === 'loading' && length === 0) return this.#note.replaceChildren(...skeletons());
    if (this.#state === 'failed') {
      const retry = h(
        'button',
        { class: 'quiet-button', type: 'button', onclick: this.#actions.more },
        t('list.retry'),
      );
      return this.#note.replaceChildren(h('p', {}, t('list.failed')), retry);
    }
    if (length === 0) {
      const start = h(
        'button',
        { class: 'quiet-button', type: 'button', onclick: this.#actions.startNew },
        t('list.new'),
      );
      return this.#note.replaceChildren(
        h('p', { class: 'strong' }, t('list.empty')),
        h('p', {}, t('list.emptyHint')),
        start,
      );
    }
    const more = h('button', { class: 'quiet-button', type: 'button', onclick: this.#actions.more }, t('list.more'));
    return this.#note.replaceChildren(...(this.#palabre.hasMoreConversations ? [more] : []));
  }

  #drawAccount() {
    const { me } = this.#palabre;
    const signature = JSON.stringify([me?.id, me?.name, me?.avatar_url]);
    if (!me || this.#account.dataset.signature === signature) return;
    this.#account.dataset.signature = signature;
    const label = t('session.signout');
    this.#account.replaceChildren(
      avatar(me, 'small'),
      h('span', { class: 'account-name', dir: 'auto', title: t('session.account', { name: nameOf(me) }) }, nameOf(me)),
      h(
        'button',
        { class: 'icon-button', type: 'button', 'aria-label': label, title: label, onclick: this.#actions.signOut },
        icon('leave'),
      ),
    );
  }

  #onScroll({ target }) {
    const left = target.scrollHeight - target.scrollTop - target.clientHeight;
    if (left < 200 && this.#state === 'ready' && this.#palabre.hasMoreConversations) this.#actions.more();
  }

  #moveFocus(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    const buttons = [...this.#list.querySelectorAll('button')];
    const target = buttons[buttons.indexOf(document.activeElement) + step];
    if (!target) return;
    event.preventDefault();
    target.focus();
  }
}

function skeletons() {
  const bar = () =>
    h('div', { class: 'skeleton' }, h('span', { class: 'skeleton-face' }), h('span', { class: 'skeleton-words' }));
  return [bar(), bar(), bar(), bar()];
}
