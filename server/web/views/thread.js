import { t } from '../i18n/index.js';
import { rightsOn } from '../rights.js';
import { Composer } from './composer.js';
import { h } from './dom.js';
import { Files } from './files.js';
import { ThreadHeader } from './header.js';
import { HistoryView } from './history.js';
import { icon, mark } from './icons.js';
import { openMenu } from './menu.js';
import { readersDialog } from './readers.js';
import { Viewer } from './viewer.js';

/** The right pane: one conversation, or an invitation to pick one. */
export class ThreadView {
  element = h('main', { class: 'pane thread-pane', id: 'thread', tabindex: '-1' });

  #palabre;
  #departures;
  #actions;
  #id = null;
  #header;
  #history;
  #composer;
  #files;
  #drop = h('div', { class: 'drop', hidden: true }, icon('attach'), h('p', {}, t('drop.label')));

  /**
   * `actions`: back(), open(id), older(id) → whether it came, startNew(), about(id), options(button, id), copy(message),
   * remove(message), hide(message), save(message, text).
   */
  constructor(palabre, departures, actions) {
    this.#palabre = palabre;
    this.#departures = departures;
    this.#actions = actions;
    this.#files = new Files(palabre, departures, (attachment) => this.#view(attachment));
    this.#header = new ThreadHeader(palabre, {
      back: actions.back,
      about: () => actions.about(this.#id),
      menu: (button) => actions.options(button, this.#id),
    });
    this.#history = new HistoryView(palabre, departures, {
      ...actions,
      retry: (facts) => this.#retry(facts),
      discard: (facts) => this.#discard(facts),
      menu: (button, message, place) => this.#openMenu(button, message, place),
      files: (facts) => this.#files.of(facts),
      isLooking: () => this.#isLooking,
    });
    this.#composer = new Composer(palabre, {
      send: (id, text, uploads) => this.#send(id, text, uploads),
      sent: () => this.#history.sent(),
      save: actions.save,
      lastOwn: () => this.#lastEditable(),
    });
    this.#takeFiles();
    this.#showNothing();
  }

  get id() {
    return this.#id;
  }

  show(id) {
    this.#composer.leave();
    this.#files.clear();
    const hadNone = this.#id === null;
    this.#id = id;
    this.#history.show(id);
    if (!id) return this.#showNothing();
    if (hadNone)
      this.element.replaceChildren(this.#header.element, this.#history.element, this.#composer.element, this.#drop);
    this.#composer.enter(id);
    this.draw();
  }

  /** `loading`, `ready`, `failed`, or `gone`. */
  set state(state) {
    this.#history.state = state;
    this.draw();
  }

  draw() {
    if (!this.#id) return;
    this.#header.draw(this.#conversation);
    this.#history.draw();
    this.#composer.draw(this.#conversation);
  }

  noteSeen() {
    this.#history.noteSeen();
  }

  /** Go on where one would: to the field, or on a phone, where it would bring the keyboard, to the title. */
  focus() {
    if (this.#id && !this.#composer.focus()) this.#header.focus();
  }

  reveal(seq) {
    this.#history.reveal(seq);
  }

  /** There is a connection again. */
  resume() {
    this.#composer.resume();
  }

  get #conversation() {
    return this.#palabre.store.conversation(this.#id);
  }

  get #isLooking() {
    return document.visibilityState === 'visible' && document.hasFocus() && this.element.offsetParent !== null;
  }

  #showNothing() {
    const start = h(
      'button',
      { class: 'quiet-button', type: 'button', onclick: () => this.#actions.startNew() },
      t('list.new'),
    );
    const words = [h('p', { class: 'nothing-title' }, t('thread.none')), h('p', {}, t('thread.noneHint'))];
    this.element.replaceChildren(h('div', { class: 'nothing' }, mark(), words, start));
  }

  // Messages

  #send(id, text, uploads) {
    if (uploads.length > 0) this.#departures.add(id, text, uploads);
    else this.#palabre.send(id, text);
  }

  #retry({ key, uploads }) {
    if (uploads) this.#departures.retry(key);
    else this.#palabre.retry(key);
  }

  #discard({ key, uploads }) {
    if (uploads) this.#departures.discard(key);
    else this.#palabre.discard(key);
    this.focus();
  }

  #openMenu(button, message, place) {
    const rights = rightsOn(this.#palabre, this.#conversation, message);
    const isOwn = message.sender?.id === this.#palabre.me?.id;
    const remove = rights.erase || rights.hide;
    const entries = [
      message.content && { label: t('message.copy'), icon: 'copy', action: () => this.#actions.copy(message) },
      rights.edit && { label: t('message.edit'), icon: 'edit', action: () => this.#composer.edit(message) },
      isOwn && { label: t('message.info'), icon: 'info', action: () => readersDialog(this.#palabre, message) },
      remove && {
        label: t('message.delete'),
        icon: 'trash',
        action: () => this.#actions.remove(message, rights),
        isDanger: true,
      },
    ].filter(Boolean);
    if (entries.length > 0) openMenu(button, entries, place);
  }

  #lastEditable() {
    const message = this.#palabre
      .messages(this.#id)
      .findLast((one) => one.sender?.id === this.#palabre.me?.id && !one.is_deleted && one.type !== 'system');
    return message && rightsOn(this.#palabre, this.#conversation, message).edit ? message : null;
  }

  #view(attachment) {
    new Viewer(this.#palabre, this.#palabre.messages(this.#id), attachment);
  }

  // Files that are pasted, or dropped anywhere on the conversation

  #takeFiles() {
    const { element } = this;
    let depth = 0; // entering a child says so before the parent is left
    const show = (isOver) => (this.#drop.hidden = !isOver);
    const guarded = (act) => (event) => {
      if (!this.#id || !event.dataTransfer?.types.includes('Files')) return;
      event.preventDefault();
      act(event);
    };
    element.addEventListener(
      'dragenter',
      guarded(() => show((depth += 1) > 0 && this.#composer.canTakeFiles)),
    );
    element.addEventListener(
      'dragover',
      guarded(({ dataTransfer }) => (dataTransfer.dropEffect = 'copy')),
    );
    element.addEventListener(
      'dragleave',
      guarded(() => show((depth -= 1) > 0 && this.#composer.canTakeFiles)),
    );
    element.addEventListener(
      'drop',
      guarded(({ dataTransfer }) => {
        depth = 0;
        show(false);
        this.#composer.addFiles([...dataTransfer.files]);
      }),
    );
    element.addEventListener('paste', (event) => this.#onPaste(event));
  }

  /** Whoever copied cells or a formatted text wants the text, not the picture of it that comes along. */
  #onPaste(event) {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length === 0 || event.clipboardData.types.includes('text/plain')) return;
    event.preventDefault();
    this.#composer.addFiles(files);
  }
}
