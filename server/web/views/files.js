import { blurred } from '../blurhash.js';
import { t } from '../i18n/index.js';
import { h } from './dom.js';
import { icon } from './icons.js';
import { toast } from './notices.js';
import { bytes, errorText, uploadErrorText } from './words.js';

const SINGLE_PX = 320; // the longer side of a picture alone; its shape is kept
const LEAST_PX = 96;
const MOST_IN_GRID = 4; // the last one says how many more there are
const ANIMATED = new Set(['image/gif', 'image/apng']);
const NEAR = '600px'; // a picture is fetched when it is this close to the window

/** The files inside of bubbles. What was built for a message is kept, so that a new tick does not load its pictures again. */
export class Files {
  #palabre;
  #departures;
  #view;
  #built = new Map(); // row key -> {signature, element}
  #watched = new WeakMap(); // element -> what to do when it comes near
  #observer;

  /** `view(attachment)` opens the viewer at a picture. */
  constructor(palabre, departures, view) {
    this.#palabre = palabre;
    this.#departures = departures;
    this.#view = view;
    this.#observer = new IntersectionObserver((entries) => this.#onSight(entries), { rootMargin: NEAR });
  }

  /** Another conversation is shown. */
  clear() {
    this.#built.clear();
    this.#observer.disconnect();
  }

  /** The element for `{key, files, uploads}`, or null when there are none. */
  of({ key, files, uploads }) {
    if (!uploads && files.length === 0) return null;
    const signature = uploads
      ? uploads.map((upload) => [upload.id, upload.state, upload.preview]).join()
      : files.map((file) => `${file.id} ${file.state}`).join();
    const kept = this.#built.get(key);
    if (kept?.signature === signature) return kept.element;
    const shown = uploads ? uploads.map(uploadFacts) : files.map((file) => this.#facts(file));
    const element = this.#build(shown);
    this.#built.set(key, { signature, element });
    return element;
  }

  #facts(attachment) {
    const { kind, name, size, width, height, blurhash, state } = attachment;
    return { kind: state === 'blocked' ? 'file' : kind, name, size, width, height, blurhash, attachment };
  }

  #build(shown) {
    const pictures = shown.filter((file) => file.kind === 'image');
    const others = shown.filter((file) => file.kind !== 'image');
    return h(
      'div',
      { class: 'files' },
      pictures.length > 0 ? this.#gallery(pictures) : null,
      others.map((file) => this.#card(file)),
    );
  }

  // Pictures

  #gallery(pictures) {
    if (pictures.length === 1) return h('div', { class: 'pictures is-single' }, this.#picture(pictures[0], true));
    const hidden = pictures.length - MOST_IN_GRID;
    const shown = pictures.slice(0, MOST_IN_GRID).map((file) => this.#picture(file, false));
    if (hidden > 0) shown.at(-1).append(h('span', { class: 'picture-more', 'aria-hidden': 'true' }, `+${hidden}`));
    return h('div', { class: `pictures is-grid${shown.length === 3 ? ' is-three' : ''}` }, shown);
  }

  #picture(file, isSingle) {
    const frame = file.upload ? h('div', { class: 'picture' }) : this.#opener(file);
    if (isSingle) fit(frame, file);
    const placeholder = file.blurhash ? blurred(file.blurhash) : null;
    if (placeholder) frame.append(placeholder);
    const image = h('img', { alt: file.name, draggable: 'false', decoding: 'async' });
    image.addEventListener('load', () => frame.classList.add('is-loaded'));
    frame.append(image);
    if (file.upload) {
      image.src = file.upload.preview;
      frame.append(progressOf(file.upload));
    } else this.#load(frame, image, file.attachment, isSingle);
    return frame;
  }

  #opener(file) {
    const label = t('picture.open', { name: file.name });
    return h('button', {
      class: 'picture',
      type: 'button',
      'aria-label': label,
      onclick: () => this.#view(file.attachment),
    });
  }

  #load(frame, image, attachment, isSingle) {
    const own = this.#departures.previewOf(attachment);
    if (own) return void (image.src = own);
    const fetch = async () => {
      frame.classList.remove('is-broken');
      try {
        image.src = await this.#palabre.fileUrl(attachment, sizeFor(attachment, isSingle));
      } catch {
        this.#broke(frame, fetch);
      }
    };
    image.addEventListener('error', () => this.#broke(frame, fetch));
    this.#watched.set(frame, fetch);
    this.#observer.observe(frame);
  }

  #onSight(entries) {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      this.#observer.unobserve(target);
      this.#watched.get(target)?.();
    }
  }

  /** A press tries again: the connection may have been away. */
  #broke(frame, again) {
    if (frame.classList.contains('is-broken')) return;
    frame.classList.add('is-broken');
    const note = h('span', { class: 'picture-note' }, icon('retry'), t('picture.failed'));
    const name = frame.getAttribute('aria-label');
    frame.append(note);
    frame.setAttribute('aria-label', `${t('picture.failed')}: ${name}`);
    const retry = (event) => {
      event.preventDefault();
      event.stopImmediatePropagation();
      note.remove();
      frame.setAttribute('aria-label', name);
      again();
    };
    frame.addEventListener('click', retry, { capture: true, once: true });
  }

  // Other files

  #card(file) {
    if (file.upload) return uploadCard(file);
    const { attachment, name, size } = file;
    const isBlocked = attachment.state === 'blocked';
    const detail = isBlocked ? t('file.blocked') : bytes(size ?? 0);
    return h(
      'button',
      {
        class: 'file',
        type: 'button',
        disabled: isBlocked,
        'aria-label': `${t('file.download', { name })} ${detail}`,
        onclick: () => save(this.#palabre, attachment),
      },
      sign(name),
      words(name, detail),
      icon(isBlocked ? 'lock' : 'download', 'icon file-get'),
    );
  }
}

/** Bring a file to the device, under its own name. */
export async function save(palabre, attachment) {
  try {
    const link = h('a', { href: await palabre.fileUrl(attachment), download: attachment.name });
    document.body.append(link);
    link.click();
    link.remove();
  } catch (error) {
    toast(errorText(error));
  }
}

/** A picture before it is sent, or while it is: how far it is, and a way to stop it. */
export function progressOf(upload) {
  const circle = h('span', {
    class: 'ring',
    role: 'progressbar',
    'aria-valuemin': '0',
    'aria-valuemax': '100',
    'aria-label': t('upload.progress', { name: upload.file.name }),
  });
  const draw = () => {
    const percent = Math.round(upload.fraction * 100);
    circle.style.setProperty('--done', `${percent}%`);
    circle.setAttribute('aria-valuenow', String(percent));
    circle.hidden = upload.state !== 'uploading';
  };
  upload.addEventListener('progress', draw);
  upload.addEventListener('change', draw);
  draw();
  return circle;
}

/** A name that keeps its ending in sight, and something about the file. */
export function words(name, detail) {
  const dot = name.lastIndexOf('.');
  const [stem, end] = dot > 0 && name.length - dot <= 6 ? [name.slice(0, dot), name.slice(dot)] : [name, ''];
  return h(
    'span',
    { class: 'file-words' },
    h(
      'span',
      { class: 'file-name', title: name },
      h('span', { class: 'file-stem', dir: 'auto' }, stem),
      h('span', {}, end),
    ),
    ' ',
    h('span', { class: 'file-detail' }, detail),
  );
}

/** A sheet of paper with the ending of a name on it: decoration, the name stands beside it. */
export function sign(name) {
  const [, end] = /\.([\p{L}\p{N}]{1,4})$/u.exec(name) ?? [];
  return h('span', { class: 'file-sign', 'aria-hidden': 'true', 'data-ending': end }, icon('file'));
}

function uploadCard({ upload, name, size }) {
  const detail = upload.state === 'failed' ? uploadErrorText(upload.error) : bytes(size);
  return h('div', { class: 'file' }, sign(name), words(name, detail), progressOf(upload));
}

function uploadFacts(upload) {
  const { kind, file, width, height } = upload;
  return { kind, name: file.name, size: file.size, width, height, upload };
}

/** The room a picture takes is known before it is there, so that nothing moves when it arrives. */
function fit(frame, { width, height }) {
  const [w, h] = width && height ? [width, height] : [4, 3];
  const scale = Math.min(1, SINGLE_PX / Math.max(w, h), (SINGLE_PX * 1.25) / h);
  frame.style.width = `${Math.max(LEAST_PX, Math.round(w * scale))}px`;
  frame.style.aspectRatio = `${Math.max(w, h / 3)} / ${Math.max(h, w / 3)}`;
}

/** Thumbnails stand still: what moves is fetched whole, unless the person wants no motion. */
function sizeFor({ content_type: type, thumbnails = [] }, isSingle) {
  const mayMove = !window.matchMedia('(prefers-reduced-motion: reduce)').matches;
  if (thumbnails.length === 0 || (ANIMATED.has(type) && mayMove)) return undefined;
  return isSingle && window.devicePixelRatio > 1 ? 960 : 320;
}
