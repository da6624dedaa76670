import { t } from '../i18n/index.js';
import { avatar } from './avatar.js';
import { h, linked, spoken } from './dom.js';
import { icon, ticks } from './icons.js';
import { clock, errorText, moment, nameOf, names, systemSentence, uploadErrorText } from './words.js';

const MOST_READERS = 20; // whose names a tick tells
const FEW_EMOJI = /^(?:\p{Extended_Pictographic}[\p{Emoji_Modifier}\uFE0F\u200D]*\s*){1,3}$/u;

let described = 0;

/**
 * One row of the thread. `facts` holds everything it shows: key, message (or null), entry, uploads, isOwn, isFirst, isLast,
 * showsAuthor, sender, text, files, createdAt, status, readers. `actions`: retry(facts), discard(facts), menu(button,
 * message, place), files(facts).
 */
export function messageRow(facts, actions) {
  const { isOwn, isFirst, isLast, showsAuthor } = facts;
  const edges = `${isFirst ? ' is-first' : ''}${isLast ? ' is-last' : ''}`;
  const face = showsAuthor ? h('span', { class: 'message-face' }, isLast ? avatar(facts.sender, 'small') : null) : null;
  const id = `message-${(described += 1)}`;
  return h(
    'li',
    { class: `message ${isOwn ? 'is-own' : 'is-other'}${edges}${facts.status === 'failed' ? ' is-failed' : ''}` },
    face,
    h('div', { class: 'message-body' }, bubble(id, facts, actions), departure(facts, actions), failure(facts, actions)),
    menuButton(id, facts, actions),
  );
}

function bubble(id, facts, actions) {
  const { isOwn, isFirst, showsAuthor, sender, message, text } = facts;
  const visibleAuthor = showsAuthor && isFirst;
  const name = isOwn ? t('message.you') : nameOf(sender);
  const files = message?.is_deleted ? null : actions.files(facts);
  const words = message?.is_deleted ? deletedText(facts) : text;
  const kind = `${message?.is_deleted ? ' is-deleted' : ''}${files ? ' has-files' : ''}${text && FEW_EMOJI.test(text) ? ' is-emoji' : ''}`;
  return h(
    'div',
    { class: `bubble${kind}`, id, onclick: (event) => onTap(event, facts, actions) },
    visibleAuthor ? h('span', { class: 'author', dir: 'auto' }, name) : spoken(`${name}: `),
    files,
    words === '' ? null : h('span', { class: 'text', dir: 'auto' }, message?.is_deleted ? words : linked(words)),
    meta(facts),
  );
}

/** On a screen without a pointer, a tap on a message offers what the hidden button does. */
function onTap(event, { message }, actions) {
  const isPointed = window.matchMedia('(hover: hover)').matches;
  if (isPointed || !message || message.is_deleted) return;
  if (event.target.closest('a, button') || !getSelection().isCollapsed) return;
  const button = event.currentTarget.closest('.message').querySelector('.message-menu');
  actions.menu(button, message, event.currentTarget.getBoundingClientRect());
}

const deletedText = ({ isOwn }) => t(isOwn ? 'message.deletedByYou' : 'message.deleted');

function meta({ isOwn, message, createdAt, status, readers }) {
  const date = new Date(createdAt);
  return h(
    'span',
    { class: 'meta' },
    message?.is_edited && !message.is_deleted ? h('span', { class: 'edited' }, t('message.edited')) : null,
    h('time', { datetime: createdAt, title: moment(date) }, clock(date)),
    isOwn && !message?.is_deleted ? statusMark(status, readers) : null,
  );
}

function statusMark(status, readers) {
  const isNamed = readers.length > 0 && readers.length <= MOST_READERS;
  const words = isNamed ? t('status.readBy', { names: names(readers) }) : t(`status.${status}`);
  const image = { pending: () => icon('clock', 'ticks'), failed: () => icon('alert', 'ticks') }[status];
  const label = isNamed && status !== 'read' ? `${t(`status.${status}`)}, ${words}` : words;
  return h('span', { class: 'status', title: label }, image ? image() : ticks(status), spoken(label));
}

/** While its files are on their way, a message can be taken back. */
function departure(facts, actions) {
  if (!facts.uploads || facts.status === 'failed') return null;
  const isWaiting = facts.uploads.some((upload) => upload.isStranded);
  const cancel = h(
    'button',
    { class: 'link-button', type: 'button', onclick: () => actions.discard(facts) },
    t('upload.cancel'),
  );
  return h('p', { class: 'departure' }, isWaiting ? `${t('upload.waiting')} ` : null, cancel);
}

function failure(facts, actions) {
  if (facts.status !== 'failed') return null;
  const broken = facts.uploads?.find((upload) => upload.state === 'failed' && !upload.isStranded);
  const why = broken ? uploadErrorText(broken.error) : errorText(facts.entry?.error ?? {});
  const button = (key, run) => h('button', { class: 'link-button', type: 'button', onclick: () => run(facts) }, t(key));
  return h(
    'p',
    { class: 'failure', role: 'alert' },
    `${t('message.failed')}. ${why} `,
    button('message.retry', actions.retry),
    ' ',
    button('message.discard', actions.discard),
  );
}

function menuButton(id, { message }, actions) {
  if (!message || message.is_deleted) return null;
  return h(
    'button',
    {
      class: 'message-menu',
      type: 'button',
      'aria-label': t('message.actions'),
      'aria-describedby': id,
      'aria-haspopup': 'menu',
      onclick: (event) => actions.menu(event.currentTarget, message),
    },
    icon('more'),
  );
}

export function systemRow(store, message) {
  const date = new Date(message.created_at);
  return h('li', { class: 'system' }, h('span', { dir: 'auto', title: moment(date) }, systemSentence(store, message)));
}

export const dayRow = (label) => h('li', { class: 'day' }, h('span', {}, label));
export const newRow = () => h('li', { class: 'news' }, h('span', {}, t('thread.new')));
