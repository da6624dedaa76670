"""What one thing costs whom, for the arithmetic of docs/scaling.md.

python -m bench.capacity prints it, all or some of: rows sends receipts between seats. Nothing else
should run meanwhile.
"""

import asyncio
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import redis

from bench import databases, people, servers, tables
from bench.cases.bystanders import talk_at
from bench.chatter import chat
from bench.databases import Databases
from bench.machine import Idlers, instrument, load
from bench.progress import say
from tests.services import Valkey

ROWS = 100_000
SENDERS = 100
BETWEEN_PER_S = 1_000
SECONDS = 8
READERS = 20
UNREAD = 20_000
PEOPLE = 100
SEATS = 50

_TICKS = os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Measure one after the other."""
    instrument("load")
    with (
        tempfile.TemporaryDirectory(prefix="palabre-bench-") as folder,
        databases.started(Path(folder)) as grounds,
    ):
        for name, measure in _ALL.items():
            if name in (sys.argv[1:] or _ALL):
                measure(grounds, Path(folder))


# On the disk of PostgreSQL


def _rows(grounds: Databases, _folder: Path) -> None:
    """Print what a message and a membership take, with their indexes."""
    with grounds.postgres() as url:
        with servers.palabre(url) as server:
            talks = people.groups(server, [["p1", "p2"]] * 2)
            one, other = people.say_one(server, [(talk["id"], "p1") for talk in talks])
        before = _sizes(url)
        tables.lengthen(url, one["id"], ROWS)
        tables.multiply(url, other["id"], ROWS // 10)
        after = _sizes(url)
    grown = {name: after[name] - before[name] for name in after}
    say("On the disk of PostgreSQL, with indexes:")
    say(f"  a message of 200 characters: {grown['messages'] / (ROWS + ROWS // 10):,.0f} bytes")
    say(f"  a membership: {grown['participants'] / (ROWS // 10 * 2):,.0f} bytes")
    say(f"  a conversation: {grown['conversations'] / (ROWS // 10):,.0f} bytes")


def _sizes(url: str) -> dict[str, int]:
    async def read() -> dict[str, int]:
        connection = await asyncpg.connect(url)
        try:
            return {
                name: await connection.fetchval("SELECT pg_total_relation_size($1::regclass)", name)
                for name in ("messages", "participants", "conversations")
            }
        finally:
            await connection.close()

    return asyncio.run(read())


# Sends


@dataclass(slots=True)
class _Used:
    """What was used between the beginning of a block and its end."""

    cpu_s: float = 0.0
    log_bytes: int = 0


def _sends(grounds: Databases, folder: Path) -> None:
    """Print what a stored message costs its node and the database."""
    with grounds.postgres() as url, servers.palabre(url) as server:
        here = people.names(2 * SENDERS)
        talks = people.groups(server, list(zip(here[::2], here[1::2], strict=True)))
        values: dict[str, Any] = {
            "port": server.port,
            "pid": server.pid,
            "clients": 2 * SENDERS,
            "auth": people.tokens(folder, here),
            "body": people.sends(folder, [talk["id"] for talk in talks for _ in range(2)]),
            "seconds": SECONDS,
        }
        with _used_by_postgres(url) as used:
            figures = load("pairs", **values, **people.TALK)
    # The second of warming up is in what the database used, and so are its messages.
    sends = figures["sends_per_s"] * figures["sending_s"]
    say(f"A stored message, {SENDERS} senders at once, {figures['sends_per_s']:,.0f} a second:")
    say(f"  {figures['cpu_us_per_send']:,.0f} µs of the node")
    say(f"  {used.cpu_s / sends * 1e6:,.0f} µs of PostgreSQL")
    say(f"  {used.log_bytes / sends:,.0f} bytes of PostgreSQL's log (WAL)")


def _receipts(grounds: Databases, folder: Path) -> None:
    """Print what it costs that somebody has read a conversation up to another message."""
    with grounds.postgres() as url:
        here = people.names(2 * READERS)
        pairs = list(zip(here[::2], here[1::2], strict=True))
        with servers.palabre(url) as server:
            talks = people.groups(server, pairs)
            said = [(talk["id"], others) for talk, (_, others) in zip(talks, pairs, strict=True)]
            messages = people.say_one(server, said)
        for message in messages:
            tables.lengthen(url, message["id"], UNREAD)
        tables.name_everybody(url)
        # The numbers rise: 11 to 19, 110 to 199, and so on.
        read = [f'{{"conversation_id":"{talk["id"]}","up_to_seq":1{{seq}}}}' for talk in talks]
        body = folder / "receipts"
        body.write_text("".join(f"{line}\n{line}\n" for line in read))
        with servers.palabre(url) as server, _used_by_postgres(url) as used:
            figures = load(
                "pairs",
                port=server.port,
                pid=server.pid,
                clients=2 * READERS,
                auth=people.tokens(folder, here),
                body=f"@{body}",
                seconds=SECONDS / 2,
                emit="receipt:read",
                hears="receipt:read",
                ready="session:ready",
            )
    receipts = figures["sends_per_s"] * figures["sending_s"]
    say(f"A receipt, {READERS} readers at once, {figures['sends_per_s']:,.0f} a second:")
    say(f"  {figures['cpu_us_per_send']:,.0f} µs of the node")
    say(f"  {used.cpu_s / receipts * 1e6:,.0f} µs of PostgreSQL")


@contextmanager
def _used_by_postgres(url: str) -> Iterator[_Used]:
    used = _Used()
    postmaster, log = _database(url)
    began = _family_s(postmaster)
    yield used
    used.cpu_s = _family_s(postmaster) - began
    used.log_bytes = _database(url)[1] - log


def _database(url: str) -> tuple[int, int]:
    """Return the process above all of PostgreSQL, and how far its log is."""

    async def read() -> tuple[int, int]:
        connection = await asyncpg.connect(url)
        try:
            pid = await connection.fetchval("SELECT pg_backend_pid()")
            log = await connection.fetchval("SELECT pg_current_wal_lsn() - '0/0'::pg_lsn")
            # Its own process ends with the connection.
            return _stat(pid)[1], int(log)
        finally:
            await connection.close()

    return asyncio.run(read())


def _family_s(parent: int) -> float:
    """Return the seconds of CPU of a process and all its children, those that ended too."""
    pids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
    return sum(_cpu_s(pid, parent) for pid in pids)


def _cpu_s(pid: int, parent: int) -> float:
    try:
        fields = _stat(pid)
    except OSError:
        return 0.0
    if pid == parent:
        return sum(fields[11:15]) / _TICKS
    return sum(fields[11:13]) / _TICKS if fields[1] == parent else 0.0


def _stat(pid: int) -> list[int]:
    """Return what /proc says of a process, after its name and state: see proc(5)."""
    text = Path(f"/proc/{pid}/stat").read_text()
    return [0, *map(int, text.rpartition(")")[2].split()[1:])]


# Between nodes


def _between(grounds: Databases, _folder: Path) -> None:
    """Print what a message costs that is said on one node and heard on another."""
    with (
        Valkey() as valkey,
        grounds.postgres() as url,
        servers.palabre(url, redis_url=valkey.url, core=None) as here,
        servers.palabre(url, redis_url=valkey.url, core=None) as there,
    ):
        talk = talk_at(here)
        meters: dict[str, Callable[[], float]] = {
            "the node that stores it": lambda: sum(_stat(here.pid)[11:13]) / _TICKS,
            "the node that hears it": lambda: sum(_stat(there.pid)[11:13]) / _TICKS,
            "Valkey": lambda: _valkey(valkey, "cpu", "used_cpu_user", "used_cpu_sys"),
        }
        before = {who: read() for who, read in meters.items()}
        rate = chat(here, there, talk, per_s=BETWEEN_PER_S, seconds=SECONDS)
        used = {who: read() - before[who] for who, read in meters.items()}
    say(f"A message between nodes, {rate:,.0f} a second:")
    for who, seconds in used.items():
        say(f"  {seconds / (rate * SECONDS) * 1e6:,.0f} µs of {who}")


def _valkey(valkey: Valkey, section: str, *names: str) -> float:
    with redis.Redis.from_url(valkey.url) as client:
        told: Any = client.info(section)
    return float(sum(told[name] for name in names))


# Seats


def _seats(grounds: Databases, folder: Path) -> None:
    """Print what it takes to hear a conversation that nobody else here hears."""
    here = people.names(PEOPLE)
    with Valkey() as valkey, grounds.postgres() as url:
        with servers.palabre(url) as server:
            people.groups(server, [[person, "p0"] for person in here for _ in range(SEATS)])
            people.groups(server, [[f"few{person}", "p0"] for person in here])
            tables.name_everybody(url)
        found: dict[str, tuple[float, float]] = {}
        for who, names in (("few", [f"few{person}" for person in here]), ("many", here)):
            with servers.palabre(url, redis_url=valkey.url) as server:
                empty = _valkey(valkey, "memory", "used_memory")
                values: dict[str, Any] = {"port": server.port, "pid": server.pid, "clients": PEOPLE}
                values |= {"auth": people.tokens(folder, names), "settle": 5, "seconds": 1}
                with Idlers(**values, **people.TALK) as idlers:
                    full = _valkey(valkey, "memory", "used_memory")
                    kib = idlers.figures()["kib_per_connection"]
                found[who] = kib, (full - empty) / PEOPLE
    more = SEATS - 1
    kib, channels = (many - few for many, few in zip(found["many"], found["few"], strict=True))
    say("A conversation that one connection hears and nobody else on the node:")
    say(f"  {kib / more:,.2f} KiB of the node, {channels / more:,.0f} bytes of Valkey")


_ALL: dict[str, Callable[[Databases, Path], None]] = {
    "rows": _rows,
    "sends": _sends,
    "receipts": _receipts,
    "between": _between,
    "seats": _seats,
}


if __name__ == "__main__":
    main()
