"""Pictures, made by a real worker: what becomes of them, and of whoever sends something worse."""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from PIL import Image

from server.errors import UnavailableError
from server.files.images import (
    BrokenImageError,
    ImageLimits,
    Images,
    ImageWorkerDiedError,
    NotAnImageError,
    Picture,
)
from tests import pictures
from tests.eventually import becomes
from tests.pictures import BLUE, HTML, RED, SECRET, near, open_

# One worker serves all tests of this file.
pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.one_database]

LIMITS = ImageLimits(pixels=4_000_000, frames=20)
Processes = Callable[[bytes], Awaitable[Picture]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def images() -> AsyncIterator[Images]:
    async with Images(LIMITS) as shared:
        yield shared


@pytest.fixture
def process(images: Images, tmp_path: Path) -> Processes:
    return lambda data: processed(images, tmp_path, data)


async def processed(images: Images, folder: Path, data: bytes) -> Picture:
    (folder / "source").write_bytes(data)
    return await images.process(folder / "source")


def left(folder: Path) -> list[str]:
    """Return what is in a folder."""
    return sorted(path.name for path in folder.iterdir())


def shown(picture: Picture) -> Any:
    return open_(picture.path.read_bytes())


def stills(picture: Picture) -> list[Any]:
    return [open_(thumbnail.path.read_bytes()) for thumbnail in picture.thumbnails]


def has_both_halves(image: Image.Image, top: Any = RED, bottom: Any = BLUE) -> bool:
    image = image.convert("RGBA")
    middle, height = image.width // 2, image.height
    upper, lower = image.getpixel((middle, 1)), image.getpixel((middle, height - 2))
    return near(upper, top) and near(lower, bottom)


# What becomes of a picture


async def test_a_photo_stands_upright_and_no_longer_says_where_it_was_taken(
    process: Processes,
) -> None:
    sent = pictures.photo((1200, 900), orientation=6)
    assert SECRET.encode() in sent

    picture = await process(sent)

    made = shown(picture)
    assert (picture.width, picture.height) == made.size == (900, 1200)
    assert picture.content_type == "image/jpeg"
    assert picture.size == picture.path.stat().st_size < len(sent) * 1.2
    # The red upper half has been turned to the right.
    assert near(made.getpixel((890, 600)), RED)
    assert near(made.getpixel((10, 600)), BLUE)
    assert [(t.label, t.width, t.height) for t in picture.thumbnails] == [
        (320, 240, 320),
        (960, 720, 960),
    ]
    for thumbnail, still in zip(picture.thumbnails, stills(picture), strict=True):
        assert (thumbnail.width, thumbnail.height) == still.size
        assert thumbnail.size == thumbnail.path.stat().st_size
        assert thumbnail.content_type == "image/jpeg"
        assert near(still.getpixel((still.width - 5, 100)), RED)
    for path in picture.paths:
        assert SECRET.encode() not in path.read_bytes()
        assert b"Exif" not in path.read_bytes()
    assert len(picture.blurhash) == 28
    assert len(picture.sha256) == 64


@pytest.mark.parametrize("orientation", range(1, 9))
async def test_every_way_to_hold_a_camera_is_turned_upright(
    process: Processes, orientation: int
) -> None:
    # What the camera saw upright, stored as this orientation says.
    undo = [None, None, 0, 3, 1, 5, 2, 6, 4][orientation]
    seen = pictures.halves((80, 60))
    stored = seen if undo is None else seen.transpose(Image.Transpose(undo))
    exif = Image.Exif()
    exif[0x0112] = orientation

    picture = await process(pictures.saved(stored, "JPEG", exif=exif))

    assert (picture.width, picture.height) == (80, 60)
    assert has_both_halves(shown(picture))
    assert all(has_both_halves(still) for still in stills(picture))


async def test_colours_look_the_same_without_the_profile(process: Processes) -> None:
    cmyk = pictures.halves().convert("CMYK")
    two = pictures.saved(pictures.halves(), "MPO", save_all=True, append_images=[pictures.halves()])
    for sent in (
        pictures.saved(cmyk, "JPEG"),
        pictures.saved(pictures.halves(), "JPEG", icc_profile=pictures.profile("sRGB")),
        pictures.saved(pictures.halves(), "JPEG", icc_profile=b"no profile at all"),
        pictures.saved(pictures.halves(), "PNG", icc_profile=pictures.profile("XYZ")),
        two,
    ):
        picture = await process(sent)

        made = shown(picture)
        assert made.mode == "RGB"
        assert getattr(made, "n_frames", 1) == 1
        assert "icc_profile" not in made.info
        assert has_both_halves(made) or "XYZ" in str(sent)
        for path in picture.paths:
            path.unlink()


async def test_a_grey_or_black_and_white_picture_stays_one(process: Processes) -> None:
    for mode, kind in (("L", "JPEG"), ("1", "PNG"), ("LA", "PNG")):
        picture = await process(pictures.saved(pictures.halves().convert(mode), kind))

        assert shown(picture).mode == mode
        assert stills(picture)[0].mode in ("L", "RGB")
    # Sixteen bits of grey become eight, not white.
    deep = await process(pictures.saved(Image.new("I;16", (40, 30), 10_000), "PNG"))
    assert shown(deep).getpixel((5, 5)) == 10_000
    assert abs(stills(deep)[0].convert("L").getpixel((5, 5)) - 10_000 // 256) < 3


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "palette"])
async def test_what_can_be_seen_through_stays_so(process: Processes, kind: str) -> None:
    image = pictures.halves((1000, 500), (220, 30, 30, 255), (0, 0, 0, 0))
    if kind == "palette":
        sent = pictures.saved(image.quantize(8), "PNG")
    else:
        sent = pictures.saved(image, kind, **({"lossless": True} if kind == "WEBP" else {}))

    picture = await process(sent)

    made = shown(picture).convert("RGBA")
    assert picture.content_type == ("image/webp" if kind == "WEBP" else "image/png")
    assert made.getpixel((500, 10)) == (220, 30, 30, 255)
    assert made.getpixel((500, 490))[3] == 0
    for thumbnail, still in zip(picture.thumbnails, stills(picture), strict=True):
        assert thumbnail.content_type == "image/webp"
        assert still.convert("RGBA").getpixel((100, still.height - 5))[3] == 0


async def test_a_picture_in_words_loses_them(process: Processes) -> None:
    exif = Image.Exif()
    exif[0x010E] = SECRET
    for kind, notes in (
        ("PNG", {"pnginfo": pictures.in_words(), "exif": exif}),
        ("WEBP", {"exif": exif, "xmp": SECRET.encode()}),
        ("JPEG", {"comment": SECRET.encode(), "xmp": SECRET.encode(), "exif": exif}),
        ("GIF", {"comment": SECRET.encode()}),
    ):
        sent = pictures.saved(pictures.halves(), kind, **notes) + HTML
        assert SECRET.encode() in sent

        picture = await process(sent)

        assert shown(picture).format == kind
        assert has_both_halves(shown(picture))
        for path in picture.paths:
            assert SECRET.encode() not in path.read_bytes()
            assert b"<script>" not in path.read_bytes()
            path.unlink()


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
async def test_an_animation_stays_as_it_was_and_loses_its_notes(
    process: Processes, kind: str
) -> None:
    sent = pictures.commented(kind)
    assert SECRET.encode() in sent

    picture = await process(sent)

    before, after = open_(sent.removesuffix(HTML)), shown(picture)
    assert (picture.width, picture.height) == (40, 30)
    assert picture.content_type == f"image/{kind.lower()}"
    assert after.n_frames == before.n_frames == 3
    assert after.info["loop"] == before.info["loop"] == 0
    for number in range(3):
        before.seek(number)
        after.seek(number)
        assert before.convert("RGBA").tobytes() == after.convert("RGBA").tobytes()
        assert after.info["duration"] == 100
    for path in picture.paths:
        assert SECRET.encode() not in path.read_bytes()
        assert b"<script>" not in path.read_bytes()
    if kind == "WEBP":
        # Its header announces nothing that has been left out.
        assert picture.path.read_bytes()[20] & 0x2C == 0
    # Thumbnails are stills, of frame one.
    for still in stills(picture):
        assert getattr(still, "n_frames", 1) == 1
        assert near(still.convert("RGB").getpixel((20, 2)), RED)


async def test_a_small_or_a_thin_picture_is_not_made_larger(process: Processes) -> None:
    for size, small, large in (
        ((20, 10), (20, 10), (20, 10)),
        ((1, 1), (1, 1), (1, 1)),
        ((500, 400), (320, 256), (500, 400)),
        ((30_000, 2), (320, 1), (960, 1)),
    ):
        picture = await process(pictures.png(size))

        assert (picture.width, picture.height) == size
        assert [still.size for still in stills(picture)] == [small, large]
        assert len(picture.blurhash) == 28


# What is none, or too much


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello",
        b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic" + b"\x00" * 100,
        b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
        b"%PDF-1.7\n",
        b"%!PS-Adobe-3.0 EPSF-3.0\n",
        pictures.saved(pictures.halves(), "BMP"),
        pictures.saved(pictures.halves(), "TIFF"),
        pictures.saved(pictures.halves(), "PPM"),
        os.urandom(10_000),
    ],
)
async def test_what_is_not_decoded_is_no_image(
    process: Processes, tmp_path: Path, data: bytes
) -> None:
    with pytest.raises(NotAnImageError):
        await process(data)

    assert left(tmp_path) == ["source"]


@pytest.mark.parametrize(
    "data",
    [
        pictures.jpeg((400, 300))[:-600],
        pictures.jpeg()[:200],
        b"\xff\xd8\xff\xe0" + os.urandom(500),
        pictures.png((400, 300))[:-40],
        pictures.png_that_says(100, 100),
        pictures.png_that_says(0, 10),
        pictures.png()[:40],
        pictures.saved(pictures.halves(), "WEBP")[:-20],
        b"RIFF\x04\x00\x00\x00WEBP",
        b"GIF89a" + b"\x00" * 7,
        b"GIF89a is only a beginning",
        # A frame in the middle is damaged, the one that thumbnails show is not.
        pictures.animation("GIF", 8)[:-60],
        pictures.animation("PNG", 8)[:-80],
        pictures.animation("WEBP", 8)[:-60],
        pictures.animation("PNG", 8).replace(b"fdAT\x00\x00\x00\x02x", b"fdAT\x00\x00\x00\x02y"),
        pictures.animation("PNG", 8).replace(b"acTL", b"acTl"),
    ],
)
async def test_a_damaged_picture_is_refused_in_words(
    process: Processes, tmp_path: Path, data: bytes
) -> None:
    with pytest.raises(BrokenImageError) as refusal:
        await process(data)

    assert "cannot be decoded" in refusal.value.problem or "frames" in refusal.value.problem
    assert left(tmp_path) == ["source"]


@pytest.mark.parametrize(
    ("made", "problem"),
    [
        (
            lambda: pictures.png_that_says(50_000, 50_000),
            "50,000 x 50,000 pixels, more than 4,000,000",
        ),
        (lambda: pictures.png_that_says(2**31, 2**31), "more than 4,000,000"),
        (lambda: pictures.jpeg_that_says(60_000, 60_000), "more than 4,000,000 pixels"),
        (lambda: pictures.webp_that_says(16_384, 16_384), "16,384 x 16,384 pixels"),
        (lambda: pictures.gif_with_frame(65_535, 65_535), "65,535 x 65,535 pixels"),
        (lambda: pictures.png((2_001, 2_000)), "2,001 x 2,000 pixels"),
        (lambda: pictures.animation("GIF", 21, (4, 4)), "more than 20 frames"),
        (lambda: pictures.animation("PNG", 21, (4, 4)), "more than 20 frames"),
        (lambda: pictures.animation("WEBP", 21, (4, 4)), "more than 20 frames"),
        (
            lambda: pictures.animation("GIF", 17, (1_000, 1_000)),
            "17 frames of 1,000 x 1,000 pixels",
        ),
    ],
)
async def test_what_is_too_large_is_refused_before_it_is_decoded(
    images: Images, process: Processes, tmp_path: Path, made: Callable[[], bytes], problem: str
) -> None:
    with pytest.raises(BrokenImageError, match=problem):
        await process(made())

    assert left(tmp_path) == ["source"]
    assert peak_bytes(images) < 200_000_000


async def test_a_picture_of_just_the_size_is_taken(process: Processes) -> None:
    picture = await process(pictures.png((2_000, 2_000)))
    assert (picture.width, picture.height) == (2_000, 2_000)


def pid(images: Images) -> int:
    """Return the process of the only worker."""
    (worker,) = images._all
    assert worker._process is not None
    return worker._process.pid


def peak_bytes(images: Images) -> int:
    """Return the most memory that the worker has held, where the system tells."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid(images)}/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1_024
    return 0


async def test_a_picture_that_takes_too_much_is_refused(tmp_path: Path) -> None:
    noise = pictures.saved(Image.effect_noise((1_800, 1_800), 60), "PNG", compress_level=0)
    black = pictures.png_that_says(5_000, 5_000, rows=5_000)
    before = pictures.png()
    async with Images(ImageLimits(pixels=50_000_000, cpu_s=0)) as hasty:
        with pytest.raises(BrokenImageError, match="more time"):
            await works_on(hasty, tmp_path, noise)
        assert left(tmp_path) == ["source"]
        assert (await processed(hasty, tmp_path, before)).width == 64
    async with Images(ImageLimits(pixels=50_000_000, memory_bytes=130_000_000)) as poor:
        with pytest.raises(BrokenImageError, match="memory"):
            await processed(poor, tmp_path, black)
        was = pid(poor)
        assert (await processed(poor, tmp_path, before)).width == 64
        assert pid(poor) == was


async def works_on(images: Images, folder: Path, data: bytes) -> None:
    """Let a worker process the same picture until it is told to stop."""
    while True:
        for path in (await processed(images, folder, data)).paths:
            path.unlink()


# Workers that die


@pytest_asyncio.fixture(loop_scope="module")
async def own(request: pytest.FixtureRequest) -> AsyncIterator[Images]:
    """A pool of this test's own, whose worker has started."""
    limits: dict[str, Any] = getattr(request, "param", {})
    async with Images(ImageLimits(pixels=4_000_000, **limits)) as pool:
        yield pool


async def stopped(images: Images, folder: Path) -> int:
    """Let the worker come to a halt before its next picture, as in the middle of one."""
    for path in (await processed(images, folder, pictures.png())).paths:
        path.unlink()
    os.kill(pid(images), signal.SIGSTOP)
    return pid(images)


async def asked(images: Images, waiting: int = 0) -> None:
    """Wait until the worker has its picture and so many others wait for it."""
    await becomes(lambda: not images._idle and images._waiting == waiting)


def half_made(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Leave what the worker has written of its picture before it ends."""
    monkeypatch.setattr("server.files.images.token_hex", lambda _: "token")
    (folder / "source.token-320").write_bytes(b"half")


async def test_a_killed_worker_takes_one_picture_with_it(
    monkeypatch: pytest.MonkeyPatch, own: Images, tmp_path: Path
) -> None:
    was = await stopped(own, tmp_path)
    folders = [tmp_path / name for name in ("a", "b", "c")]
    for folder in folders:
        folder.mkdir()
    half_made(monkeypatch, tmp_path / "a")
    at_work, *waiting = [
        asyncio.create_task(processed(own, folder, pictures.png((90, 80)))) for folder in folders
    ]
    await asked(own, waiting=2)

    os.kill(was, signal.SIGKILL)

    with pytest.raises(ImageWorkerDiedError) as refusal:
        await at_work
    assert (refusal.value.code, refusal.value.retryable) == ("unavailable", True)
    assert left(tmp_path / "a") == ["source"]
    for task in waiting:
        assert (await task).width == 90
    assert pid(own) != was
    assert (await processed(own, tmp_path, pictures.png((91, 80)))).width == 91


async def test_a_worker_that_died_meanwhile_is_replaced(own: Images, tmp_path: Path) -> None:
    was = await stopped(own, tmp_path)
    os.kill(was, signal.SIGKILL)
    await becomes(lambda: not next(iter(own._all)).is_alive)

    assert (await processed(own, tmp_path, pictures.png((90, 80)))).width == 90
    assert pid(own) != was


@pytest.mark.parametrize("own", [{"timeout_s": 0.3}], indirect=True)
async def test_a_worker_that_does_not_answer_is_killed(own: Images, tmp_path: Path) -> None:
    limits, own._limits = own._limits, ImageLimits(pixels=4_000_000)
    was = await stopped(own, tmp_path)
    next(iter(own._all))._limits = limits

    with pytest.raises(ImageWorkerDiedError):
        await processed(own, tmp_path, pictures.png())

    assert left(tmp_path) == ["source"]
    with pytest.raises(ProcessLookupError):
        os.kill(was, 0)
    assert (await processed(own, tmp_path, pictures.png((90, 80)))).width == 90


async def test_a_picture_that_is_refused_half_way_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, images: Images, tmp_path: Path
) -> None:
    half_made(monkeypatch, tmp_path)

    with pytest.raises(BrokenImageError):
        await processed(images, tmp_path, pictures.jpeg()[:-50])

    assert left(tmp_path) == ["source"]


async def test_who_goes_away_leaves_nothing_and_holds_nobody_up(
    monkeypatch: pytest.MonkeyPatch, own: Images, tmp_path: Path
) -> None:
    was = await stopped(own, tmp_path)
    half_made(monkeypatch, tmp_path)
    going = asyncio.create_task(processed(own, tmp_path, pictures.png()))
    await asked(own)

    going.cancel()

    with pytest.raises(asyncio.CancelledError):
        await going
    assert left(tmp_path) == ["source"]
    with pytest.raises(ProcessLookupError):
        os.kill(was, 0)
    assert (await processed(own, tmp_path, pictures.png((90, 80)))).width == 90


@pytest.mark.parametrize("own", [{"images_per_worker": 2, "waiting": 2}], indirect=True)
async def test_workers_are_replaced_and_the_queue_has_an_end(own: Images, tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("a", "b", "c", "d")]
    for folder in folders:
        folder.mkdir()
    one, two, three, four = [
        asyncio.create_task(processed(own, folder, pictures.png())) for folder in folders
    ]
    with pytest.raises(UnavailableError) as refusal:
        await four
    assert refusal.value.retry_after_ms == 5_000
    await one
    was = pid(own)
    await asyncio.gather(two, three)

    assert pid(own) != was


async def test_the_end_of_the_server_ends_the_worker_and_who_waits(tmp_path: Path) -> None:
    own = Images(LIMITS)
    was = await stopped(own, tmp_path)
    at_work = asyncio.create_task(processed(own, tmp_path, pictures.png()))
    await asked(own)
    (tmp_path / "b").mkdir()
    waiting = asyncio.create_task(processed(own, tmp_path / "b", pictures.png()))
    await asked(own, waiting=1)

    await own.close()

    with pytest.raises(ProcessLookupError):
        os.kill(was, 0)
    for task in (at_work, waiting):
        with pytest.raises(ImageWorkerDiedError):
            await task
    assert left(tmp_path / "b") == ["source"]


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="the system does not tell")
async def test_a_worker_has_no_sockets_and_no_secrets_of_the_server(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PALABRE_AUTH__SECRET", SECRET)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.set_inheritable(True)
        async with Images(LIMITS) as own:
            await processed(own, tmp_path, pictures.png())

            process = Path(f"/proc/{pid(own)}")
            assert left(process / "fd") == ["0", "1", "2"]
            assert SECRET.encode() not in (process / "environ").read_bytes()
            assert os.getsid(pid(own)) != os.getsid(0)
