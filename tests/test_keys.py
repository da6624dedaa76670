"""Server keys over REST: what a program may with one, and every way in which it is refused."""

import asyncio
import hashlib
from typing import Any

import pytest

from server import auth
from server.actions import keys
from server.errors import SettingsError
from server.models import ServerKey, sql
from server.schemas.values import KEY_HEADER, KEY_PREFIX, UserRole
from tests.eventually import becomes
from tests.people import WITHIN_S, Person, Program, Town, all_members, form
from tests.refusals import refused
from tests.test_http_manners import APP, ORIGINS, fetched


async def program(town: Town, name: str = "crm") -> Program:
    """Return a program with a key that was just made."""
    key = keys.new_key()
    await keys.create(name, key, town.settings.keys.most)
    return Program(town, name, key)


async def last_used(name: str = "crm") -> int | None:
    at: int | None = (await ServerKey.get(name=name)).last_used_at
    return at


# What a program may


async def test_a_program_provides_people_and_conversations_and_is_heard(
    town: Town, ada: Person, bob: Person, eve: Person
) -> None:
    crm = await program(town)
    his, outside = await bob.connects(), await eve.connects()

    await crm.put("users/zoe/", {"name": "Zoé", "role": "client"})
    talk = await crm.creates("group", ada, bob, external_id="order 7", property="31")
    await crm.post(f"conversations/{talk['id']}/participants/", {"user_ids": ["zoe"]})
    said = await crm.says(talk, "Your visit is confirmed", type="system")

    heard = [data for name, data in await his.heard() if name == "message:created"]
    assert heard[-1]["message"]["content"] == "Your visit is confirmed"
    assert heard[-1]["message"]["sender"] == said["sender"]
    card = {"id": "key:crm", "name": "crm", "avatar_url": None, "role": "service"}
    assert said["sender"] == card
    assert talk["created_by"] == heard[-1]["actor_id"] == "key:crm"
    members = [member["user"]["id"] for member in await all_members(ada, talk["id"])]
    assert members == ["ada", "bob", "zoe"]
    assert await crm.get("me/") == {**card, "metadata": {}}
    await outside.hears_nothing()


async def test_what_a_program_says_twice_with_one_id_is_heard_once(
    town: Town, ada: Person, bob: Person, eve: Person
) -> None:
    crm = await program(town)
    talk = await crm.creates("group", ada, bob)
    his, outside = await bob.connects(), await eve.connects()
    path, body = f"conversations/{talk['id']}/send/", {"content": "Paid", "type": "system"}
    once = {"headers": {"Idempotency-Key": "invoice-12"}}

    first = await crm.call("POST", path, body, **once)
    again = await crm.call("POST", path, body, **once)
    other = await crm.call("POST", path, {**body, "content": "Not paid"}, **once)

    assert (first[0], again[0], other[0]) == (201, 200, 409)
    assert first[1]["id"] == again[1]["id"]
    assert other[1]["error"]["code"] == "idempotency_conflict"
    assert await his.heard_names() == ["message:created"]
    await outside.hears_nothing()


async def test_a_program_reads_nothing_and_speaks_as_nobody(
    town: Town, ada: Person, bob: Person
) -> None:
    crm = await program(town)
    talk = await ada.creates("direct", bob, initial_message={"content": "Private"})
    said = await ada.says(talk, "Very private")
    hers = await ada.connects()

    for path in (f"conversations/{talk['id']}/messages/", f"messages/{said['id']}/"):
        assert (await refused(crm.get(path))).code == "not_found"
    assert (await crm.get("messages/?q=private"))["results"] == []
    assert (await crm.get("conversations/"))["results"] == []
    seen = await crm.get(f"conversations/{talk['id']}/")
    assert (seen["last_message"], seen["my"]) == (None, None)
    for work in (
        crm.says(talk, "As if I were somebody"),
        crm.sends_files(talk, (b"a note", "note.txt")),
    ):
        assert (await refused(work)).code == "forbidden"
    await hers.hears_nothing()


# How it is refused


async def test_a_revoked_key_is_refused_from_the_next_request_on(
    town: Town, logged: list[dict[str, Any]]
) -> None:
    crm, shop = await program(town), await program(town, "shop")
    await crm.get("me/")

    await keys.revoke("crm")

    no = await refused(crm.get("me/"))
    assert (no.status, no.code) == (401, "unauthorized")
    assert (await shop.get("me/"))["id"] == "key:shop"
    # A new key of the same name is another one.
    anew = await program(town)
    assert (await anew.get("me/"))["id"] == "key:crm"
    assert (await refused(crm.get("me/"))).code == "unauthorized"
    assert [line["why"] for line in logged if line["event"] == "refused"] == [
        "no server key is this one; it may have been revoked"
    ] * 2


async def test_whatever_is_wrong_with_a_key_the_answer_is_the_same(
    town: Town, logged: list[dict[str, Any]]
) -> None:
    right = (await program(town)).token
    wrong = [
        keys.new_key(),
        f"{right[:-1]}{'A' if right[-1] != 'A' else 'B'}",
        right.swapcase(),
        right.removeprefix(KEY_PREFIX),
        f"{right}x",
        hashlib.sha256(right.encode()).hexdigest(),
        "",
        "x" * 8_000,
        "palabre_key_' OR 1 = 1 --",
        "palabre_key_é",
    ]

    answers = []
    for key in wrong:
        status, body, headers = await Program(town, "crm", key).call("GET", "me/")
        answers.append((status, body, headers["WWW-Authenticate"]))

    error = {"code": "unauthorized", "message": "A valid server key is needed.", "retryable": False}
    assert answers == [(401, {"error": error}, 'Bearer realm="palabre"')] * len(wrong)
    assert not any(key in str(logged) for key in wrong if key)


async def test_a_key_and_a_token_in_one_request_are_refused_by_name(
    town: Town, ada: Person
) -> None:
    crm = await program(town)

    for given in ({"Authorization": f"Bearer {ada.token}"}, {"Authorization": "Basic eDp5"}):
        status, answer, _ = await crm.call("GET", "me/", headers=given)
        assert (status, answer["error"]["code"]) == (400, "validation_failed")
        assert [one["field"] for one in answer["error"]["details"]] == [KEY_HEADER]
    twice = [(KEY_HEADER, crm.token), (KEY_HEADER, crm.token)]
    async with town.http.get(f"{town.url}/api/messaging/me/", headers=twice) as response:
        assert (response.status, "given twice" in await response.text()) == (400, True)


async def test_a_key_in_the_place_of_a_token_says_where_it_belongs(town: Town) -> None:
    crm = await program(town)
    sentence = "A server key is no token: send it as X-Palabre-Key, over HTTP."

    over_http = await refused(town.person("crm", token=crm.token).get("me/"))
    on_a_socket = await refused(crm.connects())

    for no in (over_http, on_a_socket):
        assert (no.code, no.error["message"]) == ("unauthorized", sentence)


@ORIGINS
async def test_no_web_page_uses_a_key(town: Town) -> None:
    crm = await program(town)
    asked = {
        "Origin": APP,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "x-palabre-key",
    }

    _, _, preflight = await fetched(town, "OPTIONS", "/api/messaging/sync/", headers=asked)
    allowed = preflight["Access-Control-Allow-Headers"].lower()
    # A page of our own origin asks no preflight.
    refusals = [await crm.call("GET", "me/", headers={"Origin": o}) for o in (APP, town.url)]

    assert "x-palabre-key" not in allowed
    assert "*" not in allowed
    assert [(status, body["error"]["code"]) for status, body, _ in refusals] == [
        (403, "forbidden")
    ] * 2


# Who a key is


async def test_nobody_comes_with_the_id_of_a_key(town: Town, ada: Person, bob: Person) -> None:
    crm = await program(town)
    pretender = Person(town, "key:crm", role=UserRole.CLIENT, token=_token(town, "key:crm"))

    for work in (pretender.get("me/"), pretender.connects()):
        assert (await refused(work)).code == "unauthorized"
    assert (await crm.get("me/"))["role"] == "service"
    with pytest.raises(SettingsError):
        auth.issue(town.settings.auth, "key:crm", ttl_s=60)


def _token(town: Town, user_id: str) -> str:
    """Return a token as an application would sign it that knows nothing of keys."""
    import jwt  # noqa: PLC0415

    claims = {"sub": user_id, "role": "client", "exp": 4_000_000_000}
    return jwt.encode(claims, town.settings.auth.secret, algorithm="HS256")


@pytest.mark.parametrize("name", ["crm", "nobody-made-this-one"])
async def test_a_key_is_made_a_member_of_nothing(
    town: Town, ada: Person, bob: Person, backend: Person, name: str
) -> None:
    crm = await program(town)
    talk = await ada.creates("group", bob)
    his = await bob.connects()
    id_ = f"key:{name}"
    members = f"conversations/{talk['id']}/participants/"
    create = "conversations/create_with_participants/"

    for work, field in (
        (ada.post(members, {"user_ids": [id_]}), "user_ids"),
        (crm.post(members, {"user_ids": ["cleo", id_]}), "user_ids"),
        (ada.post(create, {"type": "direct", "participant_ids": [id_]}), "participant_ids"),
        (backend.put(f"users/{id_}/", {"role": "client"}), "user_id"),
        (crm.put(f"users/{id_}/", {"name": "Ada"}), "user_id"),
    ):
        no = await refused(work)
        assert (no.code, no.fields) == ("validation_failed", [field])
    await his.hears_nothing()
    assert [one["user"]["id"] for one in await all_members(bob, talk["id"])] == ["ada", "bob"]


async def test_a_key_is_not_made_for_somebody_who_was_there_before(
    town: Town, ada: Person, bob: Person
) -> None:
    talk = await ada.creates("group", bob)
    # From a time before there were keys.
    await sql.execute("UPDATE users SET role = 'agent' WHERE id = 'bob'")
    for id_ in ("key:agent", "key:member"):
        await sql.execute(
            "INSERT INTO users (id, role, created_at, updated_at) VALUES ($1, $2, 0, 0)",
            *(id_, "agent" if id_ == "key:agent" else None),
        )
    await sql.execute(
        "UPDATE participants SET user_id = 'key:member' "
        "WHERE conversation_id = $1 AND user_id = 'bob'",
        talk["id"],
    )

    for name in ("agent", "member"):
        with pytest.raises(SettingsError, match=f"somebody is known as key:{name}"):
            await program(town, name)

    assert await ServerKey.all().count() == 0


# Bounds


@pytest.mark.settings(keys={"rate": 1, "burst": 2}, limits={"event_rate": 1, "event_burst": 1})
@pytest.mark.usefixtures("no_refill")
async def test_a_program_that_runs_wild_is_told_when_to_come_back(
    town: Town, ada: Person, backend: Person
) -> None:
    crm, shop = await program(town), await program(town, "shop")

    answers = [await crm.call("GET", "me/") for _ in range(3)]

    assert [status for status, _, _ in answers] == [200, 200, 429]
    _, body, headers = answers[-1]
    assert body["error"]["code"] == "rate_limited"
    assert (headers["Retry-After"], 0 < body["error"]["retry_after_ms"] <= 1_001) == ("1", True)
    # Neither another key nor people nor a token of the backend pay for it.
    assert (await shop.get("me/"))["id"] == "key:shop"
    for _ in range(3):
        await backend.get("me/")


@pytest.mark.settings(keys={"rate": 1, "burst": 1})
@pytest.mark.usefixtures("no_refill")
async def test_the_files_of_a_program_count_too(town: Town, ada: Person, bob: Person) -> None:
    crm = await program(town)
    await crm.get("me/")

    assert (await refused(crm.post("uploads/", form(("file", b"a", "a.txt"))))).status == 429


@pytest.mark.settings(keys={"most": 2})
async def test_there_are_so_many_keys_at_a_time(town: Town) -> None:
    made = await asyncio.gather(
        *(program(town, f"job-{number}") for number in range(4)), return_exceptions=True
    )

    problems = [str(one) for one in made if isinstance(one, BaseException)]
    assert problems == ["keys.most: there are 2 keys already; revoke one first"] * 2
    (kept, _) = [one for one in made if isinstance(one, Program)]
    await keys.revoke(kept.name)
    assert (await (await program(town, "another")).get("me/"))["id"] == "key:another"


async def test_many_keys_at_once_are_looked_up_by_one_statement_at_a_time(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    crm = await program(town)
    fetch, digest = sql.fetch, keys.digest
    came, running, everybody = list[str](), list[int](), asyncio.Event()

    def counted(key: str) -> str:
        came.append(key)
        if len(came) == 52:
            everybody.set()
        return digest(key)

    async def held(statement: str, *values: Any) -> Any:
        if "server_keys" not in statement:
            return await fetch(statement, *values)
        running.append(1 + (running[-1] if running else 0))
        await everybody.wait()
        rows = await fetch(statement, *values)
        running.append(running[-1] - 1)
        return rows

    monkeypatch.setattr(keys, "digest", counted)
    monkeypatch.setattr(sql, "fetch", held)
    first = asyncio.create_task(crm.call("GET", "me/"))
    await becomes(lambda: running == [1])
    strangers = [Program(town, "crm", keys.new_key()) for _ in range(50)]
    answers = await asyncio.gather(*(one.call("GET", "me/") for one in [*strangers, crm]), first)

    assert [status for status, _, _ in answers] == [401] * 50 + [200] * 2
    # Whoever came first, and then everybody who came meanwhile.
    assert running == [1, 0, 1, 0]


# Last used


async def test_the_use_of_a_key_is_noted_later_and_once(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "NOTED_AFTER_S", 1.5)
    execute, written = sql.execute, list[str]()

    async def noted(statement: str, *values: Any) -> int:
        count = await execute(statement, *values)
        if "server_keys" in statement:
            written.append(statement)
        return count

    monkeypatch.setattr(sql, "execute", noted)
    crm, shop, _ = [await program(town, name) for name in ("crm", "shop", "idle")]
    for one in (crm, shop, crm, crm):
        await one.get("me/")
    assert (await last_used("crm"), written) == (None, [])

    await becomes(lambda: len(written) == 1)
    await crm.get("me/")
    await becomes(lambda: len(written) == 2)
    # Until what was written is committed.
    first = latest = 0
    async with asyncio.timeout(WITHIN_S):
        while not 0 < first < latest:
            first, latest = await last_used("shop") or 0, await last_used("crm") or 0
    assert await last_used("idle") is None
    assert len(written) == 2


@pytest.mark.parametrize("name", ["crm", "CRM.v2_a-1", "a", "a" * 40])
async def test_a_name_is_made_of_letters_digits_and_a_few_signs(town: Town, name: str) -> None:
    assert (await (await program(town, name)).get("me/"))["name"] == name


@pytest.mark.parametrize("name", ["", " ", "a b", "-a", ".a", "a" * 41, "é", "a/b", "a\n", "k:a"])
async def test_another_name_is_refused_and_not_repeated(town: Town, name: str) -> None:
    with pytest.raises(SettingsError) as no:
        await program(town, name)
    assert str(no.value).startswith("NAME: is 1 to 40 letters")


async def test_nobody_reads_a_key_from_the_database(town: Town) -> None:
    crm = await program(town)
    await crm.get("me/")

    rows = await sql.fetch("SELECT * FROM server_keys")

    secret = crm.token.removeprefix(KEY_PREFIX)
    assert secret not in str(rows)
    assert rows[0]["digest"] == hashlib.sha256(crm.token.encode()).hexdigest()
