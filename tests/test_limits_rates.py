"""Rates: how often somebody may ask before being told to slow down, and nobody else is slowed."""

from types import SimpleNamespace
from typing import Any

import pytest

from tests.people import Device, Person, all_messages
from tests.refusals import refused

pytestmark = pytest.mark.one_database

SLOW_SENDER = {"send_rate": 2, "send_burst": 3}
SLOW_CALLER = {"event_rate": 2, "event_burst": 3}


class StoppedClock:
    """Time that passes only when it is told to."""

    now = 1_000.0
    step = 0.0

    def passes(self, seconds: float) -> None:
        self.now += seconds

    def races(self) -> None:
        """Let nobody be too early any more: at the end of a test everybody looks around."""
        self.step = 3_600.0

    def read(self) -> float:
        self.now += self.step
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> StoppedClock:
    stopped = StoppedClock()
    monkeypatch.setattr("server.realtime.limits.time", SimpleNamespace(monotonic=stopped.read))
    return stopped


def is_too_early(error: dict[str, Any], wait_ms: int) -> bool:
    return error == {
        "code": "rate_limited",
        "message": "Too many requests. Slow down.",
        "retryable": True,
        "retry_after_ms": wait_ms,
    }


@pytest.mark.settings(limits=SLOW_SENDER)
async def test_a_person_sends_no_faster_than_the_rate(
    clock: StoppedClock, ada: Person, bob: Person
) -> None:
    talk = await ada.creates("direct", bob)
    her, his = await ada.connects(), await bob.connects()
    for number in range(3):
        await her.says(talk, f"{number}")

    no = await refused(her.says(talk, "Too early"))
    assert is_too_early(no.error, 501)
    clock.passes(0.25)
    assert is_too_early((await refused(her.says(talk, "Still"))).error, 251)
    clock.passes(0.25)
    await her.says(talk, "In time")

    heard = [data["message"]["content"] for _, data in await his.heard()]
    assert heard == ["0", "1", "2", "In time"]
    assert await her.heard_names() == ["message:created"] * 4
    assert [m["content"] for m in await all_messages(bob, talk["id"])] == heard


@pytest.mark.settings(limits=SLOW_SENDER)
async def test_one_rate_holds_for_all_doors_and_devices_of_a_person(
    clock: StoppedClock, ada: Person, bob: Person, cleo: Person
) -> None:
    talk, other = await ada.creates("direct", bob), await ada.creates("direct", cleo)
    phone, laptop, his = await ada.connects(), await ada.connects(), await bob.connects()
    await phone.says(talk, "1")
    await laptop.says(talk, "2")
    await ada.says(talk, "3")

    for too_many in (phone.says(talk, "4"), laptop.says(other, "4"), ada.says(other, "4")):
        assert is_too_early((await refused(too_many)).error, 501)
    path = f"conversations/{talk['id']}/send/"
    status, _, headers = await ada.call("POST", path, {"content": "4"})
    await his.says(talk, "Bob is not slowed")

    assert (status, headers["Retry-After"]) == (429, "1")
    for device in (phone, laptop, his):
        assert await device.heard_names() == ["message:created"] * 4


@pytest.mark.settings(limits={"send_rate": 1, "send_burst": 1})
async def test_retry_after_counts_whole_seconds_upwards(
    clock: StoppedClock, ada: Person, bob: Person
) -> None:
    talk = await ada.creates("direct", bob)
    await ada.says(talk, "1")

    status, body, headers = await ada.call(
        "POST", f"conversations/{talk['id']}/send/", {"content": "2"}
    )

    assert (status, headers["Retry-After"]) == (429, "2")
    assert is_too_early(body["error"], 1_001)


@pytest.mark.settings(limits=SLOW_SENDER)
async def test_a_pause_earns_a_burst_and_no_more(
    clock: StoppedClock, ada: Person, bob: Person
) -> None:
    talk = await ada.creates("direct", bob)
    for _ in range(2):
        clock.passes(3_600)
        for number in range(3):
            await ada.says(talk, f"{number}")
        assert (await refused(ada.says(talk, "4"))).status == 429


@pytest.mark.settings(limits=SLOW_SENDER)
async def test_only_sending_counts_as_sending(
    clock: StoppedClock, ada: Person, bob: Person
) -> None:
    talk = await ada.creates("direct", bob)
    said = [await ada.says(talk, f"{number}") for number in range(3)]
    her = await ada.connects()

    for number in range(5):
        await ada.get("me/")
        await her.asks("message:edit", message_id=said[0]["id"], content=f"edit {number}")

    assert await her.heard_names() == ["message:updated"] * 5


# Requests of a connection


async def reads(device: Device) -> None:
    await device.asks("sync", cursors={})


@pytest.mark.settings(limits=SLOW_CALLER)
async def test_a_connection_asks_no_faster_than_the_rate(clock: StoppedClock, ada: Person) -> None:
    phone, laptop = await ada.connects(), await ada.connects()
    for _ in range(3):
        await reads(phone)

    assert is_too_early((await refused(reads(phone))).error, 501)
    for _ in range(3):
        await reads(laptop)
    clock.passes(0.5)
    await reads(phone)
    assert (await refused(reads(phone))).code == "rate_limited"
    clock.races()


@pytest.mark.settings(limits=SLOW_CALLER)
async def test_bad_requests_count_too_and_are_answered(clock: StoppedClock, ada: Person) -> None:
    her = await ada.connects()
    codes = [(await her.answer("sync", {"x": 1}))["error"]["code"] for _ in range(5)]
    assert codes == ["validation_failed"] * 3 + ["rate_limited"] * 2
    clock.races()


@pytest.mark.settings(limits=SLOW_CALLER)
async def test_without_an_acknowledgement_the_refusal_is_told(
    clock: StoppedClock, ada: Person
) -> None:
    her = await ada.connects()
    for _ in range(4):
        await her.send_raw('42["sync",{}]')

    data = await her.hears("request:failed")

    assert data["event"] == "sync"
    assert is_too_early(data["error"], 501)
    clock.races()


@pytest.mark.settings(limits={"event_rate": 2, "event_burst": 4})
async def test_rest_has_a_rate_of_its_own_per_person(
    clock: StoppedClock, ada: Person, bob: Person
) -> None:
    clock.passes(3_600)
    her = await ada.connects()
    for _ in range(4):
        await ada.get("me/")

    assert (await refused(ada.get("me/"))).status == 429
    assert (await refused(ada.get("conversations/"))).code == "rate_limited"
    await reads(her)
    await bob.get("me/")
    clock.races()


@pytest.mark.settings(limits={"send_burst": 1, "event_burst": 1})
async def test_a_rate_of_zero_is_no_limit(clock: StoppedClock, ada: Person, bob: Person) -> None:
    talk = await ada.creates("direct", bob)
    her = await ada.connects()
    for number in range(50):
        await her.says(talk, f"{number}")
    assert await her.heard_names() == ["message:created"] * 50


@pytest.mark.settings(limits=SLOW_SENDER | SLOW_CALLER)
async def test_the_backend_is_not_slowed(
    clock: StoppedClock, ada: Person, bob: Person, backend: Person
) -> None:
    talk = await ada.creates("direct", bob)
    for number in range(10):
        await backend.says(talk, f"{number}", type="system")


@pytest.mark.settings(limits=SLOW_SENDER | SLOW_CALLER)
async def test_a_client_learns_the_rates(clock: StoppedClock, ada: Person) -> None:
    limits = (await ada.connects()).ready["limits"]
    assert limits.items() >= (SLOW_SENDER | SLOW_CALLER).items()
    clock.races()
