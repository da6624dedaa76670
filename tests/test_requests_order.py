"""Order: the requests of a connection are answered in line, all of them, whatever happens."""

import asyncio
import json
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from typing import Any

import asyncpg
import pytest

from server.ids import new_id
from server.models import reader
from tests.people import WITHIN_S, Device, Person, Town
from tests.refusals import refused


@asynccontextmanager
async def stuck(town: Town, talk: dict[str, Any]) -> AsyncIterator[None]:
    """Hold what every change of this conversation has to wait for."""
    url = town.settings.database.url
    if url.startswith("sqlite"):
        path = url.removeprefix("sqlite://")
        with closing(sqlite3.connect(path, isolation_level=None)) as file:
            file.execute("BEGIN IMMEDIATE")
            yield
            file.execute("ROLLBACK")
        return
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction():
            await connection.fetch(
                "SELECT 1 FROM conversations WHERE id = $1 FOR UPDATE", talk["id"]
            )
            yield
    finally:
        await connection.close()


@asynccontextmanager
async def unreadable(town: Town) -> AsyncIterator[None]:
    """Hold what everybody has to wait for who reads a message."""
    url = town.settings.database.url
    if url.startswith("sqlite"):
        held = threading.Event()
        reads = reader.present()
        assert reads is not None
        holding = asyncio.ensure_future(reads.run(lambda _: held.wait(5)))
        yield
        held.set()
        await holding
        return
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE messages IN ACCESS EXCLUSIVE MODE")
            yield
    finally:
        await connection.close()


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody wait long; asked for first, because reading winds the timer up."""
    monkeypatch.setattr("server.dispatch.DEADLINE_S", 1.0)


def send(talk: dict[str, Any], content: str) -> dict[str, Any]:
    return {"conversation_id": talk["id"], "client_msg_id": new_id(), "content": content}


def order_of_answers(device: Device) -> list[int]:
    return [int(packet[2 : packet.index("[")]) for packet in device.raw if packet[:2] == "43"]


async def test_slow_and_quick_requests_are_answered_in_line(ada: Person, bob: Person) -> None:
    """M10 of docs/threats.md."""
    talk = await ada.creates("direct", bob)
    her, his = await ada.connects(), await bob.connects()
    asked = [
        ("message:send", send(talk, "one")),
        ("nonsense", {}),
        ("message:list", {"conversation_id": talk["id"]}),
        ("message:send", {"content": 5}),
        ("sync", {}),
        ("message:send", send(talk, "two")),
        ("message:send", send({"id": "nowhere"}, "three")),
    ]

    answers = await asyncio.gather(*(her.answer(*one) for one in asked * 4))

    assert [answer["ok"] for answer in answers] == [True, False, True, False, True, True, False] * 4
    assert order_of_answers(her) == sorted(order_of_answers(her))
    assert len(order_of_answers(her)) == 28
    listed = [a["data"]["messages"] for a in answers if "messages" in a.get("data", {})]
    assert [len(messages) for messages in listed] == [1, 2, 2, 2]
    assert await her.heard_names() == await his.heard_names() == ["message:created"] * 2


async def test_what_was_asked_before_is_true_for_what_is_asked_after(
    ada: Person, bob: Person
) -> None:
    talk = await ada.creates("direct", bob)
    said = await ada.says(talk, "0")
    her = await ada.connects()
    edit = {"message_id": said["id"]}

    answers = await asyncio.gather(
        *(
            her.answer("message:edit", {**edit, "content": f"{n}", "base_version": n})
            for n in range(1, 11)
        )
    )

    assert [answer["data"]["message"]["version"] for answer in answers] == list(range(2, 12))
    assert await her.heard_names() == ["message:updated"] * 10


async def test_more_requests_than_fit_in_line_are_all_answered(ada: Person, bob: Person) -> None:
    talk = await ada.creates("direct", bob)
    her = await ada.connects()
    many = 3 * her.ready["limits"]["inbox"]

    said = await asyncio.gather(*(her.says(talk, f"{n}") for n in range(many)))

    assert [message["seq"] for message in said] == list(range(1, many + 1))
    assert await her.heard_names() == ["message:created"] * many


async def test_whoever_waits_too_long_is_told_that_the_outcome_is_unknown(
    hasty: None, town: Town, ada: Person, bob: Person
) -> None:
    """T9 of docs/threats.md."""
    talk = await ada.creates("direct", bob)
    her, his = await ada.connects(), await bob.connects()
    payload = send(talk, "Slowly")

    async with stuck(town, talk):
        by_socket = await refused(her.asks("message:send", **payload))
        by_rest = await refused(ada.says(talk, "By REST", client_msg_id="r"))
        await her.hears_nothing()
        await his.hears_nothing()

    assert by_socket.error == {
        "code": "timeout",
        "message": "The answer took too long. Ask again with the same id.",
        "retryable": True,
    }
    assert (by_rest.status, by_rest.error) == (504, by_socket.error)
    again = await her.asks("message:send", **payload)
    assert (again["duplicate"], again["message"]["content"]) == (True, "Slowly")
    await ada.says(talk, "By REST", client_msg_id="r")
    for device in (her, his):
        heard = await device.heard()
        assert [name for name, _ in heard] == ["message:created"] * 2
        assert {data["message"]["content"] for _, data in heard} == {"Slowly", "By REST"}


async def test_pages_that_take_too_long_are_given_up_and_later_ones_come(
    hasty: None, town: Town, ada: Person, bob: Person
) -> None:
    talk = await ada.creates("direct", bob)
    await ada.says(talk, "Hello")
    path = f"conversations/{talk['id']}/messages/"
    assert len((await ada.get(path))["results"]) == 1

    async with unreadable(town):
        # More of them than there are connections to read by.
        late = await asyncio.gather(*(refused(ada.get(path)) for _ in range(9)))

    assert {(each.status, each.error["code"]) for each in late} == {(504, "timeout")}
    pages = await asyncio.gather(*(ada.get(path) for _ in range(9)))
    assert [[message["content"] for message in page["results"]] for page in pages] == [
        ["Hello"]
    ] * 9


async def test_two_sends_keep_their_order_also_when_both_took_too_long(
    hasty: None, town: Town, ada: Person, bob: Person
) -> None:
    talk = await ada.creates("direct", bob)
    her, his = await ada.connects(), await bob.connects()

    async with stuck(town, talk):
        tries = [her.answer("message:send", send(talk, text)) for text in ("first", "second")]
        answers = await asyncio.gather(*tries)

    assert [answer["error"]["code"] for answer in answers] == ["timeout"] * 2
    for device in (her, his):
        heard = [await device.hears("message:created") for _ in range(2)]
        assert [data["message"]["content"] for data in heard] == ["first", "second"]


async def test_while_one_waits_the_next_request_is_not_lost(
    hasty: None, town: Town, ada: Person, bob: Person
) -> None:
    talk = await ada.creates("direct", bob)
    her = await ada.connects()

    async with stuck(town, talk):
        slow = her.answer("message:send", send(talk, "Slowly"))
        quick = her.answer("nonsense", {})
        answers = await asyncio.gather(slow, quick)

    assert [answer["error"]["code"] for answer in answers] == ["timeout", "unknown_event"]
    await her.hears("message:created")


async def test_what_a_dead_socket_asked_for_is_still_told(
    town: Town, ada: Person, bob: Person
) -> None:
    talk = await ada.creates("direct", bob)
    phone, laptop, his = await ada.connects(), await ada.connects(), await bob.connects()
    payload = send(talk, "My last words")

    async with stuck(town, talk):
        lost = asyncio.ensure_future(phone.answer("message:send", payload))
        await until_asked(town)
        await phone.cut()
        await laptop.hears_nothing()

    lost.cancel()
    for device in (laptop, his):
        assert (await device.hears("message:created"))["message"]["content"] == "My last words"
    again = await laptop.asks("message:send", **payload)
    assert again["duplicate"] is True


async def until_asked(town: Town) -> None:
    """Wait until the server works on something."""
    async with asyncio.timeout(WITHIN_S):
        while not town.node.dispatcher._due:  # noqa: ASYNC110 (it rings no bell)
            await asyncio.sleep(0)


async def test_a_reader_who_leaves_before_the_answer_disturbs_nobody(
    ada: Person, bob: Person
) -> None:
    talk = await ada.creates("direct", bob)
    his = await bob.connects()
    for number in range(10):
        phone = await ada.connects()
        await phone.send_raw("42" + _packet(send(talk, f"{number}")))
        await phone.send_raw("421" + _packet(send(talk, f"{number} again")))
        await phone.cut()
    said = await his.says(talk, "Here")

    heard = [data["message"]["seq"] for _, data in await his.heard()]

    assert heard == list(range(1, len(heard) + 1))
    assert said["seq"] in heard


def _packet(payload: dict[str, Any]) -> str:
    return json.dumps(["message:send", payload])
