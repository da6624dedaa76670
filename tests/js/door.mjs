// Sockets of the official client that a test steers by lines of JSON: what a test asks for comes in on
// standard input, what the sockets hear goes out.
import { createInterface } from 'node:readline';
import { io } from 'socket.io-client';

const sockets = new Map();
const tell = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

const does = {
  connect({ socket: number, url, options }) {
    const socket = io(url, { forceNew: true, ...options });
    sockets.set(number, socket);
    const says = (line) => tell({ socket: number, ...line });
    socket.onAny((event, data) => says({ event, data }));
    socket.on('connect_error', (error) => says({ refused: error.data ?? { message: error.message } }));
    socket.on('disconnect', (closed) => says({ closed }));
    socket.on('connect', () => {
      const { engine } = socket.io;
      const wanted = options.transports.at(-1);
      if (engine.transport.name === wanted) says({ transport: wanted });
      else engine.on('upgrade', ({ name }) => says({ transport: name }));
    });
  },
  async ask({ socket, id, request }) {
    tell({ socket, id, answer: await sockets.get(socket).emitWithAck(...request) });
  },
  close({ socket }) {
    sockets.get(socket).disconnect();
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const order = JSON.parse(line);
  does[order.do](order);
}
process.exit();
