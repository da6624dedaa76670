"""One client from its arrival to its end, whichever door it came by."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from typing import Any

from aiohttp import web

from server.config import LimitsSettings
from server.logs import get_logger
from server.realtime.frames import Frame
from server.realtime.lobby import Lobby, Opening
from server.realtime.output import Output
from server.realtime.session import Ending, Session
from server.realtime.teller import Teller

SHED_BYTES = 262_144
"""With more than this unsent, a client is spared what is not durable."""

LAST_WORDS_S = 1.0
"""How long a client has to take what was said before its end."""

log = get_logger("server.connections")


class Connection(ABC):
    """What the doors have in common: letting in, a bounded output, and the end of it all.

    The door says how a frame is written on its wire, and how a connection is closed there.
    """

    def __init__(
        self, request: web.Request, lobby: Lobby, teller: Teller, limits: LimitsSettings
    ) -> None:
        """Stand at the door."""
        self.transport = self
        self.address = request.remote or ""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        self.header_token = token.strip() if scheme.lower() == "bearer" else None
        self.query_token = "token" in request.query
        self.session: Session | None = None
        self._opening: Opening | None = None
        self._is_gone = False
        self._lobby = lobby
        self._teller = teller
        self._limits = limits
        self._since = asyncio.get_running_loop().time()
        self._timer: asyncio.TimerHandle | None = None

    # What a door says

    @abstractmethod
    def output(self) -> Output | None:
        """Return what waits to be sent, or None when nothing can be sent any more."""

    @abstractmethod
    def wired(self, frame: Frame) -> object:
        """Return a frame as it goes into the output."""

    @abstractmethod
    def end(self, why: Ending) -> None:
        """Close the connection after what is queued, or soon if the client does not read."""

    @abstractmethod
    def abort(self) -> None:
        """Cut the connection now."""

    # Coming in

    def hurry(self) -> None:
        """Give the client a few seconds to be let in."""
        self._be_patient()
        self._timer = asyncio.get_running_loop().call_later(
            self._limits.authenticate_s, self.end, Ending.LATE
        )

    def _be_patient(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def let_in(self, auth: object, *, about: str | None = None) -> None:
        """Open a session, silent until `begin()`; raises nothing but `ClientError`."""
        self._opening = await self._lobby.open(self, auth, about=about)
        if self._is_gone:
            # It left while it was being let in.
            self.leave("transport close")

    def begin(self) -> None:
        """Start the session of a client that has just been told that it is in."""
        if self._opening is None:
            return
        self.session, opening, self._opening = self._opening.session, self._opening, None
        self._be_patient()
        opening.begin()
        log.info(
            "connected",
            user=self.session.user_id,
            address=self.address,
            code="ok",
            ms=round(self._age() * 1_000, 1),
        )

    # Sending

    def write(self, frame: Frame, *, durable: bool) -> None:
        """Queue a frame; what is not durable is left out for a client that is slow."""
        output = self.output()
        if output is None or (not durable and output.unsent > SHED_BYTES):
            return
        if output.unsent + frame.size > self._limits.output_bytes:
            log.warning("connection cut", address=self.address, why="it does not read")
            self.abort()
            return
        output.put_nowait(self.wired(frame))

    async def room(self) -> None:
        """Wait until less than half of what may be unsent is unsent."""
        output = self.output()
        while output is not None and output.unsent > self._limits.output_bytes // 2:
            await asyncio.sleep(0.02)
            output = self.output()

    # Going

    def leave(self, reason: str) -> None:
        """End the session, if there is one; the connection may still live on."""
        session = self.session or (self._opening.session if self._opening else None)
        self.session = self._opening = None
        if session is None:
            return
        session.end()
        self._teller.typists.gone(session.id)
        log.info("disconnected", user=session.user_id, why=reason, seconds=round(self._age(), 1))

    def gone(self) -> None:
        """Learn that the client is not there any more."""
        self._be_patient()
        self._is_gone = True
        self.leave("transport close")

    def malformed(self, problem: object) -> None:
        """Write down that the client sent what no client sends."""
        log.warning("connection cut", address=self.address, why=f"malformed frame: {problem}")

    def _age(self) -> float:
        return asyncio.get_running_loop().time() - self._since


async def end_all(connections: Collection[Connection], *, remain: Callable[[], Any]) -> None:
    """End connections because the server stops; those that `remain` after a moment are cut."""
    for connection in connections:
        connection.end(Ending.STOPPING)
    deadline = asyncio.get_running_loop().time() + LAST_WORDS_S + 0.3
    # The libraries tell nobody when they are done.
    while remain() and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    for connection in connections:
        connection.abort()
