"""What the database itself refuses, and that nobody hears of what it refused."""

import sqlite3
from typing import Any

import asyncpg
import pytest

from tests.people import Person, Refused

# A message that says "doomed" leaves a row behind that no parent has: COMMIT refuses the whole.
DOOM = {
    "sqlite": [
        """CREATE TABLE doomed (id TEXT REFERENCES installation (key)
            DEFERRABLE INITIALLY DEFERRED)""",
        """CREATE TRIGGER doom AFTER INSERT ON messages WHEN NEW.content = 'doomed'
            BEGIN INSERT INTO doomed VALUES ('nobody'); END""",
    ],
    "postgres": [
        """CREATE TABLE doomed (id TEXT REFERENCES installation (key)
            DEFERRABLE INITIALLY DEFERRED)""",
        """CREATE FUNCTION doom() RETURNS trigger LANGUAGE plpgsql AS
            'BEGIN INSERT INTO doomed VALUES (''nobody''); RETURN NEW; END'""",
        """CREATE TRIGGER doom AFTER INSERT ON messages FOR EACH ROW
            WHEN (NEW.content = 'doomed') EXECUTE FUNCTION doom()""",
    ],
}


async def by_hand(url: str, *statements: str) -> list[Any]:
    """Run statements past the server and return the rows of the last one."""
    if url.startswith("sqlite"):
        with sqlite3.connect(url.removeprefix("sqlite://")) as connection:
            rows = [connection.execute(statement).fetchall() for statement in statements]
        connection.close()
        return rows[-1]
    session = await asyncpg.connect(url)
    try:
        return [list(map(tuple, await session.fetch(statement))) for statement in statements][-1]
    finally:
        await session.close()


@pytest.mark.logs_errors
async def test_a_message_whose_commit_fails_is_heard_by_nobody_and_takes_no_number(
    ada: Person, bob: Person, database_url: str, database_kind: str
) -> None:
    talk = await ada.creates("direct", bob)
    her, his = await ada.connects(), await bob.connects()
    await by_hand(database_url, *DOOM[database_kind])

    with pytest.raises(Refused) as refused:
        await her.says(talk, "doomed")

    assert refused.value.code == "internal"
    await her.hears_nothing()
    await his.hears_nothing()
    said = await her.says(talk, "alive")
    assert said["seq"] == 1
    assert await his.heard_names() == ["message:created"]
    assert await her.heard_names() == ["message:created"]


@pytest.mark.logs_errors
async def test_a_table_that_is_broken_is_answered_and_stops_nobody_else(
    ada: Person, bob: Person, database_url: str
) -> None:
    talk = await ada.creates("direct", bob)
    her = await ada.connects()
    said = await her.says(talk, "Frist")
    await by_hand(database_url, "ALTER TABLE message_versions RENAME TO mislaid")

    with pytest.raises(Refused) as refused:
        await her.asks("message:edit", message_id=said["id"], content="First")

    assert refused.value.code == "internal"
    await her.says(talk, "Never mind")
    assert await her.heard_names() == ["message:created", "message:created"]


@pytest.mark.parametrize(
    "twin", ["client_msg_id = 'once'", "seq = 1"], ids=["client_msg_id", "seq"]
)
async def test_the_tables_themselves_refuse_a_double(
    ada: Person, bob: Person, database_url: str, twin: str
) -> None:
    talk = await ada.creates("direct", bob)
    await ada.says(talk, "Once", client_msg_id="once")
    await ada.says(talk, "Twice", client_msg_id="twice")

    with pytest.raises((sqlite3.IntegrityError, asyncpg.UniqueViolationError)):
        await by_hand(database_url, f"UPDATE messages SET {twin} WHERE client_msg_id = 'twice'")  # noqa: S608
