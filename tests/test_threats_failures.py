"""What fails on our side is said to whoever waits for it, and leaves nothing hanging."""

import gc
import json
from collections.abc import Iterator

import pytest

from tests.eventually import is_gone
from tests.people import Device, Person, Town
from tests.refusals import refused
from tests.test_commit import by_hand
from tests.test_requests_order import stuck, until_asked
from tests.test_session_polling import Poller
from tests.wire import Wires, asking


@pytest.fixture
def wires(town: Town) -> Iterator[Wires]:
    with Wires(town.url) as wires:
        yield wires


@pytest.mark.logs_errors
async def test_who_could_not_be_let_in_is_told_so_and_may_try_again(
    town: Town, ada: Person, bob: Person, database_url: str
) -> None:
    """T7, M12: also on the same connection, and it is in when the failure is over."""
    talk = await ada.creates("direct", bob)
    hers, his = await ada.connects(), Device(bob)
    await his.reach()
    await by_hand(database_url, "ALTER TABLE participants RENAME TO mislaid")

    for number in range(3):
        await his.send_raw("40" + json.dumps({"token": bob.token}))
        await his._until(lambda number=number: len(his.raw) == 2 + number)
        error = json.loads(his.raw[-1][2:])["data"]
        assert (error["code"], error["retryable"]) == ("internal", True)
        assert (await refused(bob.connects())).code == "internal"
    await by_hand(database_url, "ALTER TABLE mislaid RENAME TO participants")
    await his.send_raw("40" + json.dumps({"token": bob.token}))
    await his._until(lambda: bool(his.ready))

    await ada.says(talk, "There you are")
    assert await hers.heard_names() == await his.heard_names() == ["message:created"]
    his.is_checked = False


async def test_who_leaves_before_being_refused_leaves_no_failure_behind(
    town: Town, wires: Wires, caplog: pytest.LogCaptureFixture, ada: Person, bob: Person
) -> None:
    """T9: what a request came to is looked at, although nobody waits for it any more."""
    talk = await ada.creates("direct", bob)
    said = await ada.says(talk, "Hers")
    his = await wires.inside(bob.token)

    async with stuck(town, talk):
        his.says(asking("message:edit", {"message_id": said["id"], "content": "His"}, ack=1))
        await until_asked(town)
        his.cut()
        await is_gone(town, "bob")
    await town.node.dispatcher.settle()
    await ada.says(talk, "Still hers")
    gc.collect()

    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


@pytest.mark.one_database
@pytest.mark.settings(realtime={"transports": ["websocket", "polling"]})
async def test_a_body_that_drips_in_holds_nothing_for_long(
    monkeypatch: pytest.MonkeyPatch, town: Town, wires: Wires, ada: Person
) -> None:
    """M21: files have a time of their own, in test_uploads_alone.py."""
    monkeypatch.setattr("server.middleware.BODY_S", 0.5)
    poller = Poller(town)
    await poller.open(ada.token)
    bearer = {"Authorization": f"Bearer {ada.token}", "Content-Type": "application/json"}
    for path in ("/api/messaging/sync/", poller.url.removeprefix(town.url)):
        wire = await wires.new()
        status, text = await wire.answered("POST", path, [b"{"], **bearer, **LONG)
        assert (status, json.loads(text)["error"]["code"]) == (504, "timeout")


LONG = {"Content-Length": "1000"}
