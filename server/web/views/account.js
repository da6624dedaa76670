import { appearance, setAppearance } from '../appearance.js';
import { t } from '../i18n/index.js';
import { avatar } from './avatar.js';
import { h, spoken } from './dom.js';
import { icon } from './icons.js';
import { openMenu } from './menu.js';
import { toast, toastError } from './notices.js';
import { nameOf, roleText } from './words.js';

const ICONS = { auto: 'device', light: 'sun', dark: 'moon' };

/** Who I am, at the foot of the list; `open(button)` shows the menu. */
export function accountButton(me, open) {
  return h(
    'button',
    {
      class: 'account-button',
      type: 'button',
      'aria-haspopup': 'menu',
      onclick: (event) => open(event.currentTarget),
    },
    avatar(me, 'small'),
    h(
      'span',
      { class: 'account-words' },
      spoken(`${t('account.of')} `),
      h('span', { class: 'account-name', dir: 'auto' }, nameOf(me)),
      me.role ? h('span', { class: 'account-role' }, roleText(me.role)) : null,
    ),
    icon('more'),
  );
}

/** `actions`: archive(), signOut(). */
export function openAccountMenu(button, palabre, notifications, actions) {
  const look = (name) => ({
    label: t(`appearance.${name}`),
    icon: ICONS[name],
    checked: appearance() === name,
    isOneOf: true,
    action: () => setAppearance(name),
  });
  openMenu(button, [
    notificationsEntry(notifications),
    invisibleEntry(palabre),
    { label: t('archive.title'), icon: 'archive', action: actions.archive },
    null,
    look('auto'),
    look('light'),
    look('dark'),
    null,
    { label: t('session.signout'), icon: 'leave', action: actions.signOut },
  ]);
}

/** Seen by nobody, on all devices of this person. */
function invisibleEntry(palabre) {
  const isOn = palabre.presenceOf(palabre.me.id)?.status === 'invisible';
  const action = () =>
    palabre.setStatus(isOn ? 'active' : 'invisible').then(() => toast(t(isOn ? 'invisible.off' : 'invisible.on')), toastError);
  return { label: t('invisible.label'), icon: 'hidden', checked: isOn, action };
}

function notificationsEntry(notifications) {
  const isOn = notifications.state === 'on';
  const action = async () => {
    const state = await notifications.switch(isOn ? 'off' : 'on');
    toast(t(`notifications.${state}`));
  };
  return { label: t('notifications.label'), icon: 'bell', checked: isOn, action };
}
