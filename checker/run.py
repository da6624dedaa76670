"""One run: a town is built, lives under a schedule of faults, comes to rest and is judged."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random

import aiohttp

from checker import truth
from checker.device import Circumstances, Device, LostError
from checker.faults import KINDS
from checker.history import History
from checker.judge import Case
from checker.nodes import Bus
from checker.people import Person
from checker.rule import RULES, Rule
from checker.schedule import planned
from checker.scripted import Scripted, scripted
from checker.stage import built
from checker.town import Town, peopled
from checker.truth import Life
from checker.weather import Kind, Weather

FULL_S = 120
"""The length of a run for which the bars are meant; those of a shorter one are in proportion."""
EACH = 3
"""How often each fault happens in a full run, at least."""

_PAUSE_S = 0.08
_MOVES_S = 2.6
_FINISH_S = 20.0
_QUIET_S = 60.0
_LAST_WORDS = 5


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be run."""

    seed: int
    seconds: float
    nodes: int = 3
    design: str = ""
    """Empty for Palabre as it is, else a mutant of it or the naive way."""
    bus: Bus = Bus.SINGLE
    without: tuple[str, ...] = ()
    """Faults that are left out, to look for the cause of something."""

    @property
    def kinds(self) -> Mapping[str, Kind]:
        """Return the faults that can happen."""
        return {
            name: kind
            for name, kind in KINDS.items()
            if self.bus in kind.buses and name not in self.without
        }

    @property
    def each(self) -> int:
        """Return how often each fault has to happen."""
        return max(1, int(EACH * self.seconds / FULL_S))


async def run(order: Order, folder: Path) -> Case:
    """Run what is ordered, with files in a folder, and return what there is to judge."""
    history = History()
    chance = Random(order.seed)  # noqa: S311 (a schedule, not a secret)
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=5)
    async with (
        built(order.nodes, folder, order.design, order.bus) as stage,
        aiohttp.ClientSession(timeout=timeout) as http,
    ):
        around = Circumstances(http, history, stage.nodes, chance)
        rule = RULES.get(order.design, Rule)
        town = await peopled(around, stage.nodes[0].door.url, rule)
        weather = Weather(stage, history, chance, [Life(time.time())])
        async with scripted(history, stage.balancer.url, town.scripted) as others:
            try:
                await _live(order, town, weather, others)
                await _rest(town)
                believers = [*(device.believes() for device in town.devices), *await others.leave()]
            finally:
                await asyncio.gather(*(device.close() for device in town.devices))
        async with stage.connected() as connection:
            await truth.read(connection, weather.lives[-1])
        return Case(history, weather.lives, believers)


async def _live(order: Order, town: Town, weather: Weather, others: Scripted) -> None:
    """Let everybody live for as long as ordered, and the faults happen."""
    for device in town.devices:
        device.start()
    await asyncio.gather(*(device.online() for device in town.devices))
    history = weather.history
    history.began_at = time.time()
    end = asyncio.Event()
    living = [
        asyncio.create_task(person.live(town.talks, _PAUSE_S, end))
        for person in (*town.people, *town.owners)
    ]
    # Each owner moves people by a request of their own, beside what they say.
    living += [
        asyncio.create_task(owner.keeps(talk, _MOVES_S, end))
        for owner, talk in zip(town.owners, town.talks, strict=True)
    ]
    await _happen(order, weather)
    end.set()
    living.append(asyncio.create_task(others.stop()))
    done, late = await asyncio.wait(living, timeout=_FINISH_S)
    for task in late:
        task.cancel()
    await asyncio.gather(*late, return_exceptions=True)
    for task in done:
        task.result()
    history.ended_at = time.time()


async def _happen(order: Order, weather: Weather) -> None:
    """Let every planned fault happen at its time, one after the other on each track."""
    began, kinds = time.monotonic(), order.kinds
    plan = planned(kinds, order.each, order.seconds, weather.chance)
    tracks: dict[object, list[tuple[float, str]]] = {}
    for due in plan:
        tracks.setdefault(kinds[due.kind].track, []).append((due.at_s, due.kind))

    async def follow(dues: Sequence[tuple[float, str]]) -> None:
        for at_s, name in dues:
            await asyncio.sleep(began + at_s - time.monotonic())
            await kinds[name].happens(weather, name)

    async with asyncio.TaskGroup() as group:
        for dues in tracks.values():
            group.create_task(follow(dues))
        group.create_task(asyncio.sleep(order.seconds))
    await weather.stage.serves()


async def _rest(town: Town) -> None:
    """Say the last words while everybody asks for what they have, and wait until all is quiet."""
    last = [_last_words(owner, town) for owner in town.owners]
    looks = [_looks_again(device) for device in town.devices]
    with suppress(TimeoutError):
        async with asyncio.timeout(_QUIET_S):
            await asyncio.gather(*last, *looks)
            await asyncio.sleep(2)
            await asyncio.gather(*(_rests(device) for device in town.devices))


async def _last_words(owner: Person, town: Town) -> None:
    talk = next(talk for talk in town.talks if talk.owner == owner.id)
    for _ in range(_LAST_WORDS):
        await owner.says(talk)


async def _looks_again(device: Device) -> None:
    for _ in range(_LAST_WORDS):
        with suppress(LostError):
            await device.sync()


async def _rests(device: Device) -> None:
    await device.online()
    while device.is_behind:  # noqa: ASYNC110 (nobody tells)
        await asyncio.sleep(0.05)
