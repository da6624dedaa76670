"""The bus of an installation of several nodes: Redis or Valkey.

There is a channel for each conversation and each person, and a node hears those that somebody
connected to it needs. Publishing waits for nobody: while Redis is away, people hear at once what is
said on their own node, and every node finds the rest in the database.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Sequence

from server.config import RedisSettings
from server.errors import SettingsError
from server.events import Event, Room
from server.logs import get_logger
from server.realtime.bus.debts import Debt, Debts
from server.realtime.bus.envelope import Envelope, Kind, Seal
from server.realtime.bus.gate import Gate
from server.realtime.bus.protocol import Listener, Repairer
from server.realtime.bus.servers import Servers
from server.realtime.bus.speaking import Letter, Speaking
from server.realtime.bus.wire import Server

CERTAIN_S = 0.25
"""How long somebody who comes in waits to be sure of a channel, which takes a millisecond if all is
well."""

OPEN_S = 1.0
"""How long a start waits for Redis; without it everything works, two seconds later."""

_CLOSE_S = 1.0
_LETTERS = {Room.CONVERSATION: "c", Room.USER: "u", Room.PRESENCE: "p"}
_ROOMS = {letter: room for room, letter in _LETTERS.items()}

log = get_logger("server.bus")


class RedisBus:
    """Brings events to other nodes, and theirs here."""

    def __init__(self, settings: RedisSettings) -> None:
        """Be a bus that reaches nobody else yet: see `open`."""
        self._prefix = settings.prefix
        self._listeners: list[Listener] = []
        self._repairer: Repairer | None = None
        self._seal: Seal | None = None
        self._gate: Gate | None = None
        self._servers = Servers(
            settings,
            arrived=self._arrived,
            lost=self._lost,
            doubt=self._doubt,
            spoke=self._pay,
        )
        self._debts = Debts(settings.unpublished)
        self._library = f"{settings.prefix}:library".encode()
        self._emitter = settings.emitter_channel.encode()
        self._hear_library: Callable[[bytes], None] = _to_nobody
        self._hear_emitter: Callable[[bytes], None] = _to_nobody
        self._hear_presence: Callable[[str, bytes], None] = lambda _target, _body: None
        self.counts: Counter[str] = Counter()

    # Beginning and end

    def repaired_by(self, repairer: Repairer) -> None:
        """Tell somebody whenever something may have been lost."""
        self._repairer = repairer

    async def open(self, secret: str) -> None:
        """Connect; `secret` is known to all nodes of the installation and nobody else.

        Raises `SettingsError` when Redis is there and lets this node not in.
        """
        if self._repairer is None:
            message = "what this bus loses is repaired by nobody"
            raise RuntimeError(message)
        self._seal = Seal(secret)
        self._gate = Gate(self._seal, self.counts, self._repairer.knows)
        await self._servers.open(self._seal.node.hex(), within_s=OPEN_S)
        if self._servers.refusal:
            message = f"redis.url: Redis lets this node not in: {self._servers.refusal}"
            raise SettingsError(message)
        if not self.is_up:
            log.warning("redis is not there yet; this node goes on alone until it is")

    async def close(self) -> None:
        """Publish what waits, if that goes quickly, and end."""
        await self._servers.close(within_s=_CLOSE_S)
        self._seal = None

    @property
    def _epoch(self) -> str:
        return "" if self._repairer is None else self._repairer.epoch

    @property
    def is_alone(self) -> bool:
        """Return that it is not, or will not be for long."""
        return False

    @property
    def is_up(self) -> bool:
        """Return whether all other nodes are within reach."""
        return self._servers.is_up

    @property
    def waiting(self) -> int:
        """Return how much waits to be published."""
        return self._servers.waiting

    # Publishing

    def publish(self, event: Event) -> None:
        """Hand the event over here at once, and put it in line for everybody else."""
        for listener in self._listeners:
            listener(event)
        if self._seal is None:
            return
        debt = None
        if event.number is not None:
            debt = Debt(self._epoch, event.room, event.target, event.number)
        channel = self._channel(event.room, event.target)
        speaking = self._servers.speaking_on(channel.encode())
        if speaking is None:
            self._owe(debt)
            return
        envelope = self._seal.event(channel, self._epoch, event)
        self._post(speaking, Letter(channel.encode(), envelope, debt))

    def _post(self, speaking: Speaking, letter: Letter) -> None:
        if speaking.put(letter):
            self.counts["published"] += 1
        else:
            self._owe(letter.debt)

    def _lost(self, letters: Sequence[Letter]) -> None:
        """Learn what was in line and was not published, or perhaps was."""
        for letter in letters:
            self._owe(letter.debt)
        self._doubt()
        self._servers.look()

    def _owe(self, debt: Debt | None) -> None:
        """Remember what others have not heard of; a hint is not worth it."""
        self.counts["unpublished"] += 1
        if debt is not None:
            self._debts.add(debt)

    def _pay(self) -> None:
        """Announce the changes that could not be published, as far as something can be now."""
        if self._seal is None or not self._debts:
            return
        for debt in self._debts.take():
            if debt.epoch != self._epoch:
                # Whoever heard a number of the database that is gone would miss it in this one.
                continue
            channel = self._channel(debt.room, debt.target)
            speaking = self._servers.speaking_on(channel.encode())
            if speaking is None:
                self._debts.add(debt)
                continue
            head = self._seal.head(channel, debt.epoch, debt.number)
            self._post(speaking, Letter(channel.encode(), head, debt))

    # Hearing

    def listen(self, listener: Listener) -> None:
        """Let somebody hear everything that arrives from now on."""
        self._listeners.append(listener)

    async def follow(self, room: Room, targets: Collection[str]) -> bool:
        """Let arrive what others publish to these rooms, until `leave`."""
        channels = [self._channel(room, target).encode() for target in targets]
        is_new = [self._servers.want(channel) for channel in channels]
        uncertain = self._servers.uncertain(channels)
        if uncertain:
            _, late = await asyncio.wait(uncertain, timeout=CERTAIN_S)
            for certain in late:
                certain.add_done_callback(self._servers.doubt_if_done)
        return any(is_new)

    def leave(self, room: Room, targets: Collection[str]) -> None:
        """Let no longer arrive what others publish to these rooms."""
        for target in targets:
            self._servers.give_up(self._channel(room, target).encode())

    def _channel(self, room: Room, target: str) -> str:
        return f"{self._prefix}:{_LETTERS[room]}:{target}"

    def _arrived(self, server: Server, channel: bytes, data: bytes) -> None:
        """Hand over what came in, if it may."""
        try:
            if channel == self._emitter:
                self._hear_emitter(data)
            elif self._gate is not None:
                envelope = self._gate.open(server, channel, data)
                if envelope is not None:
                    self._hand_over(envelope, channel.decode())
        except Exception:
            # One that cannot be taken in does not end the connection that brings all others.
            log.exception("what came over the bus could not be taken in")

    def _hand_over(self, envelope: Envelope, channel: str) -> None:
        if envelope.kind is Kind.LIBRARY:
            self._hear_library(envelope.body)
            return
        _, letter, target = channel.split(":", 2)
        if _ROOMS[letter] is Room.PRESENCE:
            self._hear_presence(target, envelope.body)
        elif envelope.kind is Kind.EVENT:
            event = envelope.event(_ROOMS[letter], target)
            for listener in self._listeners:
                listener(event)
        elif self._repairer is not None:
            self._repairer.hear_of(_ROOMS[letter], target, envelope.number or 0)

    def _doubt(self) -> None:
        if self._repairer is not None:
            self._repairer.doubt()

    # For presence

    def hear_presence(self, hear: Callable[[str, bytes], None]) -> None:
        """Let somebody hear what other nodes say of the presence of people who are followed."""
        self._hear_presence = hear

    def tell_presence(self, user_id: str, body: bytes) -> None:
        """Let the nodes that follow a person hear something of their presence."""
        channel = self._channel(Room.PRESENCE, user_id)
        speaking = self._servers.speaking_on(channel.encode())
        if self._seal is not None and speaking is not None:
            event = Event("presence", Room.PRESENCE, user_id, body, about="")
            envelope = self._seal.event(channel, self._epoch, event)
            self._post(speaking, Letter(channel.encode(), envelope))

    # For python-socketio

    def hear_library(self, hear: Callable[[bytes], None]) -> None:
        """Let somebody hear what python-socketio says to itself on other nodes."""
        self._hear_library = hear
        self._servers.want(self._library)

    def tell_library(self, body: bytes) -> None:
        """Let python-socketio on the other nodes hear something."""
        speaking = self._servers.speaking_on(self._library)
        if self._seal is not None and speaking is not None:
            envelope = self._seal.library(self._library.decode(), body)
            self._post(speaking, Letter(self._library, envelope))

    def hear_emitter(self, hear: Callable[[bytes], None]) -> None:
        """Let somebody hear what other programs say on the channel that is theirs."""
        self._hear_emitter = hear
        self._servers.want(self._emitter)

    def refuse(self, reason: str) -> None:
        """Count something that came in and was none of ours."""
        if self._gate is not None:
            self._gate.refuse(reason)


def _to_nobody(_: bytes) -> None:
    """Hear nothing."""
