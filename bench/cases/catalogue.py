"""Every case, in the order of the report."""

from bench.cases import bystanders, connections, fanout, pages, sends
from bench.cases.case import Case


def every() -> list[Case]:
    """Return every case."""
    return [
        *fanout.cases(),
        *sends.cases(),
        *connections.cases(),
        *pages.cases(),
        *bystanders.cases(),
    ]
