"""
References: ``module:attribute`` texts, and the objects that they name.
"""

from __future__ import annotations

import builtins
import contextlib
import difflib
import importlib
import sys
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from resilient.errors import PolicyError
from resilient.text import type_name

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["EXAMPLE", "imported", "is_reference", "looked_for_in", "parse", "program_name", "resolve"]

EXAMPLE = "must be a reference like 'module:attribute'"

# What is longer is a text that somebody has put into the wrong place.
_LONGEST = 500


def parse(text: str) -> tuple[str, tuple[str, ...]]:
    """
    Return the module that the reference *text* names, and the path of attributes within it.

    Raises:
        ValueError: It is none; the message does not repeat it, for it may be a secret.
    """
    module, colon, path = text.partition(":")
    attributes = tuple(path.split("."))
    if not colon or len(text) > _LONGEST or not all(part.isidentifier() for part in (*module.split("."), *attributes)):
        raise ValueError(EXAMPLE)
    return module, attributes


def is_reference(value: object) -> bool:
    """
    Tell whether *value* is a text of the form of a reference.
    """
    try:
        return isinstance(value, str) and bool(parse(value))
    except ValueError:
        return False


def resolve(reference: str) -> Any:
    """
    Return what *reference* names; its module is imported.

    Raises:
        PolicyError: It is no reference, or something on its way is not there.
    """
    try:
        module, attributes = parse(reference)
    except ValueError as error:
        where = "a reference"
        raise PolicyError(where, [str(error)]) from None
    where = f"reference {reference!r}"
    found = imported(module, where)
    at = module
    for attribute in attributes:
        try:
            found = getattr(found, attribute)
        except AttributeError:
            raise PolicyError(where, [_missing(found, at, attribute)]) from None
        except Exception as error:
            problem = f"reading {attribute!r} of {at!r} raised {type_name(error)}"
            raise PolicyError(where, [problem]) from error
        at += ("." if ":" in at else ":") + attribute
    return found


def program_name() -> str | None:
    """
    Return what ``__main__`` is called beside that: its module's name, or that of its file; None: it has neither.
    """
    main = sys.modules.get("__main__")
    spec, file = getattr(main, "__spec__", None), getattr(main, "__file__", None)
    if spec is not None:
        return str(spec.name).removesuffix(".__main__")
    return PurePath(file).stem if file else None


@contextlib.contextmanager
def looked_for_in(folder: str | None) -> Generator[None]:
    """
    Let modules be found in *folder* too, after all other places; None: only in those.

    Not where Python was asked to look into no folder but those it was given (``-P``).
    """
    if folder is None or folder in sys.path or sys.flags.safe_path:
        yield
        return
    sys.path.append(folder)
    try:
        yield
    finally:
        # The last one: what was imported may have put it in front.
        if folder in sys.path:
            del sys.path[len(sys.path) - 1 - sys.path[::-1].index(folder)]


def imported(module: str, where: str = "import") -> Any:
    """
    Return the module of that name; that of the running program is not imported a second time.

    Raises:
        PolicyError: It cannot be imported.
    """
    if module not in sys.modules and module == program_name():
        # Importing it would run the program a second time.
        return sys.modules["__main__"]
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        missing = error.name or module
        if module != missing and not module.startswith(missing + "."):
            problem = f"importing {module!r} failed: it needs {missing!r}, and there is no such module; install it"
            raise PolicyError(where, [problem]) from error
        raise PolicyError(where, [f"there is no module {missing!r}{_close(missing, _modules(missing))}"]) from None
    except (Exception, SystemExit) as error:
        problem = f"importing {module!r} raised {type_name(error)}; it has to be importable by itself"
        raise PolicyError(where, [problem]) from error


def _missing(holder: Any, at: str, attribute: str) -> str:
    problem = f"{at!r} has no attribute {attribute!r}"
    if getattr(getattr(holder, "__spec__", None), "_initializing", False):
        return f"{problem} yet, for it is still being imported"
    try:
        names = [name for name in dir(holder) if not name.startswith("__")]
    except Exception:  # noqa: BLE001 - a module or a class may have a __dir__ of its own
        names = []
    return problem + _close(attribute, names)


def _modules(missing: str) -> list[str]:
    # Only what is loaded, and what comes with Python: looking through all that is installed takes seconds.
    depth = missing.count(".")
    return [name for name in {*sys.modules, *sys.stdlib_module_names} if name.count(".") == depth]


def _close(name: str, names: list[str]) -> str:
    close = difflib.get_close_matches(name, names, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def exception_named(text: str) -> str | None:
    """
    Return the reference to the built-in exception called *text*, or None.
    """
    found = getattr(builtins, text, None)
    return f"builtins:{text}" if isinstance(found, type) and issubclass(found, Exception) else None
