"""Bad input: every request, by every door, names the field that is wrong and changes nothing.

What is refused never reaches the database, so most of this is asked once.
"""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.asking import (
    BY_REST,
    BY_SOCKET,
    REQUESTS,
    About,
    asks_over_rest,
    complete,
    in_address,
    in_path,
)
from tests.people import Device, Person, Refused, all_messages
from tests.refusals import refused

HALF_A_PAIR = "\ud83d"
NUL = "a\x00b"
OF_EACH_TYPE: list[tuple[str, Any]] = [
    *(("null", None), ("boolean", True), ("integer", 5), ("number", 5.5)),
    *(("string", "5"), ("array", []), ("object", {})),
]
# Opaque to the schemas: looked at by whoever reads tokens, or only ever compared.
OPAQUE = {("auth:refresh", "token"), ("sync", "epoch")}


class Scene:
    """A conversation in which something could be changed, and who would notice."""

    def __init__(self, ada: Person, her: Device, his: Device, about: About) -> None:
        self.ada, self.her, self.his, self.about = ada, her, his, about

    @classmethod
    async def of(cls, ada: Person, bob: Person) -> "Scene":
        talk = await ada.creates("group", bob)
        said = await ada.says(talk, "Before")
        scene = cls(ada, await ada.connects(), await bob.connects(), About(talk["id"], said["id"]))
        scene.before = await scene.state()
        return scene

    before: Any = None

    async def state(self) -> list[Any]:
        id_ = self.about.conversation_id
        return [
            await self.ada.get("conversations/"),
            await self.ada.get(f"conversations/{id_}/participants/"),
            await all_messages(self.ada, id_),
            await self.ada.get("users/"),
        ]

    async def is_untouched(self) -> None:
        await self.her.hears_nothing()
        await self.his.hears_nothing()
        assert await self.state() == self.before


def properties(name: str) -> Iterator[tuple[str, dict[str, Any], set[str], bool]]:
    """Yield each field of a request with what describes it, its types, and whether it is needed."""
    schema = REQUESTS[name].schema.model_json_schema()
    for field, described in schema.get("properties", {}).items():
        options = [
            {**option, **schema["$defs"][option["$ref"].rpartition("/")[2]]}
            if "$ref" in option
            else option
            for option in described.get("anyOf", [described])
        ]
        merged = {key: value for option in options for key, value in option.items()}
        types = {option["type"] for option in options}
        yield field, merged, types, field in schema.get("required", ())


def wrong_values(name: str, field: str, shape: dict[str, Any], types: set[str]) -> Iterator[Any]:
    for kind, value in OF_EACH_TYPE:
        fits = kind in types or (kind == "integer" and "number" in types)
        if not fits:
            yield value
    if "string" in types and (name, field) not in OPAQUE:
        yield from (NUL, HALF_A_PAIR)
    if "maxLength" in shape:
        yield "x" * (shape["maxLength"] + 1)
    if shape.get("minLength") or "enum" in shape:
        yield ""
    if field == "content":
        yield from ("", " \n", "x" * 10_001)
    if field == "attachment_ids":
        yield from (["x", "x"], ["a", ""], [5], [None], [f"{n}" for n in range(11)], ["unknown"])
    if field == "avatar_url":
        yield "javascript:alert(1)"
    if field == "metadata":
        yield from (deep(), {"a": "x" * 20_000}, {"a": NUL}, {NUL: 1}, {"a": 2**53})
        yield from ({"a": {"b": HALF_A_PAIR}}, {"a": {HALF_A_PAIR: 1}}, {"a": [1e300]})
    if "integer" in types:
        yield from (-1, 2**53, 10**30)
    if "minItems" in shape:
        yield []
    if "maxItems" in shape:
        yield [{"conversation_id": "x", "up_to_seq": 1}] * (shape["maxItems"] + 1)


def deep() -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(8):
        value = {"a": value}
    return value


def must_name(error: dict[str, Any], field: str, what: Any) -> None:
    """Hold a whole error against the contract."""
    assert error.keys() == {"code", "message", "retryable", "details"}, (field, what, error)
    assert (error["code"], error["retryable"]) == ("validation_failed", False), (what, error)
    assert all(detail.keys() == {"field", "problem"} for detail in error["details"])
    named = [detail["field"].partition(".")[0] for detail in error["details"]]
    assert field in named, (field, what, error)
    assert all(detail["problem"] for detail in error["details"])


def nearly(name: str, apart_from: list[str]) -> tuple[str, str]:
    """Return a field of a request and how somebody may misspell it."""
    known = [f for f in REQUESTS[name].schema.model_fields if f not in apart_from]
    longest = max(known, key=len, default="")
    return longest, f"{longest[:-1]}z"


# The table


@pytest.mark.one_database
@pytest.mark.parametrize("name", BY_SOCKET)
async def test_sockets_name_every_wrong_field(ada: Person, bob: Person, name: str) -> None:
    scene = await Scene.of(ada, bob)
    payload = complete(name, scene.about)
    for field, shape, types, is_needed in properties(name):
        for value in wrong_values(name, field, shape, types):
            answer = await scene.her.answer(name, {**payload, field: value})
            assert answer["ok"] is False, (field, value)
            must_name(answer["error"], field, value)
        if is_needed:
            rest = {key: given for key, given in payload.items() if key != field}
            answer = await scene.her.answer(name, rest)
            must_name(answer["error"], field, "missing")
            assert answer["error"]["message"] == f"{field}: is required"
    await scene.is_untouched()


@pytest.mark.one_database
@pytest.mark.parametrize("name", BY_REST)
async def test_rest_names_every_wrong_field(ada: Person, bob: Person, name: str) -> None:
    scene = await Scene.of(ada, bob)
    payload = complete(name, scene.about)
    (route,) = REQUESTS[name].routes
    for field, shape, types, is_needed in properties(name):
        if field in in_path(route):
            continue
        values = list(wrong_values(name, field, shape, types))
        if in_address(route):
            values = [v for v in in_texts(shape, types) if (name, field) not in OPAQUE]
        for value in values:
            ((status, body, _),) = await asks_over_rest(scene.ada, name, {**payload, field: value})
            assert status == 400, (field, value, body)
            must_name(body["error"], field, value)
        if is_needed and not route.makes_id and not in_address(route):
            rest = {key: given for key, given in payload.items() if key != field}
            ((_, body, _),) = await asks_over_rest(scene.ada, name, rest)
            must_name(body["error"], field, "missing")
    await scene.is_untouched()


def in_texts(shape: dict[str, Any], types: set[str]) -> Iterator[str]:
    """Yield wrong values as they come in an address, where everything is a text."""
    yield ""
    if "string" in types:
        yield NUL
    if types & {"integer", "boolean"} or "enum" in shape:
        yield from ("maybe", "5.5", "[]")
    if "maxLength" in shape:
        yield "x" * (shape["maxLength"] + 1)
    if "integer" in types:
        yield from ("-1", str(2**53 + 1), "9" * 400)


# Nothing changes what these are about: all requests are asked in one scene.


@pytest.mark.one_database
async def test_sockets_refuse_fields_they_do_not_know(ada: Person, bob: Person) -> None:
    scene = await Scene.of(ada, bob)
    for name in BY_SOCKET:
        payload = complete(name, scene.about)
        known, misspelt = nearly(name, [])

        strange = await scene.her.answer(name, {**payload, "☃ & co": 1})
        near = await scene.her.answer(name, {**payload, misspelt: 1})
        half = await scene.her.answer(name, {**payload, HALF_A_PAIR: 1})

        problem = "is not a field of this request"
        assert strange["error"]["details"] == [{"field": "☃ & co", "problem": problem}], name
        hint = f"{problem}; did you mean {known}?"
        assert near["error"]["details"] == [{"field": misspelt, "problem": hint}], name
        assert half["error"]["code"] == "validation_failed", name
    await scene.is_untouched()


@pytest.mark.one_database
async def test_rest_refuses_fields_it_does_not_know(ada: Person, bob: Person) -> None:
    scene = await Scene.of(ada, bob)
    for name in BY_REST:
        payload = complete(name, scene.about)
        (route,) = REQUESTS[name].routes
        known, misspelt = nearly(name, in_path(route))

        ((status, body, _),) = await asks_over_rest(ada, name, {**payload, "nonsense9": "1"})
        assert (status, body["error"]["details"][0]["field"]) == (400, "nonsense9"), name
        if known:
            ((_, body, _),) = await asks_over_rest(ada, name, {**payload, misspelt: "1"})
            hint = f"; did you mean {known}?"
            assert body["error"]["details"][0]["problem"].endswith(hint), name
    await scene.is_untouched()


@pytest.mark.one_database
async def test_a_payload_on_a_socket_is_an_object(ada: Person, bob: Person) -> None:
    scene = await Scene.of(ada, bob)
    for name in BY_SOCKET:
        for payload in ([], [complete(name, scene.about)], "text", 5, True, 5.5):
            answer = await scene.her.answer(name, payload)
            assert answer["error"] == {
                "code": "validation_failed",
                "message": "payload: must be an object",
                "retryable": False,
                "details": [{"field": "payload", "problem": "must be an object"}],
            }, (name, payload)
    await scene.is_untouched()


WITH_BODY = [name for name in BY_REST if not in_address(REQUESTS[name].routes[0])]


@pytest.mark.one_database
async def test_a_body_is_a_json_object(ada: Person, bob: Person) -> None:
    scene = await Scene.of(ada, bob)
    for name in WITH_BODY:
        await _must_want_an_object(scene, name)
    await scene.is_untouched()


async def _must_want_an_object(scene: Scene, name: str) -> None:
    ada, (route,) = scene.ada, REQUESTS[name].routes
    path = route.path.format(**complete(name, scene.about))
    broken = [b"{", b"{'a': 1}", b'{"a": NaN}', b'{"a": Infinity}', b"\xff\xfe{\x00}\x00", b"nul"]
    for body in [*broken, b"[]", b'"x"', b"5", b"null", b"[" * 5_000, b'{"a": "\xed\xa0\x80"}']:
        no = await refused(_must(ada, route.method, path, body))
        found = (no.status, no.code, no.fields)
        assert found == (400, "validation_failed", ["body"]), (name, body)
    as_text = {"headers": {"Content-Type": "text/plain"}}
    no = await refused(_must(ada, route.method, path, b"{}", **as_text))
    assert (no.status, no.code) == (415, "unsupported_media"), name
    no = await refused(_must(ada, route.method, f"{path}?limit=5", b"{}"))
    assert (no.code, no.fields) == ("validation_failed", ["limit"]), name


async def _must(person: Person, method: str, path: str, body: Any, **options: Any) -> Any:
    status, answer, _ = await person.call(method, path, body, **options)
    if status >= 400:
        raise Refused(answer["error"], status)
    return answer


@pytest.mark.one_database
async def test_what_the_path_names_the_body_does_not(ada: Person, bob: Person) -> None:
    scene = await Scene.of(ada, bob)
    for name in WITH_BODY:
        (route,) = REQUESTS[name].routes
        payload = complete(name, scene.about)
        for field in in_path(route):
            body = {k: v for k, v in payload.items() if k not in in_path(route)} | {field: "x"}
            no = await refused(_must(ada, route.method, route.path.format(**payload), body))
            must_name(no.error, field, f"twice in {name}")
    await scene.is_untouched()


# Sending, in particular


@pytest.mark.one_database
async def test_fields_of_what_is_not_built_are_refused_by_name(ada: Person, bob: Person) -> None:
    scene = await Scene.of(ada, bob)
    for field in ("reply_to_id", "mentions", "draft", "seq"):
        payload = {**complete("message:send", scene.about), field: []}

        by_socket = await refused(scene.her.asks("message:send", **payload))
        ((status, body, _),) = await asks_over_rest(ada, "message:send", payload)

        assert by_socket.fields == [field]
        assert (status, body["error"]) == (400, by_socket.error)
    await scene.is_untouched()


@pytest.mark.one_database
async def test_many_mistakes_are_named_at_once(ada: Person, bob: Person) -> None:
    scene = await Scene.of(ada, bob)
    no = await refused(scene.her.asks("message:send", content=5, type="poem", more=1))
    assert no.fields == ["conversation_id", "client_msg_id", "type", "content", "more"]
    no = await refused(scene.her.asks("message:send", metadata=5))
    assert no.fields == ["conversation_id", "client_msg_id", "content", "metadata"]
    await scene.is_untouched()


async def test_metadata_may_be_as_deep_and_large_as_the_limits_say(
    ada: Person, bob: Person
) -> None:
    talk = await ada.creates("direct", bob)
    fits: dict[str, Any] = {"a": {"b": {"c": {"d": {"e": {"f": {"g": [1, -1.5, None, True]}}}}}}}
    large = {"a": "é" * 2_044}
    assert len(json.dumps(large, ensure_ascii=False, separators=(",", ":")).encode()) == 4_096

    fitting: list[dict[str, Any]] = [fits, large, {}, {"": {"": []}}, {"big": 2**53 - 1}]
    for metadata in fitting:
        assert (await ada.says(talk, "Hi", metadata=metadata))["metadata"] == metadata
    assert (await refused(ada.says(talk, "Hi", metadata={"a": "é" * 2_045}))).fields == ["metadata"]
    assert (await refused(ada.says(talk, "Hi", metadata={"a": fits}))).fields == ["metadata"]


# Names


UNKNOWN = [
    *("message:react", "message:pin", "draft:set"),
    *("message:created", "message:search", "conversation:get", "me:get", "user:put"),
    *("connect", "disconnect", "connect_error", "message", "", " ", "__proto__", "x" * 2_000),
    *(HALF_A_PAIR, "a\x00b\n"),
]


@pytest.mark.one_database
async def test_an_unknown_event_is_answered_and_the_connection_lives_on(
    ada: Person, bob: Person
) -> None:
    scene = await Scene.of(ada, bob)

    for name in UNKNOWN:
        answer = await scene.her.answer(name, {"conversation_id": scene.about.conversation_id})

        assert answer == {
            "ok": False,
            "error": {
                "code": "unknown_event",
                "message": "There is no such event.",
                "retryable": False,
            },
        }, name
    await scene.is_untouched()
    await scene.her.says({"id": scene.about.conversation_id}, "Still here")
    assert await scene.her.heard_names() == await scene.his.heard_names() == ["message:created"]


FAILURES = [
    ('["nonsense", {}]', "nonsense", "unknown_event"),
    ('["nonsense"]', "nonsense", "unknown_event"),
    ('["connect"]', "connect", "unknown_event"),
    ('["disconnect", {}]', "disconnect", "unknown_event"),
    ('["\\ud83d", {}]', "?", "unknown_event"),
    ('["message:send"]', "message:send", "validation_failed"),
    ('["message:send", null]', "message:send", "validation_failed"),
    ('["message:send", {"content": "\\ud83d"}]', "message:send", "validation_failed"),
    ('["message:edit", {"message_id": "x", "content": "y"}]', "message:edit", "not_found"),
]


@pytest.mark.one_database
async def test_a_failure_nobody_wanted_acknowledged_is_told(ada: Person, bob: Person) -> None:
    scene = await Scene.of(ada, bob)

    for packet, event, code in FAILURES:
        await scene.her.send_raw(f"42{packet}")

        ((name, data),) = await scene.her.heard()
        assert (name, set(data)) == ("request:failed", {"event", "error"}), packet
        assert (data["event"], data["error"]["code"]) == (event, code), packet
        assert data["error"].keys() >= {"code", "message", "retryable"}, packet
    await scene.is_untouched()


async def test_a_success_nobody_wanted_acknowledged_is_silent(ada: Person, bob: Person) -> None:
    talk = await ada.creates("direct", bob)
    her, his = await ada.connects(), await bob.connects()
    payload = {"conversation_id": talk["id"], "client_msg_id": "1", "content": "Hi"}

    await her.send_raw(f"42{json.dumps(['message:send', payload])}")

    assert await her.heard_names() == ["message:created"]
    assert (await his.hears("message:created"))["message"]["content"] == "Hi"


async def test_a_token_that_is_no_text_opens_nothing(ada: Person) -> None:
    strange: list[Any] = [HALF_A_PAIR, NUL, "", "é.é.é", 5, None, [], {}]
    for token in strange:
        no = await refused(ada.connects(token=token))
        assert no.code in {"unauthorized", "validation_failed"}, token
    her = await ada.connects()
    for token in strange:
        no = await refused(her.asks("auth:refresh", token=token))
        assert no.code in {"unauthorized", "validation_failed"}, token
    await her.hears_nothing()


async def test_bad_input_of_one_connection_delays_nobody(ada: Person, bob: Person) -> None:
    talk = await ada.creates("direct", bob)
    her, his = await ada.connects(), await bob.connects()
    bad = [his.answer("message:send", {"content": deep()}) for _ in range(20)]
    answers, said = await asyncio.gather(asyncio.gather(*bad), her.says(talk, "Good"))
    assert {answer["error"]["code"] for answer in answers} == {"validation_failed"}
    assert said["seq"] == 1
    assert await her.heard_names() == await his.heard_names() == ["message:created"]
