"""Who is there, on all nodes together: in Redis, as leases, and announced over the bus.

A person has a hash with a field for each node that vouches for them, and a node has a key that says
that it lives. Both end by themselves when nobody renews them, so of a node that crashed nothing is
left after a lease. A node reads the hash of a person when somebody here begins to follow them, and
from then on hears each change; whose node has died it sees by looking at the nodes, not at people.
Because the bus may lose a change, hashes are read again once in a lease.
"""

import asyncio
from collections.abc import Collection, Iterator
from contextlib import suppress
from secrets import token_hex
from typing import Any

import orjson

from server.config import Settings
from server.events import Room
from server.logs import get_logger
from server.realtime.board import Listener, Sight, best
from server.realtime.bus import RedisBus
from server.realtime.bus.keys import AwayError, Keys
from server.realtime.bus.wire import Command

_LEASE = 0.8
"""The part of `presence_lease_s` that a lease lasts; the rest is for those who notice its end."""

_BEATS = 5
_LOOKS = 15
_AT_ONCE = 250
_AGAIN_S = 1.0
_PARTING_S = 5.0
"""How long the people of a node that stops are still there: they come back to another one."""

log = get_logger(__name__)


class SharedBoard:
    """The board of an installation of several nodes."""

    def __init__(self, settings: Settings, bus: RedisBus) -> None:
        """Announce and hear changes by a bus."""
        lease_s = settings.limits.presence_lease_s
        self._lease_s = float(lease_s)
        self._lease_ms = int(lease_s * _LEASE * 1_000)
        self._prefix = settings.redis.prefix
        self._node = token_hex(8)
        self._bus = bus
        self._keys = Keys(settings.redis)
        self._listeners: list[Listener] = []
        # People here, and those of them of whom something is still to be said.
        self._own: dict[str, Sight] = {}
        self._unsaid: dict[str, None] = {}
        # People who are followed here, and how each other node sees them.
        self._others: dict[str, dict[str, Sight]] = {}
        self._unread: dict[str, None] = {}
        # What was heard while hashes were being read, which may be older; by who reads.
        self._heard_since: dict[object, set[tuple[str, str]]] = {}
        # Until then what is missing in Redis may only be missing there; then all is read again.
        self._trusted_from = self._read_again_at = 0.0
        self._more = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        bus.hear_presence(self._heard)

    async def open(self) -> None:
        """Begin to write and to look."""
        loop = asyncio.get_running_loop()
        self._read_again_at = loop.time() + self._lease_s
        work = (self._write_on(), self._beat_on(), self._look_on())
        self._tasks = [loop.create_task(one) for one in work]

    # What is so here

    def vouch(self, user_id: str, sight: Sight | None) -> None:
        """Say how a person is on this node, or that they are not on it any more."""
        if self._own.get(user_id) == sight:
            return
        if sight is None:
            del self._own[user_id]
        else:
            self._own[user_id] = sight
        self.again(user_id)

    def again(self, user_id: str) -> None:
        """Let everybody look at a person again."""
        self._unsaid[user_id] = None
        self._more.set()
        self._tell(user_id)

    def listen(self, listener: Listener) -> None:
        """Let somebody hear of everybody who is to be looked at again."""
        self._listeners.append(listener)

    def _tell(self, user_id: str) -> None:
        for listener in self._listeners:
            listener(user_id)

    async def _write_on(self) -> None:
        """Write what is new, then announce it: who reads and hears misses nothing."""
        while True:
            await self._more.wait()
            self._more.clear()
            while self._unsaid:
                await self._write(list(self._unsaid)[:_AT_ONCE])

    async def _write(self, user_ids: list[str]) -> None:
        said = {user_id: self._own.get(user_id) for user_id in user_ids}
        for user_id in user_ids:
            del self._unsaid[user_id]
        commands = [command for one, sight in said.items() for command in self._written(one, sight)]
        try:
            await self._ask(commands)
        except AwayError:
            self._unsaid.update(dict.fromkeys(user_ids))
            await asyncio.sleep(_AGAIN_S)
            return
        for user_id, sight in said.items():
            body = {"node": self._node, "sight": None if sight is None else [sight.away_since]}
            self._bus.tell_presence(user_id, orjson.dumps(body))

    def _written(self, user_id: str, sight: Sight | None) -> Iterator[Command]:
        key = self._key(user_id)
        if sight is None:
            yield ("HDEL", key, self._node)
            return
        yield ("HSET", key, self._node, "" if sight.is_active else str(sight.away_since))
        yield ("PEXPIRE", key, self._lease_ms)

    async def _beat_on(self) -> None:
        """Renew all leases, many at a time."""
        while True:
            with suppress(AwayError):
                await self._ask([("SET", self._life(self._node), "1", "PX", self._lease_ms)])
                people = list(self._own)
                for start in range(0, len(people), _AT_ONCE):
                    commands = [
                        command
                        for user_id in people[start : start + _AT_ONCE]
                        if user_id in self._own
                        for command in self._written(user_id, self._own[user_id])
                    ]
                    await self._ask(commands)
                    await asyncio.sleep(0)
            await asyncio.sleep(self._lease_s / _BEATS)

    # What is so elsewhere

    async def follow(self, user_ids: Collection[str]) -> None:
        """Begin to learn of people; without Redis, only of those who are here."""
        await self._bus.follow(Room.PRESENCE, user_ids)
        for user_id in user_ids:
            self._others.setdefault(user_id, {})
        try:
            await self._read(list(user_ids))
        except AwayError:
            self._unread.update(dict.fromkeys(user_ids))

    def unfollow(self, user_ids: Collection[str]) -> None:
        """Learn no more of people."""
        for user_id in user_ids:
            self._others.pop(user_id, None)
            self._unread.pop(user_id, None)
        if user_ids:
            self._bus.leave(Room.PRESENCE, user_ids)

    def look(self, user_id: str) -> Sight | None:
        """Return how a person is, on whichever node, if they are there."""
        sights = list(self._others.get(user_id, {}).values())
        own = self._own.get(user_id)
        return best(sights if own is None else [*sights, own])

    async def _read(self, user_ids: list[str]) -> None:
        """Read what other nodes that live say of people, and tell of what is different."""
        me = object()
        heard = self._heard_since[me] = set()
        try:
            hashes = await self._ask([("HGETALL", self._key(one)) for one in user_ids])
            found = {one: _sights(fields) for one, fields in zip(user_ids, hashes, strict=True)}
            nodes = {node for sights in found.values() for node in sights} - {self._node}
            living = await self._living(nodes)
        finally:
            del self._heard_since[me]
        for user_id, sights in found.items():
            known = self._others.get(user_id)
            if known is None:
                continue
            kept = {node: known[node] for node in known if (user_id, node) in heard}
            read = {node: sight for node, sight in sights.items() if node in living}
            if not self._is_trusted:
                read = {**known, **read}
            now = {**{k: v for k, v in read.items() if (user_id, k) not in heard}, **kept}
            if now != known:
                self._others[user_id] = now
                self._tell(user_id)

    async def _living(self, nodes: Collection[str]) -> set[str]:
        listed = list(nodes)
        if not listed:
            return set()
        answers = await self._ask([("EXISTS", self._life(node)) for node in listed])
        return {node for node, lives in zip(listed, answers, strict=True) if lives}

    def _heard(self, user_id: str, body: bytes) -> None:
        """Take what another node says of a person who is followed here."""
        known = self._others.get(user_id)
        if known is None:
            return
        said = orjson.loads(body)
        node, sight = said["node"], said["sight"]
        for heard in self._heard_since.values():
            heard.add((user_id, node))
        if sight is None:
            known.pop(node, None)
        else:
            known[node] = Sight(sight[0])
        self._tell(user_id)

    async def _look_on(self) -> None:
        """Notice which nodes have died, and read what could not be read or was read long ago."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._lease_s / _LOOKS)
            if loop.time() >= self._read_again_at:
                self._read_again_at = loop.time() + self._lease_s
                self._unread.update(dict.fromkeys(self._others))
            try:
                await self._bury()
                while self._unread:
                    late = list(self._unread)[:_AT_ONCE]
                    await self._read(late)
                    for user_id in late:
                        self._unread.pop(user_id, None)
            except AwayError:
                continue

    async def _bury(self) -> None:
        """Forget what nodes said whose lease has ended.

        A Redis that came back empty knows of no leases at all: our own is missing too, and for one
        lease nobody is taken for dead.
        """
        nodes = {node for known in self._others.values() for node in known}
        living = await self._living({*nodes, self._node})
        if self._node not in living:
            self._distrust()
            self._unsaid.update(dict.fromkeys(self._own))
            self._more.set()
            await self._ask([("SET", self._life(self._node), "1", "PX", self._lease_ms)])
        if not self._is_trusted:
            return
        for user_id, known in self._others.items():
            dead = [node for node in known if node not in living]
            for node in dead:
                del known[node]
            if dead:
                self._tell(user_id)

    @property
    def _is_trusted(self) -> bool:
        return asyncio.get_running_loop().time() >= self._trusted_from

    def _distrust(self) -> None:
        self._trusted_from = asyncio.get_running_loop().time() + self._lease_ms / 1_000
        self._read_again_at = self._trusted_from

    async def _ask(self, commands: list[Command]) -> list[Any]:
        try:
            return await self._keys.ask(commands)
        except AwayError:
            self._distrust()
            raise

    def _key(self, user_id: str) -> str:
        return f"{self._prefix}:presence:{user_id}"

    def _life(self, node: str) -> str:
        return f"{self._prefix}:node:{node}"

    async def close(self) -> None:
        """Stop vouching, a few seconds from now: people come back by another node."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with suppress(AwayError, TimeoutError):
            async with asyncio.timeout(_AGAIN_S):
                life = self._life(self._node)
                await self._keys.ask([("PEXPIRE", life, int(_PARTING_S * 1_000))])
        await self._keys.close()


def _sights(fields: Any) -> dict[str, Sight]:
    """Return what a hash says, by node; the answer is a list of names and values in turn."""
    words = [word.decode() for word in fields]
    pairs = zip(words[::2], words[1::2], strict=True)
    return {node: Sight(int(value) if value else None) for node, value in pairs}
