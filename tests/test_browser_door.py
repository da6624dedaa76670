"""How one comes to the page, in one's own language and zone, and what stays outside."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import pytest
from aiohttp import web
from playwright.async_api import expect

from tests.browser import Window, Windows
from tests.people import Person, Town
from tests.reader import Readers
from tests.services import LOOPBACK, free_port

pytestmark = pytest.mark.one_database

HostPage = tuple[str, dict[str, str]]

SHARP = "<img src=x onerror=\"document.title='hacked'\"><b>bold</b>"
"""What would run if anything made markup of it."""


async def test_a_link_lets_in_and_its_token_leaves_the_address(
    town: Town, readers: Readers, ada: Person, bob: Person
) -> None:
    talk = await ada.creates("direct", bob)
    hers = await readers.of(ada, talk)
    await expect(hers.composer).to_be_visible()
    assert hers.page.url == f"{town.url}/#conversation={talk['id']}"
    await hers.page.reload()
    await expect(hers.main.get_by_role("heading", name="Bob")).to_be_visible()
    await hers.page.go_back()
    assert "token" not in hers.page.url

    # At the door, a token that is none is refused, one that ran out says so, and a good one opens.
    door = await readers.stranger()
    await door.comes("nonsense")
    await expect(door.page.get_by_text("does not accept this token")).to_be_visible()
    await door.comes(ada.fresh_token(ttl_s=-60))
    await expect(door.page.get_by_text("This link has run out")).to_be_visible()
    await door.page.get_by_role("textbox", name="Link or token").fill(ada.token)
    await door.page.get_by_role("button", name="Open").click()
    await door.opens("Bob")
    await door.opens_account()
    await door.picks("Sign out")
    await expect(door.page.get_by_role("textbox", name="Link or token")).to_be_visible()
    kept = await door.page.evaluate("JSON.stringify([{ ...localStorage }, { ...sessionStorage }])")
    assert ada.token not in kept


async def test_everybody_reads_in_their_own_language_zone_and_theme(
    readers: Readers, ada: Person, bob: Person
) -> None:
    talk = await ada.creates("direct", bob)
    said = await ada.says(talk, "مرحبا")
    at = datetime.fromisoformat(said["created_at"]) + timedelta(hours=9)
    hers = await readers.of(ada, talk)
    french = {"locale": "fr-CA", "timezone_id": "Asia/Tokyo", "color_scheme": "dark"}
    his = await readers.of(bob, talk, **french)

    await expect(his.page.get_by_role("textbox", name="Écrire un message")).to_be_visible()
    assert await his.page.evaluate("document.documentElement.lang") == "fr"
    message = his.page.get_by_role("listitem").filter(has_text="مرحبا").last
    shown = await message.get_by_role("time").inner_text()
    assert shown.replace(" ", "").replace("h", ":") == f"{at:%H:%M}"
    text = message.get_by_text("مرحبا", exact=True)
    assert await text.evaluate("element => getComputedStyle(element).direction") == "rtl"

    ink = "getComputedStyle(document.body).color"
    assert await his.page.evaluate(ink) != await hers.page.evaluate(ink)
    await hers.opens_account()
    await hers.picks("Dark appearance")
    assert await his.page.evaluate(ink) == await hers.page.evaluate(ink)


async def test_what_people_write_is_text_and_never_markup(readers: Readers, town: Town) -> None:
    mallory = await town.known("mallory", name=SHARP)
    ada = await town.known("ada")
    hers = await readers.of(ada)
    group = await mallory.creates("group", ada, title=SHARP)
    await mallory.says(group, SHARP)
    await mallory.says(group, 'https://example.com/"onmouseover="x <script>alert(1)</script>')
    await mallory.says(group, "javascript:alert(1)")
    await mallory.sends_files(group, (b"harmless", "<svg onload=alert(1)>.txt"))

    await hers.opens(SHARP)
    await hers.sees(SHARP, "<script>alert(1)</script>", "javascript:alert(1)", "svg onload")
    await expect(hers.row(SHARP)).to_be_visible()
    await expect(hers.thread.get_by_text(SHARP, exact=True).last).to_be_visible()
    links = hers.thread.get_by_role("link")
    assert await links.evaluate_all("all => all.map((one) => one.getAttribute('href'))") == [
        "https://example.com/"
    ]
    await expect(hers.page).not_to_have_title("hacked")


async def test_an_outsiders_page_shows_and_hears_nothing(
    readers: Readers, town: Town, ada: Person, bob: Person, eve: Person
) -> None:
    talk = await ada.creates("group", bob, title="Between us")
    hers, his = await readers.of(ada, talk), await readers.of(bob, talk)
    outside = await readers.stranger()
    heard: list[str] = []
    outside.page.on(
        "websocket",
        lambda socket: socket.on("framereceived", lambda frame: heard.append(str(frame))),
    )
    outside.window.may_say("404")
    await outside.comes(eve.token, talk["id"])
    await expect(outside.page.get_by_text("There is no such conversation for you.")).to_be_visible()
    await outside.page.get_by_role("searchbox").fill("Between us")
    await expect(outside.page.get_by_text("Nothing found for")).to_be_visible()

    await hers.types("A secret")
    await hers.composer.press("Enter")
    await his.sees("A secret")
    await hers.sees_mark("A secret", "Read")
    # Her own conversation comes after whatever she might have heard of theirs.
    await eve.says(await eve.creates("direct", bob), "Hello Bob")
    await outside.button("Clear the search").click()
    await expect(outside.row("Bob")).to_be_visible()
    words = await outside.page.inner_text("body")
    assert "A secret" not in words
    assert "Between us" not in words
    assert any("Hello Bob" in frame for frame in heard)
    assert [frame for frame in heard if "secret" in frame or talk["id"] in frame] == []


@pytest.fixture
async def host_page() -> AsyncIterator[HostPage]:
    """An application of somebody else that embeds whatever address stands in `embeds`."""
    embeds: dict[str, str] = {}

    async def page(_: web.Request) -> web.Response:
        frame = f"<iframe title='chat' src='{embeds['address']}' width=800 height=600></iframe>"
        return web.Response(text=f"<!doctype html>{frame}", content_type="text/html")

    async def icon(_: web.Request) -> web.Response:
        return web.Response(status=204)

    application = web.Application()
    application.router.add_get("/", page)
    application.router.add_get("/favicon.ico", icon)
    runner = web.AppRunner(application)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, LOOPBACK, port).start()
    yield f"http://localhost:{port}", embeds
    await runner.cleanup()


async def _embedded(browser: Windows, host_page: HostPage, address: str) -> Window:
    origin, embeds = host_page
    embeds["address"] = address
    window = await browser.new()
    window.may_say("frame", "ERR_BLOCKED_BY_RESPONSE")
    await window.page.goto(origin)
    return window


async def test_no_other_application_can_embed_the_page(
    town: Town, browser: Windows, host_page: HostPage, ada: Person
) -> None:
    window = await _embedded(browser, host_page, f"{town.url}/#token={ada.token}")

    assert any("frame-ancestors" in problem for problem in window.problems)
    assert town.url not in [frame.url for frame in window.page.frames]
    await expect(window.page.frame_locator("iframe").get_by_role("navigation")).to_have_count(0)


@pytest.mark.settings(web={"frame_ancestors": ["http://localhost:*"]})
async def test_an_application_that_the_operator_allowed_embeds_the_page(
    town: Town, browser: Windows, host_page: HostPage, ada: Person, bob: Person
) -> None:
    talk = await ada.creates("direct", bob)
    address = f"{town.url}/#token={ada.token}&conversation={talk['id']}"
    window = await _embedded(browser, host_page, address)

    frame = window.page.frame_locator("iframe")
    await frame.get_by_role("textbox", name="Write a message").fill("From inside")
    await window.page.keyboard.press("Enter")
    message = frame.get_by_role("listitem").filter(has_text="From inside")
    await expect(message.get_by_text("Sent")).to_be_attached()
    assert window.page.frames[1].url == f"{town.url}/#conversation={talk['id']}"
    assert window.problems == []
