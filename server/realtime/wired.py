"""A client that is there by a WebSocket of ours, whichever door's frames it speaks."""

import asyncio
from abc import abstractmethod

from aiohttp import web

from server.realtime.connection import SHED_BYTES, Connection, Entrance
from server.realtime.flight import Outlet
from server.realtime.frames import Frame
from server.realtime.handshake import (
    TAKEN,
    Handshake,
    accepted,
    answer_to,
    take_at_once,
    take_over,
)
from server.realtime.session import Asked
from server.realtime.websocket import NORMAL, MalformedError, WebSocket


class Wired(Connection):
    """What is written goes straight to the TCP transport while the client keeps up."""

    __slots__ = ("_is_parting", "_prefix", "_wire")

    ping_frame: bytes

    def __init__(self, request: Handshake, entrance: Entrance, address: str) -> None:
        """Stand at the door."""
        super().__init__(request, entrance, address)
        self._wire = WebSocket(self, entrance.turn, limit=entrance.limits.event_bytes)
        self._is_parting = False
        # Whole frames that leave with the next one.
        self._prefix = b""

    def take_over(
        self, request: web.Request, *, head: bytes = b"", first: bytes = b""
    ) -> web.StreamResponse:
        """Make the request's connection this one; return what its handler returns.

        `head` are headers of the answer, `first` the frames that follow it.
        """
        take_over(request, self._wire, accepted(request, head=head) + first)
        self._begin_waiting()
        return TAKEN

    def take_at_once(
        self, request: Handshake, transport: asyncio.Transport, *, first: bytes, tail: bytes
    ) -> None:
        """Do the same with a request that aiohttp was not shown, and what came behind it."""
        take_at_once(transport, self._wire, answer_to(request.headers) + first, tail)
        self._begin_waiting()

    def _begin_waiting(self) -> None:
        self.hurry()
        self._entrance.watch.keep(self)

    # What a door says

    @abstractmethod
    def heard(self, text: bytearray) -> None:
        """Take a text; raises `MalformedError` if it is none that clients send."""

    @abstractmethod
    def malformed(self, error: MalformedError) -> None:
        """End the connection of a client that sent what no client sends."""

    # Sending

    def ping(self) -> None:
        """Ask the client whether it is there."""
        self._wire.write(self.ping_frame)

    @property
    def direct(self) -> Outlet | None:
        """Return where bytes are just written, while nothing waits to be sent."""
        wire = self._wire
        if wire.transport is None or wire.is_slow or self._is_parting:
            return None
        return wire

    @property
    def sent(self) -> int:
        """Return a number that grows when the client takes something of what is unsent."""
        return self._wire.sent

    def write(self, frame: Frame, *, durable: bool) -> None:
        """Send a frame; what is not durable is left out for a client that is slow."""
        wire, data = self._wire, frame.wired(self.door)
        if self._prefix:
            data, self._prefix = self._prefix + data, b""
        if not durable and wire.is_slow and wire.unsent > SHED_BYTES:
            self._entrance.shed += 1
            return
        self.send_whole(data)

    def send_whole(self, frames: bytes) -> None:
        """Send frames as they are; cut the connection when too much is unsent."""
        wire = self._wire
        if wire.is_slow and wire.unsent + len(frames) > self._entrance.limits.output_bytes:
            self.cut("it does not read")
        else:
            wire.write(frames)

    async def room(self) -> None:
        """Wait until less than half of what may be unsent is unsent."""
        await self._wire.room(self._entrance.limits.output_bytes // 2)

    def slowed(self) -> None:
        """Learn that what is written now waits."""
        self._entrance.watch.slowed(self)
        if self.session is not None:
            self.session.slowed()

    def quickened(self) -> None:
        """Learn that nothing waits any more."""
        self._entrance.watch.quickened(self)
        if self.session is not None and not self._is_parting:
            self.session.quickened()

    # Reading

    @property
    def is_held(self) -> bool:
        """Return whether nothing is read from the client now."""
        return self._wire.is_held

    def read_on(self) -> None:
        """Take up reading again."""
        self._wire.read_on()

    def ponged(self) -> None:
        """Learn that the client is there."""
        self._entrance.watch.answered(self)

    def _offer(self, asked: Asked) -> None:
        """Put a request in the session's line; stop reading when there is no room for more."""
        if self.session is not None and not self.session.offer(asked):
            self._wire.hold()

    # Going

    def part(self, code: int = NORMAL, reason: bytes = b"") -> None:
        """Say goodbye, after all that was said before; the client has a moment to take it."""
        if self._is_parting:
            return
        self._give_up_direct()
        self._wire.close(code, reason)
        self._entrance.watch.leaves(self)
        self._wire.read_on()

    def goodbye(self) -> None:
        """Learn that the client closes the connection."""
        self._give_up_direct()
        self._entrance.watch.leaves(self)

    def abort(self) -> None:
        """Cut the connection now."""
        self._give_up_direct()
        self._wire.abort()

    def _give_up_direct(self) -> None:
        """Let nobody write past us any more; what the session is still owed is written now."""
        was_direct, self._is_parting = self.direct is not None, True
        if was_direct and self.session is not None:
            self.session.slowed()
