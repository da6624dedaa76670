"""Several Valkeys that belong together: a cluster, or a master with a replica and a Sentinel."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager, suppress
from typing import Any

import redis.asyncio
import redis.exceptions
from redis.crc import key_slot

from tests.services import LOOPBACK, Valkey, free_port

_SLOTS = 16_384


async def ask(valkey: Valkey, *command: str | int | bytes) -> Any:
    """Return a Valkey's answer."""
    async with redis.asyncio.Redis.from_url(valkey.url) as client:
        return await client.execute_command(*command)


async def until(valkey: Valkey, *command: str | int, says: Callable[[Any], bool]) -> None:
    """Wait until a Valkey answers what is expected."""
    async with asyncio.timeout(20):
        while True:
            # Who becomes something else cuts its clients off.
            with suppress(redis.exceptions.ConnectionError):
                if says(await ask(valkey, *command)):
                    return
            await asyncio.sleep(0.02)


class Cluster:
    """Masters that share the slots between them."""

    def __init__(self, talks: dict[Valkey, int]) -> None:
        # The members, and the ports by which they talk to each other.
        self._talks = talks
        self.members = members = list(talks)
        self.url = "redis+cluster://" + ",".join(f"{LOOPBACK}:{one.port}" for one in members)
        self._ids: dict[Valkey, str] = {}

    async def form(self) -> None:
        share = _SLOTS // len(self.members)
        first = self.members[0]
        for number, member in enumerate(self.members):
            self._ids[member] = (await ask(member, "CLUSTER", "MYID")).decode()
            last = _SLOTS - 1 if member is self.members[-1] else (number + 1) * share - 1
            await ask(member, "CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            await ask(member, "CLUSTER", "ADDSLOTSRANGE", number * share, last)
            if member is not first:
                await ask(member, "CLUSTER", "MEET", LOOPBACK, first.port, self._talks[first])
        for member in self.members:
            await until(
                member, "CLUSTER", "INFO", says=lambda answer: b"cluster_state:ok" in answer
            )

    async def owner(self, channel: str) -> Valkey:
        """Return who serves a channel."""
        slot = key_slot(channel.encode())
        for first, last, master, *_ in await ask(self.members[0], "CLUSTER", "SLOTS"):
            if first <= slot <= last:
                return next(one for one in self.members if one.port == master[1])
        raise AssertionError("nobody does")

    async def move(self, channel: str) -> None:
        """Give the slot of a channel or key to another member, with what is in it."""
        slot, source = key_slot(channel.encode()), await self.owner(channel)
        target = next(one for one in self.members if one is not source)
        await ask(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", self._ids[source])
        await ask(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", self._ids[target])
        if keys := await ask(source, "CLUSTER", "GETKEYSINSLOT", slot, 1_000):
            await ask(source, "MIGRATE", LOOPBACK, target.port, "", 0, 5_000, "KEYS", *keys)
        others = [one for one in self.members if one not in (source, target)]
        for member in (target, source, *others):
            await ask(member, "CLUSTER", "SETSLOT", slot, "NODE", self._ids[target])


@asynccontextmanager
async def cluster(size: int) -> AsyncIterator[Cluster]:
    """Run a cluster of that many masters."""
    with ExitStack() as stack:
        talks = dict[Valkey, int]()
        for port in [free_port() for _ in range(size)]:
            settings = {"cluster-enabled": "yes", "cluster-node-timeout": "2000"}
            talks[stack.enter_context(Valkey(**settings, **{"cluster-port": str(port)}))] = port
        made = Cluster(talks)
        await made.form()
        yield made


class Watched:
    """A master and a replica, and a Sentinel that makes the one the other's successor."""

    def __init__(self, master: Valkey, replica: Valkey, sentinel: Valkey) -> None:
        self.master = master
        self.replica = replica
        self.sentinel = sentinel
        self.url = f"redis+sentinel://{LOOPBACK}:{sentinel.port}/0/palabre"

    async def follows(self) -> None:
        """Wait until the replica is the master."""
        await until(self.replica, "ROLE", says=lambda answer: answer[0] == b"master")

    async def is_ready(self) -> None:
        """Wait until the Sentinel knows the replica, without which it can do nothing."""
        await until(self.replica, "ROLE", says=lambda answer: answer[3] == b"connected")
        await until(self.sentinel, "SENTINEL", "REPLICAS", "palabre", says=bool)


@asynccontextmanager
async def watched() -> AsyncIterator[Watched]:
    """Run them."""
    with ExitStack() as stack:
        master = stack.enter_context(Valkey(**{"repl-diskless-sync-delay": "0"}))
        replica = stack.enter_context(Valkey(replicaof=f"{LOOPBACK} {master.port}"))
        lines = (
            f"sentinel monitor palabre {LOOPBACK} {master.port} 1",
            "sentinel down-after-milliseconds palabre 500",
            "sentinel failover-timeout palabre 2000",
        )
        sentinel = stack.enter_context(Valkey(sentinel=lines))
        made = Watched(master, replica, sentinel)
        await made.is_ready()
        yield made
