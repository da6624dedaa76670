"""How the results look: a line for each, or one object for machines."""

from typing import Any

import click
import orjson

from server.check.run import Outcome, Result
from server.check.steps import STEPS

_LABELS = {Outcome.OK: "ok", Outcome.FAILED: "FAILED", Outcome.SKIPPED: "skipped"}
_COLOURS = {Outcome.OK: "green", Outcome.FAILED: "red", Outcome.SKIPPED: "yellow"}
_LABEL_WIDTH = max(map(len, _LABELS.values()))
_NAME_WIDTH = max(len(step.name) for step in STEPS)


def line(result: Result) -> str:
    """Return the line of a result; its colour is for terminals, elsewhere click drops it."""
    label = click.style(f"{_LABELS[result.outcome]:<{_LABEL_WIDTH}}", fg=_COLOURS[result.outcome])
    begun = f"{label}  {result.name:<{_NAME_WIDTH}}"
    if result.outcome is Outcome.SKIPPED:
        return f"{begun}  ({result.needs})"
    timed = f"{begun}  {result.ms:>5} ms"
    return timed if result.problem is None else f"{timed}  {_sentence(result)}"


def _sentence(result: Result) -> str:
    found = result.problem
    if found is None:
        return ""
    hint = f" Hint: {found.hint}." if found.hint else ""
    return f"expected {found.expected}, but {found.came}.{hint}".replace("?.", "?")


def as_json(url: str, results: list[Result]) -> str:
    """Return all results as one JSON object."""
    steps = [_fields(result) for result in results]
    good = all(result.outcome is Outcome.OK for result in results)
    body = {"url": url, "ok": good, "steps": steps}
    return orjson.dumps(body, option=orjson.OPT_INDENT_2).decode()


def _fields(result: Result) -> dict[str, Any]:
    fields: dict[str, Any] = {"name": result.name, "result": result.outcome.value, "ms": result.ms}
    if result.needs:
        fields["why"] = result.needs
    if result.problem is not None:
        found = result.problem
        fields |= {"expected": found.expected, "came": found.came, "hint": found.hint}
    return fields
