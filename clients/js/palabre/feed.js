const STIRRED_MS = 300;

/** What the server tells: each event goes into the store, and what is missing between two of them is asked for. */
export class Feed {
  #store;
  #catchUp;
  #outbox;
  #typing;
  #presence;
  #meet;
  #refresh;
  #unheard = new Set(); // conversations with news, until somebody has looked
  #touch;
  #emit;
  #comeAgain;

  constructor({ store, catchUp, outbox, typing, presence, meet, refresh, touch, emit, comeAgain }) {
    this.#store = store;
    this.#catchUp = catchUp;
    this.#outbox = outbox;
    this.#typing = typing;
    this.#presence = presence;
    this.#meet = meet;
    this.#refresh = refresh;
    this.#touch = touch;
    this.#emit = emit;
    this.#comeAgain = comeAgain;
  }

  hear(name, event) {
    if (event.prev_event_seq !== undefined) this.#followRoom(event);
    if (event.prev_user_seq !== undefined) this.#followPerson(event);
    this.#heard[name]?.(event);
  }

  /** A place in a conversation's room, which is at `head`. */
  seat(id, head) {
    const conversation = this.#store.conversation(id);
    conversation.isSeated = true;
    conversation.cursor.start(head);
    if (conversation.cursor.behind) this.#catchUp.want(id);
  }

  /** No room is heard any more. */
  lost() {
    for (const conversation of this.#store.conversations.values()) {
      conversation.isSeated = false;
      conversation.cursor.ask();
      for (const userId of [...conversation.typing.keys()]) this.#typing.gone(conversation, userId);
    }
  }

  /** An answer of `sync` is in the store. Conversations that were reset lost their counts: the server knows them. */
  caughtUp(answer) {
    for (const entry of answer.conversations ?? []) {
      for (const message of entry.messages ?? []) this.#settleIfMine(message);
      if (entry.reset) this.#meet(entry.id);
    }
    for (const { conversation_id: id, is_active: isActive } of answer.memberships ?? []) {
      if (id && isActive && !this.#store.conversation(id).info) this.#meet(id);
    }
  }

  /** What each event says; whether it left a hole was looked at before. */
  #heard = {
    'message:created': (event) => this.#messageCreated(event),
    'message:updated': ({ message }) => this.#store.applyMessage(message),
    'message:deleted': ({ message }) => this.#store.applyMessage(message),
    'participant:added': (event) => this.#participant(event),
    'participant:removed': (event) => this.#participant(event),
    'participant:updated': (event) => this.#participant(event),
    'conversation:updated': ({ conversation }) => this.#store.applyConversation(conversation),
    'conversation:added': (event) => this.#conversationAdded(event),
    'conversation:removed': (event) => this.#conversationRemoved(event),
    'conversation:activity': ({ conversation_id: id }) => this.#stirred(id),
    'my:updated': (event) => this.#store.applyMy(event.conversation_id, event.my),
    'my:message_hidden': (event) => this.#store.hide(event.conversation_id, event.message_ids),
    'my:unread': ({ total }) => this.#tookTotal(total),
    'receipt:read': (event) => this.#receipt(event, { read_seq: event.up_to_seq }),
    'receipt:delivered': (event) => this.#receipt(event, { delivered_seq: event.up_to_seq }),
    'user:updated': ({ user }) => this.#userUpdated(user),
    'typing:started': (event) => this.#typingStarted(event),
    'typing:stopped': (event) => this.#typing.gone(this.#store.conversation(event.conversation_id), event.user_id),
    'presence:changed': (event) => this.#presence.heard(event),
    'session:resync': (event) => this.#resync(event),
  };

  #followRoom({ conversation_id: id, event_seq: number, prev_event_seq: previous }) {
    const conversation = this.#store.conversation(id);
    conversation.cursor.follow(number, previous);
    if (conversation.info) this.#complete(conversation);
    else
      this.#meet(id).then(
        () => this.#complete(conversation),
        () => {},
      );
  }

  #complete({ id, cursor }) {
    if (cursor.isComplete) return;
    this.#catchUp.want(id);
    this.#catchUp.run();
  }

  #followPerson({ user_seq: number, prev_user_seq: previous }) {
    this.#store.cursor.follow(number, previous);
    if (!this.#store.cursor.behind) return;
    this.#catchUp.wantPersonal();
    this.#catchUp.run();
  }

  #messageCreated({ message }) {
    const isNews = this.#store.applyMessage(message);
    const isMine = message.sender?.id === this.#store.me.id;
    if (isMine) this.#outbox.settle(message.client_msg_id);
    if (message.sender) this.#typing.gone(this.#store.conversation(message.conversation_id), message.sender.id);
    if (isNews && !isMine) this.#emit('message', { message });
  }

  #settleIfMine({ sender, client_msg_id: clientMsgId }) {
    if (sender && sender.id === this.#store.me?.id) this.#outbox.settle(clientMsgId);
  }

  #participant({ conversation_id: id, participant }) {
    this.#store.applyParticipant(id, participant);
  }

  #conversationAdded({ conversation, event_seq: eventSeq }) {
    const record = this.#store.applyConversation(conversation);
    record.setMembership(true, eventSeq);
    this.seat(record.id, conversation.head);
    this.#catchUp.run();
  }

  #conversationRemoved({ conversation_id: id, event_seq: eventSeq, reason }) {
    const record = this.#store.conversation(id);
    record.setMembership(false, eventSeq);
    this.#touch(id);
    if (!record.isMember) this.#emit('removed', { id, reason });
  }

  /** Something was said where this socket hears nothing: one page of the list says it for all of them. */
  #stirred(id) {
    this.#unheard.add(id);
    if (this.#unheard.size > 1) return;
    setTimeout(() => {
      const [one, ...more] = this.#unheard;
      this.#unheard.clear();
      Promise.resolve(more.length > 0 ? this.#refresh() : this.#meet(one)).catch(() => {});
    }, STIRRED_MS);
  }

  #receipt(event, cursors) {
    this.#store.applyReceipt(event.conversation_id, event.user_id, cursors);
  }

  #typingStarted(event) {
    if (event.user_id !== this.#store.me.id) this.#typing.heard(this.#store.conversation(event.conversation_id), event);
  }

  #userUpdated(user) {
    this.#store.applyUser(user);
    if (user.id === this.#store.me.id) this.#store.me = { ...this.#store.me, ...user };
    for (const id of this.#store.conversations.keys()) this.#touch(id);
  }

  #tookTotal(total) {
    this.#store.serverUnread = total;
    this.#touch(null);
  }

  /** At a moment of our own, so that a thousand clients do not ask at once. */
  #resync({ conversation_ids: ids, within_ms: most = 0, epoch }) {
    // The next hello says so too, and nothing known counts from there on.
    if (epoch && epoch !== this.#store.epoch) return this.#comeAgain(Math.random() * most);
    setTimeout(() => {
      const followed = [...this.#store.conversations.values()].filter((one) => one.cursor.at !== null);
      for (const id of ids ?? followed.map((one) => one.id)) this.#catchUp.want(id);
      if (!ids) this.#catchUp.wantPersonal();
      this.#catchUp.run();
    }, Math.random() * most);
  }
}
