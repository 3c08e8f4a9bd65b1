"""
Tell what came of both runs: tables on the terminal, and a JSON file.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from docs.examples.render_farm.contact_sheet import contact_sheet, route_colour
from docs.examples.render_farm.timeline import draw_timeline

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from rich.console import Console

    from docs.examples.render_farm.results import Report, RunResult

__all__ = ["print_report", "write_report"]

_TOP = 6
_MODULES = ("docs.examples.render_farm.engine:", "docs.examples.render_farm.plain_engine:")
# The order in which a reader asks: how well did it go?
_KINDS = ("first try", "retry", "recovery", "fallback", "lost")


def write_report(report: Report, folder: Path) -> list[Path]:
    """
    Write the pictures and ``report.json`` into *folder*, and return their paths.
    """
    paths = [folder / name for name in ("contact-sheet.png", "timeline.png", "report.json")]
    sheet, timeline, data = paths
    contact_sheet(report).save(sheet)
    draw_timeline(report, timeline)
    data.write_text(json.dumps(_as_json(report), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return paths


def _as_json(report: Report) -> Mapping[str, Any]:
    def run(result: RunResult) -> dict[str, Any]:
        shots = [{key: value for key, value in asdict(shot).items() if key != "picture"} for shot in result.shots]
        return {
            "seconds": result.seconds,
            "shots_delivered": len(result.shots) - result.lost,
            "shots_as_ordered": result.as_ordered,
            "shots_lost": result.lost,
            "routes": dict(result.routes),
            "errors": [{"error": error, "times": times} for error, times in result.errors],
            "shots": shots,
        }

    return {
        "title": report.title,
        "seed": report.seed,
        "bare": run(report.bare),
        "resilient": run(report.resilient),
        "timeline": [asdict(mark) for mark in report.marks],
        "health": report.health,
    }


def print_report(report: Report, console: Console) -> None:
    """
    Print the comparison, the top errors and the health snapshot.
    """
    console.print()
    console.print(_comparison(report))
    console.print(_top_errors(report))
    console.print("health() after the resilient run", style="bold italic")
    console.print(Text(_narrower(report.health_text)), soft_wrap=True)
    console.print()


def _narrower(table: str) -> str:
    """
    Leave out the module that all functions of the table are in, for terminals of 100 columns.
    """
    module = next((one for one in _MODULES if one in table), "")
    gap = " " * len(module)
    return table.replace(module, "").replace(f"  function{gap}", "  function", 1)


def _comparison(report: Report) -> Table:
    table = Table(title=f"{report.title}: the same faults, played twice", title_justify="left", title_style="bold")
    table.add_column("shots")
    table.add_column("bare functions", justify="right")
    table.add_column("with resilient", justify="right")
    runs = (report.bare, report.resilient)
    table.add_row("ordered", *(str(len(run.shots)) for run in runs))
    table.add_row("delivered", *(str(len(run.shots) - run.lost) for run in runs), style="bold")
    routes = {route for run in runs for route in run.routes if route != "lost"}
    for route in sorted(routes, key=lambda route: (_KINDS.index(route.partition(":")[0]), route)):
        table.add_row(Text(f"  by {route}", style=route_colour(route)), *(str(run.routes[route]) for run in runs))
    table.add_row("  exactly as ordered", *(str(run.as_ordered) for run in runs))
    degraded = (len(run.shots) - run.lost - run.as_ordered for run in runs)
    table.add_row("  with less detail, or fewer frames", *map(str, degraded))
    lost = (Text(str(run.lost), style="bold red" if run.lost else "bold green") for run in runs)
    table.add_row("lost", *lost, style="bold", end_section=True)
    table.add_row("seconds", *(f"{run.seconds:.1f}" for run in runs))
    return table


def _top_errors(report: Report) -> Table:
    table = Table(title="Top errors of the resilient run", title_justify="left", title_style="bold")
    table.add_column("times", justify="right")
    table.add_column("error")
    for text, times in report.resilient.errors[:_TOP]:
        table.add_row(str(times), Text(text, overflow="ellipsis", no_wrap=True))
    return table
