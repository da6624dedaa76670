"""The readable description at /docs: complete, and nothing in it runs or comes from elsewhere."""

import re
from html.parser import HTMLParser

import pytest

from server.handlers import registry
from server.schemas.events import EVENTS
from tests.people import Town

pytestmark = pytest.mark.one_database

VOID = {"meta", "link", "br", "wbr"}


class Page(HTMLParser):
    """What a browser makes of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.rows: dict[str, str] = {}
        self._row = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += attrs
        assert tag not in ("script", "style", "iframe", "object")
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self._row = ""

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        if tag == "th":
            self._name = " ".join(self._row.split())
        if tag == "tr":
            self.rows[self._name] = " ".join(self._row.split())

    def handle_data(self, data: str) -> None:
        self._row += data + " "

    def values(self, name: str) -> list[str]:
        return [value or "" for key, value in self.attributes if key == name]


async def test_the_page_tells_of_everything_and_runs_nothing(town: Town) -> None:
    async with town.http.get(f"{town.url}/docs") as response:
        assert response.status == 200
        policy = response.headers["Content-Security-Policy"]
        page = Page(await response.text())

    assert page.open == []
    assert "unsafe" not in policy
    assert "default-src 'self'" in policy
    assert page.values("style") == []
    assert [name for name, _ in page.attributes if name.startswith("on")] == []
    links = page.values("href")
    assert [one for one in links if not one.startswith(("/", "#"))] == []
    assert {"/openapi.json", "/asyncapi.json", "/web/docs.css"} <= set(links)
    assert {one[1:] for one in links if one.startswith("#")} <= set(page.values("id"))
    for one in links:
        if one.startswith("/"):
            async with town.http.get(town.url + one) as response:
                assert response.status == 200, one

    for event in EVENTS:
        row = page.rows[f"{event.name} {event.kind}"]
        assert event.hearers in row
        assert all(re.search(rf"\b{name}\b", row) for name in event.payload.model_fields)
    for request in registry().requests.values():
        if request.on_sockets:
            row = page.rows[request.name]
            fields = (*request.schema.model_fields, *request.answer.model_fields)
            assert all(re.search(rf"\b{name}\b", row) for name in fields), request.name
        for route in request.routes:
            assert f"{route.method} {route.path.replace('/', '/ ')}".strip() in page.rows
