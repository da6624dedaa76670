"""The same requests over HTTP: their routes, how fields arrive, how replies become answers."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web

from server.bearer import Bearer
from server.config import Settings
from server.dispatch import Dispatcher, Registry, Request, Route, read_json
from server.errors import UnsupportedMediaError, ValidationFailedError
from server.ids import new_id
from server.middleware import ROUTE, Handler, Manners, json, own_origin, whole_body
from server.multipart import FORM, go_on, say_later
from server.paths import Paths
from server.uploads import Uploads

BASE = "/api/messaging/"
_IN_ADDRESS = ("GET", "DELETE")

Answering = Callable[[web.Request, dict[str, str]], Awaitable[web.Response]]
"""Answers a request whose address names these fields."""


class Rest:
    """The REST door."""

    def __init__(
        self, settings: Settings, dispatcher: Dispatcher, bearer: Bearer, uploads: Uploads
    ) -> None:
        """Serve what a dispatcher answers; forms with files go another way to it."""
        self._settings = settings
        self._dispatcher = dispatcher
        self._bearer = bearer
        self._uploads = uploads
        self._reads: Paths[Answering] = Paths()

    def attach(self, app: web.Application, registry: Registry) -> None:
        """Add the route of every request, with and without its final slash."""
        for request in registry.requests.values():
            for route in request.routes:
                answer = self._answering(request, route)
                expect = say_later if route.takes_files else None
                for path in (route.path, route.path.rstrip("/")):
                    handler = _by_route(answer)
                    app.router.add_route(route.method, BASE + path, handler, expect_handler=expect)
                    if route.method == "GET":
                        app.router.add_route("HEAD", BASE + path, handler)
                        self._reads.add(BASE + path, answer)

    def before(self, others: Handler, manners: Manners) -> Handler:
        """Return what answers every GET of the API, and leaves the rest to others.

        It does what the application would do with it. But aiohttp tries one route after the other,
        which takes longer than all that is done here.
        """
        reads = self._reads

        async def answer(http: web.Request) -> web.StreamResponse:
            is_read = http.method == "GET" and "Expect" not in http.headers
            way = reads.find(http.rel_url.raw_path) if is_read else None
            if way is None:
                return await others(http)
            http[ROUTE], end, named = way
            return await manners.answer(http, lambda request: end(request, named))

        return answer

    def _answering(self, request: Request[Any], route: Route) -> Answering:
        async def answer(http: web.Request, named: dict[str, str]) -> web.Response:
            caller = await self._bearer.caller(http)
            if route.takes_files and http.content_type == FORM:
                with request.tally.counting():
                    reply = await self._uploads.send(http, caller)
            else:
                if route.takes_files:
                    await go_on(http)
                raw, as_text = await _fields(http, route, named)
                reply = await self._dispatcher.ask(request, caller, raw, as_text=as_text)
            status = 201 if route.created is not None and route.created(reply) else 200
            return json(self._body(http, route, reply), status)

        return answer

    def _body(self, http: web.Request, route: Route, reply: Mapping[str, Any]) -> Any:
        if route.shows is not None:
            return reply[route.shows]
        body = {route.renamed.get(name, name): value for name, value in reply.items()}
        if "next_cursor" in body:
            cursor = body["next_cursor"]
            body["next"] = None if cursor is None else self._next(http, cursor)
        return body

    def _next(self, http: web.Request, cursor: str) -> str:
        address = http.rel_url.update_query(cursor=cursor)
        return f"{own_origin(self._settings, http)}{address}"


def _by_route(answer: Answering) -> Handler:
    """Return what answers a request whose route aiohttp has found."""

    async def handle(http: web.Request) -> web.StreamResponse:
        return await answer(http, dict(http.match_info))

    return handle


async def _fields(
    http: web.Request, route: Route, path: dict[str, str]
) -> tuple[dict[str, Any], bool]:
    """Return the fields of a request and whether they are all texts."""
    body = await whole_body(http)
    if route.method in _IN_ADDRESS and not body:
        return {**_query(http), **_unclaimed(path, http.query)}, True
    if http.query:
        field = next(iter(http.query))
        raise ValidationFailedError.of(field, "belongs in the body, not in the address")
    fields = _parsed(http, body)
    if route.makes_id:
        _give_id(http, fields)
    return {**fields, **_unclaimed(path, fields)}, False


def _query(http: web.Request) -> dict[str, str]:
    fields: dict[str, str] = {}
    for name, value in http.query.items():
        if name in fields:
            raise ValidationFailedError.of(name, "is given twice")
        fields[name] = value
    return fields


def _unclaimed(path: dict[str, str], fields: Mapping[str, Any]) -> dict[str, str]:
    """Return the fields of the path; the request must not name them a second time."""
    for name in path:
        if name in fields:
            raise ValidationFailedError.of(name, "is already named by the path")
    return path


def _parsed(http: web.Request, body: bytes) -> dict[str, Any]:
    if not body:
        return {}
    if http.content_type != "application/json":
        message = "The body must be application/json."
        raise UnsupportedMediaError(message)
    try:
        fields = read_json(body)
    except ValueError as error:
        raise ValidationFailedError.of("body", f"is not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise ValidationFailedError.of("body", "must be an object")
    return fields


def _give_id(http: web.Request, fields: dict[str, Any]) -> None:
    """Take `client_msg_id` from the header `Idempotency-Key`; without either, make one."""
    header = http.headers.get("Idempotency-Key")
    if header is not None and fields.get("client_msg_id", header) != header:
        raise ValidationFailedError.of("client_msg_id", "differs from Idempotency-Key")
    fields.setdefault("client_msg_id", header if header is not None else new_id())
