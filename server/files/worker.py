"""One process that decodes pictures, and what it may take.

It is a fresh program and no copy of this one, inherits no socket and no secret from the
environment, and bounds its own memory and computing time before it looks at anything.
"""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from server.errors import UnavailableError
from server.logs import get_logger

_ROOT = Path(__file__).resolve().parents[2]
# A worker must find Python and its libraries, and has no business with anything else.
_SURROUNDINGS = (
    *("HOME", "LANG", "LC_ALL", "PATH", "TMPDIR"),
    *("DYLD_LIBRARY_PATH", "LD_LIBRARY_PATH"),
    *("PYTHONHOME", "PYTHONPATH", "PYTHONUSERBASE", "VIRTUAL_ENV"),
)
_ANSWER_BYTES = 65_536
_LAST_WORDS = 2_000
_DYING_S = 5.0

log = get_logger("server.files")


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """What one picture may take."""

    pixels: int
    """The pixels of a picture, or of one frame."""
    frames: int = 100
    """The frames of an animation."""
    timeout_s: float = 20
    """The seconds until a worker that does not answer is killed."""
    cpu_s: float = 10
    """The seconds of processor time."""
    memory_bytes: int = 1_073_741_824
    """The address space of a worker; WebP takes 24 bytes a pixel, other formats half of that."""
    images_per_worker: int = 200
    """The pictures after which a worker is replaced, whatever its libraries have lost by then."""
    waiting: int = 64
    """The pictures that may wait for a worker; further ones are told to come back."""

    @property
    def animation_pixels(self) -> int:
        """Return how many pixels all frames of an animation may have together."""
        return 4 * self.pixels


class BrokenImageError(Exception):
    """It is a picture, but damaged, or larger than is allowed; `problem` says it in words."""

    def __init__(self, problem: str) -> None:
        """Make the refusal; the sentence goes behind the name of a field."""
        super().__init__(problem)
        self.problem = problem


class ImageWorkerDiedError(UnavailableError):
    """The worker ended before it answered, which need not be the picture's fault."""

    message = "The image could not be processed. Ask again."


class Worker:
    """One process; it is asked for one picture at a time."""

    def __init__(self, limits: ImageLimits) -> None:
        """Start with the first picture."""
        self.images = 0
        self._limits = limits
        self._process: Process | None = None
        self._words: asyncio.Task[bytes] | None = None
        self._ended = False

    @property
    def is_alive(self) -> bool:
        """Return whether it runs, as far as is known."""
        process = self._process
        return (
            process is not None
            and process.returncode is None
            and process.stdout is not None
            and not process.stdout.at_eof()
        )

    async def ask(self, source: Path, target: str) -> dict[str, Any]:
        """Return the worker's answer; raises `BrokenImageError` and `ImageWorkerDiedError`."""
        try:
            async with asyncio.timeout(self._limits.timeout_s):
                line = await self._exchange({"source": str(source), "target": target})
        except TimeoutError:
            # The processor time is bounded by itself: this is a machine that is too busy.
            raise ImageWorkerDiedError(reason="the image worker took too long") from None
        except (OSError, ValueError) as error:
            raise ImageWorkerDiedError(reason=f"the image worker: {error}") from error
        if not line.endswith(b"\n"):
            raise await self._death()
        self.images += 1
        try:
            answer: dict[str, Any] = json.loads(line)
        except ValueError as error:
            raise ImageWorkerDiedError(reason="the image worker talks nonsense") from error
        return answer

    async def _exchange(self, request: dict[str, str]) -> bytes:
        if self._process is None:
            await self._start()
        assert self._process is not None  # noqa: S101
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None and stdout is not None  # noqa: S101, PT018
        with suppress(ConnectionError):  # what it died of is said by its end
            stdin.write(json.dumps(request).encode() + b"\n")
            await stdin.drain()
        return await stdout.readline()

    async def _start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "server.files.render"),
            json.dumps(asdict(self._limits) | {"animation_pixels": self._limits.animation_pixels}),
            cwd=_ROOT,
            env={name: os.environ[name] for name in _SURROUNDINGS if name in os.environ},
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            limit=_ANSWER_BYTES,
            # Control-C in a terminal is for the server, which ends its workers itself.
            start_new_session=True,
        )
        self._words = asyncio.create_task(_last_words(self._process))

    async def _death(self) -> Exception:
        """Return what the end of the process means for the picture it was at."""
        status = await self._status()
        if status == -signal.SIGXCPU:
            return BrokenImageError("takes more time to decode than is allowed here")
        if not self._ended:
            words = b"" if self._words is None or status is None else await self._words
            log.warning("an image worker died", status=status, said=words.decode(errors="replace"))
        return ImageWorkerDiedError(reason=f"the image worker ended with status {status}")

    async def _status(self) -> int | None:
        """Return the status of a process that hung up, or None if it lives on all the same.

        To kill it first would lose the status: asyncio's `kill()` takes it from who waits for it.
        """
        assert self._process is not None  # noqa: S101
        with suppress(TimeoutError):
            async with asyncio.timeout(_DYING_S):
                return await self._process.wait()
        return None

    async def end(self) -> None:
        """Kill the process, if there is one, and wait until it is gone."""
        self._ended = True
        process = self._process
        if process is None:
            return
        if not self.is_alive:
            await self._status()
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
        if process.stdin is not None:
            process.stdin.close()
        if self._words is not None:
            await self._words
        await process.wait()


async def _last_words(process: Process) -> bytes:
    """Return the end of what a process writes to its standard error."""
    said = b""
    if process.stderr is not None:
        while words := await process.stderr.read(_LAST_WORDS):
            said = (said + words)[-_LAST_WORDS:]
    return said
