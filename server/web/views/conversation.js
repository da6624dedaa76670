import { t } from '../i18n/index.js';
import { faces, withDot } from './avatar.js';
import { h, spoken } from './dom.js';
import { icon } from './icons.js';
import {
  count,
  facesOf,
  filesText,
  moment,
  nameOf,
  presenceIn,
  senderOf,
  stamp,
  textOf,
  titleOf,
} from './words.js';

/** One row of the list, for `reconcile`. `actions`: open(id), menu(anchor, conversation, point). */
export function conversationRow(palabre, conversation, isCurrent, actions) {
  const facts = factsOf(palabre, conversation, isCurrent);
  const build = () => buildRow(conversation, facts, actions);
  return { key: conversation.id, signature: JSON.stringify(facts), build };
}

function factsOf(palabre, conversation, isCurrent) {
  const { store } = palabre;
  return {
    title: titleOf(store, conversation),
    faces: facesOf(store, conversation),
    preview: preview(palabre, conversation),
    at: conversation.activityAt,
    time: conversation.activityAt && stamp(new Date(conversation.activityAt)),
    unread: conversation.unread,
    marked: Boolean(conversation.my?.marked_unread),
    pinned: Boolean(conversation.my?.is_pinned),
    muted: conversation.isMuted,
    typing: conversation.typing.size > 0,
    presence: presenceIn(palabre, conversation)?.status ?? null,
    isCurrent,
  };
}

function preview(palabre, conversation) {
  const { store } = palabre;
  if (conversation.typing.size > 0) return typingText(store, conversation);
  const pending = palabre.pending(conversation.id).at(-1);
  if (pending) return t('list.you', { text: pending.payload.content || filesText(pending.attachments ?? []) });
  const message = conversation.lastMessage;
  if (!message || store.hidden.has(message.id)) return t('list.nothing');
  const text = textOf(store, message);
  if (message.type === 'system') return text;
  if (message.sender?.id === store.me?.id) return t('list.you', { text });
  if (conversation.others.length < 2) return text;
  return t('list.said', { name: nameOf(senderOf(store, message)), text });
}

function typingText(store, conversation) {
  const [userId] = conversation.typing.keys();
  return t('typing.one', { names: nameOf(store.user(userId) ?? { id: userId }) });
}

function buildRow(conversation, facts, actions) {
  const hasNews = facts.unread > 0 || facts.marked;
  const onMenu = (event) => {
    event.preventDefault();
    const isPointed = event.pointerType && event.clientX > 0;
    const point = isPointed ? { left: event.clientX, top: event.clientY } : null;
    actions.menu(event.currentTarget, conversation, point);
  };
  const button = h(
    'button',
    {
      'data-conversation': conversation.id,
      class: `conversation${hasNews ? ' has-news' : ''}${facts.muted ? ' is-muted' : ''}`,
      type: 'button',
      'aria-current': facts.isCurrent ? 'true' : null,
      onclick: () => actions.open(conversation.id),
      oncontextmenu: onMenu,
    },
    withDot(faces(facts.faces, 'large'), facts.presence),
    h(
      'span',
      { class: 'conversation-words' },
      h('span', { class: 'conversation-title', dir: 'auto' }, facts.title),
      isThere(facts) ? spoken(`${t(`presence.${facts.presence}`)}. `) : null,
      h('span', { class: `conversation-preview${facts.typing ? ' is-typing' : ''}`, dir: 'auto' }, facts.preview),
    ),
    h('span', { class: 'conversation-side' }, time(facts), h('span', { class: 'conversation-marks' }, marks(facts))),
  );
  return h('li', {}, button);
}

const isThere = ({ presence }) => presence === 'active' || presence === 'away';

function time({ at, time: text }) {
  if (!at) return h('span', {});
  return h('time', { class: 'conversation-time', datetime: at, title: moment(new Date(at)) }, text);
}

function marks({ unread, marked, pinned, muted }) {
  const found = [];
  if (muted) found.push(h('span', { class: 'sign' }, icon('mute'), spoken(t('list.muted'))));
  if (pinned && unread === 0) found.push(h('span', { class: 'sign' }, icon('pin'), spoken(t('list.pinned'))));
  if (unread > 0) {
    const shown = h('span', { 'aria-hidden': 'true' }, count(unread));
    found.push(h('span', { class: 'badge' }, shown, spoken(t('list.unread', { count: unread }))));
  } else if (marked) found.push(h('span', { class: 'badge badge-dot' }, spoken(t('list.markedUnread'))));
  return found;
}
