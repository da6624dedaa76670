"""What a picture's file says about itself, read without decoding anything.

Size and frames are known before a decoder sees the file, and so is which of its blocks make the
picture: an animation is rewritten from those alone, so that it keeps every frame as it was and
loses comments, places, profiles and whatever was hung behind its end.

Formats: GIF89a; PNG, third edition (with APNG); RFC 9649 (WebP).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_KEPT = (
    *(b"IHDR", b"PLTE", b"tRNS", b"acTL", b"fcTL", b"fdAT", b"IDAT", b"IEND"),
    *(b"gAMA", b"cHRM", b"sRGB", b"sBIT"),
)
_GIF_EXTENSION, _GIF_IMAGE, _GIF_END = 0x21, 0x2C, 0x3B
_GIF_CONTROL = b"\x21\xf9\x04"
_GIF_LOOPS = (b"\x21\xff\x0bNETSCAPE2.0\x03\x01", b"\x21\xff\x0bANIMEXTS1.0\x03\x01")
_WEBP_FRAME = (b"ALPH", b"VP8 ", b"VP8L")
_WEBP_ALPHA_AND_ANIMATION = 0x12


class DamagedError(Exception):
    """The file ends or turns senseless where its format does not allow it."""


class TooManyFramesError(Exception):
    """The animation has more frames than are allowed."""


@dataclass(slots=True)
class Outline:
    """The canvas of a picture, its frames, and the blocks that it consists of."""

    content_type: str
    width: int = 0
    height: int = 0
    frames: int = 0
    is_lossless: bool = True
    most_frames: int = 1
    _blocks: list[slice | bytes] = field(default_factory=list)

    def keep(self, block: slice | bytes) -> None:
        """Take a block into the picture."""
        last = self._blocks[-1] if self._blocks else None
        if isinstance(block, slice) and isinstance(last, slice) and last.stop == block.start:
            self._blocks[-1] = slice(last.start, block.stop)
        else:
            self._blocks.append(block)

    def add_frame(self) -> None:
        """Count a frame; raises `TooManyFramesError`."""
        self.frames += 1
        if self.frames > self.most_frames:
            raise TooManyFramesError

    def cover(self, width: int, height: int) -> None:
        """Let the canvas be at least this large."""
        self.width, self.height = max(self.width, width), max(self.height, height)

    def rewritten(self, data: bytes) -> bytes:
        """Return the file with nothing in it but the picture."""
        return b"".join(
            block if isinstance(block, bytes) else data[block] for block in self._blocks
        )


def outline(data: bytes, *, most_frames: int) -> Outline | None:
    """Return the outline of a GIF, PNG or WebP; None for what is none of these.

    Raises `DamagedError` and `TooManyFramesError`.
    """
    for is_one, walk, content_type in _FORMATS:
        if is_one(data):
            found = Outline(content_type, most_frames=most_frames)
            try:
                walk(data, found)
            except IndexError:
                raise DamagedError from None
            return found
    return None


def _number(data: bytes, at: int, count: int) -> int:
    """Return the little-endian number of so many bytes; raises `IndexError` at the end."""
    if at + count > len(data):
        raise IndexError
    return int.from_bytes(data[at : at + count], "little")


def _gif(data: bytes, found: Outline) -> None:
    found.cover(_number(data, 6, 2), _number(data, 8, 2))
    at = 13 + _colour_table(data[10])
    found.keep(slice(0, at))
    control = b""
    while at < len(data) and data[at] != _GIF_END:
        start, kind = at, data[at]
        if kind == _GIF_IMAGE:
            at = _gif_image(data, start, found)
            found.keep(control)
            found.keep(slice(start, at))
            control = b""
        elif kind == _GIF_EXTENSION:
            at = _after_sub_blocks(data, start + 2)
            if data.startswith(_GIF_CONTROL, start):
                control = data[start : start + 7] + b"\x00"
            elif data.startswith(_GIF_LOOPS, start):
                found.keep(data[start : start + 18] + b"\x00")
        elif kind == 0:
            at += 1  # stray padding, which everybody skips
        else:
            raise DamagedError
    found.keep(bytes([_GIF_END]))


def _gif_image(data: bytes, at: int, found: Outline) -> int:
    """Count the image that begins here and return where it ends."""
    left, top, width, height = (_number(data, at + place, 2) for place in (1, 3, 5, 7))
    found.cover(left + width, top + height)
    found.add_frame()
    return _after_sub_blocks(data, at + 11 + _colour_table(data[at + 9]))


def _colour_table(packed: int) -> int:
    return 3 << ((packed & 7) + 1) if packed & 0x80 else 0


def _after_sub_blocks(data: bytes, at: int) -> int:
    while data[at]:
        at += data[at] + 1
    return at + 1


def _png(data: bytes, found: Outline) -> None:
    found.keep(slice(0, 8))
    at, kind = 8, b""
    while kind != b"IEND":
        length = int.from_bytes(data[at : at + 4], "big")
        kind, end = data[at + 4 : at + 8], at + 12 + length
        if end > len(data):
            raise DamagedError
        if kind == b"IHDR":
            found.cover(*_png_size(data, at + 8))
        elif kind == b"fcTL":
            found.add_frame()
            width, height = _png_size(data, at + 12)
            if width > found.width or height > found.height:
                raise DamagedError
        if kind in _PNG_KEPT:
            found.keep(slice(at, end))
        at = end
    found.frames = max(found.frames, 1)


def _png_size(data: bytes, at: int) -> tuple[int, int]:
    return int.from_bytes(data[at : at + 4], "big"), int.from_bytes(data[at + 4 : at + 8], "big")


def _webp(data: bytes, found: Outline) -> None:
    end = min(8 + _number(data, 4, 4), len(data))
    body: list[bytes] = []
    for kind, start, stop in _chunks(data, 12, end):
        if kind == b"VP8X":
            found.cover(_number(data, start + 4, 3) + 1, _number(data, start + 7, 3) + 1)
            flags = data[start] & _WEBP_ALPHA_AND_ANIMATION
            body.append(_chunk(kind, bytes([flags]) + data[start + 1 : start + 10]))
        elif kind == b"ANIM":
            body.append(_chunk(kind, data[start:stop]))
        elif kind == b"ANMF":
            found.add_frame()
            body.append(_chunk(kind, _webp_frame(data, start, stop)))
        elif kind in _WEBP_FRAME:
            _webp_still(data, start, kind, found)
    found.frames = max(found.frames, 1)
    whole = b"".join(body)
    found.keep(b"RIFF" + (len(whole) + 4).to_bytes(4, "little") + b"WEBP" + whole)


def _webp_frame(data: bytes, start: int, stop: int) -> bytes:
    """Return the payload of a frame without chunks that are no part of its picture."""
    parts = [
        _chunk(kind, data[first:last])
        for kind, first, last in _chunks(data, start + 16, stop)
        if kind in _WEBP_FRAME
    ]
    return data[start : start + 16] + b"".join(parts)


def _webp_still(data: bytes, at: int, kind: bytes, found: Outline) -> None:
    """Read the size from the picture itself, which needs no VP8X before it."""
    if kind == b"VP8L":
        bits = _number(data, at + 1, 4)
        found.cover((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    elif kind == b"VP8 ":
        found.is_lossless = False
        found.cover(_number(data, at + 6, 2) & 0x3FFF, _number(data, at + 8, 2) & 0x3FFF)


def _chunks(data: bytes, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield kind, start and end of each chunk's payload."""
    while at + 8 <= end:
        length = _number(data, at + 4, 4)
        if at + 8 + length > end:
            raise DamagedError
        yield data[at : at + 4], at + 8, at + 8 + length
        at += 8 + length + (length & 1)


def _chunk(kind: bytes, payload: bytes) -> bytes:
    return kind + len(payload).to_bytes(4, "little") + payload + b"\x00" * (len(payload) & 1)


_Walk = Callable[[bytes, Outline], None]
_FORMATS: tuple[tuple[Callable[[bytes], bool], _Walk, str], ...] = (
    (lambda data: data[:6] in (b"GIF87a", b"GIF89a"), _gif, "image/gif"),
    (lambda data: data[:8] == _PNG_SIGNATURE, _png, "image/png"),
    (lambda data: data[:4] == b"RIFF" and data[8:12] == b"WEBP", _webp, "image/webp"),
)
