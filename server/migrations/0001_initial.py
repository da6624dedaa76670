"""People, conversations, memberships, messages."""

from tortoise.migrations.migration import Migration as TortoiseMigration

from server.migrations._dialects import RunOnBoth

TABLES = [
    """CREATE TABLE IF NOT EXISTS installation (
        key {key} NOT NULL PRIMARY KEY,
        value TEXT NOT NULL
    )""",
    """CREATE TABLE IF NOT EXISTS users (
        id {key} NOT NULL PRIMARY KEY,
        name VARCHAR(200) NOT NULL DEFAULT '',
        search_name VARCHAR(400) NOT NULL DEFAULT '',
        avatar_url VARCHAR(2000),
        role VARCHAR(16),
        metadata TEXT NOT NULL DEFAULT '{{}}',
        user_seq BIGINT NOT NULL DEFAULT 0,
        created_at BIGINT NOT NULL,
        updated_at BIGINT NOT NULL
    ){hot}""",
    """CREATE TABLE IF NOT EXISTS conversations (
        id {id} NOT NULL PRIMARY KEY,
        type VARCHAR(16) NOT NULL,
        title VARCHAR(200),
        search_title VARCHAR(400) NOT NULL DEFAULT '',
        avatar_url VARCHAR(2000),
        client VARCHAR(200),
        property VARCHAR(200),
        external_id VARCHAR(200) UNIQUE,
        direct_key VARCHAR(140) UNIQUE,
        metadata TEXT NOT NULL DEFAULT '{{}}',
        is_active {bool} NOT NULL DEFAULT {true},
        created_by {key} NOT NULL,
        created_at BIGINT NOT NULL,
        updated_at BIGINT NOT NULL,
        last_activity_at BIGINT NOT NULL,
        participants_count INT NOT NULL DEFAULT 0,
        last_seq BIGINT NOT NULL DEFAULT 0,
        head BIGINT NOT NULL DEFAULT 0,
        event_seq BIGINT NOT NULL DEFAULT 0,
        purged_seq BIGINT NOT NULL DEFAULT 0,
        countable BIGINT NOT NULL DEFAULT 0
    ){hot}""",
    """CREATE TABLE IF NOT EXISTS participants (
        id {id} NOT NULL PRIMARY KEY,
        conversation_id {id} NOT NULL REFERENCES conversations (id),
        user_id {key} NOT NULL REFERENCES users (id),
        role VARCHAR(16) NOT NULL,
        is_active {bool} NOT NULL DEFAULT {true},
        event_seq BIGINT NOT NULL,
        user_seq BIGINT NOT NULL,
        joined_at BIGINT NOT NULL,
        left_at BIGINT,
        read_seq BIGINT NOT NULL DEFAULT 0,
        delivered_seq BIGINT NOT NULL DEFAULT 0,
        read_countable BIGINT NOT NULL DEFAULT 0,
        archived_countable BIGINT,
        archived_seq BIGINT,
        is_pinned {bool} NOT NULL,
        muted_until BIGINT,
        marked_unread {bool} NOT NULL
    ){hot}""",
    # No foreign key: the conversation is locked and the sender checked by whoever inserts.
    """CREATE TABLE IF NOT EXISTS messages (
        id {id} NOT NULL PRIMARY KEY,
        conversation_id {id} NOT NULL,
        seq BIGINT NOT NULL,
        event_seq BIGINT NOT NULL,
        sender_id {key} NOT NULL,
        client_msg_id VARCHAR(64),
        fingerprint VARCHAR(64),
        type VARCHAR(16) NOT NULL,
        content TEXT NOT NULL,
        metadata TEXT NOT NULL DEFAULT '{{}}',
        system TEXT,
        version INT NOT NULL DEFAULT 1,
        countable BIGINT NOT NULL,
        edited_at BIGINT,
        deleted_at BIGINT,
        created_at BIGINT NOT NULL
    )""",
    """CREATE TABLE IF NOT EXISTS message_versions (
        id {id} NOT NULL PRIMARY KEY,
        message_id {id} NOT NULL,
        version INT NOT NULL,
        content TEXT NOT NULL,
        created_at BIGINT NOT NULL
    )""",
    """CREATE TABLE IF NOT EXISTS hidden_messages (
        id {id} NOT NULL PRIMARY KEY,
        user_id {key} NOT NULL,
        message_id {id} NOT NULL,
        conversation_id {id} NOT NULL,
        user_seq BIGINT NOT NULL
    )""",
]

INDEXES = [
    """CREATE UNIQUE INDEX IF NOT EXISTS participants_member
        ON participants (conversation_id, user_id)""",
    "CREATE INDEX IF NOT EXISTS participants_changes ON participants (conversation_id, event_seq)",
    "CREATE INDEX IF NOT EXISTS participants_personal ON participants (user_id, user_seq)",
    "CREATE UNIQUE INDEX IF NOT EXISTS messages_seq ON messages (conversation_id, seq)",
    "CREATE INDEX IF NOT EXISTS messages_changes ON messages (conversation_id, event_seq)",
    # Asking again with the same client_msg_id finds the message that it made, for ever.
    """CREATE UNIQUE INDEX IF NOT EXISTS messages_once
        ON messages (conversation_id, sender_id, client_msg_id)
        WHERE client_msg_id IS NOT NULL""",
    # The few messages that the subtraction behind unread_count must leave out.
    """CREATE INDEX IF NOT EXISTS messages_deleted
        ON messages (conversation_id, seq)
        WHERE deleted_at IS NOT NULL AND type <> 'system'""",
    "CREATE UNIQUE INDEX IF NOT EXISTS versions_order ON message_versions (message_id, version)",
    "CREATE UNIQUE INDEX IF NOT EXISTS hidden_once ON hidden_messages (user_id, message_id)",
    "CREATE INDEX IF NOT EXISTS hidden_personal ON hidden_messages (user_id, user_seq)",
    "CREATE INDEX IF NOT EXISTS users_by_name ON users (search_name)",
]


class Migration(TortoiseMigration):
    """The first tables."""

    initial = True
    operations = [RunOnBoth(TABLES + INDEXES)]
