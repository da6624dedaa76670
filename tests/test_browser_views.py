"""Every view of the page, in both themes, at the size of a desk and of a phone."""

from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from server import demo
from tests import chromium, screenshots, views
from tests.browser import Window
from tests.people import Town
from tests.reader import Readers

pytestmark = pytest.mark.one_database

PICTURES = Path(__file__).parents[1] / "screenshots"
"""Where the pictures of the last run are kept; git does not look there."""

# Reports what keeps somebody from using what is shown.
JUDGE = """
async ([source, options]) => {
  if (!window.axe) (0, eval)(source);
  // Style sheets are loaded already, and there are no frames.
  const quick = { resultTypes: ['violations'], preload: false, iframes: false };
  const { violations } = await axe.run(document, { ...quick, ...options });
  const isGrave = ({ impact }) => impact === 'serious' || impact === 'critical';
  return violations
    .filter(isGrave)
    .flatMap(({ id, nodes }) => nodes.map(({ target }) => `${id}: ${target.join(' ')}`));
}
"""

# Colours differ between the themes and not between the sizes; all else is the other way round.
COLOURS = "color-contrast"
RULES: dict[tuple[str, str], dict[str, Any] | None] = {
    ("desk", "light"): {},
    ("desk", "dark"): {"runOnly": [COLOURS]},
    ("phone", "light"): {"rules": {COLOURS: {"enabled": False}}},
    ("phone", "dark"): None,
}

# Reports what can be scrolled sideways: the page itself, or something in it.
SIDEWAYS = """
() => [...document.querySelectorAll('*')]
  .filter((element) => element.scrollWidth > element.clientWidth)
  .filter((element) => element === document.documentElement
    || ['auto', 'scroll'].includes(getComputedStyle(element).overflowX))
  .map((element) => `${element.tagName} ${element.className}`)
"""


async def _flaws(window: Window, name: str, size: str, source: str) -> list[str]:
    """Look at what a window shows, keep pictures of it, and return what is wrong with it."""
    sideways = await window.page.evaluate(SIDEWAYS)
    found = [f"{name}, {size}: {one} scrolls sideways" for one in sideways]
    for theme in screenshots.THEMES:
        await screenshots.photograph(window, PICTURES, f"{name}-{size}", theme)
        rules = RULES[size, theme]
        if rules is not None:
            judged = await window.page.evaluate(JUDGE, [source, rules])
            found += [f"{name}, {size}, {theme}: {one}" for one in judged]
    return found


@pytest.mark.timeout(240)  # all of them share one server, one demo and one browser
@pytest.mark.parametrize("size", screenshots.SIZES)
async def test_everybody_can_use_every_view(town: Town, readers: Readers, size: str) -> None:
    await demo.fill(town.node.dispatcher, town.node.intake)
    await screenshots.company(town)
    source = chromium.AXE.read_text("utf-8")
    flaws = []
    for person, seen in groupby(sorted(views.ALL, key=_who), _who):
        reader = await readers.stranger(**screenshots.SIZES[size])
        token = screenshots.token(town.settings, person) if person else None
        for view in seen:
            reader.window.may_say(*view.problems)
            # One window for all that somebody sees: it need not fetch and compile the page again.
            await reader.comes(token, view=view.name)
            await view.reach(reader)
            flaws += await _flaws(reader.window, view.name, size, source)
        await reader.leaves()
    assert flaws == [], "\n".join(flaws)


def _who(view: views.View) -> str:
    return view.person or ""
