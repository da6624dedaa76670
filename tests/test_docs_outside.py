"""Every block of docs/outside.md, run as it stands against a server.

What is Django's is stood in for: decorators that let everybody in, a transaction that keeps what
is to be done after its commit, and the model of a visit.
"""

import asyncio
import os
import shlex
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import requests
from aiohttp import web
from celery import Celery

from server.config import Settings
from tests.documents import ROOT, examples
from tests.people import Person, Town
from tests.process import WITHIN_S, finished
from tests.services import LOOPBACK
from tests.test_keys import program

pytestmark = pytest.mark.one_database

DOCUMENT = ROOT / "docs" / "outside.md"
PALABRE, SOFTLY, TASKS, VIEW = examples(DOCUMENT, "python")

# What a Celery project has beside its tasks, and somebody who queues one and waits for its result.
WORKER = """
import sys, logging
from celery import Celery
from celery.contrib.testing.worker import start_worker
app = Celery(broker="memory://", backend="cache+memory://")
app.set_default()
from tasks import tell_person
with start_worker(app, pool="solo", perform_ping_check=False, shutdown_timeout=30):
    print(tell_person.delay(*sys.argv[1:]).get(timeout=60))
"""


@pytest.fixture
async def place(town: Town, tmp_path: Path) -> dict[str, str]:
    """What the environment of a program of the application says."""
    crm = await program(town)
    return {"CHAT_URL": town.url, "CHAT_KEY": crm.token}


@pytest.fixture
def written(place: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Any]:
    """Make the module that a block becomes in somebody's project."""
    for name, value in place.items():
        monkeypatch.setenv(name, value)

    def write(name: str, block: str) -> Any:
        module = ModuleType(name)
        monkeypatch.setitem(sys.modules, name, module)
        exec(compile(block, f"{DOCUMENT} {name}", "exec"), vars(module))  # noqa: S102 - our own
        return module

    return write


def contents(frames: list[tuple[str, dict[str, Any]]]) -> list[str]:
    """Return what was told, without what the server says of its own accord."""
    lines = [data["message"]["content"] for name, data in frames if name == "message:created"]
    return [line for line in lines if line]


def status(error: requests.HTTPError) -> int:
    """Return what was answered."""
    assert error.response is not None
    return error.response.status_code


async def test_the_commands_make_list_and_revoke_a_key(tmp_path: Path, settings: Settings) -> None:
    [commands] = examples(DOCUMENT, "")
    environment = {"PALABRE_DATABASE__URL": settings.database.url}
    written = []
    for line in commands.splitlines():
        _, *arguments = shlex.split(line, comments=True)
        status, out, err = await finished(*arguments, cwd=tmp_path, environment=environment)
        assert (status, err) == (0, "")
        written.append(out)

    made, listed, revoked = written
    assert made.startswith("palabre_key_")
    assert listed.splitlines()[1].split()[0] == "crm"
    assert revoked == "crm is revoked"


async def test_the_pasted_lines_of_a_shell_tell_a_person_once(
    town: Town, place: dict[str, str], tmp_path: Path
) -> None:
    header = tmp_path / "crm.header"
    header.write_text(f"X-Palabre-Key: {place['CHAT_KEY']}\n")
    [lines] = examples(DOCUMENT, "sh")
    lines = lines.replace("http://127.0.0.1:8000", town.url)
    lines = lines.replace("/etc/palabre/crm.header", str(header))

    told = [await _printed(lines) for _ in range(2)]

    bob = town.person("12", name="Bob Martin")
    [talk] = (await bob.get("conversations/"))["results"]
    assert (talk["title"], talk["external_id"]) == ("Notices", "notices-12")
    assert talk["last_message"]["content"] == "The import of tonight is done."
    assert told[0] == told[1]
    assert talk["last_message"]["id"] in told[0]


async def _printed(lines: str) -> str:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    shell = await asyncio.create_subprocess_exec(
        *("sh", "-euc", lines),
        env={**os.environ, "PATH": path},
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await asyncio.wait_for(shell.communicate(), WITHIN_S)
    assert shell.returncode == 0, out
    return out.decode()


async def test_what_is_told_twice_with_one_id_is_said_once(
    town: Town, written: Callable[[str, str], Any], bob: Person, eve: Person
) -> None:
    palabre = written("palabre", PALABRE)
    talk = await asyncio.to_thread(palabre.notices_of, bob.id)
    his, outside = await bob.connects(), await eve.connects()

    first = await asyncio.to_thread(palabre.tell, talk, "Invoice 7 is paid", "invoice-7")
    again = await asyncio.to_thread(palabre.tell, talk, "Invoice 7 is paid", "invoice-7")
    with pytest.raises(requests.HTTPError) as no:
        await asyncio.to_thread(palabre.tell, talk, "Invoice 7 is not paid", "invoice-7")

    assert first["id"] == again["id"]
    assert status(no.value) == 409
    assert await asyncio.to_thread(palabre.notices_of, bob.id) == talk
    assert contents(await his.heard()) == ["Invoice 7 is paid"]
    await outside.hears_nothing()


async def test_the_asynchronous_one_tells_the_same(
    town: Town, written: Callable[[str, str], Any], bob: Person
) -> None:
    palabre, softly = written("palabre", PALABRE), written("softly", SOFTLY)
    talk = await asyncio.to_thread(palabre.notices_of, bob.id)
    his = await bob.connects()

    first = await softly.tell_softly(talk, "Invoice 7 is paid", "invoice-7")
    again = await asyncio.to_thread(palabre.tell, talk, "Invoice 7 is paid", "invoice-7")

    assert first["id"] == again["id"]
    assert contents(await his.heard()) == ["Invoice 7 is paid"]


# Celery


@asynccontextmanager
async def bad_network(town: Town, tried: list[str]) -> AsyncIterator[str]:
    """Stand before a server: the first send is shed, the answer to the second is lost."""

    async def pass_on(request: web.Request) -> web.StreamResponse:
        is_send = request.path.endswith("/send/")
        if is_send:
            tried.append(request.headers["Idempotency-Key"])
        if is_send and len(tried) == 1:
            return web.Response(status=503, headers={"Retry-After": "1"})
        async with town.http.request(
            request.method,
            town.url + request.path,
            data=await request.read(),
            headers={k: v for k, v in request.headers.items() if k not in ("Host", "Accept")},
        ) as answer:
            body = await answer.read()
        if is_send and len(tried) == 2:
            assert request.transport is not None
            request.transport.abort()
        return web.Response(status=answer.status, body=body, content_type="application/json")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", pass_on)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, LOOPBACK, 0)
    await site.start()
    try:
        yield f"http://{LOOPBACK}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@pytest.mark.timeout(90)  # a worker starts, and waits twice before it asks again
async def test_a_task_that_fails_and_is_tried_again_says_it_once(
    town: Town, place: dict[str, str], bob: Person, tmp_path: Path
) -> None:
    his, tried = await bob.connects(), list[str]()
    (tmp_path / "palabre.py").write_text(PALABRE)
    (tmp_path / "tasks.py").write_text(TASKS)

    async with bad_network(town, tried) as url:
        worker = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", WORKER, "bob", "Your invoice is paid", "invoice-7"),
            cwd=tmp_path,
            env={**os.environ, **place, "CHAT_URL": url, "PYTHONPATH": str(tmp_path)},
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await asyncio.wait_for(worker.communicate(), 80)

    assert worker.returncode == 0
    assert tried == ["invoice-7"] * 3
    frames = await his.heard()
    assert contents(frames) == ["Your invoice is paid"]
    assert out.decode().split()[-1] == frames[-1][1]["message"]["id"]


@pytest.fixture(scope="module")
def queue() -> ModuleType:
    """The module of tasks, which run where they are queued; Celery takes each task once."""
    app = Celery(broker="memory://")
    app.conf.task_always_eager = app.conf.task_eager_propagates = True
    app.set_default()
    module = ModuleType("tasks")
    sys.modules["palabre"] = ModuleType("palabre")
    exec(compile(TASKS, f"{DOCUMENT} tasks", "exec"), vars(module))  # noqa: S102 - our own
    del sys.modules["palabre"]
    return module


@pytest.fixture
def tasks(
    queue: ModuleType, written: Callable[[str, str], Any], monkeypatch: pytest.MonkeyPatch
) -> Any:
    """The same, for the server of one test."""
    monkeypatch.setitem(sys.modules, "tasks", queue)
    monkeypatch.setattr(queue, "palabre", written("palabre", PALABRE))
    return queue


@pytest.mark.usefixtures("bob")
async def test_a_mistake_is_not_tried_again(tasks: Any) -> None:
    with pytest.raises(requests.HTTPError) as no:
        await asyncio.to_thread(tasks.tell_person.delay, "bob", "Paid", "x" * 65)
    assert status(no.value) == 400


# Django


class Transaction:
    """A transaction that keeps what is to be done after its commit."""

    def __init__(self) -> None:
        self.after = list[Callable[[], Any]]()

    @contextmanager
    def atomic(self) -> Iterator[None]:
        yield
        for done in self.after:
            done()

    def on_commit(self, done: Callable[[], Any]) -> None:
        self.after.append(done)


@pytest.mark.parametrize("is_possible", [True, False])
async def test_a_view_tells_the_client_of_what_was_committed(
    tasks: Any,
    written: Callable[[str, str], Any],
    bob: Person,
    eve: Person,
    monkeypatch: pytest.MonkeyPatch,
    is_possible: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    def confirm() -> None:
        if not is_possible:
            raise ValueError("somebody else was faster")

    visit = SimpleNamespace(pk=31, day="3 May", client_id="bob", confirm=confirm)
    objects = SimpleNamespace()
    objects.select_for_update = lambda: objects
    objects.get = lambda **_: visit
    stands_in: dict[str, dict[str, Any]] = {
        "django": {},
        "django.contrib": {},
        "django.contrib.auth": {},
        "django.contrib.auth.decorators": {"login_required": lambda view: view},
        "django.db": {"transaction": Transaction()},
        "django.http": {"JsonResponse": lambda body: body},
        "django.views": {},
        "django.views.decorators": {},
        "django.views.decorators.http": {"require_POST": lambda view: view},
        "visits": {},
        "visits.models": {"Visit": SimpleNamespace(objects=objects)},
    }
    for name, values in stands_in.items():
        module = ModuleType(name)
        vars(module).update(values)
        monkeypatch.setitem(sys.modules, name, module)
    his, outside = await bob.connects(), await eve.connects()

    view = written("views", VIEW)
    request = SimpleNamespace(user=SimpleNamespace(pk=7))
    if is_possible:
        for _ in range(2):
            assert await asyncio.to_thread(view.confirm, request, 31) == {"confirmed": True}
    else:
        with pytest.raises(ValueError, match="faster"):
            await asyncio.to_thread(view.confirm, request, 31)

    said = ["Your visit on 3 May is confirmed."] if is_possible else []
    assert contents(await his.heard()) == said
    await outside.hears_nothing()
