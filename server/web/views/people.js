import { has, t } from '../i18n/index.js';
import { avatar } from './avatar.js';
import { openDialog } from './dialog.js';
import { h } from './dom.js';
import { icon } from './icons.js';
import { errorText, nameOf } from './words.js';

const SEARCH_AFTER_MS = 180;

/** Find people and begin: one person is a direct conversation, several are a group. */
export class PeopleDialog {
  #palabre;
  #opened;
  #dialog;
  #chosen = new Map();
  #asked = 0;
  #timer;

  #search = h('input', {
    class: 'input',
    type: 'search',
    autocomplete: 'off',
    dir: 'auto',
    placeholder: t('people.search'),
  });
  #chips = h('div', { class: 'chips' });
  #results = h('ul', { class: 'results' });
  #note = h('p', { class: 'dialog-lead', role: 'status' });
  #title = h('input', {
    class: 'input',
    type: 'text',
    dir: 'auto',
    maxlength: '200',
    placeholder: t('people.groupName'),
  });
  #submit = h('button', { class: 'primary-button', type: 'submit' });

  /** `opened(conversation)` is told when there is one. */
  constructor(palabre, opened) {
    this.#palabre = palabre;
    this.#opened = opened;
    this.#search.setAttribute('aria-label', t('people.search'));
    this.#title.setAttribute('aria-label', t('people.groupName'));
    this.#search.addEventListener('input', () => this.#later());
    const form = h(
      'form',
      { class: 'people', onsubmit: (event) => this.#start(event) },
      h('p', { class: 'dialog-lead' }, t('people.hint')),
      h('div', { class: 'search' }, icon('search'), this.#search),
      this.#chips,
      this.#results,
      this.#note,
      this.#title,
      h('footer', {}, this.#submit),
    );
    this.#dialog = openDialog(t('people.title'), form);
    this.#search.focus();
    this.#draw();
    this.#find();
  }

  #later() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#find(), SEARCH_AFTER_MS);
  }

  async #find() {
    const asked = (this.#asked += 1);
    try {
      const people = await this.#palabre.people(this.#search.value.trim());
      if (asked === this.#asked) this.#show(people.filter((user) => user.id !== this.#palabre.me?.id));
    } catch (error) {
      if (asked === this.#asked) this.#note.textContent = errorText(error);
    }
  }

  #show(people) {
    this.#results.replaceChildren(...people.map((user) => this.#option(user)));
    this.#note.textContent = people.length === 0 ? t('people.none') : '';
  }

  #option(user) {
    const box = h('input', { type: 'checkbox', checked: this.#chosen.has(user.id) });
    box.addEventListener('change', () => this.#choose(user, box.checked));
    box.dataset.user = user.id;
    const role = user.role
      ? h('span', { class: 'person-role' }, has(`role.${user.role}`) ? t(`role.${user.role}`) : user.role)
      : null;
    const name = h('span', { class: 'person-name', dir: 'auto' }, nameOf(user));
    return h(
      'li',
      {},
      h('label', { class: 'person' }, box, avatar(user, 'medium'), name, role, icon('check', 'icon person-check')),
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
    const people = [...this.#chosen.values()];
    this.#chips.replaceChildren(...people.map((user) => this.#chip(user)));
    this.#chips.hidden = people.length === 0;
    this.#title.hidden = people.length < 2;
    this.#submit.disabled = people.length === 0;
    if (people.length === 0) this.#submit.textContent = t('people.start');
    else if (people.length === 1) this.#submit.textContent = t('people.direct', { name: nameOf(people[0]) });
    else this.#submit.textContent = t('people.group', { count: people.length + 1 });
  }

  #chip(user) {
    const drop = () => this.#choose(user, false);
    return h('button', { class: 'chip', type: 'button', onclick: drop }, nameOf(user), icon('close'));
  }

  async #start(event) {
    event.preventDefault();
    const people = [...this.#chosen.keys()];
    if (people.length === 0) return;
    this.#submit.disabled = true;
    const title = this.#title.value.trim();
    const group = { type: 'group', participant_ids: people, ...(title && { title }) };
    try {
      const fields = people.length === 1 ? { type: 'direct', participant_ids: people } : group;
      const conversation = await this.#palabre.create(fields);
      this.#dialog.close();
      this.#opened(conversation);
    } catch (error) {
      this.#note.textContent = errorText(error);
      this.#submit.disabled = false;
    }
  }
}
