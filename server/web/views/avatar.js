import { h } from './dom.js';
import { icon } from './icons.js';

const TONES = 8;

/** A picture, or initials on a colour that stays the same for the same id. Decoration: the name stands beside it. */
export function avatar({ id, name, avatar_url: address }, size = 'medium') {
  const element = h('span', { class: `avatar avatar-${size} tone-${toneOf(id ?? '')}`, 'aria-hidden': 'true' });
  element.append(initials(name || id || '?'));
  if (address) element.append(picture(address));
  return element;
}

/** One person, two of several overlapping, or a sign where there is nobody. */
export function faces(people, size = 'medium') {
  if (people.length === 1) return avatar(people[0], size);
  if (people.length === 0)
    return h('span', { class: `avatar avatar-${size} avatar-empty`, 'aria-hidden': 'true' }, icon('people'));
  return h(
    'span',
    { class: `faces faces-${size}`, 'aria-hidden': 'true' },
    people.slice(0, 2).map((one) => avatar(one, 'pair')),
  );
}

/** A picture with a dot for a person who is there; the words beside it say it too. */
export function withDot(face, status) {
  if (status !== 'active' && status !== 'away') return face;
  return h('span', { class: 'present' }, face, h('i', { class: `dot dot-${status}`, 'aria-hidden': 'true' }));
}

function picture(address) {
  const image = h('img', { src: address, alt: '', loading: 'lazy', decoding: 'async', referrerpolicy: 'no-referrer' });
  image.addEventListener('error', () => image.remove());
  return image;
}

function initials(name) {
  const words = name
    .trim()
    .split(/[\s,]+/u)
    .filter(Boolean);
  const letters = words.length > 1 ? [words[0], words[1]] : [words[0] ?? '?'];
  return letters.map((word) => [...word][0].toLocaleUpperCase()).join('');
}

/** The same number for the same id everywhere (FNV-1a with its bits mixed once more). */
function toneOf(id) {
  let hash = 0x811c9dc5;
  for (const letter of id) hash = Math.imul(hash ^ letter.codePointAt(0), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d);
  return ((hash ^ (hash >>> 13)) >>> 0) % TONES;
}
