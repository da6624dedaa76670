"""The Chromium that npm installed, unpacked once a run into a folder that the run takes away."""

import fcntl
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.services import node

FOLDER = "TEST_CHROMIUM_FOLDER"
"""Names the folder that the workers of one run share."""

_PROGRAMS = Path(__file__).with_name("js")
AXE = _PROGRAMS / "node_modules" / "axe-core" / "axe.min.js"
"""What judges whether everybody can use a page."""

_PACKAGE = _PROGRAMS / "node_modules" / "@sparticuz" / "chromium"

# The package's own file names folders of another machine, and without any font Chromium dies.
_FONTS = """<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig><dir>{fonts}</dir><cachedir>{cache}</cachedir></fontconfig>
"""


@dataclass(frozen=True, slots=True)
class Chromium:
    """A browser that can be started, and what has to stand in its environment."""

    program: str
    folder: Path
    environment: dict[str, str] = field(default_factory=dict)


def missing() -> str | None:
    """Say why no Chromium can run here, or nothing: CHROMIUM= names another one."""
    if os.environ.get("CHROMIUM"):
        return None
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        return "npm has a Chromium for Linux on x86-64 only; CHROMIUM= names another one"
    return None if _PACKAGE.is_dir() else "Chromium is not installed: make test installs it"


@contextmanager
def shared_folder() -> Iterator[Path]:
    """Give the folder of this run; what started the run made it, else it is made here.

    The guardian removes it even when the run is killed.
    """
    given = os.environ.get(FOLDER)
    if given:
        yield Path(given)
        return
    folder = Path(tempfile.mkdtemp(prefix="palabre-chromium-"))
    guardian = subprocess.Popen(
        [sys.executable, "-S", Path(__file__).with_name("guardian.py"), folder],
        stdin=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        yield folder
    finally:
        guardian.communicate()


def unpacked(folder: Path) -> Chromium:
    """Unpack the browser into the folder unless it is there; workers wait for each other."""
    chosen = os.environ.get("CHROMIUM")
    if chosen:
        return Chromium(chosen, folder)
    with (folder / "lock").open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.seek(0)
        places = json.loads(lock.read() or "null")
        if places is None:
            places = _unpack(folder)
            lock.write(json.dumps(places))
    libraries = ":".join(filter(None, (places["libraries"], os.environ.get("LD_LIBRARY_PATH"))))
    home = str(folder)  # where it may leave what it caches
    environment = {"LD_LIBRARY_PATH": libraries, "FONTCONFIG_FILE": places["settings"]}
    environment |= {"HOME": home, "XDG_CACHE_HOME": home}
    return Chromium(places["program"], folder, environment)


def _unpack(folder: Path) -> dict[str, str]:
    # A place of its own: what an attempt that was broken off has left is taken for the whole.
    place = tempfile.mkdtemp(dir=folder)
    done = subprocess.run(
        [node(), "chromium.mjs"],
        cwd=_PROGRAMS,
        env=os.environ | {"TMPDIR": place},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"Chromium cannot be unpacked:\n{done.stderr[-2000:]}")
    places: dict[str, str] = json.loads(done.stdout)
    settings = Path(place, "fonts.conf")
    settings.write_text(_FONTS.format(fonts=places.pop("fonts"), cache=folder / "fonts-cache"))
    return {**places, "settings": str(settings)}
