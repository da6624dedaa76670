"""`python -m checker`: run a town under faults and say what was found; `make chaos` is this."""

import asyncio
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click

from checker import mutants, report
from checker.faults import KINDS
from checker.nodes import NAIVE, Bus
from checker.report import Report
from checker.run import Order, run

BUSES = [bus.value for bus in Bus]
DESIGNS = [*mutants.NAMES, NAIVE]


@click.command()
@click.option("--seed", type=int, default=1, show_default=True, help="What is drawn by lot.")
@click.option("--seconds", type=click.FloatRange(20), default=120, show_default=True)
@click.option("--nodes", type=click.IntRange(2), default=3, show_default=True)
@click.option("--design", type=click.Choice(DESIGNS), help="A mutant, or the naive way.")
@click.option("--bus", type=click.Choice(BUSES), default="single", show_default=True)
@click.option("--without", type=click.Choice(list(KINDS)), multiple=True, help="Leave out a fault.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("chaos"), show_default=True)
@click.option("--logs", type=click.Path(path_type=Path), help="Where the nodes' logs are kept.")
def main(  # noqa: PLR0913, PLR0917 (one argument per option)
    seed: int,
    seconds: float,
    nodes: int,
    design: str | None,
    without: tuple[str, ...],
    bus: str,
    out: Path,
    logs: Path | None,
) -> None:
    """Run a town under faults, judge what was heard, and write a page of it.

    The status is 1 when a line was crossed, 3 when the run proves nothing or was slow.
    """
    # Whoever ends it, the nodes end with it.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    order = Order(seed, seconds, nodes, design or "", Bus(bus), without)
    with tempfile.TemporaryDirectory(prefix="palabre-chaos-") as folder:
        case = asyncio.run(run(order, Path(folder)))
        found = report.made(order, case)
        path = found.write(out)
        if logs:
            shutil.copytree(folder, logs, dirs_exist_ok=True)
    for line in said(found):
        print(line)
    print(f"The page: {path}")
    sys.exit(status(found))


def said(found: Report) -> Iterator[str]:
    """Return what a run comes to, in lines."""
    for count in found.counts:
        yield f"{count.number:6,}  {count.line}"
        yield from (f"        {example}" for example in count.examples)
    yield from found.slowest
    for bar in (*found.seen, *found.kept):
        relation = "at most" if bar.is_most else "at least"
        held = "" if bar.is_held else "   NOT HELD"
        yield f"{bar.value:10,.3f}  {bar.what} ({relation} {bar.wanted:g}){held}"


def status(found: Report) -> int:
    """Return 0 for a good run, 1 when a line is crossed, 3 when it proves nothing or is slow."""
    if not found.is_safe:
        return 1
    return 3 if found.is_void or not all(bar.is_held for bar in found.kept) else 0


if __name__ == "__main__":
    main()
