"""What a file is, by its bytes."""

import gzip
import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from server.files.sniff import sniff
from tests import pictures

pytestmark = pytest.mark.one_database


def zipped(*names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            content = "application/epub+zip" if name == "mimetype" else "x" * 90_000
            archive.writestr(name, content)
    return file.getvalue()


def tarred() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a"))
    return file.getvalue()


def media(brand: bytes) -> bytes:
    return b"\x00\x00\x00\x18ftyp" + brand + b"\x00\x00\x02\x00isom" + brand + b"\x00" * 40


OFFICE = "application/vnd.openxmlformats-officedocument."
WORD = zipped("[Content_Types].xml", "_rels/.rels", "docProps/app.xml", "word/document.xml")


@pytest.mark.parametrize(
    ("data", "content_type"),
    [
        (pictures.jpeg(), "image/jpeg"),
        (pictures.png(), "image/png"),
        (pictures.animation("GIF"), "image/gif"),
        (pictures.animation("WEBP"), "image/webp"),
        (media(b"heic"), "image/heic"),
        (media(b"mif1"), "image/heic"),
        (media(b"avif"), "image/avif"),
        (media(b"qt  "), "video/quicktime"),
        (media(b"M4A "), "audio/mp4"),
        (media(b"isom"), "video/mp4"),
        (b"\x1a\x45\xdf\xa3\x9f\x42\x82\x84webm" + b"\x00" * 9, "video/webm"),
        (b"OggS\x00\x02" + b"\x00" * 22 + b"\x01\x13OpusHead", "audio/ogg"),
        (b"RIFF\x24\x00\x00\x00WAVEfmt " + b"\x00" * 30, "audio/wav"),
        (b"ID3\x03\x00\x00\x00\x00\x00\x00" + b"\x00" * 90, "audio/mpeg"),
        (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "application/pdf"),
        (b"%PDF-1.4\n1 0 obj\n<< >>\n", "application/pdf"),
        (zipped("a.txt"), "application/zip"),
        (WORD, f"{OFFICE}wordprocessingml.document"),
        (zipped("mimetype", "a"), "application/epub+zip"),
        (gzip.compress(b"hello", mtime=0), "application/gzip"),
        (tarred(), "application/x-tar"),
        (b"BM\x36\x00\x00\x00\x00\x00\x00\x00\x36\x00\x00\x00", "image/bmp"),
        # Text, and all that a browser could run if it were told what it is
        ("Grüße, Ada\n".encode(), "text/plain"),
        (b"x" * 65_535 + "é".encode(), "text/plain"),
        (b"BMW, GIF89a and ID3 are words", "text/plain"),
        (b"GIF89a is a format, not a picture", "text/plain"),
        (pictures.HTML, "text/plain"),
        (b"\xef\xbb\xbf<!DOCTYPE html>", "text/plain"),
        (b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg'/>", "text/plain"),
        (b"#!/bin/sh\nrm -rf /\n", "text/plain"),
        (b"MIME-Version: 1.0\nContent-Type: text/html\n\n<script>", "text/plain"),
        (b"<html>\x00<script>alert(1)</script>", "application/octet-stream"),
        ("<html>".encode("utf-16"), "application/octet-stream"),
        (b"MZ\x90\x00\x03\x00\x00\x00", "application/octet-stream"),
        (b"\x7fELF\x02\x01\x01\x00", "application/octet-stream"),
        (b"CWS\x09\x01\x01\x01", "application/octet-stream"),
        (bytes(range(256)), "application/octet-stream"),
        (b"", "application/octet-stream"),
    ],
)
async def test_a_file_is_what_its_bytes_say(tmp_path: Path, data: bytes, content_type: str) -> None:
    # Neither of its names is true.
    file = tmp_path / "picture.png.html"
    file.write_bytes(data)

    found = await sniff(file)

    decoded = ("image/jpeg", "image/png", "image/gif", "image/webp")
    assert found.content_type == content_type
    assert found.kind == ("image" if content_type in decoded else "file")
