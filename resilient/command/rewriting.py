"""
A program's own functions, governed: its syntax tree is changed before it runs, and its lines are not.

A module that is imported can be woven when its import is done. A program cannot:
by the time its last line has run, so has all the rest. So each ``def`` that is
wanted gets one more decorator. That one stands where weaving would put it: around
what the name will hold, and so around the program's own decorators. Only what
makes a property of a function stays outside, for a property cannot be called.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["GOVERNOR", "parse", "rewrite"]

GOVERNOR = "resilient governor"
"""The name by which the changed tree finds the decorator: with a blank, so that no program can have written it."""

# Where statements hold statements, the last to be read first.
_BLOCKS = ("cases", "finalbody", "orelse", "handlers", "body")

# What makes a property of a function, or another descriptor that reads as a value.
_PROPERTIES = frozenset({"property", "cached_property", "abstractproperty", "setter", "getter", "deleter"})


def parse(source: bytes | str, path: str) -> ast.Module:
    """
    Return the syntax tree of a program.

    Raises:
        SyntaxError: As Python itself would raise it.
        ValueError: The source holds null bytes.
    """
    # Without the future statements of this module.
    tree = compile(source, path, "exec", ast.PyCF_ONLY_AST, dont_inherit=True)
    assert isinstance(tree, ast.Module)  # noqa: S101 - that is what the flag asks for
    return tree


def rewrite(tree: ast.Module, wanted: Callable[[str], bool]) -> list[str]:
    """
    Give each function that is wanted the decorator ``GOVERNOR(qualname)``; change *tree* in place.

    Args:
        tree: The program's.
        wanted: Told the qualname of each ``def``, tells whether it is to be governed.

    Returns:
        The qualnames of those that were, in the order of the source.
    """
    found = [(qualname, node) for qualname, node in _functions(tree) if wanted(qualname)]
    for qualname, node in found:
        at = _position(node.decorator_list)
        node.decorator_list.insert(at, _decorator(node, qualname, at))
    return [qualname for qualname, _ in found]


def _functions(tree: ast.Module) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """
    Yield each ``def`` with its qualname, in the order of the source.

    Without recursion, and without a look at expressions: a program may be deeper than Python's stack is for us.
    """
    todo: list[tuple[str, Any]] = [("", tree)]
    while todo:
        prefix, node = todo.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield prefix + node.name, node
            prefix += f"{node.name}.<locals>."
        elif isinstance(node, ast.ClassDef):
            prefix += f"{node.name}."
        todo += [(prefix, inner) for block in _BLOCKS for inner in reversed(getattr(node, block, ()))]


def _position(decorators: list[ast.expr]) -> int:
    """
    Return where the decorator goes: first, or below the last one that makes a property.
    """
    made = [at for at, decorator in enumerate(decorators) if _last_name(decorator) in _PROPERTIES]
    return made[-1] + 1 if made else 0


def _last_name(decorator: ast.expr) -> str | None:
    if isinstance(decorator, ast.Attribute):
        return decorator.attr
    return decorator.id if isinstance(decorator, ast.Name) else None


def _decorator(node: ast.FunctionDef | ast.AsyncFunctionDef, qualname: str, at: int) -> ast.expr:
    """
    Return the decorator, on the line where the function began without it.

    A function's first line is that of its first decorator; `inspect.getsource` reads from there.
    """
    made = ast.Call(ast.Name(GOVERNOR, ast.Load()), [ast.Constant(qualname)], [])
    place = node.decorator_list[at] if at < len(node.decorator_list) else node
    for one in (made, made.func, *made.args):
        one.lineno = one.end_lineno = place.lineno
        one.col_offset = one.end_col_offset = place.col_offset
    return made
