"""How often somebody may ask: token buckets in the memory of this process."""

import time
from dataclasses import dataclass

from server.config import KeysSettings, LimitsSettings
from server.permissions import Caller

_MANY = 10_000
"""From so many buckets on, those that are full again are thrown away."""


@dataclass(slots=True)
class _Bucket:
    left: float
    at: float


class Buckets:
    """One bucket per connection for requests, one per person for messages, one per server key.

    A rate of 0 is off.
    """

    def __init__(self, limits: LimitsSettings, keys: KeysSettings) -> None:
        """Use the rates of the settings."""
        self._limits = limits
        self._keys = keys
        self._buckets: dict[str, _Bucket] = {}

    def take(self, caller: Caller, *, sends: bool) -> int | None:
        """Count one request and return how many milliseconds too early it is, or None.

        A token of the backend that provisions is not limited: it speaks for everybody, and ends
        soon. A server key does not end, so that a job that runs wild is held.
        """
        if caller.is_service:
            if not caller.is_key:
                return None
            return self._take(caller.user_id, self._keys.rate, self._keys.burst)
        limits = self._limits
        connection = f"event {caller.session_id or caller.user_id}"
        early = self._take(connection, limits.event_rate, limits.event_burst)
        if early is None and sends:
            early = self._take(f"send {caller.user_id}", limits.send_rate, limits.send_burst)
        return early

    def forget(self, caller: Caller) -> None:
        """Drop the bucket of a connection that has ended."""
        self._buckets.pop(f"event {caller.session_id}", None)

    def _take(self, key: str, rate: int, burst: int) -> int | None:
        if rate == 0:
            return None
        now = time.monotonic()
        bucket = self._buckets.get(key)
        if bucket is None:
            self._make_room(now)
            bucket = self._buckets[key] = _Bucket(float(burst), now)
        bucket.left = min(float(burst), bucket.left + (now - bucket.at) * rate)
        bucket.at = now
        if bucket.left < 1:
            return int((1 - bucket.left) / rate * 1_000) + 1
        bucket.left -= 1
        return None

    def _make_room(self, now: float) -> None:
        """Throw away buckets that have been full for a while, when there are many."""
        if len(self._buckets) < _MANY:
            return
        slowest = min(rate for rate in (self._limits.event_rate, self._limits.send_rate, 1) if rate)
        bursts = (self._limits.event_burst, self._limits.send_burst, self._keys.burst)
        full_after = max(bursts) / slowest
        self._buckets = {
            key: bucket for key, bucket in self._buckets.items() if now - bucket.at < full_after
        }
