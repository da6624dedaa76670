"""The Django code of docs/embedding.md, run as it stands against a server.

The three names it takes from Django are stand-ins: settings with the two values, a `redirect` that
returns the address, and a `login_required` that lets everybody in.
"""

import asyncio
import sys
from dataclasses import dataclass
from types import ModuleType, SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.conftest import SECRET
from tests.documents import ROOT, examples
from tests.people import Person, Refused, Town


@dataclass
class DjangoUser:
    pk: int
    name: str
    is_staff: bool = False

    def get_full_name(self) -> str:
        return self.name


ADA = DjangoUser(7, "Ada Lovelace", is_staff=True)
BOB = DjangoUser(12, "Bob Martin")
EVE = DjangoUser(13, "Eve Adams")


@pytest.fixture
def crm(town: Town, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module that the block of the document becomes in somebody's project."""
    settings = SimpleNamespace(PALABRE_URL=town.url, PALABRE_SECRET=SECRET)
    stands_in: dict[str, dict[str, Any]] = {
        "django": {},
        "django.conf": {"settings": settings},
        "django.contrib": {},
        "django.contrib.auth": {},
        "django.contrib.auth.decorators": {"login_required": lambda view: view},
        "django.shortcuts": {"redirect": lambda address: SimpleNamespace(url=address)},
    }
    for name, values in stands_in.items():
        module = ModuleType(name)
        vars(module).update(values)
        monkeypatch.setitem(sys.modules, name, module)
    [block] = examples(ROOT / "docs" / "embedding.md", "python")
    module = ModuleType("crm")
    exec(compile(block, "docs/embedding.md", "exec"), vars(module))  # noqa: S102 - our own text
    return module


async def opened(crm: Any, town: Town, user: DjangoUser, conversation_id: str) -> Person:
    """Follow the link of the view and return who the page is then."""
    link = urlsplit(crm.chat(SimpleNamespace(user=user), conversation_id).url)
    given = parse_qs(link.fragment)
    assert (f"{link.scheme}://{link.netloc}", link.path) == (town.url, "/")
    assert given["conversation"] == [conversation_id]
    return town.person(str(user.pk), token=given["token"][0])


async def test_two_who_never_connected_talk_on_the_page_that_is_opened(
    crm: Any, town: Town
) -> None:
    talk = await asyncio.to_thread(crm.conversation_about, 31, BOB, ADA)
    ada, bob = [await opened(crm, town, user, talk["id"]) for user in (ADA, BOB)]
    hers, his = await ada.connects(), await bob.connects()

    await hers.says(talk, "When can you come?")

    seen = await bob.get(f"conversations/{talk['id']}/")
    assert (seen["client"], seen["property"], seen["my"]["role"]) == ("12", "31", "member")
    assert [one["user"]["name"] for one in seen["participants"]] == ["Bob Martin", "Ada Lovelace"]
    assert await his.heard_names() == await hers.heard_names() == ["message:created"]


async def test_the_same_property_and_client_are_the_same_conversation(crm: Any) -> None:
    first = await asyncio.to_thread(crm.conversation_about, 31, BOB, ADA)
    again = await asyncio.to_thread(crm.conversation_about, 31, BOB, ADA)
    other = await asyncio.to_thread(crm.conversation_about, 32, BOB, ADA)
    assert first["id"] == again["id"] != other["id"]


async def test_the_link_lets_nobody_in_who_is_not_a_member(crm: Any, town: Town) -> None:
    talk = await asyncio.to_thread(crm.conversation_about, 31, BOB, ADA)
    eve = await opened(crm, town, EVE, talk["id"])
    with pytest.raises(Refused) as refused:
        await eve.get(f"conversations/{talk['id']}/messages/")
    assert refused.value.code == "not_found"
