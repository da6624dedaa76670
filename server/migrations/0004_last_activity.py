"""The order of everybody's list of conversations, beside their memberships."""

from tortoise.migrations.migration import Migration as TortoiseMigration

from server.migrations._dialects import AddColumn, RunOnBoth

INDEXES = [
    # A page of a person's list, and where they are seated first, without looking at the rest.
    """CREATE INDEX IF NOT EXISTS participants_list
        ON participants (user_id, last_activity_at, conversation_id) WHERE is_active""",
    # The few that stand on top, and those that are put away.
    """CREATE INDEX IF NOT EXISTS participants_pinned
        ON participants (user_id) WHERE is_pinned""",
    """CREATE INDEX IF NOT EXISTS participants_archived
        ON participants (user_id) WHERE archived_countable IS NOT NULL""",
]


class Migration(TortoiseMigration):
    """A copy of when something was last said, for each member; null: ask the conversation."""

    dependencies = [("palabre", "0003_append")]
    operations = [AddColumn("participants", "last_activity_at", "BIGINT"), RunOnBoth(INDEXES)]
