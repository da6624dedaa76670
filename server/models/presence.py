"""What is kept of a person's presence when their last connection has ended."""

from tortoise import fields
from tortoise.models import Model

from server.models.table import Table


class Presence(Table):
    """When a person was last there, and whether they want to be seen at all."""

    user_id = fields.CharField(max_length=64, primary_key=True)
    # Null: never seen leaving. It stands still while the person is invisible.
    last_active_at = fields.BigIntField(null=True)
    is_invisible = fields.BooleanField(default=False)

    class Meta(Model.Meta):
        """Where it is stored."""

        table = "presences"
