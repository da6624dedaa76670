"""The plain WebSocket: what is its own; the main job is lived in test_doors_main_job.py."""

import asyncio
import json
import socket
from typing import Any

import aiohttp
import pytest
from multidict import CIMultiDict

from tests.doors import PlainDevice, fields
from tests.eventually import is_gone, sessions
from tests.frames import spoken
from tests.people import WITHIN_S, Person, Refused, Town

pytestmark = pytest.mark.one_database

VERSION = "palabre.v1"


async def enters(person: Person, talk: dict[str, Any], **auth: Any) -> PlainDevice:
    device = PlainDevice(person, talk["id"])
    await device.open({**fields(person), **auth})
    return device


async def speaks(device: PlainDevice, frame: object) -> None:
    await device.send_raw(frame if isinstance(frame, str) else json.dumps(frame))


# Coming in


async def test_the_answer_to_auth_comes_first_then_the_hello_with_one_conversation(
    ada: Person, bob: Person
) -> None:
    talk, other = await ada.creates("direct", bob), await ada.creates("group", bob)
    said = await ada.says(talk, "While you were away")
    cursors = {talk["id"]: talk["head"], other["id"]: 0}

    his = await enters(bob, talk, cursors=cursors, device_id="phone", colour="green")

    answer, hello = (json.loads(raw) for raw in his.raw)
    assert answer == {"id": 1, "ok": True, "data": {}}
    assert list(hello) == ["event", "data"]
    assert hello["event"] == "session:ready"
    assert his.ready["joined"] == {talk["id"]: said["event_seq"]}
    entries = {entry["id"]: entry for entry in his.ready["sync"]["conversations"]}
    assert [message["id"] for message in entries[talk["id"]]["messages"]] == [said["id"]]
    assert entries[other["id"]]["participants"]


@pytest.mark.parametrize("slash", ["/", ""])
async def test_a_token_among_the_subprotocols_lets_in_and_is_shown_to_nobody(
    town: Town,
    logged: list[dict[str, Any]],
    caplog: pytest.LogCaptureFixture,
    ada: Person,
    bob: Person,
    slash: str,
) -> None:
    talk = await ada.creates("direct", bob)
    path = f"/ws/messaging/chat/{talk['id']}{slash}"
    his, hidden = PlainDevice(bob, talk["id"]), f"palabre.token.{bob.token}"

    await his.reach(path=path, protocols=(hidden, VERSION), compress=15)
    await his._until(lambda: bool(his.ready))
    said = await ada.says(talk, "Hello")
    assert await his.heard() == [spoken(said)]
    apart = CIMultiDict({"Sec-WebSocket-Protocol": hidden})
    apart.add("Sec-WebSocket-Protocol", VERSION)
    told: list[str] = []
    for options in ({"protocols": (hidden,)}, {"headers": apart}):
        with pytest.raises(aiohttp.WSServerHandshakeError) as alone:
            await town.http.ws_connect(town.url + path, **options)
        assert alone.value.status == 400
        told.append(str(alone.value.headers))

    headers = his._ws._response.headers
    assert headers["Sec-WebSocket-Protocol"] == VERSION
    assert "Sec-WebSocket-Extensions" not in headers
    told += [str(headers), caplog.text, *map(str, logged)]
    assert not any(bob.token[-40:] in text for text in told)


async def test_a_token_in_the_header_lets_in_without_a_frame(ada: Person, bob: Person) -> None:
    talk = await ada.creates("direct", bob)
    his = PlainDevice(bob, talk["id"])

    await his.reach(headers={"Authorization": f"Bearer {bob.token}"})
    await his._until(lambda: bool(his.ready))

    answer = await his.answer("auth", fields(bob))
    assert (answer["ok"], answer["error"]["code"]) == (False, "validation_failed")
    assert "auth:refresh" in answer["error"]["message"]
    assert (await enters(ada, talk)).ready["user"]["id"] == "ada"


async def test_who_is_not_let_in_is_told_why_and_closed(
    town: Town, ada: Person, bob: Person, eve: Person, backend: Person
) -> None:
    talk = await ada.creates("direct", bob)
    token = {"token": bob.token}
    told: dict[str, list[str]] = {}
    for person, id_, auth, code, error in (
        (eve, talk["id"], {"token": eve.token}, 4404, "not_found"),
        (backend, talk["id"], {"token": backend.token}, 4404, "not_found"),
        (eve, "nowhere", {"token": eve.token}, 4404, "not_found"),
        (eve, "%00%20'--", {"token": eve.token}, 4404, "not_found"),
        (bob, talk["id"], {"token": bob.fresh_token(-60)}, 4401, "token_expired"),
        (bob, talk["id"], {"token": "nobody.knows.it"}, 4401, "unauthorized"),
        (bob, talk["id"], {}, 4401, "unauthorized"),
        (bob, talk["id"], {**token, "protocol": 2}, 1008, "validation_failed"),
        (bob, talk["id"], {**token, "cursors": {"a": "5"}}, 1008, "validation_failed"),
        (bob, talk["id"], [bob.token], 1008, "validation_failed"),
    ):
        device = PlainDevice(person, id_)
        await device.reach()
        answer = await device.answer("auth", auth)
        assert (answer["ok"], answer["error"]["code"]) == (False, error)
        assert await device.ended() == code, (id_, auth)
        assert device.reason
        assert answer["error"]["message"].startswith(device.reason)
        told.setdefault(error, []).append(device.raw[-1])

    assert len(set(told["not_found"])) == 1
    assert sessions(town, "eve") == sessions(town, "bob") == 0


async def test_the_first_frame_is_auth(ada: Person, bob: Person) -> None:
    talk = await ada.creates("direct", bob)
    his, other = PlainDevice(bob, talk["id"]), PlainDevice(bob, talk["id"])
    await his.reach()
    await other.reach(path=f"/ws/messaging/chat/{talk['id']}/?token={bob.token}")
    said = {"conversation_id": talk["id"], "client_msg_id": "1", "content": "Psst"}

    await speaks(his, {"event": "auth:refresh", "data": {"token": bob.token}})
    await speaks(his, {"event": "message:send", "data": said})

    assert (await his.ended(), await other.ended()) == (4401, 4401)
    failed = await his.hears("request:failed")
    assert (failed["event"], failed["error"]["code"]) == ("auth:refresh", "unauthorized")
    assert "address" in str(other.reason)
    assert (await bob.get(f"conversations/{talk['id']}/"))["last_seq"] == 0


@pytest.mark.settings(limits={"authenticate_s": 1, "sockets_per_user": 2})
async def test_who_is_silent_is_closed_and_who_has_too_many_connections_too(
    ada: Person, bob: Person
) -> None:
    talk = await ada.creates("direct", bob)
    silent = PlainDevice(bob, talk["id"])
    await silent.reach()
    first, _ = await enters(bob, talk), await bob.connects()
    third = PlainDevice(bob, talk["id"])

    with pytest.raises(Refused) as refused:
        await third.open(fields(bob))

    assert (refused.value.code, third.code) == ("rate_limited", 4429)
    assert await silent.ended() == 4408
    await first.hears_nothing()


async def test_a_page_of_another_origin_does_not_come_in(
    town: Town, ada: Person, bob: Person
) -> None:
    talk = await ada.creates("direct", bob)
    path = f"{town.url}/ws/messaging/chat/{talk['id']}/"
    his = PlainDevice(bob, talk["id"])
    await his.reach(headers={"Origin": town.url})
    answer = await his.answer("auth", fields(bob))

    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await town.http.ws_connect(path, headers={"Origin": "https://evil.example.com"})
    status, body, _ = await bob.call("GET", f"/ws/messaging/chat/{talk['id']}/")

    assert answer["ok"]
    assert refused.value.status == 403
    assert (status, body["error"]["code"]) == (400, "validation_failed")
    assert "WebSocket" in body["error"]["message"]


# Asking and hearing


async def test_one_conversation_is_heard_and_the_rest_can_be_asked_for(
    town: Town, ada: Person, bob: Person, cleo: Person, eve: Person
) -> None:
    talk, other = await ada.creates("direct", bob), await ada.creates("group", bob)
    foreign = await eve.creates("direct", cleo)
    hers, his = await ada.connects(), await enters(bob, talk)
    new = await ada.creates("group", bob, title="New")
    added = await his.hears("conversation:added")
    said = [await ada.says(one, "Hello") for one in (other, new, talk)]

    assert added["conversation"]["id"] == new["id"]
    assert [frame for frame in await his.heard() if frame[0] != "my:unread"] == [spoken(said[2])]
    cursors = {other["id"]: other["head"], talk["id"]: talk["head"], foreign["id"]: 0}
    answer = await his.asks("sync", cursors=cursors)
    assert answer["unseated"] == [other["id"]]
    assert {entry["id"] for entry in answer["conversations"]} == {talk["id"], other["id"]}
    his.reference.apply_sync(answer)
    reply = await his.says(other, "I read you")
    await ada.says(other, "But you do not hear me")
    await eve.says(foreign, "Between us")
    with pytest.raises(Refused) as refused:
        await his.says(foreign, "Hello?")

    await his.hears_nothing()
    assert refused.value.code == "not_found"
    assert spoken(reply) in await hers.heard()


async def test_requests_are_answered_in_their_order_by_whatever_id(
    ada: Person, bob: Person
) -> None:
    talk = await ada.creates("direct", bob)
    his = await enters(bob, talk)
    ids: list[Any] = [0, -1, 2**53 - 1, "", "a", "é" * 64, *range(10, 60)]
    futures = {id_: asyncio.get_running_loop().create_future() for id_ in ids}
    his._answers |= futures
    start = len(his.raw)

    for id_ in ids:
        await speaks(his, {"id": id_, "event": "nobody:answers", "data": {}})
    await asyncio.wait(futures.values(), timeout=WITHIN_S)

    assert [json.loads(raw)["id"] for raw in his.raw[start:]] == ids
    await speaks(his, {"event": "message:sned"})
    await speaks(his, {"event": "typing:start", "id": None, "data": None})
    first, second = await his.hears("request:failed"), await his.hears("request:failed")
    assert (first["event"], first["error"]["code"]) == ("message:sned", "unknown_event")
    assert second["error"]["details"] == [{"field": "payload", "problem": "must be an object"}]
    await speaks(his, {"event": "typing:start", "data": {"conversation_id": talk["id"]}})
    assert await his.hears("typing:started")


MALFORMED: tuple[tuple[str | bytes, int, str], ...] = (
    (b"\x00\x01", 1003, "text"),
    (b"", 1003, "text"),
    ("", 1007, "JSON"),
    ("hello", 1007, "JSON"),
    ('{"event": "sync", "data": NaN}', 1007, "JSON"),
    ("[" * 60_000, 1007, "JSON"),
    ('{"event":' * 7_000, 1007, "JSON"),
    ("[]", 1008, "object"),
    ('"auth"', 1008, "object"),
    ("{}", 1008, "event"),
    ('{"event": 5}', 1008, "event"),
    ('{"event": null}', 1008, "event"),
    ('{"event": "sync", "payload": {}}', 1008, "payload"),
    ('{"event": "sync", "' + "x" * 500 + '": 1}', 1008, "xxx"),
    ('{"event": "sync", "\\ud800": 1}', 1008, "field"),
    ('{"event": "sync", "id": true}', 1008, "id"),
    ('{"event": "sync", "id": 1.5}', 1008, "id"),
    ('{"event": "sync", "id": 1e400}', 1008, "id"),
    ('{"event": "sync", "id": 9007199254740992}', 1008, "id"),
    ('{"event": "sync", "id": {}}', 1008, "id"),
    ('{"event": "sync", "id": "\\ud800"}', 1008, "id"),
    ('{"event": "sync", "id": "' + "x" * 65 + '"}', 1008, "id"),
    ('{"event": "sync", "x": "' + "y" * 65_536 + '"}', 4413, "large"),
    ('{"event": "sync", "x": "' + "y" * 4_000_000 + '"}', 4413, "large"),
)


async def test_a_malformed_frame_ends_its_connection_with_a_reason_and_only_that(
    town: Town, logged: list[dict[str, Any]], ada: Person, bob: Person
) -> None:
    talk = await ada.creates("direct", bob)
    hers = await ada.connects()
    for number, (frame, code, word) in enumerate(MALFORMED, start=1):
        his = await enters(bob, talk)
        if isinstance(frame, str):
            await his.send_raw(frame)
        else:
            await his._ws.send_bytes(frame)
        assert await his.ended() == code, frame[:60]
        assert word in str(his.reason), (frame[:60], his.reason)
        cut = [line for line in logged if line["event"] == "connection cut"]
        assert len(cut) == number
        assert cut[-1]["address"] == "127.0.0.1"
    await is_gone(town, "bob")
    await ada.says(talk, "Still there?")
    assert await hers.heard_names() == ["message:created"]


# Going


async def test_who_is_removed_hears_that_last_and_is_closed(
    ada: Person, bob: Person, cleo: Person
) -> None:
    talk, other = await ada.creates("group", bob, cleo), await ada.creates("group", cleo)
    his, hers, elsewhere = (
        await enters(bob, talk),
        await enters(cleo, talk),
        await enters(cleo, other),
    )

    await ada.delete(f"conversations/{talk['id']}/participants/bob/")
    await hers.asks("participant:remove", conversation_id=talk["id"], user_id="cleo")
    await ada.says(talk, "They are gone")

    assert (await his.ended(), await hers.ended()) == (4404, 4404)
    assert [name for name, _ in his.frames] == ["participant:removed"]
    assert [name for name, _ in hers.frames] == [
        *("participant:removed", "message:created", "participant:removed"),
        "conversation:removed",
    ]
    with pytest.raises(Refused) as refused:
        await his.reconnects()
    assert refused.value.code == "not_found"
    assert "conversation:removed" in await elsewhere.heard_names()


@pytest.mark.usefixtures("standing_clock")
@pytest.mark.settings(auth={"leeway_s": 0}, limits={"token_warning_s": 0, "token_grace_s": 0})
async def test_a_connection_lives_as_long_as_its_token(ada: Person, bob: Person) -> None:
    talk = await ada.creates("direct", bob)
    his, renewed = [await enters(bob, talk, token=bob.fresh_token(2)) for _ in range(2)]
    await renewed.asks("auth:refresh", token=bob.fresh_token(3_600))

    await his.hears("auth:expiring")
    closed = await his.hears("session:closed")

    assert closed == {"code": "token_expired", "reconnect": True}
    assert await his.ended() == 4401
    await renewed.hears_nothing()


@pytest.mark.settings(realtime={"ping_interval_s": 0.1, "ping_timeout_s": 1.0})
async def test_a_silent_client_is_asked_and_a_dead_one_is_cut(
    town: Town, logged: list[dict[str, Any]], ada: Person, bob: Person
) -> None:
    talk = await ada.creates("direct", bob)
    path = f"{town.url}/ws/messaging/chat/{talk['id']}/"
    headers = {"Authorization": f"Bearer {bob.token}"}
    hers = await enters(ada, talk)
    dead = await town.http.ws_connect(path, headers=headers, autoping=False)
    await dead.receive(timeout=WITHIN_S)
    await dead.ping(b"Are you there?")

    kinds: set[str] = set()
    while not kinds & {"CLOSED", "ERROR"}:
        kinds.add((await dead.receive(timeout=WITHIN_S)).type.name)

    assert kinds > {"PONG", "PING"}
    assert any(line.get("why") == "it does not answer" for line in logged)
    await is_gone(town, "bob")
    await hers.hears_nothing()
    await dead.close()


@pytest.mark.settings(
    limits={"message_chars": 60_000, "output_bytes": 65_536, "sync_bytes": 65_536}
)
async def test_a_client_that_does_not_read_is_cut_and_others_hear_everything(
    town: Town, logged: list[dict[str, Any]], ada: Person, bob: Person
) -> None:
    talk = await ada.creates("direct", bob)
    hers = await enters(ada, talk)
    sent = 0
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(socket_factory=small)) as http:
        path = f"{town.url}/ws/messaging/chat/{talk['id']}/"
        headers = {"Authorization": f"Bearer {bob.token}"}
        deaf = await http.ws_connect(path, headers=headers)
        await deaf.receive(timeout=WITHIN_S)
        deaf._response.connection.transport.pause_reading()  # type: ignore[union-attr]
        async with asyncio.timeout(20):
            while sessions(town, "bob"):
                await ada.says(talk, "x" * 60_000)
                sent += 1
    assert any(line.get("why") == "it does not read" for line in logged)
    assert await hers.heard_names() == ["message:created"] * sent
    hers.is_checked = False  # it would fetch all of that a second time


def small(address: Any) -> socket.socket:
    """Return a socket that takes little before somebody reads."""
    made = socket.socket(*address[:3])
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    return made
