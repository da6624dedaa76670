"""The whole job by keyboard: nobody in here touches a mouse."""

import pytest
from playwright.async_api import Locator, expect

from tests.people import Person
from tests.reader import Reader, Readers

pytestmark = pytest.mark.one_database

FAR = 40
"""The most steps from anywhere to anywhere."""


async def _goes_to(reader: Reader, target: Locator, key: str = "Tab") -> None:
    """Press a key until the focus is where it should be, and see that it shows."""
    for _ in range(FAR):
        await reader.page.keyboard.press(key)
        if await target.evaluate_all("all => all.includes(document.activeElement)"):
            return
    focused = await reader.page.evaluate("document.activeElement.outerHTML")
    raise AssertionError(f"{key} does not lead to {target}, only to {focused[:200]}")


async def _presses(reader: Reader, *keys: str) -> None:
    for key in keys:
        await reader.page.keyboard.press(key)


async def test_a_message_is_written_changed_and_deleted_by_keyboard(
    readers: Readers, ada: Person, bob: Person, cleo: Person
) -> None:
    await ada.creates("direct", cleo)
    talk = await ada.creates("direct", bob)
    hers, his = await readers.stranger(), await readers.of(bob, talk)
    await hers.comes()
    await _goes_to(hers, hers.page.get_by_role("textbox", name="Link or token"))
    await hers.page.keyboard.insert_text(ada.token)
    await _presses(hers, "Enter")
    await hers.is_settled()

    # From the list to a conversation; write, and change it with the arrow.
    await _goes_to(hers, hers.list.get_by_role("listitem").get_by_role("button"))
    await _goes_to(hers, hers.row("Bob"), "ArrowUp")
    await _presses(hers, "Enter")
    await expect(hers.composer).to_be_focused()
    await hers.page.keyboard.type("By hand\n")
    await his.sees("By hand")
    await _presses(hers, "ArrowUp", "Space", "o", "k", "Enter")
    await his.sees("By hand ok")
    await _presses(hers, "ArrowUp", "Escape")
    await expect(hers.composer).to_have_value("")

    # To the message, its menu, and the question whether one is sure.
    await _goes_to(hers, hers.thread.get_by_role("button", name="Message actions"), "Shift+Tab")
    await _presses(hers, "Enter")
    await _goes_to(hers, hers.menu.get_by_role("menuitem", name="Delete"), "ArrowDown")
    await _presses(hers, "Enter")
    await _goes_to(hers, hers.button("Delete for everyone"))
    await _presses(hers, "Enter")
    await expect(his.message("Message deleted")).to_be_visible()


async def test_a_group_is_begun_and_a_menu_used_by_keyboard(
    readers: Readers, ada: Person, bob: Person, cleo: Person
) -> None:
    hers = await readers.of(ada)
    keys = hers.page.keyboard
    await expect(hers.page.get_by_text("No conversations yet")).to_be_visible()
    await _goes_to(hers, hers.button("New conversation"))
    await keys.press("Enter")
    await expect(hers.dialog.get_by_role("searchbox")).to_be_focused()
    for name in ("Bob", "Cleo"):
        await _goes_to(hers, hers.dialog.get_by_role("checkbox", name=name))
        await keys.press("Space")
    await _goes_to(hers, hers.dialog.get_by_role("textbox", name="Name of the group"))
    await keys.type("Night shift")
    await keys.press("Enter")
    await expect(hers.composer).to_be_focused()

    menu = hers.button("Conversation menu")
    await _goes_to(hers, menu, "Shift+Tab")
    await keys.press("Enter")
    await expect(hers.menu).to_be_visible()
    await keys.press("Escape")
    await expect(hers.menu).not_to_be_attached()
    await expect(menu).to_be_focused()
    await keys.press("Enter")
    await keys.press("End")
    await keys.press("Enter")
    await _goes_to(hers, hers.dialog.get_by_role("button", name="Leave", exact=True))
    await keys.press("Enter")
    await expect(hers.page.get_by_text("No conversations yet")).to_be_visible()
