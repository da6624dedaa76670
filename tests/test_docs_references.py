"""What documents point at is there: files, headings, settings."""

import re
from pathlib import Path

import pytest

from server.config import keys, load
from tests.documents import ALL, ROOT, examples, prose

pytestmark = pytest.mark.one_database

_LINK = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_VARIABLE = re.compile(r"PALABRE_[A-Z_]+\b")
# A name that documents warn of, and the settings of the Django side.
_NOT_OURS = {"PALABRE_SERVICE_HOST", "PALABRE_URL", "PALABRE_SECRET"}


@pytest.fixture(params=ALL, ids=lambda path: str(path.relative_to(ROOT)))
def document(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


def test_every_link_leads_somewhere(document: Path) -> None:
    for link in _LINK.findall(prose(document)):
        if "://" in link:
            continue
        name, _, heading = link.partition("#")
        target = (document.parent / name).resolve() if name else document
        assert target.exists(), link
        if heading:
            assert heading in _anchors(target), link


def _anchors(document: Path) -> list[str]:
    """The anchors that a page of this document has: headings in small letters with hyphens."""
    titles = _HEADING.findall(prose(document))
    return [re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles]


def test_every_file_that_is_named_is_there(document: Path) -> None:
    for name in re.findall(r"`((?:server|tests|docs|tools)/[\w./-]*)`", prose(document)):
        assert (ROOT / name).exists(), name


def test_every_variable_that_is_named_is_a_setting(document: Path) -> None:
    named = set(_VARIABLE.findall(document.read_text(encoding="utf-8")))
    known = {key.variable for key in keys()}
    assert {name for name in named if not name.endswith("_")} - _NOT_OURS <= known


def test_every_example_of_settings_is_accepted(document: Path, tmp_path: Path) -> None:
    for number, example in enumerate(examples(document, "toml")):
        file = tmp_path / f"{number}.toml"
        file.write_text(example)
        load(file, {}, demo=True)
