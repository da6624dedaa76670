"""The log: one line per request and connection, why tokens were refused, nothing that was said."""

from pathlib import Path
from typing import Any

import pytest

from server import auth
from server.config import AuthSettings, Settings
from tests.conftest import SECRET, Starts
from tests.people import Device, Person, Refused, Town
from tests.process import Process, command

pytestmark = pytest.mark.one_database

CANARY = "tweet-7b1f"
"""What people say in these tests, and what must not be found in the log."""


def lines(process: Process, event: str, *names: str) -> list[tuple[Any, ...]]:
    """Return these fields of every line of the log that says this."""
    return [tuple(line[name] for name in names) for line in process.log if line["event"] == event]


async def test_each_request_and_connection_is_one_line(starts: Starts) -> None:
    process, town = await starts()
    ada, bob = town.person("ada"), town.person("bob")
    talk = await ada.creates("direct", bob)
    await ada.call("GET", f"conversations/{talk['id']}/")
    await ada.call("GET", "nothing/")
    await ada.call("GET", "conversations/nowhere/")
    await ada.call("GET", "conversations/%6Eowhere/")
    device = await bob.connects()
    await device.says(talk, "Hello")
    await device.answer("message:send", {"conversation_id": talk["id"]})
    await device.close()
    await process.until(lambda: process.logged("disconnected"))
    await process.stops()

    # What went well is a line at `debug` only: it would cost as much as what was asked for.
    assert lines(process, "http", "user", "request", "code") == [
        ("", "GET /api/messaging/nothing/", 404),
        ("ada", "GET /api/messaging/conversations/{conversation_id}/", 404),
        ("ada", "GET /api/messaging/conversations/{conversation_id}/", 404),
    ]
    assert lines(process, "request", "user", "request", "code") == [
        ("bob", "message:send", "validation_failed"),
    ]
    hello = ("bob", "127.0.0.1", "ok")
    assert lines(process, "connected", "user", "address", "code") == [hello]
    assert len(lines(process, "disconnected", "user", "seconds", "why")) == 1
    took = lines(process, "http", "ms") + lines(process, "request", "ms")
    assert all(0 <= ms < 60_000 for (ms,) in took)
    assert all({"level", "logger", "timestamp"} <= line.keys() for line in process.log)


async def test_a_refused_token_is_refused_alike_and_the_log_says_why(
    starts: Starts, settings: Settings
) -> None:
    stranger = AuthSettings(secret="another secret, long enough, too")
    tokens = {
        "the token ended": auth.issue(settings.auth, "ada", ttl_s=-3_600),
        "Signature": auth.issue(stranger, "ada", ttl_s=60),
        "not a token": CANARY,
    }
    process, town = await starts()
    bodies = []
    for token in tokens.values():
        ada = Person(town, "ada", token=token)
        status, body, headers = await ada.call("GET", "me/")
        assert status == 401
        assert headers["WWW-Authenticate"].startswith("Bearer")
        with pytest.raises(Refused) as refused:
            await ada.connects()
        assert refused.value.error == body["error"]
        bodies.append(body)
    await process.stops()

    assert bodies[1] == bodies[2]
    for event in ("refused", "connection refused"):
        why = [reason for (reason,) in lines(process, event, "why")]
        assert len(set(why)) == len(tokens)
        for known, reason in zip(list(tokens)[:2], why, strict=False):
            assert known in reason
    must_not_tell(process, town, *tokens.values())


async def test_neither_what_people_say_nor_their_tokens_reach_the_log(
    starts: Starts,
) -> None:
    # At the most talkative level.
    process, town = await starts(PALABRE_LOG__LEVEL="debug")
    ada, bob = town.person("ada"), town.person("bob")
    talk = await ada.creates("direct", bob, initial_message={"content": CANARY})
    said = await ada.says(talk, CANARY, metadata={"note": CANARY})
    await ada.patch(f"messages/{said['id']}/", {"content": f"{CANARY}!"})
    await ada.get(f"messages/?q={CANARY}")
    await ada.call("POST", f"conversations/{talk['id']}/send/", {"content": [CANARY]})
    await ada.call("POST", f"conversations/{talk['id']}/send/", f'{{"{CANARY}'.encode())
    await ada.call("GET", f"/api/messaging/me/?token={ada.token}")
    await ada.call("GET", f"/nowhere/{ada.token}?token={ada.token}")
    device = await bob.connects()
    await device.says(talk, CANARY)
    await device.answer("message:send", {"conversation_id": talk["id"], CANARY: CANARY})
    await device.answer("auth:refresh", {"token": bob.fresh_token()})
    await device.answer("auth:refresh", {"token": ada.token})
    await device.answer(ada.token)
    await device.send_raw(f'421["message:send",{{"content":"{CANARY}"')
    await device.closed.wait()
    await hello_with_token_in_the_address(town, ada)
    await process.stops()

    assert len(process.log) > 12
    must_not_tell(process, town, ada.token, bob.token)


async def hello_with_token_in_the_address(town: Town, person: Person) -> None:
    device = Device(person)
    url = f"{town.url}/socket.io/?EIO=4&transport=websocket&token={person.token}"
    async with town.http.ws_connect(url) as socket:
        await socket.receive_str()
        await socket.send_str("40")
        assert (await socket.receive_str()).startswith("44")
    assert device.frames == []


def must_not_tell(process: Process, town: Town, *tokens: str) -> None:
    signatures = [token.rpartition(".")[2] for token in tokens]
    for secret in (SECRET, CANARY, *tokens, *signatures):
        assert secret not in process.text


async def test_an_origin_that_is_refused_is_logged_with_the_key_to_set(
    starts: Starts,
) -> None:
    process, town = await starts()
    origin = {"Origin": "https://elsewhere.example"}
    async with town.http.get(f"{town.url}/healthz", headers=origin) as response:
        assert response.status == 403
    await process.stops()
    [(named, hint)] = lines(process, "origin refused", "origin", "hint")
    assert named == "https://elsewhere.example"
    assert "http.origins" in hint


async def test_a_line_can_be_words_and_the_log_can_be_quiet(
    tmp_path: Path, database_url: str
) -> None:
    given = {"PALABRE_HTTP__PORT": "0", "PALABRE_DATABASE__URL": database_url}
    wordy = {**given, "PALABRE_LOG__FORMAT": "words"}
    async with command("serve", "--demo", cwd=tmp_path, environment=wordy) as process:
        line = await process.until(lambda: next((x for x in process.err if "serving" in x), ""))
        assert not line.startswith("{")
        assert "host=127.0.0.1" in line
        assert await process.stops() == 0
    quiet = {**given, "PALABRE_LOG__LEVEL": "warning"}
    async with command("serve", "--demo", cwd=tmp_path, environment=quiet) as process:
        await process.until(lambda: "#token=" in process.text)
        assert await process.stops() == 0
        assert process.err == []
