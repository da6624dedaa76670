"""`palabre check`: ten lines that are right about a server, whether it works or not."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import web

from server import clock
from server.check.patience import Patience
from server.check.run import Outcome, Result, run
from tests.breaking import Breaking, in_front_of
from tests.people import Person, Town, all_conversations, all_messages

NAMES = [
    "REST answers",
    "list conversations",
    "create one",
    "send a message",
    "socket connects",
    "message arrives live",
    "typing arrives",
    "upload and thumbnail",
    "read receipt",
    "reconnect and sync",
]
LIVE_S = 1.0
"""How long a check waits here for what a proxy swallowed."""


@pytest.fixture
async def proxy(town: Town) -> AsyncIterator[Breaking]:
    async with in_front_of(town.url, town.http) as breaking:
        yield breaking


async def checked(url: str, a: str, b: str, **patience: float) -> list[Result]:
    """Check a server with two tokens."""
    results: list[Result] = []
    given = {"step_s": 10.0, "live_s": LIVE_S, **patience}
    good = await run(url, (a, b), Patience(**given), results.append)
    assert good == (outcomes(results) == dict.fromkeys(NAMES, "ok"))
    return results


def outcomes(results: list[Result]) -> dict[str, str]:
    return {result.name: result.outcome.value for result in results}


def sentence(results: list[Result], name: str) -> str:
    [found] = [result.problem for result in results if result.name == name]
    return "" if found is None else f"{found} ({found.hint})"


async def must_leave_nothing(*people: Person) -> dict[str, Any]:
    """Hold what a check may leave behind against what is there, and return its conversation."""
    found: dict[str, Any] = {}
    for person in people:
        assert (await person.get("conversations/"))["results"] == []
        assert (await person.get("me/unread/"))["total"] == 0
        [found] = (await all_conversations(person)).values()
        said = [m for m in await all_messages(person, found["id"]) if m["type"] != "system"]
        assert all(message["is_deleted"] for message in said)
    return found


async def test_a_healthy_server_passes_twice_and_nothing_is_left_of_it(
    town: Town, proxy: Breaking, ada: Person, bob: Person, eve: Person
) -> None:
    outsider = await eve.connects()
    fetched: list[str] = []

    async def look(request: web.Request) -> None:
        if "/files/" in request.path:
            fetched.append(request.path)

    proxy.answer = look
    for url in (town.url, proxy.url):
        results = await checked(url, ada.token, bob.token)
        assert outcomes(results) == dict.fromkeys(NAMES, "ok"), sentence(results, NAMES[7])
        assert [result.name for result in results] == NAMES
        assert all(result.problem is None for result in results)

    talk = await must_leave_nothing(ada, bob)
    assert talk["external_id"] == "palabre-check"
    assert {member["user"]["id"] for member in talk["participants"]} == {"ada", "bob"}
    said = [m for m in await all_messages(ada, talk["id"]) if m["type"] != "system"]
    assert len(said) == 8
    [thumbnail] = fetched
    assert (await ada.call("GET", thumbnail))[0] == 404
    await outsider.hears_nothing()


# One thing broken at a time


Break = Callable[[Breaking], None]


def answers(
    path: str, response: Callable[[], web.Response], method: str = "", body: str = ""
) -> Break:
    """Answer requests to paths that end like this, with bodies that hold this, by a response."""

    async def answer(request: web.Request) -> web.Response | None:
        fits = request.path.endswith(path) and method in ("", request.method)
        return response() if fits and body.encode() in await request.read() else None

    return lambda proxy: setattr(proxy, "answer", answer)


def internal() -> web.Response:
    error = {"code": "internal", "message": "Something \x1b[2Jwent wrong.", "retryable": True}
    return web.json_response({"error": error}, status=500)


def internal_answers(path: str) -> Break:
    return answers(path, internal)


def page(status: int) -> Callable[[], web.Response]:
    html = "<title>Balancer</title>"
    return lambda: web.Response(text=html, content_type="text/html", status=status)


def swallows(event: str) -> Break:
    """Let no event of this name through."""
    return lambda proxy: setattr(
        proxy, "packet", lambda packet: None if f'42["{event}"' in packet else packet
    )


def forgets_what_was_missed(proxy: Breaking) -> None:
    def packet(text: str) -> str:
        if not text.startswith('42["session:ready"'):
            return text
        name, ready = json.loads(text[2:])
        for entry in ready.get("sync", {}).get("conversations", []):
            entry["messages"] = []
        return f"42{json.dumps([name, ready])}"

    proxy.packet = packet


def strips_upgrade(proxy: Breaking) -> None:
    async def answer(request: web.Request) -> web.Response | None:
        return await proxy.forward(request) if "socket.io" in request.path else None

    proxy.answer = answer


def breaks_thumbnails(proxy: Breaking) -> None:
    async def answer(request: web.Request) -> web.Response | None:
        if "/thumb/" not in request.path:
            return None
        response = await proxy.forward(request)
        body = bytes(reversed(bytes(response.body)))  # type: ignore[arg-type]
        return web.Response(body=body, status=response.status, headers=response.headers)

    proxy.answer = answer


NEED_CREATED = ["message arrives live", "typing arrives", "upload and thumbnail"]
NEED_SENT = ["read receipt", "reconnect and sync"]
NEED_SOCKET = ["message arrives live", "typing arrives", *NEED_SENT]
ALL_AFTER_REST = [*NAMES[1:4], *NEED_CREATED, *NEED_SENT]

BROKEN: dict[str, tuple[Break, list[str], list[str], str]] = {
    "a balancer answers HTML": (
        answers("/me/", page(200)),
        ["REST answers"],
        ALL_AFTER_REST,
        "200 with text/html; charset=utf-8 came (a proxy or balancer answered instead of Palabre",
    ),
    "a proxy reaches nobody": (
        answers("/me/", page(502)),
        ["REST answers"],
        ALL_AFTER_REST,
        "502 with text/html; charset=utf-8 came (the proxy runs, but does not reach Palabre)",
    ),
    "a proxy redirects": (
        answers("/me/", lambda: web.Response(status=301, headers={"Location": "https://else/"})),
        ["REST answers"],
        ALL_AFTER_REST,
        "a redirect (301) to https://else/ came",
    ),
    "the list fails": (
        answers("/conversations/", internal),
        ["list conversations"],
        [],
        "expected 200 from GET conversations/, but it was refused: internal",
    ),
    "the list is something else": (
        answers("/conversations/", lambda: web.json_response({"hello": "world"})),
        ["list conversations"],
        [],
        "a field is missing or strange: KeyError: 'results'",
    ),
    "creating fails": (
        answers("/create_with_participants/", internal),
        ["create one"],
        ["send a message", *NEED_CREATED, *NEED_SENT],
        "from POST conversations/create_with_participants/, but it was refused: internal",
    ),
    "sending fails": (
        answers("/send/", internal, body="sent over REST"),
        ["send a message"],
        NEED_SENT,
        "send/, but it was refused: internal: Something ?[2Jwent wrong (the log of the server",
    ),
    "a proxy strips Upgrade": (
        strips_upgrade,
        ["socket connects"],
        NEED_SOCKET,
        "the WebSocket was not opened, 400 came (a proxy must pass Upgrade and Connection on",
    ),
    "a proxy does not know the path of sockets": (
        answers("/socket.io/", page(404)),
        ["socket connects"],
        NEED_SOCKET,
        "the WebSocket was not opened, 404 came (does the proxy pass this path on to Palabre?)",
    ),
    "messages do not arrive": (
        swallows("message:created"),
        ["message arrives live"],
        [],
        "expected message:created at bob's socket, but nothing came within 1.0 s",
    ),
    "typing does not arrive": (
        swallows("typing:started"),
        ["typing arrives"],
        [],
        "expected typing:started at bob's socket, but nothing came within 1.0 s",
    ),
    "uploads fail": (
        answers("/uploads/", internal),
        ["upload and thumbnail"],
        [],
        "expected 201 from POST uploads/, but it was refused: internal",
    ),
    "thumbnails are damaged": (
        breaks_thumbnails,
        ["upload and thumbnail"],
        [],
        "expected a thumbnail that is a picture, but ",
    ),
    "receipts do not arrive": (
        swallows("receipt:read"),
        ["read receipt"],
        [],
        "expected receipt:read at ada's socket, but nothing came within 1.0 s",
    ),
    "what was missed stays missed": (
        forgets_what_was_missed,
        ["reconnect and sync"],
        [],
        "expected session:ready.sync to bring what was sent meanwhile, but it brought 0 other",
    ),
}


@pytest.mark.one_database
@pytest.mark.timeout(60)
async def test_what_is_broken_fails_with_what_needs_it_and_nothing_else(
    town: Town, ada: Person, bob: Person
) -> None:
    seen, said = {}, {}
    for what, (breaks, failed, skipped, _) in BROKEN.items():
        async with in_front_of(town.url, town.http) as proxy:
            breaks(proxy)
            results = await checked(proxy.url, ada.token, bob.token)
        seen[what] = outcomes(results)
        said[what] = sentence(results, failed[0])
        if "create one" not in failed + skipped:
            await must_leave_nothing(ada, bob)

    for what, (_, failed, skipped, says) in BROKEN.items():
        expected = dict.fromkeys(NAMES, "ok") | dict.fromkeys(skipped, "skipped")
        assert seen[what] == expected | dict.fromkeys(failed, "failed"), f"{what}: {said[what]}"
        assert says in said[what], what
        assert "\x1b" not in said[what]


# Who checks


@pytest.mark.one_database
async def test_a_check_names_what_is_wrong_with_the_tokens(
    town: Town, ada: Person, bob: Person, backend: Person
) -> None:
    first = [
        (await checked(town.url, *pair))[0]
        for pair in [
            (ada.token, ada.token),
            (ada.token, "not.a.token"),
            (backend.token, bob.token),
            (ada.fresh_token(ttl_s=-60), bob.token),
        ]
    ]

    assert [result.outcome for result in first] == [Outcome.FAILED] * 4
    assert [str(result.problem).partition(", but ")[2] for result in first] == [
        "both tokens are ada's",
        "it was refused: unauthorized: A valid token is needed",
        "token A is of role service",
        "it was refused: token_expired: The token has expired",
    ]
    assert "with token B" in str(first[1].problem)
    assert "with token A" in str(first[3].problem)
    assert await all_conversations(ada) == {}


@pytest.mark.one_database
async def test_other_people_may_check_when_one_of_last_times_brings_them(
    town: Town, ada: Person, bob: Person, cleo: Person, dan: Person, eve: Person
) -> None:
    good = dict.fromkeys(NAMES, "ok")
    assert outcomes(await checked(town.url, ada.token, bob.token)) == good
    assert outcomes(await checked(town.url, bob.token, ada.token)) == good
    assert outcomes(await checked(town.url, cleo.token, ada.token)) == good

    talk = await must_leave_nothing(ada, cleo)
    assert {member["user"]["id"] for member in talk["participants"]} == {"ada", "cleo"}
    assert await all_conversations(bob) == {}

    strangers = await checked(town.url, dan.token, eve.token)
    assert "neither dan nor eve is in it" in sentence(strangers, "create one")
    half = await checked(town.url, dan.token, cleo.token)
    assert "dan is not, and the other one may not add people" in sentence(half, "create one")
    assert await all_conversations(dan) == {}


# When it does not come to its end


@pytest.mark.one_database
async def test_a_server_that_hangs_is_told_from_one_that_is_slow(
    proxy: Breaking, ada: Person, bob: Person
) -> None:
    async def hang(request: web.Request) -> None:
        if request.path.endswith("/me/") or "socket.io" in request.path:
            await asyncio.Event().wait()

    proxy.answer = hang
    results = await checked(proxy.url, ada.token, bob.token, step_s=0.3)

    assert "expected 200 from GET me/ with token A, but nothing came within 0.3 s (it hangs" in (
        sentence(results, "REST answers")
    )
    assert "a WebSocket at /socket.io/, but nothing came within 0.3 s (it hangs" in (
        sentence(results, "socket connects")
    )
    assert set(outcomes(results).values()) == {"failed", "skipped"}


@pytest.mark.one_database
async def test_all_steps_together_have_a_bound(proxy: Breaking, ada: Person, bob: Person) -> None:
    async def hang(request: web.Request) -> None:
        if request.path.endswith("/send/"):
            await asyncio.Event().wait()

    proxy.answer = hang
    results = await checked(proxy.url, ada.token, bob.token, whole_s=3.0)

    assert outcomes(results) == dict.fromkeys(NAMES[:3], "ok") | {
        "send a message": "failed",
        **dict.fromkeys(NAMES[4:], "skipped"),
    }
    assert results[-1].needs == "the 3 s for all steps are over"
    await must_leave_nothing(ada, bob)


@pytest.mark.one_database
async def test_what_cannot_be_cleaned_up_is_said_and_a_later_check_does_it(
    town: Town, proxy: Breaking, ada: Person, bob: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ada.creates("group", bob, external_id="palabre-check")
    answers("", internal, method="DELETE")(proxy)
    results = await checked(proxy.url, bob.token, ada.token)

    good = dict.fromkeys(NAMES, "ok")
    assert outcomes(results) == good | {"clean up": "failed"}
    assert "from DELETE messages/" in sentence(results, "clean up")
    [talk] = (await all_conversations(ada)).values()
    assert talk["my"]["is_archived"]

    async def deleted() -> list[bool]:
        said = await all_messages(ada, talk["id"])
        return [message["is_deleted"] for message in said if message["type"] != "system"]

    # What is young may be another check's that is running still.
    assert outcomes(await checked(town.url, ada.token, bob.token)) == good
    assert await deleted() == [False] * 4 + [True] * 4

    later = clock.now_ms() + 16 * 60_000
    for module in ("journal.numbers", "journal.postgres", "journal.sqlite", "actions.messages"):
        monkeypatch.setattr(f"server.{module}.now_ms", lambda: later)
    assert outcomes(await checked(town.url, ada.token, bob.token)) == good
    assert await deleted() == [True] * 12


@pytest.mark.one_database
@pytest.mark.settings(realtime={"ping_interval_s": 0.1})
async def test_an_interrupted_check_cleans_up(proxy: Breaking, ada: Person, bob: Person) -> None:
    results: list[Result] = []
    swallows("typing:started")(proxy)

    def interrupt(result: Result) -> None:
        results.append(result)
        if result.name == "message arrives live":
            asyncio.get_running_loop().call_later(0.3, task.cancel)

    patience = Patience(10.0, live_s=5.0)
    task = asyncio.create_task(run(proxy.url, (ada.token, bob.token), patience, interrupt))
    assert not await task

    assert outcomes(results) == dict.fromkeys(NAMES[:6], "ok") | dict.fromkeys(NAMES[6:], "skipped")
    assert {result.needs for result in results[6:]} == {"interrupted"}
    assert "3" in proxy.sent, "it did not answer a ping while it waited"
    await must_leave_nothing(ada, bob)
