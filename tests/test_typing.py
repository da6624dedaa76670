"""Typing: told now and then, taken back by the server, stored nowhere."""

from types import SimpleNamespace
from typing import Any

import pytest

from tests.frames import spoken
from tests.people import Device, Frame, Person, Refused, Town

pytestmark = pytest.mark.one_database

FAST = {"typing_interval_ms": 20, "typing_expiry_ms": 60}


async def starts(device: Device, talk: dict[str, Any], **more: Any) -> None:
    assert await device.asks("typing:start", conversation_id=talk["id"], **more) == {}


def started(talk: dict[str, Any], who: str, kind: str = "text", expires: int = 6_000) -> Frame:
    body = {"conversation_id": talk["id"], "user_id": who, "kind": kind}
    return "typing:started", {**body, "expires_in_ms": expires}


def stopped(talk: dict[str, Any], who: str, kind: str = "text") -> Frame:
    return "typing:stopped", {"conversation_id": talk["id"], "user_id": who, "kind": kind}


async def test_members_hear_who_types_and_outsiders_do_not(
    ada: Person, bob: Person, eve: Person
) -> None:
    talk = await ada.creates("direct", bob)
    her, his, outside = await ada.connects(), await bob.connects(), await eve.connects()

    await starts(her, talk)
    await her.asks("typing:stop", conversation_id=talk["id"])

    told = [started(talk, "ada"), stopped(talk, "ada")]
    assert await her.heard() == await his.heard() == told
    await outside.hears_nothing()
    assert (await ada.get(f"conversations/{talk['id']}/"))["head"] == talk["head"]


@pytest.mark.parametrize("kind", ["text", "voice", "upload"])
async def test_what_is_prepared_is_told(ada: Person, bob: Person, kind: str) -> None:
    talk = await ada.creates("direct", bob)
    her, his = await ada.connects(), await bob.connects()

    await starts(her, talk, kind=kind)

    assert await his.heard() == await her.heard() == [started(talk, "ada", kind)]


async def test_a_kind_that_is_none_is_refused(ada: Person, bob: Person) -> None:
    talk = await ada.creates("direct", bob)
    her, his = await ada.connects(), await bob.connects()

    with pytest.raises(Refused) as no:
        await starts(her, talk, kind="singing")

    assert (no.value.code, no.value.fields) == ("validation_failed", ["kind"])
    await his.hears_nothing()


async def test_typing_on_is_told_once_in_an_interval(
    ada: Person, bob: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    talk = await ada.creates("direct", bob)
    her, his = await ada.connects(), await bob.connects()
    now = SimpleNamespace(seconds=100.0)
    clock = SimpleNamespace(monotonic=lambda: now.seconds)
    monkeypatch.setattr("server.realtime.typing.time", clock)

    for now.seconds, told in ((100.0, 1), (100.5, 0), (101.9, 0), (102.0, 1), (103.9, 0)):
        await starts(her, talk)
        assert await his.heard() == [started(talk, "ada")] * told
    await starts(her, talk, kind="voice")
    assert await his.heard() == [started(talk, "ada", "voice")]
    await her.heard()


async def test_after_stopping_typing_is_told_at_once(ada: Person, bob: Person) -> None:
    talk = await ada.creates("direct", bob)
    her, his = await ada.connects(), await bob.connects()

    for _ in range(2):
        await starts(her, talk)
        await her.asks("typing:stop", conversation_id=talk["id"])

    assert await his.heard() == [started(talk, "ada"), stopped(talk, "ada")] * 2
    await her.heard()


async def test_stopping_what_was_not_begun_is_not_told(ada: Person, bob: Person) -> None:
    talk = await ada.creates("direct", bob)
    her, his = await ada.connects(), await bob.connects()

    assert await her.asks("typing:stop", conversation_id=talk["id"]) == {}

    await his.hears_nothing()


@pytest.mark.settings(limits=FAST)
async def test_the_server_takes_it_back_when_nothing_more_is_heard(
    ada: Person, bob: Person, eve: Person
) -> None:
    talk = await ada.creates("direct", bob)
    her, his, outside = await ada.connects(), await bob.connects(), await eve.connects()

    await starts(her, talk, kind="voice")

    for device in (her, his):
        told = await device.hears("typing:started")
        assert told == started(talk, "ada", "voice", expires=60)[1]
        assert await device.hears("typing:stopped") == stopped(talk, "ada", "voice")[1]
        await device.hears_nothing()
    await outside.hears_nothing()


async def test_a_message_ends_its_senders_typing_and_nobody_elses(ada: Person, bob: Person) -> None:
    talk = await ada.creates("direct", bob)
    her, his = await ada.connects(), await bob.connects()
    await starts(her, talk)
    await starts(his, talk)

    said = await her.says(talk, "Done")

    told = [started(talk, "ada"), started(talk, "bob"), stopped(talk, "ada"), spoken(said)]
    assert await his.heard() == await her.heard() == told


async def test_a_message_elsewhere_ends_nothing_here(ada: Person, bob: Person) -> None:
    talk = await ada.creates("direct", bob)
    elsewhere = await ada.creates("group", bob)
    her, his = await ada.connects(), await bob.connects()

    await starts(her, talk)
    said = await her.says(elsewhere, "Hello")

    assert await his.heard() == await her.heard() == [started(talk, "ada"), spoken(said)]


@pytest.mark.parametrize("how", ["close", "cut"])
async def test_who_disconnects_stops_typing(ada: Person, bob: Person, how: str) -> None:
    talk = await ada.creates("direct", bob)
    her, his = await ada.connects(), await bob.connects()
    await starts(her, talk)
    assert await his.hears("typing:started") == started(talk, "ada")[1]

    await getattr(her, how)()

    assert await his.hears("typing:stopped") == stopped(talk, "ada")[1]
    await his.hears_nothing()


async def test_a_second_device_that_goes_does_not_end_the_firsts_typing(
    ada: Person, bob: Person
) -> None:
    talk = await ada.creates("direct", bob)
    phone, laptop, his = await ada.connects(), await ada.connects(), await bob.connects()
    await starts(phone, talk)

    await laptop.close()
    await phone.asks("typing:stop", conversation_id=talk["id"])

    assert await his.heard() == [started(talk, "ada"), stopped(talk, "ada")]
    await phone.heard()


async def test_outsiders_the_backend_and_strangers_to_the_room_do_not_type(
    ada: Person, bob: Person, eve: Person, root: Person, backend: Person
) -> None:
    talk = await ada.creates("direct", bob)
    his = await bob.connects()

    for person in (eve, root, backend):
        device = await person.connects()
        for name in ("typing:start", "typing:stop"):
            for id_ in (talk["id"], "nowhere"):
                with pytest.raises(Refused) as no:
                    await device.asks(name, conversation_id=id_)
                assert no.value.code == "not_found"
        await device.hears_nothing()
    await his.hears_nothing()


@pytest.mark.settings(limits={"broadcast_members": 2})
async def test_nobody_types_in_a_large_conversation(ada: Person, bob: Person, cleo: Person) -> None:
    large, small = await ada.creates("group", bob, cleo), await ada.creates("direct", bob)
    her, his = await ada.connects(), await bob.connects()

    await starts(her, large)
    await her.asks("typing:stop", conversation_id=large["id"])
    await starts(her, small)

    assert await his.heard() == await her.heard() == [started(small, "ada")]


async def test_typing_is_not_kept_for_who_comes_later(town: Town, ada: Person, bob: Person) -> None:
    talk = await ada.creates("direct", bob)
    her = await ada.connects()
    await starts(her, talk)

    his = await bob.connects()

    await his.hears_nothing()
    await her.heard()
