import { t } from '../i18n/index.js';
import { h } from './dom.js';
import { icon, mark } from './icons.js';

/** The door: shown when there is no token, or none that the server takes. */
export function signIn({ problem = null, submit }) {
  const field = h('input', {
    class: 'input',
    type: 'text',
    id: 'token',
    autocomplete: 'off',
    spellcheck: 'false',
    autofocus: true,
  });
  const note = h('p', { class: 'problem', role: 'alert' }, problem ? icon('alert') : null, problem);
  note.hidden = !problem;
  const onSubmit = (event) => {
    event.preventDefault();
    const given = readToken(field.value);
    if (given) return submit(given);
    note.hidden = false;
    note.replaceChildren(icon('alert'), t('signin.empty'));
    field.focus();
  };
  return h(
    'main',
    { class: 'door' },
    h(
      'section',
      { class: 'door-card' },
      h('p', { class: 'door-brand' }, mark(), t('app.name')),
      h('h1', {}, t('signin.title')),
      h('p', { class: 'door-lead' }, t('signin.lead')),
      note,
      h(
        'form',
        { onsubmit: onSubmit },
        h('label', { for: 'token' }, t('signin.label')),
        h(
          'div',
          { class: 'door-row' },
          field,
          h('button', { class: 'primary-button', type: 'submit' }, t('signin.submit')),
        ),
      ),
      help(),
    ),
  );
}

function help() {
  const line = (text, command) => h('li', {}, text, command ? h('code', {}, command) : null);
  return h(
    'details',
    {},
    h('summary', {}, t('signin.how')),
    h(
      'ul',
      {},
      line(t('signin.run'), 'make run'),
      line(t('signin.issue'), 'palabre token USER'),
      line(t('signin.embed')),
    ),
  );
}

/** From a whole link or a bare token: `{token, conversation}`, or null. */
export function readToken(text) {
  const trimmed = text.trim();
  if (trimmed === '') return null;
  if (!trimmed.includes('token=')) return { token: trimmed, conversation: null };
  const fields = new URLSearchParams(trimmed.slice(trimmed.indexOf('#') + 1));
  return fields.get('token') ? { token: fields.get('token'), conversation: fields.get('conversation') } : null;
}
