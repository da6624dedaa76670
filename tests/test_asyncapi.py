"""The description of the sockets: valid, complete, and what every frame of the suite is held to."""

import json
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import jsonschema_rs
import pytest

from server.events import Event, Room
from server.handlers import registry
from server.schemas.events import EVENTS
from tests import contract
from tests.asking import BY_SOCKET, About, complete
from tests.people import Person, Town
from tests.programs import FOLDER

pytestmark = pytest.mark.one_database

OFFICIAL = FOLDER / "node_modules" / "@asyncapi" / "specs" / "schemas" / "3.0.0-without-$id.json"


async def fetched(town: Town) -> dict[str, Any]:
    async with town.http.get(f"{town.url}/asyncapi.json") as response:
        assert response.status == 200
        described: dict[str, Any] = await response.json()
        return described


def references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        part = list(part.values())
    if isinstance(part, list):
        for one in part:
            yield from references(one)


def found(described: dict[str, Any], reference: str) -> Any:
    part: Any = described
    for step in reference.removeprefix("#/").split("/"):
        part = part[step]
    return part


async def test_the_description_is_what_asyncapi_3_asks_for(town: Town) -> None:
    described = await fetched(town)
    judge = jsonschema_rs.validator_for(json.loads(OFFICIAL.read_text(encoding="utf-8")))

    assert [error.message for error in judge.iter_errors(described)] == []
    assert all(found(described, reference) for reference in references(described))
    # The judge does judge.
    for path, wrong in {
        "servers/plain/host": None,
        "operations/socketio.open/action": "ask",
        "channels/plain/messages/sync.request": {"$ref": 1},
        "components/securitySchemes/token/type": "secret",
    }.items():
        spoilt = deepcopy(described)
        *way, last = path.split("/")
        found(spoilt, "/".join(way))[last] = wrong
        assert not judge.is_valid(spoilt), path


OPENING = {
    "socketio": ("connect", "Handshake", "SessionReady"),
    "plain": ("auth", "Handshake", "Nothing"),
}


@pytest.mark.parametrize("door", list(OPENING))
async def test_a_door_takes_every_request_and_tells_every_event(town: Town, door: str) -> None:
    described = await fetched(town)
    requests = [one for one in registry().requests.values() if one.on_sockets]

    assert set(operations(described, door, "receive")) == {
        OPENING[door],
        *((one.name, one.schema.__name__, one.answer.__name__) for one in requests),
    }
    assert set(operations(described, door, "send")) == {
        (one.name, one.payload.__name__) for one in EVENTS
    }


def operations(described: dict[str, Any], door: str, action: str) -> Iterator[tuple[str, ...]]:
    """Yield what is asked or told at a door: its name, the schemas of its data and its answer."""
    for operation in described["operations"].values():
        if (operation["channel"]["$ref"], operation["action"]) != (f"#/channels/{door}", action):
            continue
        named = [*operation["messages"], *operation.get("reply", {}).get("messages", ())[:1]]
        messages = [found(described, found(described, one["$ref"])["$ref"]) for one in named]
        yield (messages[0]["name"], *(carried(one["payload"]) for one in messages))


def carried(payload: dict[str, Any]) -> str:
    """Return the name of the schema of the data, out of an answer and out of a frame."""
    body = payload.get("oneOf", [payload])[0]
    data = body.get("properties", {}).get("data", body)
    return str(data["$ref"]).rsplit("/", 1)[-1]


@pytest.mark.settings(http={"public_url": "https://chat.example.com"})
async def test_the_doors_are_where_people_reach_the_server(town: Town) -> None:
    servers = (await fetched(town))["servers"]

    assert servers["socketio"]["pathname"] == "/socket.io/"
    assert {(one["protocol"], one["host"]) for one in servers.values()} == {
        ("wss", "chat.example.com")
    }


ROLES = ("owner", "admin", "member", "author", "read_only")
ASKERS = (*ROLES, "outsider", "service")


async def test_who_may_ask_is_as_described(town: Town, backend: Person) -> None:
    described = (await fetched(town))["components"]["messages"]
    people = {name: await town.known(name) for name in (*ROLES, "outsider", "somebody")}
    people["service"] = backend
    fields = {"type": "group", "participant_ids": [*ROLES, "somebody"]}
    talk = await backend.post("conversations/create_with_participants/", fields)
    for name in ("owner", "admin", "read_only"):
        await backend.patch(f"conversations/{talk['id']}/participants/{name}/", {"role": name})
    devices = {name: await people[name].connects() for name in ASKERS}

    for asked in BY_SOCKET:
        may = set(described[f"socketio.{asked.replace(':', '_')}.request"]["x-asked-by"])
        did = set()
        for name, device in devices.items():
            answer = await device.answer(asked, await something(people, talk, asked, name))
            if answer["ok"]:
                did.add(name)
            else:
                assert answer["error"]["code"] in refusals(name)
        assert did == everybody(may), asked
    await town.quiet()
    for device in devices.values():
        device.is_checked = False


async def something(
    people: dict[str, Person], talk: dict[str, Any], asked: str, name: str
) -> dict[str, Any]:
    """Return what somebody can ask for, if they may; there is always something to take away."""
    message = {"id": "none"}
    if asked in ("message:edit", "message:delete"):
        message = await people["author"].says(talk, "Oops")
    elif asked == "participant:remove":
        members = f"conversations/{talk['id']}/participants/"
        await people["service"].post(members, {"user_ids": ["somebody"]})
    payload = complete(asked, About(talk["id"], message["id"], "somebody"))
    if asked == "auth:refresh":
        return {"token": people[name].fresh_token()}
    if (asked, name) == ("message:send", "service"):
        return {**payload, "type": "system"}
    return payload


def everybody(described: set[str]) -> set[str]:
    """Return who that is among our people, of whom the author is also a member."""
    if described == {"anybody"}:
        return set(ASKERS)
    return described | {"author"} if "member" in described else described


def refusals(name: str) -> tuple[str, ...]:
    """Return how somebody is refused; what the backend is no member of may not exist for it."""
    return {"outsider": ("not_found",), "service": ("not_found", "forbidden")}.get(
        name, ("forbidden",)
    )


async def test_an_event_that_nobody_described_does_not_pass_unnoticed(
    town: Town, ada: Person
) -> None:
    phone = await ada.connects()
    unread = {"total": 0, "conversations": 0}
    for name, data in (
        ("my:unread", unread),
        ("my:invented", {}),
        ("my:unread", {**unread, "total": "0"}),
        ("my:unread", {**unread, "invented": 1}),
        ("my:unread", {"total": 0}),
    ):
        town.node.bus.publish(Event(name, Room.USER, ada.id, data))
    assert len(await phone.heard()) == 5

    with pytest.raises(AssertionError) as noticed:
        contract.require_kept()

    for problem in ("my:invented is not described", "['total']", "'invented'", '"conversations"'):
        assert problem in str(noticed.value)
    assert str(noticed.value).count("my:unread") == 3
