import { t } from '../i18n/index.js';
import { Upload } from '../uploads.js';
import { h, spoken } from './dom.js';
import { progressOf, sign, words } from './files.js';
import { icon } from './icons.js';
import { bytes, uploadErrorText } from './words.js';

/** The files of a message that is being written; they are on their way to the server already. */
export class Tray {
  element = h('ul', { class: 'tray', 'aria-label': t('tray.label'), hidden: true });

  #palabre;
  #changed;
  #uploads = [];
  #problem;

  /** `changed()`: a file came, went or got further; `problem(text)`: one could not be taken. */
  constructor(palabre, { changed, problem }) {
    this.#palabre = palabre;
    this.#changed = changed;
    this.#problem = problem;
  }

  get uploads() {
    return this.#uploads;
  }

  /** Show these files instead, of a message that was begun earlier. */
  hold(uploads) {
    this.#uploads = uploads;
    this.#draw();
  }

  add(files) {
    const { attachments_per_message: most = 10, attachment_bytes: largest = Infinity } = this.#palabre.store.limits;
    const fitting = files.filter((file) => file.size <= largest);
    const tooLarge = files.find((file) => file.size > largest);
    const room = most - this.#uploads.length;
    if (tooLarge) this.#problem(t('tray.tooLarge', { name: tooLarge.name, size: bytes(largest) }));
    else if (fitting.length > room) this.#problem(t('tray.tooMany', { count: most }));
    else this.#problem('');
    const added = fitting.slice(0, room).map((file) => this.#begin(file));
    this.hold([...this.#uploads, ...added]);
    this.#changed();
  }

  /** There is a connection again. */
  resume() {
    for (const upload of this.#uploads) if (upload.isStranded) upload.start();
  }

  /** Give the files away: they are somebody else's to finish. */
  take() {
    const uploads = this.#uploads;
    this.hold([]);
    return uploads;
  }

  #begin(file) {
    const upload = new Upload(this.#palabre, file);
    upload.addEventListener('change', () => {
      if (!this.#uploads.includes(upload)) return;
      this.#draw();
      this.#changed();
    });
    return upload;
  }

  #drop(upload) {
    const at = this.#uploads.indexOf(upload);
    upload.cancel();
    upload.release();
    this.hold(this.#uploads.filter((one) => one !== upload));
    this.#changed();
    const buttons = this.element.querySelectorAll('.tray-drop');
    buttons[Math.min(at, buttons.length - 1)]?.focus();
  }

  #draw() {
    const focused = document.activeElement?.closest?.('.tray-item')?.dataset.upload;
    this.element.hidden = this.#uploads.length === 0;
    this.element.replaceChildren(...this.#uploads.map((upload) => this.#item(upload)));
    if (focused)
      [...this.element.children]
        .find((item) => item.dataset.upload === focused)
        ?.querySelector('.tray-drop')
        .focus();
  }

  #item(upload) {
    const { file, state } = upload;
    const isPicture = upload.preview !== null;
    const isFailed = state === 'failed';
    const detail = isFailed ? uploadErrorText(upload.error) : bytes(file.size);
    const drop = t('tray.remove', { name: file.name });
    return h(
      'li',
      {
        class: `tray-item${isPicture && !isFailed ? ' is-picture' : ''}${isFailed ? ' is-failed' : ''}`,
        'data-upload': upload.id,
        title: file.name,
      },
      isPicture ? h('img', { class: 'tray-picture', src: upload.preview, alt: '' }) : sign(file.name),
      isPicture && !isFailed ? spoken(`${file.name} ${detail}`) : words(file.name, detail),
      this.#progress(upload),
      h(
        'button',
        { class: 'tray-drop', type: 'button', 'aria-label': drop, title: drop, onclick: () => this.#drop(upload) },
        icon('close'),
      ),
    );
  }

  /** Trying again makes sense when the way was the problem, not the file. */
  #progress(upload) {
    if (upload.state !== 'failed') return progressOf(upload);
    return upload.isStranded ? this.#retry(upload) : null;
  }

  #retry(upload) {
    const label = t('tray.retry', { name: upload.file.name });
    const props = {
      class: 'icon-button tray-retry',
      type: 'button',
      'aria-label': label,
      title: label,
      onclick: () => upload.start(),
    };
    return h('button', props, icon('retry'));
  }
}
