"""The same requests over HTTP: their routes, how fields arrive, how replies become answers."""

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from server.bearer import Bearer
from server.config import Settings
from server.dispatch import Dispatcher, Registry, Request, Route, read_json
from server.errors import UnsupportedMediaError, ValidationFailedError
from server.ids import new_id
from server.middleware import json, own_origin, whole_body
from server.multipart import FORM, go_on, say_later
from server.uploads import Uploads

BASE = "/api/messaging/"
_IN_ADDRESS = ("GET", "DELETE")


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

    def attach(self, app: web.Application, registry: Registry) -> None:
        """Add the route of every request, with and without its final slash."""
        for request in registry.requests.values():
            for route in request.routes:
                handler = self._handler(request, route)
                expect = say_later if route.takes_files else None
                for path in (route.path, route.path.rstrip("/")):
                    app.router.add_route(route.method, BASE + path, handler, expect_handler=expect)
                    if route.method == "GET":
                        app.router.add_route("HEAD", BASE + path, handler)

    def _handler(self, request: Request[Any], route: Route) -> Any:
        async def handle(http: web.Request) -> web.Response:
            caller = await self._bearer.caller(http)
            if route.takes_files and http.content_type == FORM:
                reply = await self._uploads.send(http, caller)
            else:
                if route.takes_files:
                    await go_on(http)
                raw, as_text = await _fields(http, route)
                reply = await self._dispatcher.ask(request, caller, raw, as_text=as_text)
            status = 201 if route.created is not None and route.created(reply) else 200
            return json(self._body(http, route, reply), status)

        return handle

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


async def _fields(http: web.Request, route: Route) -> tuple[dict[str, Any], bool]:
    """Return the fields of a request and whether they are all texts."""
    path = dict(http.match_info)
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
