"""Every REST answer of the suite, held against the server's own description of itself."""

import re
from typing import Any

import aiohttp
import jsonschema_rs

BASE = "/api/messaging/"
_described: dict[str, Any] = {}
_validators: dict[str, Any] = {}


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
    if reference not in _validators:
        schema = {"$ref": reference, "components": _described["components"]}
        _validators[reference] = jsonschema_rs.validator_for(schema)
    problem = next(_validators[reference].iter_errors(answer), None)
    assert problem is None, f"{problem.instance_path}: {problem.message}"
