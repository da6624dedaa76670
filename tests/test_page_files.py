"""The files of the page: whole, our own, and under a policy that lets nothing else in."""

import hashlib
import re

import pytest

from server import pages
from tests.people import Town

pytestmark = pytest.mark.one_database

INDEX = (pages.WEB / "index.html").read_text(encoding="utf-8")
SCRIPTS = [*pages.WEB.glob("*.js"), *pages.WEB.glob("views/*.js"), *pages.WEB.glob("i18n/*.js")]
STYLES = sorted(pages.WEB.glob("styles/*.css"))
VENDOR = pages.WEB / "vendor"


async def fetched(town: Town, path: str) -> tuple[int, str, str]:
    """Return status, content type and policy of an answer."""
    async with town.http.get(town.url + path) as response:
        policy = response.headers.get("Content-Security-Policy", "")
        return response.status, response.content_type, policy


def framers(policy: str) -> list[str]:
    """Return who may show the page in a frame."""
    parts = [part.split() for part in policy.split(";")]
    [found] = [sources for name, *sources in parts if name == "frame-ancestors"]
    return found


async def test_everything_the_page_asks_for_is_there(town: Town) -> None:
    named = set(re.findall(r'(?:href|src)="(/[^"]+)"', INDEX))
    for script in SCRIPTS:
        for target in re.findall(r"(?:from|import)\(?\s*'([^']+)'", script.read_text("utf-8")):
            place = script.parent.joinpath(target).resolve()
            named.add(target if target[0] == "/" else f"/web/{place.relative_to(pages.WEB)}")
    for style in STYLES:
        named |= set(re.findall(r"url\('([^']+)'\)", style.read_text("utf-8")))

    kinds = {path: await fetched(town, path) for path in sorted(named)}

    assert len(kinds) > 40
    assert {path: status for path, (status, _, _) in kinds.items() if status != 200} == {}
    assert {kind for path, (_, kind, _) in kinds.items() if path.endswith(".js")} <= {
        "text/javascript",
        "application/javascript",
    }
    assert {kind for path, (_, kind, _) in kinds.items() if path.endswith(".woff2")} == {
        "font/woff2"
    }


def test_every_style_is_linked() -> None:
    linked = re.findall(r'rel="stylesheet" href="/web/(styles/[^"]+)"', INDEX)
    assert sorted(linked) == [str(style.relative_to(pages.WEB)) for style in STYLES]


def test_nothing_needs_a_weaker_policy() -> None:
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", INDEX)
    for script in SCRIPTS:
        code = script.read_text("utf-8")
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", code)
        assert not re.search(r"setAttribute\('style'|\bh\([^)]*style: ", code), script


def test_what_others_made_is_unchanged_and_its_licence_is_there() -> None:
    readme = (VENDOR / "README.md").read_text(encoding="utf-8")
    sums = dict(re.findall(r"^\| `([^`]+)` \|.*\| `([0-9a-f]{64})` \|$", readme, re.MULTILINE))
    files = {path.name: path for path in VENDOR.iterdir() if path.suffix in (".js", ".woff2")}
    assert sums == {
        name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()
    }
    assert "MIT License" in readme
    assert (VENDOR / "OFL.txt").is_file()


async def test_without_a_word_nobody_else_may_frame_the_page(town: Town) -> None:
    _, _, policy = await fetched(town, "/")

    assert framers(policy) == ["'self'"]
    assert "script-src 'self';" in policy
    assert "connect-src 'self';" in policy


@pytest.mark.settings(web={"frame_ancestors": ["https://app.example.com", "http://localhost:*"]})
async def test_the_named_origins_may_frame_the_page_and_nothing_else_of_ours(town: Town) -> None:
    _, _, page = await fetched(town, "/")
    _, _, docs = await fetched(town, "/docs")
    _, _, asset = await fetched(town, "/web/index.html")

    assert framers(page) == ["'self'", "https://app.example.com", "http://localhost:*"]
    assert framers(docs) == framers(asset) == ["'self'"]
