"""The directory: whom a person may find, and how."""

import pytest

from server.schemas.values import UserRole
from tests.people import Person, Town


async def finds(person: Person, query: str = "") -> list[str]:
    return [user["id"] for user in (await person.get(f"users/{query}"))["results"]]


@pytest.fixture
async def street(
    town: Town, ada: Person, bob: Person, cleo: Person, eve: Person, backend: Person
) -> dict[str, list[str]]:
    """Bob talks to Ada and once talked to Cleo; nobody talks to Eve."""
    await ada.creates("direct", bob)
    once = await bob.creates("group", cleo)
    await bob.post(f"conversations/{once['id']}/leave/")
    people = {"ada": ada, "bob": bob, "eve": eve, "backend": backend}
    return {name: await finds(person) for name, person in people.items()}


async def test_agents_see_everyone_and_clients_their_contacts(
    street: dict[str, list[str]], root: Person
) -> None:
    assert street == {
        "ada": ["bob", "cleo", "eve"],
        "bob": ["ada"],
        "eve": [],
        "backend": ["ada", "bob", "cleo", "eve"],
    }
    assert await finds(root) == ["ada", "bob", "cleo", "eve"]


@pytest.mark.settings(users={"directory": "everyone"})
async def test_everyone_may_see_everyone(street: dict[str, list[str]]) -> None:
    assert street["bob"] == ["ada", "cleo", "eve"]
    assert street["eve"] == ["ada", "bob", "cleo"]


@pytest.mark.settings(users={"directory": "contacts"})
async def test_everyone_may_see_their_contacts_only(street: dict[str, list[str]]) -> None:
    assert street == {
        "ada": ["bob"],
        "bob": ["ada"],
        "eve": [],
        "backend": ["ada", "bob", "cleo", "eve"],
    }


@pytest.mark.settings(users={"directory": "nobody"})
async def test_nobody_may_see_anybody_but_the_backend(street: dict[str, list[str]]) -> None:
    assert street == {
        "ada": [],
        "bob": [],
        "eve": [],
        "backend": ["ada", "bob", "cleo", "eve"],
    }


@pytest.mark.parametrize(
    ("q", "found"),
    [
        ("lea", ["7"]),
        ("L%C3%89A", ["7"]),
        ("Be%CC%81nard", ["7"]),
        ("7", ["7"]),
        ("%25", []),
        ("_", []),
        ("a%20b", ["7"]),
        ("stra%C3%9Fe", ["8"]),
        ("STRASSE", ["8"]),
    ],
)
async def test_people_are_found_by_name_and_id(
    town: Town, ada: Person, q: str, found: list[str]
) -> None:
    await town.known("7", name="Léa Bénard")
    await town.known("8", name="Straße")

    assert await finds(ada, f"?q={q}") == found


async def test_a_list_of_people_is_by_name_and_as_long_as_asked(town: Town, ada: Person) -> None:
    for id_, name in (("1", "Émile"), ("2", "anna"), ("3", "Zoé"), ("4", "Bert")):
        await town.known(id_, name=name)

    assert await finds(ada) == ["2", "4", "1", "3"]
    assert await finds(ada, "?limit=2") == ["2", "4"]


async def test_a_person_without_a_role_sees_contacts(town: Town, ada: Person) -> None:
    zoe = await town.known("zoe")
    assert await finds(zoe) == []

    await ada.creates("direct", zoe)

    assert await finds(zoe) == ["ada"]


async def test_the_role_of_the_token_opens_the_directory(town: Town, ada: Person) -> None:
    zoe = await town.known("zoe", role=UserRole.AGENT)

    assert await finds(zoe) == ["ada"]
