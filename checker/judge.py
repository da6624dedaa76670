"""The lines that must be zero, each a function that names what crosses it.

Everything is judged on what came over the wire and what the database says, never on what a client
chose to believe; the last two are about what devices show.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from checker.history import ANY_NODE, Change, End, Fault, Frame, History
from checker.truth import FOR_EVER, Life, Version

LATE_S = 10.0
"""How long after its end a life may still be heard of, by what was under way."""

HINTS_S = 5.0
"""How long after a removal hints may still arrive, with the bus down."""


class Belief(Protocol):
    """What a device has of a conversation."""

    start: int
    """Where it began: what came later is owed to it."""
    messages: dict[str, dict[str, Any]]


@dataclass(slots=True)
class Believer:
    """A device and what it has in the end."""

    name: str
    user_id: str
    talks: Mapping[str, Belief]


@dataclass(slots=True)
class Case:
    """What is judged."""

    history: History
    lives: Sequence[Life]
    believers: Sequence[Believer]

    @property
    def last(self) -> Life:
        """Return the life the database is in now."""
        return self.lives[-1]

    def since(self, at: float) -> float:
        """Return how long after the beginning something was."""
        return at - self.history.began_at

    def lives_at(self, at: float, late_s: float = LATE_S) -> list[Life]:
        """Return the lives that somebody may have heard of at a moment."""
        return [life for life in self.lives if life.began_at <= at <= life.ended_at + late_s]

    def life_at(self, at: float) -> Life | None:
        """Return the life at a moment; there is none while the database is being replaced."""
        there = (life for life in self.lives if life.began_at <= at <= life.ended_at)
        return next(there, None)

    def excused_until(self, node: str, began: float, ended: float) -> float:
        """Return when a node was last kept from storing or saying anything between two moments."""
        ends = [
            fault.ended_at
            for fault in self.history.faults
            if _keeps(fault, node) and fault.began_at < ended and fault.ended_at > began
        ]
        return max(ends, default=began)


def _keeps(fault: Fault, node: str) -> bool:
    return fault.stops_storing and (fault.target in (node, "postgres") or node == ANY_NODE)


Judgement = Callable[[Case], Iterator[str]]


def acknowledged_but_absent(case: Case) -> Iterator[str]:
    """Find what was acknowledged and is not stored."""
    for change in case.history.changes:
        if change.end is not End.ACKNOWLEDGED or change.kind in ("add", "remove"):
            continue
        lives = case.lives_at(change.ended_at)
        if not any(_is_stored(life, change) for life in lives):
            yield f"{change.kind} {change.about} of {change.user_id} at {change.event_seq}"


def _is_stored(life: Life, change: Change) -> bool:
    if change.kind == "send":
        return (change.conversation_id, change.user_id, change.about) in life.by_client_id
    version = life.by_number.get((change.conversation_id, change.event_seq))
    # Another edit of the same message is answered with the message as it is by then.
    return version is not None and version.id == change.message_id


def stored_twice(case: Case) -> Iterator[str]:
    """Find what was asked for twice and stored twice."""
    for life in case.lives:
        for (_, sender, cid), stored in life.by_client_id.items():
            if len(stored) > 1:
                yield f"{cid} of {sender} is {len(stored)} messages"


def numbers_with_holes(case: Case) -> Iterator[str]:
    """Find where numbers are not 1, 2, 3, … for messages, or not for all changes."""
    for life in case.lives:
        seqs, numbers = life.seqs(), life.numbers()
        for talk, (head, last) in life.heads.items():
            if sorted(seqs[talk]) != list(range(1, last + 1)):
                yield f"{talk}: {len(seqs[talk])} messages up to {last}"
            if sorted(numbers[talk]) != list(range(1, head + 1)):
                yield f"{talk}: {len(numbers[talk])} changes up to {head}"


def answered_otherwise_than_stored(case: Case) -> Iterator[str]:
    """Find acknowledgements of another message or number than is stored."""
    for change in case.history.sends():
        if change.end is not End.ACKNOWLEDGED:
            continue
        key = (change.conversation_id, change.user_id, change.about)
        found = [
            life.by_client_id[key][0]
            for life in case.lives_at(change.ended_at)
            if key in life.by_client_id
        ]
        if found and not any(_is_same(change, version) for version in found):
            yield f"{change.about}: {change.seq} instead of {found[-1].seq}"


def _is_same(change: Change, version: Version) -> bool:
    return (change.message_id, change.seq) == (version.id, version.seq)


def refused_but_stored(case: Case) -> Iterator[str]:
    """Find what was refused, with a plain no each time, and is stored."""
    for change in case.history.sends():
        if change.end is not End.REFUSED or not change.is_certain:
            continue
        key = (change.conversation_id, change.user_id, change.about)
        if any(key in life.by_client_id for life in case.lives):
            yield f"{change.about} of {change.user_id}: {change.code}"


def heard_outside_membership(case: Case) -> Iterator[str]:
    """Find frames whose number lies in no membership of who hears it, removals included."""
    for frame in _of_rooms(case):
        who, number = frame.line.user_id, frame.number or 0
        lives = case.lives_at(frame.at)
        if not any(life.was_in(frame.conversation_id, who, number) for life in lives):
            yield (
                f"{frame.line.device} on {frame.line.node} heard {frame.name} {number} of "
                f"{frame.conversation_id} at {case.since(frame.at):.2f} s, where they were "
                f"{_stays_near(lives[-1], frame)}"
            )


def _stays_near(life: Life, frame: Frame) -> str:
    """Return where a person was in, as a reader wants it: the stays around a number."""
    stays = life.stays.get((frame.conversation_id, frame.line.user_id), [])
    number = frame.number or 0
    near = [stay for stay in stays if stay[0] <= number][-1:]
    near += [stay for stay in stays if stay[0] > number][:1]
    return " and ".join(f"{a} to {'now' if b == FOR_EVER else b}" for a, b in near) or "never"


def heard_twice_or_backwards(case: Case) -> Iterator[str]:
    """Find where the numbers of a conversation, or one's own, do not rise on a connection."""
    last: dict[tuple[int, str], int] = {}
    for frame in case.history.frames:
        if frame.number is None or frame.before is None:
            continue
        key = (id(frame.line), frame.conversation_id)
        if frame.number <= last.get(key, 0) and not _has_changed_lives(case, frame):
            yield f"{frame.line.device} heard {frame.number} after {last[key]}: {frame.name}"
        last[key] = frame.number


def _has_changed_lives(case: Case, frame: Frame) -> bool:
    """Return whether the database was replaced while this connection was there."""
    since = frame.line.ready_at
    return any(since <= life.ended_at <= frame.at for life in case.lives[:-1])


def heard_otherwise_than_stored(case: Case) -> Iterator[str]:
    """Find frames that say of a number something else than is stored under it."""
    for frame in _of_rooms(case):
        if not any(_agrees(life, frame) for life in case.lives_at(frame.at)):
            yield f"{frame.line.device}: {frame.name} {frame.number} of {frame.conversation_id}"


def _agrees(life: Life, frame: Frame) -> bool:
    message = frame.body.get("message")
    return message is None or _is_stored_so(life, frame.conversation_id, message)


def _is_stored_so(life: Life, talk_id: str, message: Mapping[str, Any]) -> bool:
    version = life.by_number.get((talk_id, message["event_seq"]))
    if version is None or version.id != message["id"]:
        return False
    if version.is_deleted:
        return bool(message["is_deleted"])
    return version.is_system or message["content"] == version.content


def accepted_outside_membership(case: Case) -> Iterator[str]:
    """Find what was said by somebody where they were not."""
    for life in case.lives:
        for first in life.firsts():
            stays = life.stays.get((first.conversation_id, first.sender_id), ())
            number = first.event_seq
            if not first.is_system and not any(start < number < end for start, end in stays):
                yield f"{first.sender_id} said {number} in {first.conversation_id}"


def against_the_order_of_time(case: Case) -> Iterator[str]:
    """Find what stands after something that was begun when it had been acknowledged."""
    sends: dict[tuple[int, str], list[Change]] = defaultdict(list)
    for change in case.history.sends():
        if change.end is End.ACKNOWLEDGED:
            for number, life in enumerate(case.lives):
                if life.began_at <= change.asked_at and change.ended_at <= life.ended_at:
                    sends[number, change.conversation_id].append(change)
    for changes in sends.values():
        yield from _inverted(changes)


def _inverted(changes: Sequence[Change]) -> Iterator[str]:
    ended = sorted(changes, key=lambda change: change.ended_at)
    highest, at = 0, 0
    for change in sorted(changes, key=lambda change: change.asked_at):
        while at < len(ended) and ended[at].ended_at < change.asked_at:
            highest = max(highest, ended[at].seq)
            at += 1
        if change.seq <= highest:
            yield f"{change.about} got {change.seq} after {highest} had been acknowledged"


def shown_after_removal(case: Case) -> Iterator[str]:
    """Find answers to requests after a removal that show the conversation."""
    moves: dict[tuple[str, str], list[Change]] = defaultdict(list)
    for change in case.history.changes:
        if change.kind in ("add", "remove"):
            moves[change.conversation_id, change.user_id].append(change)
    for shown in case.history.shown:
        before = None
        changes = moves.get((shown.conversation_id, shown.line.user_id), ())
        for change in changes:
            if change.asked_at > shown.at:
                break
            before = change
        if before is None or before.kind != "remove" or before.end is not End.ACKNOWLEDGED:
            continue
        lives = case.lives_at(shown.at)
        # What was removed in a life that has ended since may be a member in an older copy of it.
        if before.ended_at < shown.asked_at and lives == [case.life_at(before.asked_at)]:
            yield f"{shown.line.device} was shown {shown.conversation_id}"


def hinted_after_removal(case: Case) -> Iterator[str]:
    """Find typing and receipts that do not stop soon after a removal."""
    removed: dict[tuple[str, str], list[tuple[float, bool]]] = defaultdict(list)
    for move in case.last.moves:
        removed[move.conversation_id, move.user_id].append((move.at, move.is_active))
    for frame in case.history.frames:
        if frame.number is not None or not frame.conversation_id:
            continue
        moves = removed.get((frame.conversation_id, frame.line.user_id), [])
        before = [move for move in moves if move[0] <= frame.at]
        if not before or before[-1][1] or len(case.lives_at(frame.at)) > 1:
            continue
        since = case.excused_until(frame.line.node, before[-1][0], frame.at)
        if frame.at - since > HINTS_S:
            yield f"{frame.line.device} heard {frame.name} {frame.at - since:.1f} s later"


def shown_otherwise_at_the_end(case: Case) -> Iterator[str]:
    """Find what a device shows in the end that is not what is stored."""
    for device, talk_id in _memberships(case):
        talk = device.talks.get(talk_id)
        for body in talk.messages.values() if talk is not None else ():
            if not _is_stored_so(case.last, talk_id, body):
                yield (
                    f"{device.name} shows {body['id']} at {body['event_seq']} of {talk_id}: "
                    f"{_as_told(body)}, stored is {_as_stored(case.last, talk_id, body)}"
                )


def _as_told(body: Mapping[str, Any]) -> str:
    return "deleted" if body["is_deleted"] else repr(body["content"][:_WORDS])


def _as_stored(life: Life, talk_id: str, body: Mapping[str, Any]) -> str:
    """Return what is stored under a number, and how often the message changed since."""
    version = life.by_number.get((talk_id, body["event_seq"]))
    latest = life.latest.get(body["id"])
    now = "unknown" if latest is None else f"now at {latest.event_seq}"
    if version is None:
        return f"nothing, the message is {now}"
    words = "deleted" if version.is_deleted else repr(version.content[:_WORDS])
    return f"{version.id}, {words}, the message is {now}"


def missing_at_the_end(case: Case) -> Iterator[str]:
    """Find what devices lack of their memberships after a quiet time."""
    by_talk: dict[str, list[Version]] = defaultdict(list)
    for version in case.last.latest.values():
        by_talk[version.conversation_id].append(version)
    for device, talk_id in _memberships(case):
        talk = device.talks.get(talk_id)
        if talk is None:
            yield f"{device.name} does not know that it is in {talk_id}"
            continue
        for version in by_talk[talk_id]:
            body = talk.messages.get(version.id)
            has = 0 if body is None else body["event_seq"]
            if version.event_seq > talk.start and has < version.event_seq:
                yield f"{device.name} misses {version.event_seq} of {talk_id}"


def _memberships(case: Case) -> Iterator[tuple[Believer, str]]:
    for device in case.believers:
        for (talk_id, user_id), stays in case.last.stays.items():
            if user_id == device.user_id and stays and stays[-1][1] == FOR_EVER:
                yield device, talk_id


def _of_rooms(case: Case) -> Iterator[Frame]:
    for frame in case.history.frames:
        if frame.conversation_id and frame.number is not None and frame.before is not None:
            yield frame


LINES: Mapping[str, Judgement] = {
    "acknowledged, but absent from what is stored": acknowledged_but_absent,
    "asked for twice and stored twice": stored_twice,
    "a hole or a repeat in the numbers of a conversation": numbers_with_holes,
    "acknowledged with another number than is stored": answered_otherwise_than_stored,
    "refused, but stored": refused_but_stored,
    "accepted from somebody who is not a member": accepted_outside_membership,
    "stored against the order of time": against_the_order_of_time,
    "heard by somebody who is not a member": heard_outside_membership,
    "heard twice or out of order on one connection": heard_twice_or_backwards,
    "heard otherwise than stored": heard_otherwise_than_stored,
    "shown by an answer to somebody who was removed": shown_after_removal,
    "typing and receipts long after a removal": hinted_after_removal,
    "shown by a device otherwise than stored": shown_otherwise_at_the_end,
    "missing on a device after the quiet time": missing_at_the_end,
}
"""Every line, in the words of the report."""

_EXAMPLES = 5
_WORDS = 40


@dataclass(frozen=True, slots=True)
class Count:
    """How often a line was crossed, and some of the cases."""

    line: str
    number: int
    examples: tuple[str, ...]


def judged(case: Case) -> list[Count]:
    """Return every line with what crosses it."""
    counts = []
    for line, judgement in LINES.items():
        found = list(judgement(case))
        apart = max(1, len(found) // _EXAMPLES)
        counts.append(Count(line, len(found), tuple(found[::apart][:_EXAMPLES])))
    return counts
