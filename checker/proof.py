"""The checker put to the test: every mutant has to be caught, by one of three seeds."""

import asyncio
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click

from checker import mutants, report
from checker.nodes import Bus
from checker.report import Report
from checker.run import Order, run

BUSES = [bus.value for bus in Bus]
SEEDS = (1, 2, 3)


def caught(design: str, seconds: float, out: Path, bus: Bus) -> Iterator[Report]:
    """Yield the reports of a mutant, seed after seed, until one catches it."""
    for seed in SEEDS:
        order = Order(seed, seconds, design=design, bus=bus)
        with tempfile.TemporaryDirectory(prefix="palabre-chaos-") as folder:
            found = report.made(order, asyncio.run(run(order, Path(folder))))
        found.write(out)
        yield found
        if found.crossed:
            return


@click.command()
@click.option("--seconds", type=click.FloatRange(20), default=60, show_default=True)
@click.option("--bus", type=click.Choice(BUSES), default="single", show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("chaos"), show_default=True)
@click.argument("designs", nargs=-1, type=click.Choice(mutants.NAMES))
def main(designs: tuple[str, ...], seconds: float, out: Path, bus: str) -> None:
    """Run mutants, all if none is named; the status is 1 when one of them gets away."""
    got_away = 0
    for design in designs or mutants.NAMES:
        found = list(caught(design, seconds, out, Bus(bus)))
        last = found[-1]
        lines = ", ".join(f"{count.line} ({count.number:,})" for count in last.crossed)
        got_away += not last.crossed
        print(f"{design}: {lines or 'NOT CAUGHT'}; seed {last.order.seed}", flush=True)
    sys.exit(bool(got_away))


if __name__ == "__main__":
    main()
