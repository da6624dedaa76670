"""A client of Socket.IO by WebSocket: its events go straight into its session's line.

For the library it is one of its sockets, upgraded for ever, so that what is sent or ended through
the library reaches it.
"""

import asyncio
from typing import Any, Protocol

from engineio.packet import Packet as EnginePacket
from socketio import packet as socketio_packet

from server.realtime.connection import Entrance
from server.realtime.engine import Packet, decoded, event
from server.realtime.frames import Door
from server.realtime.handshake import Handshake
from server.realtime.session import Asked, Ending
from server.realtime.websocket import NORMAL, PROTOCOL_ERROR, MalformedError, framed
from server.realtime.wired import Wired

_CLOSE = framed(b"1")


class Server(Protocol):
    """The library's server, as far as a client needs it."""

    async def enter(self, connection: "Streaming", namespace: str | None, auth: Any) -> None:
        """Answer CONNECT, and begin the session of somebody with a valid token."""

    def left(self, client: "Streaming") -> None:
        """End the session of a client that says it leaves; the connection may live on."""

    def gone(self, client: "Streaming") -> None:
        """Forget a client whose connection has ended."""


class Streaming(Wired):
    """A client by WebSocket; for the library it is one of its sockets, upgraded for ever."""

    __slots__ = ("_server", "_task", "is_taken", "sid")

    door = Door.SOCKETIO
    ping_frame = framed(b"2")
    connected = upgraded = True
    upgrading = False
    last_ping = None

    def __init__(
        self, request: Handshake, entrance: Entrance, address: str, server: Server, sid: str
    ) -> None:
        """Stand at the door; `sid` is the library's name for this connection."""
        super().__init__(request, entrance, address)
        self.sid = sid
        # Whether somebody is in or on the way in.
        self.is_taken = False
        self._server = server
        self._task: asyncio.Task[None] | None = None

    @property
    def eio_sid(self) -> str:
        """Return the library's name for this connection."""
        return self.sid

    # What the client sends

    def heard(self, text: bytearray) -> None:
        """Take a packet of Engine.IO."""
        if self._wire.is_closing:
            return
        try:
            asked = event(text)
            if asked is None:
                self._take(text.decode())
                return
        except ValueError as error:
            raise MalformedError(PROTOCOL_ERROR, str(error)) from error
        self._ask(*asked)

    def _ask(self, ack_id: int | None, data: list[Any]) -> None:
        # Who is not in yet is nobody to answer to.
        if self.session is not None:
            self._offer(Asked(data[0], data[1] if len(data) > 1 else {}, ack_id))

    def _take(self, text: str) -> None:
        """Take what is no event; raises ValueError if no client sends it."""
        kind = text[:1]
        if kind == "3":
            self.ponged()
        elif kind == "4":
            self._message(decoded(text[1:]))
        elif kind == "1":
            self.part()
        elif kind not in ("2", "5", "6"):
            message = "this is not a packet of Engine.IO 4"
            raise ValueError(message)

    def _message(self, packet: Packet) -> None:
        if packet.packet_type == socketio_packet.CONNECT:
            # What comes next is read when it is known whether somebody is in.
            self._wire.hold()
            self._task = asyncio.get_running_loop().create_task(self._enter(packet))
        elif packet.namespace not in (None, "/"):
            # Nobody is in there, and nothing is to be answered.
            return
        elif packet.packet_type == socketio_packet.DISCONNECT:
            self._server.left(self)
        elif packet.packet_type == socketio_packet.EVENT:
            self._ask(packet.id, packet.data)

    async def _enter(self, packet: Packet) -> None:
        try:
            await self._server.enter(self, packet.namespace, packet.data)
        finally:
            self._task = None
            self._wire.read_on()

    # What it is told

    def say(self, packet: str) -> None:
        """Send a packet of Socket.IO."""
        self.send_whole(framed(b"4" + packet.encode()))

    def welcome(self, packet: str) -> None:
        """Say that somebody is in, together with the hello."""
        self._prefix = framed(b"4" + packet.encode())
        self.begin()

    # What the library asks of its sockets

    @property
    def closed(self) -> bool:
        """Return whether nothing can be sent any more."""
        return self.is_gone or self._wire.is_closing

    closing = closed

    async def check_ping_timeout(self) -> bool:
        """Return that the client is there: we see to its end ourselves."""
        return True

    async def send(self, packet: EnginePacket) -> None:
        """Send a packet of the library, after all that was written before."""
        encoded = packet.encode()
        self.send_whole(framed(encoded.encode() if isinstance(encoded, str) else encoded))

    async def close(
        self,
        wait: bool = True,  # noqa: ARG002, FBT001, FBT002 - the library's signature
        abort: bool = False,  # noqa: FBT001, FBT002
        reason: str | None = None,  # noqa: ARG002
    ) -> None:
        """Close the connection; never waits for the client."""
        if not abort:
            self._wire.write(_CLOSE)
        self.part()

    # Going

    def malformed(self, error: MalformedError) -> None:
        """End the connection at once."""
        self.cut(f"malformed frame: {error}")

    def end(self, why: Ending) -> None:
        """Close the connection after what is queued, or soon if the client does not read."""
        if why is Ending.LATE:
            self.abort()
        else:
            self.part(NORMAL)

    def leave(self, reason: str) -> None:
        """End the session, if there is one; the connection may still live on."""
        super().leave(reason)
        self.is_taken = False

    def gone(self) -> None:
        """Learn that the client is not there any more."""
        super().gone()
        self._server.gone(self)
