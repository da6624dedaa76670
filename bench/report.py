"""The report: what had to be shown, tables and plots, all from what was recorded."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench import bars, plot
from bench.cases.bystanders import BYSTANDERS, PER_S
from bench.cases.fanout import MEMBERS, SIZES, WINDOWS
from bench.cases.pages import HISTORIES, LISTS
from bench.cases.sends import SENDERS
from bench.contenders import TITLES
from bench.figures import Recording
from bench.plot import Line, Pen, number

PLOTS = "plots"

_INTRODUCTION = (
    "Written by `make bench`; [README.md](README.md) says how to read it. Every figure is the "
    "median over the rounds, every ratio one of medians. CPU is that of the server's process, "
    "without the database's."
)


_PENS = {
    "palabre": Pen("ours", 3.5),
    "palabre-sqlite": Pen("ours-too", 3.5, "9 4"),
    "write": Pen("yardstick", dashes="2 3"),
    "node": Pen("green", dashes="7 4"),
    "node-pg": Pen("green", dashes="7 4"),
    "python-socketio": Pen("purple", dashes="10 3 2 3"),
    "django": Pen("orange", dashes="4 2"),
}


@dataclass(frozen=True, slots=True)
class _Column:
    figure: str
    heading: str
    per: float = 1


@dataclass(frozen=True, slots=True)
class _Topic:
    """A table, the cases that are its rows, and the plot of its first column, if it has one."""

    title: str
    text: str
    rows: Sequence[tuple[str, float]]
    """Cases, and where each lies on the horizontal axis."""
    along: str
    columns: Sequence[_Column]
    plot: str = ""


_DELIVERIES = (
    _Column("cpu_us_per_delivery", "CPU a delivery, µs"),
    _Column("deliveries_per_s", "deliveries a second"),
    _Column("p50_ms", "to the last recipient p50, ms"),
    _Column("p99_ms", "p99, ms"),
)
_FANOUT = {MEMBERS: "fanout-1"} | {size: f"members-{size}" for size in SIZES}

_TOPICS = (
    _Topic(
        "Fan-out: how many talk at once",
        f"{MEMBERS:,} people in one room hear a text of 200 characters. Palabre checks the sender, "
        "stores the message (SQLite) and numbers it before it is delivered; the others only hand "
        "it on. `write_limit` is a C program that makes one `write()` a delivery: less than that "
        "only who joins several deliveries into one.",
        [(f"fanout-{window}", window) for window in WINDOWS],
        "messages at once",
        _DELIVERIES,
        "at-once",
    ),
    _Topic(
        "Fan-out: how many listen",
        "The same, one message at a time, in rooms of other sizes.",
        [(name, size) for size, name in sorted(_FANOUT.items())],
        "members of the room",
        _DELIVERIES,
        "members",
    ),
    _Topic(
        "Durable sends",
        "Pairs of people. Each sender waits for the acknowledgement of a stored message (fsync on) "
        "and sends again; the other of the pair hears it. Palabre also recognises a repeated send "
        "and numbers messages and events.",
        [(f"pairs-{senders}", senders) for senders in SENDERS],
        "senders",
        (
            _Column("sends_per_s", "sends a second"),
            _Column("cpu_us_per_send", "CPU a send, µs"),
            _Column("p50_ms", "acknowledged p50, ms"),
            _Column("p99_ms", "p99, ms"),
            _Column("fsyncs_per_s", "fsyncs a second"),
        ),
        "sends",
    ),
    _Topic(
        "Idle connections",
        "5,000 connections that say nothing, 60 s after the last of them came. People at Palabre "
        "have tokens that are checked and rooms that are joined; the others believe everybody. A "
        "browser's handshake offers compression and brings more headers.",
        [("idle", 0), ("idle-browser", 1)],
        "",
        (
            _Column("kib_per_connection", "resident a connection, KiB"),
            _Column("cpu_us_per_connect", "CPU to connect, µs"),
            _Column("connects_per_s", "connects a second"),
            _Column("idle_cpu_us_per_s", "CPU a connection and idle second, µs"),
        ),
    ),
    _Topic(
        "Coming back",
        "1,000 people who are in ten conversations each connect: without cursors, with cursors "
        "that are current, and with one message missed in each conversation.",
        [("sync", 0)],
        "",
        (
            _Column("cpu_us_per_connect", "CPU to connect, µs"),
            _Column("sync_adds_us", "ten cursors add, µs"),
            _Column("missed_adds_us", "and ten missed messages, µs"),
        ),
    ),
    _Topic(
        "History pages",
        "Pages of 50 over HTTP from PostgreSQL, each before a message drawn at random; the "
        "reader's membership is checked each time, at Palabre the token too.",
        [(f"history-{name}", size) for name, size in HISTORIES.items()],
        "messages in the conversation",
        (
            _Column("cpu_us_per_page", "CPU a page, µs"),
            _Column("pages_per_s", "pages a second"),
            _Column("p50_ms", "p50, ms"),
            _Column("p99_ms", "p99, ms"),
            _Column("bytes_per_page", "bytes a page"),
        ),
        "history",
    ),
    _Topic(
        "Conversation list",
        "The first ten conversations of a person who is in few or in many, over HTTP from "
        "PostgreSQL.",
        [(f"list-{name}", size) for name, size in LISTS.items()],
        "conversations of the person",
        (
            _Column("cpu_us_per_page", "CPU a list, µs"),
            _Column("pages_per_s", "lists a second"),
            _Column("p50_ms", "p50, ms"),
            _Column("p99_ms", "p99, ms"),
        ),
    ),
    _Topic(
        "Coming in, with few conversations or many",
        "One after the other comes alone, is told where everything stands, and goes. Somebody who "
        "is in more conversations than a connection hears gets seats in the 200 that stirred last.",
        [(f"visit-{name}", size) for name, size in LISTS.items()],
        "conversations of the person",
        (
            _Column("p50_ms", "until the hello p50, ms"),
            _Column("p99_ms", "p99, ms"),
            _Column("cpu_us_per_visit", "CPU to come and go, µs"),
        ),
    ),
    _Topic(
        "A node that has no part in it",
        f"Two nodes exchange {PER_S:,} messages a second by Redis (Valkey), 20 pairs of people. "
        f"Measured is a third one, to which {BYSTANDERS:,} others are connected, who are in rooms "
        "of their own and say nothing. Stock python-socketio uses its Redis manager; nodes that "
        "cannot exchange so many exchange as many as they can. What the third node needs for pings "
        "is in its figures.",
        [("bystander", 0)],
        "",
        (
            _Column("core_percent", "CPU of the third node, % of a core"),
            _Column("messages_per_s", "messages a second between the others"),
            _Column("cpu_us_per_message", "CPU of the third node for each of them, µs"),
        ),
    ),
)


def write(recording: Recording, folder: Path) -> Path:
    """Write report.md and its plots into a folder and return the report's path."""
    (folder / PLOTS).mkdir(parents=True, exist_ok=True)
    path = folder / "report.md"
    path.write_text(told(recording))
    for name, picture in pictures(recording).items():
        (folder / PLOTS / f"{name}.svg").write_text(picture)
    return path


def told(recording: Recording) -> str:
    """Return the report as Markdown."""
    parts = [
        "# How fast",
        _INTRODUCTION,
        *_judged(recording),
        *(part for topic in _TOPICS for part in _topic(topic, recording)),
        *_where(recording),
    ]
    return "\n\n".join(parts) + "\n"


def pictures(recording: Recording) -> dict[str, str]:
    """Return the plots as SVG, by name."""
    found = {}
    for topic in _TOPICS:
        lines = [
            Line(TITLES[who].replace("`", ""), _PENS[who], points)
            for who in TITLES
            if len(points := _points(recording, topic, who)) > 1
        ]
        if topic.plot and lines:
            column = topic.columns[0]
            found[topic.plot] = plot.drawn(topic.title, topic.along, column.heading, lines)
    return found


def _points(recording: Recording, topic: _Topic, who: str) -> list[tuple[float, float]]:
    values = [(x, recording.middle(case, who, topic.columns[0].figure)) for case, x in topic.rows]
    return [(x, y) for x, y in values if y]


def _judged(recording: Recording) -> list[str]:
    rows = [
        f"| {verdict.bar.claim} | {_value(verdict)} | {verdict.bar.relation} "
        f"{verdict.bar.limit:g} {verdict.bar.unit} | {verdict.word} |"
        for verdict in bars.judge(recording)
        if verdict.value is not None or recording.problems()
    ]
    table = "\n".join(["| | measured | wanted | |", "|---|---:|---:|---|", *rows])
    problems = [f"- {problem}" for problem in recording.problems()]
    found = ["What could not be measured:", "\n".join(problems)] if problems else []
    return ["## What it has to show", table, *found]


def _value(verdict: bars.Verdict) -> str:
    return "–" if verdict.value is None else f"{verdict.value:.3g} {verdict.bar.unit}"


def _topic(topic: _Topic, recording: Recording) -> list[str]:
    rows = [
        f"| {label} | {TITLES[who]} | {' | '.join(cells)} |"
        for label, case in _labels(topic)
        for who in TITLES
        if any(cells := [_cell(recording.each(case, who, c.figure)) for c in topic.columns])
    ]
    if not rows:
        return []
    headings = " | ".join(column.heading for column in topic.columns)
    head = [f"| {topic.along} | | {headings} |", f"|---:|---|{'---:|' * len(topic.columns)}"]
    is_drawn = topic.plot in pictures(recording)
    drawn = [f"![{topic.title}]({PLOTS}/{topic.plot}.svg)"] if is_drawn else []
    return [f"## {topic.title}", topic.text, *drawn, "\n".join(head + rows)]


def _labels(topic: _Topic) -> list[tuple[str, str]]:
    if topic.along:
        return [(f"{x:,.0f}", case) for case, x in topic.rows]
    return [("as a browser" if x else "", case) for case, x in topic.rows]


def _cell(values: Sequence[float]) -> str:
    """Return the median, and how far the rounds lie apart where they do."""
    if not values:
        return ""
    middle, low, high = (number(pick(values)) for pick in (median, min, max))
    return middle if low == high else f"{middle} ({low} to {high})"


def _where(recording: Recording) -> list[str]:
    rows = "\n".join(f"| {name} | {value} |" for name, value in recording.about.items())
    return ["## Where and how", f"| | |\n|---|---|\n{rows}"] if rows else []
