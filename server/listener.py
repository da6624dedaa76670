"""How HTTP connections are served: by aiohttp, but who just asks is answered in one task.

aiohttp gives each connection a task that waits for requests, and each request another one that the
first waits for; a page of history would be handed on three times. This rests on how its
`RequestHandler` waits: pyproject.toml pins it to the minor, and tests/test_library_contracts.py
says what must hold.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from aiohttp.http import RawRequestMessage, StreamWriter
from aiohttp.streams import EMPTY_PAYLOAD

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


Protocols = Callable[[], asyncio.Protocol]
"""Makes what serves a connection."""


class Listener(web.AppRunner):
    """Serves an application, whose handler `before` may put another one in front of.

    In front of all connections there may be a `doorman`, who hands on those that are not for him.
    """

    __slots__ = ("_before", "_doorman")

    def __init__(
        self,
        app: web.Application,
        before: Callable[[Handler], Handler],
        *,
        doorman: Callable[[Protocols], Protocols] | None = None,
        **options: Any,
    ) -> None:
        """Serve with the options of aiohttp."""
        super().__init__(app, **options)
        self._before = before
        self._doorman = doorman

    async def _make_server(self) -> web.Server:
        made: Any = await super()._make_server()
        made.request_handler = self._before(made.request_handler)
        made.__class__ = _Server
        made.first = made.serve if self._doorman is None else self._doorman(made.serve)
        return made  # type: ignore[no-any-return]


class _Server(web.Server):
    first: Protocols

    def __call__(self) -> Any:
        return self.first()

    def serve(self) -> "_Connection":
        """Return what serves a connection by aiohttp."""
        return _Connection(self, loop=self._loop, **self._kwargs)


class _Connection(web.RequestHandler):
    """A connection, with what it waits by while a request is answered beside its own task."""

    __slots__ = ("_answering", "_held")

    _answering: "asyncio.Task[None] | None"
    _held: "asyncio.Future[None]"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._answering = None
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        waiter = self._waiter
        if waiter is None or waiter.done():
            super().data_received(data)
            return
        # Out of sight, so that it is not told what came before somebody has looked at it.
        self._waiter = None
        super().data_received(data)
        if self._is_plain():
            self._held = waiter
            # The server may let go of us before the task begins, so both are taken now.
            request, handler = self._next_request(), self._request_handler
            self._answering = self._loop.create_task(self._answer(request, handler))
            return
        self._waiter = waiter
        if self._messages:
            waiter.set_result(None)

    def _next_request(self) -> web.BaseRequest:
        """Take the request that came, as `start()` would."""
        theirs: Any = self
        message, payload = self._messages.popleft()
        theirs._parser.message_consumed()  # noqa: SLF001 (it is ours)
        theirs._manager.requests_count += 1  # noqa: SLF001
        writer = StreamWriter(self, self._loop)
        made: web.BaseRequest = theirs._request_factory(  # noqa: SLF001
            message, payload, self, writer, self._task_handler
        )
        return made

    def _is_plain(self) -> bool:
        """Return whether one request came that has no body, and nothing with it."""
        if len(self._messages) != 1 or self._upgraded:
            return False
        message, payload = self._messages[0]
        return (
            payload is EMPTY_PAYLOAD
            and isinstance(message, RawRequestMessage)
            and message.method == "GET"
            and not message.should_close
        )

    async def _answer(self, request: web.BaseRequest, handler: Any) -> None:
        """Answer a request, as `start()` would, while that waits."""
        goes_on = False
        try:
            answer, is_lost = await self._handle_request(request, None, handler)
            goes_on = bool(answer.keep_alive) and not is_lost
        except ConnectionError:
            pass  # nobody is there any more
        except Exception as error:  # noqa: BLE001 (there is nobody else to hear of it)
            self.log_exception("Unhandled exception", exc_info=error)
        finally:
            self._answering = None
            self._wait_on(goes_on=goes_on and not self._close and not self._force_close)

    def _wait_on(self, *, goes_on: bool) -> None:
        """Let `start()` wait for the next request, or end with the connection."""
        waiter = self._waiter = self._held
        if not goes_on:
            waiter.cancel()
            if self.transport is not None:
                self.transport.close()
            return
        self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        if self._keepalive_handle is None:
            self._keepalive_handle = self._loop.call_at(
                self._next_keepalive_close_time, self._process_keepalive
            )
        if self._messages and not waiter.done():
            waiter.set_result(None)

    async def shutdown(self, timeout: float | None = 15.0) -> None:  # noqa: ASYNC109 (theirs)
        await super().shutdown(timeout)
        if self._answering is not None:
            self._answering.cancel()
