/** What this person may do in a conversation, as the server will decide it; so that nothing is offered that it refuses. */
export function rightsIn(palabre, conversation) {
  const { info, my, isKnown } = conversation;
  const isDirect = info?.type === 'direct';
  const role = palabre.me?.role === 'admin' ? 'owner' : my?.role;
  const leads = isKnown && !isDirect && (role === 'owner' || role === 'admin');
  return { rename: leads, add: leads, remove: leads, setRole: leads, leave: isKnown && !isDirect, deleteAny: leads };
}

/** What this person may do with a message; time passes, so ask again each time. */
export function rightsOn(palabre, conversation, message) {
  if (!message || message.is_deleted || message.type === 'system') return { edit: false, erase: false, hide: false };
  const isOwn = message.sender?.id === palabre.me?.id;
  const writes = conversation.canWrite;
  const hasTime = (limit) => isTimeless(palabre, conversation) || isWithin(palabre, message, limit);
  return {
    edit: isOwn && writes && message.content !== '' && hasTime('edit_seconds'),
    erase: (isOwn && writes && hasTime('delete_seconds')) || rightsIn(palabre, conversation).deleteAny,
    hide: conversation.isKnown,
  };
}

const isTimeless = (palabre, { my }) => palabre.me?.role === 'admin' || ['owner', 'admin'].includes(my?.role);

/** A limit of 0 is none. */
function isWithin(palabre, message, limit) {
  const seconds = palabre.store.limits[limit];
  if (!seconds) return true;
  return palabre.now() - new Date(message.created_at).getTime() < seconds * 1_000;
}
