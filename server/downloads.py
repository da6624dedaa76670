"""The door for reading files: by token, or by a signed address where no token can be sent.

Whether somebody may read a file is asked with every request, also for a part of it and for one that
has not changed. What is sent can be shown, but nothing in it can run (`nosniff`, a sandbox, and
only pictures that we encoded ourselves are shown in place).
"""

import asyncio
import re
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from io import FileIO
from typing import Any
from urllib.parse import quote

import orjson
from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.web_request import BaseRequest

from server.actions import files
from server.actions.files import Claim
from server.bearer import Bearer
from server.dispatch import Dispatcher, unknown_field
from server.errors import InternalError, NotFoundError, RateLimitedError, ValidationFailedError
from server.files.store import Store
from server.files.threads import in_thread
from server.logs import get_logger
from server.middleware import USER, json
from server.schemas.values import AttachmentKind

PATHS = ("files/{file_id}/", "files/{file_id}/thumb/{size}/")

_BATCH = 65_536
_ID = re.compile(r"[0-9a-f-]{36}")
_SECONDS = re.compile(r"[1-9][0-9]{0,11}")
_RANGE = re.compile(r"bytes=(?:([0-9]{1,15})-([0-9]{0,15})|-([0-9]{1,15}))")
_PROOF = ("user", "expires", "signature")

log = get_logger("server.files")


@dataclass(frozen=True, slots=True)
class _Version:
    """A file in one of its sizes."""

    key: str
    size: int
    content_type: str
    etag: str
    disposition: str


@dataclass(frozen=True, slots=True)
class _Span:
    """The bytes that are asked for; `is_part` if it was a range, though of all of them."""

    start: int
    count: int
    is_part: bool


class _UnsatisfiableError(Exception):
    """The range begins behind the end of the file."""


class Downloads:
    """Sends files to those who may read them."""

    def __init__(self, dispatcher: Dispatcher, bearer: Bearer, store: Store) -> None:
        """Send what a store keeps."""
        self._dispatcher = dispatcher
        self._bearer = bearer
        self._store = store
        self._settings = dispatcher.settings.files
        self._turns: Counter[str] = Counter()
        # A page of another site that may use us shows our pictures too; without any, none may.
        is_shared = bool(dispatcher.settings.http.origins)
        self._resource_policy = "cross-origin" if is_shared else "same-origin"

    def attach(self, app: web.Application, base: str) -> None:
        """Add the routes, with and without their final slash."""
        for path in PATHS:
            for written in (path, path.rstrip("/")):
                app.router.add_get(base + written, self.send)

    async def send(self, http: web.Request) -> web.StreamResponse:
        """Answer with a file, a part of it, or that it has not changed."""
        version = _version(await self._readable(http), http.match_info.get("size"))
        headers = self._headers(version)
        if any(tag.value in ("*", version.etag) for tag in http.if_none_match or ()):
            return web.Response(status=304, headers=headers)
        try:
            span = _span(http, version)
        except _UnsatisfiableError:
            return _unsatisfiable(version)
        turn = _Turn(self._turns, http[USER], most=self._settings.downloads_per_user)
        try:
            file = await self._opened(http, version)
        except BaseException:
            turn.end()
            raise
        piece = _Piece(file, span, turn, self._settings.download_stall_s)
        return _Download(piece, version, headers)

    async def _readable(self, http: web.Request) -> dict[str, Any]:
        """Return the file that is asked for; raises `NotFoundError` and what a token may do."""
        file_id = http.match_info["file_id"]
        for name in http.query:
            if name not in _PROOF:
                raise ValidationFailedError.of(name, unknown_field(name, list(_PROOF)))
        if http.query:
            looking = files.find_signed(_claim(http), file_id)
        else:
            caller = await self._bearer.caller(http)
            looking = files.find(caller.user_id, file_id)
        if not _ID.fullmatch(file_id):
            looking.close()
            raise NotFoundError
        reply = (await self._dispatcher.run(looking, what="file")).reply
        http[USER] = reply["user_id"]
        row: dict[str, Any] = reply["file"]
        return row

    def _headers(self, version: _Version) -> dict[str, str]:
        return {
            "Accept-Ranges": "bytes",
            "Cache-Control": "private, no-cache",
            "Content-Disposition": version.disposition,
            "Content-Security-Policy": "sandbox; default-src 'none'",
            "Content-Type": version.content_type,
            "Cross-Origin-Resource-Policy": self._resource_policy,
            "ETag": f'"{version.etag}"',
            "X-Content-Type-Options": "nosniff",
        }

    async def _opened(self, http: web.Request, version: _Version) -> FileIO:
        size = None
        with suppress(FileNotFoundError):
            file, size = await self._store.open(version.key)
            if size == version.size:
                return file
            await in_thread(file.close)
        await self._readable(http)  # it may have been deleted this very moment
        log.error("a file is not on the disk as it was kept", key=version.key, size=size)
        raise InternalError


def _claim(http: web.Request) -> Claim:
    """Return what a signed address says; raises `NotFoundError` when it does not say it all."""
    given = {name: http.query.getall(name, []) for name in _PROOF}
    if any(len(values) != 1 for values in given.values()):
        raise NotFoundError(reason="the signed address is not complete")
    (user_id,), (expires,), (code,) = given.values()
    if not _SECONDS.fullmatch(expires):
        raise NotFoundError(reason="the signed address has no time in it")
    return Claim(user_id, int(expires), code)


def _version(row: dict[str, Any], size: str | None) -> _Version:
    """Return the file as it is, or one of its thumbnails; raises `NotFoundError`."""
    is_image = row["kind"] == AttachmentKind.IMAGE
    disposition = _disposition("inline" if is_image else "attachment", row["name"])
    if size is None:
        content_type = row["content_type"]
        if content_type == "text/plain":
            content_type = "text/plain; charset=utf-8"
        return _Version(row["id"], row["size"], content_type, row["sha256"], disposition)
    for one in orjson.loads(row["thumbnails"]):
        if str(one["label"]) == size:
            return _Version(
                key=f"{row['id']}-{size}",
                size=one["size"],
                content_type=one["content_type"],
                etag=f"{row['sha256']}-{size}",
                disposition="inline",
            )
    raise NotFoundError


def _disposition(kind: str, name: str) -> str:
    """Return the header of RFC 6266, with the name once for everybody and once for old readers."""
    plain = re.sub(r'[^ -~]|["%;\\]', "_", name)
    return f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def _span(http: web.Request, version: _Version) -> _Span:
    """Return the bytes to send; all of them for a range that RFC 9110 lets us ignore."""
    whole = _Span(0, version.size, is_part=False)
    asked = _RANGE.fullmatch(http.headers.get("Range", ""))
    if asked is None or http.headers.get("If-Range", f'"{version.etag}"') != f'"{version.etag}"':
        return whole
    first, last, from_end = asked.groups()
    if from_end is not None:
        start, stop = max(version.size - int(from_end), 0), version.size
    else:
        start = int(first)
        stop = min(int(last) + 1, version.size) if last else version.size
        if last and int(last) < start:
            return whole
    if start >= version.size:
        raise _UnsatisfiableError
    return _Span(start, stop - start, is_part=True)


def _unsatisfiable(version: _Version) -> web.Response:
    error = ValidationFailedError.of("Range", f"begins behind the end, at {version.size:,} bytes")
    answer = json({"error": error.to_wire()}, 416)
    answer.headers["Content-Range"] = f"bytes */{version.size}"
    return answer


class _Turn:
    """One of the downloads that a person may have at a time."""

    def __init__(self, turns: Counter[str], user_id: str, *, most: int) -> None:
        if turns[user_id] >= most:
            raise RateLimitedError(retry_after_ms=1_000)
        turns[user_id] += 1
        self._turns = turns
        self._user_id = user_id

    def end(self) -> None:
        self._turns[self._user_id] -= 1
        if not self._turns[self._user_id]:
            del self._turns[self._user_id]


@dataclass(frozen=True, slots=True)
class _Piece:
    """An open file, what is to be sent of it, and how long its reader may take for a batch."""

    file: FileIO
    span: _Span
    turn: _Turn
    stall_s: float

    def read(self, at: int) -> bytes:
        """Return the next batch; lives in threads."""
        self.file.seek(self.span.start + at)
        return self.file.read(min(_BATCH, self.span.count - at))


class _Download(web.StreamResponse):
    """A file on its way, once the middlewares have seen its headers.

    aiohttp's own response for files looks for compressed siblings, dates its ETags by the disk and
    waits for ever for a reader who does not read.
    """

    def __init__(self, piece: _Piece, version: _Version, headers: dict[str, str]) -> None:
        span = piece.span
        super().__init__(status=206 if span.is_part else 200, headers=headers)
        self.content_length = span.count
        if span.is_part:
            last = span.start + span.count - 1
            self.headers["Content-Range"] = f"bytes {span.start}-{last}/{version.size}"
        self._piece = piece

    async def prepare(self, request: BaseRequest) -> AbstractStreamWriter | None:
        """Send everything; a reader who is too slow, or a file that shrinks, ends in a cut."""
        try:
            writer = await super().prepare(request)
            if request.method != "HEAD":
                await self._send(request)
            return writer
        finally:
            self._piece.turn.end()
            await in_thread(self._piece.file.close)

    async def _send(self, request: BaseRequest) -> None:
        sent = 0
        while sent < self._piece.span.count:
            data = await in_thread(self._piece.read, sent)
            if not data:
                raise _cut(request)
            try:
                async with asyncio.timeout(self._piece.stall_s):
                    await self.write(data)
            except TimeoutError:
                raise _cut(request) from None
            sent += len(data)


def _cut(request: BaseRequest) -> ConnectionResetError:
    """Cut the connection: nothing else says that what was promised will not come."""
    if request.transport is not None:
        request.transport.abort()
    return ConnectionResetError()
