"""The people of a run and their conversations."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import aiohttp
import jwt

from checker.device import Circumstances, Device
from checker.nodes import SECRET
from checker.people import Person, Talk
from checker.rule import Rule

TALKS = 8
PEOPLE = 24
MEMBERS = 6
SCRIPTED = 4
"""So many of them are on the official client, in a program of its own."""
TWO_DEVICES = 6
"""So many people have a second device, which only listens."""

_API = "/api/messaging/conversations/create_with_participants/"


@dataclass(slots=True)
class Town:
    """Everybody, and where they talk."""

    people: Sequence[Person]
    owners: Sequence[Person]
    talks: Sequence[Talk]
    devices: Sequence[Device]
    scripted: dict[str, str]
    """The tokens of those who are on the official client."""


def token(user_id: str) -> str:
    """Return what a person shows at the door."""
    now = int(time.time())
    claims = {"sub": user_id, "name": user_id.title(), "iat": now, "exp": now + 86_400}
    return jwt.encode(claims, SECRET, algorithm="HS256")


async def peopled(around: Circumstances, url: str, rule: type[Rule]) -> Town:
    """Bring people, and let each owner begin a conversation with some of them."""
    chance = around.chance
    names = [f"person-{number}" for number in range(1, PEOPLE + 1)]
    talks = []
    for number in range(1, TALKS + 1):
        owner = f"owner-{number}"
        others = sorted(chance.sample(names, MEMBERS))
        id_ = await _created(around.http, url, owner, others)
        talks.append(Talk(id_, owner, others, is_loud=number == TALKS, present=set(others)))
    here, elsewhere = names[:-SCRIPTED], names[-SCRIPTED:]
    devices = [Device(name, name, token(name), around, rule) for name in here]
    owners = [Device(talk.owner, talk.owner, token(talk.owner), around, rule) for talk in talks]
    seconds = [
        Device(f"{name} again", name, token(name), around, rule) for name in here[:TWO_DEVICES]
    ]
    return Town(
        [_person(device, around, chance) for device in devices],
        [_person(device, around, chance) for device in owners],
        talks,
        [*devices, *owners, *seconds],
        {name: token(name) for name in elsewhere},
    )


def _person(device: Device, around: Circumstances, chance: Random) -> Person:
    return Person(device, around.history, chance)


async def _created(http: aiohttp.ClientSession, url: str, owner: str, others: Sequence[str]) -> str:
    body = {"type": "group", "title": f"Talk of {owner}", "participant_ids": list(others)}
    headers = {"Authorization": f"Bearer {token(owner)}"}
    async with http.post(url + _API, json=body, headers=headers) as answer:
        answer.raise_for_status()
        made = await answer.json()
        return str(made["id"])
