"""Look at the page: `python -m tests.screenshots FOLDER [VIEW …]` writes a picture of every view.

Each view is taken in both themes, at the size of a desk and of a phone, on a server that is filled
with the demo. A view that cannot be reached is taken as far as one gets, and makes the status 1.
"""

import asyncio
import sys
import tempfile
from pathlib import Path
from typing import Any, Literal

import aiohttp

from server import app, auth, demo, logs
from server.config import Settings
from server.schemas.values import UserRole
from tests import chromium, views
from tests.browser import DESK, PHONE, BrowserError, Window, Windows, expect, windows
from tests.people import Person, Town
from tests.reader import Reader

SIZES: dict[str, dict[str, Any]] = {
    "desk": {"viewport": DESK},
    "phone": {"viewport": PHONE, "is_mobile": True, "has_touch": True},
}
Theme = Literal["light", "dark"]
THEMES: tuple[Theme, ...] = ("light", "dark")
_PATIENCE_MS = 3_000


async def _main(target: Path, names: list[str]) -> int:
    wanted = [view for view in views.ALL if not names or view.name in names]
    expect.set_options(timeout=_PATIENCE_MS)
    logs.configure("error", "text")
    with tempfile.TemporaryDirectory() as folder, chromium.shared_folder() as home:
        settings = Settings.model_validate(
            {
                "http": {"port": 0},
                "auth": {"secret": "a secret of the screenshots, long enough"},
                "database": {"url": f"sqlite://{folder}/palabre.db"},
                "files": {"folder": f"{folder}/files"},
                "limits": {"send_rate": 0, "event_rate": 0},
            }
        )
        async with (
            app.running(settings) as node,
            aiohttp.ClientSession() as http,
            windows(chromium.unpacked(home)) as browser,
        ):
            await demo.fill(node.dispatcher, node.intake)
            await company(Town(settings, f"http://127.0.0.1:{node.port}", http))
            missed = 0
            for view in wanted:
                for size in SIZES:
                    missed += not await _take(browser, settings, node.port, view, size, target)
    return 1 if missed else 0


async def company(town: Town) -> None:
    """Let two people of the demo be there, one of them away."""
    for user_id, status in (("hugo", "active"), ("camille", "away")):
        device = await Person(town, user_id, token=token(town.settings, user_id)).connects()
        await device.asks("presence:set", status=status)
        device.is_checked = False


async def _take(
    browser: Windows, settings: Settings, port: int, view: views.View, size: str, target: Path
) -> bool:
    window = await browser.new(**SIZES[size])
    window.context.set_default_timeout(_PATIENCE_MS)
    reader = Reader(window, f"http://127.0.0.1:{port}")
    try:
        await reader.comes(token(settings, view.person) if view.person else None)
        await view.reach(reader)
    except (AssertionError, BrowserError) as error:
        print(f"{view.name}, {size}: not reached: {str(error).splitlines()[0]}")
        reached = False
    else:
        reached = True
    for theme in THEMES:
        await photograph(window, target, f"{view.name}-{size}", theme)
    for problem in window.problems:
        print(f"{view.name}, {size}: {problem}")
    await reader.leaves()
    return reached


async def photograph(window: Window, target: Path, name: str, theme: Theme) -> None:
    """Write a picture of a view in a theme."""
    await window.page.emulate_media(color_scheme=theme)
    path = target / f"{name}-{theme}.png"
    await window.page.screenshot(path=path, animations="disabled")


def token(settings: Settings, user_id: str) -> str:
    """Return what logs somebody of the demo in, or somebody who is new there."""
    person = demo._script()["people"].get(user_id, {"name": user_id.title(), "role": "client"})
    role = UserRole(person["role"])
    return auth.issue(settings.auth, user_id, name=person["name"], role=role, ttl_s=3_600)


if __name__ == "__main__":
    status = asyncio.run(_main(Path(sys.argv[1]), sys.argv[2:]))
    print(f"{len(list(Path(sys.argv[1]).glob('*.png')))} pictures in {sys.argv[1]}")
    sys.exit(status)
