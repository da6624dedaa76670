"""Keys of programs."""

from tortoise.migrations.migration import Migration as TortoiseMigration

from server.migrations._dialects import RunOnBoth

TABLES = [
    """CREATE TABLE IF NOT EXISTS server_keys (
        name {key} NOT NULL PRIMARY KEY,
        digest VARCHAR(64) NOT NULL UNIQUE,
        created_at BIGINT NOT NULL,
        last_used_at BIGINT
    )""",
]


class Migration(TortoiseMigration):
    """What programs present instead of a token."""

    dependencies = [("palabre", "0004_last_activity")]
    operations = [RunOnBoth(TABLES)]
