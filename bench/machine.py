"""The two cores that are measured on, and the instruments in C."""

import json
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Self

HERE = Path(__file__).parent
BUILT = HERE / "built"

SERVER_CORE, LOAD_CORE = 0, 1


class CannotMeasureError(Exception):
    """Something that measuring needs is not on this machine."""


@cache
def instrument(name: str) -> Path:
    """Return a program of ours, compiled when its source is newer; raises `CannotMeasureError`."""
    source, program = HERE / f"{name}.c", BUILT / name
    if program.exists() and program.stat().st_mtime > source.stat().st_mtime:
        return program
    compiler = shutil.which("cc")
    if compiler is None:
        message = "there is no C compiler (cc) on this machine, and the load generator is in C"
        raise CannotMeasureError(message)
    BUILT.mkdir(exist_ok=True)
    subprocess.run([compiler, "-O2", "-Wall", "-Wextra", "-o", program, source], check=True)
    return program


def pinned(core: int | None) -> list[str]:
    """Return the words that keep a program on one core, where one is named and that can be."""
    taskset = shutil.which("taskset")
    is_able = core is not None and taskset is not None and (os.cpu_count() or 1) > 1
    return [str(taskset), "-c", str(core)] if is_able else []


def load(mode: str, **values: object) -> dict[str, float]:
    """Run the load generator and return its figures; raises `CannotMeasureError` when it stops."""
    words = [f"{name}={value}" for name, value in values.items()]
    command = [*pinned(LOAD_CORE), str(instrument("load")), mode, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        message = f"{mode} {' '.join(words)[:200]}: {done.stderr.strip()[-500:]}"
        raise CannotMeasureError(message)
    return _figures(done.stdout)


class Idlers:
    """Connections that say nothing, during a `with` block; it begins when all are connected."""

    def __init__(self, **values: object) -> None:
        """Describe them in the values of the load generator."""
        words = [f"{name}={value}" for name, value in values.items()]
        self._command = [*pinned(LOAD_CORE), str(instrument("load")), "idle", *words]

    def __enter__(self) -> Self:
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(self._command, stdout=pipe, stderr=pipe, text=True)
        self._connecting = self._process.stdout.readline() if self._process.stdout else ""
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def figures(self) -> dict[str, float]:
        """Wait for their time to be over and return the figures."""
        out, error = self._process.communicate()
        if self._process.returncode != 0:
            raise CannotMeasureError(f"idle: {error.strip()[-500:]}")
        return _figures(self._connecting + out)


def load_and_flushes(mode: str, **values: object) -> dict[str, float]:
    """Run the load generator and count what the disks wrote out while it was sending."""
    before = disk_flushes()
    figures = load(mode, **values)
    after = disk_flushes()
    if before is None or after is None or not figures.get("sending_s"):
        return figures
    flushes = after - before
    figures["fsyncs_per_s"] = flushes / figures["sending_s"]
    return figures


def disk_flushes() -> int | None:
    """Return how many flushes the disks of this machine have completed, or None where unknown.

    The nineteenth number of /proc/diskstats counts them: what fsync and fdatasync end in. A disk
    that never counted one does not tell.
    """
    try:
        lines = Path("/proc/diskstats").read_text().splitlines()
    except OSError:
        return None
    counts = [int(fields[18]) for fields in map(str.split, lines) if len(fields) > 18]
    return sum(counts) or None


def _figures(printed: str) -> dict[str, float]:
    figures: dict[str, float] = {}
    for line in printed.splitlines():
        figures.update(json.loads(line))
    return figures
