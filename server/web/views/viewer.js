import { blurred } from '../blurhash.js';
import { t } from '../i18n/index.js';
import { show } from './dialog.js';
import { h } from './dom.js';
import { save } from './files.js';
import { icon } from './icons.js';
import { brief, errorText, nameOf, senderOf } from './words.js';

const LARGE = 960;

/** All pictures of what is known of a conversation, one at a time over the whole window. Arrow keys go on, Esc goes back. */
export class Viewer {
  #palabre;
  #pictures; // {attachment, message}
  #index;
  #dialog;
  #asked = 0;
  #stage = h('div', { class: 'viewer-stage' });
  #caption = h('div', { class: 'viewer-caption', 'aria-live': 'polite' });
  #previous;
  #next;

  constructor(palabre, messages, attachment) {
    this.#palabre = palabre;
    this.#pictures = messages.flatMap((message) =>
      (message.attachments ?? []).filter((one) => one.kind === 'image').map((one) => ({ attachment: one, message })),
    );
    this.#index = Math.max(
      0,
      this.#pictures.findIndex((one) => one.attachment.id === attachment.id),
    );
    this.#previous = this.#button('back', 'viewer.previous', () => this.#go(-1), ' viewer-side is-previous');
    this.#next = this.#button('forward', 'viewer.next', () => this.#go(1), ' viewer-side is-next');
    const close = this.#button('close', 'dialog.close', () => this.#dialog.close());
    const download = this.#button('download', 'viewer.download', () => save(palabre, this.#current.attachment));
    const bar = h('header', { class: 'viewer-bar' }, this.#caption, download, close);
    this.#dialog = h(
      'dialog',
      { class: 'viewer', 'aria-label': t('viewer.title') },
      bar,
      this.#stage,
      this.#previous,
      this.#next,
    );
    this.#dialog.addEventListener('keydown', (event) => this.#onKey(event));
    this.#stage.addEventListener('click', (event) => event.target === this.#stage && this.#dialog.close());
    this.#swipe();
    show(this.#dialog);
    this.#draw();
    close.focus();
  }

  get #current() {
    return this.#pictures[this.#index];
  }

  #button(name, key, onclick, className = '') {
    const props = { class: `icon-button${className}`, type: 'button', 'aria-label': t(key), title: t(key), onclick };
    return h('button', props, icon(name));
  }

  #go(step) {
    const target = this.#index + step;
    if (target < 0 || target >= this.#pictures.length) return;
    this.#index = target;
    this.#draw();
  }

  #onKey(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step) return;
    event.preventDefault();
    this.#go(step);
  }

  #swipe() {
    let began = null;
    this.#stage.addEventListener(
      'pointerdown',
      ({ clientX, pointerType }) => (began = pointerType === 'touch' ? clientX : null),
    );
    this.#stage.addEventListener('pointerup', ({ clientX }) => {
      const moved = began === null ? 0 : clientX - began;
      if (Math.abs(moved) > 50) this.#go(moved < 0 ? 1 : -1);
    });
  }

  #draw() {
    const { attachment, message } = this.#current;
    const { store } = this.#palabre;
    const sender = senderOf(store, message);
    const who = sender?.id === store.me?.id ? t('message.you') : nameOf(sender);
    const total = this.#pictures.length;
    const place = total > 1 ? t('viewer.place', { number: this.#index + 1, total }) : null;
    const details = [brief(new Date(message.created_at)), place].filter(Boolean).join(' · ');
    this.#caption.replaceChildren(
      h('span', { class: 'viewer-name', dir: 'auto' }, `${who} · ${attachment.name}`),
      h('span', { class: 'viewer-detail' }, details),
    );
    const held = document.activeElement;
    this.#previous.hidden = this.#index === 0;
    this.#next.hidden = this.#index === total - 1;
    if (held?.hidden) this.#dialog.querySelector('.viewer-bar button').focus();
    this.#load(attachment);
  }

  async #load(attachment) {
    const asked = (this.#asked += 1);
    const { name, width, height, blurhash, thumbnails = [] } = attachment;
    const frame = h('div', { class: 'viewer-frame' });
    if (width && height) {
      frame.style.setProperty('--ratio', String(width / height));
      frame.style.setProperty('--width', `${width}px`);
    }
    const placeholder = blurred(blurhash);
    if (placeholder) frame.append(placeholder);
    const image = h('img', { alt: name, decoding: 'async', draggable: 'false' });
    frame.append(image);
    this.#stage.replaceChildren(frame);
    image.addEventListener('load', () => frame.classList.add('is-loaded'));
    try {
      if (thumbnails.some((one) => Math.max(one.width, one.height) >= LARGE)) {
        image.src = await this.#palabre.fileUrl(attachment, LARGE);
        await image.decode().catch(() => {});
      }
      const whole = new Image();
      whole.src = await this.#palabre.fileUrl(attachment);
      await whole.decode();
      if (asked === this.#asked) image.src = whole.src;
    } catch (error) {
      if (asked === this.#asked && !image.complete) this.#failed(error, attachment);
    }
  }

  #failed(error, attachment) {
    const words = error.code ? errorText(error) : t('picture.failed');
    const retry = h(
      'button',
      { class: 'quiet-button', type: 'button', onclick: () => this.#load(attachment) },
      t('list.retry'),
    );
    this.#stage.replaceChildren(h('div', { class: 'viewer-problem', role: 'alert' }, h('p', {}, words), retry));
  }
}
