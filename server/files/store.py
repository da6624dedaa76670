"""Bytes on a disk: received under a passing name, then kept under a key for as long as it takes.

The folder `incoming` has what has not been kept yet and `kept` what has, so that a crash leaves
nothing but old files in `incoming`. Keys are made by us; nothing that a client says becomes a path.
"""

import errno
import hashlib
import heapq
import os
import re
import shutil
from collections.abc import AsyncIterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING

from server.clock import now_ms
from server.errors import PayloadTooLargeError, StorageFullError
from server.files.threads import in_thread

if TYPE_CHECKING:
    from io import FileIO

_KEY = re.compile(r"[a-z0-9][a-z0-9_-]{0,99}")
_BATCH = 262_144
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True, slots=True)
class Received:
    """Bytes that have arrived and are not kept yet."""

    path: Path
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Kept:
    """Bytes that have a key, and since when, in seconds since 1970."""

    key: str
    since_s: float


class Store:
    """A folder of files, each known by its key."""

    def __init__(self, root: Path, *, keep_free: int = 0) -> None:
        """Make the folder, for our eyes only; raises `OSError`.

        `keep_free` is how many bytes of the disk what is received must leave to everybody else.
        """
        root = root.resolve()
        self._incoming = root / "incoming"
        self._kept = root / "kept"
        self._keep_free = keep_free
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        for folder in (self._incoming, self._kept):
            folder.mkdir(exist_ok=True, mode=0o700)

    async def receive(self, chunks: AsyncIterable[bytes], *, largest: int) -> Received:
        """Write what comes to a passing file and return it.

        Raises `PayloadTooLargeError` as soon as there are more than `largest` bytes, and
        `StorageFullError`. Whatever ends it early, a cancellation too, leaves no file.
        """
        writer = _Writer(self._incoming / token_hex(16), self._keep_free)
        try:
            await in_thread(writer.open)
            await _pour(chunks, writer, largest)
            await in_thread(writer.close)
        except BaseException:
            await in_thread(writer.drop)
            raise
        return Received(writer.path, writer.size, writer.digest.hexdigest())

    async def keep(self, source: Received | Path, key: str) -> None:
        """Give a passing file its key; when this returns, it is on the disk for good."""
        await in_thread(_move, _path_of(source), self.path(key))

    def path(self, key: str) -> Path:
        """Return where the bytes of a key are, or would be; `ValueError` if it is no key."""
        if not _KEY.fullmatch(key):
            message = "this is not a key of the store"
            raise ValueError(message)
        return self._kept / key

    async def open(self, key: str) -> tuple["FileIO", int]:
        """Open what is kept under a key and return it with its size; raises `FileNotFoundError`."""
        return await in_thread(_open, self.path(key))

    async def remove(self, key: str) -> None:
        """Remove what is kept under a key; that there is nothing is fine."""
        await in_thread(_unlink, self.path(key))

    async def discard(self, source: Received | Path) -> None:
        """Remove a passing file; that there is none is fine."""
        await in_thread(_unlink, _path_of(source))

    async def keys(self, *, after: str, most: int) -> list["Kept"]:
        """Return so many of the keys behind this one, in their order."""
        return await in_thread(_listed, self._kept, after, most)

    async def claim(self, mark: str) -> bool:
        """Mark a new folder; return whether the mark of this one is the same.

        Raises `OSError` when nothing can be written here.
        """
        return await in_thread(_claim, self._incoming, mark)

    async def sweep_temporary(self, older_than_s: float) -> int:
        """Remove passing files that nobody has written to for so long; return how many."""
        return await in_thread(_sweep, self._incoming, now_ms() / 1_000 - older_than_s)


async def _pour(chunks: AsyncIterable[bytes], writer: "_Writer", largest: int) -> None:
    waiting, size = bytearray(), 0
    async for chunk in chunks:
        size += len(chunk)
        if size > largest:
            message = f"The file is larger than {largest:,} bytes."
            raise PayloadTooLargeError(message)
        waiting += chunk
        if len(waiting) >= _BATCH:
            await in_thread(writer.write, bytes(waiting))
            waiting.clear()
    await in_thread(writer.write, bytes(waiting))


class _Writer:
    """Writes, counts and hashes; its methods run in threads, one after another."""

    def __init__(self, path: Path, keep_free: int) -> None:
        self.path = path
        self.size = 0
        self.digest = hashlib.sha256()
        self._keep_free = keep_free
        self._file: FileIO | None = None

    def open(self) -> None:
        with told_when_full():
            self._file = self.path.open("xb", buffering=0)
            self.path.chmod(0o600)

    def write(self, data: bytes) -> None:
        assert self._file is not None  # noqa: S101 (open() comes first)
        if self._keep_free and shutil.disk_usage(self.path.parent).free < (
            self._keep_free + len(data)
        ):
            raise StorageFullError(reason="the disk has no more room than it is to keep free")
        rest = memoryview(data)
        with told_when_full():
            while rest:
                rest = rest[self._file.write(rest) :]
        self.size += len(data)
        self.digest.update(data)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def drop(self) -> None:
        self.close()
        _unlink(self.path)


@contextmanager
def told_when_full() -> Iterator[None]:
    """Raise `StorageFullError` when a disk, a quota or a limit on file sizes leaves no room."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise StorageFullError(reason=str(error)) from error
        raise


def _path_of(source: Received | Path) -> Path:
    return source.path if isinstance(source, Received) else source


def _open(path: Path) -> tuple["FileIO", int]:
    file = path.open("rb", buffering=0)
    return file, os.fstat(file.fileno()).st_size


def _unlink(path: Path) -> None:
    path.unlink(missing_ok=True)


def _move(source: Path, target: Path) -> None:
    """Rename a file once its bytes are on the disk, and bring the new name there too."""
    with told_when_full():
        _sync(source)
        source.replace(target)
        _sync(target.parent)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sweep(folder: Path, before_s: float) -> int:
    swept = 0
    for file in folder.iterdir():
        with suppress(FileNotFoundError):
            if file.stat().st_mtime < before_s:
                file.unlink()
                swept += 1
    return swept


def _listed(folder: Path, after: str, most: int) -> list[Kept]:
    with os.scandir(folder) as files:
        names = (file.name for file in files if file.name > after and _KEY.fullmatch(file.name))
        first = heapq.nsmallest(most, names)
    found = []
    for name in first:
        with suppress(FileNotFoundError):
            found.append(Kept(name, (folder / name).stat().st_ctime))
    return found


def _claim(incoming: Path, mark: str) -> bool:
    probe = incoming / token_hex(16)
    probe.write_text(mark)
    probe.unlink()
    file = incoming.with_name("database")
    with suppress(FileExistsError), file.open("x") as opened:
        opened.write(mark)
    return file.read_text() == mark
