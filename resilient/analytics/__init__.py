"""
Error analytics: what failed, how often, and whether it was recovered.
"""

from __future__ import annotations

from resilient.analytics.recorder import ErrorAnalytics

__all__ = ["ErrorAnalytics"]
