"""
The table that a run prints, and the page that a full run leaves.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

from benchmarks.machine import machine, versions
from benchmarks.results import HELD, MET, MISSED, OURS, duration, number

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.results import Result
    from benchmarks.runner import Question
    from benchmarks.stopwatch import Stopwatch

__all__ = ["closing", "page", "table"]


def _bound(result: Result) -> str:
    limit = result.limit
    if limit is None:
        return ""
    told = f" ({limit.told})" if limit.told else ""
    return f"{number(limit.at_most)}{told}"


def _verdict(result: Result) -> str:
    limit = result.limit
    if limit is None:
        return ""
    if result.verdict == HELD:
        return f"{HELD} at {number(limit.held or 0.0)}"
    if result.verdict == MET and limit.held is not None:
        return f"{MET}: bounds.py need not hold it any more"
    return result.verdict


def table(name: str, results: list[Result]) -> Iterator[str]:
    """
    Yield the lines of one question for a terminal.
    """
    yield f"\n{name}"
    for one in results:
        who = "" if one.who == OURS or one.who in one.subject else f" [{one.who}]"
        bound = f"at most {_bound(one)}" if one.bound else ""
        yield f"  {one.subject + who:<64} {one.shown:>14} {one.time:>16}   {bound:<24} {_verdict(one)}".rstrip()


def closing(answers: dict[str, list[Result]]) -> Iterator[str]:
    """
    Yield how many bounds are met, and which are not.
    """
    bounded = [(name, one) for name, results in answers.items() for one in results if one.bound]
    counts = Counter(one.verdict for _, one in bounded)
    yield ""
    yield f"{counts[MET]} of {len(bounded)} bounds met, {counts[HELD]} targets missed but held, {counts[MISSED]} missed"
    for verdict in (HELD, MISSED):
        for name, one in bounded:
            if one.verdict == verdict:
                yield f"{verdict}: {name}: {one.subject}: {one.shown}, at most {_bound(one)}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _units(watch: Stopwatch) -> str:
    units = ((colour, watch.unit(is_async=colour == "async")) for colour in ("sync", "async"))
    told = ", ".join(f"{duration(unit)} {colour}" for colour, unit in units if not math.isnan(unit))
    return f"1 unit = what one plain closure adds to a call = {told or 'not measured'}"


def heading(watch: Stopwatch) -> Iterator[str]:
    """
    Yield what was measured with, and on what.
    """
    yield machine()
    yield ", ".join(f"{name} {number}" for name, number in versions().items())
    yield _units(watch)


def page(questions: tuple[Question, ...], answers: dict[str, list[Result]], watch: Stopwatch) -> str:
    """
    Return the page with all results, in Markdown.
    """
    lines = [
        "# Results",
        "",
        "Written by `make bench`. What is measured and how: [performance](../docs/explanation/performance.md).",
        "",
        *(f"- {line}" for line in heading(watch)),
        "",
        "Lower is better. Costs of a success are what policies add to a bare call; all other times are whole calls,",
        "errors raised and caught. *held*: the target is missed today, and the number is kept from growing.",
    ]
    for question in questions:
        results = answers[question.QUESTION]
        lines += ["", f"## {question.QUESTION}", "", (question.__doc__ or "").strip(), ""]
        lines += ["| what | who | result | here | at most | |", "|---|---|--:|--:|--:|---|"]
        lines += [
            f"| {_cell(one.subject)} | {one.who} | {one.shown} | {one.time} | {_bound(one)} | {_verdict(one)} |"
            for one in results
        ]
    return "\n".join(lines) + "\n"
