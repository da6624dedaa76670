"""What the database says happened, which is what everybody is judged against.

A database that was replaced by an older copy of itself had a life before: what was stored then is
read before it goes, and judged as what was true until that moment.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

FOR_EVER = 2**62


@dataclass(frozen=True, slots=True)
class Version:
    """A message as one change left it."""

    at: float
    conversation_id: str
    id: str
    seq: int
    event_seq: int
    sender_id: str
    client_msg_id: str | None
    content: str
    is_deleted: bool
    is_system: bool


@dataclass(frozen=True, slots=True)
class Move:
    """A membership as one change left it."""

    at: float
    conversation_id: str
    user_id: str
    is_active: bool
    event_seq: int


@dataclass(slots=True)
class Life:
    """One life of the database, from a moment to another."""

    began_at: float
    ended_at: float = float("inf")
    versions: list[Version] = field(default_factory=list)
    moves: list[Move] = field(default_factory=list)
    settings: list[tuple[float, str, int]] = field(default_factory=list)
    """Changes of conversations themselves: when, which, with which number."""
    heads: dict[str, tuple[int, int]] = field(default_factory=dict)
    """The last `event_seq` and the last `seq` of each conversation."""
    # Made of these.
    by_number: dict[tuple[str, int], Version] = field(default_factory=dict)
    by_client_id: dict[tuple[str, str, str], list[Version]] = field(default_factory=dict)
    latest: dict[str, Version] = field(default_factory=dict)
    stays: dict[tuple[str, str], list[tuple[int, int]]] = field(default_factory=dict)
    """By conversation and person, from which number to which they were in."""
    times: dict[tuple[str, str], list[tuple[float, float]]] = field(default_factory=dict)
    """The same by the clock: from when to when they were in."""
    timelines: dict[str, tuple[list[int], list[float]]] = field(default_factory=dict)
    """By conversation, the numbers of its changes and when each was stored."""

    def index(self) -> None:
        """Make it quick to look things up."""
        self.versions.sort(key=lambda version: (version.conversation_id, version.event_seq))
        self.moves.sort(key=lambda move: (move.conversation_id, move.event_seq))
        firsts: dict[str, Version] = {}
        for version in self.versions:
            self.by_number[version.conversation_id, version.event_seq] = version
            self.latest[version.id] = version
            firsts.setdefault(version.id, version)
        by_client_id = defaultdict(list)
        for first in firsts.values():
            if first.client_msg_id is not None:
                key = (first.conversation_id, first.sender_id, first.client_msg_id)
                by_client_id[key].append(first)
        self.by_client_id = dict(by_client_id)
        for move in self.moves:
            stays = self.stays.setdefault((move.conversation_id, move.user_id), [])
            times = self.times.setdefault((move.conversation_id, move.user_id), [])
            is_in = bool(stays) and stays[-1][1] == FOR_EVER
            if move.is_active and not is_in:
                stays.append((move.event_seq, FOR_EVER))
                times.append((move.at, float("inf")))
            elif not move.is_active and is_in:
                stays[-1] = (stays[-1][0], move.event_seq)
                times[-1] = (times[-1][0], move.at)
        self.timelines = _timelines((*self.versions, *self.moves))

    def was_in(self, conversation_id: str, user_id: str, number: int) -> bool:
        """Return whether a person was in at a number; the number of the removal is the last."""
        stays = self.stays.get((conversation_id, user_id), ())
        return any(start <= number <= end for start, end in stays)

    def is_in(self, conversation_id: str, user_id: str) -> bool:
        """Return whether a person was in when this life ended."""
        stays = self.stays.get((conversation_id, user_id))
        return stays is not None and stays[-1][1] == FOR_EVER

    def seconds_in(self, conversation_id: str, user_id: str, began: float, ended: float) -> float:
        """Return for how long of the time between two moments a person was in."""
        times = self.times.get((conversation_id, user_id), ())
        return sum(max(0.0, min(end, ended) - max(start, began)) for start, end in times)

    def seqs(self) -> Mapping[str, list[int]]:
        """Return by conversation the numbers of its messages."""
        found: defaultdict[str, list[int]] = defaultdict(list)
        for first in self.firsts():
            found[first.conversation_id].append(first.seq)
        return found

    def numbers(self) -> Mapping[str, list[int]]:
        """Return by conversation the numbers of everything that changed in it."""
        found: defaultdict[str, list[int]] = defaultdict(list)
        for version in self.versions:
            found[version.conversation_id].append(version.event_seq)
        for move in self.moves:
            found[move.conversation_id].append(move.event_seq)
        for _, talk, number in self.settings:
            if number:
                found[talk].append(number)
        return found

    def firsts(self) -> Iterator[Version]:
        """Return each message as it was first stored."""
        seen: set[str] = set()
        for version in self.versions:
            if version.id not in seen:
                seen.add(version.id)
                yield version


def _timelines(
    changes: Iterable[Version | Move],
) -> dict[str, tuple[list[int], list[float]]]:
    found: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for change in changes:
        found[change.conversation_id].append((change.event_seq, change.at))
    return {
        talk: ([number for number, _ in pairs], [at for _, at in pairs])
        for talk, pairs in ((talk, sorted(pairs)) for talk, pairs in found.items())
    }


async def read(connection: Any, life: Life) -> None:
    """Read what is true in a life, as of now."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        rows = await connection.fetch("SELECT * FROM checker.messages")
        life.versions = [Version(*row) for row in rows]
        rows = await connection.fetch("SELECT * FROM checker.memberships")
        life.moves = [Move(*row) for row in rows]
        rows = await connection.fetch("SELECT * FROM checker.conversations")
        life.settings = [tuple(row) for row in rows]
        rows = await connection.fetch("SELECT id, head, last_seq FROM conversations")
        life.heads = {row["id"]: (row["head"], row["last_seq"]) for row in rows}
    life.index()
