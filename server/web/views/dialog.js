import { t } from '../i18n/index.js';
import { h } from './dom.js';
import { icon } from './icons.js';

/** A modal dialog that takes itself away when it closes. */
export function openDialog(title, ...content) {
  const heading = h('h2', { id: 'dialog-title' }, title);
  const closer = h(
    'button',
    { class: 'icon-button', type: 'button', 'aria-label': t('dialog.close'), onclick: () => dialog.close() },
    icon('close'),
  );
  const dialog = h(
    'dialog',
    { class: 'dialog', 'aria-labelledby': 'dialog-title' },
    h('header', {}, heading, closer),
    ...content,
  );
  dialog.addEventListener('close', () => dialog.remove());
  dialog.addEventListener('click', (event) => event.target === dialog && dialog.close());
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

/** Resolves true when the person says yes. */
export function confirm(title, lead, yes) {
  return new Promise((answer) => {
    const cancel = h(
      'button',
      { class: 'quiet-button', type: 'button', onclick: () => dialog.close() },
      t('dialog.cancel'),
    );
    const agree = h('button', { class: 'danger-button', type: 'button', onclick: () => dialog.close('yes') }, yes);
    const dialog = openDialog(title, h('p', { class: 'dialog-lead' }, lead), h('footer', {}, cancel, agree));
    dialog.addEventListener('close', () => answer(dialog.returnValue === 'yes'));
    agree.focus();
  });
}
