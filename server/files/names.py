"""The name under which a file is shown and saved: the sender's own, made harmless.

It goes into headers and onto the disks of other people, so it must be no path, must not say
something else than it seems to (U+202E makes `gpj.exe` read as `exe.jpg`), and must fit every file
system.
"""

import re
import unicodedata

BYTES = 200
"""The bytes of a name in UTF-8; file systems take 255, and some programs add to a name."""

_EXTENSION_CHARS = 16
# Joiners shape letters and emoji; every other format character can hide or turn what is read.
_JOINERS = "\u200c\u200d"
_FOREIGN = frozenset('<>:"|?*')
_DEVICES = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\.|$)", re.IGNORECASE)
_OWN_EXTENSIONS = {
    "image/jpeg": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "image/png": (".png", ".apng"),
    "image/gif": (".gif",),
    "image/webp": (".webp",),
}
_FIRST_EXTENSION = {
    "application/pdf": ".pdf",
    "application/zip": ".zip",
    "image/heic": ".heic",
    "text/plain": ".txt",
    "video/mp4": ".mp4",
}


def clean_name(text: str | None, content_type: str = "") -> str:
    """Return a name of 1 to `BYTES` bytes that is no path and has nothing invisible in it.

    Its extension is kept. A picture that we encoded gets the extension of its format, so that no
    program takes it for something else. Without a name it is called `file`, or `image`.
    """
    last = re.split(r"[/\\]", text or "")[-1]
    plain = "".join(_plain(character) for character in unicodedata.normalize("NFC", last))
    name = " ".join(plain.split()).strip(" .")
    if not name.strip(_JOINERS):
        kind = "image" if content_type in _OWN_EXTENSIONS else "file"
        name = kind + _extension_of(content_type)
    if _DEVICES.match(name):
        name = f"_{name}"
    own = _OWN_EXTENSIONS.get(content_type)
    ending = "" if own is None or name.lower().endswith(own) else own[0]
    return _shortened(name, BYTES - len(ending)) + ending


def _plain(character: str) -> str:
    """Return what stands for a character: itself, a space, an underscore or nothing."""
    category = unicodedata.category(character)
    if category in {"Cc", "Zl", "Zp", "Zs"}:
        return " "
    if category in {"Cf", "Cs", "Co", "Cn"}:
        return character if character in _JOINERS else ""
    return "_" if character in _FOREIGN else character


def _extension_of(content_type: str) -> str:
    own = _OWN_EXTENSIONS.get(content_type)
    return own[0] if own else _FIRST_EXTENSION.get(content_type, "")


def _shortened(name: str, most: int) -> str:
    """Return the name within so many bytes; what is cut off is the end of its stem."""
    if len(name.encode()) <= most:
        return name
    stem, dot, extension = name.rpartition(".")
    if not stem or len(extension) > _EXTENSION_CHARS:
        stem, dot, extension = name, "", ""
    ending = dot + extension
    kept = stem.encode()[: most - len(ending.encode())].decode(errors="ignore")
    return kept.rstrip(" .") + ending
