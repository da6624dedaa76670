import { forDevice } from './storage.js';

const KEY = 'palabre:appearance';

/** `auto` follows the device. */
export const APPEARANCES = ['auto', 'light', 'dark'];

export function appearance() {
  const kept = forDevice.getItem(KEY);
  return APPEARANCES.includes(kept) ? kept : 'auto';
}

export function setAppearance(name) {
  if (name === 'auto') forDevice.removeItem(KEY);
  else forDevice.setItem(KEY, name);
  applyAppearance();
}

export function applyAppearance() {
  const name = appearance();
  document.documentElement.dataset.appearance = name;
  const ground = getComputedStyle(document.documentElement).getPropertyValue('background-color');
  document.querySelector('meta[name="theme-color"]')?.setAttribute('content', ground);
}
