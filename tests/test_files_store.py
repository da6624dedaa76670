"""Bytes on the disk: what arrives, what stays, and that nothing is left of what did not."""

import asyncio
import hashlib
import os
import resource
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from server import clock
from server.errors import PayloadTooLargeError, StorageFullError
from server.files.store import Received, Store
from server.files.threads import in_thread

pytestmark = pytest.mark.one_database


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "files"


@pytest.fixture
def store(root: Path) -> Store:
    return Store(root)


def everything(root: Path) -> dict[str, bytes]:
    found = (path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): path.read_bytes() for path in found}


async def sends(*chunks: bytes, taken: list[bytes] | None = None) -> AsyncIterator[bytes]:
    for chunk in chunks:
        if taken is not None:
            taken.append(chunk)
        yield chunk


async def receives(store: Store, *chunks: bytes, largest: int = 10_000_000) -> Received:
    return await store.receive(sends(*chunks), largest=largest)


async def test_what_arrives_is_kept_under_its_key(root: Path, store: Store) -> None:
    data = os.urandom(700_000)
    pieces = [data[at : at + 8_192] for at in range(0, len(data), 8_192)]

    received = await receives(store, *pieces, largest=len(data))
    assert received.path.read_bytes() == data
    assert (received.size, received.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert list(everything(root / "kept")) == []
    await store.keep(received, "0199-320")

    assert store.path("0199-320").read_bytes() == data
    assert everything(root / "incoming") == {}
    for path in (root, root / "kept", root / "incoming"):
        assert path.stat().st_mode & 0o777 == 0o700
    assert store.path("0199-320").stat().st_mode & 0o777 == 0o600
    for _ in range(2):
        await store.remove("0199-320")
    assert everything(root) == {}


async def test_a_file_that_is_too_large_is_not_read_to_its_end(root: Path, store: Store) -> None:
    taken: list[bytes] = []

    with pytest.raises(PayloadTooLargeError) as refusal:
        await store.receive(sends(*[b"x" * 100_000] * 50, taken=taken), largest=1_000_000)

    assert "1,000,000" in refusal.value.message
    assert len(taken) == 11
    assert everything(root) == {}
    exact = await receives(store, b"x" * 1_000_000, largest=1_000_000)
    assert exact.size == 1_000_000


async def test_an_upload_that_breaks_off_leaves_nothing(root: Path, store: Store) -> None:
    arrived = asyncio.Event()

    async def stalls() -> AsyncIterator[bytes]:
        yield b"x" * 600_000
        arrived.set()
        await asyncio.Event().wait()

    async def breaks() -> AsyncIterator[bytes]:
        yield b"x" * 600_000
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await store.receive(breaks(), largest=10_000_000)
    assert everything(root) == {}

    task = asyncio.create_task(store.receive(stalls(), largest=10_000_000))
    await arrived.wait()
    assert len(everything(root / "incoming")) == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert everything(root) == {}


async def test_an_upload_cancelled_at_any_moment_leaves_nothing(root: Path, store: Store) -> None:
    for turns in range(12):
        task = asyncio.create_task(receives(store, *[b"x" * 300_000] * 3))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        # A second cancellation, as at the end of a server, must not leave the file either.
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()
        assert everything(root) == {}


async def test_a_thread_is_waited_for_when_nobody_wants_its_work_any_more() -> None:
    begun, released = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        released.wait(20)

    task = asyncio.create_task(in_thread(work))
    await asyncio.to_thread(begun.wait, 20)
    for _ in range(2):
        task.cancel()
        for _ in range(5):
            await asyncio.sleep(0)
        assert not task.done()
    released.set()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("why", ["little is free", "a file cannot grow"])
async def test_a_full_disk_is_said_and_leaves_nothing(
    root: Path, why: str, request: pytest.FixtureRequest
) -> None:
    store = Store(root, keep_free=2**62 if why == "little is free" else 0)
    if why == "a file cannot grow":
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        request.addfinalizer(lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard)))
        resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, hard))

    with pytest.raises(StorageFullError):
        await receives(store, b"x" * 300_000, b"y" * 300_000)

    assert everything(root) == {}


async def test_many_arrive_at_once_and_none_gets_anothers_bytes(store: Store) -> None:
    wanted = [os.urandom(300_000) for _ in range(10)]

    async def kept(number: int, data: bytes) -> None:
        await store.keep(await receives(store, data[:100_000], data[100_000:]), f"file-{number}")

    await asyncio.gather(*(kept(number, data) for number, data in enumerate(wanted)))

    assert [store.path(f"file-{number}").read_bytes() for number in range(10)] == wanted


async def test_nothing_but_a_key_becomes_a_path(root: Path, store: Store) -> None:
    received = await receives(store, b"x")
    hostile = [
        "",
        ".",
        "..",
        "../kept/a",
        "a/b",
        "a\\b",
        "/etc/passwd",
        "a.gz",
        "A",
        "a\x00",
        "a\n",
    ]

    for key in (*hostile, "-a", "é", "a" * 101):
        with pytest.raises(ValueError, match="key"):
            store.path(key)
        with pytest.raises(ValueError, match="key"):
            await store.keep(received, key)
        with pytest.raises(ValueError, match="key"):
            await store.remove(key)

    assert list(everything(root)) == [f"incoming/{received.path.name}"]


async def test_what_nobody_came_back_for_is_swept(
    monkeypatch: pytest.MonkeyPatch, root: Path, store: Store
) -> None:
    left = await receives(store, b"left behind")
    kept = await receives(store, b"kept")
    await store.keep(kept, "kept")
    assert await store.sweep_temporary(60) == 0

    now = clock.now_ms()
    monkeypatch.setattr("server.files.store.now_ms", lambda: now + 61_000)

    assert await store.sweep_temporary(60) == 1
    assert not left.path.exists()
    assert everything(root) == {"kept/kept": b"kept"}


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "files").write_text("a file is in the way")

    with pytest.raises(OSError, match="exists"):
        Store(tmp_path / "files")
