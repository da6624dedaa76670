"""Every view of the page, and the way a person of the demo gets there."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from playwright.async_api import expect

from tests import pictures
from tests.reader import Reader

Way = Callable[[Reader], Awaitable[None]]

FLAT = "Emma's flat hunt"
SALE = "12 rue des Lilas : la vente / the sale"
STUDIO = "Studio, 4 rue Mazarine"


@dataclass(frozen=True, slots=True)
class View:
    """What somebody looks at: a name, who looks, and what that person did to get there."""

    name: str
    person: str | None
    reach: Way
    problems: tuple[str, ...] = ()
    """What the browser may complain about on the way."""


ALL: list[View] = []


def _view(
    name: str, person: str | None = "emma", problems: tuple[str, ...] = ()
) -> Callable[[Way], Way]:
    def add(reach: Way) -> Way:
        ALL.append(View(name, person, reach, problems))
        return reach

    return add


@_view("door", None)
async def _(reader: Reader) -> None:
    await expect(reader.page.get_by_role("textbox", name="Link or token")).to_be_visible()


@_view("door-refused", None)
async def _(reader: Reader) -> None:
    field = reader.page.get_by_role("textbox", name="Link or token")
    await field.fill("nonsense")
    await field.press("Enter")
    await expect(reader.page.get_by_text("does not accept this token")).to_be_visible()


@_view("empty", "nobody")
async def _(reader: Reader) -> None:
    await expect(reader.page.get_by_text("No conversations yet")).to_be_visible()


@_view("list")
async def _(reader: Reader) -> None:
    await reader.is_settled()


@_view("conversation")
async def _(reader: Reader) -> None:
    await reader.opens(FLAT)


@_view("group", "hugo")
async def _(reader: Reader) -> None:
    await reader.opens(SALE)


@_view("writing")
async def _(reader: Reader) -> None:
    await reader.opens(FLAT)
    await reader.composer.fill("A first line\nand a second one, which is longer than the first")


@_view("message-menu", "camille")
async def _(reader: Reader) -> None:
    await _says(reader, "A message with a menu")
    await reader.opens_menu_of(reader.message("A message with a menu"))


@_view("editing", "camille")
async def _(reader: Reader) -> None:
    await _says(reader, "A message to change")
    await reader.opens_menu_of(reader.message("A message to change"))
    await reader.picks("Edit")
    await expect(reader.page.get_by_text("Editing a message")).to_be_visible()


@_view("delete", "camille")
async def _(reader: Reader) -> None:
    await _says(reader, "A message to delete")
    await reader.opens_menu_of(reader.message("A message to delete"))
    await reader.picks("Delete")
    await expect(reader.dialog).to_be_visible()


@_view("readers", "camille")
async def _(reader: Reader) -> None:
    await _says(reader, "A message with readers")
    await reader.opens_menu_of(reader.message("A message with readers"))
    await reader.picks("Who has read it")
    await expect(reader.dialog).to_be_visible()


@_view("about", "camille")
async def _(reader: Reader) -> None:
    await reader.opens(SALE)
    await reader.opens_about()
    await expect(reader.dialog.get_by_text("Hugo Marchand")).to_be_visible()


@_view("conversation-menu")
async def _(reader: Reader) -> None:
    await reader.opens(FLAT)
    await reader.button("Conversation menu").click()
    await expect(reader.menu).to_be_visible()


@_view("files", "karim")
async def _(reader: Reader) -> None:
    await _attaches_a_picture(reader)
    await expect(reader.button("Remove house.png")).to_be_visible()


@_view("viewer", "karim")
async def _(reader: Reader) -> None:
    await _attaches_a_picture(reader)
    await reader.says("The house")
    await reader.button("Open the image house.png").last.click()
    await expect(
        reader.page.get_by_role("dialog", name="Images").get_by_role("img")
    ).to_be_visible()


@_view("new-group")
async def _(reader: Reader) -> None:
    await reader.is_settled()
    await reader.button("New conversation").first.click()
    for name in ("Hugo Marchand", "Karim Benali"):
        await reader.dialog.get_by_text(name).click()
    await reader.dialog.get_by_role("textbox", name="Name of the group").fill("Moving day")


@_view("search")
async def _(reader: Reader) -> None:
    await reader.is_settled()
    await reader.page.get_by_role("searchbox").fill("cello")
    await expect(reader.page.get_by_role("heading", name="Messages", exact=True)).to_be_visible()


@_view("account")
async def _(reader: Reader) -> None:
    await _opens_account(reader)


@_view("archive")
async def _(reader: Reader) -> None:
    await _opens_archive(reader)
    await expect(reader.button(STUDIO)).to_be_visible()


@_view("closed")
async def _(reader: Reader) -> None:
    await _opens_archive(reader)
    await reader.button(STUDIO).click()
    await expect(reader.page.get_by_text("This conversation is closed.")).to_be_visible()


# The last: whoever looks at it cannot come back.
@_view("offline", problems=("net::ERR_INTERNET_DISCONNECTED",))
async def _(reader: Reader) -> None:
    await reader.opens(FLAT)
    await reader.page.context.set_offline(offline=True)
    await expect(reader.page.get_by_text("You are offline.")).to_be_visible()


async def _says(reader: Reader, text: str) -> None:
    """Say something that can still be changed, and wait until it is stored."""
    await reader.opens(FLAT)
    await reader.says(text)
    await expect(
        reader.message(text).get_by_role("button", name="Message actions")
    ).to_be_attached()


async def _attaches_a_picture(reader: Reader) -> None:
    await reader.opens("Emma Wright")
    picture = pictures.png((900, 600))
    await reader.attaches({"name": "house.png", "mimeType": "image/png", "buffer": picture})


async def _opens_account(reader: Reader) -> None:
    await reader.is_settled()
    await reader.opens_account()


async def _opens_archive(reader: Reader) -> None:
    await _opens_account(reader)
    await reader.picks("Archived conversations")
