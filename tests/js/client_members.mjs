// What the classes of the module really have, for the comparison with the types.
import { io } from 'socket.io-client';
import { Palabre, PalabreError } from '../../clients/js/palabre.js';
import { Conversation } from '../../clients/js/palabre/conversation.js';
import { Store } from '../../clients/js/palabre/store.js';
import { report } from './client_device.mjs';

const members = (instance, parent = Object) => {
  const named = new Set([...Object.keys(instance), ...Object.getOwnPropertyNames(Object.getPrototypeOf(instance))]);
  return [...named].filter((name) => name !== 'constructor' && !(name in parent.prototype));
};

report({
  Palabre: members(new Palabre({ io, url: 'http://127.0.0.1' }), EventTarget),
  PalabreError: members(new PalabreError(), Error),
  Conversation: members(new Conversation('c', () => null)),
  Store: members(new Store()),
});
