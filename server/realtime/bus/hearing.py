"""The channels that a node hears on one server of Redis: asked for many at a time.

Every channel asked for or given up is answered, in order, so that what has no answer yet is known,
and what is answered without having been asked was the server's own doing: the slot has moved.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Iterator

from redis.crc import key_slot

from server.realtime.bus.wire import Wire

_AT_ONCE = 500
"""The channels of one command."""

_ASK, _GIVE_UP = b"subscribe", b"unsubscribe"
_MESSAGES = (b"message", b"smessage")

Take = Callable[[bytes, bytes], None]
"""Where a message goes: its channel and what it brings."""


class TakenAwayError(Exception):
    """The server gave up a channel that nobody here gave up."""


class Hearing:
    """What is to be heard on one server, whichever connection hears it."""

    def __init__(self, take: Take, *, sharded: bool, everywhere: Collection[bytes] = ()) -> None:
        """Hand over what arrives; channels `everywhere` belong to no slot of a cluster."""
        self._take = take
        self._prefix = b"s" if sharded else b""
        self._everywhere = frozenset(everywhere)
        self.wanted: dict[bytes, None] = {}
        # Of the connection there is: what was asked for, what has no answer yet, and among that
        # those who wait for all before it.
        self._asked: set[bytes] = set()
        self._unanswered: deque[tuple[bytes, bytes] | asyncio.Future[None]] = deque()
        # Since the last write: what was touched, and who waits for it.
        self._touched: dict[bytes, None] = {}
        self._waiting: list[asyncio.Future[None]] = []
        self._changed = asyncio.Event()
        self._wire: Wire | None = None
        self.is_up = False

    def want(self, channel: bytes) -> None:
        """Hear a channel from now on, on every connection to come."""
        if channel not in self.wanted:
            self.wanted[channel] = None
            self._touch(channel)

    def give_up(self, channel: bytes) -> None:
        """Hear a channel no longer."""
        if self.wanted.pop(channel, self) is None:
            self._touch(channel)

    def _touch(self, channel: bytes) -> None:
        self._touched[channel] = None
        self._changed.set()

    def certain(self) -> "asyncio.Future[None] | None":
        """Return what is done when all that is wanted now is heard; None when it is already.

        It is cancelled when the connection ends.
        """
        if not self._touched and not self._unanswered:
            return None
        certain = asyncio.get_running_loop().create_future()
        self._waiting.append(certain)
        self._changed.set()
        return certain

    async def live(self, wire: Wire, risen: Callable[[], None]) -> None:
        """Hear by a connection until it fails; `risen` is called when all is heard."""
        self._touched = dict.fromkeys(self.wanted)
        first = asyncio.get_running_loop().create_future()
        first.add_done_callback(lambda _: self._rise(wire, risen))
        self._waiting.append(first)
        self._changed.set()
        self._wire = wire
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._write(wire))
                tasks.create_task(self._read(wire))
        finally:
            self._fall()

    def _rise(self, wire: Wire, risen: Callable[[], None]) -> None:
        if self._wire is wire:
            self.is_up = True
            risen()

    def _fall(self) -> None:
        self.is_up, self._wire = False, None
        left = [one for one in self._unanswered if isinstance(one, asyncio.Future)]
        for one in (*left, *self._waiting):
            one.cancel()
        self._asked.clear()
        self._unanswered.clear()
        self._waiting.clear()

    async def _write(self, wire: Wire) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            touched, self._touched = self._touched, {}
            asked = [one for one in touched if one in self.wanted and one not in self._asked]
            given_up = [one for one in touched if one not in self.wanted and one in self._asked]
            self._asked.update(asked)
            self._asked.difference_update(given_up)
            commands = [*self._commands(_GIVE_UP, given_up), *self._commands(_ASK, asked)]
            for verb, *channels in commands:
                self._unanswered.extend((verb, channel) for channel in channels)
            self._unanswered.extend(self._waiting)
            self._waiting.clear()
            self._reach()
            await wire.send(commands)

    def _commands(self, verb: bytes, channels: list[bytes]) -> Iterator[tuple[bytes, ...]]:
        """Return as few commands as possible; those of a cluster are about one slot each."""
        groups: dict[int, list[bytes]] = {}
        for channel in channels:
            is_sharded = self._prefix and channel not in self._everywhere
            groups.setdefault(key_slot(channel) if is_sharded else -1, []).append(channel)
        for slot, group in groups.items():
            full = verb if slot < 0 else self._prefix + verb
            for start in range(0, len(group), _AT_ONCE):
                yield (full, *group[start : start + _AT_ONCE])

    async def _read(self, wire: Wire) -> None:
        while True:
            kind, channel, data = await wire.read()
            if kind in _MESSAGES:
                self._take(channel, data)
            else:
                self._answered((kind, channel))

    def _answered(self, answer: tuple[bytes, bytes]) -> None:
        if not self._unanswered or self._unanswered[0] != answer:
            raise TakenAwayError(f"{answer[0].decode()} {answer[1].decode()}")
        self._unanswered.popleft()
        self._reach()

    def _reach(self) -> None:
        """Let those go on before whom all is answered."""
        while self._unanswered and isinstance(self._unanswered[0], asyncio.Future):
            certain = self._unanswered[0]
            self._unanswered.popleft()
            if not certain.done():
                certain.set_result(None)
