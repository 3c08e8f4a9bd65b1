"""
Ask every question: ``python -m benchmarks [--quick] [--only NAME ...]``.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.chart import chart
from benchmarks.report import closing, heading, page, table
from benchmarks.runner import QUESTIONS, QUICK, ask_all, missed
from benchmarks.stopwatch import Stopwatch

_QUICK, _FULL = 3, 15
_ROOT = Path(__file__).parent.parent
PAGE = _ROOT / "benchmarks" / "RESULTS.md"
CHART = _ROOT / "docs" / "assets" / "overhead.svg"


def main(arguments: list[str] | None = None) -> int:
    """
    Measure, print, and return 1 if a bound is missed.

    A full run also asks the peers that are installed, and writes the results page and its chart.
    """
    names = [question.QUESTION for question in QUESTIONS]
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Ask what resilient costs.")
    parser.add_argument("--quick", action="store_true", help="few rounds, no peers: check the bounds, write nothing")
    parser.add_argument("--only", nargs="+", choices=names, metavar="NAME", help=f"some of: {', '.join(names)}")
    options = parser.parse_args(arguments)
    questions = QUICK if options.quick else QUESTIONS
    if options.only is not None:
        questions = tuple(one for one in QUESTIONS if one.QUESTION in options.only)
    watch = Stopwatch(_QUICK if options.quick else _FULL)
    try:
        answers = ask_all(
            questions, watch, with_peers=not options.quick, tell=lambda line: print(line, file=sys.stderr)
        )
        for line in heading(watch):
            print(line)
        for name, results in answers.items():
            print("\n".join(table(name, results)))
        print("\n".join(closing(answers)))
        if not options.quick and options.only is None:
            PAGE.write_text(page(questions, answers, watch), encoding="utf-8")
            CHART.parent.mkdir(parents=True, exist_ok=True)
            CHART.write_text(chart(answers["success"]), encoding="utf-8")
    finally:
        watch.close()
    return 1 if missed(answers) else 0


if __name__ == "__main__":
    sys.exit(main())
