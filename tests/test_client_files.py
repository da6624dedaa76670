"""Files through the module: in Node, and in a browser, which knows how far an upload is."""

from pathlib import Path
from typing import Any

import pytest

from tests import pictures
from tests.browser import Windows
from tests.people import Person, Town
from tests.programs import ran
from tests.uploading import kept, keys, known_are, nothing_passes

pytestmark = pytest.mark.one_database


@pytest.mark.settings(limits={"attachment_bytes": 4_000_000})
async def test_files_go_up_are_sent_and_shown_and_what_is_given_up_leaves_nothing(
    town: Town, ada: Person, bob: Person, eve: Person, tmp_path: Path
) -> None:
    photo = tmp_path / "photo"
    photo.write_bytes(pictures.photo())
    expired = ada.fresh_token(ttl_s=-60)

    report = await ran(
        "client_files.mjs", town.url, str(photo), expired, ada.token, bob.token, eve.token
    )

    await nothing_passes(town)
    await known_are(*report["shown"])
    assert kept(town) == keys(*report["shown"])


IN_A_BROWSER = """async ([token, size]) => {
    const { Palabre } = await import('/web/client/palabre.js');
    const { io } = await import('/web/vendor/socket.io.esm.min.js');
    const palabre = new Palabre({ io, token });
    const file = new File([new Uint8Array(size)], 'zeros.bin');
    const told = [];
    const whole = await palabre.upload(file, { onProgress: (fraction) => told.push(fraction) });
    const stop = new AbortController();
    const part = palabre.upload(file, { signal: stop.signal, onProgress: () => stop.abort() });
    const given = await part.catch(({ name }) => name);
    const refused = await new Palabre({ io, token: 'none' }).upload(file).catch(({ code }) => code);
    return { whole, told, given, refused };
}"""


async def test_a_browser_tells_how_far_an_upload_is_and_an_aborted_one_leaves_nothing(
    town: Town, browser: Windows, ada: Person
) -> None:
    window = await browser.new()
    window.may_say("401", "ERR_ABORTED")
    await window.page.goto(town.url)
    network = await window.context.new_cdp_session(window.page)
    slow = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 1_000_000}
    await network.send("Network.enable")
    await network.send("Network.emulateNetworkConditions", slow)

    report: dict[str, Any] = await window.page.evaluate(IN_A_BROWSER, [ada.token, 300_000])

    assert report["whole"]["size"] == 300_000
    told = report["told"]
    assert told == sorted(told), told
    assert 0 < told[0] < 1, told
    assert told[-1] == 1
    assert (report["given"], report["refused"]) == ("AbortError", "unauthorized")
    await nothing_passes(town)
    await known_are(report["whole"])
    assert kept(town) == keys(report["whole"])
