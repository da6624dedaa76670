import { language, has, locale, t } from '../i18n/index.js';

const DAY_MS = 86_400_000;
const formats = new Map();

function format(name, options) {
  if (!formats.has(name)) formats.set(name, new Intl.DateTimeFormat(locale(), options));
  return formats.get(name);
}

export const clock = (date) => format('clock', { hour: '2-digit', minute: '2-digit' }).format(date);
export const moment = (date) => format('moment', { dateStyle: 'full', timeStyle: 'short' }).format(date);
export const brief = (date) => format('brief', { dateStyle: 'medium', timeStyle: 'short' }).format(date);
export const dayKey = (date) => `${date.getFullYear()}-${date.getMonth()}-${date.getDate()}`;

/** Whole days between then and now, in the reader's zone. */
function daysAgo(date) {
  const midnight = (when) => new Date(when.getFullYear(), when.getMonth(), when.getDate()).getTime();
  return Math.round((midnight(new Date()) - midnight(date)) / DAY_MS);
}

/** The heading of a day in the thread. */
export function day(date) {
  const ago = daysAgo(date);
  if (ago === 0) return t('day.today');
  if (ago === 1) return t('day.yesterday');
  if (ago < 180) return format('day', { weekday: 'long', day: 'numeric', month: 'long' }).format(date);
  return format('longDay', { day: 'numeric', month: 'long', year: 'numeric' }).format(date);
}

/** The short time in the list. */
export function stamp(date) {
  const ago = daysAgo(date);
  if (ago <= 0) return clock(date);
  if (ago === 1) return t('day.yesterday');
  if (ago < 7) return format('weekday', { weekday: 'short' }).format(date);
  if (ago < 180) return format('short', { day: 'numeric', month: 'short' }).format(date);
  return format('date', { dateStyle: 'short' }).format(date);
}

export function names(list) {
  return new Intl.ListFormat(language, { type: 'conjunction' }).format(list);
}

export const count = (number) => (number > 999 ? '999+' : new Intl.NumberFormat(locale()).format(number));

export const nameOf = (user) => user?.name || (user?.id ? user.id : t('message.someone'));

/** One's name as it stands today; the card inside an old message may be older. */
export const senderOf = (store, message) => store.user(message.sender?.id) ?? message.sender;

export function titleOf(store, conversation) {
  if (conversation.info?.title) return conversation.info.title;
  const others = conversation.others.map((row) => nameOf(personOf(store, row)));
  if (others.length > 0) return names(others);
  return conversation.participants.size > 0 ? t('conversation.alone') : t('conversation.untitled');
}

/** Who stands for a conversation in a picture: its own one, or the others. */
export function facesOf(store, conversation) {
  const address = conversation.info?.avatar_url;
  if (address) return [{ id: conversation.id, name: titleOf(store, conversation), avatar_url: address }];
  return conversation.others
    .map((row) => personOf(store, row))
    .map(({ id, name, avatar_url }) => ({ id, name, avatar_url }));
}

/** A participant's profile as it stands today. */
export const personOf = (store, row) => store.user(row.user.id) ?? row.user;

/** The one other person, where two talk. */
export function otherIn(conversation) {
  return conversation.peopleCount === 2 ? conversation.others[0]?.user.id : undefined;
}

/** How the other one is where two talk, as far as that is known. */
export function presenceIn(palabre, conversation) {
  const other = otherIn(conversation);
  return other === undefined ? null : palabre.presenceOf(other);
}

/** How somebody is, in words; empty when nothing is known. */
export function presenceText(presence) {
  if (!presence) return '';
  if (presence.status === 'active' || presence.status === 'away') return t(`presence.${presence.status}`);
  if (!presence.last_active_at) return '';
  return t('presence.last', { when: stamp(new Date(presence.last_active_at)) });
}

/** A message in a line. */
export function textOf(store, message) {
  if (message.type === 'system') return systemSentence(store, message);
  if (message.is_deleted) return t('message.deleted');
  return message.content || filesText(message.attachments ?? []);
}

/** Files in a line. */
export function filesText(files) {
  if (files.length === 0) return t('message.file');
  const areImages = files.every((file) => file.kind === 'image');
  if (areImages) return t('message.images', { count: files.length });
  return files.length === 1 ? files[0].name : t('message.files', { count: files.length });
}

/** A number of bytes as people say it. */
export function bytes(number) {
  const [unit, size] = number < 1_000_000 ? ['kilobyte', 1_000] : ['megabyte', 1_000_000];
  const digits = number >= 1_000_000 && number < 10_000_000 ? 1 : 0;
  const written = new Intl.NumberFormat(locale(), { style: 'unit', unit, maximumFractionDigits: digits });
  return written.format(Math.max(number / size, number > 0 && unit === 'kilobyte' ? 1 : 0));
}

/** A system message in words, as complete as what it carries. */
export function systemSentence(store, message) {
  const { event, params = {} } = message.system ?? {};
  const key = `system.${event}`;
  if (!has(key)) return message.content || t('system.unknown');
  const subjects = subjectsOf(store, params);
  const values = { actor: actorOf(store, message), names: subjects, title: params.title };
  const needs = (word) => t(key).includes(`{${word}}`);
  if ((needs('names') && !values.names) || (needs('title') && !values.title)) return t(`${key}.bare`);
  return capital(t(sentenceKey(store, key, message, values), values));
}

function sentenceKey(store, key, message, { actor }) {
  const actorId = actorIdOf(message);
  if (key === 'system.participant_left') return key;
  if (!actor || isSubjectAlone(message, actorId)) return `${key}.passive`;
  return actorId && actorId === store.me?.id ? `${key}.you` : key;
}

const actorIdOf = ({ system, sender }) => system.params?.actor_id ?? sender?.id ?? null;

const isSubjectAlone = ({ system }, actorId) => {
  const ids = system.params?.user_ids ?? [];
  return actorId !== null && ids.length === 1 && ids[0] === actorId;
};

function actorOf(store, message) {
  const known = store.user(actorIdOf(message));
  return known?.name || message.system.params?.actor_name || message.sender?.name || null;
}

function subjectsOf(store, { user_ids: ids = [], names: given = [] }) {
  const said = (id, index) =>
    id === store.me?.id ? t('system.youObject') : (store.user(id)?.name ?? given[index] ?? null);
  const list = ids.length > 0 ? ids.map(said).filter(Boolean) : given;
  return list.length > 0 ? names(list) : null;
}

const capital = (sentence) => sentence.charAt(0).toLocaleUpperCase(language) + sentence.slice(1);

/** A role in the directory, in the reader's language. */
export const roleText = (role) => (has(`role.${role}`) ? t(`role.${role}`) : role);

/** Why a file did not get there: what the server refuses about a file is the file itself. */
export const uploadErrorText = (error) => (error.code === 'validation_failed' ? t('upload.damaged') : errorText(error));

/** A refusal in the reader's language. */
export function errorText(error) {
  const key = `error.${error.code}`;
  return has(key) ? t(key) : t('error.other', { code: error.code ?? error.message });
}
