"""A client by hand: bytes on a socket, read when the test wants it, as no library would do it."""

import asyncio
import json
import socket
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Self
from urllib.parse import urlsplit

from tests.people import WITHIN_S

FIN = 0x80
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
SOCKETIO = "/socket.io/?EIO=4&transport=websocket"
DEAF_BYTES = 4_096
"""What the system takes for a client that does not read."""


def frame(
    payload: str | bytes, opcode: int = TEXT, *, first: int = FIN, masked: int = 0x80
) -> bytes:
    """Return a frame as RFC 6455 has it, or with other bits in its first byte, or unmasked (0).

    The mask is of zeros, so that a payload goes over the wire as it is.
    """
    data = payload.encode() if isinstance(payload, str) else payload
    return head(len(data), opcode, first=first, masked=masked) + data


def head(size: int, opcode: int = TEXT, *, first: int = FIN, masked: int = 0x80) -> bytes:
    """Return what stands before a payload of so many bytes."""
    if size < 126:
        length = bytes([masked | size])
    elif size < 65_536:
        length = bytes([masked | 126]) + size.to_bytes(2, "big")
    else:
        length = bytes([masked | 127]) + size.to_bytes(8, "big")
    return bytes([first | opcode]) + length + bytes(4 if masked else 0)


def asking(name: object, *data: Any, ack: int | None = None) -> str:
    """Return a request as a packet of Socket.IO."""
    return f"42{'' if ack is None else ack}{json.dumps([name, *data])}"


class Wire:
    """One TCP connection to a server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.extensions = ""

    @classmethod
    async def to(
        cls, url: str, *, receive_bytes: int = 0, send_bytes: int = 0, address: str = ""
    ) -> "Wire":
        """Connect from an address, with buffers of this size instead of the system's usual ones."""
        parts = urlsplit(url)
        plain = socket.socket()
        for option, size in ((socket.SO_RCVBUF, receive_bytes), (socket.SO_SNDBUF, send_bytes)):
            if size:
                plain.setsockopt(socket.SOL_SOCKET, option, size)
        if address:
            plain.bind((address, 0))
        plain.setblocking(False)  # noqa: FBT003 (the standard library has no other way)
        await asyncio.get_running_loop().sock_connect(plain, (parts.hostname, parts.port))
        return cls(*await asyncio.open_connection(sock=plain, limit=receive_bytes or 2**17))

    def puts(self, data: bytes) -> None:
        self.writer.write(data)

    def says(self, packet: str) -> None:
        self.puts(frame(packet))

    def cut(self) -> None:
        self.writer.transport.abort()

    async def ended(self) -> None:
        """Wait until the server has ended the connection; whatever it still said is dropped."""
        async with asyncio.timeout(WITHIN_S):
            with suppress(ConnectionError):
                while await self.reader.read(65_536):
                    pass
        self.cut()

    async def left(self) -> None:
        """Say that nothing more will be said, and wait until the server has ended it, too."""
        with suppress(OSError):  # it has already
            self.writer.write_eof()
        await self.ended()

    # HTTP

    async def answered(
        self, method: str, path: str, pieces: Iterable[bytes] = (), **headers: str
    ) -> tuple[int, str]:
        """Make a request whose body comes in these pieces; return status and body."""
        self.puts(_request(method, path, headers))
        for piece in pieces:
            self.puts(piece)
            # So that the server reads each piece alone.
            await asyncio.sleep(0)
        status, answered = await self._heads()
        body = await self.reader.readexactly(int(answered.get("content-length", "0")))
        return status, body.decode()

    async def _heads(self) -> tuple[int, dict[str, str]]:
        async with asyncio.timeout(WITHIN_S):
            text = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = text.strip().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines if ": " in line)
        return int(first.split()[1]), headers

    # WebSocket

    async def upgrades(self, path: str = SOCKETIO, **headers: str) -> int:
        """Ask for a WebSocket and return the status: 101 if it is one."""
        asked = {
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
            **{name.replace("_", "-"): text for name, text in headers.items()},
        }
        self.puts(_request("GET", path, asked))
        status, answered = await self._heads()
        self.extensions = answered.get("sec-websocket-extensions", "")
        return status

    async def enters(self, token: str, **headers: str) -> dict[str, Any]:
        """Come in by Socket.IO and return what the hello says."""
        assert await self.upgrades(**headers) == 101
        self.says("40" + json.dumps({"token": token}))
        while not (packet := await self.packet()).startswith('42["session:ready"'):
            assert packet[:2] in ("0{", "40"), packet
        hello: dict[str, Any] = json.loads(packet[2:])[1]
        return hello

    async def next(self) -> tuple[int, bytes]:
        """Return opcode and payload of the next frame."""
        async with asyncio.timeout(WITHIN_S):
            first, size = await self.reader.readexactly(2)
            if size > 125:
                size = int.from_bytes(await self.reader.readexactly(2 if size == 126 else 8), "big")
            return first & 0x0F, await self.reader.readexactly(size)

    async def packet(self) -> str:
        """Return the next packet that means something; pings are answered."""
        while True:
            opcode, payload = await self.next()
            assert opcode == TEXT, (opcode, payload)
            if payload != b"2":
                return payload.decode()
            self.says("3")

    async def packets(self, number: int) -> list[str]:
        return [await self.packet() for _ in range(number)]


def _request(method: str, path: str, headers: dict[str, str]) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: here"]
    lines += [f"{name}: {text}" for name, text in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


class Wires:
    """The wires of one test; at its end all of them are cut."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._wires: list[Wire] = []

    async def new(self, **options: Any) -> Wire:
        """Connect, and say nothing yet."""
        wire = await Wire.to(self._url, **options)
        self._wires.append(wire)
        return wire

    async def inside(self, token: str, **options: Any) -> Wire:
        """Connect and come in by Socket.IO."""
        wire = await self.new(**options)
        await wire.enters(token)
        return wire

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for wire in self._wires:
            wire.cut()
