"""Pictures as people send them, and as attackers do."""

import io
import struct
import zlib
from typing import Any

from PIL import Image, ImageCms, PngImagePlugin

RED, GREEN, BLUE, WHITE = (220, 30, 30), (30, 200, 60), (40, 60, 220), (255, 255, 255)
SECRET = "48.8584 N 2.2945 E, at my sister's"
HTML = b"<html><script>alert(document.domain)</script></html>"


def halves(size: tuple[int, int] = (64, 48), top: Any = RED, bottom: Any = BLUE) -> Image.Image:
    """Return a picture whose upper and lower half differ."""
    image = Image.new("RGBA" if len(top) == 4 else "RGB", size, top)
    image.paste(bottom, (0, size[1] // 2, *size))
    return image


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def jpeg(size: tuple[int, int] = (64, 48)) -> bytes:
    return saved(halves(size), "JPEG")


def png(size: tuple[int, int] = (64, 48)) -> bytes:
    return saved(halves(size), "PNG")


def in_words() -> PngImagePlugin.PngInfo:
    """Return the secret as the notes of a PNG."""
    notes = PngImagePlugin.PngInfo()
    notes.add_text("Comment", SECRET)
    notes.add_itxt("XML:com.adobe.xmp", SECRET)
    return notes


def photo(size: tuple[int, int] = (1200, 900), orientation: int = 6) -> bytes:
    """Return what a phone held upright makes: turned by a note, with time, place and comment."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010E] = SECRET
    exif.get_ifd(0x8825)[29] = SECRET
    return saved(halves(size), "JPEG", exif=exif, comment=SECRET.encode())


def profile(kind: str) -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile(kind)).tobytes()  # type: ignore[arg-type]


def frames(count: int = 3, size: tuple[int, int] = (40, 30)) -> list[Image.Image]:
    """Return differing pictures, the first one red."""
    colours = (RED, GREEN, BLUE)
    return [halves(size, colours[number % 3], (number, 0, 0)) for number in range(count)]


def animation(kind: str, count: int = 3, size: tuple[int, int] = (40, 30), **more: Any) -> bytes:
    """Return an animation of a tenth of a second a frame, for ever."""
    first, *others = frames(count, size)
    shown = {"save_all": True, "append_images": others, "duration": 100, "loop": 0}
    if kind == "WEBP":
        shown["lossless"] = True
    return saved(first, kind, **shown, **more)


def commented(kind: str) -> bytes:
    """Return an animation with a secret in its notes and a page of HTML behind its end."""
    exif = Image.Exif()
    exif[0x010E] = SECRET
    notes: dict[str, Any] = {"exif": exif}
    if kind == "GIF":
        notes = {"comment": SECRET.encode()}
    elif kind == "PNG":
        notes["pnginfo"] = in_words()
    return animation(kind, **notes) + HTML


def chunk(kind: bytes, payload: bytes) -> bytes:
    """Return a chunk of a PNG."""
    ending = struct.pack(">I", zlib.crc32(kind + payload))
    return struct.pack(">I", len(payload)) + kind + payload + ending


def png_that_says(width: int, height: int, *, rows: int = 0) -> bytes:
    """Return a PNG whose header promises this size, and that has so many black rows of it."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes((3 * width + 1) * rows), 1)
    signature = b"\x89PNG\r\n\x1a\n"
    return signature + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def jpeg_that_says(width: int, height: int) -> bytes:
    data = bytearray(jpeg())
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def webp_that_says(width: int, height: int) -> bytes:
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"VP8X" + struct.pack("<I", 10) + b"\x00" * 4 + size + saved(halves(), "WEBP")[12:]
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def gif_with_frame(width: int, height: int) -> bytes:
    """Return a GIF of 1 x 1 pixels with a frame that is much larger than it."""
    data = bytearray(saved(Image.new("P", (1, 1)), "GIF"))
    at = data.index(b"\x2c\x00\x00\x00\x00")
    data[at + 5 : at + 9] = struct.pack("<HH", width, height)
    return bytes(data)


def open_(data: bytes) -> Any:
    """Return the decoded picture; what its pixels are depends on it."""
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def near(found: Any, wanted: Any) -> bool:
    """Tell whether two colours look the same, as those of a JPEG do."""
    return all(abs(a - b) < 24 for a, b in zip(found[:3], wanted[:3], strict=True))
