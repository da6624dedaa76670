"""What is sent to clients: JSON made once, wrapped once for each door that has a listener.

Socket.IO's packets are those of its protocol, revision 5: `2["event",data]` for an event and
`3<id>[data]` for an acknowledgement, both in the namespace `/`, behind the `4` of Engine.IO. On the
plain WebSocket a frame is `{"event", "data"}` or `{"id", "ok", "data" or "error"}`. Around both
stands the header of RFC 6455, section 5.2.
"""

from collections.abc import Iterable, Iterator
from enum import IntEnum
from functools import lru_cache
from struct import Struct
from typing import Any

import orjson

JOINED_BYTES = 131_072
"""About how much is joined into one buffer."""

_TEXT = 0x81  # a whole message, and it is text
_SHORT, _MEDIUM = 126, 65_536
_WITH_SHORT, _WITH_MEDIUM, _WITH_LONG = (Struct(form).pack for form in ("!BB", "!BBH", "!BBQ"))

_Wrapping = tuple[bytes, bytes]
_Around = tuple[_Wrapping, _Wrapping]


class Door(IntEnum):
    """How a client came in, which decides what stands around the JSON it is sent."""

    SOCKETIO = 0
    PLAIN = 1


class Frame:
    """One event or answer on its way, the same bytes for everybody behind the same door.

    What is not durable may be left out for a client that is slow.
    """

    __slots__ = ("_around", "_body", "_packet", "_wired", "is_durable")

    def __init__(self, body: bytes, around: _Around, *, durable: bool = True) -> None:
        """Take the JSON that all doors share, and what each of them puts around it."""
        self.is_durable = durable
        self._body = body
        self._around = around
        self._packet: str | None = None
        self._wired: list[bytes | None] = [None, None]

    @property
    def size(self) -> int:
        """Return the bytes of what all doors share."""
        return len(self._body)

    @property
    def packet(self) -> str:
        """Return what Socket.IO sends, without what Engine.IO puts before it."""
        if self._packet is None:
            head, tail = self._around[Door.SOCKETIO]
            self._packet = b"".join((head[1:], self._body, tail)).decode()
        return self._packet

    def wired(self, door: Door) -> bytes:
        """Return the whole unmasked WebSocket frame, header included; made once for each door."""
        made = self._wired[door]
        if made is None:
            body = self._body
            head, tail = self._around[door]
            header = _header(len(head) + len(body) + len(tail))
            made = self._wired[door] = b"".join((header, head, body, tail))
        return made


def _header(length: int) -> bytes:
    if length < _SHORT:
        return _WITH_SHORT(_TEXT, length)
    if length < _MEDIUM:
        return _WITH_MEDIUM(_TEXT, 126, length)
    return _WITH_LONG(_TEXT, 127, length)


def event(name: str, data: dict[str, Any]) -> Frame:
    """Return the frame of an event that is owed to whoever hears it."""
    return Frame(orjson.dumps(data), _around(name))


def hint(name: str, data: dict[str, Any]) -> Frame:
    """Return the frame of an event that a slow client may be spared."""
    return encoded(name, orjson.dumps(data), durable=False)


def encoded(name: str, body: bytes, *, durable: bool) -> Frame:
    """Return the frame of an event whose data is JSON already."""
    return Frame(body, _around(name), durable=durable)


@lru_cache(maxsize=256)
def _around(name: str) -> _Around:
    """Return what stands around the data of an event; the server has a few dozen of them."""
    named = orjson.dumps(name)
    return (b"42[" + named + b",", b"]"), (b'{"event":' + named + b',"data":', b"}")


def answer(request_id: int | str, body: dict[str, Any]) -> Frame:
    """Return the frame that answers a request; `body` is never empty."""
    id_ = orjson.dumps(request_id)
    around = (b"43" + id_ + b"[{", b"]"), (b'{"id":' + id_ + b",", b"")
    return Frame(orjson.dumps(body)[1:], around)


def joined(frames: Iterable[Frame], door: Door) -> bytes:
    """Return the bytes of several frames, one after the other."""
    return b"".join([frame.wired(door) for frame in frames])


def runs(frames: Iterable[Frame]) -> Iterator[list[Frame]]:
    """Divide frames, in their order, into what may be joined into one buffer.

    Ephemeral frames are never in one buffer with durable ones: a client that turns slow between
    two writes is spared them.
    """
    run: list[Frame] = []
    size = 0
    for frame in frames:
        if run and (frame.is_durable != run[0].is_durable or size + frame.size > JOINED_BYTES):
            yield run
            run, size = [], 0
        run.append(frame)
        size += frame.size
    if run:
        yield run
