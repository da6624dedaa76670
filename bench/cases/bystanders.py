"""What a node pays for what it has no part in: two others exchange 2,000 messages a second.

On the node that is measured there are people too, who talk about nothing in other rooms. It has the
server's core; the two that talk run wherever there is room, and as fast as they can if they cannot
exchange so many.
"""

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from bench import people, servers
from bench.cases.case import Case, Pace, in_turn
from bench.chatter import Pair, Talk, chat
from bench.databases import Databases
from bench.figures import Figures
from bench.machine import Idlers
from bench.servers import Server
from tests.services import Valkey

PER_S = 2000
BYSTANDERS = 1000

_PAIRS = 20
_ROOM = 10
_SETTLE_S = 3
_WATCHED_S = 25
"""As long as from one ping of a connection to the next, so that each has its part in the figure."""
_TEXT = "x" * 200


def cases() -> list[Case]:
    """Return the one question."""
    asks = {"palabre": _palabre, "python_socketio": _stock}
    return [in_turn("bystander", 50, **asks)]


def _palabre(databases: Databases, pace: Pace) -> Figures:
    count = max(_ROOM, int(BYSTANDERS * pace.clients))
    with (
        Valkey() as valkey,
        databases.postgres() as url,
        tempfile.TemporaryDirectory() as folder,
        servers.palabre(url, redis_url=valkey.url, core=None) as here,
        servers.palabre(url, redis_url=valkey.url, core=None) as there,
        servers.palabre(url, redis_url=valkey.url) as measured,
    ):
        bystanders = people.names(count)
        people.groups(here, [bystanders[at : at + _ROOM] for at in range(0, count, _ROOM)])
        talk = talk_at(here)
        auth = people.tokens(Path(folder), bystanders)
        with _bystanders(measured, count, auth=auth, **people.TALK) as idlers:
            rate = _chat(here, there, talk)
            return _told(idlers, count, rate)


def talk_at(server: Server) -> Talk:
    """Make people of Palabre who talk in pairs."""
    talking = [(f"speaker{number}", f"listener{number}") for number in range(_PAIRS)]
    pairs = [
        Pair(_token(speaks), _token(listens), partial(_message, talk["id"]))
        for (speaks, listens), talk in zip(talking, people.groups(server, talking), strict=True)
    ]
    return Talk(pairs, "session:ready", "message:created")


def _token(person: str) -> str:
    return json.dumps({"token": people.token(person)})


def _message(conversation_id: str, number: int) -> tuple[str, dict[str, Any]]:
    body = {"conversation_id": conversation_id, "client_msg_id": str(number), "content": _TEXT}
    return "message:send", body


def _stock(_databases: Databases, pace: Pace) -> Figures:
    count = max(_ROOM, int(BYSTANDERS * pace.clients))
    with (
        Valkey() as valkey,
        servers.python_nodes(valkey.url, core=None) as here,
        servers.python_nodes(valkey.url, core=None) as there,
        servers.python_nodes(valkey.url) as measured,
    ):
        rooms = [f"talk{number}" for number in range(_PAIRS)]
        shown = [json.dumps({"room": room}) for room in rooms]
        pairs = [
            Pair(auth, auth, partial(_text, room)) for room, auth in zip(rooms, shown, strict=True)
        ]
        with _bystanders(measured, count, auth='{"room":"idle{n}"}') as idlers:
            rate = _chat(here, there, Talk(pairs, "", "msg"))
            return _told(idlers, count, rate)


def _text(room: str, _number: int) -> tuple[str, dict[str, str]]:
    return "msg", {"room": room, "text": _TEXT}


@contextmanager
def _bystanders(server: Server, count: int, **talk: str) -> Iterator[Idlers]:
    """Let people come in and say nothing; what they cost is looked at a moment later."""
    with Idlers(
        clients=count,
        port=server.port,
        pid=server.pid,
        settle=_SETTLE_S,
        seconds=_WATCHED_S,
        **talk,
    ) as idlers:
        yield idlers


def _chat(here: Server, there: Server, talk: Talk) -> float:
    """Talk from before the look at the bystanders' node until after it."""
    return chat(here, there, talk, per_s=PER_S, seconds=_SETTLE_S + _WATCHED_S + 1)


def _told(idlers: Idlers, count: int, rate: float) -> Figures:
    cpu_us_per_s = idlers.figures()["idle_cpu_us_per_s"] * count
    return {
        "core_percent": cpu_us_per_s / 10_000,
        "messages_per_s": rate,
        "cpu_us_per_message": cpu_us_per_s / rate,
    }
