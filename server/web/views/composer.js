import { t } from '../i18n/index.js';
import { h } from './dom.js';
import { icon } from './icons.js';

const TALLEST_PX = 176; // seven lines
const WARN_CHARS = 200; // characters left at which the counter appears
const DEFAULT_MOST = 10_000;

/** Where one writes. Enter sends, Shift+Enter breaks the line, Esc leaves editing, Up in an empty field edits the last one. */
export class Composer {
  element;

  #palabre;
  #actions;
  #id = null;
  #editing = null;
  #drafts = new Map();
  #canWrite = true;

  #field = h('textarea', {
    rows: '1',
    dir: 'auto',
    'aria-label': t('composer.label'),
    placeholder: t('composer.label'),
  });
  #send = h(
    'button',
    { class: 'send', type: 'submit', 'aria-label': t('composer.send'), title: t('composer.send') },
    icon('send'),
  );
  #counter = h('p', { class: 'counter', 'aria-live': 'polite', hidden: true });
  #banner = h('div', { class: 'editing', hidden: true });
  #closed = h('p', { class: 'composer-closed', role: 'status', hidden: true });
  #form;

  /** `actions`: sent(), save(message, text), lastOwn(). */
  constructor(palabre, actions) {
    this.#palabre = palabre;
    this.#actions = actions;
    this.#form = h('form', { class: 'composer', onsubmit: (event) => this.#onSubmit(event) }, this.#field, this.#send);
    this.element = h('footer', { class: 'composer-pane' }, this.#banner, this.#counter, this.#form, this.#closed);
    this.#field.addEventListener('input', () => this.#onInput());
    this.#field.addEventListener('keydown', (event) => this.#onKey(event));
    this.#field.addEventListener('blur', () => this.#stopTyping());
  }

  enter(id) {
    this.#id = id;
    this.#fill(this.#drafts.get(id) ?? '');
  }

  leave() {
    this.#stopTyping();
    if (this.#editing) this.#stopEditing();
    else if (this.#id) this.#drafts.set(this.#id, this.#field.value);
    this.#id = null;
  }

  /** On a phone the keyboard would cover what one came to read. */
  focus() {
    if (window.matchMedia('(hover: hover)').matches) this.#field.focus();
  }

  draw(conversation) {
    const canWrite = conversation.canWrite;
    const isClosed = conversation.info?.is_active === false;
    this.#form.hidden = !canWrite;
    this.#closed.hidden = canWrite || !conversation.info;
    if (!this.#closed.hidden) this.#closed.replaceChildren(icon('lock'), t(this.#reason(conversation, isClosed)));
    if (this.#canWrite && !canWrite && this.#editing) this.#stopEditing();
    this.#canWrite = canWrite;
  }

  edit(message) {
    if (!this.#editing) this.#drafts.set(this.#id, this.#field.value);
    this.#editing = message;
    const cancel = h(
      'button',
      {
        class: 'icon-button',
        type: 'button',
        'aria-label': t('composer.cancelEdit'),
        onclick: () => this.#stopEditing(),
      },
      icon('close'),
    );
    this.#banner.hidden = false;
    this.#banner.replaceChildren(icon('edit'), h('span', {}, t('composer.editing')), cancel);
    this.#label('composer.save', 'check');
    this.#fill(message.content);
    this.#field.focus();
  }

  #reason(conversation, isClosed) {
    if (!conversation.isMember) return 'thread.gone';
    return isClosed ? 'composer.closed' : 'composer.readOnly';
  }

  #stopEditing() {
    this.#editing = null;
    this.#banner.hidden = true;
    this.#label('composer.send', 'send');
    this.#fill(this.#drafts.get(this.#id) ?? '');
    this.#field.focus();
  }

  #label(key, name) {
    this.#send.setAttribute('aria-label', t(key));
    this.#send.title = t(key);
    this.#send.replaceChildren(icon(name));
  }

  #fill(text) {
    this.#field.value = text;
    this.#fit();
  }

  #fit() {
    this.#field.style.height = 'auto';
    this.#field.style.height = `${Math.min(this.#field.scrollHeight, TALLEST_PX)}px`;
    const left = this.#left;
    this.#counter.hidden = left > WARN_CHARS;
    this.#counter.classList.toggle('is-over', left < 0);
    if (left <= WARN_CHARS)
      this.#counter.textContent = t(left < 0 ? 'composer.over' : 'composer.left', { count: Math.abs(left) });
    this.#send.disabled = this.#text === '' || left < 0;
  }

  get #text() {
    return this.#field.value.trim();
  }

  /** Characters are counted as the server does, by code point. */
  get #left() {
    return (this.#palabre.store.limits.message_chars || DEFAULT_MOST) - [...this.#field.value].length;
  }

  #onInput() {
    this.#fit();
    if (this.#editing) return;
    if (this.#text === '') this.#stopTyping();
    else this.#palabre.typing(this.#id, true);
  }

  #stopTyping() {
    if (this.#id) this.#palabre.typing(this.#id, false);
  }

  #onKey(event) {
    if (event.isComposing) return;
    if (event.key === 'Enter' && !event.shiftKey) this.#onSubmit(event);
    else if (event.key === 'Escape' && this.#editing) this.#stopEditing();
    else if (event.key === 'ArrowUp' && this.#field.value === '' && !this.#editing) this.#editLast(event);
  }

  #editLast(event) {
    const message = this.#actions.lastOwn();
    if (!message) return;
    event.preventDefault();
    this.edit(message);
  }

  #onSubmit(event) {
    event.preventDefault();
    const text = this.#text;
    if (text === '' || this.#left < 0 || !this.#canWrite) return;
    if (this.#editing) return this.#save(text);
    this.#palabre.send(this.#id, text);
    this.#drafts.delete(this.#id);
    this.#fill('');
    this.#field.focus();
    this.#actions.sent();
  }

  #save(text) {
    const message = this.#editing;
    this.#stopEditing();
    if (text !== message.content) this.#actions.save(message, text);
  }
}
