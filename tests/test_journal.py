"""Sends that are written together: each is stored once or refused alone, and all are answered."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from server.actions import messages
from server.errors import DeadlineError, UnavailableError
from server.events import Event, Outcome
from server.journal import Entry, Journal
from server.journal.batches import DEADLINE_S
from server.models import sql
from server.permissions import Call, Caller
from server.schemas.requests import SendMessage
from server.schemas.values import UserRole
from tests.people import Person, Town
from tests.refusals import refused
from tests.test_requests_order import hasty, send, stuck

__all__ = ["hasty"]


class Waiter:
    """Somebody who waits for the reply to an entry, or for nothing when it is left aside."""

    def __init__(self) -> None:
        self.reply: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def decided(self, outcome: Outcome | None) -> None:
        if not self.reply.done():
            self.reply.set_result(None if outcome is None else outcome.reply)

    def refused(self, error: Exception) -> None:
        if not self.reply.done():
            self.reply.set_exception(error)


class Node:
    """A journal of its own over the database of the town, as another process has it."""

    def __init__(self, town: Town) -> None:
        self._town = town
        self.told: list[Event] = []
        self.journal = Journal(
            town.settings.database, tell=self._hear, doubt=lambda: None, stored=lambda *_: None
        )

    def _hear(self, events: Sequence[Event]) -> None:
        self.told += events

    def entry(self, person: Person, talk: dict[str, Any], client_msg_id: str) -> Entry:
        fields = send(talk, client_msg_id) | {"client_msg_id": client_msg_id}
        call = Call(Caller(person.id, UserRole.AGENT), self._town.settings)
        entry = messages.draft(call, SendMessage.model_validate(fields))
        assert entry is not None
        return entry

    async def says(self, person: Person, talk: dict[str, Any], client_msg_id: str) -> Any:
        """Send past every door; returns the reply, or nothing for what was left aside."""
        return await self.submit(self.entry(person, talk, client_msg_id))

    def submit(self, entry: Entry) -> "asyncio.Future[Any]":
        """Put an entry in line and return what waits for its reply."""
        waiter = Waiter()
        self.journal.submit(entry, waiter)
        return waiter.reply


@asynccontextmanager
async def node(town: Town) -> AsyncIterator[Node]:
    """Run another journal beside that of the town."""
    other = Node(town)
    await other.journal.open()
    try:
        yield other
    finally:
        await other.journal.close()


async def numbers(talk: dict[str, Any]) -> list[int]:
    rows = await sql.fetch(
        "SELECT seq FROM messages WHERE conversation_id = $1 ORDER BY seq", talk["id"]
    )
    return [row["seq"] for row in rows]


async def test_two_nodes_number_the_same_conversations_without_holes(
    town: Town, ada: Person, bob: Person, cleo: Person, dan: Person
) -> None:
    talks = [await ada.creates("group", bob, cleo, dan) for _ in range(6)]
    async with node(town) as one, node(town) as other:
        replies = await asyncio.gather(
            *(
                each.says(person, talk, f"{number} {id(each)}")
                for number in range(10)
                for each in (one, other)
                for person in (ada, bob, cleo, dan)
                for talk in talks
            )
        )
        # The same ids again, on the other node and at the same time.
        again = await asyncio.gather(
            *(
                each.says(ada, talk, f"{number} {id(one)}")
                for number in range(10)
                for each in (one, other)
                for talk in talks
            )
        )
        told = one.told + other.told

    assert all(reply["duplicate"] is False for reply in replies)
    assert again == [None] * 120
    for talk in talks:
        assert await numbers(talk) == list(range(1, talk["last_seq"] + 81))
        heard = [event.number or 0 for event in told if event.target == talk["id"]]
        assert sorted(heard) == list(range(talk["head"] + 1, talk["head"] + 81))
        for each in (one, other):
            # Each tells in the order in which it committed.
            own = [event.number or 0 for event in each.told if event.target == talk["id"]]
            assert own == sorted(own)
        shown = await ada.get(f"conversations/{talk['id']}/")
        assert (shown["last_seq"], shown["head"]) == (talk["last_seq"] + 80, talk["head"] + 80)
        # Who writes has read: ada's last message, and nothing of what came after it is hers.
        mine = max(r["message"]["seq"] for r in replies if _is_of(r, "ada", talk))
        assert shown["my"]["read_seq"] == mine
        assert shown["my"]["unread_count"] == shown["last_seq"] - mine


def _is_of(reply: dict[str, Any], sender: str, talk: dict[str, Any]) -> bool:
    message = reply["message"]
    return bool(message["sender"]["id"] == sender and message["conversation_id"] == talk["id"])


async def test_one_that_cannot_be_stored_fails_alone(
    town: Town, ada: Person, bob: Person, cleo: Person
) -> None:
    talk = await ada.creates("group", bob, cleo)
    said = await ada.says(talk, "First")
    async with node(town) as here:
        entries = [here.entry(person, talk, "k") for person in (ada, bob, cleo)]
        # A mistake of ours: the id of a message that is there already.
        entries[1].id = said["id"]
        answers = await asyncio.gather(
            *(here.submit(entry) for entry in entries), return_exceptions=True
        )
        after = await here.says(bob, talk, "after")

    (hers, no, theirs) = answers
    assert isinstance(hers, dict)
    assert isinstance(theirs, dict)
    assert "unique" in str(no).lower()
    first = said["seq"]
    assert [r["message"]["seq"] for r in (hers, theirs, after)] == [first + 1, first + 2, first + 3]
    assert (await numbers(talk))[-3:] == [first + 1, first + 2, first + 3]


async def test_what_waited_too_long_is_never_written(town: Town, ada: Person, bob: Person) -> None:
    """Nobody waits for it any more, and who asks again with the same id is served then."""
    talk = await ada.creates("direct", bob)
    async with node(town) as here:
        entries = [here.entry(ada, talk, name) for name in ("first", "second")]
        async with stuck(town, talk):
            first = here.submit(entries[0])
            # One that holds the pen, and one that has to wait behind it.
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            second = here.submit(entries[1])
            for entry in entries:
                entry.due -= DEADLINE_S  # so long they have waited
        answers = await asyncio.gather(first, second, return_exceptions=True)
        await here.journal.settle()
        stored = await numbers(talk)
        again = await here.says(ada, talk, "second")

    assert isinstance(answers[1], DeadlineError)
    # The first may have been under way: either it is stored and answered, or it is not stored.
    assert len(stored) == (1 if isinstance(answers[0], dict) else 0)
    assert again["message"]["seq"] == len(stored) + 1


@pytest.mark.settings(database={"waiting_sends": 2})
async def test_more_than_may_wait_is_refused_at_once(
    town: Town, ada: Person, bob: Person, cleo: Person
) -> None:
    talk = await ada.creates("group", bob, cleo)
    async with node(town) as here:
        async with stuck(town, talk):
            waiting = [here.submit(here.entry(p, talk, "k")) for p in (ada, bob)]
            with pytest.raises(UnavailableError) as no:
                here.submit(here.entry(cleo, talk, "k"))
        replies = await asyncio.gather(*waiting)
        after = await here.says(cleo, talk, "k")

    assert no.value.to_wire()["retry_after_ms"] > 0
    assert [reply is not None for reply in (*replies, after)] == [True] * 3


async def test_whoever_gives_up_waiting_leaves_the_others_alone(
    town: Town, ada: Person, bob: Person
) -> None:
    talk = await ada.creates("direct", bob)
    async with node(town) as here:
        answers = [here.submit(here.entry(ada, talk, f"{n}")) for n in range(300)]
        for answer in answers[::3]:
            answer.cancel()
        await asyncio.gather(*answers, return_exceptions=True)
        await here.journal.settle()
        told = [event.number for event in here.told]

    assert told == sorted(told, key=lambda number: number or 0)
    assert len(told) == 300
    assert await numbers(talk) == list(range(1, 301))
    assert all(answer.result() for answer in answers if not answer.cancelled())


async def test_pages_of_history_wait_for_no_writer(
    hasty: None, town: Town, ada: Person, bob: Person
) -> None:
    talk = await ada.creates("direct", bob)
    said = await ada.says(talk, "Read me")
    her = await ada.connects()
    async with stuck(town, talk):
        waiting = asyncio.create_task(her.answer("message:send", send(talk, "Slowly")))
        for _ in range(3):
            page = await bob.get(f"conversations/{talk['id']}/messages/")
            assert [message["id"] for message in page["results"]] == [said["id"]]
        no = await refused(bob.says(talk, "Slowly too"))
        late = await waiting
    assert (no.code, late["error"]["code"]) == ("timeout", "timeout")
    heard = [data["message"]["content"] for data in [await her.hears("message:created")]]
    heard.append((await her.hears("message:created"))["message"]["content"])
    assert sorted(heard) == ["Slowly", "Slowly too"]
