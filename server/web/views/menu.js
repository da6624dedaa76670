import { h } from './dom.js';
import { icon } from './icons.js';

let close = () => {};

/** A small menu by a button: `[{label, icon, action, isDanger}]`. Arrow keys move, Esc and a click elsewhere close it. */
export function openMenu(button, entries) {
  close();
  const menu = h('div', { class: 'menu', role: 'menu' }, entries.map(item));
  document.body.append(menu);
  place(menu, button.getBoundingClientRect());
  button.setAttribute('aria-expanded', 'true');
  menu.querySelector('button').focus();

  const onOutside = (event) => menu.contains(event.target) || close();
  close = ({ refocus = false } = {}) => {
    menu.remove();
    button.removeAttribute('aria-expanded');
    document.removeEventListener('pointerdown', onOutside, true);
    window.removeEventListener('resize', close);
    if (refocus) button.focus();
    close = () => {};
  };
  document.addEventListener('pointerdown', onOutside, true);
  window.addEventListener('resize', close);
  menu.addEventListener('keydown', (event) => onKey(event, menu));
}

function item({ label, icon: name, action, isDanger }) {
  const run = () => {
    close({ refocus: true });
    action();
  };
  const props = { class: `menu-item${isDanger ? ' is-danger' : ''}`, type: 'button', role: 'menuitem', onclick: run };
  return h('button', props, icon(name), label);
}

function onKey(event, menu) {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (event.key === 'Escape' || event.key === 'Tab') close({ refocus: true });
  if (event.key === 'Escape') event.stopPropagation();
  if (event.key !== 'Escape' && event.key !== 'Tab' && !step) return;
  event.preventDefault();
  if (!step) return;
  const items = [...menu.querySelectorAll('button')];
  items.at((items.indexOf(document.activeElement) + step) % items.length).focus();
}

/** Beside the button, inside the window. */
function place(menu, box) {
  const margin = 8;
  const { offsetWidth: width, offsetHeight: height } = menu;
  const left = Math.min(Math.max(margin, box.right - width), window.innerWidth - width - margin);
  const below = box.bottom + height + margin < window.innerHeight;
  menu.style.left = `${left}px`;
  menu.style.top = `${below ? box.bottom + 4 : Math.max(margin, box.top - height - 4)}px`;
}
