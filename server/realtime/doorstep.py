"""Whoever connects, until their first bytes say what they want.

Nearly everybody wants a WebSocket of Socket.IO and says so in the same few words, which come in one
piece; after a restart all of them at once. They are let in from here. Whatever comes in another
form, or would be refused, is aiohttp's from its first byte: there alone is it decided what is
answered to it.
"""

import asyncio
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from multidict import CIMultiDict

from server.realtime.handshake import asks_for_websocket
from server.realtime.wheel import Wheel

Protocols = Callable[[], asyncio.Protocol]

_HEAD_BYTES = 8_190
"""How long a head may be that is looked at here: as long as aiohttp lets a single line be."""

_END = b"\r\n\r\n"
_ASKED = b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\n"
# No line that is continued, no space before a colon, nothing that is not printable.
_LINES = re.compile(rb"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[ -~]*\r\n)+")
_NOT_PLAIN = frozenset({"content-length", "transfer-encoding", "expect"})


@dataclass(frozen=True, slots=True)
class Plain:
    """A handshake of the plainest form."""

    headers: Mapping[str, str]
    remote: str | None
    query: Mapping[str, str] = field(default_factory=dict)
    scheme: str = "http"

    @property
    def host(self) -> str:
        """Return whom it asked."""
        return self.headers["Host"]


Take = Callable[[Plain, asyncio.Transport, bytes], bool]


class Doorstep:
    """Stands in front of aiohttp, and takes those who are easily served."""

    def __init__(self, take: Take, allows: Callable[[Plain], bool], *, wait_s: float) -> None:
        """Let people in by `take`, whose page may ask; others after `wait_s` of silence go."""
        self._take = take
        self._allows = allows
        self.waiting = Wheel().lane(wait_s, _Stranger.close)

    def before(self, others: Protocols) -> Protocols:
        """Return what serves connections first, and hands on to others what it does not take."""
        return lambda: _Stranger(self, others)

    def takes(self, data: bytes, transport: asyncio.Transport) -> bool:
        """Return whether somebody was let in who began with these bytes."""
        end = data.find(_END, 0, _HEAD_BYTES)
        if end < 0 or not data.startswith(_ASKED):
            return False
        headers = _headers(data[len(_ASKED) : end + 2])
        if headers is None or not asks_for_websocket(headers):
            return False
        asked = Plain(headers, _address(transport))
        return self._allows(asked) and self._take(asked, transport, data[end + len(_END) :])

    def close(self) -> None:
        """Send away who has said nothing yet."""
        while len(self.waiting):
            self.waiting.turn(math.inf)


class _Stranger(asyncio.Protocol):
    """A connection that has said nothing yet."""

    __slots__ = ("_doorstep", "_others", "_transport")

    def __init__(self, doorstep: Doorstep, others: Protocols) -> None:
        self._doorstep = doorstep
        self._others = others
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # of a stream it is one
        self._doorstep.waiting.add(self)

    def data_received(self, data: bytes) -> None:
        transport = self._transport
        self._doorstep.waiting.discard(self)
        if transport is None or self._doorstep.takes(data, transport):
            return
        served = self._others()
        transport.set_protocol(served)
        served.connection_made(transport)
        # What it begins with that begins in the next turn of the loop.
        asyncio.get_running_loop().call_soon(served.data_received, data)

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002
        self._doorstep.waiting.discard(self)
        self._transport = None

    def close(self) -> None:
        """End the connection."""
        if self._transport is not None:
            self._transport.close()


def _headers(lines: bytes) -> Mapping[str, str] | None:
    """Return the headers, or None if there is anything about them that has to be thought about."""
    if not _LINES.fullmatch(lines):
        return None
    pairs = [line.split(":", 1) for line in lines.decode("ascii").splitlines()]
    names = {name.lower() for name, _ in pairs}
    if len(names) < len(pairs) or "host" not in names or not names.isdisjoint(_NOT_PLAIN):
        return None
    return CIMultiDict([(name, value.strip()) for name, value in pairs])


def _address(transport: asyncio.Transport) -> str | None:
    peer = transport.get_extra_info("peername")
    return str(peer[0]) if isinstance(peer, list | tuple) else peer
