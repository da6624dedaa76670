# ruff: noqa: INP001, T201 - a program, not a package
"""Write clients/js/events.d.ts: the types of everything that travels, from the descriptions.

`python docs/generate_types.py` rewrites the file; with `--check` it writes nothing and ends with 1
when the file is not what it would write. The types come from the same two documents that a running
server shows at /asyncapi.json and /openapi.json.
"""

import json
import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from server import asyncapi, handlers, openapi  # noqa: E402 - found through the line above
from server.asyncapi import summary  # noqa: E402
from server.dispatch import Registry  # noqa: E402
from server.permissions import ANYBODY  # noqa: E402
from server.schemas.events import EVENTS, KINDS  # noqa: E402

FILE = ROOT / "clients" / "js" / "events.d.ts"
_WIDTH = 120

Schema = Mapping[str, Any]

_HEAD = """\
// What travels between a client and a Palabre server. Written by docs/generate_types.py.
//
//   const socket: Socket<ServerToClientEvents, ClientToServerEvents> = io(url, { auth });
//
// A newer server may add fields, words and events: ignore what you do not know.
"""
_ANSWER = """\
/** The acknowledgement of every request: done, or why not. */
export type Answer<Data> = { ok: true; data: Data } | { ok: false; error: ErrorBody };
"""


def types() -> str:
    """Return the whole file."""
    registry = handlers.registry()
    sockets, rest = asyncapi.document(registry), openapi.document(registry)
    schemas = {**rest["components"]["schemas"], **sockets["components"]["schemas"]}
    parts = [_HEAD, *(_declared(name, schemas[name]) for name in sorted(schemas)), _ANSWER]
    return "\n".join([*parts, _told(), _asked(registry)])


def _told() -> str:
    lines = ["/** What the server tells; the event map of `socket.on`. */"]
    lines.append("export interface ServerToClientEvents {")
    for event in EVENTS:
        about = f"{summary(event.payload)} {KINDS[event.kind]} Heard by {event.hearers}."
        lines += _comment(about, "  ")
        lines.append(f"  {_key(event.name)}: (data: {event.payload.__name__}) => void;")
    return "\n".join([*lines, "}\n"])


def _asked(registry: Registry) -> str:
    lines = [
        "/** What a client may ask; the event map of `socket.emit` and `socket.emitWithAck`. */"
    ]
    lines.append("export interface ClientToServerEvents {")
    for request in registry.requests.values():
        if not request.on_sockets:
            continue
        answer = f"(answer: Answer<{request.answer.__name__}>) => void"
        askers = "" if request.asked_by == ANYBODY else f" Asked by: {', '.join(request.asked_by)}."
        lines += _comment(f"{summary(request.schema)}{askers}", "  ")
        lines.append(
            f"  {_key(request.name)}: (data: {request.schema.__name__}, done: {answer}) => void;"
        )
    return "\n".join([*lines, "}\n"])


def _declared(name: str, schema: Schema) -> str:
    """Return the declaration of one schema."""
    lines = list(_comment(schema.get("description", ""), ""))
    if schema.get("type") == "object" and "properties" in schema:
        lines += [f"export interface {name} {{", *_fields(schema, "  "), "}"]
    else:
        lines.append(f"export type {name} = {_type(schema, '')};")
    return "\n".join(lines) + "\n"


def _fields(schema: Schema, indent: str) -> Iterator[str]:
    required = schema.get("required", ())
    for name, field in schema["properties"].items():
        yield from _comment(field.get("description", ""), indent)
        mark = "" if name in required else "?"
        yield f"{indent}{_key(name)}{mark}: {_type(field, indent)};"


def _type(schema: Schema, indent: str) -> str:
    """Return the type of what fits a schema; raises KeyError for a schema of an unknown kind."""
    if "$ref" in schema:
        return str(schema["$ref"].rsplit("/", 1)[1])
    if "anyOf" in schema:
        return " | ".join(_type(part, indent) for part in schema["anyOf"])
    if "const" in schema or "enum" in schema:
        words = schema.get("enum") or [schema["const"]]
        return " | ".join(_text(word) for word in words)
    if "type" not in schema:
        return "unknown"
    return _plain(schema, indent)


def _plain(schema: Schema, indent: str) -> str:
    kind = schema["type"]
    if kind == "array":
        item = _type(schema.get("items", {}), indent)
        return f"({item})[]" if " " in item else f"{item}[]"
    if kind == "object" and "properties" in schema:
        return "\n".join(["{", *_fields(schema, indent + "  "), indent + "}"])
    if kind == "object":
        closed = schema.get("additionalProperties", True)
        held = _type(closed, indent) if isinstance(closed, Mapping) else "unknown"
        return f"Record<string, {'never' if closed is False else held}>"
    return {"string": "string", "integer": "number", "boolean": "boolean", "null": "null"}[kind]


def _key(name: str) -> str:
    return name if name.isidentifier() else _text(name)


def _text(word: object) -> str:
    """Return a literal; texts in the quotes that the module uses."""
    return f"'{word}'" if isinstance(word, str) else json.dumps(word)


def _comment(text: str, indent: str) -> Iterator[str]:
    """Yield the lines of a documentation comment, or none."""
    words = " ".join(text.split()).replace("*/", "*\\/")
    if not words:
        return
    if len(f"{indent}/** {words} */") <= _WIDTH:
        yield f"{indent}/** {words} */"
        return
    yield f"{indent}/**"
    for line in textwrap.wrap(words, _WIDTH - len(indent) - 3):
        yield f"{indent} * {line}"
    yield f"{indent} */"


def main(arguments: list[str]) -> int:
    """Write the file, or with --check say whether it is stale."""
    check = arguments[:1] == ["--check"]
    files = arguments[1:] if check else arguments
    if len(files) > 1 or any(file.startswith("-") for file in files):
        print("usage: python docs/generate_types.py [--check] [FILE]", file=sys.stderr)
        return 2
    file, made = (Path(files[0]) if files else FILE), types()
    if not check:
        file.write_text(made, encoding="utf-8")
        return 0
    if file.exists() and file.read_text(encoding="utf-8") == made:
        return 0
    print(f"{file.name} is stale: run python docs/generate_types.py")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
