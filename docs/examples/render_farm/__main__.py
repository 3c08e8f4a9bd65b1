"""
``python -m docs.examples.render_farm [--storyboard FILE] [--out DIR]``, from the project's root.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import ModuleType

    from rich.console import Console

    from docs.examples.render_farm.results import Report, ShotResult
    from docs.examples.render_farm.storyboard import Storyboard

__all__ = ["main"]

_STORYBOARD = Path(__file__).with_name("storyboard.toml")
_NEEDED = {"PIL", "httpx", "matplotlib", "rich"}
_WOVEN = "resilient run --policies docs/examples/render_farm/resilient.toml -m docs.examples.render_farm --woven"
_FAILED, _UNUSABLE_INPUT, _INTERRUPTED = 1, 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """
    Render a storyboard through a failing farm, without and with resilient.

    Returns:
        0 when the resilient run delivered every shot, 1 when it lost one or the
        farm did not start, 2 for input that cannot be used, 130 after Ctrl-C.
    """
    parser = argparse.ArgumentParser(
        prog="python -m docs.examples.render_farm",
        description="Render a storyboard through a failing farm, without and with resilient.",
    )
    parser.add_argument("--storyboard", type=Path, default=_STORYBOARD, metavar="FILE", help="what to render (TOML)")
    parser.add_argument("--out", type=Path, default=Path("out"), metavar="DIR", help="where pictures go (default: out)")
    parser.add_argument("--woven", action="store_true", help="with the engine that has no decorators (see README.md)")
    arguments = parser.parse_args(argv)
    try:
        return _run(arguments.storyboard, arguments.out, woven=arguments.woven)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in _NEEDED:
            raise
        return _say(f"the demo needs {package}: pip install 'resilient-aspects[demo]'", _UNUSABLE_INPUT)
    except KeyboardInterrupt:
        return _say("interrupted; every render server is stopped", _INTERRUPTED)


def _say(problem: object, status: int) -> int:
    print(problem, file=sys.stderr)
    return status


def _run(storyboard: Path, out: Path, *, woven: bool) -> int:
    # Imported here, so that a missing extra is told with its remedy.
    from rich.console import Console

    from docs.examples.render_farm.farm import FarmError
    from docs.examples.render_farm.report import print_report, write_report
    from docs.examples.render_farm.storyboard import StoryboardError, read_storyboard

    try:
        board = read_storyboard(storyboard)
    except StoryboardError as error:
        return _say(error, _UNUSABLE_INPUT)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return _say(f"--out {out}: {(error.strerror or str(error)).lower()}; give another folder", _UNUSABLE_INPUT)
    engine = importlib.import_module(f"docs.examples.render_farm.{'plain_engine' if woven else 'engine'}")
    if not hasattr(engine.render_shot, "resilience"):
        return _say(f"--woven needs policies from outside: {_WOVEN}", _UNUSABLE_INPUT)
    console = Console()
    try:
        report = _shoot(engine, board, console)
    except FarmError as error:
        return _say(error, _FAILED)
    print_report(report, console)
    for path in write_report(report, out):
        console.print(f"wrote {path}", highlight=False)
    if report.resilient.lost:
        return _say(f"{report.resilient.lost} shots were lost in spite of resilient", _FAILED)
    return 0


def _shoot(engine: ModuleType, board: Storyboard, console: Console) -> Report:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from docs.examples.render_farm.play import play_bare, play_resilient
    from resilient import default_registry

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TextColumn("{task.fields[lost]} lost"), console=console) as progress:

        def watch(name: str) -> Callable[[ShotResult], None]:
            task = progress.add_task(name, total=len(board.shots), lost=0)

            def done(shot: ShotResult) -> None:
                lost = progress.tasks[task].fields["lost"] + (shot.route == "lost")
                progress.update(task, advance=1, lost=lost)

            return done

        bare = play_bare(engine, board, watch("bare functions"))
        return play_resilient(engine, board, default_registry(), bare, watch("with resilient"))


if __name__ == "__main__":
    sys.exit(main())
