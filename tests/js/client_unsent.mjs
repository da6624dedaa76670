// Ada writes: the answer to one message is lost, two are written while there is no server. Then she is killed.
import { Device, FileStorage, io, report } from './client_device.mjs';

const [url, token, path] = process.argv.slice(2);

/** A wire that brings requests, and loses the answers to what is sent and everything told. */
let isDeaf = false;
const deaf = (address, options) => {
  const socket = io(address, options);
  const { timeout, onAny } = socket;
  socket.timeout = (ms) => {
    const timed = timeout.call(socket, ms);
    if (!isDeaf) return timed;
    return {
      emitWithAck: (...asked) =>
        timed
          .emitWithAck(...asked)
          .then(() => report({ stored: 'one' }))
          .then(() => new Promise(() => {})),
    };
  };
  socket.onAny = (listener) => onAny.call(socket, (...told) => isDeaf || listener(...told));
  return socket;
};

const ada = await Device.of(url, token, { io: deaf, storage: new FileStorage(path) });
const { id } = await ada.createDirect('bob');
await ada.open(id);
const paper = await ada.upload(new Blob(['A lease']), { name: 'lease.txt' });
isDeaf = true;
ada.send(id, 'one');
await ada.until(() => !ada.isOnline, 'the server is killed');
ada.send(id, 'two');
ada.send(id, 'three', { attachments: [paper] });
ada.send(id, 'never');
ada.discard(ada.pending(id).at(-1).payload.client_msg_id);
report({ id, pending: ada.pending(id).map(({ payload }) => payload.content) });
setInterval(() => {}, 1_000); // until somebody kills this
