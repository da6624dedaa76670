"""The life of a token: warned before its end, ended after the grace, renewed by its own person."""

import asyncio

import pytest

from server.schemas.values import UserRole
from tests.eventually import is_gone
from tests.people import WITHIN_S, Device, Person, Refused, Town


async def connected_with(person: Person, ttl_s: int) -> Device:
    return await person.connects(token=person.fresh_token(ttl_s))


async def test_a_connection_is_warned_before_its_token_ends(ada: Person) -> None:
    hers = await connected_with(ada, 30)

    warning = await hers.hears("auth:expiring")

    assert 28 <= warning["in_s"] <= 30


async def test_a_connection_with_a_long_token_is_not_warned(ada: Person) -> None:
    hers = await connected_with(ada, 3_600)

    await hers.hears_nothing()


@pytest.mark.usefixtures("standing_clock")
@pytest.mark.settings(auth={"leeway_s": 0}, limits={"token_warning_s": 0, "token_grace_s": 2})
async def test_a_connection_ends_some_grace_after_its_token(
    town: Town, ada: Person, bob: Person
) -> None:
    talk = await ada.creates("direct", bob)
    hers, his = await connected_with(ada, 1), await bob.connects()

    await hers.hears("auth:expiring")
    with pytest.raises(Refused) as refused:
        await ada.connects(token=ada.fresh_token(-1))
    await ada.says(talk, "Within the grace")
    await hers.hears("message:created")
    closed = await hers.hears("session:closed")
    await asyncio.wait_for(hers.closed.wait(), WITHIN_S)

    assert refused.value.code == "token_expired"
    assert closed == {"code": "token_expired", "reconnect": True}
    assert await his.heard_names() == ["message:created"]
    await is_gone(town, "ada")


@pytest.mark.usefixtures("standing_clock")
@pytest.mark.settings(auth={"leeway_s": 0}, limits={"token_warning_s": 0, "token_grace_s": 0})
async def test_a_fresh_token_keeps_the_connection(ada: Person) -> None:
    hers = await connected_with(ada, 2)
    fresh = ada.fresh_token(3_600)

    reply = await hers.asks("auth:refresh", token=fresh)
    other = await connected_with(ada, 1)
    await other.hears("auth:expiring")
    await other.hears("session:closed")
    await asyncio.wait_for(other.closed.wait(), WITHIN_S)
    again = await connected_with(ada, 2)
    await again.hears("auth:expiring")
    await again.hears("session:closed")

    assert reply["token_expires_at"] > hers.ready["token_expires_at"]
    await hers.hears_nothing()
    assert not hers.closed.is_set()


async def test_somebody_elses_token_does_not_renew(ada: Person, bob: Person) -> None:
    hers = await ada.connects()

    with pytest.raises(Refused) as refused:
        await hers.asks("auth:refresh", token=bob.token)

    assert refused.value.code == "unauthorized"
    await hers.hears_nothing()


async def test_an_expired_token_does_not_renew(ada: Person) -> None:
    hers = await ada.connects()

    with pytest.raises(Refused) as refused:
        await hers.asks("auth:refresh", token=ada.fresh_token(-60))

    assert refused.value.code == "token_expired"


@pytest.mark.parametrize("body", [{}, {"token": 5}, {"token": ""}, {"token": "x", "a": 1}])
async def test_a_refresh_without_a_token_is_refused_by_name(
    ada: Person, body: dict[str, object]
) -> None:
    hers = await ada.connects()

    answer = await hers.answer("auth:refresh", body)

    assert answer["error"]["code"] == "validation_failed"


async def test_rights_follow_the_token_that_was_shown_last(
    town: Town, ada: Person, bob: Person, root: Person
) -> None:
    talk = await ada.creates("group", bob, root)
    theirs = await root.connects()
    demoted = town.person("root", role=UserRole.CLIENT)

    await theirs.asks("auth:refresh", token=demoted.token)
    with pytest.raises(Refused) as refused:
        await theirs.asks("participant:remove", conversation_id=talk["id"], user_id="bob")

    assert refused.value.code == "forbidden"
    await theirs.hears_nothing()
