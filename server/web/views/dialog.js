import { t } from '../i18n/index.js';
import { h } from './dom.js';
import { icon } from './icons.js';

let opened = 0;

/** A modal dialog that takes itself away when it closes; the browser gives the focus back to where it was. */
export function openDialog(title, ...content) {
  const id = `dialog-${(opened += 1)}`;
  const closer = h(
    'button',
    { class: 'icon-button', type: 'button', 'aria-label': t('dialog.close'), onclick: () => dialog.close() },
    icon('close'),
  );
  const dialog = h(
    'dialog',
    { class: 'dialog', 'aria-labelledby': id },
    h('header', { class: 'dialog-bar' }, h('h2', { id }, title), closer),
    ...content,
  );
  return show(dialog);
}

/** Open a dialog; a press on what is behind it closes it, unless it began inside. */
export function show(dialog) {
  let began = null;
  dialog.addEventListener('pointerdown', (event) => (began = event.target));
  dialog.addEventListener('click', (event) => event.target === dialog && began === dialog && dialog.close());
  dialog.addEventListener('close', () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

/** Close whatever is open: the page is about to show somebody else. */
export function closeDialogs() {
  for (const dialog of document.querySelectorAll('dialog[open]')) dialog.close();
}

/** `choices` are `{value, label, isDanger}`; resolves with the value of the one taken, or null. */
export function choose(title, lead, choices) {
  return new Promise((answer) => {
    const button = ({ value, label, isDanger }) =>
      h(
        'button',
        { class: isDanger ? 'danger-button' : 'quiet-button', type: 'button', onclick: () => dialog.close(value) },
        label,
      );
    const cancel = h(
      'button',
      { class: 'quiet-button', type: 'button', onclick: () => dialog.close() },
      t('dialog.cancel'),
    );
    const footer = h(
      'footer',
      { class: `dialog-foot${choices.length > 1 ? ' is-tall' : ''}` },
      choices.map(button),
      cancel,
    );
    const dialog = openDialog(title, h('p', { class: 'dialog-lead' }, lead), footer);
    dialog.addEventListener('close', () => answer(dialog.returnValue || null));
    cancel.focus();
  });
}

/** Resolves true when the person says yes. */
export const confirm = async (title, lead, yes) =>
  (await choose(title, lead, [{ value: 'yes', label: yes, isDanger: true }])) === 'yes';
