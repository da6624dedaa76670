"""Attachments."""

from tortoise.migrations.migration import Migration as TortoiseMigration

from server.migrations._dialects import RunOnBoth

TABLES = [
    # No foreign keys, as for messages: whoever writes holds the locks and has looked.
    """CREATE TABLE IF NOT EXISTS attachments (
        id {id} NOT NULL PRIMARY KEY,
        owner_id {key} NOT NULL,
        conversation_id {id},
        message_id {id},
        position INT NOT NULL DEFAULT 0,
        state VARCHAR(16) NOT NULL,
        kind VARCHAR(16) NOT NULL,
        name VARCHAR(255) NOT NULL,
        content_type VARCHAR(127) NOT NULL,
        size BIGINT NOT NULL,
        sha256 VARCHAR(64) NOT NULL,
        width INT,
        height INT,
        blurhash VARCHAR(100),
        thumbnails TEXT NOT NULL DEFAULT '[]',
        created_at BIGINT NOT NULL
    )""",
]

INDEXES = [
    # No two files in one place, and all files of a page of messages in one look.
    """CREATE UNIQUE INDEX IF NOT EXISTS attachments_of_message
        ON attachments (message_id, position) WHERE message_id IS NOT NULL""",
    # What a person holds and has not sent, and what nobody ever sent.
    """CREATE INDEX IF NOT EXISTS attachments_unsent
        ON attachments (owner_id) WHERE message_id IS NULL""",
    """CREATE INDEX IF NOT EXISTS attachments_waiting
        ON attachments (created_at) WHERE message_id IS NULL""",
    # What was given up and may still have bytes on the disk.
    """CREATE INDEX IF NOT EXISTS attachments_given_up
        ON attachments (id) WHERE state = 'deleted'""",
]


class Migration(TortoiseMigration):
    """Files and images of messages."""

    dependencies = [("palabre", "0001_initial")]
    operations = [RunOnBoth(TABLES + INDEXES)]
