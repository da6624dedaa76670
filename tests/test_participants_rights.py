"""Who may do what: every role in every type of conversation, allowed, refused and silent."""

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote

import pytest

from server.schemas.values import UserRole
from tests.people import Person, Refused, Town

Talk = dict[str, Any]
Deed = Callable[[Person, Talk], Awaitable[Any]]

MEMBERS = ("owner", "admin", "member", "read_only", "root")
EVERYBODY = (*MEMBERS, "backend", "outsider", "root elsewhere")

UP = frozenset({"owner", "admin", "root", "backend"})
OWNERS = frozenset({"owner", "root", "backend"})


def sets_role(user_id: str, role: str) -> Deed:
    return lambda who, talk: who.patch(
        f"conversations/{talk['id']}/participants/{quote(user_id)}/", {"role": role}
    )


def removes(user_id: str) -> Deed:
    return lambda who, talk: who.delete(
        f"conversations/{talk['id']}/participants/{quote(user_id)}/"
    )


async def adds(who: Person, talk: Talk) -> Any:
    return await who.post(f"conversations/{talk['id']}/participants/", {"user_ids": ["new"]})


async def renames(who: Person, talk: Talk) -> Any:
    return await who.patch(f"conversations/{talk['id']}/", {"title": f"By {who.id}"})


async def closes(who: Person, talk: Talk) -> Any:
    return await who.patch(f"conversations/{talk['id']}/", {"is_active": False})


async def leaves(who: Person, talk: Talk) -> Any:
    return await who.post(f"conversations/{talk['id']}/leave/")


async def writes(who: Person, talk: Talk) -> Any:
    return await who.says(talk, "Hello")


async def reads(who: Person, talk: Talk) -> Any:
    return await who.get(f"conversations/{talk['id']}/messages/")


async def marks_read(who: Person, talk: Talk) -> Any:
    return await who.post(f"conversations/{talk['id']}/mark_read/")


async def sees_members(who: Person, talk: Talk) -> Any:
    return await who.get(f"conversations/{talk['id']}/participants/")


DEEDS: dict[str, tuple[Deed, frozenset[str]]] = {
    "adds": (adds, UP),
    "renames": (renames, UP),
    "closes": (closes, UP),
    "removes a member": (removes("somebody"), UP),
    "removes an admin": (removes("another admin"), UP),
    "removes an owner": (removes("another owner"), OWNERS),
    "makes an admin": (sets_role("somebody", "admin"), UP),
    "unmakes an admin": (sets_role("another admin", "member"), UP),
    "silences a member": (sets_role("somebody", "read_only"), UP),
    "makes an owner": (sets_role("somebody", "owner"), OWNERS),
    "unmakes an owner": (sets_role("another owner", "member"), OWNERS),
    "leaves": (leaves, frozenset(MEMBERS)),
    "writes": (writes, frozenset(MEMBERS) - {"read_only"}),
    "reads": (reads, frozenset(MEMBERS)),
    "marks read": (marks_read, frozenset(MEMBERS)),
    "sees members": (sees_members, frozenset({*MEMBERS, "backend"})),
}


REPEATABLE = (renames, leaves, writes, reads, marks_read, sees_members)
"""What one person after the other can do in the same conversation."""


@pytest.fixture
async def people(town: Town) -> dict[str, Person]:
    """One person for each role; only the backend and the roots are anything by their token."""
    roles = {
        "root": UserRole.ADMIN,
        "root elsewhere": UserRole.ADMIN,
        "backend": UserRole.SERVICE,
    }
    return {name: await town.known(name, role=roles.get(name)) for name in EVERYBODY}


async def scene(people: dict[str, Person], kind: str) -> Talk:
    """Return a conversation with somebody of each role in it, and others to act on."""
    backend = people["backend"]
    roles = {
        "owner": "owner",
        "admin": "admin",
        "read_only": "read_only",
        "another admin": "admin",
        "another owner": "owner",
    }
    others = ["member", "root", "somebody"]
    fields = {"type": kind, "participant_ids": [*roles, *others]}
    talk: Talk = await backend.post("conversations/create_with_participants/", fields)
    for user_id, role in roles.items():
        await sets_role(user_id, role)(backend, talk)
    return talk


# What is written is the same in each type: only who may differs, which no database decides.
KINDS = [
    "group",
    *(
        pytest.param(kind, marks=pytest.mark.one_database)
        for kind in ("client_agent", "agent_agent")
    ),
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("deed", list(DEEDS))
async def test_who_may(people: dict[str, Person], kind: str, deed: str) -> None:
    act, allowed = DEEDS[deed]
    talk = await scene(people, kind)
    hearer, outside = await people["owner"].connects(), await people["outsider"].connects()

    refusals = {}
    for name in sorted(set(EVERYBODY) - allowed):
        with pytest.raises(Refused) as no:
            await act(people[name], talk)
        refusals[name] = no.value.code
    await hearer.hears_nothing()

    strangers = {"outsider", "root elsewhere"}
    if act in (reads, marks_read):
        strangers.add("backend")
    expected = {name: "not_found" if name in strangers else "forbidden" for name in refusals}
    assert refusals == expected
    for name in sorted(allowed):
        await act(people[name], talk if act in REPEATABLE else await scene(people, kind))
    await hearer.heard()
    await outside.hears_nothing()


@pytest.mark.parametrize("deed", [deed for deed in DEEDS if "owner" not in deed])
async def test_in_a_direct_conversation_both_only_talk(
    people: dict[str, Person], deed: str
) -> None:
    act, _ = DEEDS[deed]
    somebody = await people["root"].town.known("somebody")
    talk = await people["root"].creates("direct", somebody)
    hearer = await somebody.connects()
    may = {"writes", "reads", "marks read", "sees members"}

    if deed in may:
        await act(people["root"], talk)
        await hearer.heard()
        return
    for name in ("root", "backend"):
        if (name, deed) != ("backend", "closes"):
            with pytest.raises(Refused) as no:
                await act(people[name], talk)
            assert no.value.code == "forbidden"
    for name in ("root elsewhere", "outsider"):
        with pytest.raises(Refused) as no:
            await act(people[name], talk)
        assert no.value.code == "not_found"
    await hearer.hears_nothing()
