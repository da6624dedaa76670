"""Files and pages that are not requests: the chat page, descriptions, and what operators ask."""

from collections.abc import Awaitable, Callable
from html import escape
from pathlib import Path
from typing import Any

from aiohttp import web

from server.dispatch import Registry
from server.middleware import json
from server.openapi import document, require_described

WEB = Path(__file__).parent / "web"

# Nothing but our own files runs or loads; people's pictures may come from elsewhere.
_POLICY = (
    "default-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data: blob: https:; "
    "style-src 'self'; script-src 'self'; object-src 'none'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'self'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}

Check = Callable[[], Awaitable[None]]


def attach(app: web.Application, registry: Registry, ready: Check, *, page: bool) -> None:
    """Add everything to an application; `ready` raises when the node cannot serve."""
    described = document(registry)
    require_described(app, described)

    async def healthz(_: web.Request) -> web.Response:
        return json({"status": "ok"})

    async def readyz(_: web.Request) -> web.Response:
        try:
            await ready()
        except Exception:  # noqa: BLE001 (whatever it is, the balancer must look elsewhere)
            return json({"status": "unavailable", "database": False}, 503)
        return json({"status": "ok", "database": True})

    async def openapi(_: web.Request) -> web.Response:
        return json(described)

    async def docs(_: web.Request) -> web.Response:
        text = docs_page(registry, described)
        return web.Response(text=text, content_type="text/html", headers=_HEADERS)

    for path, handler in {
        "/healthz": healthz,
        "/readyz": readyz,
        "/openapi.json": openapi,
        "/docs": docs,
    }.items():
        app.router.add_get(path, handler)
        app.router.add_get(f"{path}/", handler)
    app.router.add_get("/web/{path:.+}", _asset)
    if page:
        app.router.add_get("/", _index)


async def _index(_: web.Request) -> web.StreamResponse:
    return web.FileResponse(WEB / "index.html", headers=_HEADERS)


async def _asset(request: web.Request) -> web.StreamResponse:
    """Send one of the page's files, and nothing from outside their folder."""
    try:
        file = (WEB / request.match_info["path"]).resolve()
        ours = file.is_relative_to(WEB.resolve()) and file.is_file()
    except (OSError, ValueError):  # a name that no file can have
        raise web.HTTPNotFound from None
    if not ours:
        raise web.HTTPNotFound
    return web.FileResponse(file, headers=_HEADERS)


def docs_page(registry: Registry, described: dict[str, Any]) -> str:
    """Return the readable list of all requests, as a page that loads nothing from elsewhere."""
    rest = [
        _row(f"{method.upper()} {path}", operation["summary"], _names(operation))
        for path, operations in described["paths"].items()
        for method, operation in operations.items()
    ]
    events = [
        _row(
            request.name,
            (request.schema.__doc__ or "").strip().split("\n")[0],
            ", ".join(
                name if field.is_required() else f"{name}?"
                for name, field in request.schema.model_fields.items()
            ),
        )
        for request in registry.requests.values()
        if request.on_sockets
    ]
    return (
        "<!doctype html><html lang=en><meta charset=utf-8>"
        "<meta name=viewport content='width=device-width, initial-scale=1'>"
        "<title>Palabre: requests</title><link rel=stylesheet href=/web/docs.css>"
        "<main><h1>Palabre</h1><p>All requests of this server. The same list for machines: "
        "<a href=/openapi.json>openapi.json</a>.</p>"
        f"<h2>REST</h2>{_table(rest)}<h2>Socket.IO</h2>{_table(events)}</main></html>"
    )


def _names(operation: dict[str, Any]) -> str:
    parameters = [
        one["name"] if one["required"] else f"{one['name']}?" for one in operation["parameters"]
    ]
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    schema = body.get("schema", {})
    required = schema.get("required", ())
    fields = [name if name in required else f"{name}?" for name in schema.get("properties", {})]
    return ", ".join(parameters + fields)


def _row(name: str, summary: str, fields: str) -> str:
    cells = "".join(f"<td>{escape(text)}</td>" for text in (summary, fields))
    return f"<tr><th scope=row><code>{escape(name)}</code></th>{cells}</tr>"


def _table(rows: list[str]) -> str:
    head = "<tr><th scope=col>request</th><th scope=col>what</th><th scope=col>fields</th></tr>"
    return f"<table>{head}{''.join(rows)}</table>"
