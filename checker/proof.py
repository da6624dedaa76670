"""The checker put to the test: every mutant has to be caught, by one of three seeds."""

import asyncio
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click

from checker import mutants, report
from checker.report import Report
from checker.run import Order, run

SEEDS = (1, 2, 3)


def caught(design: str, seconds: float, out: Path, *, with_bus: bool) -> Iterator[Report]:
    """Yield the reports of a mutant, seed after seed, until one catches it."""
    for seed in SEEDS:
        order = Order(seed, seconds, design=design, with_bus=with_bus)
        with tempfile.TemporaryDirectory(prefix="palabre-chaos-") as folder:
            found = report.made(order, asyncio.run(run(order, Path(folder))))
        found.write(out)
        yield found
        if found.crossed:
            return


@click.command()
@click.option("--seconds", type=click.FloatRange(20), default=60, show_default=True)
@click.option("--bus/--no-bus", "with_bus", default=True, help="Whether nodes have Valkey.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("chaos"), show_default=True)
@click.argument("designs", nargs=-1, type=click.Choice(mutants.NAMES))
def main(designs: tuple[str, ...], seconds: float, out: Path, *, with_bus: bool) -> None:
    """Run mutants, all if none is named; the status is 1 when one of them gets away."""
    got_away = 0
    for design in designs or mutants.NAMES:
        found = list(caught(design, seconds, out, with_bus=with_bus))
        last = found[-1]
        lines = ", ".join(f"{count.line} ({count.number:,})" for count in last.crossed)
        got_away += not last.crossed
        print(f"{design}: {lines or 'NOT CAUGHT'}; seed {last.order.seed}", flush=True)
    sys.exit(bool(got_away))


if __name__ == "__main__":
    main()
