import { t } from '../i18n/index.js';
import { rightsIn } from '../rights.js';
import { confirm } from './dialog.js';
import { toast, toastError } from './notices.js';

const NIGHT_MS = 8 * 3_600_000;
const FOREVER = '2100-01-01T00:00:00Z';

/** What a person can do with a whole conversation, as entries of a menu. `actions`: about(id), left(id). */
export function optionsOf(palabre, conversation, actions) {
  const { id } = conversation;
  const isPinned = Boolean(conversation.my?.is_pinned);
  const isUnread = conversation.unread > 0 || conversation.my?.marked_unread;
  const run = (act, said) => () => act().then(() => said && toast(t(said)), toastError);
  return [
    { label: t('thread.about'), icon: 'info', action: () => actions.about(id) },
    isUnread
      ? { label: t('option.read'), icon: 'check', action: run(() => markRead(palabre, conversation)) }
      : {
          label: t('option.unread'),
          icon: 'unread',
          action: run(() => palabre.markUnread(id, true), 'option.unreadDone'),
        },
    {
      label: t(isPinned ? 'option.unpin' : 'option.pin'),
      icon: 'pin',
      action: run(() => palabre.pinConversation(id, !isPinned)),
    },
    ...muteEntries(palabre, conversation, run),
    archiveEntry(palabre, conversation, run),
    ...(rightsIn(palabre, conversation).leave ? [null, leaveEntry(palabre, id, actions)] : []),
  ];
}

function muteEntries(palabre, conversation, run) {
  const { id } = conversation;
  if (conversation.isMuted)
    return [{ label: t('option.unmute'), icon: 'bell', action: run(() => palabre.mute(id, null)) }];
  const night = () => new Date(palabre.now() + NIGHT_MS).toISOString();
  return [
    { label: t('option.muteNight'), icon: 'mute', action: run(() => palabre.mute(id, night()), 'option.muteDone') },
    { label: t('option.mute'), icon: 'mute', action: run(() => palabre.mute(id, FOREVER), 'option.muteDone') },
  ];
}

function archiveEntry(palabre, conversation, run) {
  const { id, isArchived } = conversation;
  return {
    label: t(isArchived ? 'option.unarchive' : 'option.archive'),
    icon: 'archive',
    action: run(() => palabre.archive(id, !isArchived), isArchived ? 'option.unarchiveDone' : 'option.archiveDone'),
  };
}

function leaveEntry(palabre, id, actions) {
  return { label: t('option.leave'), icon: 'leave', isDanger: true, action: () => leave(palabre, id, actions) };
}

/** Ask, then leave. */
export async function leave(palabre, id, actions) {
  if (!(await confirm(t('leave.title'), t('leave.lead'), t('leave.confirm')))) return;
  try {
    await palabre.leave(id);
    actions.left(id);
  } catch (error) {
    toastError(error);
  }
}

async function markRead(palabre, conversation) {
  palabre.read(conversation.id, conversation.lastSeq);
  if (conversation.my?.marked_unread) await palabre.markUnread(conversation.id, false);
}
