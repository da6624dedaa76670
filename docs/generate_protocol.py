# ruff: noqa: INP001, T201 - a program, not a package
"""Write the tables and transcripts of docs/protocol.md from the code and from a run.

`python docs/generate_protocol.py` rewrites every block between `<!-- made: NAME -->` and
`<!-- end -->`; with `--check` it writes nothing and ends with 1 when a block is not what it would
write. The tables come from the registry, the schemas, the errors and the settings; the transcripts
are what a server in this process really sent, with ids and times replaced.
"""

import asyncio
import enum
import inspect
import json
import re
import sys
import tempfile
import textwrap
import types
import typing
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import aiohttp  # noqa: E402 - what follows is found through the line above
import structlog  # noqa: E402
from pydantic import BaseModel  # noqa: E402
from pydantic.fields import FieldInfo  # noqa: E402

from server import app, config, errors, handlers, openapi  # noqa: E402
from server.config import LimitsSettings, Settings  # noqa: E402
from server.dispatch import Route  # noqa: E402
from server.realtime import activity  # noqa: E402
from server.realtime import plain as plain_door  # noqa: E402
from server.rest import BASE  # noqa: E402
from server.schemas import objects  # noqa: E402
from server.schemas.events import EVENTS  # noqa: E402
from server.schemas.values import UserRole  # noqa: E402
from tests import contract  # noqa: E402
from tests.doors import PlainDevice  # noqa: E402
from tests.eventually import becomes  # noqa: E402
from tests.people import Device, Person, Refused, Town  # noqa: E402
from tests.pictures import jpeg  # noqa: E402

DOCUMENT = ROOT / "docs" / "protocol.md"
SECRET = "a secret for transcripts, long enough"  # noqa: S105 - of a server that lives for a moment

_WIDTH = 100
_BLOCK = re.compile(r"(<!-- made: ([a-z-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
_TOKEN = re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]+")
_SIGNED = re.compile(r"expires=\d+&signature=[\w-]+")
_SPANS = {"in_s": 30, "retry_after_ms": 1_000, "reconnect_in_ms": 1_000}
# What an image becomes depends on the version of the library that encodes it.
_ENCODED = {"size": 9_000, "sha256": "SHA-256", "blurhash": "BLURHASH"}
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_HELD = "\x00"


# Tables


def requests_table() -> str:
    """Return what sockets may ask for."""
    rows = [
        (
            f"`{one.name}`",
            _fields(one.schema),
            _fields(one.answer) or "`{}`",
            ", ".join(one.asked_by),
        )
        for one in handlers.registry().requests.values()
        if one.on_sockets
    ]
    return _table(("event", "payload", "`data` of the answer", "asked by"), rows)


def rest_table() -> str:
    """Return what can be asked over HTTP."""
    rows = []
    routes = [route for one in handlers.registry().requests.values() for route in one.routes]
    for one in handlers.registry().requests.values():
        for route in one.routes:
            in_path = set(re.findall(r"{(\w+)}", route.path))
            fields = _fields(one.schema, without=in_path, optional=_made_up(route))
            rows.append((f"{route.method} `{route.path}`", fields, _rest_answer(route)))
    rows += _file_routes({f"{BASE}{route.path}" for route in routes})
    return _table(("method and path", "query or body", "answer"), rows)


def _file_routes(others: AbstractSet[str]) -> Iterator[tuple[str, str, str]]:
    """Yield what is no request, because bytes go in or come out."""
    for path, operations in openapi.document(handlers.registry())["paths"].items():
        for method, operation in operations.items() if path not in others else ():
            bodies = operation.get("requestBody", {}).get("content", {}).values()
            parts = [name for body in bodies for name in body["schema"]["properties"]]
            fields = " or ".join(f"`{name}`" for name in parts)
            answer = operation["responses"].get("201", {}).get("content", {})
            schema = answer.get("application/json", {}).get("schema", {"$ref": "the bytes"})
            named = schema["$ref"].rsplit("/", 1)[-1]
            way = f"{method.upper()} `{path.removeprefix(BASE)}`"
            yield way, fields and f"form: {fields}", f"201: {named}" if parts else named


def _made_up(route: Route) -> set[str]:
    return {"client_msg_id"} if route.makes_id else set()


def _rest_answer(route: Route) -> str:
    body = route.answer.__name__ if route.shows is not None else _fields(route.answer)
    return f"201 or 200: {body}" if route.created is not None else body


def events_table() -> str:
    """Return what the server sends."""
    rows = [
        (
            f"`{one.name}`",
            one.kind.value,
            one.hearers,
            _fields(one.payload),
            _sentence(one.payload),
        )
        for one in EVENTS
    ]
    return _table(("event", "kind", "heard by", "fields", "what it says"), rows)


def errors_table() -> str:
    """Return every code a client can see."""
    rows = [
        (f"`{one.code}`", str(one.status), "yes" if one.retryable else "no", _sentence(one))
        for one in vars(errors).values()
        if inspect.isclass(one)
        and issubclass(one, errors.ClientError)
        and one is not errors.ClientError
    ]
    rows.sort(key=lambda row: (row[1], row[0]))
    return _table(("code", "HTTP", "`retryable`", "meaning"), rows)


def limits_table() -> str:
    """Return the keys of `[limits]`."""
    rows = [
        (f"`{key.name}`", f"{key.default:,}", key.meaning) for key in config.keys(LimitsSettings)
    ]
    return _table(("name", "default", "meaning"), rows)


def objects_tables() -> str:
    """Return the fields of every object, and which of them wait for what is not built yet."""
    shown = (
        *(objects.Message, objects.Person, objects.Attachment, objects.Thumbnail, objects.System),
        *(objects.Conversation, objects.My, objects.Participant, objects.User, objects.Receipt),
        *(objects.Presence, objects.Preview, objects.Version),
    )
    parts = []
    for model in shown:
        rows = [
            (f"`{name}`", _LATER.get((model, name)) or _kind(name, field.annotation))
            for name, field in model.model_fields.items()
        ]
        parts.append(
            f"### {model.__name__}\n\n{_sentence(model)}\n\n{_table(('field', 'type'), rows)}"
        )
    return "\n".join(parts)


def _fields(
    model: type[BaseModel],
    *,
    without: AbstractSet[str] = frozenset(),
    optional: AbstractSet[str] = frozenset(),
) -> str:
    shown = [
        _field(name, field, optional=name in optional)
        for name, field in model.model_fields.items()
        if name not in without
    ]
    return ", ".join(shown)


def _field(name: str, field: FieldInfo, *, optional: bool) -> str:
    mark = "" if field.is_required() and not optional else "?"
    words = _words(field.annotation)
    among = f" ({', '.join(words)})" if words else ""
    return f"`{name}{mark}`{among}"


def _words(annotation: Any) -> list[str]:
    """Return the words of a closed list, if that is what a field holds."""
    if inspect.isclass(annotation) and issubclass(annotation, enum.StrEnum):
        return [word.value for word in annotation]
    found: list[str] = []
    for part in typing.get_args(annotation):
        found += _words(part)
    return found


def _kind(name: str, annotation: Any) -> str:  # noqa: PLR0911 - one line per kind
    origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (types.UnionType, typing.Union):
        kinds = [_kind(name, part) for part in parts if part is not types.NoneType]
        return " or ".join([*kinds, "null"])
    if origin is list:
        return f"list of {_kind(name, parts[0])}"
    if origin is typing.Literal:
        return ", ".join(parts)
    if origin is dict:
        return "object"
    if inspect.isclass(annotation) and issubclass(annotation, enum.StrEnum):
        return ", ".join(word.value for word in annotation)
    if annotation is str and (name.endswith("_at") or name == "muted_until"):
        return "time"
    return {str: "text", int: "integer", bool: "true or false"}.get(annotation) or (
        annotation.__name__
    )


def _sentence(thing: Any) -> str:
    return " ".join((inspect.getdoc(thing) or "").split("\n\n")[0].split())


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---" for _ in head], *rows]
    cells = [[cell.replace("|", "\\|") for cell in line] for line in lines]
    return "".join(f"| {' | '.join(line)} |\n" for line in cells)


_LATER = {
    (objects.Message, "reactions"): "empty list",
    (objects.Message, "mentions"): "empty list",
    (objects.Message, "reply_to"): "null",
    (objects.Message, "is_pinned"): "false",
    (objects.My, "draft"): "null",
}


# It takes more than a thousand missed changes to hear this one.
_UNHEARD = {"session:resync"}


# Transcripts


class Stage:
    """A server with people on it, and what is written down of them."""

    def __init__(self, town: Town) -> None:
        self.town = town
        self.devices: list[Device] = []
        self.heard: set[str] = set()
        self._lines: list[tuple[str, Any]] = []
        self._names: dict[str, str] = {}

    def person(self, user_id: str, role: UserRole | None = None) -> Person:
        """Return a person of this scene."""
        return self.town.person(user_id, role=role)

    async def enters(self, person: Person, **auth: Any) -> Device:
        """Connect a person without writing it down."""
        device = await person.connects(**auth)
        self.devices.append(device)
        self.called(device.ready["session_id"], "SESSION")
        self.called(device.ready["epoch"], "EPOCH")
        self.heard.add("session:ready")
        return device

    def called(self, id_: str, name: str) -> None:
        """Show an id by this name."""
        self._names.setdefault(id_, name)

    async def asks(self, device: Device, event: str, **data: Any) -> dict[str, Any]:
        """Ask, and write down the request, the answer, and what everybody heard."""
        answer = await device.answer(event, data)
        self._write(f"{device.person.id} asks {event}", data)
        self._write("answer", answer)
        await self.everybody_hears()
        reply: dict[str, Any] = answer.get("data", {})
        return reply

    async def calls(self, person: Person, method: str, path: str, body: Any = None) -> Any:
        """Make an HTTP request, and write down as much."""
        status, answer, _ = await person.call(method, path, body)
        self._write(f"{person.id}: {method} {BASE}{path}", body)
        self._write(f"{status}", answer)
        await self.everybody_hears()
        return answer

    async def everybody_hears(self, *, quietly: bool = False) -> None:
        """Write down what was heard since the last look; equal frames are written once."""
        waiting: list[tuple[str, list[str]]] = []
        for device in self.devices:
            frames = [] if device.closed.is_set() else await device.heard()
            self.heard.update(name for name, _ in frames)
            waiting.append((device.person.id, [json.dumps(frame) for frame in frames]))
        for people, frame in _merged(waiting):
            name, data = json.loads(frame)
            if not quietly:
                hear = "hear" if len(people) > 1 else "hears"
                self._write(f"{' and '.join(people)} {hear} {name}", data)

    def says(self, line: str) -> None:
        """Write down a line of ours."""
        self._write(line)

    def shows(self, title: str, data: Any) -> None:
        """Write down an object."""
        self._write(title, data)

    def frame(self, title: str, **frame: Any) -> None:
        """Write down a frame of the plain WebSocket."""
        self._write(title, frame)

    def sends(self, device: Device, packets: list[str]) -> None:
        """Write down packets as they are on the wire."""
        for packet in packets:
            digits = packet[: len(packet) - len(packet.lstrip("0123456789"))]
            self._write(f"{device.person.id} < {digits}", json.loads(packet[len(digits) :]))

    def _write(self, title: str, data: Any = None) -> None:
        self._lines.append((title, data))

    def text(self) -> str:
        """Return the transcript with stable names instead of ids and times."""
        unnamed: dict[str, str] = {}

        def name(match: re.Match[str]) -> str:
            id_ = match[0]
            return self._names.get(id_) or unnamed.setdefault(id_, f"ID-{len(unnamed) + 1}")

        lines = []
        for title, data in self._lines:
            lines.append(_UUID.sub(name, title))
            if data is not None:
                text = json.dumps(_stable(data), ensure_ascii=False)
                text = _TOKEN.sub("TOKEN", _TIME.sub("2026-01-02T03:04:05.678Z", text))
                text = _SIGNED.sub("expires=TIME&signature=SIGNATURE", text)
                lines += _wrapped(_UUID.sub(name, text))
        return "```\n" + "\n".join(lines) + "\n```\n"


def _merged(waiting: list[tuple[str, list[str]]]) -> Iterator[tuple[list[str], str]]:
    """Yield every frame once with those who heard it, in the order in which each heard them."""
    while any(frames for _, frames in waiting):
        heads = [frames[0] for _, frames in waiting if frames]
        ready = [
            head
            for head in heads
            if all(head not in frames or frames[0] == head for _, frames in waiting)
        ]
        frame = (ready or heads)[0]
        people = [person for person, frames in waiting if frames[:1] == [frame]]
        for _, frames in waiting:
            if frames[:1] == [frame]:
                del frames[0]
        yield list(dict.fromkeys(people)), frame


def _stable(data: Any) -> Any:
    """Return data without what differs by run or has a table of its own."""
    if isinstance(data, list):
        return [_stable(one) for one in data]
    if not isinstance(data, dict):
        return data
    shown = {name: _SPANS.get(name, _stable(value)) for name, value in data.items()}
    if "blurhash" in shown:
        shown |= _ENCODED
    if "sid" in shown:
        shown["sid"] = "SID"
    if "limits" in shown:
        shown["limits"] = {"message_chars": data["limits"]["message_chars"], "…": "…"}
    return shown


def _wrapped(text: str) -> list[str]:
    """Return JSON as lines that break between its parts, never within a text."""
    held = _STRING.sub(lambda match: match[0].replace(" ", _HELD), text)
    held = held.replace('": ', f'":{_HELD}')
    lines = textwrap.wrap(held, _WIDTH - 4, break_long_words=False, break_on_hyphens=False)
    return [f"    {line.replace(_HELD, ' ')}" for line in lines]


Scene = Callable[[Stage], Awaitable[None]]


async def connect(stage: Stage) -> None:
    """Connect, packet by packet."""
    bob = stage.person("bob")
    device = await stage.enters(bob)
    stage.sends(device, device.raw[:1])
    hello = {"token": bob.token, "cursors": {}, "user_seq": 0}
    stage.shows("bob > 40", hello)
    stage.sends(device, device.raw[1:3])


async def connect_refused(stage: Stage) -> None:
    """Connect with a token that has ended."""
    bob = stage.person("bob")
    expired = bob.fresh_token(ttl_s=-3_600)
    stage.shows("bob connects with", {"token": expired})
    try:
        await bob.connects(token=expired)
    except Refused as refused:
        stage.shows("connect_error, data", refused.error)


async def create(stage: Stage) -> None:
    """Begin to talk."""
    ada, _ = await _two(stage)
    answer = await stage.asks(ada, "conversation:create", type="direct", participant_ids=["bob"])
    _must(answer["created"])


async def send(stage: Stage) -> None:
    """Send a message, and the same request again."""
    ada, _, talk = await _talking(stage)
    fields = {"conversation_id": talk, "client_msg_id": "a-uuid-of-yours", "content": "Hello Bob"}
    first = await stage.asks(ada, "message:send", **fields)
    stage.called(first["message"]["id"], "MESSAGE")
    stage.says("\nThe answer got lost, so Ada asks again: nobody hears it twice.\n")
    again = await stage.asks(ada, "message:send", **fields)
    _must(again["duplicate"])
    stage.says("\nThe same id with another text is somebody's mistake.\n")
    await stage.asks(ada, "message:send", **{**fields, "content": "Hello Cleo"})


async def edit(stage: Stage) -> None:
    """Edit, and edit what was edited in the meantime."""
    ada, _, talk = await _talking(stage)
    message = await _said(stage, ada, talk, "Helo Bob")
    fields = {"message_id": message, "content": "Hello Bob", "base_version": 1}
    await stage.asks(ada, "message:edit", **fields)
    stage.says("\nAnother device of Ada still shows version 1.\n")
    await stage.asks(ada, "message:edit", **{**fields, "content": "Hallo Bob"})


async def delete(stage: Stage) -> None:
    """Delete for everyone, and for oneself."""
    ada, bob, talk = await _talking(stage)
    first = await _said(stage, ada, talk, "Oops")
    second = await _said(stage, ada, talk, "Meet me at nine", name="MESSAGE-2")
    await stage.asks(ada, "message:delete", message_id=first)
    stage.says("\nBob deletes for himself: only his own devices hear of it.\n")
    await stage.asks(bob, "message:delete", message_id=second, scope="me")


async def typing_(stage: Stage) -> None:
    """Begin and stop to type."""
    ada, _, talk = await _talking(stage)
    await stage.asks(ada, "typing:start", conversation_id=talk)
    await stage.asks(ada, "typing:stop", conversation_id=talk)


async def presence_(stage: Stage) -> None:
    """See somebody come back, be away, and not be seen."""
    ada, bob, _ = await _talking(stage)
    await bob.close()
    stage.devices.remove(bob)
    await becomes(lambda: stage.town.node.presence.board.look("bob") is None)
    await stage.asks(ada, "presence:subscribe", user_ids=["bob", "somebody"])
    stage.says("\nBob comes back.\n")
    back = await stage.enters(bob.person)
    await _changes(stage, ada)
    await stage.asks(back, "presence:set", status="away")
    await _changes(stage, ada)
    stage.says("\nAda sees no difference to Bob having left.\n")
    await stage.asks(back, "presence:set", status="invisible")
    await _changes(stage, ada)


async def _changes(stage: Stage, device: Device) -> None:
    """Write down a change of presence, which is told a moment after it happens."""
    told = await device.hears("presence:changed")
    stage.heard.add("presence:changed")
    stage.shows(f"{device.person.id} hears presence:changed", told)


async def activity_(stage: Stage) -> None:
    """Hear of a conversation that one does not hear; here one connection hears two."""
    ada, bob, talk = await _talking(stage, kind="group")
    for _ in range(2):
        made = await ada.asks("conversation:create", type="group", participant_ids=["bob"])
        await _said(stage, ada, made["conversation"]["id"], "Hello Bob", name="MESSAGE-2")
    await bob.close()
    stage.devices.remove(bob)
    back = await stage.enters(bob.person)
    _must(talk not in back.ready["joined"])
    await asyncio.sleep(activity.LOOK_EVERY_S / 2)  # it has looked where everything stands
    await _said(stage, ada, talk, "Is anybody here?")
    told = await back.hears("conversation:activity")
    stage.heard.add("conversation:activity")
    stage.shows("bob hears conversation:activity", told)


async def receipts(stage: Stage) -> None:
    """Receive, then read."""
    ada, bob, talk = await _talking(stage)
    await _said(stage, ada, talk, "Hello Bob")
    items = [{"conversation_id": talk, "up_to_seq": 1}]
    await stage.asks(bob, "receipt:delivered", items=items)
    await stage.asks(bob, "receipt:read", conversation_id=talk, up_to_seq=1)


async def own(stage: Stage) -> None:
    """Change what only the caller sees."""
    ada, _, talk = await _talking(stage)
    await stage.asks(ada, "conversation:update_my", conversation_id=talk, is_archived=True)


async def group(stage: Stage) -> None:
    """Add, degrade and remove a member; rename."""
    ada, _, talk = await _talking(stage, kind="group", title="Garden")
    await stage.enters(stage.person("cleo"))
    await stage.asks(ada, "participant:add", conversation_id=talk, user_ids=["cleo"])
    stage.says("")
    await stage.asks(
        ada, "participant:update", conversation_id=talk, user_id="cleo", role="read_only"
    )
    stage.says("\nThe removal is the last that Cleo hears from the room.\n")
    await stage.asks(ada, "participant:remove", conversation_id=talk, user_id="cleo")
    stage.says("")
    await stage.asks(ada, "conversation:update", conversation_id=talk, title="Roof garden")


async def absence(stage: Stage) -> None:
    """Come back, and ask for nothing new."""
    ada, bob, talk = await _talking(stage)
    message = await _said(stage, ada, talk, "Hello Bob")
    cursors = bob.reference.cursors()
    personal, epoch = bob.reference.user_cursor, bob.reference.epoch
    await bob.close()
    await ada.asks("message:edit", message_id=message, content="Hello dear Bob")
    await _said(stage, ada, talk, "Are you there?", name="MESSAGE-2")
    asked = {"token": bob.person.token, "epoch": epoch, "cursors": cursors, "user_seq": personal}
    back = Device(bob.person)
    back.reference = bob.reference
    await back.open(asked)
    stage.devices.append(back)
    stage.called(back.ready["session_id"], "SESSION-2")
    stage.shows("bob connects with", asked)
    stage.shows("bob hears session:ready, whose sync is", back.ready["sync"])
    stage.says("\nThe same as a request; nothing has changed since, so nothing comes.\n")
    cursors = back.reference.cursors()
    await stage.asks(back, "sync", epoch=epoch, cursors=cursors, user_seq=personal)


async def refusals(stage: Stage) -> None:
    """Ask for what is refused."""
    ada, _, talk = await _talking(stage, kind="group", title="Garden")
    eve = await stage.enters(stage.person("eve"))
    await stage.asks(ada, "message:sent")
    stage.says("")
    fields = {"conversation_id": talk, "client_msg_id": "1", "content": "Hi"}
    await stage.asks(ada, "message:send", **{**fields, "contents": "Hi"})
    stage.says("\nEve is not a member; a conversation that does not exist answers the same.\n")
    await stage.asks(eve, "message:send", **fields)
    await ada.answer("conversation:update", {"conversation_id": talk, "is_active": False})
    await stage.everybody_hears(quietly=True)
    stage.says("\nAda has closed the conversation.\n")
    await stage.asks(ada, "message:send", **fields)
    stage.says("\nEve asks the same without an acknowledgement.\n")
    await eve.send_raw("42" + json.dumps(["message:send", fields]))
    await stage.everybody_hears()


async def rates(stage: Stage) -> None:
    """Send too fast; here the limit is one message at a time."""
    ada, _, talk = await _talking(stage)
    await _said(stage, ada, talk, "One")
    fields = {"conversation_id": talk, "client_msg_id": "2", "content": "Two"}
    await stage.asks(ada, "message:send", **fields)


async def tokens(stage: Stage) -> None:
    """Renew a token that is about to end; here it lives for half a minute."""
    bob = stage.person("bob")
    bob.token = bob.fresh_token(ttl_s=30)
    device = await stage.enters(bob)
    expiring = await device.hears("auth:expiring")
    stage.heard.add("auth:expiring")
    stage.shows("bob hears auth:expiring", expiring)
    await stage.asks(device, "auth:refresh", token=bob.fresh_token())


async def expired(stage: Stage) -> None:
    """Let a token end."""
    bob = stage.person("bob")
    bob.token = bob.fresh_token(ttl_s=1)
    device = await stage.enters(bob)
    await device.hears("auth:expiring")
    closed = await device.hears("session:closed")
    stage.heard.add("session:closed")
    stage.shows("bob hears session:closed, and the connection ends", closed)


async def stopping(stage: Stage) -> None:
    """Stop the server."""
    device = await stage.enters(stage.person("bob"))
    end = asyncio.create_task(stage.town.node.drain())
    draining = await device.hears("server:draining")
    stage.heard.add("server:draining")
    stage.shows("bob hears server:draining", draining)
    await device.close()
    await end


async def profiles(stage: Stage) -> None:
    """Name a person, as the backend."""
    await _talking(stage)
    backend = stage.person("backend", role=UserRole.SERVICE)
    await stage.calls(backend, "PUT", "users/bob/", {"name": "Bob Martin"})


async def over_http(stage: Stage) -> None:
    """Send over HTTP."""
    _, bob, talk = await _talking(stage)
    await stage.calls(
        bob.person, "POST", f"conversations/{talk}/send/", {"content": "Hello from a script"}
    )
    await stage.calls(bob.person, "GET", "messages/nothing/")


async def plain(stage: Stage) -> None:
    """Do the same with nothing but a WebSocket."""
    _, bob, talk = await _talking(stage)
    hello = {"token": bob.person.token}
    device = PlainDevice(bob.person, talk)
    await device.open(hello)
    stage.called(device.ready["session_id"], "SESSION-2")
    stage.called(device.ready["epoch"], "EPOCH")
    path = plain_door.PATH.format(conversation_id=talk)
    stage.frame(f"bob opens {path} and sends", event="auth", id=1, data=hello)
    for raw in device.raw:
        stage.shows("bob receives", json.loads(raw))
    heard = len(device.raw)
    stage.says("")
    fields = {"conversation_id": talk, "client_msg_id": "1", "content": "Hello Ada"}
    await device.answer("message:send", fields)
    stage.frame("bob sends", event="message:send", id=2, data=fields)
    for raw in device.raw[heard:]:
        stage.shows("bob receives", json.loads(raw))
    await device.heard()
    await stage.everybody_hears(quietly=True)


async def files(stage: Stage) -> None:
    """Upload an image, send it, and make addresses for a page that shows it."""
    ada, bob, talk = await _talking(stage)
    stage.says(f"ada: POST {BASE}uploads/, a form whose part `image` is garden.jpg")
    attachment = await ada.person.upload(jpeg((1_200, 900)), "garden.jpg", field="image")
    stage.called(attachment["id"], "FILE")
    stage.shows("201", attachment)
    stage.says("")
    fields = {"conversation_id": talk, "client_msg_id": "1", "attachment_ids": [attachment["id"]]}
    answer = await ada.answer("message:send", fields)
    stage.called(answer["data"]["message"]["id"], "MESSAGE")
    stage.shows("ada asks message:send", fields)
    await stage.everybody_hears()
    stage.says("\nBob's page shows it: an <img> can send no token.\n")
    await stage.asks(bob, "file:sign", ids=[attachment["id"]])


async def _two(stage: Stage) -> tuple[Device, Device]:
    """Bring two people who have met the server before."""
    people = [stage.person("ada", role=UserRole.AGENT), stage.person("bob", role=UserRole.CLIENT)]
    for person in people:
        await person.get("me/")
    ada, bob = [await stage.enters(person) for person in people]
    return ada, bob


async def _talking(stage: Stage, kind: str = "direct", **fields: Any) -> tuple[Device, Device, str]:
    """Bring two people who are talking, and return the id of their conversation."""
    ada, bob = await _two(stage)
    body = {"type": kind, "participant_ids": ["bob"], **fields}
    made = await ada.asks("conversation:create", **body)
    talk: str = made["conversation"]["id"]
    stage.called(talk, "CONVERSATION")
    await stage.everybody_hears(quietly=True)
    return ada, bob, talk


async def _said(
    stage: Stage, device: Device, talk: str, content: str, *, name: str = "MESSAGE"
) -> str:
    """Send a message without writing it down, and return its id."""
    message = await device.says({"id": talk}, content)
    id_: str = message["id"]
    stage.called(id_, name)
    await stage.everybody_hears(quietly=True)
    return id_


def _must(truth: object) -> None:
    if not truth:
        message = "the run does not fit what is written here"
        raise RuntimeError(message)


_SCENES: dict[str, tuple[Scene, dict[str, int]]] = {
    "scene-connect": (connect, {}),
    "scene-connect-refused": (connect_refused, {}),
    "scene-create": (create, {}),
    "scene-send": (send, {}),
    "scene-edit": (edit, {}),
    "scene-delete": (delete, {}),
    "scene-typing": (typing_, {}),
    "scene-presence": (presence_, {}),
    "scene-receipts": (receipts, {}),
    "scene-activity": (activity_, {"joined": 2}),
    "scene-own": (own, {}),
    "scene-group": (group, {}),
    "scene-absence": (absence, {}),
    "scene-refusals": (refusals, {}),
    "scene-rates": (rates, {"send_rate": 1, "send_burst": 1}),
    "scene-tokens": (tokens, {}),
    "scene-expired": (expired, {"token_grace_s": 0}),
    "scene-stopping": (stopping, {}),
    "scene-profiles": (profiles, {}),
    "scene-http": (over_http, {}),
    "scene-plain": (plain, {}),
    "scene-files": (files, {}),
}


async def _play() -> tuple[dict[str, str], set[str]]:
    """Play all scenes; return their transcripts and the names of all events heard."""
    texts: dict[str, str] = {}
    heard: set[str] = set()
    for block, (scene, limits) in _SCENES.items():
        async with _stage(limits) as stage:
            await scene(stage)
            texts[block] = stage.text()
            heard |= stage.heard
        contract.require_kept()
    return texts, heard


@asynccontextmanager
async def _stage(limits: dict[str, int]) -> AsyncIterator[Stage]:
    with tempfile.TemporaryDirectory(prefix="palabre-docs-") as folder:
        settings = Settings.model_validate(
            {
                "http": {"port": 0},
                "auth": {"secret": SECRET},
                "database": {"url": f"sqlite://{folder}/palabre.db"},
                "files": {"folder": f"{folder}/files"},
                # Scenes are faster than people.
                "limits": {"send_rate": 0, "event_rate": 0, **limits},
            }
        )
        async with app.running(settings) as node, aiohttp.ClientSession() as http:
            town = Town(settings, f"http://127.0.0.1:{node.port}", http)
            town.node = node
            try:
                yield Stage(town)
            finally:
                await town.close()


# The document


def blocks() -> dict[str, str]:
    """Return the text of every block, by its name."""
    structlog.configure(processors=[_silence], cache_logger_on_first_use=False)
    try:
        texts, heard = asyncio.run(_play())
    finally:
        structlog.reset_defaults()
    _must({one.name for one in EVENTS} == heard | _UNHEARD)
    return {
        "requests": requests_table(),
        "rest": rest_table(),
        "events": events_table(),
        "errors": errors_table(),
        "limits": limits_table(),
        "objects": objects_tables(),
        **texts,
    }


def _silence(*_: Any) -> Any:
    raise structlog.DropEvent


def filled(text: str, made: dict[str, str]) -> str:
    """Return the document with every block as it is to be."""
    return _BLOCK.sub(lambda match: f"{match[1]}{made[match[2]]}{match[3]}", text)


def stale(text: str, made: dict[str, str]) -> Iterator[str]:
    """Yield the names of blocks that are missing, unknown, or not what they would be now."""
    found = {match[2]: match[0] for match in _BLOCK.finditer(text)}
    for name in sorted(found.keys() | made.keys()):
        if found.get(name) != f"<!-- made: {name} -->\n{made.get(name)}<!-- end -->":
            yield name


def main(arguments: list[str]) -> int:
    """Write the document, or with --check say which blocks are stale."""
    check = arguments[:1] == ["--check"]
    files = arguments[1:] if check else arguments
    if len(files) > 1 or any(file.startswith("-") for file in files):
        print("usage: python docs/generate_protocol.py [--check] [FILE]", file=sys.stderr)
        return 2
    document = Path(files[0]) if files else DOCUMENT
    made, text = blocks(), document.read_text(encoding="utf-8")
    if not check:
        document.write_text(filled(text, made), encoding="utf-8")
        text = document.read_text(encoding="utf-8")
    found = list(stale(text, made))
    for name in found:
        print(f"{document.name}: {name} is stale: run python docs/generate_protocol.py")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
