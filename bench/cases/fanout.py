"""What a delivery costs: everybody in one room hears a text of 200 characters.

Palabre checks the sender, stores the message and numbers it; the others only hand it on.
"""

import tempfile
from functools import partial
from pathlib import Path

from bench import people, servers
from bench.cases.case import Case, Pace, in_turn
from bench.databases import Databases
from bench.figures import Figures
from bench.machine import load
from bench.servers import Server

WINDOWS = (1, 16, 64)
SIZES = (10, 100, 5000)
MEMBERS = 1000


def cases() -> list[Case]:
    """Return the rooms of 1,000 by how many talk at once, then rooms of other sizes."""
    busy = [_case(f"fanout-{window}", MEMBERS, window, stock=True) for window in WINDOWS]
    return busy + [_case(f"members-{size}", size, 1, stock=False) for size in SIZES]


def _case(name: str, members: int, window: int, *, stock: bool) -> Case:
    asks = {
        "palabre_sqlite": partial(_palabre, members, window),
        "write": partial(_write_limit, members, window),
        "node": partial(_node, members, window),
    }
    if stock:
        asks["python_socketio"] = partial(_stock, members, window)
    return in_turn(name, 5 if members <= MEMBERS else 10, **asks)


def _palabre(members: int, window: int, databases: Databases, pace: Pace) -> Figures:
    with (
        tempfile.TemporaryDirectory() as folder,
        databases.sqlite() as url,
        servers.palabre(url) as server,
    ):
        here = people.names(members)
        room = people.room(server, here)
        return _load(
            server,
            members,
            window,
            pace,
            auth=people.tokens(Path(folder), here),
            body=people.sends(Path(folder), [room] * members),
            **people.TALK,
        )


def _write_limit(members: int, window: int, _databases: Databases, pace: Pace) -> Figures:
    with servers.write_limit() as server:
        return _load(server, members, window, pace)


def _node(members: int, window: int, _databases: Databases, pace: Pace) -> Figures:
    with servers.node_echo() as server:
        return _load(server, members, window, pace)


def _stock(members: int, window: int, _databases: Databases, pace: Pace) -> Figures:
    with servers.python_echo() as server:
        return _load(server, members, window, pace)


def _load(server: Server, members: int, window: int, pace: Pace, **talk: str) -> Figures:
    return load(
        "fanout",
        port=server.port,
        pid=server.pid,
        clients=members,
        window=window,
        senders=min(window, members),
        seconds=pace.seconds,
        **talk,
    )
