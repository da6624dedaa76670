import { t } from '../i18n/index.js';
import { avatar } from './avatar.js';
import { openDialog } from './dialog.js';
import { h } from './dom.js';
import { icon, ticks } from './icons.js';
import { moment, nameOf, personOf } from './words.js';

/** Who has read a message of mine, who has received it, and who has not yet. */
export function readersDialog(palabre, message) {
  const conversation = palabre.store.conversation(message.conversation_id);
  const groups = { read: [], delivered: [], waiting: [] };
  for (const row of conversation.others) groups[stepOf(row, message)].push(personOf(palabre.store, row));
  const sections = Object.entries(groups)
    .filter(([, people]) => people.length > 0)
    .map(([step, people]) => section(step, people));
  const when = h('p', { class: 'dialog-lead' }, t('info.sent', { time: moment(new Date(message.created_at)) }));
  openDialog(t('message.info'), when, h('div', { class: 'dialog-scroll' }, sections));
}

function stepOf({ read_seq: readSeq = 0, delivered_seq: deliveredSeq = 0 }, { seq }) {
  if (readSeq >= seq) return 'read';
  return deliveredSeq >= seq ? 'delivered' : 'waiting';
}

function section(step, people) {
  const sign = step === 'waiting' ? icon('clock', 'ticks') : ticks(step);
  const heading = h('h3', { class: 'dialog-heading' }, sign, t(`info.${step}`));
  const rows = people.map((user) =>
    h(
      'li',
      { class: 'person' },
      avatar(user, 'medium'),
      h('span', { class: 'person-name', dir: 'auto' }, nameOf(user)),
    ),
  );
  return h('section', {}, heading, h('ul', {}, rows));
}
