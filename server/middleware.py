"""What all HTTP doors have in common: who may knock, how a refusal looks, what is logged."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from ipaddress import ip_address

import orjson
from aiohttp import web
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

BODY_S = 10.0
"""How long a body may take to arrive; whoever lets it drip would hold a connection for nothing."""

_EXPOSED = "ETag, Retry-After, Content-Range, Location"
_ACCEPTED = "Authorization, Content-Type, Idempotency-Key"
_METHODS = "GET, HEAD, POST, PATCH, PUT, DELETE, OPTIONS"
_BY_STATUS: dict[int, type[ClientError]] = {
    404: NotFoundError,
    405: MethodNotAllowedError,
    413: PayloadTooLargeError,
    415: UnsupportedMediaError,
}

log = get_logger("server.requests")
_level = logging.getLogger("server.requests")


def all_of(settings: Settings) -> list[Middleware]:
    """Return the middlewares of the application, the outermost first."""
    return [log_requests, shape_errors, Origins(settings).guard]


def json(body: object, status: int = 200) -> web.Response:
    """Return an answer of the API: never kept by anybody on the way."""
    return web.Response(
        body=orjson.dumps(body),
        status=status,
        headers={
            "Content-Type": "application/json; charset=utf-8",
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
        },
    )


def refusal(error: ClientError) -> web.Response:
    """Return a refusal in the shape of the API."""
    answer = json({"error": error.to_wire()}, error.status)
    if error.status == 401:
        answer.headers["WWW-Authenticate"] = 'Bearer realm="palabre"'
    if error.status in (429, 503):
        answer.headers["Retry-After"] = str(-(-(error.retry_after_ms or 1_000) // 1_000))
    return answer


async def whole_body(request: web.Request) -> bytes:
    """Return the whole body of a request; raises `DeadlineError` when it does not arrive."""
    try:
        async with asyncio.timeout(BODY_S):
            return await request.read()
    except TimeoutError:
        raise DeadlineError from None


@web.middleware
async def log_requests(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Write one line for each request: who, what, code, how long; never what was said.

    Those that went well are for whoever looks for something: they are written at `debug`.
    """
    started = time.monotonic()
    response = await handler(request)
    failed = response.status >= 400
    # A line costs as much as a small answer; looking whether it is wanted costs nothing.
    wanted = failed or _level.isEnabledFor(logging.DEBUG)
    if wanted and response.headers.get("Upgrade", "").lower() != "websocket":
        resource = request.match_info.route.resource
        (log.info if failed else log.debug)(
            "http",
            user=request.get(USER, ""),
            request=f"{request.method} {resource.canonical if resource else request.path}",
            code=response.status,
            ms=round((time.monotonic() - started) * 1_000, 1),
        )
    return response


@web.middleware
async def shape_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
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


def _shaped(error: web.HTTPException) -> web.Response:
    kind = _BY_STATUS.get(error.status)
    if kind is None:
        if error.status < 400:
            raise error
        return refusal(ValidationFailedError(error.reason))
    answer = refusal(kind())
    if "Allow" in error.headers:
        answer.headers["Allow"] = error.headers["Allow"]
    return answer


class Origins:
    """Which web pages may talk to this server from somebody's browser."""

    def __init__(self, settings: Settings) -> None:
        """Judge by the settings."""
        self._settings = settings

    @property
    def guard(self) -> Middleware:
        """Return the middleware that refuses other origins and answers preflights."""

        @web.middleware
        async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
            origin = request.headers.get("Origin")
            if origin is not None and not self._allows(request, origin):
                log.warning(
                    "origin refused",
                    origin=origin,
                    hint="add it to http.origins, or set http.public_url to our own address",
                )
                refused = refusal(ForbiddenError("This origin may not use this server."))
                refused.headers["Vary"] = "Origin"
                return refused
            if request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
                response: web.StreamResponse = web.Response(status=204)
                response.headers["Access-Control-Allow-Methods"] = _METHODS
                response.headers["Access-Control-Allow-Headers"] = _ACCEPTED
                response.headers["Access-Control-Max-Age"] = "600"
            else:
                response = await _answered(request, handler)
            if not response.prepared:
                _permit(response, origin)
            return response

        return guard

    def _allows(self, request: web.Request, origin: str) -> bool:
        return origin == own_origin(self._settings, request) or (
            self._settings.http.allows_origin(origin)
        )


async def _answered(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer refusals here already, so that a page of an allowed origin can read them."""
    return await shape_errors(request, handler)


def _permit(response: web.StreamResponse, origin: str | None) -> None:
    response.headers["Vary"] = "Origin"
    if origin is not None:
        response.headers["Access-Control-Allow-Origin"] = origin
        response.headers["Access-Control-Expose-Headers"] = _EXPOSED


def own_origin(settings: Settings, request: web.Request) -> str:
    """Return our own scheme and host, as browsers see them."""
    if settings.http.public_url:
        return settings.http.public_url.rstrip("/")
    scheme, host = request.scheme, request.host
    if _from_proxy(settings, request):
        scheme = request.headers.get("X-Forwarded-Proto", scheme).split(",")[0].strip()
        host = request.headers.get("X-Forwarded-Host", host).split(",")[0].strip()
    return f"{scheme}://{host}"


def _from_proxy(settings: Settings, request: web.Request) -> bool:
    """Return whether the peer is one whose forwarded headers count."""
    try:
        peer = ip_address(request.remote or "")
    except ValueError:
        return False
    return any(peer in network for network in settings.http.proxy_networks())
