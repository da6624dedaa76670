"""The peers, installed below bench/built: Node's packages, and an environment for Python's.

A copy of what they were installed from lies beside them, so that a second call compares, finds it
equal and needs neither time nor network.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.machine import BUILT, HERE, CannotMeasureError
from tests.services import node

_PEERS = HERE / "peers"
_NODE_FILES = ("package.json", "package-lock.json", ".npmrc")
_PYTHON_FILES = ("requirements.txt", "constraints.txt")


def install() -> None:
    """Install what is missing; raises `CannotMeasureError` when it cannot be had."""
    BUILT.mkdir(exist_ok=True)
    _install_node_packages(BUILT / "node")
    _install_python_packages(BUILT / "venv")
    # A module of Node finds its packages beside itself.
    for program in _PEERS.glob("*.mjs"):
        shutil.copy(program, BUILT / "node")


def _install_node_packages(folder: Path) -> None:
    if _is_installed(folder, _NODE_FILES):
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name in _NODE_FILES:
        shutil.copy(_PEERS / name, folder)
    # Beside a chosen Node lies its npm; the one from pip has it beside this Python.
    beside = Path(node()).parent if os.environ.get("NODE") else Path(sys.executable).parent
    path = f"{beside}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    npm = shutil.which("npm", path=path) or "npm"
    _run([npm, "ci", "--silent", "--no-audit", "--no-fund"], folder, path)
    _remember(folder, _NODE_FILES)


def _install_python_packages(folder: Path) -> None:
    if _is_installed(folder, _PYTHON_FILES):
        return
    shutil.rmtree(folder, ignore_errors=True)
    _run([sys.executable, "-m", "venv", str(folder)], HERE, os.environ.get("PATH", os.defpath))
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-input"]
    wanted = ["--disable-pip-version-check", "-c", "constraints.txt", "-r", "requirements.txt"]
    _run([*pip, *wanted], _PEERS, os.environ.get("PATH", os.defpath))
    _remember(folder, _PYTHON_FILES)


def _is_installed(folder: Path, names: Sequence[str]) -> bool:
    stamp = folder / "stamp"
    return stamp.exists() and stamp.read_text() == _wanted(names)


def _remember(folder: Path, names: Sequence[str]) -> None:
    (folder / "stamp").write_text(_wanted(names))


def _wanted(names: Sequence[str]) -> str:
    # An environment of Python does not survive being moved or another Python.
    return "\n".join([sys.version, str(BUILT), *((_PEERS / name).read_text() for name in names)])


def _run(command: Sequence[str], folder: Path, path: str) -> None:
    try:
        subprocess.run(command, cwd=folder, env=os.environ | {"PATH": path}, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise CannotMeasureError(f"the peers cannot be installed: {error}") from error
