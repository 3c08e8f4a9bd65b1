"""
Service level control: levels by hand, by scope, and by signals.
"""

from __future__ import annotations

from resilient.control.degradation import GracefulDegradation
from resilient.control.overrides import at_level

__all__ = ["GracefulDegradation", "at_level"]
