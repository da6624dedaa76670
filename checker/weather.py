"""What a fault is, and what it needs to happen."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import Enum
from random import Random

from checker.history import Fault, History
from checker.nodes import Bus, Node
from checker.stage import Stage
from checker.truth import Life


class Track(Enum):
    """Faults of one track come one after the other; those of different ones may overlap."""

    DATABASE = "database"
    NODES = "nodes"
    TROUBLE = "trouble of nodes that live"
    BUS = "bus"
    CLIENTS = "clients"


@dataclass(slots=True)
class Weather:
    """What faults need to happen."""

    stage: Stage
    history: History
    chance: Random
    lives: list[Life]
    busy: set[str] = field(default_factory=set)
    """Nodes that are in trouble: one is always left in peace by faults of nodes."""

    def begin(self, kind: str, target: str, *, stops_storing: bool = False) -> Fault:
        """Write down that something breaks now."""
        fault = Fault(kind, target, time.time(), stops_storing=stops_storing)
        self.history.faults.append(fault)
        return fault

    def node(self) -> Node:
        """Choose a node that is not in trouble already."""
        free = [node for node in self.stage.nodes if node.name not in self.busy]
        return self.chance.choice(free or list(self.stage.nodes))


Happening = Callable[[Weather, str], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of fault: its track, about how long it takes, and how it happens."""

    track: Track
    takes_s: float
    happens: Happening
    buses: tuple[Bus, ...] = tuple(Bus)
    """With which bus it can happen."""
