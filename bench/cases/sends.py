"""What a durable send costs: pairs talk, each sender waits for the acknowledgement and sends again.

The message is stored with fsync on before it is acknowledged, and the other of the pair hears it.
"""

import tempfile
from functools import partial
from pathlib import Path

from bench import people, servers
from bench.cases.case import Case, Pace, in_turn
from bench.databases import Databases
from bench.figures import Figures
from bench.machine import load_and_flushes
from bench.servers import Server

SENDERS = (1, 10, 100, 400)


def cases() -> list[Case]:
    """Return the same talk among few and many pairs."""
    return [
        in_turn(
            f"pairs-{senders}",
            8,
            palabre=partial(_palabre, senders),
            palabre_sqlite=partial(_palabre_sqlite, senders),
            node_pg=partial(_node, senders),
            django=partial(_django, senders),
        )
        for senders in SENDERS
    ]


def _palabre(senders: int, databases: Databases, pace: Pace) -> Figures:
    with databases.postgres() as url, servers.palabre(url) as server:
        return _palabre_at(server, senders, pace)


def _palabre_sqlite(senders: int, databases: Databases, pace: Pace) -> Figures:
    with databases.sqlite() as url, servers.palabre(url) as server:
        return _palabre_at(server, senders, pace)


def _palabre_at(server: Server, senders: int, pace: Pace) -> Figures:
    here = people.names(2 * senders)
    talks = people.groups(server, [here[at : at + 2] for at in range(0, len(here), 2)])
    with tempfile.TemporaryDirectory() as folder:
        return _load(
            server,
            senders,
            pace,
            auth=people.tokens(Path(folder), here),
            body=people.sends(Path(folder), [talks[at // 2]["id"] for at in range(len(here))]),
            **people.TALK,
        )


def _node(senders: int, databases: Databases, pace: Pace) -> Figures:
    with databases.postgres() as url, servers.node_store(url) as server:
        body = '{"conversation":{pair},"type":"text","content":"{text}"}'
        return _load(server, senders, pace, auth='{"user":{n}}', body=body)


def _django(senders: int, databases: Databases, pace: Pace) -> Figures:
    with databases.postgres() as url, servers.django(url) as server:
        path = "/ws/chat/{pair}/?user={n}"
        return _load(server, senders, pace, raw="1", path=path, body='{"content":"{text}"}')


def _load(server: Server, senders: int, pace: Pace, **talk: str) -> Figures:
    return load_and_flushes(
        "pairs",
        port=server.port,
        pid=server.pid,
        clients=2 * senders,
        seconds=pace.seconds,
        **talk,
    )
