"""
Warnings that point at the line of whoever called the library, however deep in it they arise.
"""

from __future__ import annotations

import sys
import warnings

from resilient.errors import ResilientWarning

__all__ = ["warn_caller"]

# The folder of this package, as its frames tell it.
_PACKAGE = __file__.removesuffix("callers.py")


def warn_caller(message: str, category: type[ResilientWarning] = ResilientWarning) -> None:
    """
    Warn, with the line of the first frame up the stack that is not of this package.

    Args:
        message: What to say.
        category: The class of the warning.
    """
    frame, level = sys._getframe(), 1  # noqa: SLF001 - the only way to see one's callers
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)
