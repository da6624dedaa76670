"""Socket.IO packets as text, encoded once whatever the number of those who hear them.

The format is that of the Socket.IO protocol, revision 5: `2["event",data]` for an event and
`3<id>[data]` for an acknowledgement, both in the namespace `/`.
"""

from typing import Any

import orjson


def event(name: str, data: dict[str, Any]) -> str:
    """Return the packet of an event."""
    return "2" + orjson.dumps([name, data]).decode()


def acknowledgement(ack_id: int, answer: dict[str, Any]) -> str:
    """Return the packet that answers a request."""
    return f"3{ack_id}" + orjson.dumps([answer]).decode()
