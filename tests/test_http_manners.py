"""HTTP: addresses, refusals, headers, origins, and what operators and browsers look at."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from yarl import URL

from server import database
from tests.people import Person, Town
from tests.wire import Wires

pytestmark = pytest.mark.one_database

APP = "https://app.example.com"
ORIGINS = pytest.mark.settings(http={"origins": [APP, "http://localhost:*"]})


@pytest.fixture
def wires(town: Town) -> Iterator[Wires]:
    with Wires(town.url) as wires:
        yield wires


async def fetched(
    town: Town, method: str, path: str, **options: Any
) -> tuple[int, str, dict[str, str]]:
    """Make a request without a person and return status, body and headers."""
    address = URL(town.url + path, encoded=True)
    async with town.http.request(method, address, allow_redirects=False, **options) as response:
        return response.status, await response.text(), dict(response.headers)


# Addresses and refusals


@pytest.mark.parametrize("path", ["me", "me/", "conversations", "conversations/", "me/unread"])
async def test_every_path_answers_with_and_without_its_slash(ada: Person, path: str) -> None:
    status, answer, _ = await ada.call("GET", path)
    other, same, _ = await ada.call("GET", path.rstrip("/") if path.endswith("/") else f"{path}/")

    assert (status, answer) == (other, same)
    assert status == 200


@pytest.mark.parametrize(
    "path",
    [
        "/api",
        "/api/",
        "/api/messaging",
        "/api/messaging/",
        "/api/messaging/nothing/",
        "/api/messaging//me/",
        "/api/messaging/me//",
        "/api/messaging/conversations/a/b/c/",
        "/api/messaging/%00/",
        "/api/other",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_an_unknown_path_has_the_shape_of_all_refusals(
    town: Town, ada: Person, method: str, path: str
) -> None:
    status, answer, headers = await ada.call(method, path)

    assert status == 404
    assert answer == {
        "error": {
            "code": "not_found",
            "message": "There is no such thing here.",
            "retryable": False,
        }
    }
    assert headers["Content-Type"] == "application/json; charset=utf-8"
    assert headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "me/", {"GET", "HEAD"}),
        ("PUT", "me", {"GET", "HEAD"}),
        ("GET", "sync/", {"POST"}),
        ("POST", "messages/x/", {"GET", "HEAD", "PATCH", "DELETE"}),
        ("PATCH", "users/x/", {"PUT"}),
    ],
)
async def test_a_wrong_method_names_the_right_ones(
    ada: Person, method: str, path: str, allowed: set[str]
) -> None:
    status, answer, headers = await ada.call(method, path)

    assert (status, answer["error"]["code"]) == (405, "method_not_allowed")
    assert set(headers["Allow"].split(",")) == allowed
    assert headers["Content-Type"] == "application/json; charset=utf-8"


@pytest.mark.settings(
    limits={
        "event_bytes": 2_000,
        "message_chars": 1_000,
        "message_metadata_bytes": 1_000,
        "conversation_metadata_bytes": 1_000,
    }
)
async def test_a_body_above_the_bound_is_refused(ada: Person) -> None:
    status, answer, _ = await ada.call("POST", "sync/", {"x": "y" * 2_000})

    assert (status, answer["error"]["code"]) == (413, "payload_too_large")


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "application/xml", "nonsense"]
)
async def test_a_body_of_another_type_is_refused(ada: Person, kind: str) -> None:
    status, answer, _ = await ada.call("POST", "sync/", {}, headers={"Content-Type": kind})

    assert (status, answer["error"]["code"]) == (415, "unsupported_media")


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b"5", b"null", b'"a"', b"\xff", b"{}{}", b"[" * 9_000]
)
async def test_a_body_that_is_no_object_is_refused_by_name(ada: Person, body: bytes) -> None:
    status, answer, _ = await ada.call("POST", "sync/", body)

    assert (status, answer["error"]["code"]) == (400, "validation_failed")
    assert [detail["field"] for detail in answer["error"]["details"]] == ["body"]


async def test_no_body_is_an_empty_object(ada: Person) -> None:
    status, answer, _ = await ada.call("POST", "sync/")

    assert (status, answer["conversations"]) == (200, [])


@pytest.mark.parametrize(
    ("method", "path", "body", "field"),
    [
        ("POST", "sync/?limit=5", {}, "limit"),
        ("PATCH", "conversations/{}/?title=a", {"title": "b"}, "title"),
        ("GET", "conversations/?limit=5&limit=6", None, "limit"),
        ("GET", "conversations/?archived=maybe", None, "archived"),
        ("GET", "conversations/{}/?conversation_id=x", None, "conversation_id"),
        (
            "POST",
            "conversations/{}/send/",
            {"conversation_id": "x", "content": "a"},
            "conversation_id",
        ),
        ("GET", "conversations/?colour=red", None, "colour"),
        ("GET", "me/?id=5", None, "id"),
        ("DELETE", "messages/x/?scope=everybody", None, "scope"),
    ],
)
async def test_fields_have_one_place(
    ada: Person, bob: Person, method: str, path: str, body: Any, field: str
) -> None:
    talk = await ada.creates("direct", bob)

    status, answer, _ = await ada.call(method, path.format(talk["id"]), body)

    assert (status, answer["error"]["code"]) == (400, "validation_failed")
    assert [detail["field"] for detail in answer["error"]["details"]] == [field]


@pytest.mark.parametrize(
    "written",
    ["conversations/{}/messages", "conversations/%{}/messages/"],
)
async def test_an_address_may_be_written_in_several_ways(
    ada: Person, bob: Person, written: str
) -> None:
    talk = await ada.creates("direct", bob)
    await ada.says(talk, "Hello")
    id_: str = talk["id"]
    other = written.format(f"{ord(id_[0]):02x}{id_[1:]}" if "%{" in written else id_)

    status, answer, headers = await ada.call("GET", f"conversations/{id_}/messages/?limit=1")
    also, same, others = await ada.call("GET", f"{other}?limit=1")

    assert (status, answer) == (also, same)
    assert [message["content"] for message in answer["results"]] == ["Hello"]
    assert {**headers, "Date": ""} == {**others, "Date": ""}


@pytest.mark.parametrize("written", ["conversations/{{{}}}/", "conversations//messages/"])
async def test_an_address_that_is_none_leads_nowhere(ada: Person, written: str) -> None:
    status, answer, _ = await ada.call("GET", written.format("conversation_id"))

    assert (status, answer["error"]["message"]) == (404, "There is no such thing here.")


async def test_who_wants_the_connection_closed_gets_the_same_answer(
    ada: Person, wires: Wires
) -> None:
    bearer, path = f"Bearer {ada.token}", "/api/messaging/me/"
    wire = await wires.new()
    kept = [await wire.answered("GET", path, Authorization=bearer) for _ in range(2)]

    closed = await wire.answered("GET", path, Authorization=bearer, Connection="close")

    assert (closed[0], closed) == (200, kept[0])
    assert kept[0] == kept[1]
    await wire.ended()


async def test_requests_sent_at_once_are_answered_in_line(ada: Person, wires: Wires) -> None:
    wire = await wires.new()
    heads = f"HTTP/1.1\r\nHost: here\r\nAuthorization: Bearer {ada.token}\r\n\r\n"
    paths = ("me/", "nothing/", "me/unread/", "conversations/")

    wire.puts("".join(f"GET /api/messaging/{path} {heads}" for path in paths).encode())
    answers = []
    for _ in paths:
        status, headers = await wire._heads()
        body = json.loads(await wire.reader.readexactly(int(headers["content-length"])))
        answers.append((status, min(body)))

    assert answers == [(200, "avatar_url"), (404, "error"), (200, "conversations"), (200, "next")]


async def test_head_is_get_without_its_body(ada: Person) -> None:
    status, answer, headers = await ada.call("HEAD", "me/")
    _, whole, _ = await ada.call("GET", "me/")

    assert (status, answer) == (200, None)
    assert int(headers["Content-Length"]) == len(json.dumps(whole, separators=(",", ":")))


async def test_an_answer_is_json_that_nobody_keeps(ada: Person) -> None:
    _, _, headers = await ada.call("GET", "me/")

    assert headers["Content-Type"] == "application/json; charset=utf-8"
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "Access-Control-Allow-Origin" not in headers


@pytest.mark.settings(limits={"event_rate": 1, "event_burst": 1})
@pytest.mark.usefixtures("no_refill")
async def test_who_asks_too_often_is_told_when_to_come_back(town: Town) -> None:
    person = town.person("hasty")
    await person.get("me/")

    status, answer, headers = await person.call("GET", "me/")

    assert (status, answer["error"]["code"]) == (429, "rate_limited")
    assert headers["Retry-After"] == "1"
    assert 0 < answer["error"]["retry_after_ms"] <= 1_001
    assert answer["error"]["retryable"] is True


# Origins


@ORIGINS
@pytest.mark.parametrize("origin", [APP, "http://localhost:3000", None, "own"])
async def test_a_listed_origin_and_our_own_may_ask(
    town: Town, ada: Person, origin: str | None
) -> None:
    origin = town.url if origin == "own" else origin
    headers = {} if origin is None else {"Origin": origin}

    status, _, answered = await ada.call("GET", "me/", headers=headers)
    refused, _, shown = await ada.call("GET", "nothing/", headers=headers)

    assert (status, refused) == (200, 404)
    for each in (answered, shown):
        assert each.get("Access-Control-Allow-Origin") == origin
        assert each["Vary"] == "Origin"
        assert "Access-Control-Allow-Credentials" not in each
    if origin:
        exposed = "ETag, Retry-After, Content-Range, Location"
        assert answered["Access-Control-Expose-Headers"] == exposed


@ORIGINS
@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example.com",
        "https://app.example.com.evil.com",
        "https://app.example.com:444",
        "http://app.example.com",
        "http://localhost.evil.com:3000",
        "http://localhost:*",
        "https://localhost:3000",
        "null",
        "",
        "file://",
    ],
)
async def test_another_origin_is_refused_at_every_door(
    town: Town, logged: list[dict[str, Any]], ada: Person, origin: str
) -> None:
    headers = {"Origin": origin}
    status, answer, answered = await ada.call("GET", "me/", headers=headers)
    preflight = {**headers, "Access-Control-Request-Method": "POST"}
    before, _, _ = await fetched(town, "OPTIONS", "/api/messaging/sync/", headers=preflight)
    socket = "/socket.io/?EIO=4&transport=websocket"
    upgrade = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
    door, _, _ = await fetched(town, "GET", socket, headers={**headers, **upgrade})

    assert (status, answer["error"]["code"]) == (403, "forbidden")
    assert "Access-Control-Allow-Origin" not in answered
    assert (before, door) == (403, 403)
    told = [line for line in logged if line["event"] == "origin refused"]
    assert len(told) == 3
    assert all("http.origins" in line["hint"] for line in told)


@ORIGINS
async def test_a_preflight_is_answered_without_a_token(town: Town) -> None:
    headers = {
        "Origin": APP,
        "Access-Control-Request-Method": "PATCH",
        "Access-Control-Request-Headers": "authorization, content-type, idempotency-key",
    }
    status, body, answered = await fetched(
        town, "OPTIONS", "/api/messaging/messages/x/", headers=headers
    )

    assert (status, body) == (204, "")
    assert answered["Access-Control-Allow-Origin"] == APP
    assert {"PATCH", "DELETE", "PUT"} <= set(answered["Access-Control-Allow-Methods"].split(", "))
    allowed = answered["Access-Control-Allow-Headers"].lower().split(", ")
    assert {"authorization", "content-type", "idempotency-key"} <= set(allowed)
    assert answered["Vary"] == "Origin"
    assert "Access-Control-Allow-Credentials" not in answered


@ORIGINS
async def test_the_socket_opens_for_a_listed_origin(town: Town) -> None:
    url = f"{town.url}/socket.io/?EIO=4&transport=websocket"
    async with town.http.ws_connect(url, headers={"Origin": APP}) as ws:
        assert (await ws.receive_str()).startswith("0{")


@pytest.mark.settings(http={"trusted_proxies": ["127.0.0.0/8"]})
async def test_a_trusted_proxy_says_what_our_own_origin_is(
    ada: Person, bob: Person, cleo: Person
) -> None:
    for other in (bob, cleo):
        await ada.creates("direct", other)
    headers = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "chat.example.com"}
    own = {**headers, "Origin": "https://chat.example.com"}

    status, page, _ = await ada.call("GET", "conversations/?limit=1", headers=own)

    assert status == 200
    assert page["next"].startswith("https://chat.example.com/api/messaging/conversations/?")


async def test_anybody_elses_forwarded_headers_do_not_count(
    town: Town, ada: Person, bob: Person, cleo: Person
) -> None:
    for other in (bob, cleo):
        await ada.creates("direct", other)
    headers = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "chat.example.com"}

    _, page, _ = await ada.call("GET", "conversations/?limit=1", headers=headers)
    status, _, _ = await ada.call(
        "GET", "me/", headers={**headers, "Origin": "https://chat.example.com"}
    )

    assert page["next"].startswith(f"{town.url}/api/messaging/conversations/?")
    assert status == 403


@pytest.mark.settings(http={"public_url": "https://chat.example.com/"})
async def test_the_public_url_is_our_own_origin(
    town: Town, ada: Person, bob: Person, cleo: Person
) -> None:
    for other in (bob, cleo):
        await ada.creates("direct", other)

    own = {"Origin": "https://chat.example.com"}
    status, page, _ = await ada.call("GET", "conversations/?limit=1", headers=own)
    refused, _, _ = await ada.call("GET", "me/", headers={"Origin": town.url})

    assert (status, refused) == (200, 403)
    assert page["next"].startswith("https://chat.example.com/api/messaging/conversations/?")


# What operators and browsers look at


async def test_the_node_says_that_it_lives_and_whether_it_can_serve(
    monkeypatch: pytest.MonkeyPatch, town: Town
) -> None:
    ready = await fetched(town, "GET", "/readyz")

    async def gone() -> str:
        raise OSError("connection refused")

    monkeypatch.setattr(database, "epoch", gone)
    unready = await fetched(town, "GET", "/readyz")
    alive = await fetched(town, "GET", "/healthz")

    assert (ready[0], json.loads(ready[1])) == (
        200,
        {"status": "ok", "database": True, "draining": False},
    )
    assert (unready[0], json.loads(unready[1])["database"]) == (503, False)
    assert (alive[0], json.loads(alive[1])) == (200, {"status": "ok"})


async def test_the_documentation_loads_nothing_from_elsewhere(town: Town) -> None:
    status, text, headers = await fetched(town, "GET", "/docs")

    assert status == 200
    assert "://" not in text
    assert 'src="//' not in text
    assert "message:send" in text
    assert "conversations/{conversation_id}/send/" in text.replace("<wbr>", "")
    assert "default-src 'self'" in headers["Content-Security-Policy"]


async def test_the_page_comes_with_a_policy_that_lets_nothing_else_run(town: Town) -> None:
    status, text, headers = await fetched(town, "GET", "/")

    policy = headers["Content-Security-Policy"]
    assert status == 200
    assert headers["Content-Type"].startswith("text/html")
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'self'" in policy
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "<script>" not in text
    assert "://" not in text.replace("http://www.w3.org/", "")


@pytest.mark.settings(web={"page": False})
async def test_the_page_can_be_switched_off(town: Town) -> None:
    status, _, _ = await fetched(town, "GET", "/")

    assert status == 404


@pytest.mark.parametrize(
    "path",
    [
        "/web/../app.py",
        "/web/%2e%2e/app.py",
        "/web/..%2fapp.py",
        "/web/..%2f..%2fconfig.toml",
        "/web/..%5capp.py",
        "/web//etc/passwd",
        "/web/%2fetc%2fpasswd",
        "/web/index.html%00.css",
        "/web/.",
        "/web/vendor",
        "/web/vendor/",
        "/web/" + "a" * 5_000,
        "/web/nothing.js",
    ],
)
async def test_nothing_outside_the_folder_of_the_page_is_served(town: Town, path: str) -> None:
    status, text, _ = await fetched(town, "GET", path)

    assert status == 404
    assert "import" not in text


async def test_the_files_of_the_page_are_served(town: Town) -> None:
    status, text, headers = await fetched(town, "GET", "/web/index.html")

    assert status == 200
    assert "<html" in text
    assert headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.logs_errors
async def test_a_failure_of_ours_shows_a_reference_and_no_more(
    monkeypatch: pytest.MonkeyPatch, logged: list[dict[str, Any]], ada: Person
) -> None:
    async def fails(*_: Any, **__: Any) -> Any:
        raise RuntimeError("the secret inside")

    monkeypatch.setattr("server.actions.sync.answer", fails)
    status, answer, _ = await ada.call("POST", "sync/", {})

    reference = answer["error"]["message"].rpartition(" ")[2]
    assert (status, answer["error"]["code"]) == (500, "internal")
    assert "secret" not in json.dumps(answer)
    assert any(line.get("reference") == reference for line in logged)


async def test_who_leaves_while_a_connection_is_opened_is_no_failure_of_ours(
    town: Town, ada: Person
) -> None:
    lines = (
        *("GET /socket.io/?EIO=4&transport=websocket HTTP/1.1", "Host: here"),
        *("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"),
        *("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "", ""),
    )
    for _ in range(20):
        _, writer = await asyncio.open_connection("127.0.0.1", town.node.port)
        writer.write("\r\n".join(lines).encode())
        writer.transport.abort()

    await ada.get("me/")
