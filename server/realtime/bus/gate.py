"""What of all that arrives is let in: what one of our nodes says now, and for the first time."""

from collections import Counter
from collections.abc import Callable

from server.clock import now_ms
from server.logs import get_logger
from server.realtime.bus.envelope import Envelope, Kind, RefusedError, Seal
from server.realtime.bus.wire import Server

LATE_MS = 10_000
"""A hint that old is none any more; so far the clocks of nodes may be apart."""

_NODES = 1_000
"""Of so many nodes is remembered which of their envelopes came last."""

log = get_logger("server.bus")


class Gate:
    """Opens what arrives, or counts why it does not."""

    def __init__(
        self, seal: Seal, counts: Counter[str], knows_epoch: Callable[[str], bool]
    ) -> None:
        """Open with a key what belongs to an epoch that is known."""
        self._seal = seal
        self._counts = counts
        self._knows_epoch = knows_epoch
        # What one node says by one server comes in order.
        self._last: dict[tuple[Server, bytes], int] = {}

    def open(self, server: Server, channel: bytes, data: bytes) -> Envelope | None:
        """Return what a server brought; None if it is to be let in nowhere."""
        if self._seal.is_own(data):
            return None
        try:
            envelope = self._seal.open(channel.decode(), data)
            self._require_new(server, envelope)
        except RefusedError as refused:
            self.refuse(refused.reason)
            return None
        self._counts["received"] += 1
        return envelope

    def refuse(self, reason: str) -> None:
        """Count what was not let in, and write down the first of a kind."""
        key = f"refused_{reason}"
        if not self._counts[key]:
            log.warning("something on the bus was refused", why=reason)
        self._counts[key] += 1

    def _require_new(self, server: Server, envelope: Envelope) -> None:
        sender = (server, envelope.node)
        if envelope.id <= self._last.get(sender, 0):
            raise RefusedError("repeated")
        self._last[sender] = envelope.id
        if len(self._last) > _NODES:
            del self._last[next(iter(self._last))]
        if envelope.kind is Kind.LIBRARY:
            return
        if not self._knows_epoch(envelope.epoch):
            raise RefusedError("epoch")
        is_hint = envelope.kind is Kind.EVENT and envelope.number is None
        if is_hint and now_ms() - envelope.sent_ms > LATE_MS:
            raise RefusedError("late")
