"""The README of the module: its example runs as it stands, and its tables name what there is."""

import asyncio
import re
from pathlib import Path

import pytest
from yarl import URL

from tests.documents import ROOT, examples
from tests.people import Person, Town
from tests.programs import FOLDER, ran
from tests.services import node

pytestmark = pytest.mark.one_database

MODULE = ROOT / "clients" / "js"
README = MODULE / "README.md"

# What the surroundings of the example are: a page of the application, and its view for tokens.
AROUND = """
const { fetch } = globalThis;
const view = () => new Response(process.argv[2]);
globalThis.fetch = (url, options) => url === '/chat-token' ? view() : fetch(url, options);
globalThis.localStorage = { length: 0, getItem: () => '', setItem() {}, removeItem() {} };
"""


async def test_the_example_says_hello(town: Town, ada: Person, bob: Person, tmp_path: Path) -> None:
    example = examples(README, "js")[0].replace("https://chat.example.com", town.url)
    (tmp_path / "example.mjs").write_text(example)
    (tmp_path / "around.mjs").write_text(AROUND)
    (tmp_path / "node_modules").mkdir()
    (tmp_path / "node_modules/palabre-client").symlink_to(MODULE)
    (tmp_path / "node_modules/socket.io-client").symlink_to(
        FOLDER / "node_modules/socket.io-client"
    )

    page = await asyncio.create_subprocess_exec(
        node(),
        *("--import", "./around.mjs", "example.mjs", ada.token),
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
    )
    assert page.stdout is not None
    try:
        assert await page.stdout.readline() == b"Ada: Hello Bob\n"
    finally:
        page.kill()
        await page.communicate()

    [talk] = (await bob.get("conversations/"))["results"]
    assert talk["last_message"]["content"] == "Hello Bob"


async def test_the_readme_names_every_method_and_event() -> None:
    text = README.read_text(encoding="utf-8")
    members = await ran("client_members.mjs")
    sources = [MODULE / "palabre.js", *(MODULE / "palabre").glob("*.js")]
    code = "".join(file.read_text(encoding="utf-8") for file in sources)
    types = (MODULE / "palabre.d.ts").read_text(encoding="utf-8")
    events = re.findall(r"^\| `(\w+)` \| `\{", text, re.MULTILINE)

    named = set(re.findall(r"`(?:palabre\.)?(\w+)", text))
    assert set(members["Palabre"]) - named == set()
    assert set(events) == set(re.findall(r"#emit\('(\w+)'", code))
    typed = types.split("interface PalabreEvents {")[1].split("}\n\n")[0]
    assert events == re.findall(r"^  (\w+): \{", typed, re.MULTILINE)


OUTSIDE = (
    "/web/client",
    "/web/client/",
    "/web/client/palabre",
    "/web/client/../pages.py",
    "/web/client/%2e%2e/%2e%2e/pyproject.toml",
    "/web/client/..%2f..%2fpyproject.toml",
    "/web/client//etc/passwd",
    "/web/client/palabre.js%00.css",
    "/web/client/nothing.js",
)


@pytest.mark.settings(http={"origins": ["https://app.example.com"]})
async def test_the_server_has_the_module_for_pages_of_allowed_origins(town: Town) -> None:
    hers = {"Origin": "https://app.example.com"}

    for name in ("client/palabre.js", "client/palabre/cursor.js", "vendor/socket.io.esm.min.js"):
        async with town.http.get(f"{town.url}/web/{name}", headers=hers) as answer:
            assert (answer.status, answer.content_type) == (200, "application/javascript")
            assert answer.headers["Access-Control-Allow-Origin"] == hers["Origin"]
    for path in OUTSIDE:
        async with town.http.get(URL(town.url + path, encoded=True)) as answer:
            assert answer.status == 404, path
