"""What others hold locked in PostgreSQL, and connections that break in the middle of a commit.

These are about rows and networks that SQLite does not have, so they bring a PostgreSQL along.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest

from server.errors import ClientError
from tests.eventually import becomes
from tests.people import WITHIN_S, Person, Town
from tests.proxy import Proxy, proxied
from tests.refusals import refused
from tests.test_journal import node
from tests.test_requests_order import send

pytestmark = [pytest.mark.one_database, pytest.mark.usefixtures("two_dialects")]


@pytest.fixture(scope="session")
def database_kind() -> str:
    return "postgres"


@asynccontextmanager
async def psql(town: Town) -> AsyncIterator[asyncpg.Connection]:
    """Be an operator who looks around in a transaction and forgets to end it."""
    connection = await asyncpg.connect(town.settings.database.url)
    try:
        async with connection.transaction():
            yield connection
    finally:
        await connection.close()


async def test_a_locked_conversation_never_stops_the_others(
    town: Town, ada: Person, bob: Person, cleo: Person
) -> None:
    stuck = [await ada.creates("group", bob, cleo) for _ in range(3)]
    free = await ada.creates("group", bob, cleo)
    phone, laptop, his, hers = (
        await ada.connects(),
        await ada.connects(),
        await bob.connects(),
        await cleo.connects(),
    )
    async with psql(town) as operator:
        await operator.fetch(
            "SELECT 1 FROM conversations WHERE id = ANY ($1) FOR UPDATE",
            [talk["id"] for talk in stuck[:2]],
        )
        # And what only one of its senders needs.
        await operator.fetch(
            "SELECT 1 FROM participants WHERE conversation_id = $1 AND user_id = 'bob' FOR UPDATE",
            stuck[2]["id"],
        )
        waiting = [
            asyncio.create_task(phone.says(stuck[0], "one")),
            asyncio.create_task(laptop.says(stuck[1], "two")),
            asyncio.create_task(his.says(stuck[2], "three")),
        ]
        # Longer than anybody waits for a lock at a time.
        async with asyncio.timeout(WITHIN_S):
            before = asyncio.get_running_loop().time()
            many = 0
            while many < 10 or asyncio.get_running_loop().time() < before + 1.5:
                await hers.says(free, "free")
                await hers.says(stuck[2], "free too")
                many += 1
        # All of that takes less than anybody waits for a lock in all.
        assert [task.done() for task in waiting] == [False] * 3

    said = await asyncio.gather(*waiting)
    first = [talk["last_seq"] + 1 for talk in stuck]
    assert [message["seq"] for message in said] == [first[0], first[1], first[2] + many]
    for device in (phone, laptop, his, hers):
        assert len(await device.heard()) == 2 * many + 3


async def test_what_was_decided_while_a_send_waited_counts(
    town: Town, ada: Person, bob: Person, cleo: Person
) -> None:
    """The membership that a send is judged by is the one after the lock, not before it."""
    talk, other = [await ada.creates("group", bob, cleo) for _ in range(2)]
    async with node(town) as here:
        async with psql(town) as operator:
            await operator.execute(
                "UPDATE participants SET is_active = false "
                "WHERE conversation_id = $1 AND user_id = 'bob'",
                talk["id"],
            )
            await operator.fetch("SELECT 1 FROM conversations FOR UPDATE")
            await operator.execute(
                "UPDATE conversations SET is_active = false WHERE id = $1", other["id"]
            )
            waiting = [
                asyncio.ensure_future(here.says(bob, talk, "removed")),
                asyncio.ensure_future(here.says(cleo, other, "closed")),
                asyncio.ensure_future(here.says(cleo, talk, "stays")),
            ]
            # Until both locks are waited for, which is what the next sends have to queue behind.
            async with asyncio.timeout(WITHIN_S):
                while await _waiters(town) < 2:
                    pass
        removed, closed, stays = await asyncio.gather(*waiting)

    assert (removed, closed) == (None, None)
    assert stays["message"]["seq"] == talk["last_seq"] + 1
    no = await refused(bob.says(talk, "And now?"))
    assert no.code == "not_found"
    assert (await refused(cleo.says(other, "And now?"))).code == "conversation_closed"
    assert [event.target for event in here.told] == [talk["id"]]


async def _waiters(town: Town) -> int:
    connection = await asyncpg.connect(town.settings.database.url)
    try:
        count: int = await connection.fetchval(
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
    finally:
        await connection.close()
    return count


# The network


@pytest.fixture
async def network(database_url: str) -> AsyncIterator[Proxy]:
    """What lies between the server and its database."""
    async with proxied(urlsplit(database_url).port or 5432) as proxy:
        yield proxy


@pytest.fixture
async def settings(settings: Any, network: Proxy) -> Any:
    """The settings of a server that reaches its database over the network."""
    address = urlsplit(settings.database.url)
    own, port = address.netloc.rpartition(":")[0], urlsplit(network.url).port
    url = address._replace(netloc=f"{own}:{port}").geturl()
    database = settings.database.model_copy(update={"url": url})
    return settings.model_copy(update={"database": database})


LINGERING = """
CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM pg_advisory_xact_lock(7); RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER lingers AFTER UPDATE ON messages DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION linger();
"""
WAITING = "SELECT EXISTS (SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted)"


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody compare heads unless there is a reason."""
    monkeypatch.setattr("server.realtime.heads.HEADS_EVERY_S", 60)


async def test_a_commit_that_nobody_confirmed_is_told_and_found_again(
    unhurried: None, town: Town, network: Proxy, database_url: str, ada: Person, bob: Person
) -> None:
    talk = await ada.creates("direct", bob)
    her, his = await ada.connects(), await bob.connects()
    connection = await asyncpg.connect(database_url)
    payload = send(talk, "Was that stored?")
    try:
        for number in range(1, 4):
            network.withhold()
            asked = asyncio.create_task(her.answer("message:send", payload))
            async with asyncio.timeout(WITHIN_S):
                while await connection.fetchval("SELECT count(*) FROM messages") < number:
                    pass
            network.cut()
            answer = await asked
            network.restore()
            assert answer["error"]["code"] == "unavailable"

            # Everybody hears of it all the same, and asking again finds it.
            for device in (her, his):
                heard = await device.hears("message:created")
                assert heard["message"]["content"] == payload["content"]
            again = await _until_there(her, payload)
            assert (again["duplicate"], again["message"]["seq"]) == (True, number)
            payload = send(talk, f"And number {number}?")
    finally:
        await connection.close()
    assert (await _until_there(his, send(talk, "Yes")))["message"]["seq"] == 4
    await her.hears("message:created")
    await his.hears("message:created")


async def test_a_change_that_nobody_confirmed_is_told_at_once(
    unhurried: None, town: Town, network: Proxy, database_url: str, ada: Person, bob: Person
) -> None:
    talk = await ada.creates("direct", bob)
    her, his = await ada.connects(), await bob.connects()
    said = await her.says(talk, "Teh word")
    await town.quiet()

    answer = await _unconfirmed(
        her.answer("message:edit", {"message_id": said["id"], "content": "The word"}),
        network,
        database_url,
    )

    assert answer["error"]["code"] == "unavailable"
    for device in (her, his):
        heard = await device.hears("message:updated")
        assert heard["message"]["content"] == "The word"


async def _unconfirmed(asking: Any, network: Proxy, database_url: str) -> Any:
    """Ask for an edit whose COMMIT takes as long as we like, and whose confirmation is lost."""
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute(LINGERING)
        await connection.execute("SELECT pg_advisory_lock(7)")
        asked = asyncio.create_task(asking)
        async with asyncio.timeout(WITHIN_S):
            while not await connection.fetchval(WAITING):
                pass
            network.withhold()
            await connection.execute("SELECT pg_advisory_unlock(7)")
            while await connection.fetchval("SELECT max(version) FROM messages") < 2:
                pass
        network.cut()
        answer = await asked
        network.restore()
    finally:
        await connection.close()
    return answer


async def _until_there(device: Any, payload: dict[str, Any]) -> dict[str, Any]:
    """Ask again with the same id, as clients do, for the five seconds that are promised."""
    async with asyncio.timeout(5):
        while True:
            answer = await device.answer("message:send", payload)
            if answer["ok"]:
                data: dict[str, Any] = answer["data"]
                return data
            assert answer["error"]["code"] == "unavailable"


async def test_a_database_that_says_nothing_keeps_nobody_waiting_for_ever(
    town: Town, network: Proxy, ada: Person, bob: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.journal.postgres._ANSWER_S", 1.0)
    monkeypatch.setattr("server.journal.postgres._CONNECT_S", 1.0)
    talk = await ada.creates("direct", bob)
    async with node(town) as here:
        await here.says(ada, talk, "before")
        network.freeze()
        answers = await asyncio.gather(
            *(here.says(person, talk, f"{n}") for n in range(5) for person in (ada, bob)),
            return_exceptions=True,
        )
        assert {error.code for error in answers if isinstance(error, ClientError)} == {
            "unavailable"
        }
        assert all(isinstance(error, ClientError) for error in answers)
        await becomes(lambda: here.journal._is_away)
        with pytest.raises(ClientError, match="not available"):
            await here.says(ada, talk, "away")
        network.restore()
        await becomes(lambda: not here.journal._is_away)
        assert (await here.says(ada, talk, "back"))["message"]["content"] == "back"


async def test_a_locked_membership_keeps_nobody_else_from_reading(
    town: Town, ada: Person, bob: Person, cleo: Person
) -> None:
    talk = await ada.creates("group", bob, cleo)
    seq = (await ada.says(talk, "Who reads this?"))["seq"]
    his, hers = await bob.connects(), await cleo.connects()
    async with psql(town) as operator:
        await operator.fetch(
            "SELECT 1 FROM participants WHERE conversation_id = $1 AND user_id = 'bob' FOR UPDATE",
            talk["id"],
        )
        read = {"conversation_id": talk["id"], "up_to_seq": seq}
        waiting = asyncio.create_task(his.asks("receipt:read", **read))
        async with asyncio.timeout(5):
            while await _waiters(town) < 1:
                pass
        async with asyncio.timeout(2):
            assert (await hers.asks("receipt:read", **read))["read_seq"] == seq
        assert not waiting.done()

    assert (await waiting)["read_seq"] == seq
    for device in (his, hers):
        names = [(name, data.get("user_id")) for name, data in await device.heard()]
        assert ("receipt:read", "bob") in names
        assert ("receipt:read", "cleo") in names
