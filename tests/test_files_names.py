"""The names of files: shown to people, written into headers, saved on their disks."""

import pytest

from server.files.names import BYTES, clean_name

pytestmark = pytest.mark.one_database


@pytest.mark.parametrize(
    ("given", "content_type", "shown"),
    [
        ("report.pdf", "application/pdf", "report.pdf"),
        ("Übersicht 2026 für Ada.xlsx", "", "Übersicht 2026 für Ada.xlsx"),
        ("مرحبا.txt", "", "مرحبا.txt"),
        ("👩\u200d💻 notes.md", "", "👩\u200d💻 notes.md"),
        # No path
        ("../../etc/passwd", "", "passwd"),
        ("C:\\Windows\\system32\\cmd.exe", "", "cmd.exe"),
        ("/", "", "file"),
        ("..", "", "file"),
        ("a/..\\", "", "file"),
        # Nothing invisible, nothing that turns what is read
        ("photo\u202egpj.exe", "", "photogpj.exe"),
        ("a\x00b\r\nSet-Cookie: x=1.txt", "", "a b Set-Cookie_ x=1.txt"),
        ("\u2066\u200b\ufeff.\u200e", "", "file"),
        ("\u200d\u200c", "", "file"),
        ("\ud800half.txt", "", "half.txt"),
        ("a\u2028b.txt", "", "a b.txt"),
        ("  spaced \t out . txt. . ", "", "spaced out . txt"),
        # What some file systems refuse
        ('a<b>c:d"e|f?g*h.txt', "", "a_b_c_d_e_f_g_h.txt"),
        ("nul", "", "_nul"),
        ("COM1.log", "", "_COM1.log"),
        ("console.log", "", "console.log"),
        ("e\u0301te.txt", "", "éte.txt"),
        # Nothing at all
        (None, "application/pdf", "file.pdf"),
        ("", "image/webp", "image.webp"),
        (None, "", "file"),
        # A picture is called one
        ("holiday.JPEG", "image/jpeg", "holiday.JPEG"),
        ("page.html", "image/png", "page.html.png"),
        ("picture", "image/gif", "picture.gif"),
    ],
)
def test_a_name_shows_what_it_is_and_goes_nowhere(
    given: str | None, content_type: str, shown: str
) -> None:
    assert clean_name(given, content_type) == shown
    assert clean_name(shown, content_type) == shown


@pytest.mark.parametrize(
    ("given", "content_type", "ending"),
    [
        ("a" * 5_000 + ".tar.gz", "", ".gz"),
        ("é" * 500 + ".docx", "", ".docx"),
        ("a." + "b" * 5_000, "", "b"),
        ("💻" * 100 + ".exe", "image/jpeg", ".jpg"),
        ("." * 300 + "x" * 300, "", "x"),
    ],
)
def test_a_long_name_is_cut_before_its_extension(
    given: str, content_type: str, ending: str
) -> None:
    name = clean_name(given, content_type)

    assert 0 < len(name.encode()) <= BYTES
    assert name.endswith(ending)
    assert clean_name(name, content_type) == name
