import { t } from './i18n/index.js';
import { Notifications } from './notifications.js';
import { forDevice } from './storage.js';
import { Departures } from './uploads.js';
import { io } from './vendor/socket.io.esm.min.js';
import { AboutDialog } from './views/about.js';
import { openAccountMenu } from './views/account.js';
import { choose, closeDialogs } from './views/dialog.js';
import { h } from './views/dom.js';
import { ListView } from './views/list.js';
import { closeMenu, openMenu } from './views/menu.js';
import { announce, noticeElements, showStatus, toast, toastError } from './views/notices.js';
import { optionsOf } from './views/options.js';
import { newConversationDialog } from './views/people.js';
import { ThreadView } from './views/thread.js';
import { count, nameOf, senderOf, textOf } from './views/words.js';
import { Palabre } from '/web/client/palabre.js';

/** The page of one person: a client, two panes, and what happens between them. */
export class Chat {
  #palabre;
  #departures;
  #notifications;
  #ended;
  #list;
  #thread;
  #loadingLists = new Set(); // of the open ones and of the archived ones
  #frame = null;
  #stop = new AbortController();

  /** `ended(code)` is told when the session is over; no code: the person left. */
  constructor(token, ended) {
    this.#ended = ended;
    this.#palabre = new Palabre({ io, token, storage: forDevice });
    this.#departures = new Departures(this.#palabre, () => this.#redraw());
    this.#notifications = new Notifications(this.#palabre, (id) => this.#go(id));
    this.#list = new ListView(this.#palabre, this.#listActions);
    this.#thread = new ThreadView(this.#palabre, this.#departures, this.#threadActions);
  }

  start() {
    const skip = h('a', { class: 'skip', href: '#thread', onclick: (event) => this.#skip(event) }, t('app.skip'));
    const panes = h('div', { class: 'panes' }, this.#list.element, this.#thread.element);
    document.body.replaceChildren(skip, panes, ...noticeElements);
    this.#listen();
    this.#follow(this.#wished);
    this.#palabre.connect();
  }

  get #listActions() {
    return {
      open: (id) => this.#go(id),
      reveal: (id, seq) => this.#reveal(id, seq),
      talkTo: (userId) => this.#talkTo(userId),
      startNew: () => this.#startNew(),
      more: ({ archived }) => this.#loadList(archived),
      menu: (anchor, conversation, point) => openMenu(anchor, this.#options(conversation), point),
      account: (button) =>
        openAccountMenu(button, this.#palabre, this.#notifications, {
          archive: () => this.#list.showArchive(true),
          signOut: () => this.#signOut(),
        }),
    };
  }

  get #threadActions() {
    return {
      back: () => this.#back(),
      open: (id) => this.#load(id),
      older: (id) => this.#older(id),
      startNew: () => this.#startNew(),
      about: (id) => this.#about(id),
      options: (button, id) => openMenu(button, this.#options(this.#palabre.store.conversation(id))),
      copy: (message) => this.#copy(message),
      remove: (message, rights) => this.#remove(message, rights),
      save: (message, text) => this.#palabre.edit(message, text).catch(toastError),
    };
  }

  #listen() {
    const { signal } = this.#stop;
    const on = (type, listener) => this.#palabre.addEventListener(type, ({ detail }) => listener(detail), { signal });
    const retry = () => this.#palabre.connect();
    on('ready', ({ again }) => this.#onReady(again));
    for (const type of ['change', 'presence']) on(type, () => this.#redraw());
    on('message', ({ message }) => this.#onMessage(message));
    on('status', ({ status }) => status !== 'online' && showStatus(status, retry));
    on('expiring', () => toast(t('session.expiring')));
    on('closed', ({ code }) => this.#leave(code));
    const listen = (target, type, listener) => target.addEventListener(type, listener, { signal });
    listen(window, 'popstate', () => this.#follow(this.#wished));
    for (const type of ['pointerdown', 'keydown', 'focus']) listen(window, type, () => this.#palabre.stir());
    listen(window, 'focus', () => this.#noteSeen());
    listen(document, 'visibilitychange', () => this.#noteSeen());
    listen(window, 'online', () => {
      showStatus(this.#palabre.status, retry);
      if (!this.#palabre.isOnline) retry();
    });
    listen(window, 'offline', () => showStatus('reconnecting', retry));
    listen(window, 'keydown', (event) => this.#onKey(event));
    listen(window, 'beforeunload', (event) => !this.#departures.isEmpty && event.preventDefault());
    // A file that misses the conversation must not replace the page.
    for (const type of ['dragover', 'drop']) listen(window, type, (event) => event.preventDefault());
  }

  #onKey(event) {
    const isSearch = event.key === 'k' && (event.ctrlKey || event.metaKey) && !event.shiftKey && !event.altKey;
    if (!isSearch || document.querySelector('dialog[open]')) return;
    event.preventDefault();
    if (this.#thread.id && !this.#list.element.offsetParent) this.#back();
    requestAnimationFrame(() => this.#list.focusSearch());
  }

  // Where we are: the address says which conversation, so that reload, back and forward do what one expects.

  get #wished() {
    return new URLSearchParams(location.hash.slice(1)).get('conversation');
  }

  #go(id) {
    if (id !== this.#thread.id) history.pushState({ inside: true }, '', address(id));
    this.#follow(id);
    this.#thread.focus();
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
    closeMenu();
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
    this.#departures.resume();
    this.#thread.resume();
    if (!again) await this.#loadList(false);
    if (this.#thread.id) await this.#load(this.#thread.id);
    this.#redraw();
  }

  async #loadList(archived) {
    if (this.#loadingLists.has(archived)) return;
    this.#loadingLists.add(archived);
    let state = 'ready';
    try {
      await (archived ? this.#palabre.listArchived() : this.#palabre.list());
    } catch {
      state = 'failed';
    }
    this.#loadingLists.delete(archived);
    if (this.#list.isArchive === archived) this.#list.state = state;
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
    if (!document.hasFocus() || message.conversation_id !== this.#thread.id) this.#notifications.tell(message);
    if (message.conversation_id !== this.#thread.id || message.type === 'system') return;
    const { store } = this.#palabre;
    announce(t('thread.announce', { name: nameOf(senderOf(store, message)), text: textOf(store, message) }));
  }

  #noteSeen() {
    this.#thread.noteSeen();
    if (document.hasFocus() && this.#thread.id) this.#notifications.seen(this.#thread.id);
  }

  /** Views once per frame; the title also while nobody looks. */
  #redraw() {
    const unread = this.#palabre.unreadTotal;
    document.title = unread > 0 ? `(${count(unread)}) ${t('app.name')}` : t('app.name');
    this.#frame ??= requestAnimationFrame(() => {
      this.#frame = null;
      this.#list.draw();
      this.#thread.draw();
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

  /** Open a conversation at a message, however long ago that was. */
  async #reveal(id, seq) {
    this.#go(id);
    try {
      await this.#palabre.open(id);
      await this.#palabre.older(id, { toSeq: seq });
    } catch (error) {
      return toastError(error);
    }
    if (this.#thread.id !== id) return;
    this.#thread.state = 'ready';
    this.#thread.reveal(seq);
  }

  // What the person does

  #startNew() {
    newConversationDialog(this.#palabre, (id) => this.#go(id));
  }

  async #talkTo(userId) {
    try {
      this.#go((await this.#palabre.createDirect(userId)).id);
    } catch (error) {
      toastError(error);
    }
  }

  #about(id) {
    new AboutDialog(this.#palabre, id, { left: (left) => this.#left(left), talkTo: (userId) => this.#talkTo(userId) });
  }

  #options(conversation) {
    return optionsOf(this.#palabre, conversation, { about: (id) => this.#about(id), left: (id) => this.#left(id) });
  }

  #left(id) {
    toast(t('leave.done'));
    if (id !== this.#thread.id) return;
    history.replaceState(null, '', address(null));
    this.#follow(null);
    this.#list.focus();
  }

  async #copy(message) {
    try {
      await navigator.clipboard.writeText(message.content);
      toast(t('message.copied'));
    } catch {
      toast(t('message.notCopied'));
    }
  }

  async #remove(message, rights) {
    const everyone = { value: 'everyone', label: t('delete.everyone'), isDanger: true };
    const me = { value: 'me', label: t('delete.me'), isDanger: !rights.erase };
    const choices = [rights.erase && everyone, rights.hide && me].filter(Boolean);
    const answer = await choose(t('delete.title'), t(rights.erase ? 'delete.lead' : 'delete.leadMe'), choices);
    if (answer === 'everyone') await this.#palabre.remove(message).catch(toastError);
    if (answer === 'me') await this.#palabre.hide(message).catch(toastError);
    this.#thread.focus();
  }

  /** Nothing of this person stays on this device. */
  #signOut() {
    this.#palabre.forget();
    history.replaceState(null, '', address(null));
    this.#leave();
  }

  #leave(code = null) {
    this.#stop.abort();
    this.#departures.clear();
    cancelAnimationFrame(this.#frame);
    closeMenu();
    closeDialogs();
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
