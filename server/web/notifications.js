import { t } from './i18n/index.js';
import { forDevice } from './storage.js';
import { nameOf, senderOf, textOf, titleOf } from './views/words.js';

const KEY = 'palabre:notifications';

/** Tells the desk what was said while nobody looked, if the person asked for it and the browser allows it. */
export class Notifications {
  #palabre;
  #open;
  #shown = new Map(); // conversation id -> the notification that stands for it

  /** `open(conversationId)` is told when somebody follows a notification. */
  constructor(palabre, open) {
    this.#palabre = palabre;
    this.#open = open;
  }

  /** `on`, `off`, `denied` by the browser, or `unavailable` (a page without TLS has none). */
  get state() {
    if (typeof Notification === 'undefined' || !window.isSecureContext) return 'unavailable';
    if (Notification.permission === 'denied') return 'denied';
    return Notification.permission === 'granted' && forDevice.getItem(KEY) === 'on' ? 'on' : 'off';
  }

  /** Resolves with the state after the browser has asked the person. */
  async switch(wanted) {
    forDevice.removeItem(KEY);
    if (wanted === 'on' && this.state === 'off' && (await Notification.requestPermission()) === 'granted')
      forDevice.setItem(KEY, 'on');
    return this.state;
  }

  tell(message) {
    const conversation = this.#palabre.store.conversation(message.conversation_id);
    if (this.state !== 'on' || conversation.isMuted || message.type === 'system') return;
    const { store } = this.#palabre;
    const title = titleOf(store, conversation);
    const name = nameOf(senderOf(store, message));
    const text = textOf(store, message);
    const body = name === title ? text : t('list.said', { name, text });
    this.#show(conversation.id, title, body);
  }

  /** The person is looking at this conversation now. */
  seen(id) {
    this.#shown.get(id)?.close();
    this.#shown.delete(id);
  }

  #show(id, title, body) {
    try {
      const notification = new Notification(title, { body, tag: id, icon: '/web/favicon.svg' });
      notification.addEventListener('click', () => {
        window.focus();
        notification.close();
        this.#open(id);
      });
      this.#shown.set(id, notification);
    } catch {
      // Android's Chrome only shows those of a service worker.
    }
  }
}
