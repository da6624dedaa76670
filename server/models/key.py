"""Server keys: what programs of the embedding application present instead of a token."""

from tortoise import fields
from tortoise.models import Model

from server.models.table import Table


class ServerKey(Table):
    """A key by its name; of the key itself only a digest is kept."""

    name = fields.CharField(max_length=64, primary_key=True)
    digest = fields.CharField(max_length=64, unique=True)
    created_at = fields.BigIntField()
    last_used_at = fields.BigIntField(null=True)

    class Meta(Model.Meta):
        """Where it is stored."""

        table = "server_keys"
