"""A client of Socket.IO that began with long polling: its packets go through the library's queue.

That stays so when it goes on over a WebSocket, so that nothing overtakes what is queued.
"""

import asyncio

from aiohttp import web
from engineio.async_socket import AsyncSocket
from engineio.packet import MESSAGE, NOOP
from engineio.packet import Packet as EnginePacket

from server.realtime.connection import SHED_BYTES, Connection, Entrance
from server.realtime.engine import Engine
from server.realtime.flight import Outlet
from server.realtime.frames import Door, Frame
from server.realtime.output import Output
from server.realtime.session import Ending


class Polling(Connection):
    """What is written waits until the client, or the library for it, fetches it."""

    __slots__ = ("_ending", "_engine", "_request", "eio_sid", "is_taken")

    door = Door.SOCKETIO
    direct: Outlet | None = None
    is_held = False
    sent = 0

    def __init__(
        self, request: web.Request, entrance: Entrance, address: str, engine: Engine, eio_sid: str
    ) -> None:
        """Stand at the door."""
        super().__init__(request, entrance, address)
        self.eio_sid = eio_sid
        # Whether somebody is in or on the way in.
        self.is_taken = False
        self._engine = engine
        self._request = request
        self._ending: asyncio.Future[None] | None = None

    @property
    def _socket(self) -> AsyncSocket | None:
        return self._engine.sockets.get(self.eio_sid)

    @property
    def polls(self) -> bool:
        """Return whether it has not gone on over a WebSocket."""
        return self._socket is not None and not self._socket.upgraded

    def _output(self) -> Output | None:
        socket = self._socket
        return None if socket is None or socket.closed else socket.queue

    # Sending

    def say(self, packet: str) -> None:
        """Queue a packet of Socket.IO."""
        output = self._output()
        if output is not None:
            output.put_nowait(EnginePacket(MESSAGE, data=packet))

    def welcome(self, packet: str) -> None:
        """Say that somebody is in, then the hello."""
        self.say(packet)
        self.begin()

    def write(self, frame: Frame, *, durable: bool) -> None:
        """Queue a frame; what is not durable is left out for a client that is slow."""
        output = self._output()
        if output is None:
            return
        if not durable and output.unsent > SHED_BYTES:
            self._entrance.shed += 1
            return
        if output.unsent + frame.size > self._entrance.limits.output_bytes:
            self.cut("it does not read")
            return
        output.put_nowait(EnginePacket(MESSAGE, data=frame.packet))

    async def room(self) -> None:
        """Wait until less than half of what may be unsent is unsent."""
        output = self._output()
        if output is not None:
            await output.room(self._entrance.limits.output_bytes // 2)

    def read_on(self) -> None:
        """Do nothing: the library waits for each request to be in the line."""

    def ping(self) -> None:
        """Do nothing: the library pings."""

    # Going

    def end(self, why: Ending) -> None:
        """Close the connection after what is queued, or soon if the client does not read."""
        output = self._output()
        if why is Ending.LATE or output is None or (self.polls and output.empty()):
            self.abort()
            return
        if not self.polls:
            output.put_nowait(None)
        self._entrance.watch.leaves(self)

    def abort(self) -> None:
        """Cut the connection now."""
        socket = self._socket
        if socket is not None and self.polls:
            # Without a packet that says so: the Python client does not come back after one.
            reason = self._engine.reason.SERVER_DISCONNECT
            self._ending = asyncio.ensure_future(
                socket.close(wait=False, abort=True, reason=reason)
            )
            return
        request = self._engine.upgrades.get(self.eio_sid, self._request)
        if request.transport is not None:
            request.transport.abort()

    def malformed(self, problem: object) -> None:
        """End the connection of a client that sent what no client sends."""
        self.cut(f"malformed frame: {problem}")

    def gone(self) -> None:
        """Learn that the client is not there any more."""
        super().gone()
        socket = self._socket
        if socket is None:
            return
        socket.queue.release()
        if self.polls:
            # The request that waits for news; some clients wait for its end.
            socket.queue.put_nowait(EnginePacket(NOOP))

    def leave(self, reason: str) -> None:
        """End the session, if there is one; the connection may still live on."""
        super().leave(reason)
        self.is_taken = False
