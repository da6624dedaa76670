"""A question that is put to several servers in turn."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from bench.databases import Databases
from bench.figures import Figures, Row
from bench.machine import CannotMeasureError


@dataclass(frozen=True, slots=True)
class Pace:
    """How long things are measured: the whole run is patient, a look at one figure is not."""

    seconds: float
    clients: float
    settle_s: float


PATIENT = Pace(seconds=3, clients=1, settle_s=60)
QUICK = Pace(seconds=2, clients=0.2, settle_s=3)

Measure = Callable[[Databases, Pace, Sequence[str]], Iterator[Row]]


@dataclass(frozen=True, slots=True)
class Case:
    """One question: who is asked, and how long asking one of them takes about."""

    name: str
    contenders: tuple[str, ...]
    seconds: float
    measure: Measure


Ask = Callable[[Databases, Pace], Figures]
AskForRows = Callable[[Databases, Pace], Iterator[Row]]


def in_turn(name: str, seconds: float, **asks: Ask) -> Case:
    """Return a case whose contenders run one after the other, each alone, for one row each."""

    def one_row(contender: str, ask: Ask) -> AskForRows:
        return lambda databases, pace: iter((Row(name, contender, ask(databases, pace)),))

    contenders = {key.replace("_", "-"): ask for key, ask in asks.items()}
    return rows_in_turn(name, seconds, {key: one_row(key, ask) for key, ask in contenders.items()})


def rows_in_turn(name: str, seconds: float, asks: dict[str, AskForRows]) -> Case:
    """Return a case whose contenders run one after the other, each alone, for any rows."""

    def measure(databases: Databases, pace: Pace, contenders: Sequence[str]) -> Iterator[Row]:
        for contender in contenders:
            try:
                yield from asks[contender](databases, pace)
            except CannotMeasureError as error:
                yield Row(name, contender, {}, str(error))

    return Case(name, tuple(asks), seconds, measure)
