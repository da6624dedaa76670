"""A person in front of the page, who finds things by their role, label and text."""

import re
from typing import Any

from playwright.async_api import FilePayload, Locator, Page, expect

from tests.browser import Window, Windows
from tests.people import Person


class Reader:
    """Somebody's window, and what one does and sees in it."""

    def __init__(self, window: Window, url: str) -> None:
        self.window = window
        self.page: Page = window.page
        self.url = url

    async def comes(
        self, token: str | None = None, conversation: str | None = None, view: str = ""
    ) -> None:
        """Open the page, by the link that an application gives or at the door.

        Another view makes it another address, of which the browser loads the page anew.
        """
        fields = {"token": token, "conversation": conversation}
        fragment = "&".join(f"{name}={value}" for name, value in fields.items() if value)
        address = f"{self.url}/{'?' if view else ''}{view}{'#' if fragment else ''}{fragment}"
        await self.page.goto(address)

    # Where things are

    @property
    def list(self) -> Locator:
        """The conversations."""
        return self.page.get_by_role("navigation", name="Conversations")

    @property
    def main(self) -> Locator:
        """The conversation that is open."""
        return self.page.get_by_role("main")

    @property
    def thread(self) -> Locator:
        """Its messages."""
        return self.page.get_by_role("region", name="Messages")

    @property
    def composer(self) -> Locator:
        return self.main.get_by_role("textbox", name="Write a message")

    @property
    def dialog(self) -> Locator:
        return self.page.get_by_role("dialog")

    @property
    def menu(self) -> Locator:
        return self.page.get_by_role("menu")

    def button(self, name: str | re.Pattern[str]) -> Locator:
        return self.page.get_by_role("button", name=name)

    def row(self, title: str) -> Locator:
        """The row of the list with this title."""
        return self.list.get_by_role("button", name=title)

    def message(self, text: str) -> Locator:
        """The newest message with this text."""
        return self.thread.get_by_role("listitem").filter(has_text=text).last

    # What one does

    async def opens(self, title: str) -> None:
        """Go from the list to a conversation, and wait until its messages are there."""
        await self.row(title).first.click()
        await expect(self.main.get_by_role("heading", name=title)).to_be_visible()
        beginning = self.thread.get_by_text("This is where the conversation begins.")
        anything = self.thread.get_by_role("listitem").or_(beginning)
        await expect(anything.last).to_be_visible()

    async def types(self, text: str) -> None:
        await self.composer.press_sequentially(text)

    async def says(self, text: str) -> None:
        await self.composer.fill(text)
        await self.composer.press("Enter")

    async def attaches(self, *files: FilePayload) -> None:
        """Choose files as in the dialog of the system."""
        async with self.page.expect_file_chooser() as chooser:
            await self.button("Attach files").click()
        await (await chooser.value).set_files(list(files))

    async def opens_menu_of(self, message: Locator) -> None:
        """Use the button that a pointer finds, or tap the message itself."""
        if await self.page.evaluate("matchMedia('(hover: none)').matches"):
            await message.get_by_role("time").tap()
        else:
            await message.hover()
            await message.get_by_role("button", name="Message actions").click()
        await expect(self.menu).to_be_visible()

    async def chooses(self, *names: str) -> None:
        """Tick people in the dialog that is open."""
        for name in names:
            await self.dialog.last.get_by_role("searchbox", name="Search people").fill(name)
            await self.dialog.last.get_by_role("checkbox", name=name).check(force=True)

    async def opens_about(self) -> None:
        """Press the title of the conversation that is open."""
        await self.main.get_by_role("heading").get_by_role("button").click()
        await expect(self.dialog).to_be_visible()

    async def opens_account(self) -> None:
        await self.button("Account of").click()
        await expect(self.menu).to_be_visible()

    async def picks(self, word: str) -> None:
        """Choose from the menu that is open."""
        await self.menu.get_by_text(word, exact=True).click()

    # What one sees

    async def sees(self, *words: str) -> None:
        """Wait until these messages are in the thread."""
        for word in words:
            await expect(self.message(word)).to_be_visible()

    async def sees_mark(self, text: str, mark: str) -> None:
        """Wait until a message of one's own carries `Sent`, `Delivered` or `Read`."""
        words = re.compile(f"^{mark}")
        await expect(self.message(text).get_by_text(words)).to_be_attached()

    async def is_told(self, words: str) -> None:
        """Wait until the page has said something to those who listen to it."""
        await self.page.wait_for_function(
            "words => window.told.some((one) => one.includes(words))", arg=words
        )

    async def is_settled(self) -> None:
        """Wait until the list is there."""
        await expect(self.list.get_by_role("listitem").first).to_be_visible()

    async def leaves(self) -> None:
        await self.window.context.close()


class Readers:
    """Everybody who reads the page of one server."""

    def __init__(self, browser: Windows, url: str) -> None:
        self._browser = browser
        self._url = url

    async def stranger(self, **options: Any) -> Reader:
        """Open a window and nothing in it; options are those of a Playwright context."""
        return Reader(await self._browser.new(**options), self._url)

    async def of(
        self, person: Person, conversation: dict[str, Any] | None = None, **options: Any
    ) -> Reader:
        """Let somebody come to the page, to a conversation if one is named."""
        reader = await self.stranger(**options)
        await reader.comes(person.token, conversation["id"] if conversation else None)
        return reader

    async def returns(
        self, before: Reader, person: Person, conversation: dict[str, Any] | None = None
    ) -> Reader:
        """Come again in another window of the browser that somebody used before."""
        reader = Reader(await self._browser.another(before.window), self._url)
        await reader.comes(person.token, conversation["id"] if conversation else None)
        return reader
