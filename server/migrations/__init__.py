"""Schema changes, written by hand, additive, one numbered file each.

Never generated: on SQLite the generated ones rebuild tables and lose rows and indexes. Every
statement can be run twice, because a migration is recorded only after it has committed.
"""
