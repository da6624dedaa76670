import { t } from '../i18n/index.js';
import { openDialog } from './dialog.js';
import { h } from './dom.js';
import { PeoplePicker } from './picker.js';
import { errorText, nameOf } from './words.js';

/** Find people and begin: one person is a direct conversation, several are a group. `opened(id)` is told when there is one. */
export function newConversationDialog(palabre, opened) {
  const title = h('input', {
    class: 'input',
    type: 'text',
    dir: 'auto',
    maxlength: '200',
    placeholder: t('people.groupName'),
    'aria-label': t('people.groupName'),
  });
  const submit = h('button', { class: 'primary-button', type: 'submit' });
  const changed = (people) => {
    title.hidden = people.length < 2;
    submit.disabled = people.length === 0;
    submit.textContent = submitText(people);
  };
  const picker = new PeoplePicker(palabre, { changed });
  const start = async (event) => {
    event.preventDefault();
    const people = picker.chosen.map((user) => user.id);
    if (people.length === 0) return;
    submit.disabled = true;
    try {
      const conversation = await begin(palabre, people, title.value.trim());
      dialog.close();
      opened(conversation.id);
    } catch (error) {
      picker.say(errorText(error));
      submit.disabled = false;
    }
  };
  const hint = h('p', { class: 'dialog-lead' }, t('people.hint'));
  const footer = h('footer', { class: 'dialog-foot is-tall' }, title, submit);
  const form = h('form', { class: 'dialog-form', onsubmit: start }, hint, picker.element, footer);
  const dialog = openDialog(t('people.title'), form);
  picker.focus();
}

/** Add people to a conversation that exists. */
export function addPeopleDialog(palabre, conversation) {
  const submit = h('button', { class: 'primary-button', type: 'submit' }, t('people.add'));
  const excluded = conversation.others.map((row) => row.user.id);
  const picker = new PeoplePicker(palabre, { excluded, changed: (people) => (submit.disabled = people.length === 0) });
  const add = async (event) => {
    event.preventDefault();
    submit.disabled = true;
    try {
      await palabre.addPeople(
        conversation.id,
        picker.chosen.map((user) => user.id),
      );
      dialog.close();
    } catch (error) {
      picker.say(errorText(error));
      submit.disabled = false;
    }
  };
  const footer = h('footer', { class: 'dialog-foot is-tall' }, submit);
  const dialog = openDialog(t('about.add'), h('form', { class: 'dialog-form', onsubmit: add }, picker.element, footer));
  picker.focus();
}

function submitText(people) {
  if (people.length === 0) return t('people.start');
  if (people.length === 1) return t('people.direct', { name: nameOf(people[0]) });
  return t('people.group', { count: people.length + 1 });
}

function begin(palabre, people, title) {
  if (people.length === 1) return palabre.createDirect(people[0]);
  return title ? palabre.createGroup(title, people) : palabre.create({ type: 'group', participant_ids: people });
}
