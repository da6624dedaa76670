"""The list: newest activity on top, pinned above, filtered, page by page."""

from itertools import count
from typing import Any

import pytest
from yarl import URL

from server import clock
from server.actions import conversations
from tests.people import Person, Refused, Town

CLOCKS = [f"server.journal.{name}.now_ms" for name in ("numbers", "postgres", "sqlite")]


@pytest.fixture(autouse=True)
def ticking(monkeypatch: pytest.MonkeyPatch) -> None:
    """Never show the same millisecond twice, so that activity has one order."""
    ticks = count(clock.now_ms())
    for clock_ in CLOCKS:
        monkeypatch.setattr(clock_, lambda: next(ticks))
    monkeypatch.setattr(conversations, "now_ms", lambda: next(ticks))


async def titles(person: Person, query: str = "") -> list[str]:
    """Return what a person's list shows, by the letters their conversations have as titles."""
    page = await person.get(f"conversations/{query}")
    return [talk["title"] for talk in page["results"]]


def asked(**query: str | int) -> str:
    """Return the part of an address behind the path."""
    return str(URL("").with_query(query))


async def groups(owner: Person, *others: Person, letters: str) -> dict[str, Any]:
    return {letter: await owner.creates("group", *others, title=letter) for letter in letters}


async def test_the_newest_activity_stands_on_top(ada: Person, bob: Person, eve: Person) -> None:
    talks = await groups(ada, bob, letters="abc")
    assert await titles(ada) == ["c", "b", "a"]

    await bob.says(talks["a"], "Back to the first")

    assert await titles(ada) == await titles(bob) == ["a", "c", "b"]
    assert await titles(eve) == []


async def test_reading_typing_and_pinning_are_no_activity(ada: Person, bob: Person) -> None:
    talks = await groups(ada, bob, letters="abc")
    his = await bob.connects()

    await bob.post(f"conversations/{talks['a']['id']}/mark_read/")
    await his.asks("typing:start", conversation_id=talks["a"]["id"])
    await his.asks("conversation:update_my", conversation_id=talks["b"]["id"], is_pinned=True)

    assert await titles(ada) == ["c", "b", "a"]
    assert await titles(bob) == ["b", "c", "a"]
    await his.heard()


async def test_a_conversation_in_the_list_is_the_conversation(ada: Person, bob: Person) -> None:
    talk = await ada.creates("direct", bob, initial_message={"content": "Hello"})

    (listed,) = (await bob.get("conversations/"))["results"]

    assert listed == await bob.get(f"conversations/{talk['id']}/")
    assert (listed["my"]["unread_count"], listed["last_message"]["is_read"]) == (1, False)


async def test_the_archive_is_a_list_of_its_own(ada: Person, bob: Person) -> None:
    talks = await groups(ada, bob, letters="abc")
    await ada.post(f"conversations/{talks['b']['id']}/archive/")

    assert await titles(ada) == await titles(ada, "?archived=false") == ["c", "a"]
    assert await titles(ada, "?archived=true") == ["b"]
    assert await titles(bob) == ["c", "b", "a"]
    await bob.says(talks["b"], "Come back")
    assert await titles(ada) == ["b", "c", "a"]
    assert await titles(ada, "?archived=true") == []


async def test_a_list_can_be_narrowed_by_what_the_application_knows(
    ada: Person, bob: Person
) -> None:
    await ada.creates("group", bob, title="a", client="c-1", property="p-1")
    await ada.creates("client_agent", bob, title="b", client="c-1")
    await ada.creates("group", bob, title="c", property="p-1")

    assert await titles(ada, "?client=c-1") == ["b", "a"]
    assert await titles(ada, "?property=p-1") == ["c", "a"]
    assert await titles(ada, "?client=c-1&property=p-1") == ["a"]
    assert await titles(ada, "?type=client_agent") == ["b"]
    assert await titles(ada, "?type=direct") == await titles(ada, "?client=c-%25") == []


async def test_a_list_can_be_narrowed_to_what_is_unread(ada: Person, bob: Person) -> None:
    talks = await groups(ada, bob, letters="abc")
    her = await ada.connects()
    await bob.says(talks["a"], "Hello")
    await her.asks("conversation:update_my", conversation_id=talks["b"]["id"], marked_unread=True)

    assert await titles(ada, "?unread=true") == ["a", "b"]
    assert await titles(ada, "?unread=false") == ["c"]
    assert await titles(bob, "?unread=true") == []
    await her.heard()


@pytest.mark.parametrize(
    "q", ["reunion", "RÉUNION", "Réu", "réunion d'été", "ETE", "Re\u0301union"]
)
async def test_a_title_is_found_without_regard_to_case_and_accents(
    town: Town, ada: Person, bob: Person, q: str
) -> None:
    await ada.creates("group", bob, title="Réunion d'été")
    await ada.creates("group", bob, title="Union")

    found = await titles(ada, asked(q=q))

    assert found == ["Réunion d'été"]


@pytest.mark.parametrize(
    ("q", "found"), [("LÉA", ["a"]), ("lea b", ["a"]), ("7", ["a"]), ("ada", [])]
)
async def test_the_others_in_a_conversation_are_found_by_name_and_id(
    town: Town, ada: Person, bob: Person, q: str, found: list[str]
) -> None:
    lea = await town.known("user-7", name="Léa Bénard")
    await ada.creates("group", lea, bob, title="a")
    gone = await ada.creates("group", lea, bob, title="b")
    await lea.post(f"conversations/{gone['id']}/leave/")

    assert await titles(ada, asked(q=q)) == found


@pytest.mark.parametrize("q", ["%", "_", "!", "100%"])
async def test_signs_that_databases_read_otherwise_are_searched_as_they_are(
    ada: Person, bob: Person, q: str
) -> None:
    await ada.creates("group", bob, title="plain")
    title = "100% of_it!"
    await ada.creates("group", bob, title=title)

    assert await titles(ada, asked(q=q)) == [title]


async def test_a_new_title_is_what_is_found(ada: Person, bob: Person) -> None:
    talk = await ada.creates("group", bob, title="Avant")

    await ada.patch(f"conversations/{talk['id']}/", {"title": "Après"})

    assert (await titles(ada, "?q=avant"), await titles(ada, "?q=apres")) == ([], ["Après"])
    await ada.patch(f"conversations/{talk['id']}/", {"title": None})
    assert await titles(ada, "?q=apres") == []


async def walk(person: Person, path: str) -> list[list[str]]:
    """Follow `next` as it was given, to the last page."""
    pages: list[list[str]] = []
    address: str | None = f"/api/messaging/conversations/{path}"
    while address is not None:
        page = await person.get(address)
        pages.append([talk["title"] for talk in page["results"]])
        assert (page["next"] is None) == (page["next_cursor"] is None)
        address = page["next"]
        if address is not None:
            assert address.startswith(f"{person.town.url}/api/messaging/conversations/?")
            address = address.removeprefix(person.town.url)
    return pages


async def test_pages_have_no_doubles_and_no_gaps(ada: Person, bob: Person) -> None:
    talks = await groups(ada, bob, letters="abcdefg")
    her = await ada.connects()
    for letter in "bf":
        id_ = talks[letter]["id"]
        await her.asks("conversation:update_my", conversation_id=id_, is_pinned=True)

    whole = ["f", "b", "g", "e", "d", "c", "a"]
    assert await titles(ada) == whole
    assert await walk(ada, "?limit=3") == [whole[:3], whole[3:6], whole[6:]]
    assert await walk(ada, "?limit=1") == [[letter] for letter in whole]
    assert await walk(ada, "?limit=7") == [whole]
    await her.heard()


async def test_pages_of_a_narrowed_list_stay_narrowed(ada: Person, bob: Person) -> None:
    for name in ("Été 1", "Hiver", "Été 2", "Été 3"):
        await ada.creates("group", bob, title=name, client="a & b")

    query = asked(q="été", client="a & b", limit=2)

    assert await walk(ada, query) == [["Été 3", "Été 2"], ["Été 1"]]


async def test_conversations_of_one_moment_are_paged_without_loss(
    ada: Person, bob: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = clock.now_ms()
    for clock_ in CLOCKS:
        monkeypatch.setattr(clock_, lambda: now)
    monkeypatch.setattr(conversations, "now_ms", lambda: now)
    await groups(ada, bob, letters="abcde")

    pages = await walk(ada, "?limit=2")
    assert sorted(letter for page in pages for letter in page) == list("abcde")


@pytest.mark.parametrize("cursor", ["x", "2.5.id", "0.-1.id", "0.5.", "0.99999999999999999.id"])
async def test_a_cursor_that_was_never_given_out_is_refused(ada: Person, cursor: str) -> None:
    with pytest.raises(Refused) as no:
        await ada.get(f"conversations/?cursor={cursor}")

    assert (no.value.code, no.value.fields) == ("validation_failed", ["cursor"])


async def test_the_backend_has_no_list_of_its_own(
    ada: Person, bob: Person, backend: Person
) -> None:
    talk = await backend.creates("group", ada, bob, title="a")

    assert await titles(backend) == []
    assert (await backend.get(f"conversations/{talk['id']}/"))["my"] is None


async def test_a_closed_conversation_stays_in_the_list(ada: Person, bob: Person) -> None:
    talk = await ada.creates("group", bob, title="a")

    await ada.patch(f"conversations/{talk['id']}/", {"is_active": False})

    assert await titles(bob) == ["a"]
