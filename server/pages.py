"""Files and pages that are not requests: the chat page, descriptions, and what operators ask."""

from collections.abc import Awaitable, Callable
from functools import cache
from pathlib import Path

from aiohttp import web

from server import asyncapi, manual, openapi
from server.config import Settings
from server.dispatch import Registry
from server.middleware import json, own_origin
from server.readiness import Readiness

WEB = Path(__file__).parent / "web"

# The client module: a wheel carries it inside web/, a checkout has it beside the server.
_PACKED = WEB / "client"
CLIENT = _PACKED if _PACKED.is_dir() else WEB.parents[1] / "clients" / "js"

# Nothing but our own files runs or loads; people's pictures may come from elsewhere.
_POLICY = (
    "default-src 'self'; connect-src 'self'; img-src 'self' blob: https:; "
    "style-src 'self'; script-src 'self'; object-src 'none'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'self'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
# What some systems have no name for.
_TYPES = {".woff2": "font/woff2"}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def attach(
    app: web.Application, registry: Registry, readiness: Readiness, settings: Settings
) -> None:
    """Add everything to an application."""
    openapi.require_described(app, openapi.document(registry))
    for path, handler in {**_health(readiness), **_descriptions(registry, settings)}.items():
        app.router.add_get(path, handler)
        app.router.add_get(f"{path}/", handler)
    app.router.add_get("/web/client/{path:.+}", _files_of(CLIENT))
    app.router.add_get("/web/{path:.+}", _files_of(WEB))
    if settings.web.page:
        app.router.add_get("/", _chat(settings))


def _health(readiness: Readiness) -> dict[str, Handler]:
    """Return what a balancer and an operator ask."""

    async def healthz(_: web.Request) -> web.Response:
        return json({"status": "ok"})

    async def readyz(_: web.Request) -> web.Response:
        is_ready, report = await readiness.report()
        return json(report, 200 if is_ready else 503)

    return {"/healthz": healthz, "/readyz": readyz}


def _descriptions(registry: Registry, settings: Settings) -> dict[str, Handler]:
    """Return what says how to talk to this server, to machines and to people."""

    async def rest(_: web.Request) -> web.Response:
        return json(openapi.document(registry))

    async def sockets(request: web.Request) -> web.Response:
        described = asyncapi.document(registry)
        return json(asyncapi.at(described, own_origin(settings, request)))

    @cache
    def page() -> str:
        return manual.page(registry, openapi.document(registry), asyncapi.document(registry))

    async def docs(_: web.Request) -> web.Response:
        return web.Response(text=page(), content_type="text/html", headers=_HEADERS)

    return {"/openapi.json": rest, "/asyncapi.json": sockets, "/docs": docs}


def _chat(settings: Settings) -> Handler:
    """Return what sends the chat page, which the named origins may show in a frame."""
    policy = " ".join((_POLICY, *settings.web.frame_ancestors))
    headers = {**_HEADERS, "Content-Security-Policy": policy}

    async def index(_: web.Request) -> web.StreamResponse:
        return web.FileResponse(WEB / "index.html", headers=headers)

    return index


def _files_of(folder: Path) -> Handler:
    """Return what sends one of a folder's files, and nothing from outside of it."""
    home = folder.resolve()

    async def send(request: web.Request) -> web.StreamResponse:
        try:
            file = (home / request.match_info["path"]).resolve()
            ours = file.is_relative_to(home) and file.is_file()
        except (OSError, ValueError):  # a name that no file can have
            raise web.HTTPNotFound from None
        if not ours:
            raise web.HTTPNotFound
        response = web.FileResponse(file, headers=_HEADERS)
        if file.suffix in _TYPES:
            response.content_type = _TYPES[file.suffix]
        return response

    return send
