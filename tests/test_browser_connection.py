"""The page while the server is killed, and while the network is cut or frozen."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
from playwright.async_api import expect

from server.config import Settings
from tests.browser import Windows
from tests.conftest import SECRET
from tests.people import Person, Town, all_messages
from tests.process import serve
from tests.proxy import Proxy, proxied
from tests.reader import Reader, Readers
from tests.services import free_port

pytestmark = pytest.mark.one_database

LOST = (r"net::ERR_", r"WebSocket connection to .* failed")
"""What a browser writes on its console when a server is not there."""

# A browser opens one WebSocket to a host after the other: no earlier attempt is under way after it.
IN_VAIN = "(url) => new Promise((over) => { new WebSocket(url).onclose = over; })"


@pytest.fixture
async def network(town: Town) -> AsyncIterator[Proxy]:
    """A network between the town and some of its people."""
    async with proxied(town.node.port) as proxy:
        yield proxy


async def _behind(browser: Windows, proxy: Proxy, person: Person, talk: dict[str, str]) -> Reader:
    reader = await Readers(browser, proxy.url).of(person, talk)
    reader.window.may_say(*LOST)
    await expect(reader.composer).to_be_visible()
    return reader


@pytest.mark.timeout(60)  # a server is started twice
async def test_what_is_written_while_the_server_is_dead_is_sent_once_when_it_lives_again(
    tmp_path: Path, settings: Settings, browser: Windows
) -> None:
    environment = {
        "PALABRE_AUTH__SECRET": SECRET,
        "PALABRE_DATABASE__URL": settings.database.url,
        "PALABRE_HTTP__PORT": str(free_port()),
    }
    async with (
        aiohttp.ClientSession() as http,
        serve(cwd=tmp_path, environment=environment) as first,
    ):
        town = Town(settings, first.url, http)
        ada, bob = await town.known("ada"), await town.known("bob")
        talk = await ada.creates("direct", bob)
        readers = Readers(browser, town.url)
        hers, his = await readers.of(ada, talk), await readers.of(bob, talk)
        for reader in (hers, his):
            reader.window.may_say(*LOST)
        await hers.says("Before the crash")
        await hers.sees_mark("Before the crash", "Read")

        await first.dies()
        await hers.says("Into the void")
        await hers.sees_mark("Into the void", "Sending")
        await expect(hers.page.get_by_text("Reconnecting")).to_be_visible()
        await his.says("A word from Bob")
        await hers.says("Still nobody")

        async with serve(cwd=tmp_path, environment=environment):
            for reader in (hers, his):
                await reader.is_told("Back, caught up")
                await reader.sees("Into the void", "Still nobody", "A word from Bob")
            await hers.sees_mark("Still nobody", "Read")
            stored = [message["content"] for message in await all_messages(bob, talk["id"])]
            assert sorted(stored[1:]) == ["A word from Bob", "Into the void", "Still nobody"]
            assert stored.index("Into the void") < stored.index("Still nobody")


async def test_somebody_who_does_not_want_to_wait_tries_now(
    browser: Windows, network: Proxy, ada: Person, bob: Person
) -> None:
    talk = await ada.creates("direct", bob)
    hers = await _behind(browser, network, ada, talk)
    await hers.page.clock.install()
    network.cut()
    await hers.says("Kept for a moment")
    await expect(hers.button("Try now")).to_be_visible()

    # The clock of the page stands, so that it does not try by itself when it is possible again.
    await hers.page.clock.pause_at(datetime.now(UTC) + timedelta(minutes=1))
    await hers.page.evaluate(IN_VAIN, network.url.replace("http", "ws"))
    network.restore()
    await hers.button("Try now").click()
    await expect(hers.page.get_by_text("Back, caught up")).to_be_visible()

    # What waited to be sent may have a timer, too.
    await hers.page.clock.resume()
    await hers.sees_mark("Kept for a moment", "Sent")


async def test_an_unsent_message_survives_the_end_of_its_window(
    browser: Windows, network: Proxy, ada: Person, bob: Person
) -> None:
    talk = await ada.creates("direct", bob)
    hers = await _behind(browser, network, ada, talk)
    network.cut()
    await hers.says("Kept for later")
    await hers.sees_mark("Kept for later", "Sending")
    await hers.page.close()

    network.restore()
    again = await Readers(browser, network.url).returns(hers, ada, talk)
    await again.sees_mark("Kept for later", "Sent")
    assert [m["content"] for m in await all_messages(bob, talk["id"])] == ["Kept for later"]


async def test_a_cut_network_is_said_and_what_was_missed_is_caught_up(
    browser: Windows, network: Proxy, ada: Person, bob: Person
) -> None:
    talk = await ada.creates("direct", bob)
    hers = await _behind(browser, network, ada, talk)
    gone = await bob.says(talk, "Taken back meanwhile")
    changed = await bob.says(talk, "Changed meanwhile")
    await hers.sees("Changed meanwhile")

    network.cut()
    await expect(hers.page.get_by_text("Reconnecting")).to_be_visible()
    await bob.says(talk, "Said meanwhile")
    await bob.delete(f"messages/{gone['id']}/")
    await bob.patch(f"messages/{changed['id']}/", {"content": "Meanwhile it is different"})
    elsewhere = await ada.connects()
    await elsewhere.asks("conversation:update_my", conversation_id=talk["id"], is_pinned=True)
    await elsewhere.close()
    network.restore()

    await hers.is_told("Back, caught up")
    await hers.sees("Said meanwhile", "Meanwhile it is different", "Message deleted")
    await expect(hers.thread).not_to_contain_text("Taken back meanwhile")
    await expect(hers.row("Bob").get_by_text("Pinned")).to_be_attached()


async def test_a_message_whose_answer_is_lost_is_not_doubled(
    browser: Windows, network: Proxy, readers: Readers, ada: Person, bob: Person
) -> None:
    talk = await ada.creates("direct", bob)
    hers, his = await _behind(browser, network, ada, talk), await readers.of(bob, talk)
    network.withhold()
    await hers.says("Is anybody there?")
    await his.sees("Is anybody there?")
    await his.says("I am here")
    await hers.sees_mark("Is anybody there?", "Sending")
    await expect(hers.thread).not_to_contain_text("I am here")

    network.cut()
    network.restore()
    await hers.sees("I am here")
    await hers.sees_mark("Is anybody there?", "Read")
    said = [message["content"] for message in await all_messages(bob, talk["id"])]
    assert said == ["Is anybody there?", "I am here"]
    await expect(hers.thread.get_by_text("Is anybody there?", exact=True)).to_have_count(1)
