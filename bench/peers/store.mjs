// What a good team writes by hand with Socket.IO and PostgreSQL: the member checked, the message stored, the
// conversation touched, the room told, the sender answered after the commit; and a history page over HTTP.
//
//     DATABASE_URL=postgresql://... node store.mjs PORT
import { createServer } from 'node:http';
import { Server } from 'socket.io';
import pg from 'pg';

const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 10 });
const PAGE = 50;

await pool.query(`
  CREATE TABLE IF NOT EXISTS conversations (
    id bigint PRIMARY KEY, last_message_id bigint, updated_at timestamptz NOT NULL DEFAULT now()
  );
  CREATE TABLE IF NOT EXISTS members (
    conversation_id bigint NOT NULL REFERENCES conversations, user_id bigint NOT NULL, PRIMARY KEY (conversation_id, user_id)
  );
  CREATE TABLE IF NOT EXISTS messages (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    conversation_id bigint NOT NULL REFERENCES conversations, sender_id bigint NOT NULL,
    type text NOT NULL, content text NOT NULL, created_at timestamptz NOT NULL DEFAULT now()
  );
  CREATE INDEX IF NOT EXISTS messages_page ON messages (conversation_id, id);
  INSERT INTO conversations (id) SELECT generate_series(1, 1000) ON CONFLICT DO NOTHING;
  INSERT INTO members SELECT (n + 1) / 2, n FROM generate_series(1, 2000) n ON CONFLICT DO NOTHING;
`);

const isMember = (conversation, user) =>
  pool.query('SELECT 1 FROM members WHERE conversation_id = $1 AND user_id = $2', [conversation, user]).then(({ rowCount }) => rowCount > 0);

const http = createServer(async (request, response) => {
  const { pathname, searchParams } = new URL(request.url, 'http://localhost');
  const conversation = Number(pathname.split('/')[2]);
  const user = Number(request.headers.authorization?.split(' ')[1]);
  const answer = (status, body) => {
    const text = JSON.stringify(body);
    response.writeHead(status, { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(text) }).end(text);
  };
  if (!(await isMember(conversation, user))) return answer(404, { error: 'not_found' });
  const before = Number(searchParams.get('before') ?? Number.MAX_SAFE_INTEGER);
  const { rows } = await pool.query(
    `SELECT id, conversation_id, sender_id, type, content, created_at FROM messages
     WHERE conversation_id = $1 AND id < $2 ORDER BY id DESC LIMIT ${PAGE}`,
    [conversation, before],
  );
  answer(200, { results: rows.reverse() });
});
const io = new Server(http);

io.on('connection', (socket) => {
  const user = Number(socket.handshake.auth.user);
  socket.join(`conversation ${Math.floor((user + 1) / 2)}`);
  socket.on('msg', async ({ conversation, type, content }, acknowledge) => {
    if (!(await isMember(conversation, user))) return acknowledge({ ok: false, error: 'not_found' });
    const { rows } = await pool.query(
      'INSERT INTO messages (conversation_id, sender_id, type, content) VALUES ($1, $2, $3, $4) RETURNING id, created_at',
      [conversation, user, type, content],
    );
    const message = { ...rows[0], conversation, sender: user, type, content };
    await pool.query('UPDATE conversations SET last_message_id = $2, updated_at = now() WHERE id = $1', [conversation, message.id]);
    socket.to(`conversation ${conversation}`).emit('msg', message);
    acknowledge({ ok: true, message });
  });
});

http.listen(Number(process.argv[2]), '127.0.0.1', 4096);
