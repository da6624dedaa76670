"""Trying one thing after the other, and leaving nothing behind."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import aiohttp

from server import __version__
from server.check.patience import Patience
from server.check.problem import Problem
from server.check.scene import MARK, Scene
from server.check.steps import STEPS, Step

_ABANDONED = timedelta(minutes=15)
"""What another check sent so long ago will not be removed by itself: it was killed."""

_STRANGE = (LookupError, TypeError, ValueError, AttributeError)


class Outcome(StrEnum):
    """What became of a step."""

    OK = "ok"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Result:
    """One line of the report; `needs` says why a step was skipped."""

    name: str
    outcome: Outcome
    ms: int = 0
    problem: Problem | None = None
    needs: str = ""


Tell = Callable[[Result], None]


async def run(url: str, tokens: tuple[str, str], patience: Patience, tell: Tell) -> bool:
    """Try everything out, tell each result as it is known, clean up; return whether all is well.

    Cancelling ends the trying, not the cleaning: what is left counts as skipped.
    """
    headers = {"User-Agent": f"palabre-check/{__version__}"}
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=None)
    results: list[Result] = []

    def note(result: Result) -> None:
        results.append(result)
        tell(result)

    async with aiohttp.ClientSession(headers=headers, timeout=timeout) as http:
        scene = Scene(http, url, tokens, patience)
        try:
            await _try_all(scene, note, results)
        except asyncio.CancelledError:
            for step in STEPS[len(results) :]:
                note(Result(step.name, Outcome.SKIPPED, needs="interrupted"))
        finally:
            problem = await _clean(scene)
    if problem is not None:
        note(Result("clean up", Outcome.FAILED, problem=problem))
    return all(result.outcome is Outcome.OK for result in results)


async def _try_all(scene: Scene, note: Tell, results: Iterable[Result]) -> None:
    for step in STEPS:
        bad = [one.name for one in results if one.outcome is not Outcome.OK]
        missing = [name for name in step.needs if name in bad]
        if scene.patience.is_over:
            why = f"the {scene.patience.whole_s:g} s for all steps are over"
            note(Result(step.name, Outcome.SKIPPED, needs=why))
        elif missing:
            note(Result(step.name, Outcome.SKIPPED, needs=f"needs: {', '.join(missing)}"))
        else:
            note(await _try(step, scene))


async def _try(step: Step, scene: Scene) -> Result:
    loop = asyncio.get_running_loop()
    began = loop.time()
    problem: Problem | None = None
    scene.patience.begin()
    try:
        await step.do(scene)
    except Problem as found:
        problem = found
    except _STRANGE as error:
        came = f"a field is missing or strange: {type(error).__name__}: {error}"
        hint = "is this server older or newer than the check?"
        problem = Problem("answers as the protocol has them", came, hint)
    took = round((loop.time() - began) * 1_000)
    outcome = Outcome.OK if problem is None else Outcome.FAILED
    return Result(step.name, outcome, took, problem)


async def _clean(scene: Scene) -> Problem | None:
    """Hang up, delete what was sent, archive; return the first thing that did not work."""
    for person in scene.people:
        await person.hang_up()
    if not scene.conversation_id:
        return None
    scene.patience.begin_cleaning()
    problems: list[Problem] = []
    for part in (_delete_sent, _archive):
        try:
            problems += [found async for found in part(scene)]
        except Problem as found:
            problems.append(found)
        except _STRANGE as error:
            problems.append(Problem("answers as the protocol has them", repr(error)))
    return problems[0] if problems else None


async def _delete_sent(scene: Scene) -> AsyncIterator[Problem]:
    """Delete what this run sent, also what it does not know to have arrived."""
    page = await scene.a.api.get(f"conversations/{scene.conversation_id}/messages/")
    by_id = {person.id: person for person in scene.people}
    for message in page["results"]:
        if _is_litter(scene, message, page["results"][-1]):
            deleter = scene.keeper or by_id[message["sender"]["id"]]
            try:
                await deleter.api.delete(f"messages/{message['id']}/")
            except Problem as found:
                yield found


async def _archive(scene: Scene) -> AsyncIterator[Problem]:
    for person in scene.people:
        try:
            await person.api.post(f"conversations/{scene.conversation_id}/archive/", {})
        except Problem as found:
            yield found


def _is_litter(scene: Scene, message: dict[str, Any], newest: dict[str, Any]) -> bool:
    sent_as = message["client_msg_id"] or ""
    if message["is_deleted"] or not sent_as.startswith(MARK):
        return False
    if sent_as.startswith(scene.run):
        return True
    # Members may not delete what is that old; who keeps the conversation may.
    return scene.keeper is not None and _sent(newest) - _sent(message) > _ABANDONED


def _sent(message: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(message["created_at"])
