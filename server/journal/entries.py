"""A send on its way into the database, and what became of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import NamedTuple, Protocol

from server.errors import UnavailableError
from server.events import Outcome
from server.ids import new_id


class Placed(NamedTuple):
    """The numbers and the time that a message got, and its sender as they were then."""

    seq: int
    event_seq: int
    created_at: int
    sender_name: str
    sender_avatar_url: str | None
    sender_role: str | None


class Left(Enum):
    """Why an entry was not appended."""

    HELD = auto()
    """Somebody else holds a lock that it needs."""

    ASIDE = auto()
    """It is stored already or not plainly allowed: whoever asked finds out in a transaction."""


Verdict = Placed | Left


class Locks(Enum):
    """What to do about a lock that somebody else holds."""

    LEFT_OUT = auto()
    AWAITED = auto()


class Waiter(Protocol):
    """Who waits for what becomes of an entry; is told once, and must not raise."""

    def decided(self, outcome: Outcome | None) -> None:
        """Learn that it is stored, or (None) that it was left aside."""

    def refused(self, error: Exception) -> None:
        """Learn that it was not stored, or that nobody knows."""


@dataclass(slots=True, eq=False)
class Entry:
    """A text by a member of a conversation.

    `writers` says where its sender may write: the type of the conversation and the membership role
    as words like ` group:member ` between blanks. `outcome` makes answer and event of the numbers.
    """

    conversation_id: str
    sender_id: str
    client_msg_id: str
    fingerprint: str
    content: str
    metadata: str
    writers: str
    outcome: Callable[["Entry", Placed], Outcome]
    id: str = field(default_factory=new_id)
    waiter: Waiter = field(init=False)
    due: float = field(init=False)
    size: int = field(init=False)

    def __post_init__(self) -> None:
        """Count it among what may wait."""
        self.size = len(self.content) + len(self.metadata)


class AwayError(UnavailableError):
    """There is no connection to the database, and nothing was sent."""


class UnknownOutcomeError(Exception):
    """The connection broke after a batch was sent: it may be stored."""


class Store(Protocol):
    """One connection that appends batches, one at a time."""

    @property
    def is_open(self) -> bool:
        """Return whether there is a connection, as far as is known."""

    async def open(self) -> None:
        """Connect; raises `AwayError`."""

    async def append(self, entries: Sequence[Entry], locks: Locks) -> Sequence[Verdict]:
        """Append these entries, no two of one sender to one conversation, or none of them.

        Raises `AwayError` or another `ClientError` or `ConflictError` when nothing was stored,
        `UnknownOutcomeError`, and the database's own error about the data.
        """

    async def close(self) -> None:
        """Give the connection back."""
