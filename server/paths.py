"""Where a path leads: looked up step by step, however many paths there are."""

import re
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")

_PLAIN = re.compile(r"[!$&'()*+,\-./0-9:;=@A-Z_a-z~]+")
"""What need not be decoded."""


class Way(NamedTuple, Generic[T]):
    """A path that was found: as it was added, what stands at its end, and what its fields say."""

    path: str
    end: T
    named: dict[str, str]


@dataclass(slots=True)
class _Step(Generic[T]):
    """A place on the way, from where words or any text lead on."""

    words: "dict[str, _Step[T]]" = field(default_factory=dict)
    any: "_Step[T] | None" = None
    end: tuple[str, tuple[str, ...], T] | None = None


class Paths(Generic[T]):
    """Paths such as `/conversations/{conversation_id}/messages/`, each with what it leads to."""

    def __init__(self) -> None:
        """Begin with none."""
        self._start: _Step[T] = _Step()

    def add(self, path: str, end: T) -> None:
        """Let a path lead somewhere; its fields stand in braces."""
        step, names = self._start, list[str]()
        for part in path.split("/"):
            if part.startswith("{"):
                names.append(part[1:-1])
                step.any = step = step.any or _Step()
            else:
                step = step.words.setdefault(part, _Step())
        step.end = (path, tuple(names), end)

    def find(self, raw: str) -> Way[T] | None:
        """Return where a path leads that came in an address, or None.

        One with anything in it that is written in another way there leads nowhere.
        """
        if not _PLAIN.fullmatch(raw):
            return None
        step, values = self._start, list[str]()
        for part in raw.split("/"):
            following = step.words.get(part)
            if following is None:
                following = step.any
                if following is None or not part:
                    return None
                values.append(part)
            step = following
        if step.end is None:
            return None
        path, names, end = step.end
        return Way(path, end, dict(zip(names, values, strict=True)))
