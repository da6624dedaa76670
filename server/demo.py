"""A town to play in: four people, six conversations, two hundred messages and some pictures.

What its people say is data, in demo.toml; what they show is in demo-files. It is said through the
dispatcher, one request after the other in the order of the story, and files take the way of every
upload; only then is the clock turned back, for all of it in one transaction that also notes that it
is done. A start that was broken off says it again, which changes nothing that was said before.
"""

import re
import socket
import tomllib
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from pathlib import Path
from typing import Any

from server import auth, clock, handlers, journal
from server.config import Settings
from server.dispatch import Dispatcher
from server.intake import Arrival, Intake, Passing
from server.models import Conversation, Installation, Message, MessageVersion, Participant
from server.permissions import Call, Caller
from server.schemas.values import UserRole

_SCRIPT = Path(__file__).with_name("demo.toml")
_FILES = Path(__file__).with_name("demo-files")
_LINE = re.compile(
    r"(?:(\d+)d (\d\d:\d\d)|(\d+)m) (\w+)(?: \((edits|deletes|shows) ?([^)]*)\))?(?: (.+))?"
)
_MARK = "demo"
_BACKEND = Caller("demo", UserRole.SERVICE)
_LINK_TTL_S = 30 * 86_400
_MINUTE_MS = 60_000
_OURS = ("127.0.0.1", "::1", "localhost")
_EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - recognised here, not listened on


async def fill(dispatcher: Dispatcher, intake: Intake) -> None:
    """Bring the town, unless it is there already; without pictures where files are not taken."""
    if await Installation.exists(key=_MARK):
        return
    await _Play(dispatcher, intake, _script(), clock.now_ms()).perform()


def print_links(settings: Settings, port: int) -> None:
    """Print the links that log its people in."""
    host = settings.http.host
    here = "localhost" if host in (*_OURS, *_EVERYWHERE) else host
    places = {"Open a link in a tab of its own; each logs one person in for 30 days:": here}
    if host in _EVERYWHERE:
        places["On a phone in the same network:"] = _address_in_network()
    lines = []
    for title, address in places.items():
        lines += ["", title]
        for user_id, person in _script()["people"].items():
            name, role = person["name"], UserRole(person["role"])
            token = auth.issue(settings.auth, user_id, name=name, role=role, ttl_s=_LINK_TTL_S)
            lines.append(f"  {name}, {role}: {_link(address, port, token)}")
    print(*lines, "", sep="\n", flush=True)  # noqa: T201 - for the person at the terminal


def _link(address: str, port: int, token: str) -> str:
    """Return the page's address; the token is in the fragment, which no server or log gets."""
    host = f"[{address}]" if ":" in address else address
    return f"http://{host}:{port}/#token={token}"


def _address_in_network() -> str:
    """Return the address under which other machines of the network reach this one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # Nothing is sent: the system only chooses the interface it would send from.
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return socket.gethostname()
        return str(probe.getsockname()[0])


async def _bytes_of(name: str) -> AsyncIterator[bytes]:
    yield (_FILES / name).read_bytes()


def _script() -> dict[str, Any]:
    return tomllib.loads(_SCRIPT.read_text(encoding="utf-8"))


@dataclass(frozen=True, slots=True)
class _Line:
    """One line of the story."""

    at: int
    conversation: str
    person: str
    action: str | None
    files: tuple[str, ...]
    text: str


class _Play:
    """The story, performed once; times are milliseconds, and it ends just before `now`."""

    def __init__(
        self, dispatcher: Dispatcher, intake: Intake, script: Mapping[str, Any], now: int
    ) -> None:
        self._dispatcher = dispatcher
        self._intake = intake
        self._requests = handlers.registry().requests
        self._people: Mapping[str, Any] = script["people"]
        self._talks: dict[str, Any] = {talk["key"]: talk for talk in script["conversations"]}
        self._now = now
        self._ids: dict[str, str] = {}
        self._last: dict[tuple[str, str], str] = {}
        self._said_at: dict[str, int] = {}
        self._changed_at: dict[str, int] = {}

    async def perform(self) -> None:
        """Make everybody, let them say everything, then turn the clock back."""
        for user_id, person in self._people.items():
            await self._ask(_BACKEND, "user:put", user_id=user_id, **person)
        takes_files = self._dispatcher.settings.limits.attachments_per_message > 0
        spoken = (line for line in self._lines() if takes_files or not line.files)
        lines = sorted(spoken, key=lambda line: line.at)
        last = {line.conversation: line for line in lines}
        for number, line in enumerate(lines):
            talk = self._talks[line.conversation]
            if line.conversation not in self._ids:
                await self._open(talk)
            await self._say(number, line)
            if line is last[line.conversation]:
                await self._end(talk)
        await self._turn_back()

    async def _ask(self, caller: Caller, what: str, /, **fields: Any) -> dict[str, Any]:
        """Ask as anybody would, but as fast as the database allows."""
        request = self._requests[what]
        call = Call(caller, self._dispatcher.settings)
        payload = self._dispatcher.parse(request.schema, fields)
        return (await self._dispatcher.run(request.act(call, payload), what=what)).reply

    async def _ask_as(self, user_id: str, what: str, /, **fields: Any) -> dict[str, Any]:
        role = UserRole(self._people[user_id]["role"])
        return await self._ask(Caller(user_id, role), what, **fields)

    async def _open(self, talk: Mapping[str, Any]) -> None:
        founder, *others = talk["people"]
        given = {name: talk[name] for name in ("title", "client", "property") if name in talk}
        reply = await self._ask_as(
            founder,
            "conversation:create",
            type=talk["type"],
            participant_ids=others,
            external_id=f"demo-{talk['key']}",
            **given,
        )
        self._ids[talk["key"]] = reply["conversation"]["id"]

    def _lines(self) -> Iterator[_Line]:
        for talk in self._talks.values():
            yield from self._lines_of(talk)

    def _lines_of(self, talk: Mapping[str, Any]) -> Iterator[_Line]:
        before = 0
        for text in talk["lines"].splitlines():
            match = _LINE.fullmatch(text)
            if match is None:
                message = f"demo.toml: this is no line of a conversation: {text}"
                raise ValueError(message)
            days, hour, minutes, person, action, shown, said = match.groups()
            at = self._days_ago(int(days), hour) if days else self._minutes_ago(int(minutes))
            # Two lines of one minute are some seconds apart.
            before = at = max(at, before + 7_000)
            files = tuple(shown.split(", ")) if shown else ()
            yield _Line(at, talk["key"], person, action, files, said or "")

    def _days_ago(self, days: int, hour: str) -> int:
        today = datetime.fromtimestamp(self._now / 1_000).astimezone()
        day = today.date() - timedelta(days=days)
        at = datetime.combine(day, time.fromisoformat(hour)).astimezone()
        return int(at.timestamp()) * 1_000

    def _minutes_ago(self, minutes: int) -> int:
        return self._now - minutes * _MINUTE_MS

    async def _say(self, number: int, line: _Line) -> None:
        who = (line.conversation, line.person)
        if line.action in (None, "shows"):
            self._last[who] = await self._sent(number, line)
            self._said_at[self._last[who]] = line.at
            return
        fields = {"message_id": self._last[who]}
        self._changed_at[self._last[who]] = line.at
        if line.action == "edits":
            await self._ask_as(line.person, "message:edit", **fields, content=line.text)
        else:
            await self._ask_as(line.person, "message:delete", **fields)

    async def _sent(self, number: int, line: _Line) -> str:
        """Return the id of the message that says a line."""
        conversation_id, client_msg_id = self._ids[line.conversation], f"demo-{number}"
        fields: dict[str, Any] = {"content": line.text}
        if line.files:
            # Files that are uploaded again would make it another message.
            told = await Message.get_or_none(
                conversation_id=conversation_id,
                sender_id=line.person,
                client_msg_id=client_msg_id,
            )
            if told is not None:
                return told.id
            fields["attachment_ids"] = await self._brought(line)
        reply = await self._ask_as(
            line.person,
            "message:send",
            conversation_id=conversation_id,
            client_msg_id=client_msg_id,
            **fields,
        )
        id_: str = reply["message"]["id"]
        return id_

    async def _brought(self, line: _Line) -> list[str]:
        """Upload what a line shows, and return the ids of the attachments."""
        caller = Caller(line.person, UserRole(self._people[line.person]["role"]))
        call = Call(caller, self._dispatcher.settings)
        async with self._intake.looking_after(Passing()) as passing:
            return [await self._upload(call, name, passing) for name in line.files]

    async def _upload(self, call: Call, name: str, passing: Passing) -> str:
        largest = call.settings.limits.attachment_bytes
        received = await self._intake.store.receive(_bytes_of(name), largest=largest)
        passing.paths.append(received.path)
        examined = await self._intake.examine(Arrival("file", name, received), passing)
        id_: str = (await self._intake.put_unsent(call, examined))["id"]
        return id_

    async def _end(self, talk: Mapping[str, Any]) -> None:
        """Let people read what they have read, and put away what they have put away."""
        id_ = self._ids[talk["key"]]
        if "closed_by" in talk:
            await self._ask_as(
                talk["closed_by"], "conversation:update", conversation_id=id_, is_active=False
            )
        last = (await Conversation.get(id=id_)).last_seq
        for user_id in talk["people"]:
            seen = last - talk.get("unread", {}).get(user_id, 0)
            arrived = [{"conversation_id": id_, "up_to_seq": last}]
            await self._ask_as(user_id, "receipt:delivered", items=arrived)
            await self._ask_as(user_id, "receipt:read", conversation_id=id_, up_to_seq=seen)
        for name, field in (("archived_by", "is_archived"), ("pinned_by", "is_pinned")):
            for user_id in talk.get(name, ()):
                fields = {"conversation_id": id_, field: True}
                await self._ask_as(user_id, "conversation:update_my", **fields)

    @journal.transaction
    async def _turn_back(self) -> None:
        """Let everything have happened when the story says it did."""
        for id_ in self._ids.values():
            await self._turn_back_conversation(id_)
        for id_, at in self._said_at.items():
            await MessageVersion.filter(message_id=id_).update(created_at=at)
        await Installation.create(key=_MARK, value=clock.to_text(self._now))

    async def _turn_back_conversation(self, id_: str) -> None:
        messages = await Message.filter(conversation_id=id_).order_by("seq")
        first = min(
            self._said_at[message.id] for message in messages if message.id in self._said_at
        )
        began = at = first - _MINUTE_MS
        for message in messages:
            # What the server said itself came right after what made it say so.
            at = self._said_at.get(message.id, at + 1_000)
            changed = self._changed_at.get(message.id)
            message.created_at = at
            message.edited_at = message.edited_at and changed
            message.deleted_at = message.deleted_at and changed
            await message.save(update_fields=["created_at", "edited_at", "deleted_at"])
        await Conversation.filter(id=id_).update(
            created_at=began, updated_at=began, last_activity_at=at
        )
        # Also the copy by which lists are ordered: it may have been made while they were talking.
        await Participant.filter(conversation_id=id_).update(joined_at=began, last_activity_at=at)
