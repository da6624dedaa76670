import { t } from '../i18n/index.js';
import { avatar } from './avatar.js';
import { h } from './dom.js';
import { icon } from './icons.js';
import { errorText, nameOf, roleText } from './words.js';

const WAIT_MS = 180;

/** Find people and choose some of them. */
export class PeoplePicker {
  element = h('div', { class: 'picker' });

  #palabre;
  #excluded;
  #changed;
  #chosen = new Map();
  #asked = 0;
  #timer;
  #search = h('input', {
    class: 'input',
    type: 'search',
    autocomplete: 'off',
    spellcheck: 'false',
    dir: 'auto',
    placeholder: t('people.search'),
    'aria-label': t('people.search'),
  });
  #chips = h('ul', { class: 'chips', 'aria-label': t('people.chosen') });
  #results = h('ul', { class: 'results' });
  #note = h('p', { class: 'picker-note', role: 'status' });

  /** `excluded`: ids not to be shown. `changed(people)` is told who is chosen. */
  constructor(palabre, { excluded = [], changed }) {
    this.#palabre = palabre;
    this.#excluded = new Set([...excluded, palabre.me?.id]);
    this.#changed = changed;
    this.#search.addEventListener('input', () => this.#later());
    this.#search.addEventListener('keydown', (event) => this.#onKey(event));
    this.element.append(
      h('div', { class: 'search' }, icon('search'), this.#search),
      this.#chips,
      this.#results,
      this.#note,
    );
    this.#draw();
    this.#find();
  }

  get chosen() {
    return [...this.#chosen.values()];
  }

  focus() {
    this.#search.focus();
  }

  /** What went wrong with what the choice was for. */
  say(text) {
    this.#note.textContent = text;
  }

  /** Backspace in the empty field takes the last one back, as in fields for addresses. */
  #onKey(event) {
    if (event.key !== 'Backspace' || this.#search.value !== '' || this.#chosen.size === 0) return;
    this.#choose(this.chosen.at(-1), false);
  }

  #later() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#find(), WAIT_MS);
  }

  async #find() {
    const asked = (this.#asked += 1);
    try {
      const people = await this.#palabre.searchPeople(this.#search.value.trim());
      if (asked === this.#asked) this.#show(people.filter((user) => !this.#excluded.has(user.id)));
    } catch (error) {
      if (asked === this.#asked) this.say(errorText(error));
    }
  }

  #show(people) {
    this.#results.replaceChildren(...people.map((user) => this.#option(user)));
    this.say(people.length === 0 ? t('people.none') : '');
  }

  #option(user) {
    const box = h('input', { type: 'checkbox', checked: this.#chosen.has(user.id), 'data-user': user.id });
    box.addEventListener('change', () => this.#choose(user, box.checked));
    const role = user.role ? h('span', { class: 'person-role' }, roleText(user.role)) : null;
    const words = h(
      'span',
      { class: 'person-words' },
      h('span', { class: 'person-name', dir: 'auto' }, nameOf(user)),
      role,
    );
    return h(
      'li',
      {},
      h('label', { class: 'person is-choice' }, box, avatar(user, 'medium'), words, icon('check', 'icon person-check')),
    );
  }

  #choose(user, isChosen) {
    if (isChosen) this.#chosen.set(user.id, user);
    else this.#chosen.delete(user.id);
    const box = [...this.#results.querySelectorAll('input')].find((one) => one.dataset.user === user.id);
    if (box) box.checked = isChosen;
    this.#draw();
  }

  #draw() {
    this.#chips.replaceChildren(...this.chosen.map((user) => this.#chip(user)));
    this.#chips.hidden = this.#chosen.size === 0;
    this.#changed(this.chosen);
  }

  #chip(user) {
    const drop = () => {
      this.#choose(user, false);
      this.#search.focus();
    };
    const label = t('people.drop', { name: nameOf(user) });
    const button = h(
      'button',
      { class: 'chip', type: 'button', 'aria-label': label, onclick: drop },
      nameOf(user),
      icon('close'),
    );
    return h('li', {}, button);
  }
}
