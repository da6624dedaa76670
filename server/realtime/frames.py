"""What is sent to clients: JSON made once, wrapped once for each door that has a listener.

Socket.IO's packets are those of its protocol, revision 5: `2["event",data]` for an event and
`3<id>[data]` for an acknowledgement, both in the namespace `/`. On the plain WebSocket a frame is
`{"event", "data"}` or `{"id", "ok", "data" or "error"}`.
"""

from functools import cached_property
from typing import Any

import orjson

_Wrapping = tuple[bytes, bytes]


class Frame:
    """One event or answer on its way, the same bytes for everybody behind the same door."""

    def __init__(self, body: bytes, *, packet: _Wrapping, plain: _Wrapping) -> None:
        """Take the JSON that all doors share, and what each of them puts around it."""
        self._body = body
        self._around_packet = packet
        self._around_plain = plain

    @property
    def size(self) -> int:
        """Return the bytes of what all doors share."""
        return len(self._body)

    @cached_property
    def packet(self) -> str:
        """Return what Socket.IO sends."""
        head, tail = self._around_packet
        return b"".join((head, self._body, tail)).decode()

    @cached_property
    def plain(self) -> bytes:
        """Return what the plain WebSocket sends."""
        head, tail = self._around_plain
        return b"".join((head, self._body, tail))


def event(name: str, data: dict[str, Any]) -> Frame:
    """Return the frame of an event."""
    named = orjson.dumps(name)
    return Frame(
        orjson.dumps(data),
        packet=(b"2[" + named + b",", b"]"),
        plain=(b'{"event":' + named + b',"data":', b"}"),
    )


def answer(request_id: int | str, body: dict[str, Any]) -> Frame:
    """Return the frame that answers a request; `body` is never empty."""
    id_ = orjson.dumps(request_id)
    return Frame(
        orjson.dumps(body)[1:],
        packet=(b"3" + id_ + b"[{", b"]"),
        plain=(b'{"id":' + id_ + b",", b""),
    )
