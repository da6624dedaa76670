"""Facts about this database as a whole."""

from tortoise import fields
from tortoise.models import Model

from server.models.table import Table


class Installation(Table):
    """One fact by name.

    `epoch` changes when the database is replaced by an older copy; `file_key` signs addresses.
    """

    key = fields.CharField(max_length=64, primary_key=True)
    value = fields.TextField()

    class Meta(Model.Meta):
        """Where it is stored."""

        table = "installation"
