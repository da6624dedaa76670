"""The ten things that are tried, in their order, and what each of them needs.

Answers are read as the protocol promises them; the caller turns what a missing or strange field
does to that (`LookupError`, `TypeError`, `ValueError`, `AttributeError`) into a problem.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from server.check import picture, problem
from server.check.problem import Problem
from server.check.scene import EXTERNAL_ID, Person, Scene

_LIVE = "a proxy may hold frames back; two processes behind a balancer do not hear each other"


@dataclass(frozen=True, slots=True)
class Step:
    """One line of the report."""

    name: str
    do: Callable[[Scene], Awaitable[None]]
    needs: tuple[str, ...] = ()


async def rest_answers(scene: Scene) -> None:
    """Ask who the two are: both tokens must be good, and not one person's."""
    for person in scene.people:
        try:
            me = await person.api.get("me/")
        except Problem as found:
            raise found.about(f"token {person.letter}") from found
        person.id, person.role = me["id"], me["role"] or ""
        if person.role == "service":
            came = f"token {person.letter} is of role service"
            raise Problem("tokens of two people", came, "leave the role out, or name client")
    if scene.a.id == scene.b.id:
        came = f"both tokens are {scene.a.id}'s"
        raise Problem("tokens of two people", came, "make a token for somebody else too")


async def list_conversations(scene: Scene) -> None:
    """Let A get a page of conversations."""
    page = await scene.a.api.get("conversations/?limit=5")
    if not isinstance(page["results"], list):
        raise problem.of_shape("a list of conversations", page)


async def create(scene: Scene) -> None:
    """Make the one conversation of all checks, or find it, and bring these two into it."""
    talk = await _open_conversation(scene)
    if talk["external_id"] != EXTERNAL_ID:
        raise problem.of_shape(f"the conversation {EXTERNAL_ID}", talk["external_id"])
    await _gather(scene, talk)
    scene.conversation_id = talk["id"]
    scene.last_seq = talk["last_seq"]


async def _open_conversation(scene: Scene) -> dict[str, Any]:
    """Make the conversation or find it; whoever of the two is in it may."""
    refused: Problem | None = None
    for person, other in (scene.people, scene.people[::-1]):
        body = {
            "type": "group",
            "participant_ids": [other.id],
            "title": "Palabre check",
            "external_id": EXTERNAL_ID,
        }
        try:
            return await person.api.post("conversations/create_with_participants/", body)
        except Problem as found:
            if "external_id" not in found.came:
                raise
            refused = found
    hint = "use the tokens of last time, or let the backend (role service) add these two to it"
    came = f"neither {scene.a.id} nor {scene.b.id} is in it, other people are"
    raise Problem(f"the conversation {EXTERNAL_ID} of earlier checks", came, hint) from refused


async def _gather(scene: Scene, talk: dict[str, Any]) -> None:
    """Let the two be the only ones, so that a check with other tokens disturbs nobody."""
    roles = {member["user"]["id"]: member["role"] for member in talk["participants"]}
    wanted = {person.id: person for person in scene.people}
    keeper = next((person for person in scene.people if _keeps(person, roles)), None)
    scene.keeper = keeper
    path = f"conversations/{talk['id']}/participants/"
    missing = [id_ for id_ in wanted if id_ not in roles]
    if missing and keeper is None:
        came = f"{missing[0]} is not, and the other one may not add people"
        hint = "use the tokens of last time, or let the backend (role service) add the missing one"
        raise Problem(f"both to be in the conversation {EXTERNAL_ID}", came, hint)
    if keeper is None:
        return
    if missing:
        await keeper.api.post(path, {"user_ids": missing})
    for id_ in roles.keys() - wanted.keys():
        await keeper.api.delete(f"{path}{quote(id_, safe='')}/")


def _keeps(person: Person, roles: dict[str, str]) -> bool:
    mine = roles.get(person.id)
    return mine in ("owner", "admin") or (mine is not None and person.role == "admin")


async def send(scene: Scene) -> None:
    """Let A send a message over REST."""
    message = await scene.says("Palabre check: sent over REST")
    if message["conversation_id"] != scene.conversation_id or message["is_deleted"]:
        raise problem.of_shape("the message that was sent", message)


async def socket_connects(scene: Scene) -> None:
    """Let both connect and get a seat in the conversation."""
    for person in scene.people:
        connection = await scene.connect(person)
        joined = connection.ready["joined"]
        if scene.conversation_id and scene.conversation_id not in joined:
            expected = f"{person.id} to be seated in the conversation"
            raise Problem(expected, "session:ready.joined does not name it")


async def message_arrives(scene: Scene) -> None:
    """Let A send by socket and B hear it."""
    fields = scene.words("Palabre check: sent over Socket.IO")
    data = {"conversation_id": scene.conversation_id, **fields}
    reply = await scene.a.connection.ask("message:send", data)
    message = reply["message"]
    scene.last_seq = max(scene.last_seq, message["seq"])
    heard = await scene.b.connection.hears(
        "message:created",
        lambda event: bool(event["message"]["id"] == message["id"]),
        expected=f"message:created at {scene.b.id}'s socket",
        hint=_LIVE,
    )
    if heard["message"]["content"] != fields["content"]:
        raise problem.of_shape("the text that was sent", heard["message"]["content"])


async def typing_arrives(scene: Scene) -> None:
    """Let A type and B hear of it."""
    data = {"conversation_id": scene.conversation_id}
    await scene.a.connection.ask("typing:start", data)
    await scene.b.connection.hears(
        "typing:started",
        lambda event: bool(event["user_id"] == scene.a.id),
        expected=f"typing:started at {scene.b.id}'s socket",
        hint=_LIVE,
    )
    await scene.a.connection.ask("typing:stop", data)


async def upload(scene: Scene) -> None:
    """Let A upload and send a picture, and B look at its thumbnail."""
    attachment = await scene.a.api.upload("check.png", picture.png(), "image/png")
    if (attachment["kind"], attachment["state"]) != ("image", "ready"):
        raise problem.of_shape("an image that is ready", attachment)
    await scene.says("", attachment_ids=[attachment["id"]])
    address = attachment["thumbnails"][0]["url"]
    content_type, content = await scene.b.api.fetch(address)
    if not picture.begins_as(content_type, content):
        came = f"{len(content)} bytes came that are none ({content_type or 'no type'})"
        hint = "does something in between change answers, or is the disk of the server damaged?"
        raise Problem("a thumbnail that is a picture", came, hint)


async def read_receipt(scene: Scene) -> None:
    """Let B read and A hear of it."""
    up_to = scene.last_seq
    data = {"conversation_id": scene.conversation_id, "up_to_seq": up_to}
    await scene.b.connection.ask("receipt:read", data)
    await scene.a.connection.hears(
        "receipt:read",
        lambda event: bool(event["user_id"] == scene.b.id and event["up_to_seq"] >= up_to),
        expected=f"receipt:read at {scene.a.id}'s socket",
        hint=_LIVE,
    )


async def reconnect(scene: Scene) -> None:
    """Let A send while B is away, and B get it on coming back."""
    before = scene.b.connection
    memory = {
        "epoch": before.ready["epoch"],
        "cursors": {scene.conversation_id: before.newest(scene.conversation_id)},
    }
    await scene.b.hang_up()
    message = await scene.says("Palabre check: sent while the other was away")
    ready = (await scene.connect(scene.b, **memory)).ready
    missed = [
        one["id"]
        for entry in ready["sync"]["conversations"]
        if entry["id"] == scene.conversation_id
        for one in entry["messages"]
    ]
    if message["id"] not in missed:
        expected = "session:ready.sync to bring what was sent meanwhile"
        came = f"it brought {len(missed)} other messages"
        raise Problem(expected, came, "the server has lost it or forgotten where it stood")


STEPS = (
    Step("REST answers", rest_answers),
    Step("list conversations", list_conversations, ("REST answers",)),
    Step("create one", create, ("REST answers",)),
    Step("send a message", send, ("create one",)),
    Step("socket connects", socket_connects),
    Step("message arrives live", message_arrives, ("create one", "socket connects")),
    Step("typing arrives", typing_arrives, ("create one", "socket connects")),
    Step("upload and thumbnail", upload, ("create one",)),
    Step("read receipt", read_receipt, ("send a message", "socket connects")),
    Step("reconnect and sync", reconnect, ("send a message", "socket connects")),
)
