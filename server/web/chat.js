import { t } from './i18n/index.js';
import { Palabre } from './palabre.js';
import { confirm } from './views/dialog.js';
import { h } from './views/dom.js';
import { ListView } from './views/list.js';
import { announce, noticeElements, showStatus, toast, toastError } from './views/notices.js';
import { PeopleDialog } from './views/people.js';
import { ThreadView } from './views/thread.js';
import { count, nameOf, senderOf, textOf } from './views/words.js';

/** The page of one person: a client, two panes, and what happens between them. */
export class Chat {
  #palabre;
  #ended;
  #list;
  #thread;
  #isLoadingList = false;
  #frame = null;
  #stop = new AbortController();

  /** `ended(code)` is told when the session is over; no code: the person left. */
  constructor(token, ended) {
    this.#ended = ended;
    this.#palabre = new Palabre({ token, storage: localStorage });
    this.#list = new ListView(this.#palabre, {
      open: (id) => this.#go(id),
      startNew: () => new PeopleDialog(this.#palabre, (conversation) => this.#go(conversation.id)),
      signOut: () => this.#signOut(),
      more: () => this.#loadList(),
    });
    this.#thread = new ThreadView(this.#palabre, {
      back: () => this.#back(),
      open: (id) => this.#load(id),
      older: (id) => this.#older(id),
      retry: (id) => this.#palabre.retry(id),
      discard: (id) => this.#palabre.discard(id),
      copy: (message) => this.#copy(message),
      remove: (message) => this.#remove(message),
      save: (message, text) => this.#palabre.edit(message, text).catch(toastError),
    });
  }

  start() {
    const skip = h('a', { class: 'skip', href: '#thread', onclick: (event) => this.#skip(event) }, t('app.skip'));
    const panes = h('div', { class: 'panes' }, this.#list.element, this.#thread.element);
    document.body.replaceChildren(skip, panes, ...noticeElements);
    this.#listen();
    this.#follow(this.#wished);
    this.#palabre.connect();
  }

  #listen() {
    const { signal } = this.#stop;
    const on = (type, listener) => this.#palabre.addEventListener(type, ({ detail }) => listener(detail), { signal });
    on('ready', ({ again }) => this.#onReady(again));
    on('change', () => this.#redraw());
    on('message', ({ message }) => this.#onMessage(message));
    on('status', ({ status }) => status !== 'online' && showStatus(status));
    on('expiring', () => toast(t('session.expiring')));
    on('closed', ({ code }) => this.#leave(code));
    window.addEventListener('popstate', () => this.#follow(this.#wished), { signal });
    window.addEventListener('focus', () => this.#thread.noteSeen(), { signal });
    document.addEventListener('visibilitychange', () => this.#thread.noteSeen(), { signal });
    window.addEventListener('online', () => showStatus(this.#palabre.status), { signal });
    window.addEventListener('offline', () => showStatus('reconnecting'), { signal });
  }

  // Where we are: the address says which conversation, so that reload, back and forward do what one expects.

  get #wished() {
    return new URLSearchParams(location.hash.slice(1)).get('conversation');
  }

  #go(id) {
    if (id !== this.#thread.id) history.pushState({ inside: true }, '', address(id));
    this.#follow(id);
    this.#thread.focusComposer();
  }

  #back() {
    const id = this.#thread.id;
    if (history.state?.inside) history.back();
    else {
      history.replaceState(null, '', address(null));
      this.#follow(null);
    }
    requestAnimationFrame(() => document.querySelector(`[data-conversation="${CSS.escape(id)}"]`)?.focus());
  }

  #follow(id) {
    document.body.dataset.screen = id ? 'thread' : 'list';
    if (id === this.#thread.id && id !== null) return;
    this.#thread.show(id);
    this.#list.current = id;
    if (id && this.#palabre.isOnline) this.#load(id);
  }

  #skip(event) {
    event.preventDefault();
    this.#thread.element.focus();
  }

  // What the server brings

  async #onReady(again) {
    showStatus('online');
    if (!again) await this.#loadList();
    if (this.#thread.id) await this.#load(this.#thread.id);
    this.#redraw();
  }

  async #loadList() {
    if (this.#isLoadingList) return;
    this.#isLoadingList = true;
    try {
      await this.#palabre.list();
      this.#list.state = 'ready';
    } catch {
      this.#list.state = 'failed';
    }
    this.#isLoadingList = false;
  }

  async #load(id) {
    try {
      await this.#palabre.open(id);
      if (this.#thread.id === id) this.#thread.state = 'ready';
    } catch (error) {
      if (this.#thread.id === id) this.#thread.state = error.code === 'not_found' ? 'gone' : 'failed';
    }
  }

  #onMessage(message) {
    if (message.conversation_id !== this.#thread.id || message.type === 'system') return;
    const { store } = this.#palabre;
    announce(t('thread.announce', { name: nameOf(senderOf(store, message)), text: textOf(store, message) }));
  }

  /** Views once per frame; the title also while nobody looks. */
  #redraw() {
    const unread = this.#palabre.unreadTotal;
    document.title = unread > 0 ? `(${count(unread)}) ${t('app.name')}` : t('app.name');
    this.#frame ??= requestAnimationFrame(() => {
      this.#frame = null;
      this.#list.draw();
      if (this.#thread.id) this.#thread.draw();
    });
  }

  async #older(id) {
    try {
      await this.#palabre.older(id);
      return true;
    } catch (error) {
      toastError(error);
      return false;
    }
  }

  // What the person does

  async #copy(message) {
    try {
      await navigator.clipboard.writeText(message.content);
      toast(t('message.copied'));
    } catch (error) {
      toastError(error);
    }
  }

  async #remove(message) {
    if (!(await confirm(t('delete.title'), t('delete.lead'), t('delete.confirm')))) return;
    await this.#palabre.remove(message).catch(toastError);
  }

  /** Nothing of this person stays on this device. */
  #signOut() {
    this.#palabre.forget();
    history.replaceState(null, '', address(null));
    this.#leave();
  }

  #leave(code = null) {
    this.#stop.abort();
    cancelAnimationFrame(this.#frame);
    showStatus('idle');
    this.#ended(code);
  }
}

/** The address of a conversation on this page, or of the page itself. */
export function address(conversation) {
  return (
    location.pathname + location.search + (conversation ? `#conversation=${encodeURIComponent(conversation)}` : '')
  );
}
