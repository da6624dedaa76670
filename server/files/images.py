"""Pictures: decoded, turned upright, stripped and encoded anew, by processes of their own.

Decoders are what hostile pictures aim at, so none runs in this process. A worker that dies takes
its one picture with it and is replaced; whoever waits goes on with the next one.
"""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from types import TracebackType
from typing import Any, Self

from server.errors import StorageFullError, UnavailableError
from server.files.threads import in_thread
from server.files.worker import BrokenImageError, ImageLimits, ImageWorkerDiedError, Worker

__all__ = [
    "BrokenImageError",
    "ImageLimits",
    "ImageWorkerDiedError",
    "Images",
    "NotAnImageError",
    "Picture",
    "Thumbnail",
]


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A small still picture, whose longer side is `label` or as long as the original's."""

    path: Path
    width: int
    height: int
    label: int
    size: int
    content_type: str


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture that can be shown, beside the file it was made from; it has both thumbnails."""

    path: Path
    width: int
    height: int
    content_type: str
    size: int
    sha256: str
    blurhash: str
    thumbnails: tuple[Thumbnail, ...]

    @property
    def paths(self) -> tuple[Path, ...]:
        """Return every file that was made."""
        return (self.path, *(thumbnail.path for thumbnail in self.thumbnails))


class NotAnImageError(Exception):
    """Nothing here decodes it: it can be kept as a file."""


class Images:
    """A pool of workers; each starts with the first picture it is needed for."""

    def __init__(self, limits: ImageLimits, *, workers: int = 1) -> None:
        """Process so many pictures at a time."""
        self._limits = limits
        self._turn = asyncio.Semaphore(workers)
        self._waiting = 0
        self._idle: list[Worker] = []
        self._all: set[Worker] = set()
        self._burials: set[asyncio.Task[None]] = set()
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End all workers; whoever waits for one is told `ImageWorkerDiedError`."""
        self._closed = True
        for worker in list(self._all):
            self._bury(worker, "")
        while self._burials:
            await asyncio.wait(set(self._burials))

    async def process(self, source: Path) -> Picture:
        """Make a picture, beside the source (an absolute path), that can be shown to anybody.

        The files made are the caller's; when this raises or is cancelled, there are none. Raises
        `NotAnImageError`, `BrokenImageError`, `ImageWorkerDiedError`, `StorageFullError` and, when
        too many wait already, `UnavailableError`.
        """
        if self._waiting >= self._limits.waiting:
            raise UnavailableError(retry_after_ms=5_000, reason="too many images are waiting")
        self._waiting += 1
        try:
            await self._turn.acquire()
        finally:
            self._waiting -= 1
        try:
            return await self._process(source)
        finally:
            self._turn.release()

    async def _process(self, source: Path) -> Picture:
        worker = await self._worker()
        target = f"{source}.{token_hex(8)}"
        try:
            answer = await worker.ask(source, target)
        except BaseException:
            # It may still be writing: its files are gone only after it is.
            await asyncio.shield(self._bury(worker, target))
            raise
        if worker.images >= self._limits.images_per_worker or self._closed:
            self._bury(worker, "")
        else:
            self._idle.append(worker)
        if "picture" not in answer:
            await in_thread(_remove, target)
            raise _refusal(answer)
        return _picture(answer["picture"], target)

    async def _worker(self) -> Worker:
        while self._idle and not self._closed:
            worker = self._idle.pop()
            if worker.is_alive:
                return worker
            self._bury(worker, "")
        if self._closed:
            raise ImageWorkerDiedError(reason="the server is stopping")
        worker = Worker(self._limits)
        self._all.add(worker)
        return worker

    def _bury(self, worker: Worker, target: str) -> asyncio.Task[None]:
        """Kill a worker and, once it is gone, remove what it made for a target."""

        async def work() -> None:
            await worker.end()
            self._all.discard(worker)
            if target:
                await in_thread(_remove, target)

        task = asyncio.create_task(work())
        self._burials.add(task)
        task.add_done_callback(self._burials.discard)
        return task


def _refusal(answer: dict[str, Any]) -> Exception:
    problem = str(answer.get("problem", ""))
    match answer.get("refused"):
        case "not_an_image":
            return NotAnImageError()
        case "full":
            return StorageFullError(reason=problem)
        case _:
            return BrokenImageError(problem)


def _picture(made: dict[str, Any], target: str) -> Picture:
    return Picture(
        path=Path(f"{target}-picture"),
        width=made["width"],
        height=made["height"],
        content_type=made["content_type"],
        size=made["size"],
        sha256=made["sha256"],
        blurhash=made["blurhash"],
        thumbnails=tuple(_thumbnail(one, target) for one in made["thumbnails"]),
    )


def _thumbnail(made: dict[str, Any], target: str) -> Thumbnail:
    return Thumbnail(
        path=Path(f"{target}-{made['label']}"),
        width=made["width"],
        height=made["height"],
        label=made["label"],
        size=made["size"],
        content_type=made["content_type"],
    )


def _remove(target: str) -> None:
    for file in Path(target).parent.glob(f"{Path(target).name}-*"):
        file.unlink(missing_ok=True)
