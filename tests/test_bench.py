"""The benchmark measures what it says, stops at what is wrong, and tells what was recorded."""

import asyncio
import shutil
from pathlib import Path
from xml.dom import minidom

import pytest

from bench import bars, machine, people, report, servers
from bench.cases.sends import SENDERS
from bench.figures import Recording, Row, load
from bench.machine import CannotMeasureError

pytestmark = pytest.mark.one_database

needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")


def recorded() -> Recording:
    """Return three rounds; of the medians, Palabre's is four times that of Node and pg."""
    rows = [
        Row(f"pairs-{senders}", contender, {"sends_per_s": speed, "cpu_us_per_send": 1e6 / speed})
        for senders in SENDERS
        for contender, speeds in (
            ("palabre", (4_000, 30_000, 6_000)),
            ("node-pg", (9_000, 1_500, 1_000)),
        )
        for speed in speeds
    ]
    return Recording({"Revision": "abc"}, rows)


def test_a_report_is_told_from_what_was_recorded(tmp_path: Path) -> None:
    recorded().save(tmp_path / "figures.json")
    recording = load(tmp_path / "figures.json")
    assert recording == recorded()

    text = report.write(recording, tmp_path).read_text()

    assert (
        "| 100 senders, PostgreSQL: sends a second beside Node and pg | 4 × | ≥ 3.5 × | met |"
    ) in text
    assert "| the same, the aim | 4 × | ≥ 5 × | **not met** |" in text
    assert "| 10 | Palabre, PostgreSQL | 6,000 (4,000 to 30,000) |" in text
    assert "| Revision | abc |" in text
    assert "Fan-out" not in text
    assert "plots/sends.svg" in text
    assert [path.name for path in (tmp_path / "plots").iterdir()] == ["sends.svg"]
    drawn = minidom.parse(str(tmp_path / "plots" / "sends.svg"))  # noqa: S318 - it is ours
    texts = [element.firstChild for element in drawn.getElementsByTagName("text")]
    names = {text.data for text in texts if isinstance(text, minidom.Text)}
    assert {"Palabre, PostgreSQL", "Node, socket.io and pg"} <= names


def test_what_could_not_be_measured_is_not_met(tmp_path: Path) -> None:
    recording = recorded()
    recording.rows.append(Row("pairs-100", "django", {}, "a message was lost"))
    (verdict,) = [v for v in bars.judge(recording) if "Django Channels" in v.bar.claim]
    assert verdict.word == "not measured"
    text = report.write(recording, tmp_path).read_text()
    assert "- pairs-100, django: a message was lost" in text
    assert "Django Channels | – | ≥ 20 × | not measured |" in text


@needs_compiler
async def test_the_load_generator_measures_people_who_really_hear(tmp_path: Path) -> None:
    def measured() -> dict[str, dict[str, float]]:
        with servers.palabre(f"sqlite://{tmp_path}/palabre.db") as server:
            here = people.names(4)
            room, *talks = people.groups(server, [here, here[:2], here[2:]])
            at = {"port": server.port, "pid": server.pid, "clients": 4, "seconds": 0.1}
            talk = {"auth": people.tokens(tmp_path, here), "settle": 0.05, **people.TALK}
            together = people.sends(tmp_path, [room["id"]] * 4)
            fanout = machine.load("fanout", **at, **talk, body=together, window=4, senders=4)
            apart = people.sends(tmp_path, [talks[n // 2]["id"] for n in range(4)])
            pairs = machine.load("pairs", **at, **talk, body=apart)
            elsewhere = people.sends(tmp_path, [talks[1 - n // 2]["id"] for n in range(4)])
            with pytest.raises(CannotMeasureError, match="not_found"):
                machine.load("pairs", **at, **talk, body=elsewhere)
            path = f"{people.API}conversations/{room['id']}/messages/?before_seq={{any}}"
            header = f"Authorization: Bearer {people.token('p1')}"
            pages = machine.load("http", **at, path=path, header=header, least=1, most=9)
            return {"fanout": fanout, "pairs": pairs, "pages": pages}

    found = await asyncio.to_thread(measured)

    assert found["fanout"]["messages"] >= 4
    assert found["pairs"]["sends"] >= 2
    assert found["pages"]["pages"] >= 1
    for figures in found.values():
        assert 0 < figures["p50_ms"] <= figures["p99_ms"]
    assert found["fanout"]["cpu_us_per_delivery"] > 0


@needs_compiler
async def test_the_yardstick_delivers_to_everybody() -> None:
    def measured() -> dict[str, float]:
        with servers.write_limit() as server:
            at = {"port": server.port, "pid": server.pid, "clients": 20, "seconds": 0.1}
            return machine.load("fanout", **at, window=2, senders=2)

    figures = await asyncio.to_thread(measured)
    assert figures["deliveries_per_s"] > 20
