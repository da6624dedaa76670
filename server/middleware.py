"""What all HTTP doors have in common: who may knock, how a refusal looks, what is logged."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from ipaddress import ip_address
from typing import Protocol, cast

import orjson
from aiohttp import HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.helpers import rfc822_formatted_time
from aiohttp.http import SERVER_SOFTWARE
from aiohttp.typedefs import Middleware

from server.config import Settings
from server.errors import (
    ClientError,
    DeadlineError,
    ForbiddenError,
    InternalError,
    MethodNotAllowedError,
    NotFoundError,
    PayloadTooLargeError,
    UnavailableError,
    UnsupportedMediaError,
    ValidationFailedError,
)
from server.ids import new_id
from server.logs import get_logger

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

USER = web.RequestKey("user", str)
"""Who asked, for the log."""

ROUTE = web.RequestKey("route", str)
"""What was asked for, for the log, where aiohttp was not asked which route it is."""

BODY_S = 10.0
"""How long a body may take to arrive; whoever lets it drip would hold a connection for nothing."""

_EXPOSED = "ETag, Retry-After, Content-Range, Location"
_ACCEPTED = "Authorization, Content-Type, Idempotency-Key"
_METHODS = "GET, HEAD, POST, PATCH, PUT, DELETE, OPTIONS"
_PREFLIGHT = {
    "Access-Control-Allow-Methods": _METHODS,
    "Access-Control-Allow-Headers": _ACCEPTED,
    "Access-Control-Max-Age": "600",
}
_HEADERS = {
    "Content-Type": "application/json; charset=utf-8",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
}
_BY_STATUS: dict[int, type[ClientError]] = {
    404: NotFoundError,
    405: MethodNotAllowedError,
    413: PayloadTooLargeError,
    415: UnsupportedMediaError,
}

log = get_logger("server.requests")
_level = logging.getLogger("server.requests")


class Asking(Protocol):
    """A request, as far as it says which page asks and where: also one that aiohttp never saw."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Return its headers, whose names have no case."""

    @property
    def scheme(self) -> str:
        """Return whether it came by `http` or `https`."""

    @property
    def host(self) -> str:
        """Return whom it asked."""

    @property
    def remote(self) -> str | None:
        """Return where it came from."""


class Answer(web.Response):
    """A whole answer of the API: never kept by anybody on the way, and written in one piece.

    Where it is as plain as most, aiohttp's way of putting one together is left out.
    """

    _request: web.BaseRequest | None = None

    def __init__(self, body: bytes, status: int) -> None:
        """Answer with JSON."""
        super().__init__(body=body, status=status, headers=_HEADERS)

    @property
    def keep_alive(self) -> bool | None:
        """Return whether the connection is used again."""
        return super().keep_alive if self._request is None else True

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Be written as the answer to this request."""
        is_plain = request.version == HttpVersion11 and request.method != "HEAD"
        if is_plain and request.keep_alive and super().keep_alive is None:
            self._request = request
            return None
        return await super().prepare(request)

    async def write_eof(self, data: bytes = b"") -> None:
        """Write everything."""
        request = self._request
        if request is None:
            await super().write_eof(data)
            return
        transport = request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError
        body = cast("bytes", self.body)
        given = "".join([f"{name}: {value}\r\n" for name, value in self.headers.items()])
        head = (
            f"HTTP/1.1 {self.status} {self.reason}\r\n{given}Content-Length: {len(body)}\r\n"
            f"Date: {rfc822_formatted_time()}\r\nServer: {SERVER_SOFTWARE}\r\n\r\n"
        )
        # What a header cannot hold came in an origin, and is left out as aiohttp does.
        transport.write(head.encode(errors="ignore") + body)
        if request.protocol.writing_paused:
            await request.writer.drain()


def json(body: object, status: int = 200) -> Answer:
    """Return an answer of the API."""
    return Answer(orjson.dumps(body), status)


def refusal(error: ClientError) -> Answer:
    """Return a refusal in the shape of the API."""
    answer = json({"error": error.to_wire()}, error.status)
    if error.status == 401:
        answer.headers["WWW-Authenticate"] = 'Bearer realm="palabre"'
    if error.status in (429, 503):
        answer.headers["Retry-After"] = str(-(-(error.retry_after_ms or 1_000) // 1_000))
    return answer


async def whole_body(request: web.Request) -> bytes:
    """Return the whole body of a request; raises `DeadlineError` when it does not arrive."""
    if not request.body_exists:
        return b""
    try:
        async with asyncio.timeout(BODY_S):
            return await request.read()
    except TimeoutError:
        raise DeadlineError from None


class Manners:
    """What every request meets at the door, whatever it asks for."""

    def __init__(self, settings: Settings) -> None:
        """Let those web pages ask that the settings name."""
        self._settings = settings

    @property
    def middleware(self) -> Middleware:
        """Return this as aiohttp calls it."""

        @web.middleware
        async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
            return await self.answer(request, handler)

        return middleware

    async def answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer by a handler, unless a page asks that may not; in the shape of all answers."""
        started = time.monotonic()
        origin = request.headers.get("Origin")
        if not self.allows(request):
            response = _turned_away(origin)
        elif request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
            response = _permitted(web.Response(status=204, headers=_PREFLIGHT), origin)
        else:
            response = _permitted(await _shaped_answer(request, handler), origin)
        _log(request, response, started)
        return response

    def allows(self, request: Asking) -> bool:
        """Return whether the page that asks may, if it is a page."""
        origin = request.headers.get("Origin")
        return (
            origin is None
            or origin == own_origin(self._settings, request)
            or self._settings.http.allows_origin(origin)
        )


def _turned_away(origin: str | None) -> web.StreamResponse:
    log.warning(
        "origin refused",
        origin=origin,
        hint="add it to http.origins, or set http.public_url to our own address",
    )
    refused = refusal(ForbiddenError("This origin may not use this server."))
    refused.headers["Vary"] = "Origin"
    return refused


def _permitted(response: web.StreamResponse, origin: str | None) -> web.StreamResponse:
    """Let the page that asked read an answer, a refusal too; what is on its way stays as it is."""
    if not response.prepared:
        response.headers["Vary"] = "Origin"
        if origin is not None:
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Access-Control-Expose-Headers"] = _EXPOSED
    return response


def _log(request: web.Request, response: web.StreamResponse, started: float) -> None:
    """Write one line for each request: who, what, code, how long; never what was said.

    Those that went well are for whoever looks for something: they are written at `debug`.
    """
    failed = response.status >= 400
    # A line costs as much as a small answer; looking whether it is wanted costs nothing.
    wanted = failed or _level.isEnabledFor(logging.DEBUG)
    if wanted and response.headers.get("Upgrade", "").lower() != "websocket":
        (log.info if failed else log.debug)(
            "http",
            user=request.get(USER, ""),
            request=f"{request.method} {_route(request)}",
            code=response.status,
            ms=round((time.monotonic() - started) * 1_000, 1),
        )


def _route(request: web.Request) -> str:
    """Return the address that was asked for, with the names of its fields where it is known."""
    if ROUTE in request:
        return request[ROUTE]
    resource = request.match_info.route.resource
    return resource.canonical if resource else request.path


async def _shaped_answer(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn whatever goes wrong into an answer with the shape of all refusals."""
    try:
        return await handler(request)
    except ClientError as error:
        if error.reason:
            log.info("refused", request=request.path, code=error.code, why=error.reason)
        return refusal(error)
    except web.HTTPException as error:
        return _shaped(error)
    except ConnectionResetError:  # whoever asked has gone: nobody reads this, and nothing is wrong
        return refusal(UnavailableError())
    except Exception:
        reference = new_id()
        log.exception("request failed", request=request.path, reference=reference)
        return refusal(InternalError(f"Something went wrong here. Reference: {reference}"))


def _shaped(error: web.HTTPException) -> Answer:
    kind = _BY_STATUS.get(error.status)
    if kind is None:
        if error.status < 400:
            raise error
        return refusal(ValidationFailedError(error.reason))
    answer = refusal(kind())
    if "Allow" in error.headers:
        answer.headers["Allow"] = error.headers["Allow"]
    return answer


def own_origin(settings: Settings, request: Asking) -> str:
    """Return our own scheme and host, as browsers see them."""
    if settings.http.public_url:
        return settings.http.public_url.rstrip("/")
    scheme, host = request.scheme, request.host
    if _from_proxy(settings, request):
        scheme = request.headers.get("X-Forwarded-Proto", scheme).split(",")[0].strip()
        host = request.headers.get("X-Forwarded-Host", host).split(",")[0].strip()
    return f"{scheme}://{host}"


def _from_proxy(settings: Settings, request: Asking) -> bool:
    """Return whether the peer is one whose forwarded headers count."""
    try:
        peer = ip_address(request.remote or "")
    except ValueError:
        return False
    return any(peer in network for network in settings.http.proxy_networks())
