"""The database is replaced by an older copy of itself while people are connected.

Afterwards everybody believes what is stored now, whatever they heard of the time that is gone.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from server import database
from server.actions import repair, sync
from server.config import Settings
from server.ids import new_id
from server.permissions import Call
from server.realtime import epochs, feed, heads
from server.schemas.requests import Sync
from tests import copies, nodes
from tests.doors import PlainDevice, fields
from tests.eventually import becomes
from tests.people import WITHIN_S, Device, Person, Refused, Town, all_conversations
from tests.programs import last_report, program, reported
from tests.services import Valkey

NAMES = ("ada", "bob", "cleo", "dan")


class Lives:
    """One installation that was copied when little had been said, and what happened since."""

    def __init__(self, settings: Settings, copy: copies.Copy, stack: AsyncExitStack) -> None:
        self.settings = settings
        self.copy = copy
        self._stack = stack
        self.talk: dict[str, Any] = {}
        self.later: dict[str, Any] = {}

    async def before(self) -> None:
        """Let some people talk, and keep a copy of that."""
        async with nodes.town(self.settings) as town:
            ada, bob, cleo, _ = [await town.known(name) for name in NAMES]
            self.talk = await ada.creates("group", bob, cleo, title="A club")
            for number in range(3):
                await ada.says(self.talk, f"kept {number}")
            self.talk = await ada.get(f"conversations/{self.talk['id']}/")
        await self.copy.copy()

    async def starts(self) -> Town:
        """Start a node."""
        return await self._stack.enter_async_context(nodes.town(self.settings))

    async def after(self, *towns: Town) -> list[Device]:
        """Let people come, and let much happen that will never have been."""
        people = [await towns[n % len(towns)].known(name) for n, name in enumerate(NAMES)]
        ada, bob, _, dan = people
        zoe = await towns[-1].known("zoe")
        devices = [await person.connects() for person in (*people, zoe)]
        path = f"conversations/{self.talk['id']}/"
        for number in range(5):
            await ada.says(self.talk, f"lost {number}")
        await ada.delete(f"{path}participants/cleo/")
        await ada.post(f"{path}participants/", {"user_ids": ["dan"]})
        await ada.patch(path, {"title": "A lost title"})
        await bob.post(f"{path}archive/")
        page = await bob.get(f"{path}messages/")
        await bob.delete(f"messages/{page['results'][0]['id']}/?scope=me")
        await dan.post(f"{path}mark_read/")
        self.later = await ada.creates("group", bob, zoe, title="Later")
        await ada.says(self.later, "Never")
        for device in devices:
            await self._is_up_to_date(device)
        for device in devices:
            await device.heard()
        return devices

    async def _is_up_to_date(self, device: Device) -> None:
        """Wait until a device has heard everything: nodes here hear nothing of each other."""
        mine = await device.person.post("sync/", {"cursors": {}, "user_seq": 0})
        listed = await all_conversations(device.person)
        lines = device.person.town.node.feed._conversations
        await becomes(
            lambda: (
                device.reference.user_cursor == mine["user_seq"]
                and all(lines[id_].position == body["head"] for id_, body in listed.items())
            )
        )


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compare heads often."""
    monkeypatch.setattr(heads, "HEADS_EVERY_S", 0.05)


@pytest.fixture
async def lives(
    request: pytest.FixtureRequest, settings: Settings, logged: list[Any]
) -> AsyncIterator[Lives]:
    """An installation that has been copied, and runs nowhere."""
    server = None if settings.database.is_sqlite else request.getfixturevalue("postgres")
    copy = copies.of(settings, server)
    async with AsyncExitStack() as stack:
        lives = Lives(settings, copy, stack)
        await lives.before()
        yield lives
    await copy.drop()


async def hears_of_it(device: Device) -> str:
    """Wait for the order to ask again, which comes before everything else; return the epoch."""
    data = await device.hears("session:resync")
    assert "conversation_ids" not in data
    assert data["within_ms"] == epochs.RESYNC_WITHIN_MS
    epoch: str = data["epoch"]
    return epoch


async def believe_what_is_stored(devices: list[Device]) -> None:
    for device in devices:
        await device.catches_up()
    for device in devices:
        await device.must_agree()


async def talk_goes_on(lives: Lives, devices: list[Device]) -> None:
    """Let Ada speak: numbers go on from the copy, and those hear it who are in now."""
    ada, bob, cleo, dan = devices
    said = await ada.says(lives.talk, "We go on")
    assert said["seq"] == lives.talk["last_seq"] + 1
    for device in (ada, bob, cleo):
        heard = await device.hears("message:created")
        assert heard["message"]["id"] == said["id"]
        assert heard["event_seq"] == heard["prev_event_seq"] + 1 == said["event_seq"]
    await dan.hears_nothing()
    with pytest.raises(Refused):
        await dan.says(lives.talk, "I was never here")
    with pytest.raises(Refused):
        await ada.says(lives.later, "This was never here")
    await believe_what_is_stored([ada, bob, cleo, dan])


async def test_a_restored_copy_is_noticed_and_everybody_believes_it(lives: Lives) -> None:
    town = await lives.starts()
    *devices, zoes = await lives.after(town)
    before = devices[0].reference.epoch

    await lives.copy.restore()

    told = [await hears_of_it(device) for device in devices]
    assert len(set(told)) == 1
    assert before not in told
    # Nobody knows Zoe any more: she comes in again, and is known.
    await asyncio.wait_for(zoes.closed.wait(), WITHIN_S)
    back = await zoes.reconnects()
    assert back.ready["epoch"] == told[0]
    await believe_what_is_stored([*devices, back])
    await talk_goes_on(lives, devices)
    await back.hears_nothing()


async def test_a_sync_during_which_an_epoch_begins_is_to_be_asked_again(
    monkeypatch: pytest.MonkeyPatch, town: Town, ada: Person, bob: Person
) -> None:
    talk = await ada.creates("direct", bob)
    his = await bob.connects()
    original, before = sync.answer, town.node.feed.epoch

    async def meanwhile(call: Call, request: Sync) -> tuple[dict[str, Any], dict[str, int]]:
        monkeypatch.setattr(sync, "answer", original)
        await repair.begin_epoch(before)
        answer = await original(call, request)
        await becomes(lambda: town.node.feed.epoch != before)
        return answer

    monkeypatch.setattr(sync, "answer", meanwhile)
    with pytest.raises(Refused) as refused:
        await his.asks("sync", cursors=his.reference.cursors(), epoch=before)
    await hears_of_it(his)
    await his.catches_up()
    await ada.says(talk, "Are you there?")

    assert refused.value.code == "unavailable"
    assert (await his.hears("message:created"))["message"]["content"] == "Are you there?"


async def test_of_many_that_notice_at_once_one_begins_the_epoch(settings: Settings) -> None:
    async with database.opened(settings):
        before = await database.epoch()
        begun = await asyncio.gather(*(repair.begin_epoch(before) for _ in range(5)))
        assert begun == [await database.epoch()] * 5
    assert before not in begun


@pytest.mark.many_nodes
async def test_two_nodes_agree_on_one_new_epoch(lives: Lives) -> None:
    north, south = await lives.starts(), await lives.starts()
    *devices, zoes = await lives.after(north, south)

    await lives.copy.restore()

    assert len({await hears_of_it(device) for device in devices}) == 1
    await asyncio.wait_for(zoes.closed.wait(), WITHIN_S)
    await believe_what_is_stored(devices)
    await talk_goes_on(lives, devices)


@pytest.mark.many_nodes
async def test_what_could_not_be_announced_before_is_not_announced_in_another_epoch(
    monkeypatch: pytest.MonkeyPatch, lives: Lives, valkey: Valkey
) -> None:
    prefix = f"t{new_id()[-12:]}"
    lives.settings = nodes.connected(lives.settings, valkey.url, prefix=prefix)
    north, south = await lives.starts(), await lives.starts()
    valkey.kill()
    *devices, _ = await lives.after(north, south)
    await lives.copy.restore()
    epochs_told = {await hears_of_it(device) for device in devices}
    await believe_what_is_stored(devices)

    # Whoever is told of something that is missing waits for it.
    monkeypatch.setattr(feed, "PATIENCE_S", 60)
    await asyncio.to_thread(valkey.start)
    await becomes(lambda: nodes.bus(north).is_up and nodes.bus(south).is_up)
    await talk_goes_on(lives, devices)

    # What the north owed came before what Ada said, by the same connection.
    assert [line for line in south.node.feed._lines.all() if line.is_behind] == []
    assert epochs_told == {north.node.feed.epoch} == {south.node.feed.epoch}


async def test_a_copy_that_is_restored_twice_begins_a_third_epoch(lives: Lives) -> None:
    town = await lives.starts()
    *devices, _ = await lives.after(town)
    first = devices[0].reference.epoch
    await lives.copy.restore()
    second = {await hears_of_it(device) for device in devices}
    await believe_what_is_stored(devices)
    if isinstance(lives.copy, copies.Copied):
        return  # it was moved, not copied

    await lives.copy.restore()

    third = {await hears_of_it(device) for device in devices}
    assert len({first} | second | third) == 3
    await believe_what_is_stored(devices)


async def test_a_file_that_is_swapped_is_noticed_though_the_old_one_stays_open(
    lives: Lives,
) -> None:
    if not isinstance(lives.copy, copies.File):
        return  # only SQLite has a file
    town = await lives.starts()
    *devices, _ = await lives.after(town)

    await lives.copy.swap()

    assert len({await hears_of_it(device) for device in devices}) == 1
    await believe_what_is_stored(devices)
    await talk_goes_on(lives, devices)
    assert await lives.copy.is_sound()


async def test_whoever_was_away_gets_the_newest_page_and_drops_the_rest(lives: Lives) -> None:
    town = await lives.starts()
    *devices, _ = await lives.after(town)
    for device in devices:
        await device.close()
    here = await (await town.known("ada")).connects()
    await here.heard()
    await lives.copy.restore()
    epoch = await hears_of_it(here)

    # The epoch alone tells them: by numbers, they could not know.
    said = [await here.person.says(lives.talk, f"new {n}") for n in range(12)]

    for device in devices[:3]:
        back = await device.reconnects()
        assert back.ready["epoch"] == epoch
        for entry in back.ready["sync"]["conversations"]:
            assert entry["reset"]
            assert entry["messages"][-1]["id"] == said[-1]["id"]
        await believe_what_is_stored([back])
    by_rest = await devices[0].person.post(
        "sync/", {"cursors": {lives.talk["id"]: 9}, "epoch": "of another life"}
    )
    assert [entry["reset"] for entry in by_rest["conversations"]] == [True]
    above = await devices[0].person.post("sync/", {"cursors": {lives.talk["id"]: 1_000}})
    assert [entry["reset"] for entry in above["conversations"]] == [True]
    await here.heard()


async def test_who_does_not_ask_is_sent_away_and_comes_back_to_what_is_stored(
    monkeypatch: pytest.MonkeyPatch, lives: Lives
) -> None:
    monkeypatch.setattr(epochs, "ADRIFT_S", 2.0)
    town = await lives.starts()
    ada, bob = await town.known("ada"), await town.known("bob")
    hers, his = await ada.connects(), await bob.connects()
    for number in range(3):
        await ada.says(lives.talk, f"lost {number}")
    await hers.heard()
    await his.heard()

    await lives.copy.restore()

    await hears_of_it(hers)
    await hers.asks("sync", cursors={})
    await hears_of_it(his)
    await asyncio.wait_for(his.closed.wait(), WITHIN_S)
    assert not hers.closed.is_set()
    await believe_what_is_stored([await his.reconnects(), hers])


async def test_whoever_comes_before_anybody_has_looked_is_in_the_new_epoch(
    monkeypatch: pytest.MonkeyPatch, lives: Lives
) -> None:
    monkeypatch.setattr(heads, "HEADS_EVERY_S", 60)
    town = await lives.starts()
    ada, bob = await town.known("ada"), await town.known("bob")
    hers = await ada.connects()

    await lives.copy.begin_epoch("another")
    his = await bob.connects()

    assert his.ready["epoch"] == await hears_of_it(hers) == "another"
    await believe_what_is_stored([hers, his])
    said = await his.says(lives.talk, "Hello")
    for device in (hers, his):
        assert (await device.hears("message:created"))["message"]["id"] == said["id"]


async def test_who_names_what_never_was_makes_nobody_believe_in_another_database(
    monkeypatch: pytest.MonkeyPatch, lives: Lives
) -> None:
    town = await lives.starts()
    ada, eve = await town.known("ada"), await town.known("eve")
    hers, outside = await ada.connects(), await eve.connects()
    # As they stand for the moment that it takes to answer `sync`.
    town.node.feed.begin_at("no conversation", 0)

    for number in range(20):
        await outside.asks("sync", cursors={f"{number} {n}": n for n in range(100)})

    # What comes over no bus is found by the next comparison.
    monkeypatch.setattr(town.node.bus, "publish", lambda _: None)
    await ada.says(lives.talk, "Still here")
    await hers.hears("message:created")
    await outside.hears_nothing()


async def test_word_of_another_epoch_is_ignored_and_looked_into(
    monkeypatch: pytest.MonkeyPatch, lives: Lives
) -> None:
    monkeypatch.setattr(heads, "HEADS_EVERY_S", 60)
    town = await lives.starts()
    hers = await (await town.known("ada")).connects()
    await lives.copy.begin_epoch("another")

    assert not town.node.feed.knows("another")

    assert await hears_of_it(hers) == "another"
    assert town.node.feed.knows("another")
    await believe_what_is_stored([hers])


async def test_a_number_that_is_given_twice_betrays_the_copy(lives: Lives) -> None:
    town = await lives.starts()
    ada, bob = await town.known("ada"), await town.known("bob")
    his = await bob.connects()
    await ada.says(lives.talk, "This one is lost")
    await his.hears("message:created")
    # Nobody looks until somebody has taken the number again: then the heads are equal.
    comparison: Any = town.node.feed._heads
    compare, may_look = comparison._compare, asyncio.Event()

    async def late() -> None:
        await may_look.wait()
        await compare()

    comparison._compare = late
    await lives.copy.restore()
    said = await _says_until_it_works(ada, lives.talk)
    await his.hears_nothing()
    may_look.set()

    await hears_of_it(his)
    await believe_what_is_stored([his])
    assert his.reference.shown_messages(lives.talk["id"])[-1]["id"] == said["id"]


async def _says_until_it_works(person: Person, talk: dict[str, Any]) -> dict[str, Any]:
    async with asyncio.timeout(WITHIN_S):
        while True:
            try:
                said: dict[str, Any] = await person.says(
                    talk, "In its place", client_msg_id="again"
                )
            except Refused as refused:
                if refused.code != "unavailable":
                    raise
            else:
                return said


async def test_the_client_module_drops_what_never_was_and_goes_on(lives: Lives) -> None:
    town = await lives.starts()
    ada, bob = await town.known("ada"), await town.known("bob")

    async with program(
        "client_epoch.mjs", town.url, lives.talk["id"], ada.token, bob.token
    ) as process:
        assert (await reported(process))["kept"] == [f"kept {number}" for number in range(3)]
        await lives.copy.restore()
        report = await last_report(process)

    assert report["epoch"] == (await ada.post("sync/", {"cursors": {}}))["epoch"]


async def plain(person: Person, talk: dict[str, Any]) -> PlainDevice:
    device = PlainDevice(person, talk["id"])
    await device.open(fields(person))
    return device


async def test_a_plain_connection_is_told_and_comes_in_again(lives: Lives) -> None:
    town = await lives.starts()
    ada, bob = await town.known("ada"), await town.known("bob")
    his = await plain(bob, lives.talk)
    await ada.says(lives.talk, "lost")
    later = await ada.creates("direct", bob)
    never = await plain(bob, later)
    await his.heard()

    await lives.copy.restore()

    epoch = await hears_of_it(his)
    assert await hears_of_it(never) == epoch
    for device in (his, never):
        await asyncio.wait_for(device.closed.wait(), WITHIN_S)
        assert device.code == 1001
    back = await his.reconnects()
    assert back.ready["epoch"] == epoch
    said = await ada.says(lives.talk, "on")
    assert (await back.hears("message:created"))["message"]["id"] == said["id"]
    with pytest.raises(Refused) as refused:
        await never.reconnects()
    assert refused.value.code == "not_found"
