"""The description of the REST door, made from the schemas that validate it."""

import re
from functools import cache
from typing import Any

from aiohttp import web
from pydantic import BaseModel  # noqa: TC002 (a class that is looked at, not only a type)
from pydantic.json_schema import models_json_schema

from server import __version__, downloads
from server.dispatch import Registry, Request, Route
from server.errors import SettingsError
from server.multipart import FORM
from server.rest import BASE
from server.schemas.answers import ErrorAnswer
from server.schemas.objects import Attachment
from server.schemas.values import KEY_HEADER
from server.uploads import FILE_FIELDS, PATH

_PLACEHOLDER = re.compile(r"{(\w+)}")
_REF = "#/components/schemas/{model}"
_FILE = {"type": "string", "contentMediaType": "application/octet-stream"}


@cache
def document(registry: Registry) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document; raises ValueError for a route its schema does not fit."""
    pairs = [(request, route) for request in registry.requests.values() for route in request.routes]
    models: dict[type[BaseModel], None] = {ErrorAnswer: None, Attachment: None}
    for request, route in pairs:
        models[request.schema] = None
        models[route.answer] = None
    refs, definitions = models_json_schema(
        [(model, "validation") for model in models], ref_template=_REF
    )
    schemas = definitions.get("$defs", {})
    paths: dict[str, dict[str, Any]] = {}
    for request, route in pairs:
        answer = refs[route.answer, "validation"]
        fields = _fields(refs[request.schema, "validation"], schemas)
        operation = _operation(request, route, fields, answer)
        paths.setdefault(BASE + route.path, {})[route.method.lower()] = operation
    paths[BASE + PATH] = {"post": _upload(refs[Attachment, "validation"])}
    paths |= {BASE + path: {"get": _download(path)} for path in downloads.PATHS}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Palabre", "version": __version__},
        "security": [{"bearer": []}, {"key": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                "key": {
                    "type": "apiKey",
                    "in": "header",
                    "name": KEY_HEADER,
                    "description": "A server key, with the rights of role `service`; for programs.",
                },
            },
        },
    }


def _upload(answer: dict[str, Any]) -> dict[str, Any]:
    """Return the description of what is no request of the registry, because it has no fields."""
    schema = {
        "type": "object",
        "properties": dict.fromkeys(FILE_FIELDS[1:], _FILE),
        "minProperties": 1,
        "maxProperties": 1,
        "additionalProperties": False,
    }
    made = {"description": "Made.", "content": {"application/json": {"schema": answer}}}
    return {
        "operationId": "upload",
        "summary": "One file, for a message that is still to be sent.",
        "parameters": [],
        "requestBody": {"required": True, "content": {FORM: {"schema": schema}}},
        "responses": {"201": made, "default": _refused()},
    }


def _download(path: str) -> dict[str, Any]:
    """Return the description of a file, whose answer is bytes of any type."""
    in_path = _PLACEHOLDER.findall(path)
    text = {"schema": {"type": "string"}, "required": True}
    found = {"description": "The file.", "content": {"*/*": {"schema": _FILE}}}
    part = {**found, "description": "The part of it that Range asked for."}
    return {
        "operationId": "thumbnail" if "size" in in_path else "download",
        "summary": "A file, by token or by an address from files/sign/.",
        "parameters": [{"name": name, "in": "path", **text} for name in in_path],
        "responses": {
            "200": found,
            "206": part,
            "304": {"description": "It is the one that If-None-Match names."},
            "default": _refused(),
        },
    }


def require_described(app: web.Application, described: dict[str, Any]) -> None:
    """Raise `SettingsError` when a path of the API has no description, and so no schema."""
    for resource in app.router.resources():
        path = resource.canonical.rstrip("/") + "/"
        if path.startswith(BASE) and path not in described["paths"]:
            message = f"{path}: this route has no schema; declare it as a request"
            raise SettingsError(message)


def _fields(reference: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    schema = schemas[reference["$ref"].rsplit("/", 1)[1]]
    required = set(schema.get("required", ()))
    return {
        name: {"schema": field, "required": name in required}
        for name, field in schema.get("properties", {}).items()
    }


def _operation(
    request: Request[Any], route: Route, fields: dict[str, Any], answer: dict[str, Any]
) -> dict[str, Any]:
    in_path = _PLACEHOLDER.findall(route.path)
    missing = set(in_path) - fields.keys()
    if missing:
        message = f"{route.path}: {request.schema.__name__} has no field {missing.pop()}"
        raise ValueError(message)
    rest = {name: field for name, field in fields.items() if name not in in_path}
    operation: dict[str, Any] = {
        "operationId": request.name.replace(":", "_"),
        "summary": (request.schema.__doc__ or "").strip().split("\n")[0],
        "parameters": [_parameter(name, "path", fields[name]) for name in in_path],
        "responses": _responses(route, answer),
    }
    if route.method in ("GET", "DELETE"):
        operation["parameters"] += [_parameter(name, "query", rest[name]) for name in rest]
    elif rest:
        operation["requestBody"] = _body(route, rest)
    return operation


def _parameter(name: str, place: str, field: dict[str, Any]) -> dict[str, Any]:
    required = place == "path" or field["required"]
    return {"name": name, "in": place, "required": required, "schema": field["schema"]}


def _body(route: Route, fields: dict[str, Any]) -> dict[str, Any]:
    made = {"client_msg_id"} if route.makes_id else set()
    required = [name for name in fields if fields[name]["required"] and name not in made]
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {name: field["schema"] for name, field in fields.items()},
        "additionalProperties": False,
    }
    if required:
        schema["required"] = required
    content = {"application/json": {"schema": schema}}
    if route.takes_files:
        # Texts as they are, everything else as JSON, and files beside them.
        files: dict[str, Any] = {"files": {"type": "array", "items": _FILE}}
        files |= dict.fromkeys(FILE_FIELDS[1:], _FILE)
        content[FORM] = {"schema": {**schema, "properties": {**schema["properties"], **files}}}
    return {"required": bool(required), "content": content}


def _responses(route: Route, answer: dict[str, Any]) -> dict[str, Any]:
    done = {"description": "Done.", "content": {"application/json": {"schema": answer}}}
    responses: dict[str, Any] = {"200": done}
    if route.created is not None:
        responses["201"] = {**done, "description": "Made."}
        responses["200"] = {**done, "description": "It was there already."}
    responses["default"] = _refused()
    return responses


def _refused() -> dict[str, Any]:
    error = {"schema": {"$ref": _REF.format(model=ErrorAnswer.__name__)}}
    return {"description": "Refused.", "content": {"application/json": error}}
