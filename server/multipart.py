"""Forms with files (multipart/form-data, RFC 7578), read piece by piece as they arrive.

The library parses; what it makes of a broken or cut off form is one refusal here.
"""

import warnings
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass
from typing import TypeVar

from aiohttp import (
    BadContentDispositionHeader,
    BadContentDispositionParam,
    BodyPartReader,
    HttpVersion11,
    web,
)
from aiohttp.http_exceptions import HttpProcessingError

from server.errors import (
    ClientError,
    PayloadTooLargeError,
    UnsupportedMediaError,
    ValidationFailedError,
)

FORM = "multipart/form-data"

_CHUNK = 65_536
# What the library raises for a form that is none, and for a client that goes away.
_BROKEN = (
    *(AssertionError, OSError, RuntimeError, RuntimeWarning, ValueError),
    *(HttpProcessingError, web.RequestPayloadError),
)
_PLAIN = ("7bit", "8bit", "binary")
# A part that is not worth a byte still costs us one.
_PART_BYTES = 64

# They quote the client; a header without a name is refused below.
for _kind in (BadContentDispositionHeader, BadContentDispositionParam):
    warnings.filterwarnings("ignore", category=_kind)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Part:
    """One field of a form whose value has not been read yet."""

    name: str
    filename: str | None
    _reader: BodyPartReader

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the value as it arrives; raises `ValidationFailedError` when it is cut off."""
        while chunk := await _read(self._reader.read_chunk(_CHUNK)):
            yield bytes(chunk)

    async def text(self, room: "Room") -> str:
        """Return the value as text, if there is room for it."""
        room.take(_PART_BYTES + len(self.name))
        value = bytearray()
        async for chunk in self.chunks():
            room.take(len(chunk))
            value += chunk
        try:
            return value.decode()
        except UnicodeDecodeError as error:
            raise ValidationFailedError.of(self.name, "is not UTF-8 text") from error


class Room:
    """The bytes that all texts of a form may have together."""

    def __init__(self, largest: int) -> None:
        """Begin with nothing taken."""
        self._left = largest

    def take(self, size: int) -> None:
        """Take so many bytes; raises `PayloadTooLargeError`."""
        self._left -= size
        if self._left < 0:
            raise PayloadTooLargeError


def require_form(http: web.Request, *, largest: int) -> None:
    """Raise for what is no form, and for one that says itself that it is too large."""
    if http.content_type != FORM or "boundary" not in http.headers["Content-Type"]:
        message = f"The body must be {FORM}."
        raise UnsupportedMediaError(message)
    if http.headers.get("Content-Encoding", "identity").lower() != "identity":
        message = "The body must not be compressed."
        raise UnsupportedMediaError(message)
    if http.content_length is not None and http.content_length > largest:
        raise PayloadTooLargeError


async def parts(http: web.Request) -> AsyncIterator[Part]:
    """Yield the fields of a form in their order; what a caller leaves of one is skipped."""
    reader = await _read(http.multipart())
    while (part := await _read(reader.next())) is not None:
        yield _part(part)


def _part(part: object) -> Part:
    if not isinstance(part, BodyPartReader):
        raise _broken("has a form within a form")
    encoding = part.headers.get("Content-Transfer-Encoding", "binary").lower()
    if encoding not in _PLAIN:
        raise _broken("has a part with a Content-Transfer-Encoding")
    if not part.name or not part.name.isprintable():
        raise _broken("has a part without a name that can be read")
    return Part(part.name, part.filename, part)


async def _read(work: Awaitable[T]) -> T:
    try:
        return await work
    except _BROKEN as error:
        raise _broken(f"is not a whole form as {FORM} has them") from error


def _broken(problem: str) -> ClientError:
    return ValidationFailedError.of("body", problem)


async def go_on(http: web.Request) -> None:
    """Tell a client that asked with `Expect: 100-continue` that its body is wanted."""
    asked = http.headers.get("Expect", "").lower() == "100-continue"
    if asked and http.version >= HttpVersion11:
        await http.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        http.writer.output_size = 0


async def say_later(_: web.Request) -> None:
    """Let a client that asked wait until somebody has looked at who it is: see `go_on`."""
