"""The description of the two socket doors, made from what validates requests and declares events.

AsyncAPI 3.0.0 (https://www.asyncapi.com/docs/reference/specification/v3.0.0) seen from the server:
it receives requests and sends events. Over Socket.IO a message's payload is the one argument of an
event, and an answer the argument of its acknowledgement; on the plain WebSocket the same data
travels in a frame that also carries the name.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from server import __version__
from server.dispatch import Registry, Request
from server.realtime import plain, sockets
from server.schemas.answers import ErrorBody, Nothing
from server.schemas.events import EVENTS, KINDS, Declared
from server.schemas.handshake import Handshake

_SCHEMA = "#/components/schemas/{model}"
_ABOUT = (
    "Everything that can be asked and heard over sockets. Numbers named in texts are those of "
    "`session:ready.limits`. Clients ignore fields and events that they do not know; requests with "
    "fields that the server does not know are refused. The rules behind it: docs/protocol.md."
)
_SOCKETIO = (
    "Socket.IO: Engine.IO 4, namespace `/`, `transports: ['websocket']`; long polling if the "
    "operator switched it on. `auth` of the handshake is the message `connect`."
)
_PLAIN = (
    "The same requests and events as JSON text frames, for clients without a Socket.IO library. "
    "The first frame is `auth`, unless the token came in a header or as subprotocol "
    f"`{plain.TOKEN_SUBPROTOCOL}<jwt>` beside `{plain.SUBPROTOCOL}`. "
    "Only this conversation and the person's own events are heard."
)
_BEARER = {
    "type": "http",
    "scheme": "bearer",
    "bearerFormat": "JWT",
    "description": "The token, in `auth` of the handshake; never in the address: those get logged.",
}


@dataclass(frozen=True, slots=True)
class _Door:
    """One way to talk: its channel, and how data is wrapped there."""

    name: str
    opening: str
    is_framed: bool

    def message(self, key: str) -> str:
        """Return the key of a message in the components, which both doors share."""
        return f"{self.name}.{key}"

    def request(self, name: str, data: dict[str, Any]) -> dict[str, Any]:
        if not self.is_framed:
            return data
        id_ = {"type": ["string", "integer"], "description": "Comes back with the answer."}
        return _object({"event": {"const": name}, "data": data, "id": id_}, optional=("id",))

    def event(self, name: str, data: dict[str, Any]) -> dict[str, Any]:
        if not self.is_framed:
            return data
        return _object({"event": {"const": name}, "data": data})

    def answer(self, data: dict[str, Any]) -> dict[str, Any]:
        id_ = {"id": {"type": ["string", "integer"]}} if self.is_framed else {}
        done = _object({**id_, "ok": {"const": True}, "data": data})
        refused = _object({**id_, "ok": {"const": False}, "error": _schema(ErrorBody)})
        return {"oneOf": [done, refused]}


_DOORS = (
    _Door("socketio", "connect", is_framed=False),
    _Door("plain", "auth", is_framed=True),
)


@cache
def document(registry: Registry) -> dict[str, Any]:
    """Return the AsyncAPI 3.0.0 document; its `servers` are at the host that was asked."""
    requests = [one for one in registry.requests.values() if one.on_sockets]
    messages: dict[str, Any] = {}
    operations: dict[str, Any] = {}
    for door in _DOORS:
        messages |= _messages(door, requests)
        operations |= _operations(door, requests)
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Palabre", "version": __version__, "description": _ABOUT},
        "defaultContentType": "application/json",
        "servers": {},
        "channels": {door.name: _channel(door, messages) for door in _DOORS},
        "operations": operations,
        "components": {
            "messages": messages,
            "schemas": _schemas(requests),
            "securitySchemes": {"token": _BEARER},
        },
    }


def at(described: dict[str, Any], origin: str) -> dict[str, Any]:
    """Return a document whose servers are at an origin such as `https://chat.example.com`."""
    scheme, _, host = origin.partition("://")
    common = {
        "host": host,
        "protocol": "wss" if scheme == "https" else "ws",
        "security": [{"$ref": "#/components/securitySchemes/token"}],
    }
    servers = {
        "socketio": {**common, "pathname": f"/{sockets.PATH}/", "description": _SOCKETIO},
        "plain": {**common, "description": _PLAIN},
    }
    return {**described, "servers": servers}


def summary(model: type[BaseModel]) -> str:
    """Return the first sentence of what a model stands for, on one line."""
    return " ".join((model.__doc__ or "").split("\n\n")[0].split())


def _channel(door: _Door, messages: dict[str, Any]) -> dict[str, Any]:
    own = {
        key.removeprefix(f"{door.name}."): {"$ref": f"#/components/messages/{key}"}
        for key in messages
        if key.startswith(f"{door.name}.")
    }
    channel: dict[str, Any] = {
        "address": "/",
        "title": "Socket.IO, namespace /",
        "servers": [{"$ref": f"#/servers/{door.name}"}],
        "messages": own,
    }
    if door.is_framed:
        about = {"description": "A conversation that the caller is in."}
        channel |= {
            "address": plain.PATH,
            "title": "The plain WebSocket",
            "parameters": {"conversation_id": about},
            "bindings": {"ws": {"method": "GET"}},
        }
    return channel


def _messages(door: _Door, requests: list[Request[Any]]) -> dict[str, Any]:
    found: dict[str, dict[str, Any]] = {
        f"{door.opening}.request": {
            "name": door.opening,
            "summary": summary(Handshake),
            "payload": door.request(door.opening, _schema(Handshake)),
        },
    }
    if door.is_framed:
        found[f"{door.opening}.answer"] = {
            "name": door.opening,
            "title": f"{door.opening}, answer",
            "summary": "In; what follows is session:ready.",
            "payload": door.answer(_schema(Nothing)),
        }
    else:
        found["connect_error"] = {
            "name": "connect_error",
            "summary": "The handshake was refused.",
            "payload": _object({"message": {"type": "string"}, "data": _schema(ErrorBody)}),
        }
    for request in requests:
        key, name = _key(request.name), request.name
        found[f"{key}.request"] = {
            "name": name,
            "summary": summary(request.schema),
            "payload": door.request(name, _schema(request.schema)),
            "x-asked-by": [asker.value for asker in request.asked_by],
        }
        found[f"{key}.answer"] = {
            "name": name,
            "title": f"{name}, answer",
            "summary": summary(request.answer),
            "payload": door.answer(_schema(request.answer)),
        }
    for event in EVENTS:
        found[f"{_key(event.name)}.event"] = {
            "name": event.name,
            "summary": summary(event.payload),
            "tags": [{"name": event.kind.value, "description": KINDS[event.kind]}],
            "payload": door.event(event.name, _schema(event.payload)),
            "x-heard-by": [hearer.value for hearer in event.heard_by],
        }
    return {door.message(key): message for key, message in found.items()}


def _operations(door: _Door, requests: list[Request[Any]]) -> dict[str, Any]:
    channel = {"$ref": f"#/channels/{door.name}"}

    def named(*keys: str) -> list[dict[str, str]]:
        return [{"$ref": f"#/channels/{door.name}/messages/{key}"} for key in keys]

    ready = "session_ready.event"
    replies = (f"{door.opening}.answer", ready) if door.is_framed else (ready, "connect_error")
    found = {
        "open": {
            "action": "receive",
            "channel": channel,
            "summary": summary(Handshake),
            "messages": named(f"{door.opening}.request"),
            "reply": {"channel": channel, "messages": named(*replies)},
        }
    }
    for request in requests:
        key = _key(request.name)
        found[f"ask.{key}"] = {
            "action": "receive",
            "channel": channel,
            "summary": summary(request.schema),
            "messages": named(f"{key}.request"),
            "reply": {"channel": channel, "messages": named(f"{key}.answer")},
        }
    for event in EVENTS:
        found[f"tell.{_key(event.name)}"] = {
            "action": "send",
            "channel": channel,
            "summary": summary(event.payload),
            "messages": named(f"{_key(event.name)}.event"),
        }
    return {f"{door.name}.{key}": operation for key, operation in found.items()}


def _schemas(requests: list[Request[Any]]) -> dict[str, Any]:
    models: dict[type[BaseModel], None] = {ErrorBody: None, Nothing: None, Handshake: None}
    for model in (*_models(requests), *_payloads(EVENTS)):
        models[model] = None
    _, definitions = models_json_schema(
        [(model, "validation") for model in models], ref_template=_SCHEMA
    )
    found: dict[str, Any] = definitions["$defs"]
    return found


def _models(requests: list[Request[Any]]) -> Iterator[type[BaseModel]]:
    for request in requests:
        yield request.schema
        yield request.answer


def _payloads(events: tuple[Declared, ...]) -> Iterator[type[BaseModel]]:
    for event in events:
        yield event.payload


def _schema(model: type[BaseModel]) -> dict[str, Any]:
    return {"$ref": _SCHEMA.format(model=model.__name__)}


def _key(name: str) -> str:
    """Return a name as the keys of AsyncAPI allow it, which have no colon."""
    return name.replace(":", "_")


def _object(fields: dict[str, Any], *, optional: tuple[str, ...] = ()) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": fields,
        "required": [name for name in fields if name not in optional],
        "additionalProperties": False,
    }
