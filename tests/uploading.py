"""What is left on the disk, and uploads that are sent by hand, piece by piece."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from server.models import sql
from tests.eventually import becomes
from tests.people import WITHIN_S, Person, Town

BOUNDARY = "a-boundary"
_ROWS = "SELECT id FROM attachments ORDER BY id"
END = f"\r\n--{BOUNDARY}--\r\n".encode()


def kept(town: Town) -> set[str]:
    """Return the keys of all files that are in place."""
    return _names(town, "kept")


def passing(town: Town) -> set[str]:
    """Return the names of files that are being received or looked at."""
    return _names(town, "incoming")


def _names(town: Town, folder: str) -> set[str]:
    return {file.name for file in (Path(town.settings.files.folder) / folder).iterdir()}


def keys(*attachments: dict[str, Any]) -> set[str]:
    """Return the keys that these attachments have on the disk."""
    found = set()
    for one in attachments:
        labels = [small["url"].rstrip("/").rpartition("/")[2] for small in one["thumbnails"]]
        found |= {one["id"], *(f"{one['id']}-{label}" for label in labels)}
    return found


async def known_are(*attachments: dict[str, Any]) -> None:
    """Wait until the database knows these files and no others: a row goes after its bytes."""
    wanted = sorted(one["id"] for one in attachments)
    async with asyncio.timeout(WITHIN_S):
        while [row["id"] for row in await sql.fetch(_ROWS)] != wanted:  # noqa: ASYNC110
            await asyncio.sleep(0.001)


async def nothing_passes(town: Town) -> None:
    """Wait until no file is being received any more, and none was left."""
    await becomes(lambda: not passing(town))


def part(name: str, data: bytes, filename: str | None = None, *more: str) -> bytes:
    """Return a part of a form, without the line that ends it."""
    named = "" if filename is None else f'; filename="{filename}"'
    lines = [f"--{BOUNDARY}", f'Content-Disposition: form-data; name="{name}"{named}', *more]
    return "\r\n".join([*lines, "", ""]).encode() + data


class ByHand:
    """A form that arrives as slowly as its sender likes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def says(self, data: bytes) -> None:
        """Send one more piece of the body."""
        self._writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        await self._writer.drain()

    async def says_raw(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def ends(self) -> tuple[int, Any]:
        """Send the end of the body and return the answer."""
        await self.says_raw(b"0\r\n\r\n")
        return await self.answer()

    async def answer(self) -> tuple[int, Any]:
        """Return status and body of the answer, which may come before the end of the form."""
        async with asyncio.timeout(WITHIN_S):
            status = int((await self._reader.readline()).split()[1])
            headers = {}
            while line := (await self._reader.readline()).strip():
                name, _, value = line.decode().partition(":")
                headers[name.lower()] = value.strip()
            if status == 100:
                return status, None
            body = await self._reader.readexactly(int(headers["content-length"]))
            return status, json.loads(body)

    def aborts(self) -> None:
        """Lose the network."""
        self._writer.transport.abort()


@asynccontextmanager
async def by_hand(
    person: Person, path: str = "uploads/", *headers: str, chunked: bool = True
) -> AsyncIterator[ByHand]:
    """Begin a form; with `chunked` nobody says how long it will be."""
    at = urlsplit(person.town.url)
    reader, writer = await asyncio.open_connection(at.hostname, at.port)
    lines = [
        f"POST /api/messaging/{path} HTTP/1.1",
        f"Host: {at.netloc}",
        f"Authorization: Bearer {person.token}",
        f"Content-Type: multipart/form-data; boundary={BOUNDARY}",
        *(["Transfer-Encoding: chunked"] if chunked else []),
        *headers,
    ]
    writer.write("\r\n".join([*lines, "", ""]).encode())
    try:
        yield ByHand(reader, writer)
    finally:
        writer.transport.abort()
