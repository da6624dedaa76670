"""Pictures and files in Chromium: picked, pasted and dropped, looked at and fetched."""

import base64
from pathlib import Path

import pytest
from playwright.async_api import FilePayload, Locator, expect

from tests import pictures
from tests.browser import Windows
from tests.people import Person, Town, all_messages
from tests.proxy import proxied
from tests.reader import Reader, Readers

pytestmark = pytest.mark.one_database

# Puts a picture where a person's Ctrl+C would have put it.
COPY = """
async (data) => {
  const bytes = Uint8Array.from(atob(data), (one) => one.charCodeAt(0));
  const picture = new Blob([bytes], { type: 'image/png' });
  await navigator.clipboard.write([new ClipboardItem({ 'image/png': picture })]);
}
"""

# What a browser tells a page when somebody drops files on it; only the files come from us.
DRAGGED = """
(files) => {
  const dragged = new DataTransfer();
  for (const [name, text] of files) dragged.items.add(new File([text], name));
  return dragged;
}
"""


def _file(name: str, kind: str, data: bytes) -> FilePayload:
    return {"name": name, "mimeType": kind, "buffer": data}


async def _is_drawn(image: Locator) -> None:
    """Wait until a picture is not only there but decoded."""
    drawn = "image => image.naturalWidth > 0"
    await image.page.wait_for_function(drawn, arg=await image.element_handle())


async def test_pictures_are_picked_and_pasted_and_looked_at(
    readers: Readers, ada: Person, bob: Person
) -> None:
    talk = await ada.creates("direct", bob)
    hers, his = await readers.of(ada, talk), await readers.of(bob)
    photo = _file("sea.jpg", "image/jpeg", pictures.photo((640, 480)))
    await hers.attaches(photo, _file("hill.png", "image/png", pictures.png()))
    await expect(hers.main.get_by_role("list", name="Files to be sent")).to_be_visible()
    await hers.button("Remove hill.png").click()
    await hers.says("Look at this")
    await expect(his.row("Ada")).to_contain_text("Look at this")

    await hers.window.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await hers.page.evaluate(COPY, base64.b64encode(pictures.png((90, 60))).decode())
    await hers.page.keyboard.press("Control+V")
    await expect(hers.main.get_by_role("button", name="Remove")).to_be_visible()
    await hers.composer.press("Enter")
    await expect(his.row("Ada")).to_contain_text("Image")

    await his.opens("Ada")
    await expect(his.button("Open the image")).to_have_count(2)
    await _is_drawn(his.button("Open the image sea.jpg").get_by_role("img"))
    await _looks_through(his, "sea.jpg")


async def _looks_through(reader: Reader, first: str) -> None:
    """See two pictures by key, and come back to where one was."""
    picture, keys = reader.button(f"Open the image {first}"), reader.page.keyboard
    await picture.click()
    viewer = reader.page.get_by_role("dialog", name="Images")
    await expect(viewer).to_contain_text("1 of 2")
    await keys.press("ArrowRight")
    await expect(viewer).to_contain_text("2 of 2")
    await _is_drawn(viewer.get_by_role("img"))
    await keys.press("ArrowLeft")
    await expect(viewer).to_contain_text("1 of 2")
    async with reader.page.expect_download() as download:
        await viewer.get_by_role("button", name="Download").click()
    assert (await download.value).suggested_filename == first
    await keys.press("Escape")
    await expect(viewer).not_to_be_attached()
    await expect(picture).to_be_focused()


async def test_a_dropped_file_arrives_as_it_was(readers: Readers, ada: Person, bob: Person) -> None:
    talk = await ada.creates("direct", bob)
    hers, his = await readers.of(ada, talk), await readers.of(bob, talk)
    await expect(hers.composer).to_be_visible()
    text = "Straße, Hütte, été\n" * 40
    dragged = await hers.page.evaluate_handle(DRAGGED, [["notes <b>.txt", text]])
    await hers.thread.dispatch_event("dragenter", {"dataTransfer": dragged})
    await expect(hers.page.get_by_text("Drop files here to send them")).to_be_visible()
    await hers.thread.dispatch_event("drop", {"dataTransfer": dragged})
    await expect(hers.page.get_by_text("Drop files here to send them")).not_to_be_visible()
    await expect(hers.button("Remove notes <b>.txt")).to_be_visible()
    await hers.composer.press("Enter")

    async with his.page.expect_download() as download:
        await his.thread.get_by_role("button", name="Download notes").click()
    fetched = Path(await (await download.value).path())
    assert fetched.read_text("utf-8") == text  # noqa: ASYNC240 (a small file of this machine)


async def test_a_slow_upload_shows_its_progress_and_is_sent_with_its_message(
    browser: Windows, town: Town, ada: Person, bob: Person
) -> None:
    talk = await ada.creates("direct", bob)
    async with proxied(town.node.port) as network:
        hers = await Readers(browser, network.url).of(ada, talk)
        await expect(hers.composer).to_be_visible()
        network.freeze()
        await hers.attaches(_file("plan.bin", "application/octet-stream", bytes(3_000_000)))
        progress = hers.page.get_by_role("progressbar", name="Uploading plan.bin")
        await expect(progress).to_be_visible()
        await hers.says("The plan")
        await hers.sees_mark("The plan", "Sending")
        await expect(progress).to_have_count(1)

        network.restore()
        await hers.sees_mark("The plan", "Sent")
        await expect(progress).not_to_be_attached()
        await expect(hers.button("Download plan.bin")).to_be_visible()
        await hers.leaves()
    [stored] = await all_messages(bob, talk["id"])
    assert [one["name"] for one in stored["attachments"]] == ["plan.bin"]


@pytest.mark.settings(limits={"attachment_bytes": 100_000})
async def test_what_is_too_large_is_said_and_what_is_deleted_is_gone(
    readers: Readers, ada: Person, bob: Person
) -> None:
    talk = await ada.creates("direct", bob)
    hers, his = await readers.of(ada, talk), await readers.of(bob, talk)
    await hers.attaches(
        _file("film.mp4", "video/mp4", bytes(100_001)),
        _file("map.png", "image/png", pictures.png()),
    )
    await expect(hers.main.get_by_role("alert").get_by_text("film.mp4")).to_be_visible()
    await expect(hers.button("Remove film.mp4")).not_to_be_attached()
    await hers.button("Send").click()
    await _is_drawn(his.button("Open the image map.png").get_by_role("img"))

    await hers.opens_menu_of(hers.thread.get_by_role("listitem").last)
    await hers.picks("Delete")
    await hers.button("Delete for everyone").click()
    for reader in (hers, his):
        await expect(reader.message("deleted")).to_be_visible()
        await expect(reader.button("Open the image map.png")).not_to_be_attached()
