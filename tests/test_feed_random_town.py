"""A busy day in the town, by a seed: people do what they like while the bus loses events.

In the end every device believes what the database says, and no frame ever lay outside the
membership of whoever heard it.
"""

import asyncio
import os
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from server.config import Settings
from server.events import Event
from server.realtime import feed, heads
from tests import nodes
from tests.eventually import becomes
from tests.people import WITHIN_S, Device, Person, Refused, Town, all_conversations

STEPS = 150
LOST, LATE = 0.08, 0.08

# Each database has days of its own; TEST_DAYS asks for more of them.
FIRST = ["sqlite", "postgres"].index(os.environ.get("TEST_DATABASE", "sqlite"))
SEEDS = range(FIRST, 2 * int(os.environ.get("TEST_DAYS", "2")), 2)

Interval = list[int | None]


class Day:
    """What happens in one day, and what is known of who was where."""

    def __init__(self, towns: list[Town], people: list[Person], seed: int) -> None:
        self.towns = towns
        self.people = people
        self.random = random.Random(seed)  # noqa: S311 (a schedule, not a secret)
        self.devices: dict[str, list[Device]] = {}
        self.conversations: list[str] = []
        self.members: dict[str, set[str]] = {}
        self.intervals: dict[tuple[str, str], list[Interval]] = {}
        self.heard: list[tuple[str, str, dict[str, Any]]] = []

    async def begin(self) -> None:
        for town in self.towns:
            self._lose(town.node.bus)
        for person in self.people:
            everywhere = [await self._in(town, person) for town in (*self.towns, *self.towns)]
            self.devices[person.id] = [await who.connects() for who in everywhere[:2]]
        await self.creates()

    async def _in(self, town: Town, person: Person) -> Person:
        """Return somebody as they are known on a node."""
        return person if person.town is town else await town.known(person.id, role=person.role)

    def _lose(self, bus: Any) -> None:
        """Lose some events, and bring some behind those that came after them."""
        publish: Callable[[Event], None] = bus.publish

        def unreliable(event: Event) -> None:
            if event.number is None or self.random.random() > LOST + LATE:
                publish(event)
            elif self.random.random() < LATE / (LOST + LATE):
                asyncio.get_running_loop().call_later(0.03, publish, event)

        bus.publish = unreliable

    async def tries(self, step: Callable[[], Awaitable[None]]) -> None:
        """Do something that the person may turn out not to be allowed to do."""
        try:
            await step()
        except Refused as refused:
            if refused.code not in ("forbidden", "not_found"):
                raise

    # One step each

    async def creates(self) -> None:
        someone, *others = self.random.sample(self.people, 3)
        talk = await someone.creates("group", *others, title="A group")
        self.conversations.append(talk["id"])
        self.members[talk["id"]] = {p["user"]["id"] for p in talk["participants"]}
        for p in talk["participants"]:
            self.intervals[talk["id"], p["user"]["id"]] = [[p["event_seq"], None]]

    async def says(self) -> None:
        device, talk = self._somebody()
        await device.says({"id": talk}, f"number {self.random.random()}")

    async def edits(self) -> None:
        person, message = await self._own_message()
        if message is not None:
            await person.patch(f"messages/{message['id']}/", {"content": "edited"})

    async def deletes(self) -> None:
        person, message = await self._own_message()
        if message is not None:
            scope = self.random.choice(["everyone", "me"])
            await person.delete(f"messages/{message['id']}/?scope={scope}")

    async def adds(self) -> None:
        device, talk = self._somebody()
        outside = [p.id for p in self.people if p.id not in self.members[talk]]
        if not outside:
            return
        reply = await device.asks(
            "participant:add", conversation_id=talk, user_ids=[self.random.choice(outside)]
        )
        for p in reply["participants"]:
            self.members[talk].add(p["user"]["id"])
            self.intervals.setdefault((talk, p["user"]["id"]), []).append([p["event_seq"], None])

    async def removes(self) -> None:
        device, talk = self._somebody()
        user_id = self.random.choice(sorted(self.members[talk]))
        if len(self.members[talk]) == 1:
            return
        reply = await device.asks("participant:remove", conversation_id=talk, user_id=user_id)
        self.members[talk].discard(user_id)
        self.intervals[talk, user_id][-1][1] = reply["participants"][0]["event_seq"]

    async def renames(self) -> None:
        device, talk = self._somebody()
        title = f"title {self.random.random()}"
        await device.asks("conversation:update", conversation_id=talk, title=title)

    async def reads(self) -> None:
        device, talk = self._somebody()
        seq = self.random.randint(0, 60)
        await device.asks("receipt:read", conversation_id=talk, up_to_seq=seq)

    async def arranges(self) -> None:
        device, talk = self._somebody()
        name = self.random.choice(["is_archived", "is_pinned", "marked_unread"])
        value = self.random.random() < 0.5
        await device.asks("conversation:update_my", conversation_id=talk, **{name: value})

    async def reconnects(self) -> None:
        person = self.random.choice(self.people)
        devices = self.devices[person.id]
        place = self.random.randrange(len(devices))
        await self._listen(devices[place])
        devices[place] = await devices[place].reconnects()

    # Helpers

    def _somebody(self) -> tuple[Device, str]:
        talk = self.random.choice([c for c in self.conversations if self.members[c]])
        user_id = self.random.choice(sorted(self.members[talk]))
        return self.random.choice(self.devices[user_id]), talk

    async def _own_message(self) -> tuple[Person, dict[str, Any] | None]:
        device, talk = self._somebody()
        page = await device.person.get(f"conversations/{talk}/messages/")
        own = [
            m
            for m in page["results"]
            if m["sender"]["id"] == device.person.id and m["type"] == "text" and not m["is_deleted"]
        ]
        return device.person, self.random.choice(own) if own else None

    async def _listen(self, device: Device) -> None:
        self.heard += [(device.person.id, name, data) for name, data in await device.heard()]

    async def end(self) -> None:
        """Let the feeds find what was lost, then look at everything."""
        for town in self.towns:
            town.node.feed.doubt()
        async with asyncio.timeout(WITHIN_S):
            for devices in self.devices.values():
                for device in devices:
                    await self._reach_heads(device)
        for devices in self.devices.values():
            for device in devices:
                await self._listen(device)

    async def _reach_heads(self, device: Device) -> None:
        reference, user_id = device.reference, device.person.id
        fresh = await all_conversations(device.person)
        own = await self._own_number(device)

        def is_there() -> bool:
            talks = reference.talks
            return {i for i, talk in talks.items() if talk.is_member} == set(fresh) and all(
                (talks[i].owed or max(talks[i].cursor, talks[i].heard) >= fresh[i]["head"])
                and talks[i].my.get("user_seq") == fresh[i]["my"]["user_seq"]
                for i in fresh
            )

        def is_themselves() -> bool:
            """Return whether what is theirs alone is here: no conversation tells of a hide."""
            known = max(reference.user_cursor or 0, reference.user_heard)
            return reference.user_owed or known >= own

        await device._until(lambda: is_there() and is_themselves())
        # Whoever began at the head is told again what was said before, by a line that began there.
        lines = device.person.town.node.feed._lines
        await becomes(
            lambda: all(
                lines.conversations[i].position >= fresh[i]["head"]
                for i in fresh
                if i in lines.conversations
            )
        )
        await becomes(lambda: lines.people[user_id].position >= own)

    async def _own_number(self, device: Device) -> int:
        """Return the number of a person's last change that is theirs alone, as stored."""
        asked: dict[str, Any] = {"cursors": {}, "user_seq": device.reference.user_cursor}
        number: int = (await device.person.post("sync/", asked))["user_seq"]
        return number


async def live(day: Day) -> None:
    """Live a day, and hold what everybody heard against who was where."""
    await day.begin()
    steps = [day.says] * 6 + [day.edits, day.deletes, day.adds, day.adds, day.removes]
    steps += [day.renames, day.reads, day.reads, day.arranges, day.reconnects, day.creates]

    for _ in range(STEPS):
        await day.tries(day.random.choice(steps))
    await day.end()

    assert len(day.heard) > STEPS
    for user_id, name, data in day.heard:
        if "prev_event_seq" in data:
            number, talk = data["event_seq"], data["conversation_id"]
            assert any(
                start <= number and (end is None or number <= end)
                for start, end in day.intervals.get((talk, user_id), [])
                if start is not None
            ), f"{user_id} heard {name} {number} outside of their membership"


@pytest.mark.parametrize("seed", SEEDS)
async def test_after_a_busy_day_everybody_believes_what_the_database_says(
    town: Town, ada: Person, bob: Person, cleo: Person, dan: Person, eve: Person, seed: int
) -> None:
    await live(Day([town], [ada, bob, cleo, dan, eve], seed))


async def test_a_day_is_not_over_while_a_hide_is_still_on_its_way(
    monkeypatch: pytest.MonkeyPatch, town: Town, ada: Person, bob: Person, cleo: Person
) -> None:
    monkeypatch.setattr(feed, "PATIENCE_S", 0.5)
    day = Day([town], [ada, bob, cleo], 0)
    await day.begin()
    (talk,) = day.conversations
    person = next(p for p in day.people if p.id in day.members[talk])
    said = await day.devices[person.id][0].says({"id": talk}, "Never mind")
    monkeypatch.setattr(f"{__name__}.LOST", 1.0)
    monkeypatch.setattr(f"{__name__}.LATE", 0.0)
    await person.delete(f"messages/{said['id']}/?scope=me")

    await day.end()

    for device in day.devices[person.id]:
        assert device.reference.hidden == {said["id"]}


@pytest.mark.many_nodes
@pytest.mark.parametrize("seed", SEEDS)
async def test_after_a_busy_day_on_two_nodes_that_hear_nothing_of_each_other(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, logged: list[Any], seed: int
) -> None:
    monkeypatch.setattr(heads, "HEADS_EVERY_S", 0.1)
    async with nodes.town(settings) as north, nodes.town(settings) as south:
        names = ("ada", "bob", "cleo", "dan", "eve")
        people = [await (north, south)[n % 2].known(name) for n, name in enumerate(names)]
        await live(Day([north, south], people, seed))
        for town in (north, south):
            await town.must_agree()
