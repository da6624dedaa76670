"""What a connection costs that says nothing, and what coming in costs.

Everybody at Palabre has a token that is checked and rooms that are joined; the others believe
everybody. People are known and called as their tokens say, as they are after their first day.
"""

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from bench import people, servers, tables
from bench.cases.case import Case, Pace, in_turn
from bench.databases import Databases
from bench.figures import Figures, Row
from bench.machine import CannotMeasureError, Idlers, load
from bench.servers import Server

IDLE = 5000
ROOM = 10
SYNCING = 1000
CURSORS = 10

_IDLE_S = 5
_TAKES = 3


def cases() -> list[Case]:
    """Return the connections that say nothing, and those that ask what they missed."""
    idle = Case("idle", (*_ROOMS, "node", "python-socketio"), 30, _idle)
    sync = in_turn(
        "sync",
        22,
        palabre=partial(_sync, Databases.postgres),
        palabre_sqlite=partial(_sync, Databases.sqlite),
    )
    return [idle, sync]


def _idle(databases: Databases, pace: Pace, contenders: Sequence[str]) -> Iterator[Row]:
    """Connect to one server after the other; each is let alone for the same time, side by side."""
    clients = max(ROOM, int(IDLE * pace.clients))
    try:
        with ExitStack() as stack:
            waiting = []
            for contender in contenders:
                for browser, name in enumerate(("idle", "idle-browser")):
                    values = stack.enter_context(_open(databases, contender, clients))
                    values |= {"browser": browser, "settle": pace.settle_s, "seconds": _IDLE_S}
                    idlers = stack.enter_context(Idlers(clients=clients, **values))
                    waiting.append((name, contender, idlers))
            for name, contender, idlers in waiting:
                yield Row(name, contender, idlers.figures())
    except CannotMeasureError as error:
        yield Row("idle", "all", {}, str(error))


@contextmanager
def _open(databases: Databases, contender: str, clients: int) -> Iterator[dict[str, Any]]:
    """Start a server and yield what the load generator is told of it."""
    with ExitStack() as stack:
        if contender in _ROOMS:
            url = stack.enter_context(_ROOMS[contender](databases))
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            here = people.names(clients)
            with servers.palabre(url) as server:
                people.groups(server, [here[at : at + ROOM] for at in range(0, clients, ROOM)])
                tables.name_everybody(url)
            # Another one, that has no memory left over from making rooms.
            server = stack.enter_context(servers.palabre(url))
            yield _at(server) | {"auth": people.tokens(folder, here)} | people.TALK
        else:
            yield _at(stack.enter_context(_OTHERS[contender]()))


def _at(server: Server) -> dict[str, Any]:
    return {"port": server.port, "pid": server.pid}


_ROOMS = {"palabre": Databases.postgres, "palabre-sqlite": Databases.sqlite}
_OTHERS = {"node": servers.node_echo, "python-socketio": servers.python_echo}


def _sync(database: Any, databases: Databases, pace: Pace) -> Figures:
    """Let people who are in ten conversations each come in without, with and with old cursors."""
    clients = max(4 * ROOM, int(SYNCING * pace.clients))
    here = people.names(clients)
    with (
        tempfile.TemporaryDirectory() as folder,
        database(databases) as url,
        servers.palabre(url) as server,
    ):
        rings = [
            [here[(at * ROOM + step * (turn + 1)) % clients] for step in range(ROOM)]
            for turn in range(CURSORS)
            for at in range(clients // ROOM)
        ]
        talks = people.groups(server, rings)
        people.say_one(
            server, [(talk["id"], ring[0]) for talk, ring in zip(talks, rings, strict=True)]
        )
        tables.name_everybody(url)
        auths = _auths(Path(folder), people.epoch(server), here, talks, rings)
        takes: dict[str, list[float]] = {name: [] for name in auths}
        for _ in range(_TAKES):
            for name, auth in auths.items():
                figures = load("connect", clients=clients, auth=auth, **_at(server), **people.TALK)
                takes[name].append(figures["cpu_us_per_connect"])
                time.sleep(1)  # until the server has said goodbye to everybody
    least = {name: min(found) for name, found in takes.items()}
    return {
        "cpu_us_per_connect": least["alone"],
        "sync_adds_us": least["current"] - least["alone"],
        "missed_adds_us": least["missed"] - least["alone"],
    }


def _auths(
    folder: Path, epoch: str, here: list[str], talks: list[dict[str, Any]], rings: list[list[str]]
) -> dict[str, str]:
    """Return what people show: a token alone, with cursors, and with cursors of a message ago."""
    cursors: dict[str, dict[str, int]] = {person: {} for person in here}
    for talk, ring in zip(talks, rings, strict=True):
        for person in ring:
            cursors[person][talk["id"]] = talk["head"]
    shown: dict[str, list[dict[str, Any]]] = {
        "alone": [{} for _ in here],
        "current": [
            {"epoch": epoch, "cursors": {id_: head + 1 for id_, head in cursors[person].items()}}
            for person in here
        ],
        "missed": [{"epoch": epoch, "cursors": cursors[person]} for person in here],
    }
    return {
        name: people.lines(
            folder / name,
            [{"token": people.token(who), **more} for who, more in zip(here, each, strict=True)],
        )
        for name, each in shown.items()
    }
