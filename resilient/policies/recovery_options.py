"""
The options of recovery.

Beside the policy, for that is loaded only where a function recovers.
"""

from __future__ import annotations

from resilient.errorinfo import ErrorCategory
from resilient.policies.checks import integer
from resilient.policies.options import Option, OptionTable

__all__ = ["RECOVERY_OPTIONS"]

_CATEGORIES = {category.value for category in ErrorCategory}


def _playbook(value: object) -> str | None:
    if isinstance(value, ErrorCategory):
        return value.value
    if value is None or (isinstance(value, str) and value in _CATEGORIES):
        return value
    msg = f"must be a category, one of {', '.join(sorted(_CATEGORIES))}, or None"
    raise ValueError(msg)


RECOVERY_OPTIONS = OptionTable(
    "recoverable",
    Option("playbook", _playbook, None, "the category whose playbook is walked; None: the error's own"),
    Option("max_runs", integer(minimum=1), 3, "further calls at most"),
)
