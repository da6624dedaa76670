"""The door for files: forms over HTTP, streamed to disk, never held in memory.

Who asks and what they may is looked at before a byte of the body is read. From the moment all bytes
are here, what happens to them belongs to the process, like every other change.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from server.actions import attachments, messages
from server.bearer import Bearer
from server.dispatch import Dispatcher, read_json, unknown_field
from server.errors import (
    DeadlineError,
    ForbiddenError,
    RateLimitedError,
    UnavailableError,
    ValidationFailedError,
)
from server.events import Outcome
from server.ids import new_id
from server.intake import Arrival, Examined, Intake, Passing
from server.middleware import json
from server.multipart import Part, Room, go_on, parts, require_form, say_later
from server.permissions import Call, Caller
from server.schemas.requests import SendMessage

PATH = "uploads/"
FILE_FIELDS = ("files", "file", "image")

_AROUND_BYTES = 65_536
"""What a form may be longer than the files in it."""

# Fields whose value is not a text: in a form they are written as JSON.
_AS_JSON = frozenset(
    name
    for name, shape in SendMessage.model_json_schema()["properties"].items()
    if shape.get("type") in {"array", "object"}
)


@dataclass(slots=True)
class _Form:
    """What has arrived of a form."""

    fields: dict[str, Any] = field(default_factory=dict)
    arrivals: list[Arrival] = field(default_factory=list)

    @property
    def digests(self) -> dict[str, str]:
        """Return the SHA-256 of the bytes that arrived, by the id that each file will have."""
        return {one.id: one.received.sha256 for one in self.arrivals}


class Uploads:
    """Receives files, alone or with the message that they belong to."""

    def __init__(self, dispatcher: Dispatcher, bearer: Bearer, intake: Intake) -> None:
        """Receive for a store."""
        self._dispatcher = dispatcher
        self._bearer = bearer
        self._intake = intake
        self._turns: Counter[str] = Counter()
        self._idle = asyncio.Event()
        self._idle.set()

    def attach(self, app: web.Application, base: str) -> None:
        """Add the route, with and without its final slash."""
        for path in (PATH, PATH.rstrip("/")):
            app.router.add_post(base + path, self.upload, expect_handler=say_later)

    async def upload(self, http: web.Request) -> web.Response:
        """Receive one file that its owner will send later; answer 201 with its attachment."""
        caller = await self._bearer.caller(http)
        self._dispatcher.admit(caller, sends=True)
        limits = self._dispatcher.settings.limits
        require_form(http, largest=limits.attachment_bytes + _AROUND_BYTES)
        call = Call(caller, self._dispatcher.settings)
        self._require_open()
        await self._dispatcher.run(attachments.require_room(call), what="upload")
        async with self._receiving(caller) as passing:
            arrival = await self._only_file(http, passing)
            examined = await self._intake.examine(arrival, passing)
            work = self._keep(call, examined, passing.handed_over())
            outcome = await self._dispatcher.run(work, what="upload")
        return json(outcome.reply, 201)

    async def send(self, http: web.Request, caller: Caller) -> dict[str, Any]:
        """Receive a message with its files and return the reply of `message:send`."""
        limits = self._dispatcher.settings.limits
        self._dispatcher.admit(caller, sends=True)
        most = limits.attachments_per_message * limits.attachment_bytes
        require_form(http, largest=most + limits.event_bytes + _AROUND_BYTES)
        call = Call(caller, self._dispatcher.settings)
        async with self._receiving(caller) as passing:
            form = await self._form(http, call, passing)
            return await self._sent(call, form, passing)

    @property
    def under_way(self) -> int:
        """Return how many uploads are being received."""
        return self._turns.total()

    async def settle(self, within_s: float) -> None:
        """Wait until no upload is under way, but no longer than that."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), within_s)

    def _require_open(self) -> None:
        if not self._dispatcher.settings.limits.attachments_per_message:
            message = "This server takes no files."
            raise ForbiddenError(message)

    # Receiving

    @asynccontextmanager
    async def _receiving(self, caller: Caller) -> AsyncIterator[Passing]:
        with self._turn(caller.user_id):
            async with self._intake.looking_after(Passing()) as passing:
                yield passing

    @contextmanager
    def _turn(self, user_id: str) -> Iterator[None]:
        """Hold one of the places for uploads; raises when there is none."""
        bounds = self._dispatcher.settings.files
        if self._turns[user_id] >= bounds.uploads_per_user:
            message = f"One person may upload {bounds.uploads_per_user} files at a time."
            raise RateLimitedError(message, retry_after_ms=1_000)
        if self._turns.total() >= bounds.uploads_at_once:
            raise UnavailableError(retry_after_ms=2_000, reason="too many uploads at once")
        self._turns[user_id] += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._turns[user_id] -= 1
            if not self._turns[user_id]:
                del self._turns[user_id]
            if not self._turns:
                self._idle.set()

    async def _only_file(self, http: web.Request, passing: Passing) -> Arrival:
        """Return the one file of a form that may have nothing else."""
        arrival: Arrival | None = None
        async with self._in_time():
            await go_on(http)
            async for part in parts(http):
                if part.name not in FILE_FIELDS[1:]:
                    problem = unknown_field(part.name, list(FILE_FIELDS[1:]))
                    raise ValidationFailedError.of(part.name, problem)
                if arrival is not None:
                    raise ValidationFailedError.of(part.name, "is more than the one file")
                arrival = await self._arrival(part, part.name, passing)
        if arrival is None:
            raise ValidationFailedError.of("file", "is required")
        return arrival

    async def _form(self, http: web.Request, call: Call, passing: Passing) -> _Form:
        """Return a message's fields and files; the right to send them is looked at in between."""
        form = _Form(dict(http.match_info))
        header = http.headers.get("Idempotency-Key")
        texts = Room(self._dispatcher.settings.limits.event_bytes)
        async with self._in_time():
            await go_on(http)
            async for part in parts(http):
                if part.name in FILE_FIELDS:
                    await self._take_file(part, form, header, call, passing)
                else:
                    await _take_text(part, form, set(http.match_info), texts)
        given = form.fields.setdefault("client_msg_id", new_id() if header is None else header)
        if header is not None and given != header:
            raise ValidationFailedError.of("client_msg_id", "differs from Idempotency-Key")
        return form

    async def _take_file(
        self, part: Part, form: _Form, header: str | None, call: Call, passing: Passing
    ) -> None:
        most = call.settings.limits.attachments_per_message
        if len(form.arrivals) == most:
            raise ValidationFailedError.of(part.name, f"are more than {most}")
        if not form.arrivals:
            known = form.fields.get("client_msg_id", header)
            welcome = messages.require_welcome(call, form.fields["conversation_id"], known)
            await self._dispatcher.run(welcome, what="message:send")
        name = f"{part.name}.{len(form.arrivals)}" if part.name == "files" else part.name
        form.arrivals.append(await self._arrival(part, name, passing))

    async def _arrival(self, part: Part, name: str, passing: Passing) -> Arrival:
        largest = self._dispatcher.settings.limits.attachment_bytes
        received = await self._intake.store.receive(part.chunks(), largest=largest)
        passing.paths.append(received.path)
        return Arrival(name, part.filename, received)

    @asynccontextmanager
    async def _in_time(self) -> AsyncIterator[None]:
        bound = self._dispatcher.settings.files.upload_timeout_s
        try:
            async with asyncio.timeout(bound):
                yield
        except TimeoutError as error:
            message = f"The upload took longer than {bound:g} seconds."
            raise DeadlineError(message) from error

    # Keeping

    async def _keep(self, call: Call, examined: Examined, passing: Passing) -> Outcome:
        async with self._intake.looking_after(passing):
            return Outcome(await self._intake.put_unsent(call, examined))

    async def _sent(self, call: Call, form: _Form, passing: Passing) -> dict[str, Any]:
        fields, digests = form.fields, form.digests
        given = fields.get("attachment_ids", [])
        if isinstance(given, list):
            fields["attachment_ids"] = [*given, *digests]
        request = self._dispatcher.parse(SendMessage, fields)
        before = messages.sent_before(call, request, digests)
        again = await self._dispatcher.run(before, what="message:send")
        if again.reply:
            return again.reply
        examined = [await self._intake.examine(one, passing) for one in form.arrivals]
        work = self._send(call, request, digests, examined, passing.handed_over())
        return (await self._dispatcher.run(work, what="message:send")).reply

    async def _send(
        self,
        call: Call,
        request: SendMessage,
        digests: dict[str, str],
        examined: Sequence[Examined],
        passing: Passing,
    ) -> Outcome:
        async with self._intake.looking_after(passing):
            if examined:
                await self._intake.put(call, examined)
            try:
                outcome = await messages.send_received(call, request, digests)
            except BaseException:
                await self._intake.give_up(digests)
                raise
            if outcome.reply["duplicate"]:
                # Somebody sent the same at the same time: theirs were claimed.
                await self._intake.give_up(digests)
            return outcome


async def _take_text(part: Part, form: _Form, in_path: set[str], texts: Room) -> None:
    """Read a field, unless it is none of this request or there already."""
    name = part.name
    if name in in_path:
        raise ValidationFailedError.of(name, "is already named by the path")
    if name not in SendMessage.model_fields:
        known = [*SendMessage.model_fields, *FILE_FIELDS]
        raise ValidationFailedError.of(name, unknown_field(name, known))
    if name in form.fields:
        raise ValidationFailedError.of(name, "is given twice")
    text = await part.text(texts)
    form.fields[name] = _from_json(name, text) if name in _AS_JSON else text


def _from_json(name: str, text: str) -> Any:
    try:
        return read_json(text)
    except ValueError as error:
        raise ValidationFailedError.of(name, f"is not JSON: {error}") from error
