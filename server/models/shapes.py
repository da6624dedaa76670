"""The objects of the wire as SQL: rows become JSON where they lie, without a model object each.

What an object looks like is said by the functions beside the tables (`message()`, `participant()`,
…), which events and most answers use. Here stands the same for the pages that are read most, and
`tests/test_reads_shapes.py` holds both against each other. The text is the one `orjson` would make:
no spaces, in the same order.

The names of aliases are ours: never put a value from outside into these.
"""

from server.models import sql
from server.models.attachment import ADDRESS, THUMBNAIL_ADDRESS


def message(alias: str, sender: str) -> str:
    """Return the expression for a message as its room sees it; `sender` is its user's row."""
    m, nothing = alias, sql.as_json("'[]'")
    return sql.json_object(
        id=f"{m}.id",
        conversation_id=f"{m}.conversation_id",
        seq=f"{m}.seq",
        event_seq=f"{m}.event_seq",
        client_msg_id=f"{m}.client_msg_id",
        sender=_person(sender),
        type=f"{m}.type",
        content=f"{m}.content",
        attachments=files(m),
        reply_to="NULL",
        mentions=nothing,
        reactions=nothing,
        metadata=sql.as_json(f"{m}.metadata"),
        system=sql.as_json(f"{m}.system"),
        is_pinned=sql.flag("1 = 0"),
        is_edited=sql.flag(f"{m}.edited_at IS NOT NULL"),
        edited_at=sql.time(f"{m}.edited_at"),
        version=f"{m}.version",
        is_deleted=sql.flag(f"{m}.deleted_at IS NOT NULL"),
        deleted_at=sql.time(f"{m}.deleted_at"),
        created_at=sql.time(f"{m}.created_at"),
    )


def seen_message(alias: str, sender: str, *, own: str, delivered: str, read: str) -> str:
    """Return the text of a message as person `$1` sees it.

    `own` is that person's read cursor, `delivered` and `read` are the lowest of the others.
    """
    m = alias
    status = (
        f"CASE WHEN {m}.seq <= {read} THEN 'read' "
        f"WHEN {m}.seq <= {delivered} THEN 'delivered' ELSE 'sent' END"
    )
    is_read = f"CASE WHEN {m}.seq <= {own} THEN 'true' ELSE 'false' END"
    return (
        f"{sql.left_open(message(m, sender))} || CASE WHEN {m}.sender_id = $1 "
        f"THEN ',\"status\":\"' || {status} || '\"}}' ELSE ',\"is_read\":' || {is_read} || '}}' END"
    )


def files(alias: str) -> str:
    """Return the expression for the attachments of a message; only two types can have some."""
    nothing = sql.as_json("'[]'")
    return (
        f"CASE WHEN {alias}.type IN ('image', 'file') AND {alias}.deleted_at IS NULL "
        f"THEN {_attachments(alias)} ELSE {nothing} END"
    )


def _attachments(message_alias: str) -> str:
    address, _, tail = ADDRESS.partition("{id}")
    one = sql.json_object(
        id="a.id",
        kind="a.kind",
        name="a.name",
        content_type="a.content_type",
        size="a.size",
        width="a.width",
        height="a.height",
        blurhash="a.blurhash",
        state="a.state",
        url=f"'{address}' || a.id || '{tail}'",
        thumbnails=_thumbnails(),
        sha256="a.sha256",
    )
    return sql.json_list(
        one,
        f"attachments a WHERE a.message_id = {message_alias}.id AND a.state <> 'deleted'",
        order="a.position",
    )


def _thumbnails() -> str:
    head, _, rest = THUMBNAIL_ADDRESS.partition("{id}")
    middle, _, tail = rest.partition("{label}")
    label = sql.member("t", "label")
    one = sql.json_object(
        width=sql.member("t", "width", of="bigint"),
        height=sql.member("t", "height", of="bigint"),
        url=f"'{head}' || a.id || '{middle}' || {label} || '{tail}'",
    )
    return sql.json_list(one, sql.members("a.thumbnails", "t"), order=sql.place("t"))


def _person(alias: str) -> str:
    return sql.json_object(
        id=f"{alias}.id",
        name=f"{alias}.name",
        avatar_url=f"{alias}.avatar_url",
        role=f"{alias}.role",
    )


def user(alias: str) -> str:
    """Return the expression for a profile."""
    return sql.json_object(
        id=f"{alias}.id",
        name=f"{alias}.name",
        avatar_url=f"{alias}.avatar_url",
        role=f"{alias}.role",
        metadata=sql.as_json(f"{alias}.metadata"),
    )


def participant(alias: str, profile: str) -> str:
    """Return the expression for a membership; `profile` is its user's row."""
    p = alias
    return sql.json_object(
        user=user(profile),
        role=f"{p}.role",
        event_seq=f"{p}.event_seq",
        is_active=sql.flag(f"{p}.is_active"),
        joined_at=sql.time(f"{p}.joined_at"),
        left_at=sql.time(f"{p}.left_at"),
        read_seq=f"{p}.read_seq",
        delivered_seq=f"{p}.delivered_seq",
    )


def receipt(alias: str) -> str:
    """Return the expression for how far one person has received and read."""
    return sql.json_object(
        user_id=f"{alias}.user_id",
        read_seq=f"{alias}.read_seq",
        delivered_seq=f"{alias}.delivered_seq",
    )


def conversation(alias: str, *, participants: str, last_message: str, mine: str) -> str:
    """Return the expression for a conversation as one person sees it."""
    c = alias
    plain = {name: f"{c}.{name}" for name in _PLAIN_BEFORE}
    numbers = {name: f"{c}.{name}" for name in _PLAIN_AFTER}
    return sql.json_object(
        **plain,
        metadata=sql.as_json(f"{c}.metadata"),
        is_active=sql.flag(f"{c}.is_active"),
        **numbers,
        created_at=sql.time(f"{c}.created_at"),
        updated_at=sql.time(f"{c}.updated_at"),
        participants=participants,
        last_message=last_message,
        my=mine,
    )


_PLAIN_BEFORE = ("id", "type", "title", "avatar_url", "client", "property", "external_id")
_PLAIN_AFTER = (
    *("participants_count", "last_seq", "event_seq", "head", "purged_seq"),
    "created_by",
)


def my(alias: str, *, unread: str, archived: str) -> str:
    """Return the expression for what only one person sees of a conversation."""
    p = alias
    return sql.json_object(
        role=f"{p}.role",
        joined_at=sql.time(f"{p}.joined_at"),
        read_seq=f"{p}.read_seq",
        delivered_seq=f"{p}.delivered_seq",
        unread_count=unread,
        is_archived=sql.flag(archived),
        archived_seq=f"CASE WHEN {archived} THEN {p}.archived_seq END",
        is_pinned=sql.flag(f"{p}.is_pinned"),
        muted_until=sql.time(f"{p}.muted_until"),
        marked_unread=sql.flag(f"{p}.marked_unread"),
        draft="NULL",
        user_seq=f"{p}.user_seq",
    )
