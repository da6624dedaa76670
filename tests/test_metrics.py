"""What operators read at /metrics: each number moves when its thing happens; strangers see none."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from server import app
from server.actions import repair
from server.config import Settings
from server.realtime import hub, mender
from tests.eventually import becomes, sessions
from tests.people import WITHIN_S, Device, Person, Refused, Town
from tests.services import free_port
from tests.test_drain import slow
from tests.test_threats_bounds import KERNEL_BYTES, LARGE, PATIENT
from tests.uploading import by_hand, part
from tests.wire import DEAF_BYTES, Wires

TOKEN = "a token that nobody guesses"


@pytest.fixture
def wires(town: Town) -> Iterator[Wires]:
    with Wires(town.url) as wires:
        yield wires


async def page(town: Town, **headers: str) -> tuple[int, str]:
    async with town.http.get(town.url + "/metrics", headers=headers) as response:
        return response.status, await response.text()


async def numbers(town: Town) -> dict[str, float]:
    """Return each number by its name, labels in the order of their names behind it."""
    status, text = await page(town)
    assert status == 200
    return {
        " ".join([sample.name, *(sample.labels[name] for name in sorted(sample.labels))]): (
            sample.value
        )
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@asynccontextmanager
async def moving(town: Town, **by: float) -> AsyncIterator[None]:
    """Expect numbers to have moved at the end by so much; `__` in a name is a space."""
    before = await numbers(town)
    yield
    after = await numbers(town)
    for name, distance in by.items():
        key = f"palabre_{name.replace('__', ' ')}"
        assert after[key] - before.get(key, 0) == distance, key


async def test_connections_and_those_who_were_refused(
    town: Town, ada: Person, bob: Person, wires: Wires
) -> None:
    async with moving(town, connections__socketio=3, strangers=1, people=1, admitted_total=2):
        await ada.connects()
        await ada.connects()
        assert await (await wires.new()).upgrades() == 101
    async with moving(town, not_admitted_total__unauthorized=1, admitted_total=0):
        with pytest.raises(Refused):
            await bob.connects(token="no token")


@pytest.mark.settings(realtime={"strangers": 1})
async def test_those_for_whom_there_is_no_room(town: Town, wires: Wires) -> None:
    assert await (await wires.new()).upgrades() == 101
    async with moving(town, not_admitted_total__unavailable=1, connections__socketio=0):
        assert await (await wires.new()).upgrades() == 503


async def test_requests_by_event_and_code_whichever_door_they_came_by(
    town: Town, ada: Person, bob: Person
) -> None:
    talk = await ada.creates("direct", bob)
    hers = await ada.connects()
    async with moving(
        town,
        **{
            "requests_total__ok__message:send": 3,
            "requests_total__validation_failed__message:send": 2,
            "requests_total__not_found__message:list": 1,
            "requests_total__unknown_event__": 1,
        },
    ):
        await hers.says(talk, "One")
        await ada.says(talk, "Two")
        await ada.sends_files(talk, (b"Three", "three.txt"))
        for content in (5, None):
            with pytest.raises(Refused):
                await hers.says(talk, content)  # type: ignore[arg-type]
        with pytest.raises(Refused):
            await hers.asks("message:list", conversation_id="nothing")
        await hers.answer("nobody:answers")
    await hers.heard()


async def test_what_is_stored_and_how_long_it_takes_until_it_is_written(
    town: Town, ada: Person, bob: Person
) -> None:
    talk = await ada.creates("direct", bob)
    his = await bob.connects()
    async with moving(
        town,
        batch_size_count=2,
        batch_size_sum=2,
        batch_seconds_count=2,
        commit_to_write_seconds_count=2,
        hosted=0,
    ):
        await ada.says(talk, "One")
        await ada.says(talk, "Two")
        await his.heard()
        # He was given what waited; the batch it was in has yet to find that it is for nobody.
        await becomes(lambda: not town.node.feed._hub._owing)
    after = await numbers(town)
    assert 0 < after["palabre_commit_to_write_seconds_sum"] < 1
    assert 0 < after["palabre_batch_seconds_sum"] < 1


async def test_how_long_it_takes_until_a_batch_is_written(
    monkeypatch: pytest.MonkeyPatch, town: Town, ada: Person, bob: Person
) -> None:
    monkeypatch.setattr(hub, "FEW", 0)  # as in a large conversation
    talk = await ada.creates("direct", bob)
    his = await bob.connects()
    async with moving(town, commit_to_write_seconds_count=1):
        await ada.says(talk, "To many")
        await becomes(lambda: not town.node.feed._hub._owing)
    await his.heard()


async def test_sends_that_wait_to_be_stored(
    town: Town, ada: Person, bob: Person, database_url: str
) -> None:
    talk = await ada.creates("direct", bob)
    async with slow(database_url, talk["id"]):
        sent = asyncio.create_task(ada.says(talk, "Waiting"))
        await becomes(lambda: town.node.dispatcher.waiting == 1)
        waiting = await numbers(town)
    await sent
    settled = await numbers(town)

    assert (waiting["palabre_journal_waiting"], settled["palabre_journal_waiting"]) == (1, 0)
    assert waiting["palabre_journal_waiting_bytes"] > 0 == settled["palabre_journal_waiting_bytes"]
    assert (waiting["palabre_requests_waiting"], settled["palabre_requests_waiting"]) == (1, 0)


@pytest.mark.usefixtures("no_heads")
async def test_repairs_of_the_feed(
    monkeypatch: pytest.MonkeyPatch, town: Town, ada: Person, bob: Person
) -> None:
    monkeypatch.setattr(mender, "MOST_REPAIRED", 3)
    talk = await ada.creates("direct", bob)
    his = await bob.connects()
    bus: Any = town.node.bus

    async def loses(count: int) -> None:
        publish, bus.publish = bus.publish, lambda _: None
        for _ in range(count):
            await ada.says(talk, "Lost")
        bus.publish = publish

    async with moving(town, feed_repairs_total=1, feed_repaired_events_total=3):
        await loses(2)
        await ada.says(talk, "And on")
        await hears_of(his, 3)
    async with moving(town, feed_resyncs_total=1):
        await loses(5)
        await ada.says(talk, "And on")
        assert await his.hears("session:resync")
    his.is_checked = False


async def hears_of(device: Device, many: int) -> None:
    for _ in range(many):
        await device.hears("message:created")


async def test_a_database_that_the_feed_cannot_ask(
    monkeypatch: pytest.MonkeyPatch, town: Town, ada: Person, bob: Person
) -> None:
    await ada.creates("direct", bob)
    await ada.connects()
    before = (await numbers(town))["palabre_feed_failures_total"]

    async def fails(*_: object) -> None:
        raise OSError("no route")

    with monkeypatch.context() as broken:
        broken.setattr(repair, "differing", fails)
        town.node.feed.doubt()
        await becomes(lambda: town.node.feed.failures > before)
    assert (await numbers(town))["palabre_feed_failures_total"] > before


@pytest.mark.settings(limits=PATIENT)
async def test_who_does_not_read_is_spared_hints(
    town: Town, wires: Wires, ada: Person, bob: Person
) -> None:
    talk = await ada.creates("direct", bob)
    hers = await ada.connects()
    await wires.inside(bob.token, receive_bytes=DEAF_BYTES)
    typing = {"conversation_id": talk["id"]}
    async with moving(town, slow=1, shed_total=2):
        for _ in range((KERNEL_BYTES + 2**20) // len(LARGE)):
            await ada.says(talk, LARGE)
        await hers.asks("typing:start", **typing)
        await hers.asks("typing:stop", **typing)
    await hers.heard()
    hers.is_checked = False


@pytest.mark.settings(
    limits={"message_chars": 60_000, "output_bytes": 65_536, "sync_bytes": 65_536}
)
async def test_who_does_not_read_for_too_much_is_cut(
    town: Town, wires: Wires, ada: Person, bob: Person
) -> None:
    talk = await ada.creates("direct", bob)
    async with moving(town, **{"cut_total__it does not read": 1, "slow": 0, "people": 0}):
        await wires.inside(bob.token, receive_bytes=DEAF_BYTES)
        await becomes(lambda: sessions(town, "bob") == 1)
        while sessions(town, "bob"):
            await ada.says(talk, LARGE)


async def test_a_malformed_frame_is_counted_by_its_kind_and_not_by_its_words(
    town: Town, ada: Person, wires: Wires
) -> None:
    wire = await wires.inside(ada.token)
    async with moving(town, **{"cut_total__malformed frame": 1}):
        wire.says("9 what is this")
        await wire.ended()


async def test_uploads_that_are_under_way(town: Town, ada: Person) -> None:
    async with moving(town, uploads=1):
        form = by_hand(ada)
        await (await form.__aenter__()).says(part("file", b"half of a file", "a.txt"))
        await becomes(lambda: town.node.dispatcher.waiting == 0)
        await becomes(lambda: uploads(town) == 1)
    await form.__aexit__(None, None, None)
    await becomes(lambda: uploads(town) == 0)


def uploads(town: Town) -> int:
    under_way: int = town.node.drain.__self__._uploads.under_way
    return under_way


async def test_the_process_and_its_loop(town: Town) -> None:
    count = "palabre_loop_lag_seconds_count"
    before = after = await numbers(town)
    async with asyncio.timeout(WITHIN_S):
        while after[count] == before[count]:
            after = await numbers(town)
    assert after["process_resident_memory_bytes"] > 10_000_000
    assert after["process_open_fds"] > 3


async def test_nothing_in_it_is_of_one_person_or_conversation(
    town: Town, ada: Person, bob: Person
) -> None:
    talk = await ada.creates("direct", bob)
    hers = await ada.connects()
    await hers.says(talk, "A secret")
    _, text = await page(town)
    assert not [word for word in (talk["id"], ada.id, bob.id, "secret") if word in text]
    await hers.heard()


# Who may read


@pytest.mark.one_database
async def test_a_reader_nearby_is_told_and_one_behind_a_strange_proxy_is_not(town: Town) -> None:
    assert (await page(town))[0] == 200
    for name in ("X-Forwarded-For", "X-Forwarded-Proto", "Forwarded", "Via", "X-Real-IP"):
        status, text = await page(town, **{name: "127.0.0.1"})
        assert (status, "metrics.networks" in text, "palabre_" in text) == (403, True, False)


@pytest.mark.one_database
@pytest.mark.settings(http={"trusted_proxies": ["127.0.0.1/32"]})
async def test_behind_a_trusted_proxy_a_reader_is_where_it_says(town: Town) -> None:
    assert (await page(town, **{"X-Forwarded-For": "203.0.113.7"}))[0] == 403
    assert (await page(town, **{"X-Forwarded-For": "nonsense"}))[0] == 403
    assert (await page(town, **{"X-Forwarded-For": "127.0.0.5"}))[0] == 200


@pytest.mark.one_database
@pytest.mark.settings(metrics={"networks": ["10.0.0.0/8"]})
async def test_who_is_in_none_of_the_networks_is_refused(town: Town) -> None:
    assert (await page(town))[0] == 403


@pytest.mark.one_database
@pytest.mark.settings(metrics={"token": TOKEN})
async def test_with_a_token_everybody_needs_it(town: Town) -> None:
    for given in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {TOKEN}"}):
        assert (await page(town, **given))[0] == 401
    there = {"Authorization": f"Bearer {TOKEN}", "X-Forwarded-For": "203.0.113.7"}
    assert (await page(town, **there))[0] == 200


@pytest.mark.one_database
@pytest.mark.settings(metrics={"enabled": False})
async def test_without_metrics_there_is_no_such_page(town: Town) -> None:
    assert (await page(town))[0] == 404


@pytest.mark.one_database
async def test_metrics_at_a_port_of_their_own(settings: Settings) -> None:
    port = free_port()
    apart = settings.model_copy(
        update={"metrics": settings.metrics.model_copy(update={"port": port})}
    )
    async with app.running(apart) as node, aiohttp.ClientSession() as http:

        async def status(port: int, path: str) -> int:
            async with http.get(f"http://127.0.0.1:{port}{path}") as response:
                return response.status

        assert await status(node.port, "/metrics") == 404
        assert await status(port, "/metrics") == 200
        assert await status(port, "/healthz") == 404
