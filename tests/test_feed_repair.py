"""Order without holes: whatever the bus loses, repeats or turns round, people hear it right."""

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from server.actions import repair, sync
from server.errors import UnavailableError
from server.events import Event
from server.realtime import feed, heads, mender
from tests.eventually import becomes
from tests.people import WITHIN_S, Device, Person, Refused, Town

if TYPE_CHECKING:
    from collections.abc import Callable


class Bus:
    """The bus of the town, with somebody at the switch; what it loses can be brought later."""

    def __init__(self, town: Town, patch: pytest.MonkeyPatch) -> None:
        self.bring = town.node.bus.publish
        self.lost = list[Event]()
        self._loses: Callable[[Event], bool] = lambda _: False
        patch.setattr(town.node.bus, "publish", self._publish)

    def _publish(self, event: Event) -> None:
        if self._loses(event):
            self.lost.append(event)
        else:
            self.bring(event)

    def loses(self, *names: str) -> None:
        """Lose all events of these names, or all events when none is named."""
        self._loses = lambda event: not names or event.name in names

    def works(self) -> None:
        self._loses = lambda _: False


@pytest.fixture
def bus(town: Town, monkeypatch: pytest.MonkeyPatch) -> Bus:
    return Bus(town, monkeypatch)


@pytest.fixture
def quick_heads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compare heads often, for tests in which nothing else would find a loss."""
    monkeypatch.setattr(heads, "HEADS_EVERY_S", 0.05)


def numbers(data: dict[str, Any]) -> tuple[int, int]:
    return data["prev_event_seq"], data["event_seq"]


@pytest.mark.usefixtures("no_heads")
async def test_a_lost_message_is_heard_when_the_next_one_comes(
    bus: Bus, ada: Person, bob: Person
) -> None:
    talk = await ada.creates("direct", bob)
    his, head = await bob.connects(), talk["head"]
    bus.loses("message:created")
    await ada.says(talk, "Lost")
    await his.hears_nothing()
    bus.works()
    await ada.says(talk, "Heard")

    first, second = await his.hears("message:created"), await his.hears("message:created")

    assert (first["message"]["content"], numbers(first)) == ("Lost", (head, head + 1))
    assert (second["message"]["content"], numbers(second)) == ("Heard", (head + 1, head + 2))


@pytest.mark.usefixtures("quick_heads")
async def test_a_lost_message_is_heard_though_nothing_follows(
    bus: Bus, ada: Person, bob: Person, eve: Person
) -> None:
    talk = await ada.creates("direct", bob)
    his, outside = await bob.connects(), await eve.connects()
    bus.loses()

    said = await ada.says(talk, "Lost")

    assert (await his.hears("message:created"))["message"]["id"] == said["id"]
    await outside.hears_nothing()


async def test_a_lost_message_is_found_within_two_seconds(
    bus: Bus, comparisons: Counter[heads.Heads], ada: Person, bob: Person
) -> None:
    assert heads.HEADS_EVERY_S + heads._DOUBTED_AGAIN_S + feed.PATIENCE_S < 2
    talk = await ada.creates("direct", bob)
    his = await bob.connects()
    bus.loses()

    comparisons.clear()
    await ada.says(talk, "Lost")

    await his.hears("message:created")
    # By the next of them; one may have been under way.
    assert comparisons.total() <= 2


@pytest.mark.usefixtures("no_heads")
async def test_what_overwrote_itself_is_chained_over(bus: Bus, ada: Person, bob: Person) -> None:
    talk = await ada.creates("direct", bob)
    his, head = await bob.connects(), talk["head"]
    bus.loses()
    said = await ada.says(talk, "Frist")
    for text in ("Firts", "First"):
        await ada.patch(f"messages/{said['id']}/", {"content": text})
    gone = await ada.says(talk, "Oops")
    await ada.delete(f"messages/{gone['id']}/")
    bus.works()
    await ada.says(talk, "Heard")

    edited = await his.hears("message:updated")
    deleted = await his.hears("message:deleted")
    last = await his.hears("message:created")

    assert [numbers(data) for data in (edited, deleted, last)] == [
        (head, head + 3),
        (head + 3, head + 5),
        (head + 5, head + 6),
    ]
    assert edited["message"]["content"] == "First"
    assert deleted["message"]["content"] == ""


@pytest.mark.usefixtures("no_heads")
async def test_events_that_come_the_other_way_round_are_heard_in_order(
    bus: Bus, ada: Person, bob: Person
) -> None:
    talk = await ada.creates("direct", bob)
    his = await bob.connects()
    bus.loses()
    for number in range(5):
        await ada.says(talk, str(number))
    for event in reversed(bus.lost):
        bus.bring(event)

    heard = await his.heard()

    assert [data["message"]["content"] for _, data in heard] == ["0", "1", "2", "3", "4"]
    assert [numbers(data) for _, data in heard] == [
        (talk["head"] + n, talk["head"] + n + 1) for n in range(5)
    ]


@pytest.mark.usefixtures("no_heads")
async def test_events_that_come_twice_are_heard_once(bus: Bus, ada: Person, bob: Person) -> None:
    talk = await ada.creates("group", bob)
    his = await bob.connects()
    bus.loses()
    await ada.says(talk, "Once")
    await ada.patch(f"conversations/{talk['id']}/", {"title": "New"})
    for event in (*bus.lost, *bus.lost):
        bus.bring(event)
    bus.works()
    await ada.says(talk, "Twice")
    for event in bus.lost:
        bus.bring(event)

    assert await his.heard_names() == [
        "message:created",
        "conversation:updated",
        "message:created",
        "message:created",
    ]


@pytest.mark.usefixtures("no_heads")
async def test_an_event_that_comes_after_its_repair_is_not_heard_again(
    bus: Bus, ada: Person, bob: Person
) -> None:
    talk = await ada.creates("direct", bob)
    his = await bob.connects()
    bus.loses()
    await ada.says(talk, "Late")
    bus.works()
    await ada.says(talk, "In time")
    await his.hears("message:created")
    await his.hears("message:created")

    bus.bring(bus.lost[0])

    await his.hears_nothing()


# Losing membership


REMOVAL = ("participant:removed", "conversation:removed")


@pytest.mark.usefixtures("no_heads")
@pytest.mark.parametrize("lost", [REMOVAL, REMOVAL[:1]])
async def test_a_removed_person_hears_nothing_after_a_lost_removal(
    bus: Bus, ada: Person, bob: Person, cleo: Person, lost: tuple[str, ...]
) -> None:
    talk = await ada.creates("group", bob, cleo)
    his, hers = await bob.connects(), await cleo.connects()
    bus.loses(*lost)
    await ada.delete(f"conversations/{talk['id']}/participants/bob/")
    await ada.says(talk, "Without him")

    assert (await hers.hears("participant:removed"))["participant"]["user"]["id"] == "bob"
    await hers.hears("message:created")
    await hers.hears("message:created")
    heard = await his.heard_names()

    assert sorted(heard) == sorted(
        ["participant:removed", *(REMOVAL[1:] if lost[1:] == () else ())]
    )
    await ada.says(talk, "Still without him")
    assert await hers.heard_names() == ["message:created"]
    await his.hears_nothing()
    his.is_checked = len(lost) == 1  # else nothing has told it, until heads are compared


@pytest.mark.usefixtures("quick_heads")
async def test_a_lost_removal_is_found_though_nothing_follows(
    bus: Bus, ada: Person, bob: Person
) -> None:
    talk = await ada.creates("group", bob)
    his = await bob.connects()
    bus.loses()

    await ada.delete(f"conversations/{talk['id']}/participants/bob/")

    async with asyncio.timeout(WITHIN_S):
        while len(his.frames) < 2:
            await his.settles()
    assert sorted(await his.heard_names()) == ["conversation:removed", "participant:removed"]


@pytest.mark.usefixtures("quick_heads")
async def test_a_lost_addition_is_found(bus: Bus, ada: Person, bob: Person, cleo: Person) -> None:
    talk = await ada.creates("group", cleo)
    his = await bob.connects()
    bus.loses()

    await ada.post(f"conversations/{talk['id']}/participants/", {"user_ids": ["bob"]})
    added = await his.hears("conversation:added")

    assert added["conversation"]["id"] == talk["id"]
    await his.hears("participant:added")
    await his.hears("message:created")
    bus.works()
    await ada.says(talk, "Welcome")
    assert await his.heard_names() == ["message:created"]


@pytest.mark.usefixtures("no_heads")
async def test_removed_and_back_while_the_bus_was_down(
    bus: Bus, town: Town, ada: Person, bob: Person, cleo: Person
) -> None:
    talk = await ada.creates("group", bob, cleo)
    his, hers = await bob.connects(), await cleo.connects()
    bus.loses()
    path = f"conversations/{talk['id']}/participants/"
    await ada.delete(f"{path}bob/")
    await ada.says(talk, "Without him")
    await ada.post(path, {"user_ids": ["bob"]})
    bus.works()
    await ada.says(talk, "With him")
    await bob.post(f"conversations/{talk['id']}/archive/")

    # She hears it all, he only what is for him: when he hears that he is in, he asks for the rest.
    for device, before in ((hers, ["message:created"] * 2), (his, [])):
        wanted = [*before, "participant:added", *["message:created"] * 2]
        await hears_room(device, len(wanted))
        assert _room(device) == wanted
    await becomes(lambda: "conversation:added" in [name for name, _ in his.frames])
    await town.quiet()


async def hears_room(device: Device, number: int) -> None:
    await becomes(lambda: len(_room(device)) == number)


def _room(device: Device) -> list[str]:
    return [name for name, data in device.frames if "prev_event_seq" in data]


@pytest.mark.usefixtures("no_heads")
async def test_a_role_that_was_changed_unheard_costs_nobody_a_word(
    bus: Bus, town: Town, ada: Person, bob: Person
) -> None:
    talk = await ada.creates("group", bob)
    his = await bob.connects()
    bus.loses()
    await ada.says(talk, "For him")
    await ada.patch(f"conversations/{talk['id']}/participants/bob/", {"role": "admin"})
    await ada.says(talk, "And on")
    await town.node.feed.compare()

    await becomes(lambda: len(_room(his)) == 2)
    await his.heard()
    await his.catches_up()
    shown = his.reference.shown_messages(talk["id"])
    assert [message["content"] for message in shown][-2:] == ["For him", "And on"]
    bus.works()
    await ada.says(talk, "Still there?")
    assert await his.heard_names() == ["message:created"]


async def test_a_late_removal_does_not_end_a_newer_membership(
    bus: Bus, ada: Person, bob: Person
) -> None:
    talk = await ada.creates("group", bob)
    his = await bob.connects()
    path = f"conversations/{talk['id']}/participants/"
    bus.loses(*REMOVAL)
    await ada.delete(f"{path}bob/")
    bus.works()
    await ada.post(path, {"user_ids": ["bob"]})
    for event in bus.lost:
        bus.bring(event)
    await ada.says(talk, "Are you there?")

    heard = list[Any]()
    async with asyncio.timeout(WITHIN_S):
        while not (heard and heard[-1][1].get("message", {}).get("content") == "Are you there?"):
            heard += await his.heard()
    assert [name for name, _ in heard] == [
        "participant:removed",
        "conversation:removed",
        "conversation:added",
        "participant:added",
        "message:created",
        "message:created",
    ]


# Personal events


@pytest.mark.usefixtures("quick_heads")
async def test_lost_personal_events_are_found(bus: Bus, ada: Person, bob: Person) -> None:
    talk = await ada.creates("direct", bob)
    said = await ada.says(talk, "Hide me")
    await bob.post(f"conversations/{talk['id']}/mark_read/")
    his = await bob.connects()
    bus.loses()
    await bob.post(f"conversations/{talk['id']}/archive/")
    await bob.delete(f"messages/{said['id']}/?scope=me")

    async with asyncio.timeout(WITHIN_S):
        while his.reference.user_cursor != 3:
            await his.settles()

    assert his.reference.hidden == {said["id"]}
    assert his.reference.talks[talk["id"]].my["is_archived"] is True
    prevs = [data["prev_user_seq"] for _, data in await his.heard() if "prev_user_seq" in data]
    assert prevs == [1, 2]


@pytest.mark.usefixtures("no_heads")
async def test_a_lost_personal_event_is_heard_when_the_next_one_comes(
    bus: Bus, ada: Person, bob: Person
) -> None:
    talk = await ada.creates("direct", bob)
    said = [await ada.says(talk, str(number)) for number in range(2)]
    await bob.post(f"conversations/{talk['id']}/mark_read/")
    his = await bob.connects()
    bus.loses("my:message_hidden")
    await bob.delete(f"messages/{said[0]['id']}/?scope=me")
    bus.works()
    await bob.delete(f"messages/{said[1]['id']}/?scope=me")

    first, second = await his.hears("my:message_hidden"), await his.hears("my:message_hidden")

    assert [first["message_ids"], second["message_ids"]] == [[one["id"]] for one in said]
    assert [first["prev_user_seq"], second["prev_user_seq"]] == [1, 2]


# More than can be repaired


@pytest.mark.usefixtures("no_heads")
async def test_a_large_gap_is_not_replayed_but_synced(
    monkeypatch: pytest.MonkeyPatch, bus: Bus, ada: Person, bob: Person, eve: Person
) -> None:
    monkeypatch.setattr(mender, "MOST_REPAIRED", 3)
    talk = await ada.creates("direct", bob)
    his, outside = await bob.connects(), await eve.connects()
    bus.loses()
    for number in range(4):
        await ada.says(talk, str(number))
    bus.works()
    await ada.says(talk, "Heard")

    resync = await his.hears("session:resync")

    assert resync == {"conversation_ids": [talk["id"]], "within_ms": 2_000}
    await his.hears_nothing()
    await ada.says(talk, "And on")
    assert (await his.hears("message:created"))["prev_event_seq"] == talk["head"] + 5
    await outside.hears_nothing()


@pytest.mark.usefixtures("no_heads")
async def test_a_large_gap_with_a_removal_in_it_lets_nothing_through(
    monkeypatch: pytest.MonkeyPatch, bus: Bus, ada: Person, bob: Person, cleo: Person
) -> None:
    monkeypatch.setattr(mender, "MOST_REPAIRED", 3)
    talk = await ada.creates("group", bob, cleo)
    his, hers = await bob.connects(), await cleo.connects()
    bus.loses()
    await ada.delete(f"conversations/{talk['id']}/participants/bob/")
    for number in range(4):
        await ada.says(talk, str(number))
    bus.works()
    await ada.says(talk, "Heard")

    await hers.hears("session:resync")
    await ada.says(talk, "And on")

    assert await hers.heard_names() == ["message:created"]
    await his.hears_nothing()
    his.is_checked = False  # nothing has told it, until heads are compared


@pytest.mark.usefixtures("no_heads")
async def test_a_large_personal_gap_asks_for_a_sync(
    monkeypatch: pytest.MonkeyPatch, bus: Bus, town: Town, ada: Person, bob: Person
) -> None:
    monkeypatch.setattr(mender, "MOST_REPAIRED", 3)
    his = await bob.connects()
    bus.loses()
    for _ in range(5):
        await ada.creates("group", bob)

    await town.node.feed.compare()

    resync = await his.hears("session:resync")

    assert resync == {"within_ms": 2_000}
    await his.reference.catch_up(lambda name, data: his.asks(name, **data))
    assert len(his.reference.talks) == 5


# Many at once


@pytest.mark.usefixtures("no_heads")
async def test_many_conversations_are_mended_by_few_queries(
    bus: Bus, town: Town, logged: list[dict[str, Any]], ada: Person, bob: Person, eve: Person
) -> None:
    talks = [await ada.creates("group", bob) for _ in range(30)]
    his, outside = await bob.connects(), await eve.connects()
    bus.loses()
    said = {(await ada.says(talk, "Lost"))["id"] for talk in talks for _ in range(2)}

    await town.node.feed.compare()

    await becomes(lambda: len(his.frames) == len(said))
    heard = await his.heard()
    assert {data["message"]["id"] for _, data in heard} == said
    assert all(data["prev_event_seq"] == data["event_seq"] - 1 for _, data in heard)
    repairs = [line for line in logged if line["event"] == "repaired"]
    # One for those whose patience ended first, one for all others.
    assert len(repairs) <= 2
    assert sum(line["lines"] for line in repairs) == len(talks)
    assert sum(line["events"] for line in repairs) == len(said)
    await outside.hears_nothing()


@pytest.mark.usefixtures("no_heads")
async def test_more_than_one_query_may_bring_is_brought_by_several(
    monkeypatch: pytest.MonkeyPatch,
    bus: Bus,
    town: Town,
    logged: list[dict[str, Any]],
    ada: Person,
    bob: Person,
) -> None:
    monkeypatch.setattr(mender, "MOST_REPAIRED", 5)
    monkeypatch.setattr(mender, "AT_ONCE", 3)
    talks = [await ada.creates("group", bob) for _ in range(8)]
    his = await bob.connects()
    bus.loses()
    for number, talk in enumerate(talks):
        for _ in range(1 + 3 * (number in (0, 1))):
            await ada.says(talk, "Lost")

    await town.node.feed.compare()

    await becomes(lambda: len(his.frames) == 14)
    await his.heard()
    repairs = [line for line in logged if line["event"] == "repaired"]
    assert [sum(line[what] for line in repairs) for what in ("lines", "events")] == [8, 14]
    assert all(line["lines"] <= 3 and line["events"] <= 5 for line in repairs)
    assert len(repairs) <= 5


@pytest.mark.usefixtures("no_heads")
async def test_what_cannot_be_read_keeps_nothing_else_from_being_heard(
    monkeypatch: pytest.MonkeyPatch, bus: Bus, town: Town, ada: Person, bob: Person
) -> None:
    talks = [await ada.creates("group", bob) for _ in range(4)]
    his = await bob.connects()
    read = repair.conversations

    async def broken(after: dict[str, int], most: int) -> Any:
        if talks[1]["id"] in after:
            raise ValueError("a row of it is broken")
        return await read(after, most)

    monkeypatch.setattr(repair, "conversations", broken)
    bus.loses()
    for talk in talks:
        await ada.says(talk, "Lost")

    await town.node.feed.compare()

    await becomes(lambda: len(his.frames) == 3)
    monkeypatch.setattr(repair, "conversations", read)
    await town.node.feed.compare()
    await becomes(lambda: len(his.frames) == 4)
    await his.heard()


# Order


async def test_all_devices_hear_concurrent_sends_in_one_order(
    ada: Person, bob: Person, cleo: Person
) -> None:
    talk = await ada.creates("group", bob, cleo)
    devices = [await person.connects() for person in (ada, bob, cleo) for _ in range(2)]

    await asyncio.gather(
        *(device.says(talk, f"{n} {i}") for i, device in enumerate(devices) for n in range(10))
    )

    first, *others = [await device.heard() for device in devices]
    assert all(other == first for other in others)
    chain = [numbers(data) for _, data in first]
    assert chain == [(talk["head"] + n, talk["head"] + n + 1) for n in range(60)]
    for index in range(len(devices)):
        own = [data["message"]["content"] for _, data in first]
        mine = [content for content in own if content.endswith(f" {index}")]
        assert mine == [f"{n} {index}" for n in range(10)]


@pytest.mark.usefixtures("no_heads")
async def test_a_repair_waits_while_the_database_is_away(
    monkeypatch: pytest.MonkeyPatch, town: Town, bus: Bus, ada: Person, bob: Person
) -> None:
    talk = await ada.creates("direct", bob)
    his = await bob.connects()
    original, asked = repair.conversations, asyncio.Event()

    async def gone(*args: Any) -> Any:
        asked.set()
        raise UnavailableError

    monkeypatch.setattr(repair, "conversations", gone)
    bus.loses("message:created")
    await ada.says(talk, "Lost")
    bus.works()
    await ada.says(talk, "Early")
    await asyncio.wait_for(asked.wait(), WITHIN_S)
    await his.hears_nothing()
    monkeypatch.setattr(repair, "conversations", original)
    await town.node.feed.compare()

    await his.hears("message:created")
    assert (await his.hears("message:created"))["message"]["content"] == "Early"


@pytest.mark.usefixtures("no_heads")
async def test_who_fails_to_come_in_takes_the_line_of_nobody_who_comes_at_the_same_time(
    monkeypatch: pytest.MonkeyPatch, ada: Person, bob: Person
) -> None:
    talk = await ada.creates("direct", bob)
    original = sync.opening
    she_asks, he_asks, she_fails = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def opening(*args: Any, **more: Any) -> Any:
        if not she_asks.is_set():
            she_asks.set()
            await he_asks.wait()
            raise UnavailableError
        he_asks.set()
        await she_fails.wait()
        return await original(*args, **more)

    monkeypatch.setattr(sync, "opening", opening)
    hers = asyncio.create_task(ada.connects())
    await asyncio.wait_for(she_asks.wait(), WITHIN_S)
    coming = asyncio.create_task(bob.connects())
    with pytest.raises(Refused):
        await hers
    she_fails.set()
    his = await coming

    await ada.says(talk, "Do you hear me?")

    assert (await his.hears("message:created"))["message"]["content"] == "Do you hear me?"
