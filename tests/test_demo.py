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


async def test_each_link_logs_in_the_person_it_names(
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


async def test_a_phone_gets_links_with_the_address_of_this_machine(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    arguments = ("--demo", "--host", "0.0.0.0")  # noqa: S104 - what the test is about
    async with serve(*arguments, cwd=tmp_path, environment=environment) as process:
        hosts = [link.hostname for _, link in await printed(process, 8)]
        assert hosts[:4] == ["localhost"] * 4
        assert len(set(hosts[4:])) == 1
        assert hosts[4] not in ("localhost", "0.0.0.0", "127.0.0.1")  # noqa: S104 - as above


async def test_only_the_demo_lets_pages_of_localhost_in(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    origin = {"Origin": "http://localhost:5173"}
    secret = {"PALABRE_AUTH__SECRET": "a secret of the tests, long enough"}
    statuses = []
    for arguments, given in ((["--demo"], {}), ([], secret)):
        async with (
            serve(*arguments, cwd=tmp_path, environment=environment | given) as process,
            aiohttp.ClientSession() as http,
            http.get(f"{process.url}/healthz", headers=origin) as response,
        ):
            statuses.append(response.status)
    assert statuses == [200, 403]


async def test_without_the_demo_there_are_no_people_no_links_and_no_secret(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    given = environment | {"PALABRE_AUTH__SECRET": "a secret of the tests, long enough"}
    async with serve(cwd=tmp_path, environment=given) as process:
        assert process.out == []
        assert not (tmp_path / "data" / "demo-secret").exists()


# Most of the story is told without pictures, which take a second.
WITHOUT_FILES = pytest.mark.settings(limits={"attachments_per_message": 0})

Fill = Callable[[], Awaitable[None]]


@pytest.fixture
def fill(town: Town) -> Fill:
    return lambda: demo.fill(town.node.dispatcher, town.node.intake)


@pytest.fixture
async def residents(town: Town, fill: Fill) -> dict[str, Person]:
    """The people of the demo, in a town that has just been filled."""
    await fill()
    return {
        user_id: town.person(user_id, name=person["name"], role=UserRole(person["role"]))
        for user_id, person in PEOPLE.items()
    }


@WITHOUT_FILES
async def test_the_town_has_four_people_six_conversations_and_two_hundred_messages(
    residents: dict[str, Person],
) -> None:
    kinds: dict[str, str] = {}
    said: dict[str, Any] = {}
    for person in residents.values():
        for id_, talk in (await all_conversations(person)).items():
            kinds[id_] = talk["type"]
            said |= {m["id"]: m for m in await all_messages(person, id_) if m["type"] == "text"}
    assert len(residents) == 4
    assert len(kinds) == 6
    assert set(kinds.values()) == {"direct", "group", "client_agent", "agent_agent"}
    assert len(said) == 200
    assert sum(m["is_edited"] for m in said.values()) == 2
    assert sum(m["is_deleted"] for m in said.values()) == 1


async def test_what_was_said_later_has_the_higher_number_and_nothing_is_in_the_future(
    residents: dict[str, Person],
) -> None:
    for person in residents.values():
        for id_, talk in (await all_conversations(person)).items():
            messages = await all_messages(person, id_)
            times = [message["created_at"] for message in messages]
            assert times == sorted(set(times))
            assert talk["created_at"] < times[0]
            changes = [m[name] for m in messages for name in ("edited_at", "deleted_at")]
            assert all(at <= times[-1] for at in changes if at is not None)


@WITHOUT_FILES
async def test_the_town_lived_for_days_before_it_was_visited(residents: dict[str, Person]) -> None:
    days = set()
    for person in residents.values():
        for id_ in await all_conversations(person):
            days |= {m["created_at"][:10] for m in await all_messages(person, id_)}
    assert len(days) >= 9


@WITHOUT_FILES
async def test_everybody_has_read_as_much_as_the_story_says(residents: dict[str, Person]) -> None:
    for user_id, person in residents.items():
        talks = await all_conversations(person)
        unread = {t["external_id"]: t["my"]["unread_count"] for t in talks.values()}
        assert unread == {
            key: talk.get("unread", {}).get(user_id, 0)
            for key, talk in TALKS.items()
            if user_id in talk["people"]
        }


@WITHOUT_FILES
async def test_one_conversation_is_closed_put_away_and_another_one_pinned(
    residents: dict[str, Person],
) -> None:
    talks = (await all_conversations(residents["emma"])).values()
    assert [t["title"] for t in talks if not t["is_active"]] == ["Studio, 4 rue Mazarine"]
    assert [t["title"] for t in talks if t["my"]["is_archived"]] == ["Studio, 4 rue Mazarine"]
    assert [t["title"] for t in talks if t["my"]["is_pinned"]] == ["Emma's flat hunt"]


@WITHOUT_FILES
async def test_the_newest_conversation_is_on_top(residents: dict[str, Person]) -> None:
    page = await residents["camille"].get("conversations/")
    spoken = [talk["last_message"]["created_at"] for talk in page["results"]]
    assert spoken == sorted(spoken, reverse=True)


@WITHOUT_FILES
async def test_a_search_shows_what_was_said_last_first(residents: dict[str, Person]) -> None:
    page = await residents["hugo"].get("messages/?limit=100")
    times = [message["created_at"] for message in page["results"]]
    assert len({message["conversation_id"] for message in page["results"]}) > 2
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


async def test_they_show_each_other_pictures_and_a_document(
    residents: dict[str, Person],
) -> None:
    shown: dict[str, list[dict[str, Any]]] = {}
    for id_ in await all_conversations(residents["hugo"]):
        for message in await all_messages(residents["hugo"], id_):
            for file in message["attachments"]:
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


async def _numbers(person: Person) -> dict[str, tuple[int, int]]:
    talks = await all_conversations(person)
    return {id_: (talk["last_seq"], talk["head"]) for id_, talk in talks.items()}


async def test_the_town_is_there_within_two_seconds(fill: Fill) -> None:
    started = time.process_time()
    await fill()
    # The processor's time, because other tests run on this machine too.
    assert time.process_time() - started < 2
