"""
The chart of what a success costs, as SVG text.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from benchmarks.results import OURS, number

if TYPE_CHECKING:
    from benchmarks.results import Result

__all__ = ["chart"]

_WIDTH = 860
_LABELS = 400
_VALUES = 70
_BAR = 18
_ROW = 26
_TOP = 78
_SCALE = "in plain closures (1 = a wrapper that only calls); logarithmic, shorter is better"

# Colours that read on white and on black pages.
_STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #24292f }
  .title { font-size: 17px; font-weight: 600 }
  .small { font-size: 12px; fill: #57606a }
  .grid { stroke: #8c959f; stroke-opacity: .35 }
  .ours { fill: #1a7f5a } .peer { fill: #8c959f }
  @media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .small { fill: #9da7b1 } .ours { fill: #3fb68b } }
"""


def chart(results: list[Result]) -> str:
    """
    Return the chart of *results*, ours first, then the rest from cheap to dear, on a logarithmic scale.
    """
    ours = [one for one in results if one.who == OURS and one.bound is not None and one.bound != "listener"]
    peers = sorted((one for one in results if one.who != OURS), key=lambda one: one.value)
    rows = [*_dearest(ours), *peers]
    top = 10 ** math.ceil(math.log10(max([10.0, *(one.value for one in rows)])))
    height = _TOP + _ROW * len(rows) + 34

    def x(value: float) -> float:
        share = math.log10(max(value, 1.0)) / math.log10(top)
        return _LABELS + share * (_WIDTH - _LABELS - _VALUES)

    title = "What a decorator adds to a call that succeeds"
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{title}">',
        f"<style>{_STYLE}</style>",
        f'<text class="title" x="16" y="28">{title}</text>',
        f'<text class="small" x="16" y="48">{_SCALE}</text>',
    ]
    for power in range(round(math.log10(top)) + 1):
        at = x(10.0**power)
        lines.append(f'<line class="grid" x1="{at:.1f}" y1="{_TOP - 8}" x2="{at:.1f}" y2="{height - 30}"/>')
        lines.append(f'<text class="small" x="{at:.1f}" y="{height - 12}" text-anchor="middle">{10**power:,}</text>')
    for index, one in enumerate(rows):
        y = _TOP + _ROW * index
        kind = "ours" if one.who == OURS else "peer"
        length = max(2.0, x(one.value) - _LABELS)
        label = escape(one.subject if one.who != OURS else f"resilient: {one.subject}")
        lines += [
            f'<text x="{_LABELS - 10}" y="{y + 13}" text-anchor="end">{label}</text>',
            f'<rect class="{kind}" x="{_LABELS}" y="{y}" width="{length:.1f}" height="{_BAR}" rx="2"/>',
            f'<text x="{x(one.value) + 6:.1f}" y="{y + 13}">{number(one.value)}</text>',
        ]
    return "\n".join([*lines, "</svg>"]) + "\n"


def _dearest(ours: list[Result]) -> list[Result]:
    """
    Return the dearest of ours for each bound and colour: the chart need not show each decorator.
    """
    rows: dict[tuple[str | None, bool], Result] = {}
    for one in ours:
        key = (one.bound, one.subject.endswith("async"))
        if key not in rows or one.value > rows[key].value:
            rows[key] = one
    return list(rows.values())
