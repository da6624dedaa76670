import { t } from '../i18n/index.js';
import { h } from './dom.js';
import { icon } from './icons.js';
import { errorText } from './words.js';

const TOAST_MS = 5_000;
const BACK_MS = 2_400;
const PATIENCE_MS = 900; // a reconnect shorter than this is nobody's business

const pill = h('div', { class: 'pill', role: 'status', hidden: true });
const toasts = h('div', { class: 'toasts', role: 'status' });
const announcer = h('div', { class: 'sr-only', 'aria-live': 'polite' });

export const noticeElements = [pill, toasts, announcer];

let timer;
let awaited = null; // what is about to be said, unless it is over before
let wasAway = false;

/** The state of the connection, said only while it matters; `retry()` tries at once instead of later. */
export function showStatus(status, retry) {
  if (status === 'online') return settle(wasAway ? back : hide);
  if (status === 'closed' || status === 'idle') return settle(hide);
  const word = navigator.onLine ? `session.${status}` : 'session.offline';
  if (word === awaited) return;
  settle();
  awaited = word;
  wasAway ||= !pill.hidden && status === 'reconnecting';
  if (!pill.hidden) return say(word, retry);
  timer = setTimeout(() => {
    wasAway = status === 'reconnecting';
    say(word, retry);
  }, PATIENCE_MS);
}

function settle(next = () => {}) {
  clearTimeout(timer);
  awaited = null;
  next();
}

function say(word, retry) {
  pill.hidden = false;
  pill.className = 'pill';
  const button =
    word === 'session.reconnecting' && retry
      ? h('button', { class: 'link-button', type: 'button', onclick: retry }, t('session.now'))
      : null;
  pill.replaceChildren(h('span', { class: 'spinner' }), h('span', {}, t(word)), ...(button ? [button] : []));
}

function back() {
  wasAway = false;
  pill.className = 'pill is-good';
  pill.replaceChildren(icon('check'), t('session.back'));
  timer = setTimeout(hide, BACK_MS);
}

function hide() {
  wasAway = false;
  pill.hidden = true;
  pill.replaceChildren();
}

/** A word about what just happened; where a dialog is open, in front of it. */
export function toast(text) {
  const note = h('div', { class: 'toast' }, text);
  const dialog = [...document.querySelectorAll('dialog[open]')].at(-1);
  (dialog ?? document.body).append(toasts);
  toasts.append(note);
  setTimeout(() => {
    note.remove();
    if (toasts.parentElement !== document.body) document.body.append(toasts);
  }, TOAST_MS);
}

export const toastError = (error) => toast(errorText(error));

/** For those who listen to the page. */
export function announce(text) {
  const line = h('p', {}, text);
  announcer.append(line);
  setTimeout(() => line.remove(), TOAST_MS);
}
