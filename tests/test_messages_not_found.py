"""What an outsider asks about is answered as if it did not exist, byte for byte."""

from typing import Any

import pytest

from server.ids import new_id
from tests.asking import BY_REST, BY_SOCKET, About, complete, over_rest
from tests.people import Device, Person, Town

NOBODYS = About(new_id(), new_id())
# These name many conversations, or none: what is not the caller's is left out.
LEAVES_OUT = {"sync", "receipt:delivered"}


def names_an_id(name: str) -> bool:
    payload = complete(name, NOBODYS)
    return any(value in str(payload) for value in (NOBODYS.conversation_id, NOBODYS.message_id))


async def exchange(person: Person, method: str, path: str, body: Any) -> tuple[Any, ...]:
    """Ask by REST and return everything that came back but the time of day."""
    address = f"{person.town.url}/api/messaging/{path}"
    headers = {"Authorization": f"Bearer {person.token}"}
    async with person.town.http.request(method, address, json=body, headers=headers) as response:
        told = {key: value for key, value in response.headers.items() if key != "Date"}
        return response.status, await response.read(), told


async def packet(device: Device, name: str, payload: dict[str, Any]) -> str:
    """Ask by socket and return the text of the answer behind its number."""
    await device.answer(name, payload)
    return device.raw[-1].partition("[")[2]


async def outsiders(town: Town, ada: Person, bob: Person, cleo: Person) -> tuple[About, int]:
    """Make a conversation that eve was never in and that cleo was removed from."""
    talk = await ada.creates("group", bob, cleo)
    said = await ada.says(talk, "Between us")
    await ada.delete(f"conversations/{talk['id']}/participants/cleo/")
    return About(talk["id"], said["id"], "bob"), said["event_seq"] + 2


@pytest.mark.parametrize("name", [name for name in BY_REST if names_an_id(name)])
async def test_rest_hides_that_it_exists(
    town: Town, ada: Person, bob: Person, cleo: Person, eve: Person, name: str
) -> None:
    about, head = await outsiders(town, ada, bob, cleo)
    his = await bob.connects()
    nobodys = About(NOBODYS.conversation_id, NOBODYS.message_id, "bob")

    for person in (eve, cleo):
        real = [await exchange(person, *r) for r in over_rest(name, complete(name, about))]
        unreal = [await exchange(person, *r) for r in over_rest(name, complete(name, nobodys))]
        # What is left out may be named as it was asked for.
        asked, instead = about.conversation_id.encode(), nobodys.conversation_id.encode()
        assert [(s, body.replace(asked, instead), told) for s, body, told in real] == unreal
        assert [status for status, _, _ in real] == [200 if name in LEAVES_OUT else 404]

    await his.hears_nothing()
    assert (await ada.get(f"conversations/{about.conversation_id}/"))["head"] == head


@pytest.mark.parametrize("name", [name for name in BY_SOCKET if names_an_id(name)])
async def test_sockets_hide_that_it_exists(
    town: Town, ada: Person, bob: Person, cleo: Person, eve: Person, name: str
) -> None:
    about, head = await outsiders(town, ada, bob, cleo)
    his, outside, removed = await bob.connects(), await eve.connects(), await cleo.connects()
    nobodys = About(NOBODYS.conversation_id, NOBODYS.message_id, "bob")

    for device in (outside, removed):
        real = await packet(device, name, complete(name, about))
        unreal = await packet(device, name, complete(name, nobodys))
        assert real.replace(about.conversation_id, nobodys.conversation_id) == unreal
        assert ('"code":"not_found"' in real) == (name not in LEAVES_OUT)

    for device in (his, outside, removed):
        await device.hears_nothing()
    assert (await ada.get(f"conversations/{about.conversation_id}/"))["head"] == head


async def test_all_that_is_not_found_is_refused_in_the_same_words(
    ada: Person, bob: Person, eve: Person
) -> None:
    talk = await ada.creates("group", bob)
    members = f"conversations/{talk['id']}/participants"
    answers = [
        await exchange(ada, "DELETE", f"{members}/eve/", None),
        await exchange(ada, "DELETE", f"{members}/nobody/", None),
        await exchange(eve, "GET", f"conversations/{talk['id']}/", None),
        await exchange(eve, "GET", f"messages/{talk['id']}/", None),
        await exchange(eve, "GET", "no/such/path/", None),
    ]
    assert all(answer == answers[0] for answer in answers)
    assert answers[0][0] == 404
