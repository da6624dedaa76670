"""When people were last there, who does not want to be seen, and where something may be unread."""

from tortoise.migrations.migration import Migration as TortoiseMigration

from server.migrations._dialects import AddColumn, RunOnBoth

TABLES = [
    # Apart from the profiles: nobody who writes in conversations waits for somebody's leaving.
    """CREATE TABLE IF NOT EXISTS presences (
        user_id {key} NOT NULL PRIMARY KEY REFERENCES users (id),
        last_active_at BIGINT,
        is_invisible {bool} NOT NULL
    ){hot}""",
]

INDEXES = [
    # What a counter has to look at, of however many memberships.
    """CREATE INDEX IF NOT EXISTS participants_behind
        ON participants (user_id, is_behind, archived_countable)
        WHERE is_active AND (is_behind IS NOT FALSE OR marked_unread)""",
]


class Migration(TortoiseMigration):
    """What is kept of presence; and for each member, whether something may be unread."""

    dependencies = [("palabre", "0005_server_keys")]
    operations = [
        RunOnBoth(TABLES),
        AddColumn("participants", "is_behind", "BOOLEAN"),
        RunOnBoth(INDEXES),
    ]
