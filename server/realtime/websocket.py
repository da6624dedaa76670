"""The WebSocket of RFC 6455, straight on a TCP transport: no task, timer or queue while it is idle.

Text goes to a client as the bytes in which it came: whoever reads its JSON finds bad UTF-8. Writes
keep their order. What is written in one turn of the loop leaves together. A client is slow from the
moment the kernel leaves a byte behind until all of it is taken: meanwhile writes wait here, in a
backlog whose bytes are counted; who bounds them is the client's affair.
"""

import asyncio
import socket
from collections import deque
from typing import TYPE_CHECKING, Protocol

from aiohttp._websocket.helpers import websocket_mask

from server.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable

REASON_BYTES = 123
"""What the reason of a close frame may hold."""

_TURN_BYTES = 65_536
"""About how much waits for the end of a turn; about as much a transport is given at once."""

_READ_BYTES = 65_536
_CONTROL_BYTES = 125
_FRAGMENTS = 1_024
"""In how many frames a message may come: each costs, also an empty one."""

_TEXT, _BINARY, _CLOSE, _PING, _PONG = 0x1, 0x2, 0x8, 0x9, 0xA
_FINAL = 0x80
_WHOLE_TEXT = _FINAL | _TEXT

NORMAL, PROTOCOL_ERROR, UNSUPPORTED, INVALID_TEXT, TOO_LARGE = 1000, 1002, 1003, 1007, 1009
_NEVER_SENT = frozenset({1004, 1005, 1006, 1015})


log = get_logger(__name__)


class MalformedError(Exception):
    """The client sent what no client sends; with the close code that says so."""

    def __init__(self, code: int, problem: str) -> None:
        self.code = code
        super().__init__(problem)


class Client(Protocol):
    """Whose frames these are."""

    def heard(self, text: bytearray) -> None:
        """Take a text; raises `MalformedError` if it is none that clients send."""

    def ponged(self) -> None:
        """Learn that the client is there."""

    def malformed(self, error: MalformedError) -> None:
        """Learn that nothing more of what the client sends can be understood."""

    def slowed(self) -> None:
        """Learn that what is written now waits."""

    def quickened(self) -> None:
        """Learn that nothing waits any more."""

    def goodbye(self) -> None:
        """Learn that the client closes the connection."""

    def gone(self) -> None:
        """Learn that the connection has ended."""


def framed(payload: bytes, kind: int = _TEXT) -> bytes:
    """Return one unmasked, unfragmented frame, a text if nothing else is said."""
    length = len(payload)
    if length < 126:
        return bytes((_FINAL | kind, length)) + payload
    if length < 65_536:
        return bytes((_FINAL | kind, 126)) + length.to_bytes(2) + payload
    return bytes((_FINAL | kind, 127)) + length.to_bytes(8) + payload


PING = framed(b"", _PING)


def plain_socket(transport: asyncio.Transport) -> socket.socket:
    """Return the socket below a transport, which asyncio shows without its `send`."""
    below: socket.socket = transport.get_extra_info("socket")._sock  # noqa: SLF001
    return below


def _head(data: bytes, at: int) -> tuple[int, int]:
    """Return where the payload of the frame at `at` begins, and its length.

    As long as that is not known it is where the head goes on to at least, and 0.
    """
    if len(data) < at + 2:
        return at + 2, 0
    second = data[at + 1]
    if second < 0x80:
        raise MalformedError(PROTOCOL_ERROR, "A client masks its frames.")
    length = second & 0x7F
    if length < 126:
        return at + 6, length
    start = at + (8 if length == 126 else 14)
    if len(data) < start:
        return start, 0
    return start, int.from_bytes(data[at + 2 : start - 4])


class Turn:
    """Whose writes of this turn of the loop have not left yet."""

    __slots__ = ("_loop", "_sockets")

    def __init__(self) -> None:
        """Begin with nobody."""
        self._loop = asyncio.get_running_loop()
        self._sockets: list[WebSocket] = []

    def add(self, writer: "WebSocket") -> None:
        """Let what somebody writes leave when everything else of this turn is done."""
        if not self._sockets:
            self._loop.call_soon(self.end)
        self._sockets.append(writer)

    def end(self) -> None:
        """Let all of it leave now."""
        if self._sockets:
            writers, self._sockets = self._sockets, []
            for writer in writers:
                try:
                    writer.flush()
                except Exception:
                    log.exception("a connection could not be written to")


class WebSocket(asyncio.Protocol):
    """One connection, from the end of its handshake on.

    `send` is the socket's own: it takes bytes past everything else that is written here, at once
    and perhaps not all of them. Use it only while the client is not slow and no turn is open, and
    hand what it left behind to `rest()`.
    """

    __slots__ = (
        "_at",
        "_backlog",
        "_backlog_bytes",
        "_client",
        "_fragments",
        "_handed",
        "_is_closing",
        "_is_deaf",
        "_is_held",
        "_is_stuck",
        "_limit",
        "_needed",
        "_rest",
        "_room",
        "_said",
        "_said_bytes",
        "_turn",
        "send",
        "transport",
    )

    def __init__(self, client: Client, turn: Turn, *, limit: int) -> None:
        """Serve a client, whose messages hold at most `limit` bytes."""
        self._client = client
        self._turn = turn
        self._limit = limit
        self.transport: asyncio.Transport | None = None
        self.send: Callable[[bytes], int] = len
        # What was received and is not understood yet: from `_at` on, `_needed` bytes at least.
        self._rest: bytes | bytearray | None = None
        self._at = self._needed = 0
        self._fragments: list[bytearray] | None = None
        self._is_held = self._is_deaf = self._is_closing = False
        # What was written in this turn of the loop.
        self._said: list[bytes] | None = None
        self._said_bytes = 0
        # What was written while the transport holds enough.
        self._backlog: deque[bytes] | None = None
        self._backlog_bytes = self._handed = 0
        self._is_stuck = False
        self._room: tuple[int, asyncio.Future[None]] | None = None

    def begin(self, transport: asyncio.Transport, *, is_stuck: bool) -> None:
        """Take the transport over, which may have told that its buffer is too full (`is_stuck`)."""
        self.transport = transport
        transport.max_size = _READ_BYTES  # type: ignore[attr-defined]  # a quarter of the usual
        self.send = plain_socket(transport).send
        if is_stuck:
            self.pause_writing()
        # Whatever is unsent makes a client slow: then nothing written past it can overtake it.
        transport.set_write_buffer_limits(0)

    # Reading

    def data_received(self, data: bytes) -> None:
        """Take what came, which may be any part of any number of frames."""
        rest = self._rest
        if self._is_deaf:
            return
        if rest is None and not self._is_held:
            self._read(data, 0)
            return
        if not isinstance(rest, bytearray):
            rest = self._rest = bytearray((rest or b"")[self._at :])
            self._at = 0
        rest += data
        if self._is_held:
            if self.transport is not None:
                self.transport.pause_reading()
        elif len(rest) >= self._needed:
            self._rest = None
            self._read(bytes(rest), 0)

    def _read(self, data: bytes, at: int) -> None:
        """Understand as many whole frames as there are; keep the rest."""
        try:
            size = len(data)
            while at < size and not self._is_deaf:
                end = self._frame(data, at)
                if end > size or self._is_held:
                    at = at if end > size else end
                    if at < size:
                        self._keep(data, at, end - at)
                    return
                at = end
        except MalformedError as error:
            self.ignore()
            self._client.malformed(error)

    def _keep(self, data: bytes, at: int, needed: int) -> None:
        self._rest, self._at, self._needed = data, at, needed
        if not self._is_held:
            self._rest, self._at = bytearray(data[at:]), 0

    def _frame(self, data: bytes, at: int) -> int:
        """Take the frame that begins at `at`; return where it ends, which may be not yet here."""
        start, length = _head(data, at)
        end = start + length
        if len(data) < start:
            return end
        first = data[at]
        if first != _WHOLE_TEXT or self._fragments is not None:
            self._require_sense(first)
        if length > self._limit:
            raise MalformedError(TOO_LARGE, "The frame is too large.")
        if len(data) < end:
            return end
        payload = bytearray(data[start:end])
        websocket_mask(data[start - 4 : start], payload)
        if first == _WHOLE_TEXT:
            self._client.heard(payload)
        else:
            self._special(first, payload)
        return end

    def _require_sense(self, first: int) -> None:
        """Refuse a frame whose first byte says what cannot be, before the rest of it is here."""
        kind, is_final = first & 0x0F, first & _FINAL
        if first & 0x70:
            raise MalformedError(PROTOCOL_ERROR, "A reserved bit is set.")
        if kind in (_CLOSE, _PING, _PONG):
            if not is_final:
                raise MalformedError(PROTOCOL_ERROR, "A control frame comes whole.")
        elif kind == _BINARY:
            raise MalformedError(UNSUPPORTED, "A frame is text.")
        elif kind not in (0, _TEXT):
            raise MalformedError(PROTOCOL_ERROR, "There is no such kind of frame.")
        elif (kind == 0) == (self._fragments is None):
            raise MalformedError(PROTOCOL_ERROR, "A message is continued until it ends.")

    def _special(self, first: int, payload: bytearray) -> None:
        if first & 0x08:
            self._control(first & 0x0F, payload)
        else:
            self._fragment(first, payload)

    def _fragment(self, first: int, payload: bytearray) -> None:
        fragments = self._fragments
        if fragments is None:
            fragments = self._fragments = []
        fragments.append(payload)
        if len(fragments) > _FRAGMENTS or sum(map(len, fragments)) > self._limit:
            raise MalformedError(TOO_LARGE, "The frame is too large.")
        if first & _FINAL:
            self._fragments = None
            self._client.heard(bytearray().join(fragments))

    def _control(self, kind: int, payload: bytearray) -> None:
        if len(payload) > _CONTROL_BYTES:
            raise MalformedError(PROTOCOL_ERROR, "A control frame is short.")
        if kind == _PING:
            self._pong(framed(bytes(payload), _PONG))
        elif kind == _PONG:
            self._client.ponged()
        else:
            self._answer_close(payload)

    def _pong(self, answer: bytes) -> None:
        """Answer a ping; of several that wait in a row the latest is enough.

        Otherwise whoever asks and does not read would fill the backlog with answers.
        """
        backlog = self._backlog
        if backlog and backlog[-1][0] == answer[0]:
            self._backlog_bytes -= len(backlog.pop())
        self.write(answer)

    def _answer_close(self, payload: bytearray) -> None:
        code = int.from_bytes(payload[:2]) if payload else NORMAL
        if len(payload) == 1 or not 1000 <= code < 5000 or code in _NEVER_SENT:
            raise MalformedError(PROTOCOL_ERROR, "A close frame has a code.")
        self.close(code)
        self.ignore()
        self._client.goodbye()
        if self.transport is not None and not self._backlog:
            self.transport.close()

    def ignore(self) -> None:
        """Throw away whatever else comes."""
        self._is_deaf = True
        self._rest = self._fragments = None

    # Stopping to read

    @property
    def is_held(self) -> bool:
        """Return whether reading has stopped."""
        return self._is_held

    def hold(self) -> None:
        """Stop reading, after the frame that is being taken.

        The transport is stopped by what comes then, if anything does: nearly nobody sends more
        before they are in, and stopping and going on are two system calls each.
        """
        self._is_held = True

    def read_on(self) -> None:
        """Read again, first what came before."""
        if not self._is_held:
            return
        self._is_held = False
        rest, self._rest = self._rest, None
        if rest is not None and not self._is_deaf:
            self._read(bytes(rest), self._at)
        if self.transport is not None and not self._is_held:
            self.transport.resume_reading()

    # Writing

    @property
    def is_slow(self) -> bool:
        """Return whether what is written now waits."""
        return self._backlog is not None

    @property
    def is_closing(self) -> bool:
        """Return whether the last frame has been written."""
        return self._is_closing

    @property
    def unsent(self) -> int:
        """Return the bytes that the kernel has not taken yet."""
        if self.transport is None:
            return 0
        waiting = self._said_bytes + self._backlog_bytes
        return self.transport.get_write_buffer_size() + waiting

    @property
    def sent(self) -> int:
        """Return a number that grows when the kernel takes something from a slow client's bytes."""
        if self.transport is None:
            return 0
        return self._handed - self.transport.get_write_buffer_size()

    def write(self, frames: bytes) -> None:
        """Send whole frames, after all that was written before, together with this turn's."""
        if self._is_closing or self.transport is None:
            return
        if self._backlog is not None:
            self._backlog.append(frames)
            self._backlog_bytes += len(frames)
            return
        if self._said is None:
            self._said = [frames]
            self._turn.add(self)
        else:
            self._said.append(frames)
        self._said_bytes += len(frames)
        if self._said_bytes > _TURN_BYTES:
            self.flush()

    def flush(self) -> None:
        """Let what was written in this turn leave."""
        said, self._said, self._said_bytes = self._said, None, 0
        if said is None or self.transport is None:
            return
        frames = said[0] if len(said) == 1 else b"".join(said)
        try:
            taken = self.send(frames)
        except OSError:
            taken = 0
        if taken != len(frames):
            self.rest(frames, taken)

    def rest(self, frames: bytes, taken: int) -> None:
        """Send what the socket left of some frames; a connection that broke ends by that."""
        if self.transport is not None:
            # Its number grows as the rest is taken.
            self._handed += len(frames) - taken
            self.transport.write(frames[taken:])

    def close(self, code: int = NORMAL, reason: bytes = b"") -> None:
        """Say goodbye, as the last thing; the client answers, or somebody aborts the connection."""
        self.write(framed(code.to_bytes(2) + reason, _CLOSE))
        self.flush()
        self._is_closing = True

    def hang_up(self) -> None:
        """Say nothing more, and listen no more; the client sees that and ends the connection."""
        self.ignore()
        self.flush()
        if self.transport is not None and not self._backlog and self.transport.can_write_eof():
            self.transport.write_eof()

    def abort(self) -> None:
        """Cut the connection now, whatever is unsent."""
        self._said, self._said_bytes = None, 0
        if self.transport is not None:
            self.transport.abort()

    async def room(self, below: int) -> None:
        """Wait until less than `below` bytes are unsent, or nothing can be sent any more."""
        if self.unsent < below or self._backlog is None:
            return
        self._room = (below, asyncio.get_running_loop().create_future())
        await self._room[1]

    def pause_writing(self) -> None:
        """Learn from the transport that it holds enough."""
        self._is_stuck = True
        if self._backlog is None:
            self._backlog = deque()
            self._client.slowed()

    def resume_writing(self) -> None:
        """Learn from the transport that it has sent most of what it held."""
        self._is_stuck = False
        backlog, transport = self._backlog, self.transport
        if backlog is None or transport is None:
            return
        while backlog and not self._is_stuck:
            frames = self._next(backlog)
            self._handed += len(frames)
            transport.write(frames)
        self._tell_room()
        if not backlog and not self._is_stuck:
            self._backlog = None
            if self._is_closing and self._is_deaf:
                transport.close()
            else:
                self._client.quickened()

    def _next(self, backlog: deque[bytes]) -> bytes:
        """Take some frames out of the backlog, about as much as the transport holds."""
        taken, size = [], 0
        while backlog and size < _TURN_BYTES:
            taken.append(backlog.popleft())
            size += len(taken[-1])
        self._backlog_bytes -= size
        return b"".join(taken)

    def _tell_room(self) -> None:
        if self._room is not None and (self.transport is None or self.unsent < self._room[0]):
            (_, waiter), self._room = self._room, None
            if not waiter.done():
                waiter.set_result(None)

    # The end

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002
        """Learn that the transport has ended."""
        self.ignore()
        self.transport = self._backlog = self._said = None
        self._backlog_bytes = self._said_bytes = 0
        self.send = len
        self._tell_room()
        self._client.gone()
