// The reference Socket.IO server doing nothing but a broadcast: node echo.mjs PORT
import { createServer } from 'node:http';
import { Server } from 'socket.io';

const http = createServer();
const io = new Server(http);

io.on('connection', (socket) => {
  socket.join('room');
  socket.on('msg', (payload, acknowledge) => {
    io.to('room').emit('msg', payload);
    acknowledge?.({ ok: true });
  });
});

http.listen(Number(process.argv[2]), '127.0.0.1', 4096);
