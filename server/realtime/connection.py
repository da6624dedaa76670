"""One client from its arrival to its end, whichever door it came by."""

import asyncio
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator

from server.config import Settings
from server.errors import ClientError, RateLimitedError, UnavailableError
from server.logs import get_logger
from server.realtime.flight import Outlet
from server.realtime.frames import Door, Frame
from server.realtime.handshake import Handshake, Networks, address_of
from server.realtime.lobby import Lobby, Opening
from server.realtime.session import Ending, Session
from server.realtime.teller import Teller
from server.realtime.watch import LAST_WORDS_S, Watch
from server.realtime.websocket import Turn

SHED_BYTES = 262_144
"""With more than this unsent, a client is spared what is not durable."""

log = get_logger("server.connections")


class Entrance:
    """What the doors of a node share: where people are let in, and who is watched over."""

    def __init__(self, settings: Settings, lobby: Lobby, teller: Teller, turn: Turn) -> None:
        """Let people into the lobby."""
        self.settings = settings
        self.turn = turn
        self.limits = settings.limits
        self.lobby = lobby
        self.teller = teller
        self.watch = Watch(settings)
        self.is_stopping = False
        self._proxies: Networks = settings.http.proxy_networks()
        self._strangers: Counter[str] = Counter()
        # What happened at the doors so far, in numbers; `cut` by reason, `refused` by code.
        self.admitted = self.shed = 0
        self.cut: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()

    def address(self, request: Handshake) -> str:
        """Return where a client is."""
        return address_of(request, self._proxies)

    def admit(self, request: Handshake) -> str:
        """Return where a client is; raises `ClientError` when it must not come in now."""
        address = self.address(request)
        refusal = self._refusal(address)
        if refusal is not None:
            self.refused[refusal.code] += 1
            raise refusal
        return address

    def has_room(self, address: str) -> bool:
        """Return whether a client from an address may come in now."""
        return self._refusal(address) is None

    def _refusal(self, address: str) -> ClientError | None:
        if self.is_stopping:
            return UnavailableError()
        realtime = self.settings.realtime
        if 0 < realtime.strangers <= self.watch.strangers:
            message = "Too many are on their way in; try again in a moment."
            return UnavailableError(message)
        if 0 < realtime.strangers_per_address <= self._strangers.get(address, 0):
            message = "Too many from your address are on their way in; try again in a moment."
            return RateLimitedError(message, retry_after_ms=self.limits.authenticate_s * 1_000)
        return None

    def hurry(self, connection: "Connection") -> None:
        """Give a client a few seconds to be let in."""
        self.know(connection)
        self._strangers[connection.address] += 1
        connection.is_stranger = True
        self.watch.hurry(connection)

    def know(self, connection: "Connection") -> None:
        """Learn that a client has been let in, or is gone."""
        if not connection.is_stranger:
            return
        connection.is_stranger = False
        self.watch.know(connection)
        self._strangers[connection.address] -= 1
        if not self._strangers[connection.address]:
            del self._strangers[connection.address]


class Connection(ABC):
    """What the doors have in common: letting in, a bounded output, and the end of it all.

    The door says how a frame is written on its wire, and how a connection is closed there.
    """

    __slots__ = (
        "_entrance",
        "_opening",
        "_since",
        "address",
        "header_token",
        "is_gone",
        "is_stranger",
        "query_token",
        "session",
    )

    door: Door

    def __init__(self, request: Handshake, entrance: Entrance, address: str) -> None:
        """Stand at the door."""
        self.address = address
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        self.header_token = token.strip() if scheme.lower() == "bearer" else None
        self.query_token = "token" in request.query
        self.session: Session | None = None
        self.is_stranger = False
        self._opening: Opening | None = None
        self.is_gone = False
        self._entrance = entrance
        self._since = asyncio.get_running_loop().time()

    @property
    def transport(self) -> "Connection":
        """Return the way to the client, as the lobby asks for it."""
        return self

    # What a door says

    @property
    @abstractmethod
    def direct(self) -> Outlet | None:
        """Return where bytes are just written, while nothing waits to be sent."""

    @abstractmethod
    def write(self, frame: Frame, *, durable: bool) -> None:
        """Send a frame; what is not durable is left out for a client that is slow."""

    @abstractmethod
    async def room(self) -> None:
        """Wait until less than half of what may be unsent is unsent."""

    @property
    @abstractmethod
    def is_held(self) -> bool:
        """Return whether nothing is read from the client now."""

    @property
    @abstractmethod
    def sent(self) -> int:
        """Return a number that grows when the client takes something of what is unsent."""

    @abstractmethod
    def ping(self) -> None:
        """Ask the client whether it is there."""

    @abstractmethod
    def read_on(self) -> None:
        """Take up reading again."""

    @abstractmethod
    def end(self, why: Ending) -> None:
        """Close the connection after what is queued, or soon if the client does not read."""

    @abstractmethod
    def abort(self) -> None:
        """Cut the connection now."""

    # Coming in

    def hurry(self) -> None:
        """Give the client a few seconds to be let in."""
        self._entrance.hurry(self)

    def late(self) -> None:
        """Learn that those seconds are over."""
        self.end(Ending.LATE)

    async def let_in(self, auth: object, *, about: str | None = None) -> None:
        """Open a session, silent until `begin()`; raises nothing but `ClientError`."""
        try:
            self._opening = await self._entrance.lobby.open(self, auth, about=about)
        except ClientError as error:
            self._entrance.refused[error.code] += 1
            raise
        if self.is_gone:
            # It left while it was being let in.
            self.leave("transport close")

    def begin(self) -> None:
        """Start the session of a client that has just been told that it is in."""
        if self._opening is None:
            return
        self.session, opening, self._opening = self._opening.session, self._opening, None
        self.header_token = None
        self._entrance.know(self)
        self._entrance.admitted += 1
        opening.begin()
        log.info(
            "connected",
            user=self.session.user_id,
            address=self.address,
            code="ok",
            ms=round(self._age() * 1_000, 1),
        )

    # Going

    def leave(self, reason: str) -> None:
        """End the session, if there is one; the connection may still live on."""
        session = self.session or (self._opening.session if self._opening else None)
        self.session = self._opening = None
        if session is None:
            return
        session.end()
        self._entrance.teller.typists.gone(session.id)
        log.info("disconnected", user=session.user_id, why=reason, seconds=round(self._age(), 1))

    def gone(self) -> None:
        """Learn that the client is not there any more."""
        self._entrance.know(self)
        self._entrance.watch.forget(self)
        self.is_gone = True
        self.leave("transport close")

    def cut(self, why: str) -> None:
        """Cut the connection, and write down why."""
        self._entrance.cut[why.partition(":")[0]] += 1
        log.warning("connection cut", address=self.address, why=why)
        self.abort()

    def _age(self) -> float:
        return asyncio.get_running_loop().time() - self._since


class Everybody:
    """The connections of one door."""

    def __init__(self) -> None:
        """Begin with nobody."""
        self._connections: set[Connection] = set()
        self._emptied: asyncio.Event | None = None

    def __len__(self) -> int:
        return len(self._connections)

    def __iter__(self) -> Iterator[Connection]:
        return iter(self._connections)

    def add(self, connection: Connection) -> None:
        """Remember a connection."""
        self._connections.add(connection)

    def discard(self, connection: Connection) -> None:
        """Forget a connection."""
        self._connections.discard(connection)
        if self._emptied is not None and not self._connections:
            self._emptied.set()

    async def end(self) -> None:
        """End all connections because the server stops; those that remain are cut."""
        for connection in list(self._connections):
            connection.end(Ending.STOPPING)
        if self._connections:
            self._emptied = asyncio.Event()
            try:
                await asyncio.wait_for(self._emptied.wait(), LAST_WORDS_S + 0.3)
            except TimeoutError:
                for connection in list(self._connections):
                    connection.abort()
