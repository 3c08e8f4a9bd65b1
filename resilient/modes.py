"""
The switches that change every call in the process: off, no waits, fewer attempts.

``RESILIENT_DISABLED=1`` in the environment, read once at import, sets the first
for good; `resilient.testing` sets all of them for a while.
"""

from __future__ import annotations

import os

__all__ = ["attempts", "disabled", "no_waits"]

# Raw functions are called; policies are validated and otherwise ignored.
disabled: bool = os.environ.get("RESILIENT_DISABLED", "").strip().lower() in {"1", "true", "yes", "on"}

# Retries follow at once.
no_waits: bool = False

# Stands for every retry's ``max_attempts``.
attempts: int | None = None
