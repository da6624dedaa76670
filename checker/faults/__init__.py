"""Everything that goes wrong, by what it befalls: how it is broken, and how it is made whole."""

from collections.abc import Mapping

from checker.faults import bus, clients, database, nodes
from checker.weather import Kind

KINDS: Mapping[str, Kind] = {**nodes.KINDS, **database.KINDS, **bus.KINDS, **clients.KINDS}
