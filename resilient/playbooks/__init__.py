"""
Recovery playbooks: ordered steps for each category of error.
"""

from __future__ import annotations

from resilient.playbooks.context import RecoveryContext, is_offline
from resilient.playbooks.lists import PlaybookStep
from resilient.playbooks.procedure import RecoveryProcedure

__all__ = ["PlaybookStep", "RecoveryContext", "RecoveryProcedure", "is_offline"]
