"""The one path of every request: look up, limit, parse, act, commit, tell, answer.

All doors end here with the same data. Whoever asks may go away at any time: from the moment an
action starts, it belongs to the process. The task that commits also tells, and the request merely
waits for its answer. Waiting takes no task and no timer: `Waiting` is what is called back.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import partial
from typing import Any, Generic, NoReturn, Protocol, TypeVar, cast

import orjson
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from server.config import Settings
from server.errors import (
    ClientError,
    DeadlineError,
    InternalError,
    RateLimitedError,
    UnavailableError,
    UnknownEventError,
    ValidationFailedError,
)
from server.events import Event, Outcome
from server.ids import new_id
from server.journal import Entry, Waiter, database_refusal
from server.logs import get_logger
from server.permissions import ANYBODY, Asker, Call, Caller, Connection
from server.schemas.requests import RequestModel

DEADLINE_S = 5.0
"""How long anybody waits for an answer; the work itself goes on."""

log = get_logger(__name__)

RequestT = TypeVar("RequestT", bound=RequestModel)


@dataclass(frozen=True, slots=True)
class Route:
    """Where a request stands in REST, and how its reply becomes an answer there.

    `shows` names the key of the reply that is the whole body; `created` returns whether the reply
    stands for something new, which is the status 201.
    """

    method: str
    path: str
    answer: type[BaseModel]
    shows: str | None = None
    created: Callable[[Mapping[str, Any]], bool] | None = None
    renamed: Mapping[str, str] = field(default_factory=dict)
    makes_id: bool = False
    takes_files: bool = False


@dataclass(slots=True)
class Tally:
    """How often a request was answered, and how often it was refused, by code."""

    answered: int = 0
    refused: Counter[str] = field(default_factory=Counter)

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Count what is done here as one request."""
        try:
            yield
        except ClientError as error:
            self.refused[error.code] += 1
            raise
        self.answered += 1


@dataclass(frozen=True, slots=True)
class Request(Generic[RequestT]):
    """One thing a client may ask for."""

    name: str
    schema: type[RequestT]
    answer: type[BaseModel]
    act: Callable[[Call, RequestT], Awaitable[Outcome]]
    routes: tuple[Route, ...] = ()
    on_sockets: bool = True
    # For what may be written together with others: an entry, or None for what `act` has to do.
    draft: Callable[[Call, RequestT], Entry | None] | None = None
    sends: bool = False
    asked_by: tuple[Asker, ...] = ANYBODY
    tally: Tally = field(default_factory=Tally, compare=False)
    # Whether it changes nothing, which is what HTTP promises of GET.
    reads: bool = field(init=False)

    def __post_init__(self) -> None:
        """Learn from its routes what it is."""
        reads = bool(self.routes) and all(route.method == "GET" for route in self.routes)
        object.__setattr__(self, "reads", reads)


class Registry:
    """All requests by name; each is declared once, by its handler."""

    def __init__(self) -> None:
        """Begin with none."""
        self.requests: dict[str, Request[Any]] = {}

    def add(self, request: Request[Any]) -> None:
        """Take a request; a name declared twice stops the start."""
        if request.name in self.requests:
            message = f"{request.name} is declared twice"
            raise ValueError(message)
        self.requests[request.name] = request


def read_json(text: str | bytes) -> Any:
    """Return what a client wrote as JSON; raises ValueError.

    Half a surrogate pair, which JavaScript makes by cutting a text, is let through to the schemas,
    so that the refusal names the field that holds it.
    """
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        as_text = text.decode() if isinstance(text, bytes) else text
        try:
            return json.loads(as_text, parse_constant=_no_constant)
        except (ValueError, RecursionError):
            raise error from None


def _no_constant(name: str) -> NoReturn:
    message = f"{name} is not JSON"
    raise ValueError(message)


class Limiter(Protocol):
    """How often somebody may ask."""

    def take(self, caller: Caller, *, sends: bool) -> int | None:
        """Count one request and return how many milliseconds too early it is, or None."""

    def forget(self, caller: Caller) -> None:
        """Drop what was counted for a connection that has ended."""


class Teller(Protocol):
    """Who brings events to those who are to hear them."""

    def tell(self, events: Sequence[Event]) -> None:
        """Bring events of one committed change on their way, in this order."""


class Journal(Protocol):
    """Who writes the entries of many requests at once."""

    def submit(self, entry: Entry, waiter: Waiter) -> None:
        """Put an entry in line; whoever asked is told what becomes of it.

        What is stored is told by whoever stores it. Raises `UnavailableError`.
        """

    def doubt(self) -> None:
        """Have what was told compared with what is stored: somebody does not know what is."""

    async def settle(self) -> None:
        """Wait until everything that was submitted is decided."""


class Cleaner(Protocol):
    """Who removes the files that were given up."""

    def wake(self) -> None:
        """Look soon: there are some."""


Answer = Outcome | ClientError
Then = Callable[[Answer], None]
"""Takes the answer to a request, once; must not raise."""


class Waiting:
    """Somebody who waits for an outcome; the first answer counts, and it comes by the deadline."""

    __slots__ = ("_begin", "_due", "_tally", "_then", "_what")

    def __init__(
        self,
        what: str,
        tally: Tally,
        then: Then,
        begin: Callable[["Waiting"], None],
        due: dict["Waiting", float],
    ) -> None:
        """Wait for `what`, with a place in `due`; `begin` does what the journal leaves aside."""
        self._what = what
        self._tally = tally
        self._then: Then | None = then
        self._begin = begin
        self._due = due

    def decided(self, outcome: Outcome | None) -> None:
        """Hear what the journal did; with None it is to be done in a transaction of its own."""
        if outcome is None:
            self._begin(self)
        else:
            self.hear(outcome)

    def refused(self, error: Exception) -> None:
        """Hear why it was not done, or that nobody knows."""
        if self._then is not None:
            self.hear(_refusal_of(error, self._what))
        elif not isinstance(error, ClientError):
            log.warning("work failed after its deadline", error=str(error))

    def hear(self, answer: Answer) -> None:
        """Hand the answer on, unless there was one."""
        then, self._then = self._then, None
        if then is None:
            return
        self._due.pop(self, None)
        if isinstance(answer, Outcome):
            self._tally.answered += 1
        else:
            self._tally.refused[answer.code] += 1
        try:
            then(answer)
        except Exception:
            # Many answers come out of one batch: one that cannot be given takes no other with it.
            log.exception("an answer could not be given", request=self._what)


class Dispatcher:
    """Answers requests, whichever door they came by."""

    def __init__(  # noqa: PLR0913, PLR0917 (what it connects, given once)
        self,
        settings: Settings,
        registry: Registry,
        teller: Teller,
        journal: Journal,
        limiter: Limiter,
        cleaner: Cleaner,
    ) -> None:
        """Serve the requests of a registry."""
        self.settings = settings
        self._context = settings.limits.to_wire()
        self._registry = registry
        self._teller = teller
        self._journal = journal
        self._limiter = limiter
        self._cleaner = cleaner
        # Requests that nobody declares.
        self.unknown = 0
        self._uncounted = Tally()
        self._loop = asyncio.get_running_loop()
        self._working: set[asyncio.Task[Outcome]] = set()
        # Those who wait, in the order in which they are due, and what looks after them.
        self._due: dict[Waiting, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def find(self, name: str) -> Request[Any]:
        """Return a request that sockets may ask for; raises `UnknownEventError`."""
        request = self._registry.requests.get(name)
        if request is None or not request.on_sockets:
            self.unknown += 1
            raise UnknownEventError
        return request

    async def ask(
        self,
        request: Request[Any],
        caller: Caller,
        raw: object,
        *,
        connection: Connection | None = None,
        as_text: bool = False,
    ) -> dict[str, Any]:
        """Return the reply to a request; raises nothing but `ClientError`.

        With `as_text` all values are texts, as they come out of an address.
        """
        if request.reads and connection is None:
            try:
                self.admit(caller, sends=request.sends)
                payload = self.parse(request.schema, raw, as_text=as_text)
                work = request.act(Call(caller, self.settings), payload)
                reply = (await self._read(work, what=request.name)).reply
            except ClientError as error:
                request.tally.refused[error.code] += 1
                raise
            request.tally.answered += 1
            return reply
        answer: asyncio.Future[Outcome] = self._loop.create_future()
        then = partial(_settle, answer)
        self.post(request, caller, raw, then, connection=connection, as_text=as_text)
        return (await answer).reply

    @property
    def waiting(self) -> int:
        """Return how many requests are being answered."""
        return len(self._due)

    async def _read(self, work: Awaitable[Outcome], *, what: str) -> Outcome:
        """Read for somebody who comes over HTTP, in the task of that request: nothing cancels it.

        What takes too long is given up, because nobody needs it any more.
        """
        task = cast("asyncio.Task[Any]", asyncio.current_task())

        def hurry(_: Waiting | Answer) -> None:
            task.cancel()

        waiting = Waiting(what, self._uncounted, hurry, hurry, self._due)
        self._expect(waiting)
        try:
            return await work
        except asyncio.CancelledError:
            if waiting in self._due:
                raise  # the server stops
            task.uncancel()
            raise DeadlineError from None
        except ClientError:
            raise
        except Exception as error:
            raise _refusal_of(error, what) from error
        finally:
            self._due.pop(waiting, None)

    def post(  # noqa: PLR0913 (who asks for what, and how it came in)
        self,
        request: Request[Any],
        caller: Caller,
        raw: object,
        then: Then,
        *,
        connection: Connection | None = None,
        as_text: bool = False,
    ) -> None:
        """Begin to answer a request; `then` takes the answer, perhaps before this returns.

        What can be refused at once is; everything else belongs to the process from here on.
        """
        try:
            self.admit(caller, sends=request.sends)
            payload = self.parse(request.schema, raw, as_text=as_text)
            call = Call(caller, self.settings, connection)

            def act(waiting: Waiting) -> None:
                self._begin(request.act(call, payload), waiting)

            waiting = Waiting(request.name, request.tally, then, act, self._due)
            entry = None if request.draft is None else request.draft(call, payload)
            if entry is None:
                self._expect(waiting)
                act(waiting)
            else:
                self._journal.submit(entry, waiting)
                self._expect(waiting)
        except ClientError as error:
            request.tally.refused[error.code] += 1
            then(error)
        except Exception as error:  # noqa: BLE001 (whatever it is, there is an answer)
            request.tally.refused[InternalError.code] += 1
            then(_refusal_of(error, request.name))

    async def run(self, work: Awaitable[Outcome], *, what: str) -> Outcome:
        """Do some work to its end and tell of it, but wait only until the deadline.

        Raises nothing but `ClientError`.
        """
        answer: asyncio.Future[Outcome] = self._loop.create_future()
        begin = partial(self._begin, work)
        waiting = Waiting(what, self._uncounted, partial(_settle, answer), begin, self._due)
        self._expect(waiting)
        begin(waiting)
        return await answer

    def _begin(self, work: Awaitable[Outcome], waiting: Waiting) -> None:
        task = asyncio.ensure_future(self._finish(work))
        self._working.add(task)
        task.add_done_callback(partial(self._done, waiting))

    def _done(self, waiting: Waiting, task: asyncio.Task[Outcome]) -> None:
        self._working.discard(task)
        if task.cancelled():
            waiting.refused(UnavailableError())
            return
        error = task.exception()
        if error is None:
            waiting.hear(task.result())
        elif isinstance(error, Exception):
            waiting.refused(error)

    def _expect(self, waiting: Waiting) -> None:
        """Let an answer be due after the deadline: one timer for all of them."""
        self._due[waiting] = due = self._loop.time() + DEADLINE_S
        if self._timer is None:
            self._timer = self._loop.call_at(due, self._expire)

    def _expire(self) -> None:
        """Answer those who have waited too long; what they asked for goes on."""
        self._timer = None
        now = self._loop.time()
        while self._due:
            waiting, due = next(iter(self._due.items()))
            if due > now:
                self._timer = self._loop.call_at(due, self._expire)
                return
            waiting.hear(DeadlineError())

    def admit(self, caller: Caller, *, sends: bool) -> None:
        """Count one request; raises `RateLimitedError` when it comes too early."""
        early = self._limiter.take(caller, sends=sends)
        if early is not None:
            raise RateLimitedError(retry_after_ms=early)

    def parse(self, schema: type[RequestT], raw: object, *, as_text: bool = False) -> RequestT:
        """Return the typed request; raises `ValidationFailedError` that names the fields."""
        if not isinstance(raw, dict):
            raise ValidationFailedError.of("payload", "must be an object")
        try:
            if as_text:
                return schema.model_validate_strings(raw, context=self._context)
            return schema.model_validate(raw, context=self._context)
        except ValidationError as error:
            raise _refusal(error, schema) from error
        except RecursionError as error:
            raise ValidationFailedError.of("payload", "is nested too deeply") from error

    async def _finish(self, work: Awaitable[Outcome]) -> Outcome:
        try:
            outcome = await work
        except Exception as error:
            if isinstance(database_refusal(error), UnavailableError):
                # The database went away; perhaps it has stored it, and nobody tells of that.
                self._journal.doubt()
            raise
        try:
            self._teller.tell(outcome.events)
        except Exception:
            # The change is stored: its absence on the wire is found by comparing heads.
            log.exception("events could not be told")
            self._journal.doubt()
        if outcome.gives_up_files:
            self._cleaner.wake()
        return outcome

    def forget(self, caller: Caller) -> None:
        """Drop what is kept for a connection that has ended."""
        self._limiter.forget(caller)

    async def settle(self) -> None:
        """Wait until everything that was accepted has been finished."""
        # What the journal leaves aside goes on as work.
        await self._journal.settle()
        while self._working:
            await asyncio.wait(set(self._working))


def _refusal_of(error: Exception, what: str) -> ClientError:
    """Return what the client is told about a failure."""
    refusal = database_refusal(error)
    return refusal if isinstance(refusal, ClientError) else _internal(error, what)


def _settle(future: "asyncio.Future[Outcome]", answer: Answer) -> None:
    """Hand an answer to whoever awaits it, unless they are gone."""
    if future.done():
        return
    if isinstance(answer, Outcome):
        future.set_result(answer)
    else:
        future.set_exception(answer)


def _internal(error: Exception, what: str) -> InternalError:
    reference = new_id()
    log.error("request failed", request=what, reference=reference, exc_info=error)
    return InternalError(f"Something went wrong here. Reference: {reference}")


def unknown_field(name: str, known: list[str]) -> str:
    """Return what is wrong with a field that a request does not have."""
    near = get_close_matches(name, known, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"is not a field of this request{hint}"


def _refusal(error: ValidationError, schema: type[BaseModel]) -> ValidationFailedError:
    details = [_detail(item, schema) for item in error.errors(include_url=False)[:20]]
    first = details[0]
    return ValidationFailedError(f"{first['field']}: {first['problem']}", details=details)


def _detail(item: ErrorDetails, schema: type[BaseModel]) -> dict[str, str]:
    path = ".".join(str(step) for step in item["loc"]) or "payload"
    if item["type"] == "extra_forbidden":
        problem = unknown_field(str(item["loc"][-1]), list(schema.model_fields))
        return {"field": path, "problem": problem}
    if item["type"] == "missing":
        return {"field": path, "problem": "is required"}
    if item["type"] == "value_error":
        return {"field": path, "problem": str(item["ctx"]["error"])}
    message = item["msg"]
    return {"field": path, "problem": message[:1].lower() + message[1:]}
