import { t } from '../i18n/index.js';
import { avatar, faces } from './avatar.js';
import { h } from './dom.js';
import { icon } from './icons.js';
import { Roving } from './roving.js';
import { errorText, facesOf, nameOf, roleText, senderOf, stamp, titleOf } from './words.js';

const WAIT_MS = 180;
const LEAST_FOR_MESSAGES = 2; // characters: one letter is in every message
const MOST_CONVERSATIONS = 6;
const MOST_PEOPLE = 6;
const BEFORE_HIT = 28; // characters of a long message shown before what was found

/** One field for everything: conversations, people to begin one with, and what was said. */
export class SearchView {
  field;
  results = h('div', { class: 'list-scroll search-results', hidden: true });

  #palabre;
  #actions;
  #asked = 0;
  #timer;
  #input = h('input', {
    class: 'input',
    type: 'search',
    autocomplete: 'off',
    spellcheck: 'false',
    dir: 'auto',
    placeholder: t('search.label'),
    'aria-label': t('search.label'),
  });
  #status = h('p', { class: 'search-status', role: 'status' });
  #found = h('div', {});
  #roving = new Roving(this.#found, 'button');

  /** `actions`: open(id), reveal(id, seq), talkTo(userId), changed(isSearching). */
  constructor(palabre, actions) {
    this.#palabre = palabre;
    this.#actions = actions;
    const label = t('search.clear');
    const clear = h(
      'button',
      { class: 'search-clear', type: 'button', 'aria-label': label, title: label, onclick: () => this.#clear() },
      icon('close'),
    );
    this.field = h('div', { class: 'search', role: 'search' }, icon('search'), this.#input, clear);
    this.results.append(this.#status, this.#found);
    this.#input.addEventListener('input', () => this.#later());
    this.#input.addEventListener('keydown', (event) => this.#onKey(event));
    this.results.addEventListener('keydown', (event) => this.#onResultKey(event));
  }

  focus() {
    this.#input.focus();
    this.#input.select();
  }

  get #text() {
    return this.#input.value.trim();
  }

  #clear() {
    this.#input.value = '';
    this.#later();
    this.#input.focus();
  }

  #onKey(event) {
    if (event.key === 'Escape' && this.#input.value !== '') {
      event.preventDefault();
      this.#clear();
    } else if (event.key === 'ArrowDown' && this.#text !== '') {
      event.preventDefault();
      this.#roving.focus();
    } else if (event.key === 'Enter') this.#found.querySelector('button')?.click();
  }

  #onResultKey(event) {
    if (event.key === 'Escape') this.#clear();
    const isFirst = document.activeElement === this.#found.querySelector('button');
    if (event.key === 'ArrowUp' && isFirst) this.#input.focus();
  }

  #later() {
    clearTimeout(this.#timer);
    const isSearching = this.#text !== '';
    this.results.hidden = !isSearching;
    this.#actions.changed(isSearching);
    this.field.classList.toggle('is-searching', isSearching);
    this.#asked += 1;
    if (isSearching) this.#timer = setTimeout(() => this.#find(this.#asked), WAIT_MS);
    else this.#found.replaceChildren();
  }

  async #find(asked) {
    const text = this.#text;
    const palabre = this.#palabre;
    const nothing = Promise.resolve({ results: [], truncated: false });
    const answers = await Promise.allSettled([
      palabre.searchConversations(text),
      palabre.searchPeople(text),
      text.length < LEAST_FOR_MESSAGES ? nothing : palabre.searchMessages(text),
    ]);
    if (asked !== this.#asked) return;
    const [conversations, people, messages] = answers.map((answer) => answer.value);
    const failure = answers.find((answer) => answer.status === 'rejected')?.reason;
    const others = (people ?? []).filter((user) => user.id !== palabre.me?.id);
    this.#show(text, conversations ?? [], others, messages ?? { results: [] }, failure);
  }

  #show(text, conversations, people, messages, failure) {
    const sections = [
      section(
        'search.conversations',
        conversations.slice(0, MOST_CONVERSATIONS).map((one) => this.#conversation(one)),
      ),
      section(
        'search.people',
        people.slice(0, MOST_PEOPLE).map((user) => this.#person(user)),
      ),
      section(
        'search.messages',
        messages.results.map((message) => this.#message(message, text)),
      ),
    ].filter(Boolean);
    this.#found.replaceChildren(...sections);
    this.#roving.refresh();
    const total = this.#found.querySelectorAll('button').length;
    this.#status.classList.toggle('sr-only', total > 0 && !failure);
    this.#status.textContent = failure
      ? errorText(failure)
      : total > 0
        ? t('search.count', { count: total })
        : t('search.nothing', { text });
    if (messages.truncated) this.#found.append(h('p', { class: 'search-status' }, t('search.truncated')));
  }

  #conversation(conversation) {
    const { store } = this.#palabre;
    const title = h('span', { class: 'result-title', dir: 'auto' }, titleOf(store, conversation));
    return result(faces(facesOf(store, conversation), 'medium'), [title], () => this.#actions.open(conversation.id));
  }

  #person(user) {
    const title = h('span', { class: 'result-title', dir: 'auto' }, nameOf(user));
    const role = user.role ? h('span', { class: 'result-text' }, roleText(user.role)) : null;
    return result(avatar(user, 'medium'), [title, role], () => this.#actions.talkTo(user.id));
  }

  #message(message, text) {
    const { store } = this.#palabre;
    const conversation = store.conversation(message.conversation_id);
    const sender = senderOf(store, message);
    const at = new Date(message.created_at);
    const name = sender?.id === store.me?.id ? t('message.you') : nameOf(sender);
    const words = [
      h(
        'span',
        { class: 'result-head' },
        h('span', { class: 'result-title', dir: 'auto' }, name),
        h('time', { class: 'conversation-time', datetime: message.created_at }, stamp(at)),
      ),
      conversation.info ? h('span', { class: 'result-place', dir: 'auto' }, titleOf(store, conversation)) : null,
      h('span', { class: 'result-text result-excerpt', dir: 'auto' }, highlighted(message.content ?? '', text)),
    ];
    const open = () => this.#actions.reveal(message.conversation_id, message.seq);
    return result(avatar(sender ?? {}, 'medium'), words, open);
  }
}

function section(key, rows) {
  if (rows.length === 0) return null;
  const heading = h('h2', { class: 'search-heading' }, t(key));
  return h('section', {}, heading, h('ul', {}, rows));
}

function result(face, words, onclick) {
  const button = h(
    'button',
    { class: 'result', type: 'button', onclick },
    face,
    h('span', { class: 'result-words' }, words),
  );
  return h('li', {}, button);
}

/** The part of a text around what was looked for, and that in a `<mark>`. */
function highlighted(text, wanted) {
  const at = text.toLocaleLowerCase().indexOf(wanted.toLocaleLowerCase());
  if (at < 0) return [text];
  const from = at > BEFORE_HIT + 8 ? text.lastIndexOf(' ', at - BEFORE_HIT + 8) + 1 : 0;
  const before = (from > 0 ? '…' : '') + text.slice(from, at);
  return [before, h('mark', {}, text.slice(at, at + wanted.length)), text.slice(at + wanted.length)];
}
