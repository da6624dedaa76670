"""What a file is, by its bytes: neither its name nor what the client says of it counts.

The list is short on purpose. What a browser could run (HTML, SVG, XML, scripts) is plain text here,
and what is not on the list is `application/octet-stream`.
"""

import codecs
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from server.files.threads import in_thread

Kind = Literal["image", "file"]

PICTURES = ("image/jpeg", "image/png", "image/gif", "image/webp")
"""The formats that are decoded and shown; every other file is only handed on."""

UNKNOWN = "application/octet-stream"

_HEAD = 65_536
_TAIL = 65_536
# Signatures that no text of people begins with.
_STRONG = (
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"\x1f\x8b\x08", "application/gzip"),
    (0, b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (0, b"Rar!\x1a\x07", "application/vnd.rar"),
    (0, b"\xfd7zXZ\x00", "application/x-xz"),
    (0, b"\x28\xb5\x2f\xfd", "application/zstd"),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "application/x-ole-storage"),
    (0, b"II*\x00", "image/tiff"),
    (0, b"MM\x00*", "image/tiff"),
    (0, b"8BPS\x00\x01", "image/vnd.adobe.photoshop"),
    (257, b"ustar", "application/x-tar"),
    (0, b"%PDF-", "application/pdf"),
    (0, b"{\\rtf1", "application/rtf"),
)
# Signatures that are words: a text may begin with them too, so that text is looked for first.
_WEAK = (
    (0, b"GIF87a", "image/gif"),
    (0, b"GIF89a", "image/gif"),
    (0, b"BZh", "application/x-bzip2"),
    (0, b"BM", "image/bmp"),
    (0, b"ID3", "audio/mpeg"),
    (0, b"\xff\xfb", "audio/mpeg"),
    (0, b"\xff\xf3", "audio/mpeg"),
    (0, b"\xff\xf2", "audio/mpeg"),
    (0, b"\xff\xf1", "audio/aac"),
    (0, b"\xff\xf9", "audio/aac"),
    (0, b"fLaC", "audio/flac"),
    (0, b"#!AMR", "audio/amr"),
    (0, b"MThd", "audio/midi"),
)
_RIFF = {b"WEBP": "image/webp", b"WAVE": "audio/wav", b"AVI ": "video/x-msvideo"}
# The brand of an ISO base media file (MP4 and its family), ISO/IEC 14496-12.
_BRANDS = {
    b"avi": "image/avif",
    b"hei": "image/heic",
    b"hev": "image/heic",
    b"mif": "image/heic",
    b"msf": "image/heic",
    b"qt ": "video/quicktime",
    b"M4A": "audio/mp4",
    b"M4B": "audio/mp4",
    b"3gp": "video/3gpp",
    b"3g2": "video/3gpp2",
    b"crx": UNKNOWN,
    b"jp2": UNKNOWN,
}
_OFFICE = "application/vnd.openxmlformats-officedocument."
_IN_ZIP = (
    (b"word/document", f"{_OFFICE}wordprocessingml.document"),
    (b"xl/workbook", f"{_OFFICE}spreadsheetml.sheet"),
    (b"ppt/presentation", f"{_OFFICE}presentationml.presentation"),
)
# A zip whose first, uncompressed entry `mimetype` says what it is (ODF 1.2 part 3, EPUB 3.3).
_SAID_BY_ZIP = (
    "application/epub+zip",
    "application/vnd.oasis.opendocument.presentation",
    "application/vnd.oasis.opendocument.spreadsheet",
    "application/vnd.oasis.opendocument.text",
)
# Every control character but those that texts have: tab, line feed, form feed, return, escape.
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True)
class Sniffed:
    """The content type of some bytes, and whether we decode it."""

    content_type: str
    kind: Kind


async def sniff(path: Path) -> Sniffed:
    """Return what the file at a path is; raises `OSError` when it cannot be read."""
    return await in_thread(_sniff, path)


def _sniff(path: Path) -> Sniffed:
    with path.open("rb") as file:
        head = file.read(_HEAD)
        size = file.seek(0, 2)
        file.seek(max(len(head), size - _TAIL))
        tail = file.read(_TAIL)
    content_type = _content_type(head, tail)
    return Sniffed(content_type, "image" if content_type in PICTURES else "file")


def _content_type(head: bytes, tail: bytes) -> str:
    return (
        _signed(head, _STRONG)
        or _zip(head, tail)
        or _media(head)
        or ("text/plain" if _is_text(head) else None)
        or _signed(head, _WEAK)
        or UNKNOWN
    )


def _signed(head: bytes, signatures: tuple[tuple[int, bytes, str], ...]) -> str | None:
    for offset, signature, content_type in signatures:
        if head.startswith(signature, offset):
            return content_type
    return None


def _zip(head: bytes, tail: bytes) -> str | None:
    """Return what a zip is, which may be a document."""
    if not head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return None
    if head[26:38] == b"\x08\x00\x00\x00mimetype":
        for content_type in _SAID_BY_ZIP:
            if head.startswith(content_type.encode(), 38):
                return content_type
    names = head + tail
    for name, content_type in _IN_ZIP:
        if name in names:
            return content_type
    return "application/zip"


def _media(head: bytes) -> str | None:
    """Return the type of what is in one of the containers that many formats share."""
    found = None
    if head.startswith(b"RIFF"):
        found = _RIFF.get(head[8:12])
    elif head.startswith(b"\x1a\x45\xdf\xa3"):
        found = "video/webm" if b"webm" in head[:64] else "video/x-matroska"
    elif head.startswith(b"OggS\x00"):
        found = "video/ogg" if b"theora" in head[:256] else "audio/ogg"
    elif head[4:8] == b"ftyp":
        found = _BRANDS.get(head[8:11], "video/mp4")
        if b"avif" in head[8:64]:
            found = "image/avif"
    return found


def _is_text(head: bytes) -> bool:
    """Return whether this is UTF-8 (its last character may be cut) without control characters."""
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return bool(text) and _CONTROL.search(text) is None
