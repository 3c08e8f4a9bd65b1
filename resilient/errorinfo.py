"""
What is kept of an exception: text, category and severity, never the object.

An exception object holds its traceback, a traceback its frames, and a frame the
tensors of the call that failed; so nothing that outlives a call keeps one.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any

from resilient.light import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

__all__ = ["ErrorCategory", "ErrorInfo", "ErrorSeverity"]


class ErrorCategory(Enum):
    """
    What kind of thing has failed; it chooses the recovery playbook.
    """

    NETWORK = "network"
    MEMORY = "memory"
    VALIDATION = "validation"
    MODEL = "model"
    WORKFLOW = "workflow"
    SYSTEM = "system"
    UNKNOWN = "unknown"


class ErrorSeverity(Enum):
    """
    How bad an error is for the engine as a whole.
    """

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True)
class ErrorInfo:
    """
    One error, as text.

    Args:
        timestamp: When it was recorded, in UTC; for people, never used to decide.
        error_type: The exception's class name.
        error_message: Its text, cut at 2 KiB, as it was raised: redaction and
            escaping happen where it is shown.
        category: What kind of thing has failed.
        severity: How bad it is.
        traceback: The traceback's text where it was asked for.
        context: What else is known; by convention ``function`` names the function.
        recovery_attempted: A recovery was tried for it.
        recovery_successful: The call made after that recovery succeeded.
    """

    timestamp: datetime
    error_type: str
    error_message: str
    category: ErrorCategory
    severity: ErrorSeverity
    traceback: str | None = None
    context: Mapping[str, Any] | None = None
    recovery_attempted: bool = False
    recovery_successful: bool = False
