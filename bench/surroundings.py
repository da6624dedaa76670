"""What a reader has to know beside the figures: machine, versions, and the settings in force."""

import json
import os
import platform
import shutil
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

from bench.databases import Databases
from bench.machine import BUILT, HERE, pinned
from bench.servers import CHANGED, SOURCE
from server.config import Settings
from tests.services import node

_FLUSHES = 200


def described(databases: Databases, rounds: int) -> dict[str, str]:
    """Return names and values for the report."""
    return {
        "When": datetime.now(UTC).strftime("%Y-%m-%d"),
        "Revision": _revision(),
        "Rounds": str(rounds),
        **_machine(databases.folder),
        **_versions(),
        **_settings(databases),
    }


def _revision() -> str:
    git = shutil.which("git")
    if git is None:
        return "unknown"
    command = [git, "-C", str(SOURCE), "describe", "--always", "--dirty", "--abbrev=12"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def _machine(folder: Path) -> dict[str, str]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    apart = "server and load on a core each" if pinned(0) else "server and load on the same cores"
    return {
        "Processor": f"{_processor()}, {os.cpu_count()} cores; {apart}, PostgreSQL on any",
        "Memory": f"{memory:.1f} GiB",
        "System": f"{platform.system()} {platform.release()}",
        "One fdatasync of 4 KiB": f"{_flush_ms(folder):.2f} ms",
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _flush_ms(folder: Path) -> float:
    with (folder / "flushed").open("wb", buffering=0) as file:
        began = time.monotonic()
        for _ in range(_FLUSHES):
            file.write(bytes(4096))
            os.fdatasync(file.fileno())
        return (time.monotonic() - began) / _FLUSHES * 1000


def _versions() -> dict[str, str]:
    ours = f"Python {platform.python_version()}"
    peers = {"Node": _said(node(), "--version")}
    for name in ("socket.io", "pg"):
        package = BUILT / "node" / "node_modules" / name / "package.json"
        peers[name] = json.loads(package.read_text())["version"] if package.exists() else "none"
    pinned_to = (HERE / "peers" / "constraints.txt").read_text().splitlines()
    for line in pinned_to:
        name, _, version = line.partition("==")
        if name.lower() in (
            "django",
            "channels",
            "djangorestframework",
            "python-socketio",
            "uvicorn",
        ):
            peers[name] = version
    return {"Palabre runs on": ours, "Peers": ", ".join(f"{k} {v}" for k, v in peers.items())}


def _said(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _settings(databases: Databases) -> dict[str, str]:
    """Return what is in force: as shipped, but for the rates and caps that are named."""
    shipped = Settings()
    coalesce = getattr(shipped.realtime, "coalesce_ms", "not there yet")
    sqlite = shipped.database.tortoise_connection()["credentials"]
    changed = (
        f"`{name.removeprefix('PALABRE_').replace('__', '.').lower()}` {value}"
        for name, value in CHANGED.items()
    )
    durable = ", ".join(f"`{name}` {value}" for name, value in databases.durability().items())
    return {
        "Shipped settings": f"`realtime.coalesce_ms` {coalesce}, `log.level` {shipped.log.level}",
        "SQLite": f"`journal_mode` {sqlite['journal_mode']}, `synchronous` {sqlite['synchronous']}",
        "PostgreSQL": durable,
        "Changed for the benchmark": ", ".join(changed),
        "Fsyncs a second": "flushes that the disks of the machine completed (/proc/diskstats)",
    }
