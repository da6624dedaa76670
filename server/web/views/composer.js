import { t } from '../i18n/index.js';
import { h } from './dom.js';
import { icon } from './icons.js';
import { Tray } from './tray.js';

const TALLEST_PX = 176; // seven lines
const WARN_CHARS = 200; // characters left at which the counter appears
const DEFAULT_MOST = 10_000;

/**
 * Where one writes and adds files. Enter sends, Shift+Enter breaks the line, Esc leaves editing, Up in an empty field edits
 * one's last message.
 */
export class Composer {
  element;

  #palabre;
  #actions;
  #id = null;
  #editing = null;
  #drafts = new Map(); // conversation id -> {text, uploads}
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
  #picker = h('input', { type: 'file', multiple: true, hidden: true, tabIndex: -1 });
  #attach = h(
    'button',
    {
      class: 'icon-button attach',
      type: 'button',
      'aria-label': t('composer.attach'),
      title: t('composer.attach'),
      onclick: () => this.#picker.click(),
    },
    icon('attach'),
  );
  #counter = h('p', { class: 'counter', 'aria-live': 'polite', hidden: true });
  #problem = h('p', { class: 'composer-problem', role: 'alert', hidden: true });
  #banner = h('div', { class: 'editing', hidden: true });
  #closed = h('p', { class: 'composer-closed', role: 'status', hidden: true });
  #form;
  #tray;

  /** `actions`: send(id, text, uploads), sent(), save(message, text), lastOwn(). */
  constructor(palabre, actions) {
    this.#palabre = palabre;
    this.#actions = actions;
    this.#tray = new Tray(palabre, { changed: () => this.#judge(), problem: (text) => this.#say(text) });
    const box = h('div', { class: 'composer-box' }, this.#attach, this.#field, this.#send);
    const onSubmit = (event) => this.#onSubmit(event);
    this.#form = h(
      'form',
      { class: 'composer', onsubmit: onSubmit },
      this.#banner,
      this.#tray.element,
      box,
      this.#picker,
    );
    this.element = h('footer', { class: 'composer-pane' }, this.#problem, this.#counter, this.#form, this.#closed);
    this.#field.addEventListener('input', () => this.#onInput());
    this.#field.addEventListener('keydown', (event) => this.#onKey(event));
    this.#field.addEventListener('blur', () => this.#stopTyping());
    this.#picker.addEventListener('change', () => {
      this.addFiles([...this.#picker.files]);
      this.#picker.value = '';
    });
  }

  enter(id) {
    this.#id = id;
    this.#restore();
  }

  leave() {
    this.#stopTyping();
    if (this.#editing) this.#endEditing();
    this.#keepDraft();
    this.#say('');
    this.#id = null;
  }

  /** On a phone the keyboard would cover what one came to read: there this answers false. */
  focus() {
    const isPointed = window.matchMedia('(hover: hover)').matches;
    if (isPointed && !this.#form.hidden) this.#field.focus();
    return isPointed;
  }

  draw(conversation) {
    const canWrite = conversation.canWrite;
    const isClosed = conversation.info?.is_active === false;
    this.#form.hidden = !canWrite;
    this.#closed.hidden = canWrite || !conversation.info;
    if (!this.#closed.hidden) this.#closed.replaceChildren(icon('lock'), t(reason(conversation, isClosed)));
    if (this.#canWrite && !canWrite && this.#editing) this.#endEditing();
    this.#canWrite = canWrite;
    this.#attach.hidden = !this.canTakeFiles;
    this.#judge();
  }

  get canTakeFiles() {
    return this.#canWrite && !this.#editing && this.#palabre.store.features.includes('uploads');
  }

  addFiles(files) {
    if (!this.canTakeFiles || files.length === 0) return;
    this.#tray.add(files);
    this.focus();
  }

  /** There is a connection again. */
  resume() {
    this.#tray.resume();
    for (const { uploads } of this.#drafts.values())
      for (const upload of uploads) if (upload.isStranded) upload.start();
  }

  edit(message) {
    if (!this.#editing) this.#keepDraft();
    this.#tray.hold([]);
    this.#editing = message;
    const label = t('composer.cancelEdit');
    const cancel = h(
      'button',
      { class: 'icon-button', type: 'button', 'aria-label': label, title: label, onclick: () => this.#stopEditing() },
      icon('close'),
    );
    this.#banner.hidden = false;
    this.#banner.replaceChildren(icon('edit'), h('span', {}, t('composer.editing')), cancel);
    this.#label('composer.save', 'check');
    this.#attach.hidden = true;
    this.#fill(message.content);
    this.#field.focus();
  }

  #stopEditing() {
    this.#endEditing();
    this.#field.focus();
  }

  #endEditing() {
    this.#editing = null;
    this.#banner.hidden = true;
    this.#label('composer.send', 'send');
    this.#attach.hidden = !this.canTakeFiles;
    this.#restore();
  }

  #keepDraft() {
    if (!this.#id || this.#editing) return;
    const draft = { text: this.#field.value, uploads: this.#tray.uploads };
    if (draft.text === '' && draft.uploads.length === 0) this.#drafts.delete(this.#id);
    else this.#drafts.set(this.#id, draft);
  }

  #restore() {
    const { text, uploads } = this.#drafts.get(this.#id) ?? { text: '', uploads: [] };
    this.#tray.hold(uploads);
    this.#fill(text);
  }

  #label(key, name) {
    this.#send.setAttribute('aria-label', t(key));
    this.#send.title = t(key);
    this.#send.replaceChildren(icon(name));
  }

  #say(text) {
    this.#problem.hidden = text === '';
    if (this.#problem.textContent !== text) this.#problem.textContent = text;
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
    this.#judge();
  }

  /** What could be sent now, if anything. */
  #judge() {
    this.#send.disabled = !this.#isSendable;
  }

  get #isSendable() {
    const hasSomething = this.#text !== '' || (!this.#editing && this.#tray.uploads.length > 0);
    const isRefused = this.#tray.uploads.some((upload) => upload.state === 'failed' && !upload.isStranded);
    return hasSomething && !isRefused && this.#left >= 0 && this.#canWrite;
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
    if (!this.#isSendable) return;
    const text = this.#text;
    if (this.#editing) return this.#save(text);
    const uploads = this.#tray.take();
    this.#drafts.delete(this.#id);
    this.#say('');
    this.#actions.send(this.#id, text, uploads);
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

function reason(conversation, isClosed) {
  if (!conversation.isMember) return 'thread.gone';
  return isClosed ? 'composer.closed' : 'composer.readOnly';
}
