"""A picture made from nothing, so that an upload can be tried without a file or a library."""

import struct
import zlib

_WIDTH, _HEIGHT = 640, 480
_BEGINNINGS = {
    "image/jpeg": b"\xff\xd8\xff",
    "image/png": b"\x89PNG\r\n\x1a\n",
    "image/webp": b"RIFF",
    "image/gif": b"GIF8",
}


def png() -> bytes:
    """Return a PNG (RFC 2083) of 640 by 480 pixels: larger than a thumbnail, a few kB."""
    rows = b"".join(b"\0" + bytes((x + y) % 256 for x in range(_WIDTH)) for y in range(_HEIGHT))
    header = struct.pack(">IIBBBBB", _WIDTH, _HEIGHT, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b""))
    return _BEGINNINGS["image/png"] + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    checked = kind + data
    return struct.pack(">I", len(data)) + checked + struct.pack(">I", zlib.crc32(checked))


def begins_as(content_type: str, content: bytes) -> bool:
    """Return whether these bytes begin as pictures of this type do."""
    beginning = _BEGINNINGS.get(content_type)
    return beginning is not None and content.startswith(beginning)
