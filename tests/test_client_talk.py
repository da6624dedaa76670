"""The module clients/js does what people do; its programs are tests/js/client_*.mjs."""

from typing import Any

import pytest

from server.realtime import mender
from tests.people import Person, Town, all_messages
from tests.programs import last_report, program, ran, reported

SEED = "0"
"""Any other number makes another day."""


@pytest.mark.settings(limits={"page": 20, "page_max": 100})
async def test_people_talk_through_the_module_and_an_outsider_sees_nothing(
    town: Town, ada: Person, bob: Person, cleo: Person, eve: Person
) -> None:
    tokens = [person.token for person in (ada, bob, cleo, eve)]

    report = await ran("client_talk.mjs", town.url, *tokens)

    stored = await all_messages(ada, report["direct"])
    assert [m["content"] for m in stored if m["type"] != "system"] == report["said"]


@pytest.mark.one_database
@pytest.mark.settings(limits={"presence_ids": 2, "presence_subscriptions": 4})
async def test_the_module_knows_who_is_there_and_lets_go_whom_nobody_looks_at(
    town: Town, ada: Person, bob: Person
) -> None:
    report = await ran("client_presence.mjs", town.url, ada.token, bob.token)

    assert report["last"] is not None
    assert report == {
        "followed": ["before", "nobody", "bob", "ada"],
        "shown": ["invisible", "active"],
        "last": report["last"],
        "nobody": {"user_id": "nobody", "status": "offline", "last_active_at": None},
    }


@pytest.mark.one_database
async def test_after_a_busy_day_on_bad_wires_every_device_believes_what_a_fresh_fetch_says(
    town: Town, ada: Person, bob: Person, cleo: Person, dan: Person
) -> None:
    tokens = [person.token for person in (ada, bob, cleo, dan)]

    await ran("client_day.mjs", town.url, SEED, *tokens)


@pytest.mark.one_database
@pytest.mark.usefixtures("no_heads")
async def test_only_what_follows_on_moves_the_cursor_and_a_hole_is_closed_by_one_sync(
    monkeypatch: pytest.MonkeyPatch, town: Town, ada: Person, bob: Person, cleo: Person
) -> None:
    monkeypatch.setattr(mender, "MOST_REPAIRED", 3)
    monkeypatch.setattr(mender, "RESYNC_WITHIN_MS", 50)
    bus: Any = town.node.bus

    async with program("client_rule.mjs", town.url, ada.token, bob.token) as process:
        talk = await reported(process)
        publish, bus.publish = bus.publish, lambda _: None
        for number in range(6):
            await ada.says(talk, str(number))
        bus.publish = publish
        await ada.says(talk, "And on")
        report = await last_report(process)

    shown = [message["content"] for message in await all_messages(bob, talk["id"])]
    assert shown == report["contents"]
