import { h } from './dom.js';
import { icon } from './icons.js';

const MARGIN_PX = 8;

let close = () => {};

/**
 * A small menu by a button, or at a point: entries are `{label, icon, action, isDanger}`, with `checked` a choice that is on
 * or off, with `isOneOf` one of several; null is a line. Arrow keys move, Esc, Tab and a click elsewhere close it.
 */
export function openMenu(anchor, entries, point = null) {
  const isOpenHere = anchor.getAttribute('aria-expanded') === 'true';
  close();
  if (isOpenHere) return;
  const menu = h('div', { class: 'menu', role: 'menu' }, entries.map(entry));
  // What lies outside of an open dialog cannot be reached, and what lies outside of a landmark is hard to find.
  (anchor.closest('dialog, main, nav') ?? document.body).append(menu);
  place(menu, point ?? anchor.getBoundingClientRect());
  anchor.setAttribute('aria-expanded', 'true');
  items(menu)[0].focus();

  const stop = new AbortController();
  const { signal } = stop;
  close = ({ refocus = false } = {}) => {
    stop.abort();
    menu.remove();
    anchor.removeAttribute('aria-expanded');
    if (refocus) anchor.focus();
    close = () => {};
  };
  const onOutside = (event) => menu.contains(event.target) || anchor.contains(event.target) || close();
  document.addEventListener('pointerdown', onOutside, { capture: true, signal });
  window.addEventListener('resize', () => close(), { signal });
  menu.addEventListener('keydown', (event) => onKey(event, menu));
}

export const closeMenu = () => close();

const items = (menu) => [...menu.querySelectorAll('button')];

function entry(given) {
  if (!given) return h('div', { class: 'menu-line', role: 'separator' });
  const { label, icon: name, action, isDanger, checked, isOneOf } = given;
  const isChoice = checked !== undefined;
  const role = isChoice ? `menuitem${isOneOf ? 'radio' : 'checkbox'}` : 'menuitem';
  const run = () => {
    close({ refocus: true });
    action();
  };
  return h(
    'button',
    {
      class: `menu-item${isDanger ? ' is-danger' : ''}`,
      type: 'button',
      role,
      tabIndex: -1,
      'aria-checked': isChoice ? String(checked) : null,
      onclick: run,
    },
    name ? icon(name) : null,
    h('span', { class: 'menu-label' }, label),
    isChoice ? icon('check', 'icon menu-check') : null,
  );
}

function onKey(event, menu) {
  const all = items(menu);
  const at = all.indexOf(document.activeElement);
  const target = { ArrowDown: all[(at + 1) % all.length], ArrowUp: all.at(at - 1), Home: all[0], End: all.at(-1) }[
    event.key
  ];
  if (!target && event.key !== 'Escape' && event.key !== 'Tab') return;
  event.preventDefault();
  event.stopPropagation();
  if (target) target.focus();
  else close({ refocus: true });
}

/** Beside the button or point, inside the window. */
function place(menu, { left = 0, right = left, top = 0, bottom = top }) {
  const { offsetWidth: width, offsetHeight: height } = menu;
  const isNearEnd = right > window.innerWidth / 2;
  const wished = isNearEnd ? right - width : left;
  const isBelow = bottom + height + MARGIN_PX < window.innerHeight;
  menu.style.left = `${Math.min(Math.max(MARGIN_PX, wished), window.innerWidth - width - MARGIN_PX)}px`;
  menu.style.top = `${isBelow ? bottom + 4 : Math.max(MARGIN_PX, top - height - 4)}px`;
}
