"""What happened in a run, as the people in it saw it: written down first, judged afterwards.

Times are seconds of the wall clock of this machine, which the database's clock is, too.
"""

from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Self

ANY_NODE = "any node"
"""Where a device is that does not say on which node."""


class End(Enum):
    """How something that was asked for ended, as far as whoever asked knows."""

    ACKNOWLEDGED = "acknowledged"
    REFUSED = "refused"
    UNKNOWN = "unknown"


@dataclass(slots=True)
class Line:
    """One connection of one device, from its hello to its end."""

    device: str
    user_id: str
    node: str
    ready_at: float = 0.0
    closed_at: float = 0.0
    epoch: str = ""


@dataclass(slots=True)
class Frame:
    """One event as it came over the wire, before any rule of a client touched it."""

    at: float
    line: Line
    name: str
    conversation_id: str
    number: int | None
    before: int | None
    body: dict[str, Any]

    @classmethod
    def read(cls, at: float, line: Line, name: str, body: dict[str, Any]) -> Self:
        """Return a frame as it came; personal ones belong to no conversation."""
        is_personal = "prev_user_seq" in body
        number = body.get("user_seq") if is_personal else body.get("event_seq")
        before = body.get("prev_user_seq" if is_personal else "prev_event_seq")
        talk = "" if is_personal else body.get("conversation_id", "")
        return cls(at, line, name, talk, number, before, body)


@dataclass(slots=True)
class Shown:
    """A conversation as an answer showed it: what was asked when, and what it contains."""

    asked_at: float
    at: float
    line: Line
    conversation_id: str
    numbers: list[int]


@dataclass(slots=True)
class Step:
    """How far a device had everything of a conversation at a moment."""

    at: float
    cursor: int
    line: Line


@dataclass(slots=True)
class Attempt:
    """One time that something was asked."""

    line: Line
    asked_at: float
    answered_at: float = 0.0
    code: str = ""


@dataclass(slots=True)
class Change:
    """Something that a person wanted changed, asked for until somebody knew."""

    kind: str
    conversation_id: str
    user_id: str
    about: str = ""
    """The `client_msg_id` of a send, the message of an edit, the person of a move."""
    content: str = ""
    attempts: list[Attempt] = field(default_factory=list)
    end: End = End.UNKNOWN
    code: str = ""
    message_id: str = ""
    seq: int = 0
    event_seq: int = 0

    @property
    def asked_at(self) -> float:
        """Return when it was asked for first."""
        return self.attempts[0].asked_at if self.attempts else 0.0

    @property
    def ended_at(self) -> float:
        """Return when the last answer came."""
        return self.attempts[-1].answered_at if self.attempts else 0.0

    @property
    def is_certain(self) -> bool:
        """Return whether every attempt was answered with a plain yes or no."""
        return all(attempt.code in CERTAIN for attempt in self.attempts)


UNKNOWN_CODES = ("timeout", "unavailable", "internal", "lost")
"""After these nobody knows whether anything was changed: ask again with the same id."""

CERTAIN = (
    *("", "forbidden", "not_found", "conversation_closed", "edit_window_closed"),
    *("version_conflict", "validation_failed", "rate_limited", "blocked"),
)


@dataclass(slots=True)
class Fault:
    """Something that was broken, and for how long."""

    kind: str
    target: str
    began_at: float
    ended_at: float = 0.0
    stops_storing: bool = False
    """Whether nobody, or nobody behind the target, could store or read while it lasted."""
    note: str = ""


@dataclass(slots=True)
class History:
    """One run."""

    began_at: float = 0.0
    ended_at: float = 0.0
    lines: list[Line] = field(default_factory=list)
    frames: list[Frame] = field(default_factory=list)
    shown: list[Shown] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    steps: dict[tuple[str, str], list[Step]] = field(default_factory=dict)
    """By device and conversation, in the order of time."""

    def sends(self) -> list[Change]:
        """Return what was said, or meant to be."""
        return [change for change in self.changes if change.kind == "send"]
