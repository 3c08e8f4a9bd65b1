"""
Draw the timeline: servers and circuits, the service level and the errors of a run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib as mpl

mpl.use("Agg")

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

    from docs.examples.render_farm.results import Mark, Report

__all__ = ["draw_timeline", "spans"]

_STATES = {"closed": "#5fbf7f", "half_open": "#f2b34c", "open": "#e5534b"}
_DOWN = "#8b8f9a"
_EDGE = "#5a3d00"
_CATEGORIES = {
    "network": "#2f6fb5",
    "memory": "#8d4bc0",
    "model": "#c2571a",
    "workflow": "#4b7f3f",
    "validation": "#7a6a2f",
    "system": "#b3263a",
    "unknown": "#555a66",
}
_LEVELS = ("minimal", "low", "medium", "high", "full")


def spans(marks: list[Mark], first: str, end: float) -> list[tuple[float, float, str]]:
    """
    Return (start, length, value) for each stretch between *marks*, from 0 to *end*, beginning with *first*.
    """
    times = [0.0, *(mark.at for mark in marks), end]
    values = [first, *(mark.value for mark in marks)]
    return [(start, stop - start, value) for start, stop, value in zip(times, times[1:], values, strict=False)]


def draw_timeline(report: Report, path: Path) -> None:
    """
    Write the timeline of *report*'s resilient run as PNG.
    """
    run, end = report.resilient, report.resilient.seconds
    servers = sorted({mark.name for mark in report.marks if mark.kind == "down"})
    functions = sorted({mark.name for mark in report.marks if mark.kind == "error"})
    lanes = len(report.circuits) + len(servers)
    figure = Figure(
        figsize=(14, 3.4 + 0.42 * lanes + 0.42 * len(functions) + 1.9), layout="constrained", facecolor="white"
    )
    heights = (0.5 + 0.55 * lanes, 2.4, 0.6 + 0.55 * max(1, len(functions)))
    top, middle, bottom = figure.subplots(3, 1, sharex=True, height_ratios=heights)
    total = len(run.shots)
    figure.suptitle(
        f"{report.title}: {total - run.lost} of {total} shots delivered through a failing farm in {end:.1f} s",
        fontsize=17,
        fontweight="bold",
    )
    _circuits(top, report, servers, end)
    _level(middle, report, end)
    _errors(bottom, report, functions)
    bottom.set_xlabel("seconds since the run began", fontsize=12)
    bottom.set_xlim(0, end)
    for axes in (top, middle, bottom):
        axes.grid(axis="x", color="#e4e6ea", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)


def _circuits(axes: Axes, report: Report, servers: list[str], end: float) -> None:
    names = [*report.circuits, *servers]
    for lane, name in enumerate(names):
        if lane < len(report.circuits):
            marks = [mark for mark in report.marks if mark.kind == "circuit" and mark.name == name]
            stretches = [(start, long, _STATES[value]) for start, long, value in spans(marks, "closed", end)]
        else:
            marks = [mark for mark in report.marks if mark.kind in {"down", "up"} and mark.name == name]
            stretches = [(start, long, _DOWN) for start, long, value in spans(marks, "up", end) if value == "down"]
        axes.broken_barh([s[:2] for s in stretches], (lane - 0.32, 0.64), facecolors=[s[2] for s in stretches])
        # A probe may be over in a hundredth of a second: mark it, or nobody sees it.
        probes = [mark.at for mark in marks if mark.value == "half_open"]
        axes.scatter(probes, [lane] * len(probes), marker="D", s=42, color=_STATES["half_open"], edgecolor=_EDGE)
    labels = [f"circuit “{name}”" for name in report.circuits] + [f"server {name}" for name in servers]
    axes.set_yticks(range(len(names)), labels, fontsize=11)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_ylabel("circuits, servers", fontsize=12)
    handles: list[Artist] = [
        Patch(color=colour, label=f"circuit {state.replace('_', '-')}") for state, colour in _STATES.items()
    ]
    handles.append(
        Line2D(
            [],
            [],
            linestyle="",
            marker="D",
            markersize=6.5,
            color=_STATES["half_open"],
            markeredgecolor=_EDGE,
            label="first probe",
        )
    )
    if servers:
        handles.append(Patch(color=_DOWN, label="server process dead"))
    _legend(axes, handles, "Circuits open when a service fails, and probe before they trust it again")


def _level(axes: Axes, report: Report, end: float) -> None:
    marks = [mark for mark in report.marks if mark.kind == "level"]
    stretches = spans(marks, "full", end)
    times = [start for start, _, _ in stretches] + [end]
    heights = [_LEVELS.index(value) for _, _, value in stretches]
    heights.append(heights[-1])
    axes.step(times, heights, where="post", color="#22304a", linewidth=2.4)
    axes.fill_between(times, heights, step="post", color="#22304a", alpha=0.12)
    for kind, colour, height in (("recovery", "#8d4bc0", -0.55), ("fallback", "#d08a12", -0.55)):
        happened = [mark.at for mark in report.marks if mark.kind == kind]
        axes.scatter(happened, [height] * len(happened), marker="^", s=44, color=colour, clip_on=False, zorder=3)
    axes.set_yticks(range(len(_LEVELS)), [name.upper() for name in _LEVELS], fontsize=11)
    axes.set_ylim(-0.9, len(_LEVELS) - 0.6)
    axes.set_ylabel("service level", fontsize=12)
    handles = [
        Line2D([], [], color="#22304a", linewidth=2.4, label="service level"),
        Line2D([], [], color="#8d4bc0", marker="^", linestyle="", label="recovery step"),
        Line2D([], [], color="#d08a12", marker="^", linestyle="", label="fallback"),
    ]
    _legend(axes, handles, "Triggers lower the service level under errors, and raise it when they cease")


def _errors(axes: Axes, report: Report, functions: list[str]) -> None:
    errors = [mark for mark in report.marks if mark.kind == "error"]
    for category, colour in _CATEGORIES.items():
        for lane, function in enumerate(functions):
            times = [mark.at for mark in errors if mark.name == function and mark.value == category]
            axes.vlines(times, lane - 0.34, lane + 0.34, color=colour, linewidth=2.6)
    axes.set_yticks(range(len(functions)), functions, fontsize=11)
    axes.set_ylim(max(1, len(functions)) - 0.4, -0.6)
    axes.set_ylabel("failed attempts", fontsize=12)
    met = [category for category in _CATEGORIES if any(mark.value == category for mark in errors)]
    handles = [Line2D([], [], color=_CATEGORIES[one], linewidth=3, label=f"{one} error") for one in met]
    _legend(axes, handles, f"{len(errors)} attempts failed, each tick is one")


def _legend(axes: Axes, handles: Sequence[Artist], title: str) -> None:
    axes.set_title(title, loc="left", fontsize=12.5, pad=24)
    if handles:
        axes.legend(
            handles=handles,
            loc="lower left",
            bbox_to_anchor=(0, 0.995),
            ncols=len(handles),
            frameon=False,
            fontsize=10.5,
            borderaxespad=0.1,
        )
