"""How received bytes become attachments: looked at, put in place, noted, each in its turn.

The order is what makes a crash harmless. A row is committed before the first of its bytes is in
place, and says `ready` only after the last of them; whatever breaks off in between leaves a row
that the sweep finds.
"""

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from server.actions import attachments
from server.actions.attachments import Draft
from server.dispatch import Cleaner
from server.errors import ValidationFailedError
from server.files.images import BrokenImageError, Images, NotAnImageError, Picture
from server.files.names import clean_name
from server.files.sniff import sniff
from server.files.store import Received, Store
from server.ids import new_id
from server.permissions import Call
from server.schemas.values import AttachmentKind


@dataclass(slots=True)
class Passing:
    """Files of the store that are not kept yet; what is left of them at the end is removed."""

    paths: list[Path] = field(default_factory=list)

    def handed_over(self) -> "Passing":
        """Return the same files for somebody else to look after, and forget them."""
        taken, self.paths = self.paths, []
        return Passing(taken)


@dataclass(frozen=True, slots=True)
class Arrival:
    """One file of a form, received; `part` is what a refusal names."""

    part: str
    filename: str | None
    received: Received
    id: str = field(default_factory=new_id)


@dataclass(frozen=True, slots=True)
class Examined:
    """A file that is ready to be put in place: what is known of it, and its bytes by key."""

    draft: Draft
    pieces: tuple[tuple[Path, str], ...]


class Intake:
    """Makes attachments of what a store received."""

    def __init__(self, store: Store, images: Images, cleaner: Cleaner) -> None:
        """Keep what comes in a store; what is given up is the cleaner's."""
        self.store = store
        self._images = images
        self._cleaner = cleaner

    @asynccontextmanager
    async def looking_after(self, passing: Passing) -> AsyncIterator[Passing]:
        """Remove at the end, however it comes, what has not been kept by then."""
        try:
            yield passing
        finally:
            for path in passing.paths:
                with suppress(OSError):
                    await self.store.discard(path)

    async def examine(self, arrival: Arrival, passing: Passing) -> Examined:
        """Find out what a file is, and make a picture of it if it is an image.

        Raises `ValidationFailedError` for a damaged or forbidden image, `UnavailableError` when it
        could not be decoded this time, `StorageFullError`.
        """
        received = arrival.received
        if not received.size:
            raise ValidationFailedError.of(arrival.part, "must not be empty")
        sniffed = await sniff(received.path)
        if sniffed.kind == "image":
            with suppress(NotAnImageError):
                picture = await self._picture(arrival)
                passing.paths += picture.paths
                return _image(arrival, picture)
        draft = Draft(
            id=arrival.id,
            kind=AttachmentKind.FILE,
            name=clean_name(arrival.filename, sniffed.content_type),
            content_type=sniffed.content_type,
            size=received.size,
            sha256=received.sha256,
        )
        return Examined(draft, ((received.path, draft.id),))

    async def _picture(self, arrival: Arrival) -> Picture:
        try:
            return await self._images.process(arrival.received.path)
        except BrokenImageError as error:
            raise ValidationFailedError.of(arrival.part, error.problem) from error

    async def put_unsent(self, call: Call, examined: Examined) -> dict[str, Any]:
        """Put a file in place for a message that is still to come, and return its attachment."""
        await attachments.begin_unsent(call, examined.draft)
        return (await self._put([examined]))[0]

    async def put(self, call: Call, examined: Sequence[Examined]) -> None:
        """Put files in place for a message that takes them next."""
        await attachments.begin(call, [one.draft for one in examined])
        await self._put(examined)

    async def _put(self, examined: Sequence[Examined]) -> list[dict[str, Any]]:
        ids = [one.draft.id for one in examined]
        try:
            for one in examined:
                for path, key in one.pieces:
                    await self.store.keep(path, key)
            return await attachments.finish(ids)
        except BaseException:
            await self.give_up(ids)
            raise

    async def give_up(self, ids: Collection[str]) -> None:
        """Give up those of these files that no message has."""
        if not ids:
            return
        # Without a database to say so to, the sweep finds them later.
        with suppress(Exception):
            await attachments.give_up(ids)
            self._cleaner.wake()


def _image(arrival: Arrival, picture: Picture) -> Examined:
    thumbnails = sorted(picture.thumbnails, key=lambda one: one.label)
    draft = Draft(
        id=arrival.id,
        kind=AttachmentKind.IMAGE,
        name=clean_name(arrival.filename, picture.content_type),
        content_type=picture.content_type,
        size=picture.size,
        sha256=picture.sha256,
        width=picture.width,
        height=picture.height,
        blurhash=picture.blurhash,
        thumbnails=[
            {
                "label": one.label,
                "width": one.width,
                "height": one.height,
                "size": one.size,
                "content_type": one.content_type,
            }
            for one in thumbnails
        ],
    )
    small = ((one.path, f"{draft.id}-{one.label}") for one in thumbnails)
    return Examined(draft, ((picture.path, draft.id), *small))
