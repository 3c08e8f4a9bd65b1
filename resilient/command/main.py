"""
The command ``resilient``, as people and shells see it.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

__all__ = ["PROBLEMS", "USAGE", "declared_in", "importing", "kept_apart", "main", "say", "show"]

PROBLEMS = 1
"""The status when something is wrong with what was asked about."""

USAGE = 2
"""The status when the question itself cannot be understood, or its file is not there."""

_RUN_USAGE = """resilient run [options] program.py [argument ...]
       resilient run [options] -m module [argument ...]"""

_RUN = """
examples:
  resilient run --policies resilient.toml render.py scene.toml
  resilient run -m studio.render --scene scene.toml      policies from $RESILIENT_CONFIG, resilient.toml, pyproject.toml
  resilient run --report --strict --policies resilient.toml render.py

Functions are named module:qualname in the file, and those of the program itself __main__:qualname, or by the name of
its file (render:make_frame). Options for resilient come before the program; all that follows it is the program's own.
The program - is read from standard input.
The exit status is the program's; 2 where the file or the program cannot be used, 1 with --strict where a program that
went well leaves a pattern that matched nothing, or a function that its policies cannot be put on.
"""

_CHECK = """
examples:
  resilient check                                        $RESILIENT_CONFIG, resilient.toml or pyproject.toml
  resilient check studio.toml --import                   also import the modules, and look for the functions
  resilient check --import --strict                      for continuous integration: warnings count
  resilient check --json | jq .problems

Each problem is one line, file:line: key: what is wrong. The exit status is 0 when there is none, 1 when there is one,
2 when there is no such file.
"""

_EXPLAIN = """
examples:
  resilient explain studio.video:render_clip
  resilient explain studio.video:Studio.render --policies studio.toml
  RESILIENT_POLICIES__GPU__RETRY__MAX_ATTEMPTS=5 resilient explain studio.video:render_clip

Where a value may come from, a later one winning: default, decorator, file, environment, runtime (what the module itself
has given registry.configure). The module is imported for its decorators; with --no-import, or where that fails, the
answer is without them and says so. Where a policy would not be in force - weaving does not guard what is there, or
RESILIENT_DISABLED is set - a note says why. The exit status is 0 for an answer, that one too, 1 where the file has
problems or there is no such function, 2 when the question cannot be understood.
"""


def say(text: str) -> None:
    """
    Tell the person at the terminal, beside what the command prints.
    """
    print(f"resilient: {text}", file=sys.stderr)


def show(text: str) -> None:
    """
    Print an answer; whoever reads it may stop before its end.
    """
    # A terminal or a pipe that has no such letters gets them escaped.
    with contextlib.suppress(AttributeError):
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # a stand-in may have none
    try:
        print(text, flush=True)
    except BrokenPipeError:
        # Python would try once more when it ends, and tell of that.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def declared_in(given: str | None) -> Path | None:
    """
    Return the file of policies that is *given*, or the one that would be found; None, having said so, where it is not.

    What is found in the working folder is called by its name there, so that messages are short.
    """
    from resilient.declared.reading import find

    path = find() if given is None else Path(given)
    if path is None:
        say("no policies found; name the file, or call it resilient.toml")
        return None
    with contextlib.suppress(ValueError):
        path = path.relative_to(Path.cwd())
    if not path.is_file():
        say(f"there is no file {str(path)!r}")
        return None
    return path


@contextlib.contextmanager
def kept_apart() -> Generator[None]:
    """
    Let a file's modules be found in the working folder too, and keep what they print from the answer.
    """
    from resilient.declared.references import looked_for_in

    with looked_for_in(str(Path.cwd())), contextlib.redirect_stdout(sys.stderr):
        yield


@contextlib.contextmanager
def importing() -> Generator[None]:
    """
    Let modules of the working folder be imported, as ``python -m`` does, and keep what they print from the answer.
    """
    if not sys.flags.safe_path:
        from resilient.command.apart import make_way

        folder = str(Path.cwd())
        if folder not in sys.path:
            sys.path.insert(0, folder)
        make_way(folder)
    with kept_apart():
        yield


def main(argv: Sequence[str] | None = None) -> int:
    """
    Do what the command line asks for.

    Args:
        argv: What follows the command's name; None: what this process was given.

    Returns:
        The exit status: 0, 1 for problems, 2 for usage; of ``run``, the program's.
    """
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.version:
        from importlib.metadata import version

        print(f"resilient {version('resilient-aspects')}")
        return 0
    if arguments.command is None:
        parser.print_help(sys.stderr)
        return USAGE
    # Only now: each command loads what it needs itself.
    command = importlib.import_module(f"resilient.command.{arguments.command}")
    status: int = command.act(arguments)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="resilient",
        description="Run programs under declared policies, and look at what is declared.",
        epilog="Each command has examples: resilient run --help",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")

    run = _command(commands, "run", "run an unchanged program under declared policies", _RUN)
    run.usage = _RUN_USAGE
    _policies(run)
    run.add_argument(
        "--report", action="store_true", help="at the end, print health and what the policies did (stderr)"
    )
    run.add_argument("--json", action="store_true", help="the same as JSON, on one line; there is no need for --report")
    run.add_argument(
        "--strict",
        action="store_true",
        help="a pattern that matches nothing, or a policy that cannot be put on its function, is an error",
    )
    run.add_argument(
        "-m", dest="module", nargs=argparse.REMAINDER, metavar="module ...", help="run a module, as python -m"
    )
    run.add_argument(
        "program", nargs=argparse.REMAINDER, help="the program and its arguments", metavar="program.py ..."
    )

    check = _command(commands, "check", "say what is wrong with a file of policies", _CHECK)
    check.add_argument("file", nargs="?", metavar="FILE", help="the file; without: the one that would be found")
    check.add_argument("--import", dest="imports", action="store_true", help="import the modules that it names")
    check.add_argument("--strict", action="store_true", help="warnings are problems")
    check.add_argument("--json", action="store_true", help="print JSON")

    explain = _command(commands, "explain", "show a function's policies, and where each value comes from", _EXPLAIN)
    explain.add_argument("function", metavar="MODULE:FUNCTION", help="such as studio.video:Studio.render")
    _policies(explain)
    explain.add_argument("--no-import", dest="imports", action="store_false", help="do not import the module")
    explain.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, what: str, epilog: str
) -> argparse.ArgumentParser:
    return commands.add_parser(
        name,
        help=what,
        description=what[0].upper() + what[1:] + ".",
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def _policies(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--policies",
        metavar="FILE",
        help="the file of policies (default: $RESILIENT_CONFIG, resilient.toml here or above, or pyproject.toml's"
        " [tool.resilient])",
    )
