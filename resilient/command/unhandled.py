"""
An exception that ends the program, told as Python tells it without us.

The interpreter has to raise it once more through our own frames, for what it
does then is its own: the hook of the program, the status, the signal that a
Ctrl-C ends the process with. So the frames are taken out when it tells of it.
"""

from __future__ import annotations

import os
import sys
import types
from pathlib import Path
from typing import TYPE_CHECKING

from resilient.errors import ResilientError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["clean", "told_without_us"]

_OURS = f"{Path(__file__).absolute().parent.parent}{os.sep}"


def told_without_us(*launch: types.CodeType) -> None:
    """
    Have the exception that is about to end the process told without our frames, by the program's own hook.

    Args:
        launch: The code whose frames start the program; what is above them is none of the program's.
    """
    theirs: Callable[..., object] = getattr(sys, "excepthook", sys.__excepthook__)

    def hook(kind: type[BaseException], error: BaseException, traceback: types.TracebackType | None) -> None:
        sys.excepthook = theirs
        clean(error, _below(launch, traceback))
        sys.last_traceback = error.__traceback__
        theirs(kind, error, error.__traceback__)

    sys.excepthook = hook


def _below(launch: tuple[types.CodeType, ...], traceback: types.TracebackType | None) -> types.TracebackType | None:
    """
    Return what is left of *traceback* below the last frame of *launch*.
    """
    left = at = traceback
    while at is not None:
        if at.tb_frame.f_code in launch:
            left = at.tb_next
        at = at.tb_next
    return left


def clean(error: BaseException, traceback: types.TracebackType | None) -> None:
    """
    Take our frames out of *traceback*, which becomes that of *error*, and out of those of all that led to it.
    """
    error.__traceback__ = _without_ours(error, traceback)
    seen = {id(error)}
    todo = list(_behind(error))
    while todo:
        one = todo.pop()
        if id(one) not in seen:
            seen.add(id(one))
            one.__traceback__ = _without_ours(one, one.__traceback__)
            todo += _behind(one)


def _behind(error: BaseException) -> Iterator[BaseException]:
    if error.__cause__ is not None:
        yield error.__cause__
    if error.__context__ is not None:
        yield error.__context__
    if isinstance(error, BaseExceptionGroup):
        yield from error.exceptions


def _without_ours(error: BaseException, traceback: types.TracebackType | None) -> types.TracebackType | None:
    steps = []
    while traceback is not None:
        steps.append(traceback)
        traceback = traceback.tb_next
    if steps and _is_ours(steps[-1]) and isinstance(error, Exception) and not isinstance(error, ResilientError):
        # A mistake of ours: whoever reports it needs to see where.
        return steps[0]
    left = None
    for step in reversed(steps):
        if not _is_ours(step):
            left = types.TracebackType(left, step.tb_frame, step.tb_lasti, step.tb_lineno)
    return left


def _is_ours(step: types.TracebackType) -> bool:
    return step.tb_frame.f_code.co_filename.startswith(_OURS)
