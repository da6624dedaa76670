"""`palabre serve` as a process: what it needs, what it allows, how it ends."""

import resource
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.conftest import SECRET, Starts
from tests.people import Device, Person
from tests.process import Process, finished

# Whoever waited for those who are silent would wait for the second of them.
FINISH_S = 10
QUICK = {"PALABRE_DRAIN__SPREAD_S": "0.5", "PALABRE_DRAIN__FINISH_S": str(FINISH_S)}


async def test_a_stop_with_200_clients_takes_a_few_seconds(starts: Starts) -> None:
    process, town = await starts(**QUICK, PALABRE_LIMITS__SEND_RATE="0")
    people = [town.person(f"person{n}") for n in range(10)]
    talk = await people[0].creates("group", *people[1:])
    devices = [await person.connects() for person in people for _ in range(20)]
    await devices[0].says(talk, "Good night")
    await must_stop_soon(process, signal.SIGTERM, devices)


async def must_stop_soon(process: Process, how: signal.Signals, devices: list[Device]) -> None:
    """Half of the clients do not answer any more; that holds nobody up and is no failure."""
    for device in devices[::2]:
        fall_silent(device)

    began = time.monotonic()
    process.send(how)
    status = await process.ended()

    assert time.monotonic() - began < FINISH_S / 2
    assert status == 0
    assert "Traceback" not in process.text
    assert process.logged("stopping")
    levels = {line["level"] for line in process.log}
    assert levels == {"info"}


def fall_silent(device: Device) -> None:
    """Read nothing any more and say nothing, not even goodbye."""
    assert device._reader is not None
    device._reader.cancel()


async def test_what_was_acknowledged_before_a_crash_is_there_after_it(starts: Starts) -> None:
    process, town = await starts()
    ada, bob = town.person("ada"), town.person("bob")
    talk = await ada.creates("direct", bob)
    said = await (await ada.connects()).says(talk, "Remember this")
    await process.dies()

    _, town = await starts()
    page = await town.person("bob").get(f"conversations/{talk['id']}/messages/")

    assert [message["id"] for message in page["results"]] == [said["id"]]


@pytest.mark.one_database
async def test_settings_of_the_environment_hold_on_the_wire(starts: Starts) -> None:
    _, town = await starts(PALABRE_LIMITS__MEMBERS="5000")
    device = await town.person("ada").connects()
    assert device.ready["limits"]["members"] == 5_000


@pytest.mark.one_database
async def test_the_command_line_chooses_host_and_port(starts: Starts) -> None:
    process, _ = await starts("--host", "127.0.0.1", "--port", "0", PALABRE_HTTP__PORT="1")
    line = process.logged("serving")
    assert line is not None
    assert line["host"] == "127.0.0.1"
    assert line["port"] > 1


@pytest.mark.one_database
async def test_relative_paths_are_from_the_working_directory(
    starts: Starts, tmp_path: Path
) -> None:
    key = Ed25519PrivateKey.generate()
    (tmp_path / "keys").mkdir()
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "keys" / "public.pem").write_bytes(public)
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "palabre.toml").write_text(
        "[auth]\npublic_key = 'keys/public.pem'\n[database]\nurl = 'sqlite://var/palabre.db'\n"
    )
    nothing = {"PALABRE_AUTH__SECRET": "", "PALABRE_DATABASE__URL": "sqlite://var/palabre.db"}
    _, town = await starts("--config", "etc/palabre.toml", **nothing)

    token = jwt.encode({"sub": "ada", "exp": int(time.time()) + 60}, key, algorithm="EdDSA")
    assert (await Person(town, "ada", token=token).get("me/"))["id"] == "ada"
    assert (tmp_path / "var" / "palabre.db").exists()


@pytest.mark.one_database
async def test_a_second_process_cannot_open_the_same_sqlite_file(
    starts: Starts, tmp_path: Path
) -> None:
    given = {"PALABRE_DATABASE__URL": "sqlite://one.db", "PALABRE_AUTH__SECRET": SECRET}
    await starts(**given)
    status, _, err = await finished("serve", "--port", "0", cwd=tmp_path, environment=given)
    assert status == 2
    assert "database.url: one.db is in use" in err


@contextmanager
def few_files(count: int) -> Iterator[int]:
    """Let processes that start now have few open files, and return what they may raise it to."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
    try:
        yield hard
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.one_database
async def test_the_limit_of_open_files_is_raised_and_300_clients_do_not_hold_up_a_ctrl_c(
    starts: Starts,
) -> None:
    with few_files(256) as hard:
        process, town = await starts(**QUICK)
    line = process.logged("open files allowed")
    assert line is not None
    assert line["files"] == (min(hard, 1_048_576) if hard > 0 else 1_048_576)
    assert 256 < line["connections"] < line["files"]
    # More than the old limit at once: the new one is not only said.
    people = [town.person(f"person{n}") for n in range(15)]
    devices = [await person.connects() for person in people for _ in range(20)]
    assert len(devices) == 300
    await devices[-1].hears_nothing()
    await must_stop_soon(process, signal.SIGINT, devices)
