import { t } from '../i18n/index.js';
import { faces, withDot } from './avatar.js';
import { h, spoken } from './dom.js';
import { icon } from './icons.js';
import { facesOf, nameOf, names, personOf, presenceIn, presenceText, titleOf } from './words.js';

const MOST_TYPING = 2; // people whose names are told

/** Above a conversation: who it is with, who is writing, and what can be done with it. */
export class ThreadHeader {
  element;

  #palabre;
  #face = h('span', { class: 'thread-face' });
  #title = h('span', { class: 'thread-title', dir: 'auto' });
  #muted = h('span', { class: 'sign', hidden: true }, icon('mute'), spoken(t('list.muted')));
  #subtitle = h('span', { class: 'thread-subtitle', dir: 'auto' });
  #about;

  /** `actions`: back(), about(), menu(button). */
  constructor(palabre, actions) {
    this.#palabre = palabre;
    const button = (name, key, onclick, className = '', props = {}) =>
      h(
        'button',
        { class: `icon-button${className}`, type: 'button', 'aria-label': t(key), title: t(key), onclick, ...props },
        icon(name),
      );
    this.#about = h(
      'button',
      { class: 'thread-about', type: 'button', title: t('thread.about'), onclick: actions.about },
      this.#title,
      this.#muted,
    );
    const menu = (event) => actions.menu(event.currentTarget);
    this.element = h(
      'header',
      { class: 'bar thread-bar' },
      button('back', 'thread.back', actions.back, ' back'),
      this.#face,
      h('div', { class: 'thread-heading' }, h('h2', { class: 'thread-name' }, this.#about), this.#subtitle),
      button('info', 'thread.about', actions.about, ' about'),
      button('more', 'thread.menu', menu, '', { 'aria-haspopup': 'menu' }),
    );
  }

  focus() {
    this.#about.focus();
  }

  draw(conversation) {
    const { store } = this.#palabre;
    const shown = facesOf(store, conversation);
    const title = conversation.info ? titleOf(store, conversation) : '';
    const presence = presenceIn(this.#palabre, conversation);
    const signature = JSON.stringify([shown, presence?.status]);
    if (this.#face.dataset.signature !== signature)
      this.#face.replaceChildren(withDot(faces(shown, 'medium'), presence?.status));
    this.#face.dataset.signature = signature;
    this.#title.textContent = title;
    this.#muted.hidden = !conversation.isMuted;
    const typing = typingWords(store, conversation);
    const words = [this.#people(conversation, title), presenceText(presence)].filter(Boolean);
    this.#subtitle.textContent = typing || words.join(' · ');
    this.#subtitle.classList.toggle('is-typing', typing !== '');
    this.element.classList.toggle('is-unknown', !conversation.isKnown);
  }

  #people(conversation, title) {
    const { store } = this.#palabre;
    const { others, peopleCount } = conversation;
    if (conversation.info?.type === 'direct' || others.length === 0) return '';
    const people = others.map((row) => nameOf(personOf(store, row)));
    if (title === names(people) || people.length + 1 < peopleCount) return t('thread.people', { count: peopleCount });
    return names([...people, t('system.youObject')]);
  }
}

/** Who is writing, in words; empty when nobody is. */
export function typingWords(store, conversation) {
  const people = [...conversation.typing.keys()].map((id) => nameOf(store.user(id) ?? { id }));
  if (people.length === 0) return '';
  if (people.length > MOST_TYPING) return t('typing.many');
  return t(people.length === 1 ? 'typing.one' : 'typing.several', { names: names(people) });
}
