"""Lines on logarithmic axes, written as SVG: readable in light and dark, without colours too."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from xml.sax.saxutils import escape

_WIDTH, _HEIGHT = 760, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 76, 210, 58, 52
_LINE = 17

# After Okabe and Ito, whose colours people who see few can tell apart.
_STYLE = """
svg { background: var(--paper); color-scheme: light dark; --paper: #fff; --ink: #1f2328;
  --faint: #d5d9de; --ours: #0060a8; --ours-too: #1f8fce;
  --yardstick: #6b6b6b; --green: #007d5a; --purple: #a8467f; --orange: #c04d00 }
@media (prefers-color-scheme: dark) {
  svg { --paper: #0d1117; --ink: #e6edf3; --faint: #30363d;
    --ours: #62b5f5; --ours-too: #9ad3ff;
    --yardstick: #a9b1ba; --green: #2fbf8f; --purple: #e08fc0; --orange: #f58d3d } }
text { font: 13px system-ui, sans-serif; fill: var(--ink) }
.title { font-size: 16px; font-weight: 600 }
.grid { stroke: var(--faint); stroke-width: 1 }
.line { fill: none }
"""


@dataclass(frozen=True, slots=True)
class Pen:
    """How a line is drawn, so that it is told from others without colours too."""

    colour: str
    width: float = 2
    dashes: str = "none"


@dataclass(frozen=True, slots=True)
class Line:
    """One contender: its name, how it is drawn, and its points."""

    name: str
    pen: Pen
    points: Sequence[tuple[float, float]]


def drawn(title: str, along: str, upwards: str, lines: Sequence[Line]) -> str:
    """Return the picture as SVG; both axes are logarithmic, all values above 0."""
    xs = sorted({x for line in lines for x, _ in line.points})
    ys = [y for line in lines for _, y in line.points]
    across = _Axis(xs[0], xs[-1], _LEFT, _WIDTH - _RIGHT)
    up = _Axis(min(ys), max(ys), _HEIGHT - _BOTTOM, _TOP)
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    described = "; ".join(
        f"{line.name}: " + ", ".join(f"{number(y)} at {number(x)}" for x, y in line.points)
        for line in lines
    )
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">',
        f"<title>{escape(title)}</title><desc>{escape(described)}</desc>",
        f"<style>{_STYLE}</style>",
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="var(--paper)"/>',
        f'<text class="title" x="16" y="26">{escape(title)}</text>',
        f'<text x="16" y="46">{escape(upwards)}</text>',
        f'<text x="{middle:.0f}" y="{_HEIGHT - 12}" text-anchor="middle">{escape(along)}</text>',
        *(_upright(across.at(x), number(x)) for x in xs),
        *(_level(up.at(y), number(y)) for y in up.ticks()),
        *(_curve(line, across, up) for line in lines),
        *_names(lines, up),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def number(value: float) -> str:
    """Return a number as people read it: three figures, thousands apart, millions named."""
    if value >= 1_000_000:
        return f"{value / 1_000_000:.3g} M"
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


@dataclass(frozen=True, slots=True)
class _Axis:
    least: float
    most: float
    begin: float
    end: float

    def at(self, value: float) -> float:
        low, high = self._bounds()
        share = (math.log(value) - math.log(low)) / (math.log(high) - math.log(low))
        return self.begin + share * (self.end - self.begin)

    def ticks(self) -> list[float]:
        """Return the 1, 2 and 5 of each power of ten that fit; only the 1s on a long axis."""
        low, high = self._bounds()
        powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        steps = (1,) if high / low > 500 else (1, 2, 5)
        ticks = [step * 10.0**power for power in powers for step in steps]
        return [tick for tick in ticks if low <= tick <= high]

    def _bounds(self) -> tuple[float, float]:
        if self.begin < self.end:
            return self.least, self.most if self.most > self.least else self.least * 2
        return self.least / 1.3, self.most * 1.3


def _upright(x: float, text: str) -> str:
    return (
        f'<line class="grid" x1="{x:.1f}" y1="{_TOP}" x2="{x:.1f}" y2="{_HEIGHT - _BOTTOM}"/>'
        f'<text x="{x:.1f}" y="{_HEIGHT - _BOTTOM + 18}" text-anchor="middle">{text}</text>'
    )


def _level(y: float, text: str) -> str:
    return (
        f'<line class="grid" x1="{_LEFT}" y1="{y:.1f}" x2="{_WIDTH - _RIGHT}" y2="{y:.1f}"/>'
        f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{text}</text>'
    )


def _curve(line: Line, across: _Axis, up: _Axis) -> str:
    spots = [(across.at(x), up.at(y)) for x, y in line.points]
    colour = f"var(--{line.pen.colour})"
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in spots)
    dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>' for x, y in spots)
    style = f'stroke="{colour}" stroke-width="{line.pen.width}"'
    dashes = f'stroke-dasharray="{line.pen.dashes}"'
    return f'<polyline class="line" points="{path}" {style} {dashes}/>{dots}'


def _names(lines: Sequence[Line], up: _Axis) -> list[str]:
    """Write each name beside the end of its line, moved apart where they would meet."""
    ends = sorted((up.at(line.points[-1][1]), at) for at, line in enumerate(lines))
    places = [y for y, _ in ends]
    for _ in places:
        for upper, lower in pairwise(range(len(places))):
            short = _LINE - (places[lower] - places[upper])
            if short > 0:
                places[upper] -= short / 2
                places[lower] += short / 2
    return [
        f'<text x="{_WIDTH - _RIGHT + 12}" y="{y + 4:.1f}" '
        f'style="fill: var(--{lines[at].pen.colour})">{escape(lines[at].name)}</text>'
        for y, (_, at) in zip(places, ends, strict=True)
    ]
