import { t } from '../i18n/index.js';
import { avatar } from './avatar.js';
import { h, linked } from './dom.js';
import { icon, ticks } from './icons.js';
import { clock, errorText, moment, nameOf, names, systemSentence } from './words.js';

const MOST_READERS = 20; // whose names a tick tells

/**
 * One row of the thread. `facts` holds everything it shows: {message or entry, isOwn, isFirst, isLast, showsAuthor, sender,
 * status, readers, canEdit, canDelete}.
 */
export function messageRow(facts, actions) {
  const { isOwn, isFirst, isLast, showsAuthor } = facts;
  const edges = `${isFirst ? ' is-first' : ''}${isLast ? ' is-last' : ''}`;
  const face = showsAuthor ? h('span', { class: 'message-face' }, isLast ? avatar(facts.sender, 'small') : null) : null;
  return h(
    'li',
    { class: `message ${isOwn ? 'is-own' : 'is-other'}${edges}${facts.status === 'failed' ? ' is-failed' : ''}` },
    face,
    h('div', { class: 'message-body' }, bubble(facts, actions), failure(facts, actions)),
    menuButton(facts, actions),
  );
}

function bubble(facts, actions) {
  const { isOwn, isFirst, showsAuthor, sender, message, text } = facts;
  const visibleAuthor = showsAuthor && isFirst;
  const name = isOwn ? t('message.you') : nameOf(sender);
  return h(
    'div',
    { class: `bubble${message?.is_deleted ? ' is-deleted' : ''}`, onclick: (event) => onTap(event, facts, actions) },
    h('span', { class: visibleAuthor ? 'author' : 'sr-only', dir: 'auto' }, visibleAuthor ? name : `${name}: `),
    h('span', { class: 'text', dir: 'auto' }, message?.is_deleted ? deletedText(facts) : linked(text)),
    meta(facts),
  );
}

/** On a screen without a pointer, a tap on one's own message offers what the hidden button does. */
function onTap(event, { message, canEdit, canDelete }, actions) {
  const isPointed = window.matchMedia('(hover: hover)').matches;
  if (isPointed || !message || message.is_deleted || !(canEdit || canDelete)) return;
  if (event.target.closest('a') || !getSelection().isCollapsed) return;
  actions.menu(event.currentTarget, message, { canEdit, canDelete });
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
  const isNamed = readers.length > 1 && readers.length <= MOST_READERS;
  const words = isNamed ? t('status.readBy', { names: names(readers) }) : t(`status.${status}`);
  const image = { pending: () => icon('clock', 'ticks'), failed: () => icon('alert', 'ticks') }[status];
  return h(
    'span',
    { class: 'status', title: words },
    image ? image() : ticks(status),
    h('span', { class: 'sr-only' }, words),
  );
}

function failure({ status, entry }, actions) {
  if (status !== 'failed') return null;
  const id = entry.payload.client_msg_id;
  const retry = h(
    'button',
    { class: 'link-button', type: 'button', onclick: () => actions.retry(id) },
    t('message.retry'),
  );
  const drop = h(
    'button',
    { class: 'link-button', type: 'button', onclick: () => actions.discard(id) },
    t('message.discard'),
  );
  return h('p', { class: 'failure' }, `${t('message.failed')}. ${errorText(entry.error ?? {})} `, retry, ' ', drop);
}

function menuButton({ message, canEdit, canDelete }, actions) {
  if (!message || message.is_deleted) return null;
  return h(
    'button',
    {
      class: 'message-menu',
      type: 'button',
      'aria-label': t('message.actions'),
      'aria-haspopup': 'menu',
      onclick: (event) => actions.menu(event.currentTarget, message, { canEdit, canDelete }),
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
