"""People with tokens, conversations and histories, put into a Palabre before it is measured."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from bench.machine import CannotMeasureError
from bench.servers import SECRET, Server
from server import auth
from server.config import AuthSettings
from server.schemas.values import UserRole

API = "/api/messaging/"

# How a client of Palabre talks, in the words of the load generator.
TALK = {"emit": "message:send", "hears": "message:created", "ready": "session:ready"}
_AT_ONCE = 20
_PART = 250
_GROUP = {"type": "group", "title": "Talk"}
_AUTH = AuthSettings(secret=SECRET)


def token(user_id: str, role: UserRole | None = None) -> str:
    """Return a token that a Palabre of the benchmark believes for a day."""
    return auth.issue(_AUTH, user_id, name=f"Person {user_id}", role=role, ttl_s=86_400)


def names(count: int) -> list[str]:
    """Return the ids of so many people."""
    return [f"p{number}" for number in range(1, count + 1)]


def lines(path: Path, values: Sequence[Any]) -> str:
    """Write one JSON value a line and return how the load generator is told of the file."""
    path.write_text("".join(json.dumps(value, separators=(",", ":")) + "\n" for value in values))
    return f"@{path}"


def tokens(folder: Path, people: Sequence[str], **more: Any) -> str:
    """Write what each person shows at the door."""
    return lines(folder / "tokens", [{"token": token(person), **more} for person in people])


def sends(folder: Path, conversations: Sequence[str]) -> str:
    """Write what the n-th client sends: a text of 200 characters into the n-th conversation."""
    bodies = [
        {"conversation_id": id_, "client_msg_id": "{n}-{seq}", "content": "{text}"}
        for id_ in conversations
    ]
    return lines(folder / "sends", bodies)


def groups(server: Server, members: Sequence[Sequence[str]]) -> list[dict[str, Any]]:
    """Make a conversation for each list of people and return the conversations."""
    asked = [
        _Asked("conversations/create_with_participants/", {**_GROUP, "participant_ids": [*people]})
        for people in members
    ]
    return asyncio.run(_answers(server, asked))


def room(server: Server, people: Sequence[str]) -> str:
    """Make a conversation of so many people, who come in parts, and return its id."""
    (talk,) = groups(server, [people[:_PART]])
    path = f"conversations/{talk['id']}/participants/"
    for at in range(_PART, len(people), _PART):
        asyncio.run(_answers(server, [_Asked(path, {"user_ids": [*people[at : at + _PART]]})]))
    return str(talk["id"])


def say_one(server: Server, talks: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
    """Let a person of each conversation say something and return the messages."""
    said = {"content": "x" * 200, "client_msg_id": "first"}
    asked = [
        _Asked(f"conversations/{talk_id}/send/", said, token(person)) for talk_id, person in talks
    ]
    return asyncio.run(_answers(server, asked))


def epoch(server: Server) -> str:
    """Return the name of the database's life, which cursors belong to."""
    (answer,) = asyncio.run(_answers(server, [_Asked("sync/", {}, token("p1"))]))
    return str(answer["epoch"])


@dataclass(frozen=True, slots=True)
class _Asked:
    path: str
    body: dict[str, Any]
    token: str = field(default_factory=lambda: token("backend", UserRole.SERVICE))


async def _answers(server: Server, asked: Sequence[_Asked]) -> list[dict[str, Any]]:
    turns = asyncio.Semaphore(_AT_ONCE)

    async def post(one: _Asked) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {one.token}"}
        async with (
            turns,
            http.post(server.url + API + one.path, json=one.body, headers=headers) as answer,
        ):
            found: dict[str, Any] = await answer.json()
            if answer.status >= 400:
                raise CannotMeasureError(f"{one.path} was answered {found}")
            return found

    async with aiohttp.ClientSession() as http:
        return await asyncio.gather(*map(post, asked))
