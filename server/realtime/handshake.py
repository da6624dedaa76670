"""How a request becomes a WebSocket: the handshake, and taking the TCP transport over from aiohttp.

aiohttp has no way to be rid of a connection, so this rests on how its `RequestHandler` ends one:
pyproject.toml pins it to the minor, and tests/test_library_contracts.py says what must hold.
"""

import asyncio
import binascii
import socket
from base64 import b64decode, b64encode
from collections.abc import Mapping
from contextlib import suppress
from hashlib import sha1
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Protocol

from aiohttp import HttpVersion11, web
from multidict import CIMultiDict

from server.errors import ValidationFailedError
from server.realtime.websocket import WebSocket

Networks = tuple[IPv4Network | IPv6Network, ...]


class Handshake(Protocol):
    """A request, as far as it says who comes: aiohttp's, or one that it was never shown."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Return its headers, whose names have no case."""

    @property
    def query(self) -> Mapping[str, str]:
        """Return the fields of its address."""

    @property
    def remote(self) -> str | None:
        """Return where it came from."""


_KERNEL_BYTES = 131_072
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class _Taken(web.StreamResponse):
    """What a handler returns when the connection is not aiohttp's any more."""

    def __init__(self) -> None:
        super().__init__(status=101, headers=CIMultiDict({"Upgrade": "websocket"}))
        self.force_close()

    @property
    def prepared(self) -> bool:
        return True

    async def prepare(self, request: web.BaseRequest) -> None:  # noqa: ARG002
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """Write nothing."""


TAKEN = _Taken()


def accepted(request: web.Request, *, head: bytes = b"") -> bytes:
    """Return the answer to a handshake; raises `ValidationFailedError` if it is none.

    `head` are further headers of the answer, each with its end of line.
    """
    if (
        request.method != "GET"
        or request.version < HttpVersion11
        or request.can_read_body
        or not asks_for_websocket(request.headers)
    ):
        message = "This address speaks WebSocket, version 13, and nothing else."
        raise ValidationFailedError(message)
    return answer_to(request.headers, head=head)


def asks_for_websocket(headers: Mapping[str, str]) -> bool:
    """Return whether these are the headers of a handshake."""
    return (
        headers.get("Upgrade", "").lower() == "websocket"
        and "upgrade" in headers.get("Connection", "").lower()
        and headers.get("Sec-WebSocket-Version") == "13"
        and _is_nonce(headers.get("Sec-WebSocket-Key", ""))
    )


def answer_to(headers: Mapping[str, str], *, head: bytes = b"") -> bytes:
    """Return the answer to a handshake with these headers."""
    # What the standard calls for; nothing secret depends on it.
    key = b64encode(sha1(headers["Sec-WebSocket-Key"].encode() + _GUID).digest())  # noqa: S324
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + key + b"\r\n" + head + b"\r\n"
    )


def _is_nonce(key: str) -> bool:
    try:
        return len(b64decode(key, validate=True)) == 16
    except (binascii.Error, ValueError):
        return False


def take_over(request: web.Request, socket: WebSocket, answer: bytes) -> None:
    """Send the answer to the handshake, then serve the connection by `socket`.

    The handler must return `TAKEN` next.
    """
    handler = request.protocol
    transport = handler.transport
    if transport is None or transport.is_closing():
        raise ConnectionResetError
    _keep_kernel_lean(transport)
    transport.write(answer)
    # What came right behind the request.
    tail, handler._message_tail = handler._message_tail, b""  # noqa: SLF001 (nobody else has it)
    transport.set_protocol(socket)
    is_stuck = handler.writing_paused
    # Its end must not be the connection's.
    handler.transport = None
    handler.connection_lost(None)
    socket.begin(transport, is_stuck=is_stuck)
    transport.resume_reading()
    if tail:
        asyncio.get_running_loop().call_soon(socket.data_received, tail)


def take_at_once(
    transport: asyncio.Transport, socket: WebSocket, answer: bytes, tail: bytes
) -> None:
    """Do the same with a connection that nobody else has had; `tail` came behind the request."""
    _keep_kernel_lean(transport)
    transport.set_protocol(socket)
    socket.begin(transport, is_stuck=False)
    transport.write(answer)
    if tail:
        asyncio.get_running_loop().call_soon(socket.data_received, tail)


def _keep_kernel_lean(transport: asyncio.Transport) -> None:
    """Let the kernel hold little that it cannot send yet, so that a slow client is seen to move.

    Else it takes megabytes for each, and room in there shows only after a third of them has gone.
    """
    with suppress(OSError, AttributeError):
        tcp = transport.get_extra_info("socket")
        tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _KERNEL_BYTES)


def address_of(request: Handshake, proxies: Networks) -> str:
    """Return where a client is: behind trusted proxies what the nearest of them saw."""
    address = request.remote or ""
    if not proxies:
        return address
    hops = [hop.strip() for hop in request.headers.get("X-Forwarded-For", "").split(",")]
    while _is_in(address, proxies) and hops and hops[-1]:
        address = hops.pop()
    return address


def _is_in(address: str, networks: Networks) -> bool:
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    return any(parsed in network for network in networks)
