"""Coming in: the order of the first frames, and nothing lost or leaked while somebody comes in."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from server.actions import sync
from server.actions.arrivals import Arrivals
from server.actions.looks import Looks
from server.models import sql
from tests.doors import PlainDevice, fields
from tests.eventually import becomes, is_gone, sessions
from tests.people import Device, Person, Refused, Town

Happening = Callable[[], Awaitable[Any]]
Points = list[tuple[Any, str]]

TOLD = ("after the heads are read", "after the snapshot")
"""Too late for the hello: what happens then is told after it."""

WINDOWS = (
    "before the memberships are read",
    "after the memberships are read",
    "after hosting",
    *TOLD,
)


# Who comes in with cursors is told where everything stands by their `sync`.
_MEMBERSHIPS: Points = [(Arrivals, "person")]
_SNAPSHOT: Points = [(Arrivals, "standing"), (sync, "opening")]
_HEADS: Points = [(Arrivals, "standing"), (Looks, "at")]


class Window:
    """Lets something happen once, at a named point of the next handshake."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._patch = patch

    def at(self, point: str, happening: Happening) -> None:
        where, before = {
            "before the memberships are read": (_MEMBERSHIPS, True),
            "after the memberships are read": (_MEMBERSHIPS, False),
            "after hosting": (_SNAPSHOT, True),
            "after the heads are read": (_HEADS, False),
            "after the snapshot": (_SNAPSHOT, False),
        }[point]
        originals = [getattr(target, name) for target, name in where]

        def patched(original: Any) -> Any:
            async def wrapped(*args: Any, **kwargs: Any) -> Any:
                for (target, name), one in zip(where, originals, strict=True):
                    self._patch.setattr(target, name, one)
                if before:
                    await happening()
                result = await original(*args, **kwargs)
                if not before:
                    await happening()
                return result

            return wrapped

        for (target, name), original in zip(where, originals, strict=True):
            self._patch.setattr(target, name, patched(original))


Coming = Callable[[Person], Awaitable[Device]]


@pytest.fixture(params=["with cursors", "with a token alone"])
def coming(request: pytest.FixtureRequest) -> Coming:
    """How somebody comes in: what they are told is read by different statements."""

    async def connects(person: Person) -> Device:
        if request.param == "with cursors":
            return await person.connects()
        device = Device(person)
        await device.open({"token": person.token})
        return device

    return connects


@pytest.fixture
def window(monkeypatch: pytest.MonkeyPatch) -> Window:
    return Window(monkeypatch)


async def test_the_hello_says_everything_there_is_to_know(
    town: Town, ada: Person, bob: Person
) -> None:
    talk = await ada.creates("direct", bob)
    said = await ada.says(talk, "Hello")

    his = Device(bob)
    await his.open({"token": bob.token})

    ready = his.ready
    session_id, server_time = ready.pop("session_id"), ready.pop("server_time")
    expires, epoch = ready.pop("token_expires_at"), ready.pop("epoch")
    assert ready == {
        "user": {
            "id": "bob",
            "name": "Bob",
            "avatar_url": None,
            "role": "client",
            "metadata": {},
        },
        "protocol": 1,
        "features": [
            *("sync", "receipts", "typing", "presence", "edit", "delete", "archive"),
            *("members", "uploads"),
        ],
        "limits": town.settings.limits.to_wire(),
        "joined": {talk["id"]: said["event_seq"]},
        "user_seq": 1,
        "unread_total": 1,
    }
    assert session_id
    assert server_time < expires
    assert epoch == (await bob.post("sync/", {}))["epoch"]
    await his.hears_nothing()


async def test_the_sync_of_the_hello_is_the_answer_to_its_cursors(ada: Person, bob: Person) -> None:
    talk = await ada.creates("direct", bob)
    said = await ada.says(talk, "While you were away")

    his = await bob.connects(cursors={talk["id"]: talk["head"]}, user_seq=0)
    asked = await his.asks("sync", cursors={talk["id"]: talk["head"]}, user_seq=0)

    assert his.ready["sync"] == asked
    assert [message["id"] for message in asked["conversations"][0]["messages"]] == [said["id"]]
    await his.hears_nothing()


async def test_without_cursors_there_is_no_sync(bob: Person) -> None:
    his = Device(bob)
    await his.open({"token": bob.token})

    assert "sync" not in his.ready


@pytest.mark.parametrize("point", WINDOWS)
async def test_a_message_of_the_handshake_comes_after_the_hello_and_once(
    window: Window, coming: Coming, ada: Person, bob: Person, point: str
) -> None:
    talk = await ada.creates("direct", bob)
    window.at(point, lambda: ada.says(talk, "Just now"))

    his = await coming(bob)

    assert [raw[:2] for raw in his.raw[:3]][:2] == ["0{", "40"]
    assert json.loads(his.raw[2][2:])[0] == "session:ready"
    after = point in TOLD
    assert await his.heard_names() == (["message:created"] if after else [])
    assert his.ready["joined"] == {talk["id"]: talk["head"] + (not after)}
    await ada.says(talk, "And now")
    assert (await his.hears("message:created"))["prev_event_seq"] == talk["head"] + 1


@pytest.mark.parametrize("point", TOLD)
async def test_what_is_said_while_two_come_in_is_missed_by_neither(
    window: Window, coming: Coming, ada: Person, bob: Person, cleo: Person, point: str
) -> None:
    """The conversation begins to be heard where the later of them was told that it stands."""
    talk = await ada.creates("group", bob, cleo)
    others = list[Device]()

    async def says_and_another_comes() -> None:
        await ada.says(talk, "Just now")
        others.append(await cleo.connects())

    window.at(point, says_and_another_comes)

    his = await coming(bob)
    await ada.says(talk, "And now")

    for device in (his, *others):
        assert device.ready["joined"] == {talk["id"]: talk["head"] + 1}
        assert (await device.hears("message:created"))["prev_event_seq"] == talk["head"] + 1


async def test_what_is_said_while_the_database_reads_is_heard_by_all_who_wait_for_it(
    monkeypatch: pytest.MonkeyPatch, coming: Coming, ada: Person, bob: Person, cleo: Person
) -> None:
    """Seats are taken when the heads have been asked for, or while others' heads are read."""
    talk = await ada.creates("group", bob, cleo)
    original, reads, said = sql.read, list[str](), asyncio.Event()

    async def read(statement: Any, *values: Any) -> Any:
        rows = await original(statement, *values)
        if "AS heads" in str(statement):
            reads.append(str(values[0]))
            await said.wait()
        return rows

    monkeypatch.setattr(sql, "read", read)
    arriving = [asyncio.ensure_future(coming(bob))]
    await becomes(lambda: len(reads) == 1)
    arriving.append(asyncio.ensure_future(coming(cleo)))
    await becomes(lambda: len(ada.town.node.feed._hub.listeners_of(talk["id"])) == 2)
    await ada.says(talk, "Just now")
    said.set()
    his, hers = await asyncio.gather(*arriving)

    assert his.ready["joined"] == {talk["id"]: talk["head"]}
    assert hers.ready["joined"] == {talk["id"]: talk["head"] + 1}
    assert await his.heard_names() == ["message:created"]
    assert await hers.heard_names() == []


@pytest.mark.parametrize("point", WINDOWS)
async def test_who_is_removed_in_the_handshake_hears_nothing_more(
    window: Window, coming: Coming, ada: Person, bob: Person, cleo: Person, point: str
) -> None:
    talk = await ada.creates("group", bob, cleo)
    hers = await cleo.connects()
    path = f"conversations/{talk['id']}/participants/bob/"
    window.at(point, lambda: ada.delete(path))

    his = await coming(bob)
    await ada.says(talk, "He is gone")

    # Between a conversation and the person's own events no order is promised.
    told = point in TOLD
    assert set(await his.heard_names()) == (
        {"participant:removed", "conversation:removed"} if told else set()
    )
    assert his.ready["joined"] == {}
    assert await hers.heard_names() == ["participant:removed", "message:created", "message:created"]


@pytest.mark.parametrize("point", WINDOWS)
async def test_who_is_removed_in_the_handshake_hears_nothing_though_nobody_else_listens(
    window: Window, coming: Coming, ada: Person, bob: Person, point: str
) -> None:
    talk = await ada.creates("group", bob)
    path = f"conversations/{talk['id']}/participants/bob/"
    window.at(point, lambda: ada.delete(path))

    his = await coming(bob)
    await ada.says(talk, "He is gone")

    # Between a conversation and the person's own events no order is promised.
    told = point in TOLD
    assert set(await his.heard_names()) == (
        {"participant:removed", "conversation:removed"} if told else set()
    )


@pytest.mark.parametrize("point", WINDOWS)
async def test_who_is_added_in_the_handshake_hears_all_from_there_on(
    window: Window, coming: Coming, ada: Person, bob: Person, cleo: Person, point: str
) -> None:
    other = await ada.creates("direct", bob)
    talk = await ada.creates("group", cleo)
    path = f"conversations/{talk['id']}/participants/"
    window.at(point, lambda: ada.post(path, {"user_ids": ["bob"]}))

    his = await coming(bob)
    said = await ada.says(talk, "Welcome")

    told = point in TOLD
    assert await his.heard_names() == [
        *(["conversation:added", "participant:added", "message:created"] if told else []),
        "message:created",
    ]
    joined = {other["id"], *([] if told else [talk["id"]])}
    assert set(his.ready["joined"]) == joined
    assert said["event_seq"] == his.reference.talks[talk["id"]].cursor


@pytest.mark.parametrize("point", WINDOWS)
async def test_who_is_removed_and_added_again_in_the_handshake_stays_in(
    window: Window, coming: Coming, ada: Person, bob: Person, point: str
) -> None:
    talk = await ada.creates("group", bob)
    path = f"conversations/{talk['id']}/participants/"

    async def out_and_in() -> None:
        await ada.delete(f"{path}bob/")
        await ada.post(path, {"user_ids": ["bob"]})

    window.at(point, out_and_in)

    his = await coming(bob)
    said = await ada.says(talk, "Still here?")

    # Either the hello says it, or it is told after it.
    assert (await his.heard_names())[-1] == "message:created"
    assert said["event_seq"] == his.reference.talks[talk["id"]].cursor


@pytest.mark.parametrize("point", ["after hosting", "after the heads are read"])
async def test_who_is_added_while_another_comes_in_hears_the_conversation(
    window: Window, ada: Person, bob: Person, dan: Person, point: str
) -> None:
    talk = await ada.creates("group", bob)
    others = await dan.connects()
    path = f"conversations/{talk['id']}/participants/"
    window.at(point, lambda: ada.post(path, {"user_ids": ["dan"]}))

    his = await bob.connects()
    await ada.says(talk, "Now we are three")

    assert await others.heard_names() == [
        "conversation:added",
        "participant:added",
        "message:created",
        "message:created",
    ]
    names = await his.heard_names()
    assert names[-1] == "message:created"


@pytest.mark.usefixtures("no_heads")
async def test_an_addition_told_after_its_conversation_was_hosted_still_seats(
    monkeypatch: pytest.MonkeyPatch, town: Town, ada: Person, bob: Person, dan: Person
) -> None:
    """Between a commit and its telling somebody else may come in and read the new head."""
    talk = await ada.creates("group", bob)
    others = await dan.connects()
    publish, late = town.node.bus.publish, list[Any]()
    monkeypatch.setattr(town.node.bus, "publish", late.append)
    await ada.post(f"conversations/{talk['id']}/participants/", {"user_ids": ["dan"]})
    his = await bob.connects()
    monkeypatch.undo()
    for event in late:
        publish(event)

    await ada.says(talk, "Now we are three")

    assert await others.heard_names() == ["conversation:added", "message:created"]
    assert await his.heard_names() == ["message:created"]


@pytest.mark.usefixtures("no_heads")
async def test_a_removal_told_after_its_conversation_was_hosted_still_unseats(
    monkeypatch: pytest.MonkeyPatch, town: Town, ada: Person, bob: Person, dan: Person
) -> None:
    """An addition and a removal, both committed, both told after somebody else came in."""
    talk = await ada.creates("group", bob)
    others = await dan.connects()
    publish, late = town.node.bus.publish, list[Any]()
    monkeypatch.setattr(town.node.bus, "publish", late.append)
    path = f"conversations/{talk['id']}/participants/"
    await ada.post(path, {"user_ids": ["dan"]})
    await ada.delete(f"{path}dan/")
    his = await bob.connects()
    monkeypatch.undo()
    for event in late:
        publish(event)

    await ada.says(talk, "We are two")

    names = await others.heard_names()
    assert [name for name in names if name != "session:resync"] == [
        "conversation:added",
        "conversation:removed",
    ]
    assert await his.heard_names() == ["message:created"]


# The plain WebSocket


@pytest.mark.parametrize("point", WINDOWS)
async def test_who_is_removed_while_coming_in_to_a_conversation_is_closed(
    window: Window, ada: Person, bob: Person, cleo: Person, point: str
) -> None:
    talk = await ada.creates("group", bob, cleo)
    path = f"conversations/{talk['id']}/participants/bob/"
    window.at(point, lambda: ada.delete(path))
    his = PlainDevice(bob, talk["id"])

    await his.reach()
    answer = await his.answer("auth", fields(bob))
    assert await his.ended() == 4404
    await ada.says(talk, "He is gone")

    told = point in TOLD
    assert answer["ok"] is told
    names = [name for name, _ in his.frames]
    assert ("participant:removed" in names) is told
    assert "message:created" not in names


@pytest.mark.parametrize("point", ["after hosting", "after the snapshot"])
async def test_who_is_removed_and_added_again_while_coming_in_to_a_conversation_hears_it(
    window: Window, ada: Person, bob: Person, point: str
) -> None:
    talk = await ada.creates("group", bob)
    path = f"conversations/{talk['id']}/participants/"

    async def out_and_in() -> None:
        await ada.delete(f"{path}bob/")
        await ada.post(path, {"user_ids": ["bob"]})

    window.at(point, out_and_in)
    his = PlainDevice(bob, talk["id"])

    await his.open(fields(bob))
    await ada.says(talk, "Still here?")

    assert (await his.heard_names())[-1] == "message:created"


async def test_who_leaves_while_coming_in_to_a_conversation_leaves_nothing_behind(
    window: Window, town: Town, ada: Person, bob: Person
) -> None:
    talk = await ada.creates("direct", bob)
    his = PlainDevice(bob, talk["id"])
    await his.reach()
    window.at("after hosting", his.cut)
    await his.send_raw(json.dumps({"event": "auth", "data": {"token": bob.token}}))

    await becomes(his.closed.is_set)
    await is_gone(town, "bob")
    await becomes(lambda: not town.node.feed._people)
    assert town.node.feed._conversations == {}


@pytest.mark.logs_errors
async def test_a_failure_while_coming_in_to_a_conversation_says_whether_to_try_again(
    monkeypatch: pytest.MonkeyPatch, town: Town, ada: Person, bob: Person
) -> None:
    talk = await ada.creates("direct", bob)
    for failure, error, code in (
        (OSError("connection refused"), "unavailable", 1013),
        (RuntimeError("it fell over"), "internal", 1011),
    ):

        async def fails(*_: Any, failure: Exception = failure, **__: Any) -> Any:
            raise failure

        monkeypatch.setattr(Arrivals, "person", fails)
        his = PlainDevice(bob, talk["id"])
        with pytest.raises(Refused) as refused:
            await his.open(fields(bob))
        assert (refused.value.code, his.code) == (error, code)
        assert refused.value.error["retryable"] is True
        assert "fell over" not in str(his.reason)
    assert sessions(town, "bob") == 0


@pytest.mark.settings(
    limits={"message_chars": 60_000, "output_bytes": 65_536, "sync_bytes": 65_536}
)
async def test_more_than_can_wait_is_said_while_somebody_comes_in(
    window: Window, town: Town, ada: Person, bob: Person
) -> None:
    talk = await ada.creates("direct", bob)

    async def much() -> None:
        for _ in range(2):
            await ada.says(talk, "x" * 60_000)

    window.at("after the snapshot", much)
    his = PlainDevice(bob, talk["id"])
    await his.reach()
    await his.send_raw(json.dumps({"event": "auth", "data": {"token": bob.token}}))

    assert await his.ended() == 4429
    await is_gone(town, "bob")


@pytest.mark.one_database
async def test_a_connection_is_not_compressed(bob: Person) -> None:
    his = Device(bob)

    await his.reach(compress=15)

    assert "Sec-WebSocket-Extensions" not in his._ws._response.headers


# What may stand in `auth`


@pytest.mark.one_database
async def test_clients_that_send_only_texts_are_understood(ada: Person, bob: Person) -> None:
    talk = await ada.creates("direct", bob)
    await ada.says(talk, "Hello")
    cursors = json.dumps({talk["id"]: talk["head"]})

    his = await bob.connects(cursors=cursors, protocol="1", user_seq="0")

    assert [len(entry["messages"]) for entry in his.ready["sync"]["conversations"]] == [1]


@pytest.mark.one_database
async def test_the_token_may_come_in_the_header(bob: Person) -> None:
    his = Device(bob)
    await his.reach(headers={"Authorization": f"Bearer {bob.token}"})
    await his.send_raw("40")

    await his._until(lambda: bool(his.ready))

    assert his.ready["user"]["id"] == "bob"


@pytest.mark.one_database
async def test_the_token_of_auth_goes_before_the_one_of_the_header(
    ada: Person, bob: Person
) -> None:
    his = Device(bob)
    await his.reach(headers={"Authorization": f"Bearer {ada.token}"})
    await his.send_raw("40" + json.dumps({"token": bob.token}))

    await his._until(lambda: bool(his.ready))

    assert his.ready["user"]["id"] == "bob"


async def refusal(device: Device, packet: str) -> dict[str, Any]:
    """Return what a CONNECT packet is refused with."""
    await device.send_raw(packet)
    await device._until(lambda: any(raw[:2] == "44" for raw in device.raw))
    body: dict[str, Any] = json.loads(next(raw[2:] for raw in device.raw if raw[:2] == "44"))
    return body


@pytest.mark.one_database
async def test_a_token_in_the_address_is_refused_with_a_sentence(town: Town, bob: Person) -> None:
    url = f"{town.url}/socket.io/?EIO=4&transport=websocket&token={bob.token}"
    async with town.http.ws_connect(url) as ws:
        await ws.receive_str()
        await ws.send_str("40")
        body = json.loads((await ws.receive_str())[2:])

    assert body["data"]["code"] == "unauthorized"
    assert "auth.token" in body["message"]
    assert body["data"]["message"] == body["message"]


@pytest.mark.one_database
@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ('"text"', "auth"),
        ("[1]", "auth"),
        ('{"cursors": [1]}', "cursors"),
        ('{"cursors": "not json"}', "cursors"),
        ('{"cursors": {"a": "5"}}', "cursors.a"),
        ('{"cursors": {"a": -1}}', "cursors.a"),
        ('{"user_seq": true}', "user_seq"),
        ('{"cursors": {}, "epoch": 5}', "epoch"),
        ('{"protocol": 2}', "protocol"),
        ('{"protocol": "2"}', "protocol"),
        ('{"protocol": true}', "protocol"),
        ('{"protocol": 1.0}', "protocol"),
    ],
)
async def test_what_cannot_be_understood_is_refused_by_name(
    bob: Person, fields: str, named: str
) -> None:
    his = Device(bob)
    await his.reach(headers={"Authorization": f"Bearer {bob.token}"})

    body = await refusal(his, "40" + fields)

    assert body["data"]["code"] == "validation_failed"
    assert [detail["field"] for detail in body["data"]["details"]] == [named]
    assert body["message"] == body["data"]["message"]
    assert body["data"]["retryable"] is False


@pytest.mark.one_database
@pytest.mark.parametrize("token", ["5", '["a"]', '{"a": 1}', "true", '""', "null"])
async def test_a_token_of_another_type_is_no_token(bob: Person, token: str) -> None:
    his = Device(bob)
    await his.reach()

    body = await refusal(his, f'40{{"token": {token}}}')

    assert body["data"]["code"] == "unauthorized"


@pytest.mark.one_database
async def test_unknown_fields_of_auth_are_ignored(bob: Person) -> None:
    his = await bob.connects(device_id="phone", colour="green", cursor="typo")

    assert his.ready["user"]["id"] == "bob"


async def test_who_was_refused_may_try_again_on_the_same_connection(bob: Person) -> None:
    his = Device(bob)
    await his.reach()
    assert (await refusal(his, "40{}"))["data"]["code"] == "unauthorized"

    await his.send_raw("40" + json.dumps({"token": bob.token}))
    await his._until(lambda: bool(his.ready))

    assert his.ready["user"]["id"] == "bob"


async def test_a_second_connect_is_refused_and_the_first_session_lives_on(
    ada: Person, bob: Person
) -> None:
    talk = await ada.creates("direct", bob)
    his = await bob.connects()

    body = await refusal(his, "40" + json.dumps({"token": bob.token}))

    assert body["data"]["code"] == "validation_failed"
    await ada.says(talk, "Once")
    assert await his.heard_names() == ["message:created"]
    assert sum("session:ready" in raw for raw in his.raw) == 1


async def test_two_connects_at_once_open_one_session(town: Town, ada: Person, bob: Person) -> None:
    talk = await ada.creates("direct", bob)
    his = Device(bob)
    await his.reach()
    packet = "40" + json.dumps({"token": bob.token})
    await his.send_raw(packet)
    await refusal(his, packet)
    await his._until(lambda: bool(his.ready))

    await ada.says(talk, "Once")

    assert await his.heard_names() == ["message:created"]
    assert sessions(town, "bob") == 1


@pytest.mark.one_database
async def test_the_namespace_is_the_one_there_is(bob: Person) -> None:
    his = Device(bob)
    await his.reach()

    await his.send_raw("40/admin," + json.dumps({"token": bob.token}))
    await his._until(lambda: any(raw.startswith("44/admin,") for raw in his.raw))
    assert json.loads(his.raw[-1].partition(",")[2])["data"]["code"] == "not_found"

    await his.send_raw("40" + json.dumps({"token": bob.token}))
    await his._until(lambda: bool(his.ready))


@pytest.mark.logs_errors
async def test_a_failure_in_the_handshake_is_answered(
    monkeypatch: pytest.MonkeyPatch, town: Town, bob: Person
) -> None:
    async def fails(*_: Any, **__: Any) -> Any:
        raise RuntimeError("the database fell over")

    monkeypatch.setattr(Arrivals, "standing", fails)
    monkeypatch.setattr(sync, "opening", fails)
    with pytest.raises(Refused) as refused:
        await bob.connects()

    assert refused.value.code == "internal"
    assert refused.value.error["retryable"] is True
    assert "fell over" not in json.dumps(refused.value.error)
    assert sessions(town, "bob") == 0


@pytest.mark.logs_errors
async def test_a_failure_for_one_who_comes_in_is_nobody_elses(
    monkeypatch: pytest.MonkeyPatch, town: Town, ada: Person, bob: Person
) -> None:
    talk = await ada.creates("direct", bob)
    original = sql.read

    async def read(statement: str, *values: Any) -> Any:
        if "eve" in str(values[0]):
            raise RuntimeError("her row fell over")
        return await original(statement, *values)

    monkeypatch.setattr(sql, "read", read)
    coming = (ada.connects(), town.person("eve").connects(), bob.connects())
    hers, refused, his = await asyncio.gather(*coming, return_exceptions=True)

    assert isinstance(refused, Refused)
    assert refused.code == "internal"
    for device in (hers, his):
        assert isinstance(device, Device)
        assert list(device.ready["joined"]) == [talk["id"]]


async def test_those_who_come_while_another_comes_in_are_read_together(
    monkeypatch: pytest.MonkeyPatch, town: Town, ada: Person, bob: Person
) -> None:
    talk = await ada.creates("direct", bob)
    others = [town.person(f"person-{number}") for number in range(5)]
    for one in others:
        await one.get("me/")
    original, first, reads = sql.read, asyncio.Event(), list[str]()

    async def read(statement: Any, *values: Any) -> Any:
        if isinstance(statement, str) and "recent" in statement:
            reads.append(str(values[0]))
            if len(reads) == 1:
                await first.wait()
        return await original(statement, *values)

    monkeypatch.setattr(sql, "read", read)
    coming = [asyncio.create_task(ada.connects())]
    await becomes(lambda: len(reads) == 1)
    coming += [asyncio.create_task(one.connects()) for one in (bob, *others)]
    await becomes(lambda: len(town.node.feed._people) == 7)
    first.set()
    devices = await asyncio.gather(*coming)

    assert len(reads) == 2
    assert [list(device.ready["joined"]) for device in devices] == [[talk["id"]]] * 2 + [[]] * 5
    for device, person in zip(devices, (ada, bob, *others), strict=True):
        assert device.ready["user"]["id"] == person.id


async def test_a_database_that_does_not_answer_is_unavailable(
    monkeypatch: pytest.MonkeyPatch, town: Town, bob: Person
) -> None:
    async def gone(*_: Any, **__: Any) -> Any:
        raise OSError("connection refused")

    monkeypatch.setattr(Arrivals, "person", gone)
    with pytest.raises(Refused) as refused:
        await bob.connects()

    assert refused.value.code == "unavailable"
    assert refused.value.error["retryable"] is True
    assert sessions(town, "bob") == 0


async def test_who_leaves_during_the_handshake_leaves_nothing_behind(
    window: Window, town: Town, ada: Person, bob: Person
) -> None:
    await ada.creates("direct", bob)
    his = Device(bob)
    await his.reach()
    window.at("after hosting", his.cut)
    await his.send_raw("40" + json.dumps({"token": bob.token}))

    await is_gone(town, "bob")
    await becomes(lambda: not town.node.feed._people)
    assert town.node.feed._conversations == {}
