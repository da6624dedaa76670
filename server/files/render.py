"""The process that decodes pictures: `python -m server.files.render`, started by `worker.py`.

The server never imports this module, so that whatever a hostile picture does to a decoder happens
here, where memory and computing time are bounded and no socket, no secret and no connection is at
hand. A request is a line of JSON on standard input, its answer one on standard output:

    {"source": "/…/incoming/3f", "target": "/…/incoming/3f.9c"}
    {"picture": {"width": …, "thumbnails": […], …}}   or   {"refused": "damaged", "problem": "…"}

The pictures are written to `target` + `-picture`, `-320` and `-960`.
"""

import errno
import hashlib
import io
import json
import os
import resource
import sys
import warnings
from pathlib import Path
from typing import Any

import blurhash
from PIL import (
    GifImagePlugin,
    Image,
    ImageCms,
    JpegImagePlugin,
    MpoImagePlugin,
    PngImagePlugin,
    WebPImagePlugin,
)

from server.files.outline import DamagedError, Outline, TooManyFramesError, outline

LABELS = (960, 320)
"""The longer sides of thumbnails, the largest first: each is made from the one before."""

_FORMATS = (GifImagePlugin, JpegImagePlugin, MpoImagePlugin, PngImagePlugin, WebPImagePlugin)
_JPEG = b"\xff\xd8\xff"
_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Encoding is the most expensive step: larger pictures get less of it, within the same seconds.
_CAREFUL_PIXELS = 16_000_000
_BLUR_SIDE = 32
# Libraries that get no memory call the file damaged too.
_DAMAGED = "cannot be decoded: it is damaged, or takes more memory than is allowed here"
_SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


class RefusedError(Exception):
    """This picture is not made; `why` is a word for the server, `problem` a sentence for people."""

    def __init__(self, why: str, problem: str = "") -> None:
        super().__init__(why)
        self.why = why
        self.problem = problem


def main() -> None:
    """Answer requests until standard input ends; the first argument has the limits, as JSON."""
    limits = json.loads(sys.argv[1])
    _confine(limits)
    for line in sys.stdin.buffer:
        _allow_computing(limits["cpu_s"])
        answer = json.dumps(_answer(json.loads(line), limits))
        sys.stdout.buffer.write(answer.encode() + b"\n")
        sys.stdout.buffer.flush()


def _confine(limits: dict[str, Any]) -> None:
    """Bound what this process may take, once and for all its pictures."""
    # Our own look at the size comes first; this is the second one, by the decoder itself.
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    Image.MAX_IMAGE_PIXELS = limits["pixels"]
    _bound(resource.RLIMIT_AS, limits["memory_bytes"])
    _bound(resource.RLIMIT_FSIZE, 5 * limits["pixels"] + 16_777_216)
    _bound(resource.RLIMIT_NOFILE, 32)
    _bound(resource.RLIMIT_CORE, 0)


def _bound(what: int, most: int) -> None:
    try:
        resource.setrlimit(what, (most, most))
    except (ValueError, OSError):  # macOS does not bound address space: the other bounds hold
        return


def _allow_computing(seconds: float) -> None:
    """Let the system end this process when the next picture takes more processor time."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(used.ru_utime + used.ru_stime + seconds) + 1
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    if hard != resource.RLIM_INFINITY:
        soft = min(soft, hard)
    resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))


def _answer(request: dict[str, str], limits: dict[str, Any]) -> dict[str, Any]:
    target = request["target"]
    try:
        return {"picture": _render(Path(request["source"]), target, limits)}
    except RefusedError as error:
        return {"refused": error.why, "problem": error.problem}
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        return {"refused": "damaged", "problem": f"has more than {limits['pixels']:,} pixels"}
    except Exception as error:  # noqa: BLE001 (decoders raise anything at all on damaged files)
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return {"refused": "full", "problem": str(error)}
        return {"refused": "damaged", "problem": _DAMAGED}


def _render(source: Path, target: str, limits: dict[str, Any]) -> dict[str, Any]:
    """Write the picture and its thumbnails and return what is to be known of them."""
    data = source.read_bytes()
    found = _outline(data, limits)
    with _opened(data) as image:
        _check_pixels(*image.size, 1, limits)
        if found is not None and found.frames > 1:
            encoded, first = _animation(image, data, found)
            size = found.width, found.height
        else:
            encoded, first = _still(image, found)
            size = first.size
    content_type = "image/jpeg" if found is None else found.content_type
    picture = _written(f"{target}-picture", encoded, size, content_type)
    thumbnails, smallest = _thumbnails(_reduced(data) if found is None else first, target)
    return {**picture, "blurhash": _blurhash(smallest), "thumbnails": thumbnails}


def _outline(data: bytes, limits: dict[str, Any]) -> Outline | None:
    """Return what the file says about itself, None for a JPEG; refuse what is no picture."""
    try:
        found = outline(data, most_frames=limits["frames"])
    except TooManyFramesError:
        raise RefusedError("damaged", f"has more than {limits['frames']:,} frames") from None
    except DamagedError:
        raise RefusedError("damaged", _DAMAGED) from None
    if found is not None:
        _check_pixels(found.width, found.height, found.frames, limits)
    elif not data.startswith(_JPEG):
        raise RefusedError("not_an_image")
    return found


def _check_pixels(width: int, height: int, frames: int, limits: dict[str, Any]) -> None:
    """Refuse what is too large, before it is decoded."""
    most = limits["pixels"]
    if width * height > most:
        problem = f"has {width:,} x {height:,} pixels, more than {most:,}"
        raise RefusedError("damaged", problem)
    if width * height * frames > limits["animation_pixels"]:
        most = limits["animation_pixels"]
        problem = f"has {frames:,} frames of {width:,} x {height:,} pixels, more than {most:,}"
        raise RefusedError("damaged", problem)


def _opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data), formats=("GIF", "JPEG", "PNG", "WEBP"))


def _animation(image: Image.Image, data: bytes, found: Outline) -> tuple[bytes, Image.Image]:
    """Decode every frame, so that no viewer meets a damaged one; return the file and frame one."""
    if getattr(image, "n_frames", 1) < found.frames:
        raise RefusedError("damaged", "has frames that do not belong to its animation")
    image.load()
    first = image.copy()
    # Frames cannot be turned, so that frame one must not be turned either.
    first.info = {
        name: image.info[name] for name in ("icc_profile", "transparency") if name in image.info
    }
    for number in range(1, getattr(image, "n_frames", 1)):
        image.seek(number)
        image.load()
    return found.rewritten(data), _displayable(first)


def _still(image: Image.Image, found: Outline | None) -> tuple[bytes, Image.Image]:
    """Return the picture encoded anew, without anything but its pixels, and the picture."""
    image.load()
    kept: dict[str, Any] = {"quality": 90}
    if found is None and image.mode in ("L", "RGB"):
        # With the quantisation it came with it neither grows nor loses visibly.
        kept = {
            "qtables": getattr(image, "quantization", None),
            "subsampling": JpegImagePlugin.get_sampling(image),
        }
    upright = _displayable(image)
    buffer = io.BytesIO()
    _save(upright, buffer, found, kept)
    return buffer.getvalue(), upright


def _displayable(image: Image.Image) -> Image.Image:
    """Return the picture upright, in sRGB where it said what its colours mean, and nothing else."""
    try:
        orientation = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # noqa: BLE001 (what cannot be read says nothing)
        orientation = 1
    profile, transparency = image.info.get("icc_profile"), image.info.get("transparency")
    if orientation in _UPRIGHT:
        image = image.transpose(_UPRIGHT[orientation])
    image = _in_srgb(image, profile)
    if image.mode not in ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "I;16"):
        image = image.convert("RGB")
    # What was said in words, comments and places among it, is saved again unless it is dropped.
    image.info = {}
    if transparency is not None and image.mode in ("1", "L", "P", "RGB", "I;16"):
        image.info["transparency"] = transparency
    return image


def _in_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Return the picture with its colours as browsers show them when nobody tells them more."""
    to = {"RGB": "RGB", "RGBA": "RGBA", "CMYK": "RGB", "L": "L"}.get(image.mode)
    if not profile or to is None:
        return image
    try:
        given = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if to == "L" or "sRGB" in ImageCms.getProfileDescription(given):
            return image
        converted = ImageCms.profileToProfile(image, given, _SRGB, outputMode=to)
    except Exception:  # noqa: BLE001 (a profile that is no use is dropped)
        return image
    return converted or image


def _save(
    image: Image.Image, file: io.BytesIO, found: Outline | None, kept: dict[str, Any]
) -> None:
    is_large = image.width * image.height > _CAREFUL_PIXELS
    if found is None:
        opaque = image if image.mode in ("L", "RGB") else image.convert("RGB")
        opaque.save(file, "JPEG", optimize=not is_large, **kept)
    elif found.content_type == "image/gif":
        image.save(file, "GIF")
    elif found.content_type == "image/png":
        image.save(file, "PNG", compress_level=1 if is_large else 4)
    elif found.is_lossless:
        image.save(file, "WEBP", lossless=True, quality=0, method=int(not is_large))
    else:
        image.save(file, "WEBP", quality=90, method=2 if is_large else 4)


def _reduced(data: bytes) -> Image.Image:
    """Return a JPEG as large as its thumbnails need it, reduced while it is decoded."""
    with _opened(data) as image:
        image.draft(None, (LABELS[0], LABELS[0]))
        image.load()
        return _displayable(image)


def _thumbnails(image: Image.Image, target: str) -> tuple[list[dict[str, Any]], Image.Image]:
    """Write the thumbnails, never larger than the picture; return them, the smallest first."""
    thumbnails: list[dict[str, Any]] = []
    image = _plain(image)
    for label in LABELS:
        image.thumbnail((label, label), Image.Resampling.LANCZOS, reducing_gap=2.0)
        buffer = io.BytesIO()
        if image.mode == "RGBA":
            image.save(buffer, "WEBP", quality=80)
        else:
            image.save(buffer, "JPEG", quality=80, optimize=True, progressive=True)
        content_type = "image/webp" if image.mode == "RGBA" else "image/jpeg"
        written = _written(f"{target}-{label}", buffer.getvalue(), image.size, content_type)
        thumbnails.insert(0, {"label": label, **written})
    return thumbnails, image


def _plain(image: Image.Image) -> Image.Image:
    """Return the picture as L, RGB, or RGBA where something of it can be seen through."""
    if image.mode == "I;16":
        image = image.convert("I").point(lambda value: value * (1 / 256)).convert("L")
        image.info.pop("transparency", None)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        least, _ = image.getchannel("A").getextrema()
        return image if least != 255 else image.convert("RGB")
    return image if image.mode == "L" else image.convert("RGB")


def _blurhash(image: Image.Image) -> str:
    """Return the picture as a few colours, on white, for the time until it has been loaded."""
    image.thumbnail((_BLUR_SIDE, _BLUR_SIDE), Image.Resampling.BOX)
    if image.mode == "RGBA":
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    bytes_ = image.convert("RGB").tobytes()
    pixels = [tuple(bytes_[at : at + 3]) for at in range(0, len(bytes_), 3)]
    rows = [pixels[at : at + image.width] for at in range(0, len(pixels), image.width)]
    return str(blurhash.encode(rows, 4, 3))


def _written(path: str, data: bytes, size: tuple[int, int], content_type: str) -> dict[str, Any]:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
    return {
        "width": size[0],
        "height": size[1],
        "content_type": content_type,
        "size": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
    }


if __name__ == "__main__":
    main()
