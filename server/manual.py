"""The readable description at /docs, made from the two that machines read.

It loads nothing but its own style sheet, so that it works wherever the server does.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from html import escape
from typing import Any

from server import __version__
from server.asyncapi import summary
from server.dispatch import Registry, Request
from server.permissions import ANYBODY
from server.rest import BASE
from server.schemas.events import EVENTS, KINDS, Declared
from server.schemas.values import KEY_HEADER

_SECTIONS = {
    "requests": "Requests",
    "events": "Events",
    "rest": "REST",
    "objects": "Objects",
    "limits": "Limits",
}
_REQUESTS = (
    "By Socket.IO, and as frames of the plain WebSocket. A question mark: the field may be left "
    "out. Every request is answered, <code>{ok: true, data}</code> or "
    "<code>{ok: false, error}</code>. Who may ask is told for groups."
)
_REST = (
    f"Under <code>{BASE}</code>, with <code>Authorization: Bearer</code> and a token, or with a "
    f"server key as <code>{KEY_HEADER}</code>, which has the rights of role <code>service</code>; "
    "the names in a path are fields of the request."
)
_OBJECTS = "What fields hold. <code>null</code> says that there is none."
_LIMITS = (
    "As they are by default; a client finds those of its server in <code>session:ready</code>."
)
_NONE = "<span class=none>none</span>"
_QUOTED = re.compile(r"`([^`]+)`")

_Schema = Mapping[str, Any]
_Row = tuple[str, ...]


def page(registry: Registry, rest: _Schema, sockets: _Schema) -> str:
    """Return the page: `rest` is the OpenAPI document, `sockets` the AsyncAPI one."""
    schemas = {**sockets["components"]["schemas"], **rest["components"]["schemas"]}
    writer = _Writer(schemas)
    asked = [_request(one, writer) for one in registry.requests.values() if one.on_sockets]
    told = [_event(one, writer) for one in EVENTS]
    routes = [
        _route(method, path, operation, writer)
        for path, operations in rest["paths"].items()
        for method, operation in operations.items()
    ]
    contents = {
        "requests": (
            _REQUESTS,
            _table(("request", "what it does", "fields", "data of the answer"), asked),
        ),
        "events": (
            "The same over both sockets.",
            _kinds() + _table(("event", "what it says", "fields", "heard by"), told),
        ),
        "rest": (_REST, _table(("method and path", "what it does", "fields", "answer"), routes)),
        "objects": (_OBJECTS, "".join(writer.object(name) for name in sorted(writer.shown))),
        "limits": (_LIMITS, _limits(schemas["SessionReady"])),
    }
    return _page("".join(_section(name, *content) for name, content in contents.items()))


def _request(request: Request[Any], writer: "_Writer") -> _Row:
    askers = "" if request.asked_by == ANYBODY else f"asked by: {', '.join(request.asked_by)}"
    return (
        _code(request.name),
        _prose(summary(request.schema)) + (askers and f"<br><small>{askers}</small>"),
        writer.fields_of(request.schema.__name__),
        writer.fields_of(request.answer.__name__),
    )


def _event(event: Declared, writer: "_Writer") -> _Row:
    return (
        f"{_code(event.name)} <span class='kind {event.kind}'>{event.kind}</span>",
        _prose(summary(event.payload)),
        writer.fields_of(event.payload.__name__),
        event.hearers,
    )


def _route(method: str, path: str, operation: _Schema, writer: "_Writer") -> _Row:
    way = escape(path.removeprefix(BASE)).replace("/", "/<wbr>")
    return (
        f"<code><b>{method.upper()}</b> {way}</code>",
        _prose(operation["summary"]),
        _inputs(operation),
        writer.answer(operation["responses"]),
    )


class _Writer:
    """Puts schemas into words."""

    def __init__(self, schemas: Mapping[str, _Schema]) -> None:
        self._schemas = schemas
        self.shown = set(_references(schemas))

    def fields_of(self, name: str) -> str:
        """Return the names of an object's fields, those that hold objects with what they hold."""
        schema = self._schemas[name]
        required = schema.get("required", ())
        names = [
            f"{_code(field if field in required else f'{field}?')}{self._held(part)}"
            for field, part in schema.get("properties", {}).items()
        ]
        return ", ".join(names) or _NONE

    def answer(self, responses: _Schema) -> str:
        """Return what a route answers with when it does not refuse."""
        done = responses.get("200") or responses.get("201") or {}
        schema = done.get("content", {}).get("application/json", {}).get("schema")
        if schema is None:
            return escape(done.get("description", "")) or _NONE
        name = schema["$ref"].rsplit("/", 1)[1]
        return self._named(name) if name in self.shown else self.fields_of(name)

    def _held(self, field: _Schema) -> str:
        """Return what a field holds, where its name does not say it: objects and closed lists."""
        kind = self.kind(field).removesuffix(" or null")
        if "<a " in kind:
            return f" <small>{kind}</small>"
        return f" <small>({kind})</small>" if kind.startswith("<code>") else ""

    def object(self, name: str) -> str:
        """Return an object's table; a closed list of words stands where it is used instead."""
        schema = self._schemas[name]
        if schema.get("type") != "object":
            return ""
        required = schema.get("required", ())
        rows = []
        for field, part in schema.get("properties", {}).items():
            about = part.get("description")
            note = f"<br><small>{_prose(about)}</small>" if about else ""
            optional = "" if field in required else "?"
            rows.append((_code(field + optional), self.kind(part) + note))
        about = f"<p>{_prose(schema.get('description', ''))}</p>"
        return f"<h3 id='{name}'>{name}</h3>{about}{_table(('field', 'what it holds'), rows)}"

    def kind(self, schema: _Schema) -> str:
        """Return the type of a field."""
        if "$ref" in schema:
            return self._named(schema["$ref"].rsplit("/", 1)[1])
        if "anyOf" in schema:
            return " or ".join(self.kind(part) for part in schema["anyOf"])
        if "enum" in schema:
            return ", ".join(_code(str(word)) for word in schema["enum"])
        if schema.get("type") == "array":
            return f"list of {self.kind(schema.get('items', {}))}"
        return escape(str(schema.get("const", schema.get("type", "anything"))))

    def _named(self, name: str) -> str:
        schema = self._schemas[name]
        if schema.get("type") != "object":
            return self.kind(schema)
        return f"<a href='#{name}'>{name}</a>"


def _references(part: Any) -> Iterator[str]:
    """Yield the names of schemas that others refer to."""
    if isinstance(part, Mapping):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"].rsplit("/", 1)[1]
        part = list(part.values())
    if isinstance(part, list):
        for one in part:
            yield from _references(one)


def _kinds() -> str:
    listed = "".join(
        f"<li><span class='kind {kind}'>{kind}</span> {_prose(meaning)}</li>"
        for kind, meaning in KINDS.items()
    )
    return f"<ul class=kinds>{listed}</ul>"


def _limits(ready: _Schema) -> str:
    rows = [
        (_code(name), f"{limit['examples'][0]:,}", _prose(limit["description"]))
        for name, limit in ready["properties"]["limits"]["properties"].items()
    ]
    return _table(("name", "default", "meaning"), rows)


def _inputs(operation: _Schema) -> str:
    found = {one["name"]: one["required"] for one in operation["parameters"] if one["in"] != "path"}
    for body in operation.get("requestBody", {}).get("content", {}).values():
        schema = body.get("schema", {})
        for name in schema.get("properties", {}):
            found.setdefault(name, name in schema.get("required", ()))
    names = [_code(name if required else f"{name}?") for name, required in found.items()]
    return ", ".join(names) or _NONE


def _code(text: str) -> str:
    return f"<code>{escape(text)}</code>"


def _prose(text: str) -> str:
    """Return a sentence of ours with its names set as names."""
    return _QUOTED.sub(r"<code>\1</code>", escape(text, quote=False))


def _table(heads: Collection[str], rows: Iterable[Collection[str]]) -> str:
    head = "".join(f"<th scope=col>{name}</th>" for name in heads)
    lines = []
    for first, *rest in rows:
        cells = [
            f"<td data-name='{name}'>{cell}</td>"
            for name, cell in zip(list(heads)[1:], rest, strict=True)
        ]
        lines.append(f"<tr><th scope=row>{first}</th>{''.join(cells)}</tr>")
    return (
        f"<div class=table><table><thead><tr>{head}</tr></thead>"
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def _section(name: str, note: str, content: str) -> str:
    title = _SECTIONS[name]
    return f"<section id='{name}'><h2>{title}</h2><p>{note}</p>{content}</section>"


def _page(body: str) -> str:
    links = "".join(f"<a href='#{name}'>{title}</a>" for name, title in _SECTIONS.items())
    return (
        "<!doctype html><html lang=en><head><meta charset=utf-8>"
        "<meta name=viewport content='width=device-width, initial-scale=1'>"
        "<meta name=color-scheme content='light dark'>"
        "<title>Palabre: the protocol</title><link rel=icon href=/web/favicon.svg>"
        "<link rel=stylesheet href=/web/docs.css></head><body>"
        f"<header><div><h1>Palabre <small>{escape(__version__)}</small></h1>"
        "<p>What this server answers and what it tells. For machines: "
        "<a href=/openapi.json>openapi.json</a> (REST), "
        "<a href=/asyncapi.json>asyncapi.json</a> (sockets).</p></div>"
        f"<nav aria-label='On this page'>{links}</nav></header>"
        f"<main>{body}</main></body></html>"
    )
