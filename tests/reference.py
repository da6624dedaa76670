"""A client that knows only what the protocol tells clients, and keeps its own idea of the world.

One runs behind every socket of the suite. At the end of each test what it believes must equal what
a fresh fetch says: so live events and reloading can never tell two stories.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

BY_VIEWER = ("is_read", "status")
Ask = Callable[[str, dict[str, Any]], Awaitable[dict[str, Any]]]


@dataclass
class Talk:
    """One conversation as the client believes it to be."""

    cursor: int = 0
    # Where the client began: what happened up to there is fetched, what came after is owed.
    start: int = 0
    heard: int = 0
    # Whether the server said that there is more, or that something was left out.
    owed: bool = False
    known: bool = False
    conversation: dict[str, Any] = field(default_factory=dict)
    messages: dict[str, dict[str, Any]] = field(default_factory=dict)
    participants: dict[str, dict[str, Any]] = field(default_factory=dict)
    read: dict[str, int] = field(default_factory=dict)
    delivered: dict[str, int] = field(default_factory=dict)
    my: dict[str, Any] = field(default_factory=dict)
    membership_seq: int = 0
    last_seq: int = 0
    is_member: bool = True

    def begin(self, at: int) -> None:
        self.cursor = self.start = at
        self.known = True


class Reference:
    """The rule of the two cursors; objects replace each other by number, receipts by maximum."""

    def __init__(self, user_id: str) -> None:
        self.user_id = user_id
        self.epoch: str | None = None
        self.talks: dict[str, Talk] = {}
        self.user_cursor: int | None = None
        self.user_heard = 0
        self.user_owed = False
        # Whether the database was replaced, so that seats have to be asked for.
        self.begins_anew = False
        # Without a first `sync` of the personal list, the list is fetched when it is wanted.
        self.fetches_list = False
        self.hidden: set[str] = set()
        self.seated: set[str] = set()
        self.users: dict[str, dict[str, Any]] = {}

    # What arrives

    def ready(self, body: dict[str, Any]) -> None:
        self._live_in(body["epoch"])
        self.begins_anew = False
        for id_, head in body["joined"].items():
            talk = self.talks.setdefault(id_, Talk())
            if not talk.known:
                talk.begin(head)
            self.seated.add(id_)
        if "sync" in body:
            self.apply_sync(body["sync"])
        if self.user_cursor is None:
            self.user_cursor = body["user_seq"]
            self.fetches_list = True

    def hear(self, name: str, data: dict[str, Any]) -> None:
        if "prev_event_seq" in data:
            self._hear_room(data)
        elif "prev_user_seq" in data:
            self._hear_personal(name, data)
        elif name in ("receipt:read", "receipt:delivered"):
            self._hear_receipt(name, data)
        elif name == "user:updated":
            self._hear_user(data["user"])
        elif name == "session:resync":
            if "epoch" in data:
                self._live_in(data["epoch"])
            for id_ in data.get("conversation_ids", list(self.talks)):
                self.talks[id_].owed = True
            self.user_owed = self.user_owed or "conversation_ids" not in data

    def _live_in(self, epoch: str) -> None:
        """Forget everything that was of another epoch: numbers, objects, marks, what was hidden."""
        if self.epoch not in (None, epoch):
            self.talks = {id_: Talk(is_member=talk.is_member) for id_, talk in self.talks.items()}
            self.hidden.clear()
            self.seated.clear()
            self.users.clear()
            self.user_cursor, self.user_heard, self.user_owed = 0, 0, True
            self.begins_anew = True
        self.epoch = epoch

    def _hear_room(self, data: dict[str, Any]) -> None:
        talk = self.talks.setdefault(data["conversation_id"], Talk())
        number, before = data["event_seq"], data["prev_event_seq"]
        self.apply_object(talk, data)
        if talk.known and before <= talk.cursor:
            talk.cursor = max(talk.cursor, number)
        else:
            talk.heard = max(talk.heard, number)

    def _arrives(self, talk: Talk, message: dict[str, Any]) -> None:
        """Take what a message means that is news, whichever event it came by."""
        if message["seq"] <= talk.last_seq or message["type"] == "system":
            return
        sender = message["sender"]["id"]
        self._merge(talk, sender, message["seq"], message["seq"])
        mark, muted = talk.my.get("archived_seq"), talk.my.get("muted_until")
        if sender != self.user_id and mark is not None and muted is None:
            talk.my["is_archived"] = talk.my["is_archived"] and message["seq"] <= mark

    def _merge(self, talk: Talk, user_id: str, read: int, delivered: int) -> None:
        talk.read[user_id] = max(talk.read.get(user_id, 0), read)
        talk.delivered[user_id] = max(talk.delivered.get(user_id, 0), delivered, read)

    def apply_object(self, talk: Talk, data: dict[str, Any]) -> None:
        if "message" in data:
            self._arrives(talk, data["message"])
            self.apply_message(talk, data["message"])
        if "participant" in data:
            self.apply_participant(talk, data["participant"])
        if "conversation" in data:
            self.apply_conversation(talk, data["conversation"])

    def apply_message(self, talk: Talk, message: dict[str, Any]) -> None:
        body = {key: value for key, value in message.items() if key not in BY_VIEWER}
        stored = talk.messages.get(body["id"])
        if stored is None or body["event_seq"] > stored["event_seq"]:
            talk.messages[body["id"]] = body
        talk.last_seq = max(talk.last_seq, body["seq"])

    def apply_participant(self, talk: Talk, participant: dict[str, Any]) -> None:
        id_ = participant["user"]["id"]
        stored = talk.participants.get(id_)
        if stored is None or participant["event_seq"] > stored["event_seq"]:
            rejoined = stored is None or not stored["is_active"]
            talk.participants[id_] = participant
            self.users[id_] = participant["user"]
            if rejoined:
                talk.read.pop(id_, None)
                talk.delivered.pop(id_, None)
        self._merge(talk, id_, participant["read_seq"], participant["delivered_seq"])

    def apply_conversation(self, talk: Talk, conversation: dict[str, Any]) -> None:
        stored = talk.conversation
        if not stored or conversation["event_seq"] >= stored["event_seq"]:
            talk.conversation = conversation
        talk.last_seq = max(talk.last_seq, conversation["last_seq"])
        for participant in conversation.get("participants", ()):
            self.apply_participant(talk, participant)
        if conversation.get("last_message"):
            self.apply_message(talk, conversation["last_message"])
        if conversation.get("my"):
            self.apply_my(talk, conversation["my"])

    def apply_my(self, talk: Talk, my: dict[str, Any]) -> None:
        if not talk.my or my["user_seq"] >= talk.my["user_seq"]:
            talk.my = dict(my)
        self._merge(talk, self.user_id, my["read_seq"], my["delivered_seq"])

    def _hear_personal(self, name: str, data: dict[str, Any]) -> None:
        if self.user_cursor is not None and data["prev_user_seq"] <= self.user_cursor:
            self.user_cursor = max(self.user_cursor, data["user_seq"])
        else:
            self.user_heard = max(self.user_heard, data["user_seq"])
        if name == "conversation:added":
            self._added(data["conversation"], data["event_seq"])
        elif name == "conversation:removed":
            self._removed(data["conversation_id"], data["event_seq"])
        elif name == "my:updated":
            self.apply_my(self.talks[data["conversation_id"]], data["my"])
        elif name == "my:message_hidden":
            self.hidden |= set(data["message_ids"])

    def _added(self, conversation: dict[str, Any], event_seq: int) -> None:
        talk = self.talks.setdefault(conversation["id"], Talk())
        if event_seq < talk.membership_seq:
            return
        if not talk.known:
            talk.begin(conversation["head"])
        elif not talk.is_member:
            # Back again: what changed in between is owed from the cursor of then.
            talk.heard = max(talk.heard, conversation["head"])
        talk.membership_seq, talk.is_member = event_seq, True
        self.seated.add(conversation["id"])
        self.apply_conversation(talk, conversation)

    def _removed(self, conversation_id: str, event_seq: int) -> None:
        talk = self.talks.setdefault(conversation_id, Talk())
        if event_seq > talk.membership_seq:
            talk.membership_seq, talk.is_member = event_seq, False
            self.seated.discard(conversation_id)

    def _hear_receipt(self, name: str, data: dict[str, Any]) -> None:
        talk = self.talks.setdefault(data["conversation_id"], Talk())
        read = data["up_to_seq"] if name == "receipt:read" else 0
        self._merge(talk, data["user_id"], read, data["up_to_seq"])

    def _hear_user(self, user: dict[str, Any]) -> None:
        self.users[user["id"]] = user

    # Catching up

    def cursors(self) -> dict[str, int | None]:
        members = {id_: talk for id_, talk in self.talks.items() if talk.is_member}
        return {id_: talk.cursor if talk.known else None for id_, talk in members.items()}

    def behind(self) -> dict[str, int | None]:
        return {
            id_: talk.cursor if talk.known else None
            for id_, talk in self.talks.items()
            if talk.is_member and (talk.owed or talk.heard > talk.cursor)
        }

    async def catch_up(self, ask: Ask) -> None:
        """Ask `sync`, one at a time, until nothing that was heard is missing."""
        for _ in range(100):
            number = self.user_cursor
            late = number is not None and (self.user_owed or self.user_heard > number)
            behind = self.behind()
            if not late and not behind:
                return
            asked: dict[str, Any] = {"cursors": behind, "epoch": self.epoch}
            if late:
                asked["user_seq"] = self.user_cursor
            answer = await ask("sync", asked)
            # One that was read in an epoch which has ended meanwhile is about nothing any more.
            if self.epoch == asked["epoch"] or answer["epoch"] != asked["epoch"]:
                self.apply_sync(answer)
        raise AssertionError("sync never catches up")

    def apply_sync(self, answer: dict[str, Any]) -> None:
        self._live_in(answer["epoch"])
        for entry in answer["conversations"]:
            self._apply_entry(entry)
        for membership in answer["memberships"]:
            if membership["is_active"]:
                body = membership["conversation"]
                talk = self.talks.setdefault(body["id"], Talk())
                if not talk.known:
                    talk.begin(body["head"])
                elif not talk.is_member:
                    talk.heard = max(talk.heard, body["head"])
                talk.is_member = True
                talk.owed = talk.owed or (self.begins_anew and body["id"] not in self.seated)
                self.apply_conversation(talk, body)
            else:
                talk = self.talks.setdefault(membership["conversation_id"], Talk())
                talk.is_member = False
                self.seated.discard(membership["conversation_id"])
        self.hidden |= set(answer["hidden_ids"])
        if answer["user_seq"] is not None:
            self.user_cursor = max(self.user_cursor or 0, answer["user_seq"])
            self.user_owed = answer["user_has_more"]
        for user in answer["users"]:
            self._hear_user(user)
        self.seated -= set(answer["unseated"])

    def _apply_entry(self, entry: dict[str, Any]) -> None:
        talk = self.talks.setdefault(entry["id"], Talk())
        if entry.get("reset"):
            talk = self.talks[entry["id"]] = Talk(my=talk.my)
            talk.begin(entry["event_seq"])
        elif not talk.known:
            talk.begin(entry["event_seq"])
        talk.is_member = True
        self.seated.add(entry["id"])
        for message in entry["messages"]:
            self._arrives(talk, message)
            self.apply_message(talk, message)
        for participant in entry["participants"]:
            self.apply_participant(talk, participant)
        if entry.get("conversation"):
            self.apply_conversation(talk, entry["conversation"])
        for receipt in entry["receipts"]:
            self._merge(talk, receipt["user_id"], receipt["read_seq"], receipt["delivered_seq"])
        talk.cursor, talk.known = max(talk.cursor, entry["event_seq"]), True
        talk.owed = entry["has_more"]

    def take_list(self, conversations: dict[str, dict[str, Any]]) -> None:
        """Take the list of conversations as fetched; what is known already is not replaced."""
        for id_, body in conversations.items():
            talk = self.talks.setdefault(id_, Talk())
            if not talk.conversation:
                self.apply_conversation(talk, body)

    def apply_page(self, conversation_id: str, page: dict[str, Any]) -> None:
        """Take a page of history that was fetched because somebody wanted to read it."""
        talk = self.talks[conversation_id]
        for message in page["results"]:
            self.apply_message(talk, message)
        for receipt in page["receipts"]:
            self._merge(talk, receipt["user_id"], receipt["read_seq"], receipt["delivered_seq"])
        for user in page["users"]:
            self._hear_user(user)

    # What the client would show

    def shown_messages(self, conversation_id: str) -> list[dict[str, Any]]:
        messages = self.talks[conversation_id].messages.values()
        shown = [body for body in messages if body["id"] not in self.hidden]
        return sorted(shown, key=lambda body: int(body["seq"]))

    def unread(self, conversation_id: str) -> int:
        talk = self.talks[conversation_id]
        read = talk.read.get(self.user_id, 0)
        return sum(
            body["seq"] > read
            and body["sender"]["id"] != self.user_id
            and body["type"] != "system"
            and not body["is_deleted"]
            for body in talk.messages.values()
        )
