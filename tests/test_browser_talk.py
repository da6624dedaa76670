"""Two people talk in Chromium: what one does, the other sees at once."""

from playwright.async_api import expect

from tests.people import Person
from tests.reader import Readers


async def test_two_people_talk_and_see_each_other_write_and_read(
    readers: Readers, ada: Person, bob: Person
) -> None:
    await ada.creates("direct", bob)
    hers, his = await readers.of(ada), await readers.of(bob)
    await hers.opens("Bob")
    await expect(his.row("Ada")).to_be_visible()

    await hers.types("Hello Bob")
    await expect(his.row("Ada").get_by_text("Ada is writing")).to_be_visible()
    await hers.composer.press("Enter")
    await expect(his.row("Ada").get_by_text("Hello Bob")).to_be_visible()
    await hers.sees_mark("Hello Bob", "Delivered")
    await hers.says("Are you there?")
    await expect(his.row("Ada").get_by_text("2 unread messages")).to_be_attached()
    await expect(his.page).to_have_title("(2) Palabre")

    await his.opens("Ada")
    await his.sees("Hello Bob", "Are you there?")
    await hers.sees_mark("Are you there?", "Read")
    await expect(his.page).to_have_title("Palabre")
    await expect(his.main.get_by_text("New messages")).to_be_visible()

    await his.types("Y")
    await expect(hers.main.get_by_text("Bob is writing")).to_be_visible()
    await his.composer.press("Backspace")
    await expect(hers.main.get_by_text("Bob is writing")).not_to_be_visible()
    await his.says("Yes\nwith a second line")
    await expect(hers.message("Yes")).to_contain_text(
        "Yes\nwith a second line", use_inner_text=True
    )
    await his.sees_mark("Yes", "Read")


async def test_who_is_there_is_seen_and_who_hides_is_not(
    readers: Readers, ada: Person, bob: Person
) -> None:
    await ada.creates("direct", bob)
    hers = await readers.of(ada)
    await hers.opens("Bob")
    await expect(hers.main.get_by_text("Active now")).not_to_be_attached()

    his = await readers.of(bob)
    await expect(hers.main.get_by_text("Active now")).to_be_visible()
    await expect(hers.row("Bob").get_by_text("Active now")).to_be_attached()

    await his.opens_account()
    await his.picks("Be seen by nobody")
    await expect(hers.main.get_by_text("Last here")).to_be_visible()
    await expect(hers.row("Bob").get_by_text("Active now")).not_to_be_attached()

    await his.opens_account()
    await his.picks("Be seen by nobody")
    await expect(hers.main.get_by_text("Active now")).to_be_visible()


async def test_a_message_is_changed_and_taken_back(
    readers: Readers, ada: Person, bob: Person
) -> None:
    talk = await ada.creates("direct", bob)
    await bob.says(talk, "Noted by Bob")
    hers, his = await readers.of(ada, talk), await readers.of(bob, talk)
    await hers.says("See you at nin")
    await his.sees("See you at nin")

    await hers.opens_menu_of(hers.message("See you at nin"))
    await hers.picks("Edit")
    await expect(hers.composer).to_have_value("See you at nin")
    await hers.composer.press("e")
    await hers.composer.press("Enter")
    await expect(his.message("See you at nine").get_by_text("edited")).to_be_visible()
    await expect(hers.composer).to_have_value("")

    await hers.opens_menu_of(hers.message("See you at nine"))
    await hers.picks("Delete")
    await hers.dialog.get_by_role("button", name="Delete for everyone").click()
    await expect(his.message("Message deleted")).to_be_visible()
    await expect(his.thread).not_to_contain_text("See you at nine")

    await hers.opens_menu_of(hers.message("Noted by Bob"))
    await hers.picks("Delete")
    await hers.dialog.get_by_role("button", name="Delete for me").click()
    await expect(hers.thread).not_to_contain_text("Noted by Bob")
    await his.sees("Noted by Bob")


async def test_somebody_is_found_by_name_and_a_conversation_begins(
    readers: Readers, ada: Person, bob: Person, cleo: Person
) -> None:
    hers, his = await readers.of(ada), await readers.of(bob)
    await hers.page.get_by_role("searchbox").fill("bo")
    await hers.list.get_by_role("button", name="Bob").click()
    await hers.says("Nice to meet you")

    await his.opens("Ada")
    await his.sees("Nice to meet you")
    await his.says("The pleasure is mine")
    await hers.sees("The pleasure is mine")

    # What was said is found as well, and shown in its place.
    await hers.page.get_by_role("searchbox").fill("pleasure")
    await hers.list.get_by_role("button", name="pleasure").click()
    await hers.sees("The pleasure is mine")
