"""Measure Palabre and its peers in turn, and write the report: make bench, or python -m bench.

A whole run writes bench/report.md; a quick or a partial one leaves that alone and writes
bench/built/report.md. The exit status is 1 when something could not be measured, 2 when nothing
could.
"""

import argparse
import fnmatch
import resource
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench import databases, install, report, surroundings
from bench.cases import catalogue
from bench.cases.case import PATIENT, QUICK, Case, Pace
from bench.contenders import PEERS
from bench.figures import Recording
from bench.machine import BUILT, HERE, CannotMeasureError, instrument
from bench.progress import Progress, say

ROUNDS = 3

Chosen = Sequence[tuple[Case, Sequence[str]]]


def main() -> int:
    """Do what the command line says and return the exit status."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    words = _words()
    try:
        chosen = _chosen(words.only)
        _prepare(chosen)
        recording = measure(chosen, QUICK if words.quick else PATIENT, words.rounds)
    except CannotMeasureError as error:
        say(f"bench: {error}")
        return 2
    except KeyboardInterrupt:
        say("Interrupted; nothing was written.")
        return 130
    recording.save(BUILT / "figures.json")
    is_whole = not (words.only or words.quick)
    path = report.write(recording, HERE if is_whole else BUILT)
    say(f"The report is {path.relative_to(HERE.parent)}.")
    return 1 if recording.problems() else 0


def measure(chosen: Chosen, pace: Pace, rounds: int) -> Recording:
    """Ask everybody in turn, in another order each round, and return what was measured."""
    recording = Recording()
    with (
        tempfile.TemporaryDirectory(prefix="palabre-bench-") as folder,
        databases.started(Path(folder)) as grounds,
    ):
        recording.about.update(surroundings.described(grounds, rounds))
        progress = Progress(chosen, rounds)
        for number in range(rounds):
            for case, contenders in chosen:
                turn = number % len(contenders)
                order = [*contenders[turn:], *contenders[:turn]]
                progress.begin(case, order, number + 1)
                for row in case.measure(grounds, pace, order):
                    recording.rows.append(row)
                    progress.measured(row)
    return recording


def _words() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure.")
    parser.add_argument("--quick", action="store_true", help="short, fewer clients, one round")
    parser.add_argument("--rounds", type=int, help=f"how often everybody has a turn ({ROUNDS})")
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="CASE[/CONTENDER]",
        help="may be given several times; * stands for anything",
    )
    words = parser.parse_args()
    words.rounds = max(1, words.rounds or (1 if words.quick else ROUNDS))
    return words


def _chosen(only: Sequence[str]) -> Chosen:
    """Return the cases and contenders that were asked for; raises for a word that means none."""
    names = [(case, who) for case in catalogue.every() for who in case.contenders]
    patterns = [word if "/" in word else f"{word}/*" for word in only] or ["*"]
    for pattern in patterns:
        if not any(_is_meant(case, who, [pattern]) for case, who in names):
            known = ", ".join(f"{case.name}/{who}" for case, who in names)
            raise CannotMeasureError(f"nothing is called {pattern}; there are {known}")
    chosen = [
        (case, [who for who in case.contenders if _is_meant(case, who, patterns)])
        for case in catalogue.every()
    ]
    return [(case, contenders) for case, contenders in chosen if contenders]


def _is_meant(case: Case, contender: str, patterns: Sequence[str]) -> bool:
    name = f"{case.name}/{contender}"
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _prepare(chosen: Chosen) -> None:
    instrument("load")
    instrument("write_limit")
    if any(who in PEERS for _, contenders in chosen for who in contenders):
        say("Installing the peers into bench/built where they are missing ...")
        install.install()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    sys.exit(main())
