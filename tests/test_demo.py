"""`serve --demo`: four people, six conversations, and links that let a visitor be each of them."""

import time
import tomllib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

import aiohttp
import pytest

from server import demo
from server.models import Installation
from server.schemas.values import UserRole
from tests.people import Person, Town, all_conversations, all_messages
from tests.process import Process, serve

SCRIPT = tomllib.loads(Path(demo.__file__).with_name("demo.toml").read_text(encoding="utf-8"))
TALKS = {f"demo-{talk['key']}": talk for talk in SCRIPT["conversations"]}
PEOPLE: dict[str, dict[str, str]] = SCRIPT["people"]


@pytest.fixture
def environment(database_url: str) -> dict[str, str]:
    # Pictures take a second, and each of these tests starts the demo anew.
    return {"PALABRE_DATABASE__URL": database_url, "PALABRE_LIMITS__ATTACHMENTS_PER_MESSAGE": "0"}


async def printed(process: Process, count: int = 4) -> list[tuple[str, SplitResult]]:
    """Wait for the links, which are printed at once, and return each with whom it names."""
    await process.until(lambda: sum("#token=" in line for line in process.out) == count)
    lines = [line.strip().split(": ", 1) for line in process.out if "#token=" in line]
    return [(named, urlsplit(link)) for named, link in lines]


async def tokens(process: Process) -> list[str]:
    return [link.fragment.removeprefix("token=") for _, link in await printed(process)]


async def fetched(process: Process, path: str, token: str) -> Any:
    headers = {"Authorization": f"Bearer {token}"}
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"{process.url}/api/messaging/{path}", headers=headers) as response,
    ):
        assert response.status == 200
        return await response.json()


@pytest.mark.one_database
async def test_each_link_logs_in_the_person_it_names_also_from_pages_of_localhost(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    async with serve("--demo", cwd=tmp_path, environment=environment) as process:
        named = [who for who, _ in await printed(process)]
        assert named == [f"{person['name']}, {person['role']}" for person in PEOPLE.values()]
        places = {(link.hostname, link.port, link.query) for _, link in await printed(process)}
        assert places == {("localhost", process.port, "")}
        for user_id, token in zip(PEOPLE, await tokens(process), strict=True):
            me = await fetched(process, "me/", token)
            assert me == PEOPLE[user_id] | {"id": user_id, "avatar_url": None, "metadata": {}}
        assert await status_for_a_page_of_localhost(process) == 200


async def status_for_a_page_of_localhost(process: Process) -> int:
    origin = {"Origin": "http://localhost:5173"}
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"{process.url}/healthz", headers=origin) as response,
    ):
        return response.status


async def test_a_second_start_keeps_people_secret_and_messages(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    async with serve("--demo", cwd=tmp_path, environment=environment) as first:
        token = (await tokens(first))[0]
        before = await fetched(first, "conversations/", token)
        assert await first.stops() == 0
    async with serve("--demo", cwd=tmp_path, environment=environment) as second:
        assert await fetched(second, "conversations/", token) == before
        assert len(await tokens(second)) == 4


@pytest.mark.one_database
async def test_a_phone_gets_links_with_the_address_of_this_machine(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    arguments = ("--demo", "--host", "0.0.0.0")  # noqa: S104 - what the test is about
    async with serve(*arguments, cwd=tmp_path, environment=environment) as process:
        hosts = [link.hostname for _, link in await printed(process, 8)]
        assert hosts[:4] == ["localhost"] * 4
        assert len(set(hosts[4:])) == 1
        assert hosts[4] not in ("localhost", "0.0.0.0", "127.0.0.1")  # noqa: S104 - as above


@pytest.mark.one_database
async def test_without_the_demo_there_are_no_people_links_or_secret_and_no_page_of_localhost(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    given = environment | {"PALABRE_AUTH__SECRET": "a secret of the tests, long enough"}
    async with serve(cwd=tmp_path, environment=given) as process:
        assert process.out == []
        assert not (tmp_path / "data" / "demo-secret").exists()
        assert await status_for_a_page_of_localhost(process) == 403


# Most of the story is told without pictures, which take a second.
WITHOUT_FILES = pytest.mark.settings(limits={"attachments_per_message": 0})

Fill = Callable[[], Awaitable[None]]


@pytest.fixture
def fill(town: Town) -> Fill:
    return lambda: demo.fill(town.node.dispatcher, town.node.intake)


def people_of(town: Town) -> dict[str, Person]:
    return {
        user_id: town.person(user_id, name=person["name"], role=UserRole(person["role"]))
        for user_id, person in PEOPLE.items()
    }


@pytest.fixture
async def residents(town: Town, fill: Fill) -> dict[str, Person]:
    """The people of the demo, in a town that has just been filled."""
    await fill()
    return people_of(town)


@WITHOUT_FILES
async def test_the_town_has_four_people_six_conversations_and_two_hundred_messages_of_some_days(
    residents: dict[str, Person],
) -> None:
    kinds: dict[str, str] = {}
    said: dict[str, Any] = {}
    days = set()
    for person in residents.values():
        for id_, talk in (await all_conversations(person)).items():
            kinds[id_] = talk["type"]
            messages = await all_messages(person, id_)
            said |= {m["id"]: m for m in messages if m["type"] == "text"}
            days |= {m["created_at"][:10] for m in messages}
    assert len(residents) == 4
    assert len(kinds) == 6
    assert set(kinds.values()) == {"direct", "group", "client_agent", "agent_agent"}
    assert len(said) == 200
    assert sum(m["is_edited"] for m in said.values()) == 2
    assert sum(m["is_deleted"] for m in said.values()) == 1
    assert len(days) >= 9


@WITHOUT_FILES
async def test_everybody_finds_the_conversations_as_the_story_left_them(
    residents: dict[str, Person],
) -> None:
    listed = {user_id: await all_conversations(person) for user_id, person in residents.items()}
    for user_id, talks in listed.items():
        unread = {t["external_id"]: t["my"]["unread_count"] for t in talks.values()}
        assert unread == {
            key: talk.get("unread", {}).get(user_id, 0)
            for key, talk in TALKS.items()
            if user_id in talk["people"]
        }

    emmas = listed["emma"].values()
    assert [t["title"] for t in emmas if not t["is_active"]] == ["Studio, 4 rue Mazarine"]
    assert [t["title"] for t in emmas if t["my"]["is_archived"]] == ["Studio, 4 rue Mazarine"]
    assert [t["title"] for t in emmas if t["my"]["is_pinned"]] == ["Emma's flat hunt"]

    # What was said last is on top, in the list and in a search.
    page = await residents["camille"].get("conversations/")
    spoken = [talk["last_message"]["created_at"] for talk in page["results"]]
    assert spoken == sorted(spoken, reverse=True)
    found = await residents["hugo"].get("messages/?limit=100")
    times = [message["created_at"] for message in found["results"]]
    assert len({message["conversation_id"] for message in found["results"]}) > 2
    assert times == sorted(times, reverse=True)


@WITHOUT_FILES
async def test_filling_again_says_nothing_twice(residents: dict[str, Person], fill: Fill) -> None:
    before = {id_: await all_conversations(p) for id_, p in residents.items()}
    await fill()
    assert {id_: await all_conversations(p) for id_, p in residents.items()} == before


async def test_a_start_that_was_broken_off_is_finished_by_the_next(
    residents: dict[str, Person], fill: Fill
) -> None:
    before = {id_: await _numbers(p) for id_, p in residents.items()}
    await Installation.filter(key="demo").delete()
    await fill()
    assert {id_: await _numbers(p) for id_, p in residents.items()} == before
    assert await Installation.exists(key="demo")


@pytest.mark.one_database
async def test_within_two_seconds_they_show_pictures_and_a_document_and_all_in_its_order(
    town: Town, fill: Fill
) -> None:
    # The processor's time, because other tests run on this machine too.
    started = time.process_time()
    await fill()
    took = time.process_time() - started

    residents = people_of(town)
    shown: dict[str, list[dict[str, Any]]] = {}
    for user_id, person in residents.items():
        for id_, talk in (await all_conversations(person)).items():
            messages = await all_messages(person, id_)
            must_be_in_order(talk, messages)
            if user_id == "hugo":
                for file in (file for message in messages for file in message["attachments"]):
                    shown.setdefault(file["name"], []).append(file)

    assert {name: files[0]["kind"] for name, files in shown.items()} == {
        "salon.jpg": "image",
        "cuisine.jpg": "image",
        "balcon.jpg": "image",
        "projet-de-compromis.pdf": "file",
    }
    assert [len(shown["balcon.jpg"]), len(shown["cuisine.jpg"])] == [2, 1]
    assert all(file["state"] == "ready" for files in shown.values() for file in files)
    assert all(one["blurhash"] and one["thumbnails"] for one in shown["balcon.jpg"])
    assert took < 2


def must_be_in_order(talk: dict[str, Any], messages: list[dict[str, Any]]) -> None:
    """What was said later has the higher number, and nothing is in the future."""
    times = [message["created_at"] for message in messages]
    assert times == sorted(set(times))
    assert talk["created_at"] < times[0]
    changes = [m[name] for m in messages for name in ("edited_at", "deleted_at")]
    assert all(at <= times[-1] for at in changes if at is not None)


async def _numbers(person: Person) -> dict[str, tuple[int, int]]:
    talks = await all_conversations(person)
    return {id_: (talk["last_seq"], talk["head"]) for id_, talk in talks.items()}
