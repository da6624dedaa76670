import { h } from './dom.js';

const TONES = 8;

/** A picture, or initials on a colour that stays the same for the same id. Decoration: the name stands beside it. */
export function avatar({ id, name, avatar_url: address }, size = 'medium') {
  const element = h('span', { class: `avatar avatar-${size} tone-${toneOf(id ?? '')}`, 'aria-hidden': 'true' });
  element.append(initials(name || id || '?'));
  if (address) element.append(picture(address));
  return element;
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

/** FNV-1a, of which the upper bits are the well mixed ones. */
function toneOf(id) {
  let hash = 0x811c9dc5;
  for (const letter of id) hash = Math.imul(hash ^ letter.codePointAt(0), 0x01000193);
  return (hash >>> 16) % TONES;
}
