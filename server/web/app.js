import { applyAppearance } from './appearance.js';
import { Chat, address } from './chat.js';
import { chooseLanguage, t } from './i18n/index.js';
import { forTab } from './storage.js';
import { readToken, signIn } from './views/signin.js';

const TOKEN_KEY = 'palabre:token'; // per tab, so that two people can sit in two tabs
const KNOWN_ENDINGS = { token_expired: 'signin.expired', unauthorized: 'signin.unauthorized' };

applyAppearance();
await chooseLanguage();
begin();

function begin() {
  const given = location.hash.includes('token=') ? readToken(location.hash) : null;
  if (given) keep(given);
  const token = forTab.getItem(TOKEN_KEY);
  if (token) showChat(token);
  else showDoor();
  window.addEventListener('hashchange', () => location.hash.includes('token=') && location.reload());
}

/** Keep the token for this tab and take it out of the address bar and the history. */
function keep({ token, conversation }) {
  forTab.setItem(TOKEN_KEY, token);
  history.replaceState(null, '', address(conversation));
}

function showChat(token) {
  new Chat(token, (code) => {
    if (code === null || code in KNOWN_ENDINGS) forTab.removeItem(TOKEN_KEY);
    showDoor(code && (code in KNOWN_ENDINGS ? t(KNOWN_ENDINGS[code]) : t('signin.closed', { code })));
  }).start();
}

function showDoor(problem = null) {
  document.title = t('app.name');
  const submit = (given) => {
    keep(given);
    showChat(given.token);
  };
  document.body.replaceChildren(signIn({ problem, submit }));
  document.querySelector('#token').focus();
}
