"""Every answer and event of the suite, held against the server's own description of itself."""

import re
from typing import Any

import aiohttp
import jsonschema_rs

from server import asyncapi
from server.handlers import registry

BASE = "/api/messaging/"
OWN = "app:"
"""What the names of an application's own events begin with, which it describes itself."""
_described: dict[str, Any] = {}
_validators: dict[str, Any] = {}
_spoken = asyncapi.document(registry())
_broken: list[str] = []


class Contract:
    """The description of the server at one address; all servers of a run describe the same."""

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self._http = http
        self._url = url

    async def __call__(self, method: str, path: str, status: int, answer: Any) -> None:
        """Raise unless this answer is one that the description promises."""
        if path.startswith("/") and not path.startswith(BASE):
            return
        if not _described:
            async with self._http.get(f"{self._url}/openapi.json") as response:
                _described.update(await response.json())
        if method == "HEAD" or (status == 204 and answer is None):
            return
        if status >= 400:
            _must_fit("#/components/schemas/ErrorAnswer", answer)
            return
        operation = _operation(method, path)
        assert str(status) in operation["responses"], f"{method} {path}: {status} is not described"
        schema = operation["responses"][str(status)]["content"]["application/json"]["schema"]
        _must_fit(schema["$ref"], answer)

    def heard(self, name: str, data: Any) -> None:
        """Note an event that is not what the description promises; `require_kept()` raises."""
        if name.startswith(OWN):
            return
        key = f"socketio.{name.replace(':', '_')}.event"
        message = _spoken["components"]["messages"].get(key)
        if message is None:
            _broken.append(f"{name} is not described")
            return
        problem = _problem(key, message["payload"], _spoken, data)
        if problem is not None:
            _broken.append(f"{name} {problem}")

    def answered(self, name: object, answer: dict[str, Any]) -> None:
        """Raise unless this answer to a request is one that the description promises."""
        key = f"socketio.{str(name).replace(':', '_')}.answer"
        message = _spoken["components"]["messages"].get(key)
        if message is None:
            # Only the plain door answers whoever comes in.
            assert name == "auth" or not answer["ok"], f"{name} is not described"
            return
        done, refused = message["payload"]["oneOf"]
        chosen = done if answer["ok"] else refused
        problem = _problem(f"{key} {answer['ok']}", chosen, _spoken, answer)
        assert problem is None, f"{name}: {problem}"

    def framed(self, frame: dict[str, Any], asked: str | None = None) -> None:
        """Note a frame of the plain WebSocket, to what was asked or nothing, as `heard` does."""
        name = str(frame.get("event", asked))
        if name.startswith(OWN):
            return
        key = f"plain.{name.replace(':', '_')}.{'event' if asked is None else 'answer'}"
        message = _spoken["components"]["messages"].get(key)
        if message is None:
            if asked is None or frame.get("ok"):
                _broken.append(f"{key} is not described")
            return
        problem = _problem(key, message["payload"], _spoken, frame)
        if problem is not None:
            _broken.append(f"{key} {problem}")


def require_kept() -> None:
    """Raise if an event was heard since the last look that the description does not promise."""
    broken = _broken.copy()
    _broken.clear()
    assert not broken, "; ".join(broken)


def _operation(method: str, path: str) -> Any:
    plain = "/" + path.split("?", maxsplit=1)[0].strip("/") + "/"
    full = plain if plain.startswith(BASE) else BASE + plain[1:]
    if full in _described["paths"]:
        found: dict[str, Any] = _described["paths"][full][method.lower()]
        return found
    for pattern, operations in _described["paths"].items():
        expression = re.sub(r"{\w+}", "[^/]+", pattern)
        if re.fullmatch(expression, full) and method.lower() in operations:
            return operations[method.lower()]
    raise AssertionError(f"{method} {path} is not described")


def _must_fit(reference: str, answer: Any) -> None:
    problem = _problem(reference, {"$ref": reference}, _described, answer)
    assert problem is None, problem


def _problem(key: str, schema: dict[str, Any], described: dict[str, Any], data: Any) -> str | None:
    """Return what is wrong with data, or None; a schema is compiled once, under its key."""
    if key not in _validators:
        whole = {**schema, "components": described["components"]}
        _validators[key] = jsonschema_rs.validator_for(whole)
    error = next(_validators[key].iter_errors(data), None)
    return None if error is None else f"{error.instance_path}: {error.message}"
