"""What an operator reads at /metrics: the numbers of this node, in the form of Prometheus.

Nothing is counted here. Each part of the node keeps plain whole numbers, and they are gathered when
somebody asks. No number is of one person or conversation.
"""

import asyncio
import hmac
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address

from aiohttp import web
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from server import __version__
from server.config import Settings
from server.dispatch import Dispatcher, Registry
from server.errors import ForbiddenError, UnauthorizedError
from server.histogram import Histogram
from server.journal import Journal
from server.realtime.bus import Bus, RedisBus
from server.realtime.connection import Entrance
from server.realtime.feed import Feed
from server.realtime.handshake import address_of
from server.realtime.hub import Hub
from server.realtime.plain import Plain
from server.realtime.sockets import Sockets
from server.uploads import Uploads

PATH = "/metrics"

_LOOK_EVERY_S = 0.25
# With any of these headers, somebody stands between the reader and us.
_FORWARDED = ("Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Proto", "X-Real-IP")

Source = Callable[[], Iterable[Metric]]


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of a node that have numbers."""

    registry: Registry
    dispatcher: Dispatcher
    journal: Journal
    hub: Hub
    feed: Feed
    bus: Bus
    entrance: Entrance
    sockets: Sockets
    plain: Plain
    uploads: Uploads


class Metrics(Collector):
    """Gathers the numbers of a node when it is asked, and knows whom to tell."""

    def __init__(self, settings: Settings) -> None:
        """Begin with nothing but the process itself."""
        self._settings = settings
        self._sources: list[Source] = [_version]
        self._lateness = Histogram(unit=0.001, bounds=14)
        self._looking: asyncio.Task[None] | None = None
        self._all = CollectorRegistry(auto_describe=False)
        self._all.register(self)
        ProcessCollector(registry=self._all)

    def add(self, source: Source) -> None:
        """Gather from this, too."""
        self._sources.append(source)

    def add_parts(self, parts: Parts) -> None:
        """Gather from the parts of a node."""
        self.add(lambda: _connections(parts))
        self.add(lambda: _requests(parts))
        self.add(lambda: _storing(parts.journal))
        self.add(lambda: _telling(parts.hub, parts.feed))
        self.add(lambda: _between_nodes(parts.bus))

    def collect(self) -> Iterator[Metric]:
        """Yield everything, as the library asks for it."""
        for source in self._sources:
            yield from source()
        yield _histogram(
            "palabre_loop_lag_seconds", "How late the event loop came to a timer.", self._lateness
        )

    # The loop

    def start(self) -> None:
        """Begin to look how late the event loop is."""
        if self._settings.metrics.enabled:
            self._looking = asyncio.create_task(self._look())

    async def _look(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + _LOOK_EVERY_S
            await asyncio.sleep(_LOOK_EVERY_S)
            self._lateness.add(max(0.0, loop.time() - due))

    def close(self) -> None:
        """Stop looking."""
        if self._looking is not None:
            self._looking.cancel()

    # The page

    def attach(self, app: web.Application) -> None:
        """Serve the page, if there is to be one."""
        if self._settings.metrics.enabled:
            app.router.add_get(PATH, self._page)
            app.router.add_get(f"{PATH}/", self._page)

    async def _page(self, request: web.Request) -> web.StreamResponse:
        self._require_reader(request)
        encode, kind = choose_encoder(request.headers.get("Accept", ""))
        headers = {"Content-Type": kind, "Cache-Control": "no-store"}
        return web.Response(body=encode(self._all), headers=headers)

    def _require_reader(self, request: web.Request) -> None:
        """Raise the refusal of whoever is not to read this."""
        token = self._settings.metrics.token
        if token:
            scheme, _, given = request.headers.get("Authorization", "").partition(" ")
            is_right = hmac.compare_digest(given.strip().encode(), token.encode())
            if scheme.lower() != "bearer" or not is_right:
                message = "The token of metrics.token is needed."
                raise UnauthorizedError(message)
        elif not self._is_near(request):
            message = "Metrics are for metrics.networks, or with metrics.token for who has that."
            raise ForbiddenError(message)

    def _is_near(self, request: web.Request) -> bool:
        """Return whether a reader is in one of the networks; behind a strange proxy nobody is."""
        proxies = self._settings.http.proxy_networks()
        peer = ip_address(request.remote or "::")
        passed_on = any(name in request.headers for name in _FORWARDED)
        if passed_on and not any(peer in network for network in proxies):
            return False
        try:
            reader = ip_address(address_of(request, proxies))
        except ValueError:
            return False
        return any(reader in network for network in self._settings.metrics.reader_networks())


def _version() -> Iterator[Metric]:
    yield _gauge("palabre_build_info", "The version that runs.", {__version__: 1}, label="version")


def _connections(parts: Parts) -> Iterator[Metric]:
    entrance, polling = parts.entrance, parts.sockets.polling
    yield _gauge(
        "palabre_connections",
        "The connections that are open, strangers among them.",
        {
            "socketio": len(parts.sockets.everybody) - polling,
            "polling": polling,
            "plain": len(parts.plain.everybody),
        },
        label="door",
    )
    yield _gauge(
        "palabre_strangers",
        "The connections that have not said who they are.",
        entrance.watch.strangers,
    )
    yield _gauge("palabre_people", "The people who are connected.", parts.hub.people)
    yield _counter("palabre_admitted", "Connections that were let in.", entrance.admitted)
    yield _counter(
        "palabre_not_admitted", "Connections that were refused.", entrance.refused, label="code"
    )
    yield _counter(
        "palabre_cut", "Connections that the server has cut.", entrance.cut, label="reason"
    )
    yield _counter("palabre_shed", "Hints that were left out for a slow client.", entrance.shed)
    yield _gauge(
        "palabre_slow", "The connections that do not take what waits for them.", entrance.watch.slow
    )
    yield _gauge("palabre_uploads", "The uploads that are under way.", parts.uploads.under_way)


def _requests(parts: Parts) -> Iterator[Metric]:
    about = "Requests that were answered, by event and code."
    family = CounterMetricFamily("palabre_requests", about, labels=("event", "code"))
    for request in parts.registry.requests.values():
        family.add_metric((request.name, "ok"), request.tally.answered)
        for code, count in request.tally.refused.items():
            family.add_metric((request.name, code), count)
    family.add_metric(("", "unknown_event"), parts.dispatcher.unknown)
    yield family
    yield _gauge(
        "palabre_requests_waiting", "Requests that are not answered yet.", parts.dispatcher.waiting
    )


def _storing(journal: Journal) -> Iterator[Metric]:
    yield _gauge("palabre_journal_waiting", "Sends that are not stored yet.", journal.waiting)
    yield _gauge("palabre_journal_waiting_bytes", "Their bytes.", journal.waiting_bytes)
    yield _histogram("palabre_batch_size", "The sends that were stored at a time.", journal.sizes)
    yield _histogram("palabre_batch_seconds", "How long that took.", journal.times)


def _between_nodes(bus: Bus) -> Iterator[Metric]:
    if not isinstance(bus, RedisBus):
        return
    yield GaugeMetricFamily(
        "palabre_bus_up", "Whether everything that other nodes say is heard.", value=int(bus.is_up)
    )
    what = CounterMetricFamily(
        "palabre_bus", "What became of what travels between nodes.", labels=["what"]
    )
    for name, count in sorted(bus.counts.items()):
        what.add_metric([name], count)
    yield what


def _telling(hub: Hub, feed: Feed) -> Iterator[Metric]:
    about = "From the commit to the last write on this node, of one event in each batch."
    yield _histogram("palabre_commit_to_write_seconds", about, hub.lags)
    yield _gauge("palabre_hub_waiting_bytes", "What waits to be written.", hub.behind_bytes)
    yield _gauge("palabre_hosted", "The conversations that somebody here hears.", hub.rooms)
    yield _counter(
        "palabre_feed_repairs",
        "How often missing events were read from the database.",
        feed.repairs,
    )
    yield _counter("palabre_feed_repaired_events", "The events that were missing.", feed.repaired)
    yield _counter(
        "palabre_feed_resyncs", "How often so many were missing that all had to ask.", feed.jumps
    )
    yield _counter(
        "palabre_feed_failures", "How often the database could not be asked.", feed.failures
    )


def _gauge(
    name: str, about: str, value: float | dict[str, int], *, label: str = ""
) -> GaugeMetricFamily:
    if not isinstance(value, dict):
        return GaugeMetricFamily(name, about, value=value)
    family = GaugeMetricFamily(name, about, labels=(label,))
    _fill(family, value)
    return family


def _counter(
    name: str, about: str, value: float | dict[str, int], *, label: str = ""
) -> CounterMetricFamily:
    if not isinstance(value, dict):
        return CounterMetricFamily(name, about, value=value)
    family = CounterMetricFamily(name, about, labels=(label,))
    _fill(family, value)
    return family


def _fill(family: GaugeMetricFamily | CounterMetricFamily, numbers: dict[str, int]) -> None:
    for of, number in numbers.items():
        family.add_metric((of,), number)


def _histogram(name: str, about: str, counted: Histogram) -> HistogramMetricFamily:
    buckets = [
        ("+Inf" if bound == float("inf") else f"{bound:g}", count)
        for bound, count in counted.up_to()
    ]
    return HistogramMetricFamily(name, about, buckets=buckets, sum_value=counted.total)
