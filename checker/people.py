"""People: what they say, change and take back, in which conversations, and how they insist.

A request is asked for again with the same id until somebody says yes or no, on whichever node the
device has come back to: that is the client's half of "stored once".
"""

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any
from uuid import UUID

from checker.device import Device, LostError
from checker.history import UNKNOWN_CODES, Attempt, Change, End, History

SAID, EDITED = "said: ", "edited: "
"""What texts begin with, which is how the networks recognise them on their way to the database."""

_AGAIN_S = 0.1
_LONGEST_AGAIN_S = 1.0
_REMEMBERED = 8
_LOUD = 6_000


@dataclass(slots=True)
class Talk:
    """A conversation: its owner, who stays, and the others, who come and go."""

    id: str
    owner: str
    others: list[str]
    is_loud: bool = False
    present: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Own:
    """A message that its author remembers."""

    id: str
    conversation_id: str
    version: int


class Person:
    """Somebody with a device, who wants things."""

    def __init__(self, device: Device, history: History, chance: Random) -> None:
        """Want nothing yet."""
        self.device = device
        self.id = device.user_id
        self._history = history
        self._chance = chance
        self._own: deque[Own] = deque(maxlen=_REMEMBERED)
        self._number = 0

    async def live(self, talks: Sequence[Talk], pause_s: float, end: asyncio.Event) -> None:
        """Do one thing after another until the end, and finish what was begun."""
        chance = self._chance
        while not end.is_set():
            await asyncio.sleep(chance.expovariate(1 / pause_s))
            await self.device.online()
            talk = self._choose(talks)
            if talk is not None:
                await self._act(talk)

    def _choose(self, talks: Sequence[Talk]) -> Talk | None:
        """Choose a conversation of one's own, now and then one that one is no longer in."""
        mine = [talk for talk in talks if self.id == talk.owner or self.id in talk.others]
        present = [talk for talk in mine if self.id == talk.owner or self.id in talk.present]
        from_where = present if present and self._chance.random() > 0.03 else mine
        return self._chance.choice(from_where) if from_where else None

    async def _act(self, talk: Talk) -> None:
        lot = self._chance.random()
        if lot < 0.80 or not self._own:
            await self.says(talk)
        elif lot < 0.88:
            await self._edits()
        elif lot < 0.91:
            await self._takes_back()
        elif lot < 0.96:
            await self._hints(talk)
        elif lot < 0.98:
            await self._looks()
        else:
            await self.device.leaves()

    async def says(self, talk: Talk) -> Change:
        """Say something, and insist."""
        self._number += 1
        words = f"{SAID}{self.id} {self._number} "
        words += "x" * (_LOUD if talk.is_loud else self._chance.randrange(20, 200))
        cid = str(UUID(int=self._chance.getrandbits(128), version=4))
        change = Change("send", talk.id, self.id, about=cid, content=words)
        data = {"conversation_id": talk.id, "client_msg_id": cid, "content": words}
        reply = await self.insists(change, "message:send", data)
        if reply is not None:
            message = reply["message"]
            change.message_id, change.seq = message["id"], message["seq"]
            change.event_seq = message["event_seq"]
            if "content" in message:
                self._own.append(Own(message["id"], talk.id, message["version"]))
                if talk.id in self.device.rule.talks:
                    self.device.rule.acknowledged(talk.id, message)
        return change

    async def _edits(self) -> None:
        own = self._own[-1]
        self._number += 1
        words = f"{EDITED}{self.id} {self._number}"
        change = Change("edit", own.conversation_id, self.id, about=own.id, content=words)
        data = {"message_id": own.id, "content": words, "base_version": own.version}
        reply = await self.insists(change, "message:edit", data)
        if reply is None:
            self._own.pop()
            return
        own.version = reply["message"]["version"]
        change.message_id, change.event_seq = own.id, reply["message"]["event_seq"]

    async def _takes_back(self) -> None:
        own = self._own.popleft()
        change = Change("delete", own.conversation_id, self.id, about=own.id)
        reply = await self.insists(change, "message:delete", {"message_id": own.id})
        if reply is not None:
            change.message_id, change.event_seq = own.id, reply["message"]["event_seq"]

    async def _hints(self, talk: Talk) -> None:
        """Type, and say how far one has read: what is lost of it is lost."""
        known = self.device.rule.talks.get(talk.id)
        seq = known.last_seq if known is not None else 0
        try:
            await self.device.ask("typing:start", {"conversation_id": talk.id})
            if seq:
                data = {"conversation_id": talk.id, "up_to_seq": seq}
                await self.device.ask("receipt:read", data)
        except LostError:
            return

    async def _looks(self) -> None:
        try:
            await self.device.sync()
        except LostError:
            return

    # Membership

    async def keeps(self, talk: Talk, pause_s: float, end: asyncio.Event) -> None:
        """Remove people from one's conversation and let them in again, until the end."""
        while not end.is_set():
            await asyncio.sleep(self._chance.expovariate(1 / pause_s))
            out = [user_id for user_id in talk.others if user_id not in talk.present]
            if out and self._chance.random() < len(out) / 2:
                user_id = self._chance.choice(out)
                await self.adds(talk, user_id)
                talk.present.add(user_id)
            else:
                user_id = self._chance.choice(sorted(talk.present))
                await self.removes(talk, user_id)
                talk.present.discard(user_id)

    async def removes(self, talk: Talk, user_id: str) -> Change:
        """Remove somebody, and insist."""
        change = Change("remove", talk.id, user_id, about=self.id)
        data = {"conversation_id": talk.id, "user_id": user_id}
        self._moved(change, await self.insists(change, "participant:remove", data))
        return change

    async def adds(self, talk: Talk, user_id: str) -> Change:
        """Add somebody, and insist."""
        change = Change("add", talk.id, user_id, about=self.id)
        data = {"conversation_id": talk.id, "user_ids": [user_id]}
        self._moved(change, await self.insists(change, "participant:add", data))
        return change

    def _moved(self, change: Change, reply: dict[str, Any] | None) -> None:
        for member in reply["participants"] if reply is not None else ():
            if member["user"]["id"] == change.user_id:
                change.event_seq = member["event_seq"]

    # Insisting

    async def insists(
        self, change: Change, name: str, data: dict[str, Any]
    ) -> dict[str, Any] | None:
        """Ask until there is a yes, whose data is returned, or a no."""
        self._history.changes.append(change)
        while True:
            await self.device.online()
            attempt = Attempt(self.device.line, time.time())
            change.attempts.append(attempt)
            try:
                answer = await self.device.ask(name, data)
            except LostError:
                answer = {"ok": False, "error": {"code": "lost"}}
            attempt.answered_at = time.time()
            if answer["ok"]:
                change.end = End.ACKNOWLEDGED
                reply: dict[str, Any] = answer["data"]
                return reply
            error = answer["error"]
            attempt.code = change.code = error["code"]
            if error["code"] not in (*UNKNOWN_CODES, "rate_limited", "storage_full"):
                change.end = End.REFUSED
                return None
            wait = min(error.get("retry_after_ms", 0) / 1_000, _LONGEST_AGAIN_S)
            await asyncio.sleep(max(wait, _AGAIN_S))
