"""What reading costs over HTTP: pages of history drawn at random, and the list of conversations.

The reader's token and membership are checked for each page. The peers believe a number. What a list
costs, and coming in, must not depend on how long it is.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial

from bench import people, servers, tables
from bench.cases.case import AskForRows, Case, Pace, rows_in_turn
from bench.databases import Databases
from bench.figures import Figures, Row
from bench.machine import load
from bench.servers import Server

HISTORIES = {"1k": 1_000, "100k": 100_000, "2M": 2_000_000}
LISTS = {"10": 10, "10000": 10_000}

_PAGE = 50
_READERS = 8
_VISITS_A_S = 40


def cases() -> list[Case]:
    """Return pages of histories and lists, long and short, and visits of those who have them."""
    histories: dict[str, AskForRows] = {
        "palabre": _palabre_history,
        "node-pg": partial(_peer_history, "node-pg"),
        "django": partial(_peer_history, "django"),
    }
    return [
        rows_in_turn("history", 16, histories),
        rows_in_turn("list", 10, {"palabre": _lists}),
        rows_in_turn("visit", 10, {"palabre": _visits}),
    ]


def _palabre_history(databases: Databases, pace: Pace) -> Iterator[Row]:
    talks: dict[str, str] = databases.notes.setdefault("palabre", {})

    def fill(url: str) -> None:
        with servers.palabre(url) as server:
            made = people.groups(server, [["p1", "p2"]] * len(HISTORIES))
            said = people.say_one(server, [(talk["id"], "p1") for talk in made])
        for (name, size), talk, message in zip(HISTORIES.items(), made, said, strict=True):
            tables.lengthen(url, message["id"], size)
            talks[name] = talk["id"]
        tables.name_everybody(url)

    with servers.palabre(databases.kept("palabre", fill)) as server:
        for name, size in HISTORIES.items():
            path = f"{people.API}conversations/{talks[name]}/messages/?limit=50&before_seq={{any}}"
            figures = _read(server, pace, path, people.token("p1"), least=_PAGE + 1, most=size)
            yield Row(f"history-{name}", "palabre", figures)


_PEERS: dict[str, Callable[[str], AbstractContextManager[Server]]] = {
    "node-pg": servers.node_store,
    "django": servers.django,
}


def _peer_history(contender: str, databases: Databases, pace: Pace) -> Iterator[Row]:
    numbers = dict(enumerate(HISTORIES.values(), 1))
    first: dict[int, int] = databases.notes.setdefault(contender, {})
    start = _PEERS[contender]

    def fill(url: str) -> None:
        with start(url):
            first.update(tables.lengthen_peer(url, numbers))

    with start(databases.kept(contender, fill)) as server:
        for number, (name, size) in enumerate(HISTORIES.items(), 1):
            figures = _read(
                server,
                pace,
                f"/conversations/{number}/messages?before={{any}}",
                str(2 * number),
                least=first[number] + _PAGE,
                most=first[number] + size - 1,
            )
            yield Row(f"history-{name}", contender, figures)


def _lists(databases: Databases, pace: Pace) -> Iterator[Row]:
    with servers.palabre(databases.kept("lists", _fill_lists)) as server:
        for name, size in LISTS.items():
            path = f"{people.API}conversations/?limit=10"
            figures = _read(server, pace, path, people.token(f"p{size}"))
            yield Row(f"list-{name}", "palabre", figures)


def _fill_lists(url: str) -> None:
    with servers.palabre(url) as server:
        made = people.groups(server, [[f"p{size}", "p2"] for size in LISTS.values()])
        talks = [(talk["id"], "p2") for talk in made]
        said = people.say_one(server, talks)
    for size, message in zip(LISTS.values(), said, strict=True):
        tables.multiply(url, message["id"], size)
    tables.name_everybody(url)


def _visits(databases: Databases, pace: Pace) -> Iterator[Row]:
    with servers.palabre(databases.kept("lists", _fill_lists)) as server:
        for name, size in LISTS.items():
            figures = load(
                "visits",
                port=server.port,
                pid=server.pid,
                clients=int(_VISITS_A_S * pace.seconds),
                auth=json.dumps({"token": people.token(f"p{size}")}),
                **people.TALK,
            )
            yield Row(f"visit-{name}", "palabre", figures)


def _read(server: Server, pace: Pace, path: str, token: str, **draw: int) -> Figures:
    return load(
        "http",
        port=server.port,
        pid=server.pid,
        clients=_READERS,
        seconds=pace.seconds,
        path=path,
        header=f"Authorization: Bearer {token}",
        **draw,
    )
