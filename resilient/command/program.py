"""
A program, found and run as Python itself does: ``program.py``, a folder or zip file, ``-``, ``-m module``.
"""

from __future__ import annotations

import builtins
import importlib.machinery
import os
import pkgutil
import re
import runpy
import sys
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import wrapt

from resilient.command.apart import make_way
from resilient.command.rewriting import parse, rewrite

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "LAUNCH",
    "NotFound",
    "Program",
    "by_name",
    "by_path",
    "execute",
    "fresh_main",
    "module",
    "prepare",
    "script",
]

_MAIN = "__main__"

# A source that says how it is to be read: by its first bytes, or by a comment on one of the first two lines.
_DECLARED = re.compile(rb"\xef\xbb\xbf|(?:[ \t\f]*(?:#.*)?\n)?[ \t\f]*#.*?coding[:=][ \t]*[-\w.]")


class NotFound(Exception):  # noqa: N818 - what was asked for is not there; nothing has gone wrong
    """
    There is no such program; the message is the one that Python would give.

    Args:
        message: What Python would say.
        status: The status it would exit with.
    """

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.status = status


class Program(NamedTuple):
    """
    What is to run.

    Attributes:
        file: Its ``__file__``, and the file that tracebacks name.
        source: Its text; None where there is none to be had.
        code: Its compiled code, where there is no text.
        attributes: What its module knows of itself.
    """

    file: str
    source: bytes | None
    code: types.CodeType | None
    attributes: dict[str, Any]


# -- Finding ----------------------------------------------------------------------


def enter(name: str, *, is_module: bool) -> str:
    """
    Make the folder of a program the first to look for modules in, as Python does, and return it.

    Args:
        name: The program's path, or the name of its module.
        is_module: Whether that is what it is.
    """
    # Searched for its __main__ even where Python was asked to look into no folder (-P, -I).
    searched = not is_module and name != "-" and _has_modules(name)
    if is_module:
        folder = str(Path.cwd())
    elif searched:
        folder = str(Path(name).absolute())
    else:
        folder = "" if name == "-" else os.path.dirname(os.path.realpath(name))  # noqa: PTH120 - a place in sys.path is a text
    if searched or not sys.flags.safe_path:
        make_way(folder)
        # In place of the command's own; where Python was asked to look into none, the first is another's.
        sys.path[: not sys.flags.safe_path] = [folder]
    return folder


def by_path(path: str) -> Program:
    """
    Find the program that ``python path`` would run; its folder is entered.

    Raises:
        NotFound: There is none.
    """
    if path == "-":
        return _standard_input()
    if not _has_modules(path):
        return script(path)
    try:
        return module(_MAIN)
    except NotFound:
        raise NotFound(f"can't find '__main__' module in {str(Path(path).absolute())!r}") from None


def by_name(name: str) -> Program:
    """
    Find the program that ``python -m name`` would run; the working folder is entered.

    Raises:
        NotFound: There is none.
    """
    program = module(name)
    sys.argv[0] = program.file
    return program


def _has_modules(path: str) -> bool:
    """
    Tell whether *path* is a folder or a zip file.
    """
    return pkgutil.get_importer(path) is not None


def script(path: str) -> Program:
    """
    Read the program in the file *path*.

    Raises:
        NotFound: It cannot be read.
    """
    # As Python does it: nothing of the path is taken out, not even "./".
    file = os.path.join(Path.cwd(), path)  # noqa: PTH118 - see above
    code = None
    kind: Any = importlib.machinery.SourceFileLoader
    try:
        source: bytes | None = Path(path).read_bytes()
    except OSError as error:
        problem = f"can't open file {file!r}: [Errno {error.errno}] {error.strerror}"
        raise NotFound(problem, 2) from None
    if path.endswith(".pyc"):
        kind = importlib.machinery.SourcelessFileLoader
        source, code = None, kind(_MAIN, path).get_code(_MAIN)
    attributes = {"__package__": None, "__spec__": None, "__loader__": kind(_MAIN, file), "__cached__": None}
    return Program(file, source, code, attributes)


def _standard_input() -> Program:
    """
    Read the program from standard input, to its end.

    Raises:
        NotFound: Somebody sits there, and waits for a prompt.
    """
    if sys.stdin is not None and sys.stdin.isatty():
        raise NotFound(
            "'-' reads the program from a file or a pipe, and runs no prompt on a terminal; try < program.py", 2
        )
    attributes = {
        "__package__": None,
        "__spec__": None,
        "__loader__": importlib.machinery.BuiltinImporter,
        "__cached__": None,
    }
    # Where it is closed, Python finds an empty program.
    return Program("<stdin>", b"" if sys.stdin is None else sys.stdin.buffer.read(), None, attributes)


class _NotFoundByPython(Exception):  # noqa: N818 - as NotFound
    """
    What the interpreter's own search raises.
    """


def module(name: str) -> Program:
    """
    Find the module *name*, as a program.

    Raises:
        NotFound: There is none.
    """
    # The interpreter's own way to find it, with its messages and warnings.
    details: Any = vars(runpy)["_get_module_details"]
    main = sys.modules.pop(_MAIN) if name == _MAIN else None
    try:
        _, spec, code = details(name, _NotFoundByPython)
    except _NotFoundByPython as error:
        raise NotFound(str(error)) from None
    finally:
        if main is not None:
            sys.modules[_MAIN] = main
    # Whoever looks on at imports has nothing to look for here.
    while isinstance(spec.loader, wrapt.ObjectProxy):
        spec.loader = spec.loader.__wrapped__
    attributes = {
        "__package__": spec.parent,
        "__spec__": spec,
        "__loader__": spec.loader,
        "__cached__": spec.cached,
    }
    source = None
    if spec.origin.endswith(".py") and hasattr(spec.loader, "get_data"):
        source = spec.loader.get_data(spec.origin)
    return Program(spec.origin, source, code, attributes)


# -- Running ----------------------------------------------------------------------


def fresh_main() -> types.ModuleType:
    """
    Put an empty ``__main__`` in place of the one that started this process, and return it.
    """
    main = sys.modules[_MAIN] = types.ModuleType(_MAIN)
    return main


def prepare(program: Program, main: types.ModuleType) -> None:
    """
    Tell *main* what it is the module of.
    """
    vars(main).update(
        program.attributes, __name__=main.__name__, __file__=program.file, __builtins__=builtins, __annotations__={}
    )


def execute(program: Program, main: types.ModuleType, wanted: Callable[[str], bool]) -> None:
    """
    Run *program* in *main*, which is in place as ``__main__``, and prepared.

    Args:
        program: What to run.
        main: Its module.
        wanted: Told the qualname of each ``def``, tells whether it is to be governed.
    """
    exec(_compiled(program, wanted), vars(main))  # noqa: S102 - it is the program


def _compiled(program: Program, wanted: Callable[[str], bool]) -> types.CodeType:
    if program.source is None:
        assert program.code is not None  # noqa: S101 - one of the two is there
        return program.code
    try:
        if program.attributes["__spec__"] is None:
            _refuse_unreadable(program.source, program.file)
        tree = parse(program.source, program.file)
        rewrite(tree, wanted)
        # The tree even where nothing was changed: one way for all programs.
        code: types.CodeType = compile(tree, program.file, "exec", dont_inherit=True)
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        # Whoever wrote it looks for its place in the program, and not in what compiles it.
        raise error.with_traceback(None) from None
    return code


def _refuse_unreadable(source: bytes, file: str) -> None:
    """
    Refuse what Python refuses when it reads a program from its file, and not, or in other words, when it compiles one.

    Raises:
        SyntaxError: The source holds null bytes, or what is no UTF-8 and declared as nothing else.
    """
    null = source.find(0)
    if not _DECLARED.match(source):
        try:
            source[: null if null >= 0 else None].decode()
        except UnicodeDecodeError as error:
            at = f"in file {file} on line {_line(source, error.start)}"
            byte = f"'\\x{source[error.start]:02x}'"
            remedy = "but no encoding declared; see https://peps.python.org/pep-0263/ for details"
            raise SyntaxError(f"Non-UTF-8 code starting with {byte} {at}, {remedy}") from None
    if null >= 0:
        before = source[source.rfind(b"\n", 0, null) + 1 : null].decode(errors="replace")
        raise SyntaxError("source code cannot contain null bytes", (file, _line(source, null), None, before))


def _line(source: bytes, at: int) -> int:
    return source.count(b"\n", 0, at) + 1


LAUNCH = (module.__code__, execute.__code__, _compiled.__code__, _refuse_unreadable.__code__)
"""What stands on the stack between the command line and the program."""
