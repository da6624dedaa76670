import { t } from '../i18n/index.js';
import { accountButton } from './account.js';
import { conversationRow } from './conversation.js';
import { h, reconcile } from './dom.js';
import { icon, mark } from './icons.js';
import { Roving } from './roving.js';
import { SearchView } from './search.js';
import { otherIn } from './words.js';

const FOLLOWED = 200; // of the people in the list it is known how they are

/** The left pane: my conversations with the newest activity on top, what a search finds, and who I am. */
export class ListView {
  element;

  #palabre;
  #actions;
  #rows = new Map();
  #current = null;
  #state = 'loading';
  #isArchive = false;
  #list = h('ul', { class: 'conversations' });
  #note = h('div', { class: 'list-note' });
  #heading = h('div', { class: 'list-heading', hidden: true });
  #account = h('footer', { class: 'account' });
  #roving = new Roving(this.#list, 'button', () => this.#list.querySelector('[aria-current="true"]'));
  #search;

  /**
   * `actions`: open(id), reveal(id, seq), talkTo(userId), startNew(), more({archived}), menu(anchor, conversation, point),
   * account(button).
   */
  constructor(palabre, actions) {
    this.#palabre = palabre;
    this.#actions = actions;
    const label = t('list.new');
    const newButton = h(
      'button',
      { class: 'icon-button', type: 'button', 'aria-label': label, title: label, onclick: actions.startNew },
      icon('compose'),
    );
    const scroll = h(
      'div',
      { class: 'list-scroll', onscroll: (event) => this.#onScroll(event) },
      this.#heading,
      this.#list,
      this.#note,
    );
    this.#search = new SearchView(palabre, { ...actions, changed: (isSearching) => (scroll.hidden = isSearching) });
    this.element = h(
      'nav',
      { class: 'pane list-pane', 'aria-label': t('list.title') },
      h('header', { class: 'bar list-bar' }, mark(), h('h1', { class: 'brand' }, t('app.name')), newButton),
      this.#search.field,
      scroll,
      this.#search.results,
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

  get isArchive() {
    return this.#isArchive;
  }

  draw() {
    const { store } = this.#palabre;
    this.#palabre.follow(store.list().map(otherIn).filter(Boolean).slice(0, FOLLOWED).reverse());
    const conversations = this.#isArchive ? store.archived() : store.list();
    reconcile(
      this.#list,
      conversations.map((one) => conversationRow(this.#palabre, one, one.id === this.#current, this.#actions)),
      this.#rows,
    );
    this.#roving.refresh();
    this.#note.replaceChildren(...this.#noteOf(conversations.length));
    this.#drawAccount();
  }

  focus() {
    this.#roving.focus();
  }

  focusSearch() {
    this.#search.focus();
  }

  /** Show what was put away, or go back. */
  showArchive(isArchive) {
    this.#isArchive = isArchive;
    this.#state = 'loading';
    this.#heading.hidden = !isArchive;
    const label = t('archive.back');
    const back = () => this.showArchive(false);
    const button = h(
      'button',
      { class: 'icon-button', type: 'button', 'aria-label': label, title: label, onclick: back },
      icon('back'),
    );
    this.#heading.replaceChildren(button, h('h2', {}, t('archive.title')));
    this.draw();
    if (isArchive) button.focus();
    else this.focus();
    this.#actions.more({ archived: isArchive });
  }

  #noteOf(length) {
    if (this.#state === 'failed') return [h('p', {}, t('list.failed')), this.#button('list.retry', () => this.#more())];
    if (this.#state === 'loading') return length === 0 ? skeletons() : [];
    if (length === 0) return this.#isArchive ? [h('p', {}, t('archive.empty'))] : this.#emptyNote();
    return this.#hasMore ? [this.#button('list.more', () => this.#more())] : [];
  }

  #emptyNote() {
    const start = this.#button('list.new', this.#actions.startNew);
    return [h('p', { class: 'strong' }, t('list.empty')), h('p', {}, t('list.emptyHint')), start];
  }

  #button(key, onclick) {
    return h('button', { class: 'quiet-button', type: 'button', onclick }, t(key));
  }

  get #hasMore() {
    return this.#isArchive ? this.#palabre.hasMoreArchived : this.#palabre.hasMoreConversations;
  }

  #more() {
    this.#actions.more({ archived: this.#isArchive });
  }

  #drawAccount() {
    const { me } = this.#palabre;
    const signature = JSON.stringify([me?.id, me?.name, me?.avatar_url]);
    if (!me || this.#account.dataset.signature === signature) return;
    this.#account.dataset.signature = signature;
    this.#account.replaceChildren(accountButton(me, this.#actions.account));
  }

  #onScroll({ target }) {
    const left = target.scrollHeight - target.scrollTop - target.clientHeight;
    if (left < 200 && this.#state === 'ready' && this.#hasMore) this.#more();
  }
}

function skeletons() {
  const bar = () =>
    h('div', { class: 'skeleton' }, h('span', { class: 'skeleton-face' }), h('span', { class: 'skeleton-words' }));
  return [h('p', { class: 'sr-only', role: 'status' }, t('list.loading')), bar(), bar(), bar(), bar(), bar()];
}
