"""The generated types: fresh, and what the real compiler makes of programs that use them."""

import asyncio
import re
import shutil
import sys
from pathlib import Path

import pytest

from server.handlers import registry
from server.schemas.events import EVENTS
from tests.documents import ROOT
from tests.programs import FOLDER, compiled

pytestmark = pytest.mark.one_database

PROGRAM = ROOT / "docs" / "generate_types.py"
TYPES = ROOT / "clients" / "js" / "events.d.ts"

HEAD = """\
import { io, type Socket } from 'socket.io-client';
import type {
  Answer, ClientToServerEvents, Handshake, MessageSent, My, RoomMessage, ServerToClientEvents,
} from './events.js';

const auth: Handshake = { token: 'x', cursors: { a: 1, b: null }, user_seq: 0 };
const socket: Socket<ServerToClientEvents, ClientToServerEvents> = io('http://127.0.0.1', { auth });
const send = { conversation_id: 'c', client_msg_id: '1', content: 'Hi' };
const read = await socket.emitWithAck('receipt:read', { conversation_id: 'c', up_to_seq: 1 });
"""

RIGHT = """\
socket.on('message:created', ({ message, event_seq, prev_event_seq }) => {
  const heard: RoomMessage = message;
  const missing: boolean = prev_event_seq < event_seq - 1;
  console.log(heard.sender.name, heard.attachments[0]?.thumbnails[0]?.url, missing);
});
socket.on('session:ready', ({ limits, joined, sync }) => {
  const seconds: number = limits.edit_seconds + (joined['c'] ?? 0);
  console.log(seconds, sync?.conversations[0]?.messages[0]?.status === 'read');
});
socket.on('participant:removed', ({ reason }) => {
  const why: 'left' | 'removed' = reason;
  console.log(why);
});
if (read.ok) console.log(read.data.unread_count);
const answer: Answer<MessageSent> = await socket.emitWithAck('message:send', send);
if (answer.ok) console.log(answer.data.message.seq, answer.data.duplicate);
else console.log(answer.error.code, answer.error.retry_after_ms);
const mine = await socket.timeout(5_000).emitWithAck('conversation:update_my', {
  conversation_id: 'c', muted_until: null,
});
const my: My | null = mine.ok ? mine.data.my : null;
socket.emit('typing:start', { conversation_id: 'c' }, (said) => console.log(said.ok, my));
"""

WRONG = """\
socket.on('message:create', () => {});
socket.on('message:created', ({ mesage }) => console.log(mesage));
socket.on('typing:started', ({ kind }) => console.log(kind === 'speech'));
socket.on('session:ready', ({ limits }) => console.log(limits.message_characters));
socket.emitWithAck('message:sent', send);
socket.emitWithAck('message:send', { ...send, client_msg_id: 1 });
socket.emitWithAck('message:send', { conversation_id: 'c', client_msg_id: '1', contents: 'Hi' });
socket.emitWithAck('message:delete', { message_id: 'm', scope: 'all' });
socket.emitWithAck('message:edit', { content: 'Hi' });
socket.emitWithAck('message:send', send).then((answer) => console.log(answer.data));
if (read.ok) console.log(read.data.unread);
export const hello: Handshake = { tokn: 'x' };
"""


async def test_the_compiler_takes_the_right_program_and_finds_each_mistake(tmp_path: Path) -> None:
    shutil.copy(TYPES, tmp_path)
    (tmp_path / "node_modules").symlink_to(FOLDER / "node_modules")
    (tmp_path / "right.ts").write_text(HEAD + RIGHT)
    (tmp_path / "wrong.ts").write_text(HEAD + WRONG)

    found = await compiled(tmp_path, "right.ts", "wrong.ts")

    assert {mistake.file for mistake in found} == {"wrong.ts"}, found
    first = HEAD.count("\n") + 1
    mistakes = range(first, first + WRONG.count("\n"))
    assert {mistake.line for mistake in found} == set(mistakes), found


def test_every_event_and_request_has_a_type() -> None:
    text = TYPES.read_text(encoding="utf-8")
    told, asked = text.split("export interface ServerToClientEvents {")[1].split(
        "export interface ClientToServerEvents {"
    )
    name = re.compile(r"^  '?([a-z_:]+)'?: \(data: (\w+)", re.MULTILINE)

    assert name.findall(told) == [(one.name, one.payload.__name__) for one in EVENTS]
    assert name.findall(asked) == [
        (one.name, one.schema.__name__) for one in registry().requests.values() if one.on_sockets
    ]


async def test_a_changed_word_is_found(tmp_path: Path) -> None:
    changed = tmp_path / "events.d.ts"
    text = TYPES.read_text(encoding="utf-8")
    changed.write_text(text.replace("event_seq", "eventSeq", 1), encoding="utf-8")

    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *(str(PROGRAM), "--check", str(changed)),
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await process.communicate()

    assert process.returncode == 1
    assert said.decode().startswith("events.d.ts is stale")
