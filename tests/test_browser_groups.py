"""Groups in Chromium, and what one does with whole conversations."""

import pytest
from playwright.async_api import expect

from tests.people import Person
from tests.reader import Reader, Readers

pytestmark = pytest.mark.one_database


async def test_a_group_is_made_and_renamed(
    readers: Readers, ada: Person, bob: Person, cleo: Person
) -> None:
    hers, his = await readers.of(ada), await readers.of(bob)
    await hers.button("New conversation").first.click()
    await hers.chooses("Bob", "Cleo")
    await hers.dialog.get_by_role("textbox", name="Name of the group").fill("Moving day")
    await hers.dialog.get_by_role("button", name="Create a group of 3").click()
    await hers.says("Who brings the van?")
    await his.opens("Moving day")
    await his.sees("Ada started the conversation", "Who brings the van?")

    await hers.opens_about()
    await hers.dialog.get_by_role("button", name="Rename").click()
    await hers.dialog.get_by_role("textbox", name="Name of the conversation").fill("Moving week")
    await hers.page.keyboard.press("Enter")
    await his.sees("Ada named the conversation “Moving week”")
    await expect(his.row("Moving week")).to_be_visible()


async def test_people_are_added_silenced_removed_and_leave(
    readers: Readers, ada: Person, bob: Person, dan: Person
) -> None:
    talk = await ada.creates("group", bob, title="Moving week")
    hers, his, dans = (
        await readers.of(ada, talk),
        await readers.of(bob, talk),
        await readers.of(dan),
    )
    await hers.opens_about()
    await hers.dialog.get_by_role("button", name="Add people").click()
    await hers.chooses("Dan")
    await hers.dialog.last.get_by_role("button", name="Add", exact=True).click()
    await his.sees("Ada added Dan")
    await dans.opens("Moving week")
    await dans.says("I do")
    await his.sees("I do")

    await hers.button("What to do with Dan").click()
    await hers.picks("Reads only")
    await expect(dans.page.get_by_text("You can read here, not write.")).to_be_visible()
    await hers.button("What to do with Dan").click()
    await hers.picks("Remove from the conversation")
    await hers.dialog.last.get_by_role("button", name="Remove", exact=True).click()
    await expect(dans.page.get_by_text("You are no longer in this conversation")).to_be_visible()
    await expect(dans.row("Moving week")).not_to_be_attached()

    await his.opens_about()
    await his.dialog.get_by_role("button", name="Leave the conversation").click()
    await his.dialog.last.get_by_role("button", name="Leave", exact=True).click()
    await expect(his.row("Moving week")).not_to_be_attached()
    await hers.page.keyboard.press("Escape")
    await hers.sees("Bob left")


async def _opts(reader: Reader, word: str) -> None:
    """Choose from the menu of the conversation that is open."""
    await reader.button("Conversation menu").click()
    await reader.picks(word)


async def test_a_conversation_is_put_away_brought_back_silenced_and_kept_on_top(
    readers: Readers, ada: Person, bob: Person, cleo: Person
) -> None:
    quiet, loud = await ada.creates("group", bob, title="Quiet"), await ada.creates("direct", cleo)
    hers, other = await readers.of(ada, quiet), await readers.of(ada)
    row, muted = other.row("Quiet"), other.row("Quiet").get_by_text("Muted")

    await _opts(hers, "Archive")
    await expect(hers.row("Quiet")).not_to_be_attached()
    await expect(row).not_to_be_attached()
    await other.opens_account()
    await other.picks("Archived conversations")
    await expect(row).to_be_visible()
    await bob.says(quiet, "Anybody here?")
    await expect(hers.row("Quiet")).to_be_visible()
    await expect(row).not_to_be_attached()
    await other.button("Back to all conversations").click()
    await expect(row).to_be_visible()

    await _opts(hers, "Mute")
    await expect(muted).to_be_attached()
    await _opts(hers, "Unmute")
    await expect(muted).not_to_be_attached()

    await cleo.says(loud, "Later than that")
    first = other.list.get_by_role("listitem").first
    await expect(first).to_contain_text("Cleo")
    await _opts(hers, "Keep on top")
    await expect(first).to_contain_text("Quiet")
