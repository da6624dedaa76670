"""The report of a run as one page that needs nothing else: verdict, lines, plot, schedule."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from html import escape
from math import log10
from typing import TYPE_CHECKING

from checker import lag
from checker.nodes import Bus

if TYPE_CHECKING:
    from checker.report import Bar, Report

_WIDTH, _LEFT, _RIGHT, _TOP, _PLOT = 960, 64, 16, 14, 220
_ROW = 17
_DECADES = (0.001, 0.01, 0.1, 1.0, 10.0, 100.0)

# After Okabe and Ito, whose colours people who see few can tell apart.
_STYLE = """
:root { color-scheme: light dark; --paper: #fff; --ink: #1f2328; --soft: #59636e; --line: #d5d9de;
  --good: #007d5a; --bad: #b3261e; --blue: #0060a8; --orange: #c04d00; --shade: #f6f8fa }
@media (prefers-color-scheme: dark) { :root { --paper: #0d1117; --ink: #e6edf3; --soft: #9198a1;
  --line: #30363d; --good: #2fbf8f; --bad: #ff7b72; --blue: #62b5f5; --orange: #f58d3d;
  --shade: #151b23 } }
* { box-sizing: border-box }
body { background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, sans-serif;
  margin: 0 auto; max-width: 1024px; padding: 32px 16px 64px }
h1 { font-size: 26px; line-height: 1.25; margin: 0 0 4px; text-wrap: balance }
h2 { font-size: 18px; margin: 40px 0 12px }
p { margin: 0 0 12px; max-width: 70ch } .soft { color: var(--soft) }
.verdict { border-left: 4px solid var(--good); background: var(--shade); padding: 12px 16px;
  margin: 20px 0 } .verdict.alarm { border-color: var(--bad) }
.verdict.alarm strong { color: var(--bad) }
.verdict strong { display: block; font-size: 17px }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px }
.tile { border: 1px solid var(--line); border-radius: 8px; padding: 10px 14px }
.tile b { display: block; font-size: 22px; font-weight: 600; font-variant-numeric: tabular-nums }
.tile span { color: var(--soft); font-size: 13px; line-height: 1.3; display: block }
.wide { overflow-x: auto }
table { border-collapse: collapse; width: 100% }
th { color: var(--soft); font-weight: 500; text-align: left }
td, th { border-bottom: 1px solid var(--line); padding: 6px 12px 6px 0; vertical-align: top }
td.number, th.number { font-variant-numeric: tabular-nums; text-align: right; white-space: nowrap }
.good { color: var(--good) } .bad { color: var(--bad); font-weight: 600 }
code { font: 13px ui-monospace, monospace; overflow-wrap: anywhere }
svg { display: block; min-width: 720px; width: 100% }
svg text.over { fill: var(--ink); paint-order: stroke; stroke: var(--paper); stroke-width: 4px }
svg text { fill: var(--soft); font: 12px system-ui, sans-serif }
details summary { cursor: pointer; color: var(--soft) }
"""

_ABOUT_LAG = (
    "The median and the slowest delivery of each second, to devices that were connected when the "
    "change was stored, on a logarithmic scale; below, what was broken when."
)

Across = Callable[[float], float]


def drawn(report: "Report") -> str:
    """Return the page."""
    order = report.order
    title = f"Seed {order.seed}, {order.seconds:g} seconds"
    subject = f", “{order.design}”" if order.design else ""
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>Palabre under faults: {escape(title)}</title><style>{_STYLE}</style></head><body>",
        f"<h1>Palabre under faults: {escape(title)}{escape(subject)}</h1>",
        f'<p class="soft">{_about(report)}</p>',
        _verdict(report),
        _tiles(report),
        "<h2>What must never happen</h2>",
        _lines(report),
        "<h2>From stored to applied</h2>",
        f'<p class="soft">{_ABOUT_LAG}</p>',
        f'<div class="wide">{_plot(report)}</div>',
        '<p class="soft">The slowest, from when nothing kept the node from them, and in peace:</p>',
        f"<ul>{''.join(f'<li>{escape(text)}' for text in report.slowest)}</ul>",
        "<h2>What has to be seen for a run to count</h2>",
        _bars(report.seen),
        "<h2>Figures</h2>",
        _figures(report),
        "<h2>Schedule</h2>",
        _schedule(report),
        "</body></html>",
    ]
    return "\n".join(parts) + "\n"


def _about(report: "Report") -> str:
    what = f"{report.order.nodes} nodes, {len(report.faults)} faults."
    return f"{what} Again: <code>{escape(_command(report))}</code>"


def _command(report: "Report") -> str:
    order = report.order
    more = f" MUTANT={order.design}" if order.design else ""
    bus = "" if order.bus is Bus.SINGLE else f' ARGS="--bus {order.bus.value}"'
    return f"make chaos SEED={order.seed} SECONDS={order.seconds:g}{more}{bus}"


def _verdict(report: "Report") -> str:
    crossed = report.crossed
    if crossed:
        total = sum(count.number for count in crossed)
        head = f"{len(crossed)} of {len(report.counts)} lines were crossed, {total:,} times"
        text = "; ".join(count.line for count in crossed)
    elif report.is_void:
        head, text = "This run proves nothing", "No line was crossed, but too little happened."
    else:
        head = f"None of {len(report.counts)} lines was crossed"
        missed = [bar.what for bar in report.kept if not bar.is_held]
        text = f"Slower than promised: {'; '.join(missed)}" if missed else "Every number held."
    kind = "verdict" if not crossed and not report.is_void else "verdict alarm"
    return f'<div class="{kind}"><strong>{escape(head)}</strong>{escape(text)}</div>'


def _tiles(report: "Report") -> str:
    figures = report.figures
    shown = [
        ("sends acknowledged", f"{figures.get('send: acknowledged') or 0:,.0f}"),
        ("members removed", f"{figures.get('remove: acknowledged') or 0:,.0f}"),
        ("frames heard", f"{figures['frames'] or 0:,.0f}"),
        ("lag while healthy, p99", _time(figures["lag while healthy, p99 s"])),
        ("longest lag after a fault", _time(report.kept[0].value)),
    ]
    tiles = (f'<div class="tile"><b>{value}</b><span>{name}</span></div>' for name, value in shown)
    return f'<div class="tiles">{"".join(tiles)}</div>'


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    return f"{seconds * 1_000:,.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def _lines(report: "Report") -> str:
    rows = []
    for count in report.counts:
        state = "bad" if count.number else "good"
        examples = "".join(f"<br><code>{escape(text)}</code>" for text in count.examples)
        rows.append(
            f"<tr><td>{escape(count.line)}{examples}</td>"
            f'<td class="number {state}">{count.number:,}</td></tr>'
        )
    return f'<table><tr><th>Line</th><th class="number">Times</th></tr>{"".join(rows)}</table>'


def _bars(bars: "Sequence[Bar]") -> str:
    rows = (
        f"<tr><td>{escape(bar.what)}</td>"
        f'<td class="number {"good" if bar.is_held else "bad"}">{bar.value:,.0f}</td>'
        f'<td class="number">{bar.wanted:,.0f}</td></tr>'
        for bar in bars
    )
    head = '<tr><th></th><th class="number">Seen</th><th class="number">At least</th></tr>'
    return f"<table>{head}{''.join(rows)}</table>"


def _figures(report: "Report") -> str:
    rows = (
        f'<tr><td>{escape(name)}</td><td class="number">{_number(value)}</td></tr>'
        for name, value in report.figures.items()
    )
    return f"<table>{''.join(rows)}</table>"


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"


def _schedule(report: "Report") -> str:
    rows = (
        f'<tr><td class="number">{fault["at_s"]:.1f} s</td><td>{escape(fault["kind"])}</td>'
        f"<td>{escape(fault['target'])} {escape(fault['note'])}</td>"
        f'<td class="number">{fault["lasts_s"]:.1f} s</td></tr>'
        for fault in report.faults
    )
    head = '<tr><th class="number">At</th><th>Fault</th><th></th><th class="number">For</th></tr>'
    table = f"<table>{head}{''.join(rows)}</table>"
    return f"<details><summary>{len(report.faults)} faults</summary>{table}</details>"


# The plot


def _plot(report: "Report") -> str:
    kinds = list(dict.fromkeys(fault["kind"] for fault in report.faults))
    bottom = _TOP + _PLOT
    height = bottom + 30 + _ROW * len(kinds) + 8
    length: float = max([report.order.seconds, *(f["at_s"] + f["lasts_s"] for f in report.faults)])

    def across(seconds: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * min(seconds, length) / length

    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="Lag over time and faults">',
        *_grid(length, across, bottom),
        *_curves(report, across),
        *_rows(report, kinds, across, bottom + 30),
        "</svg>",
    ]
    return "".join(parts)


def _up(seconds: float) -> float:
    """Return the height of a lag; the scale is logarithmic from a millisecond to 100 seconds."""
    low, high = log10(_DECADES[0]), log10(_DECADES[-1])
    part: float = (log10(min(max(seconds, _DECADES[0]), _DECADES[-1])) - low) / (high - low)
    return float(_TOP + _PLOT * (1 - part))


def _grid(length: float, across: Across, bottom: float) -> Iterable[str]:
    for decade in _DECADES:
        y = _up(decade)
        yield f'<path d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}" stroke="var(--line)"/>'
        name = _time(decade) if decade < 1 else f"{decade:g} s"
        yield f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{name}</text>'
    step = 10 if length <= 150 else 60
    for second in range(0, int(length) + 1, step):
        x = across(second)
        yield f'<text x="{x:.1f}" y="{bottom + 17}" text-anchor="middle">{second} s</text>'


def _curves(report: "Report", across: Across) -> Iterable[str]:
    began = report.began_at
    by_second: dict[int, list[float]] = defaultdict(list)
    for one in report.lags:
        by_second[int(one.at - began)].append(one.seconds)
    seconds = sorted(second for second in by_second if second >= 0)
    for part, colour, name in ((0.5, "blue", "median"), (1.0, "orange", "slowest")):
        spots = [
            f"{across(second + 0.5):.1f},{_up(lag.share(by_second[second], part) or 0):.1f}"
            for second in seconds
        ]
        yield (
            f'<polyline points="{" ".join(spots)}" fill="none" stroke="var(--{colour})" '
            f'stroke-width="1.5"><title>{name}</title></polyline>'
        )
    for place, (colour, name) in enumerate((("orange", "slowest"), ("blue", "median"))):
        x = _WIDTH - _RIGHT - 70 * (place + 1)
        yield f'<text x="{x}" y="{_TOP + 10}" style="fill:var(--{colour})">{name}</text>'


def _rows(report: "Report", kinds: Sequence[str], across: Across, top: float) -> Iterable[str]:
    for place, kind in enumerate(kinds):
        y = top + _ROW * place
        yield f'<path d="M{_LEFT} {y + 6:.1f}H{_WIDTH - _RIGHT}" stroke="var(--line)"/>'
        for fault in report.faults:
            if fault["kind"] == kind:
                x = across(fault["at_s"])
                width = max(3.0, across(fault["at_s"] + fault["lasts_s"]) - x)
                yield (
                    f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="11" rx="2" '
                    f'fill="var(--blue)"><title>{escape(kind)} {escape(fault["target"])} '
                    f"{escape(fault['note'])}</title></rect>"
                )
        yield f'<text x="{_LEFT + 4}" y="{y + 10:.1f}" class="over">{escape(kind)}</text>'
