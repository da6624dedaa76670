"""Frames no client sends: they end that connection and leave nothing behind; others go on."""

import asyncio
import json
from typing import Any

import pytest

from tests.eventually import is_gone
from tests.people import WITHIN_S, Device, Person, Town

pytestmark = pytest.mark.one_database

DEEP = "[" * 60_000


@pytest.mark.parametrize(
    "frame",
    [
        "x",
        "",
        "9",
        "0{}",
        "4",
        "4x",
        "47",
        "42",
        "42{",
        "42{}",
        "42[]",
        "42[5]",
        '42["a"',
        '42["a",NaN]',
        f"42{DEEP}",
        f'42["message:list",{DEEP}',
        "421" + "0" * 400 + '["sync",{}]',
        '44{"message":"no"}',
        '451-["file",{"_placeholder":true,"num":0}]',
        '461-1[{"_placeholder":true,"num":0}]',
        "b!!!!",
        "bAAAA",
        b"\x00\x01",
        b"",
    ],
    ids=lambda frame: repr(frame[:40]),
)
async def test_a_malformed_frame_ends_its_connection_and_only_that(
    town: Town, logged: list[dict[str, Any]], ada: Person, bob: Person, frame: str | bytes
) -> None:
    talk = await ada.creates("direct", bob)
    hers, his = await ada.connects(), await bob.connects()

    if isinstance(frame, str):
        await his.send_raw(frame)
    else:
        await his._ws.send_bytes(frame)

    await asyncio.wait_for(his.closed.wait(), WITHIN_S)
    await is_gone(town, "bob")
    cut = [line["address"] for line in logged if line["event"] == "connection cut"]
    assert cut == ["127.0.0.1"]
    await ada.says(talk, "Still there?")
    assert await hers.heard_names() == ["message:created"]


@pytest.mark.parametrize(
    "frame",
    [
        '43["what"]',
        "435[]",
        '42/admin,["sync",{}]',
        "41/admin,",
        "6",
    ],
)
async def test_what_means_nothing_here_is_passed_over(ada: Person, bob: Person, frame: str) -> None:
    talk = await ada.creates("direct", bob)
    his = await bob.connects()

    await his.send_raw(frame)
    await ada.says(talk, "Hello")
    assert await his.heard_names() == ["message:created"]


async def test_who_disconnects_leaves_the_room_and_may_connect_again(
    town: Town, ada: Person, bob: Person
) -> None:
    talk = await ada.creates("direct", bob)
    his = await bob.connects()
    await his.send_raw("41")
    await is_gone(town, "bob")
    await ada.says(talk, "Are you there?")
    his.frames, his.ready = [], {}

    await his.send_raw("40" + json.dumps({"token": bob.token}))
    await his._until(lambda: bool(his.ready))
    await ada.says(talk, "Now you are")

    heard = await his.heard()
    assert [data["message"]["content"] for _, data in heard] == ["Now you are"]
    his.is_checked = False  # it went away without telling its reference client


async def test_requests_before_connecting_are_not_answered(
    town: Town, ada: Person, bob: Person
) -> None:
    talk = await ada.creates("direct", bob)
    his = Device(bob)
    await his.reach()
    fields = {"conversation_id": talk["id"], "client_msg_id": "1", "content": "Psst"}

    await his.send_raw("420" + json.dumps(["message:send", fields]))
    await his.send_raw("40" + json.dumps({"token": bob.token}))
    await his._until(lambda: bool(his.ready))

    assert [raw[:2] for raw in his.raw] == ["0{", "40", "42"]
    assert (await bob.get(f"conversations/{talk['id']}/"))["last_seq"] == 0
    his.is_checked = False


async def test_a_request_without_an_acknowledgement_that_fails_is_told(bob: Person) -> None:
    his = await bob.connects()

    await his.send_raw('42["message:sned",{}]')

    failed = await his.hears("request:failed")
    assert failed == {
        "event": "message:sned",
        "error": {
            "code": "unknown_event",
            "message": "There is no such event.",
            "retryable": False,
        },
    }


@pytest.mark.parametrize("extra", [[], [{}], [{}, {}], [None]])
async def test_every_request_is_acknowledged(bob: Person, extra: list[Any]) -> None:
    """M11 of docs/threats.md."""
    his = await bob.connects()

    his._answers[7] = asyncio.get_running_loop().create_future()
    await his.send_raw("427" + json.dumps(["sync", *extra]))
    await asyncio.wait_for(his._answers[7], WITHIN_S)

    answer = json.loads(next(raw[3:] for raw in his.raw if raw.startswith("437")))
    assert [body["ok"] for body in answer] == [extra != [None]]
