"""
Resilience policies for functions that call things that fail.

Decorate a function, and read one shared registry of errors, recoveries and
health; the tutorial in ``docs/`` begins with three lines.
"""

from __future__ import annotations

from resilient.analytics.recorder import ErrorAnalytics
from resilient.breaker import CircuitBreaker
from resilient.chain import FallbackChain
from resilient.classify import Classification, Classifier, Transient
from resilient.clock import Clock
from resilient.configs import CircuitBreakerConfig, RetryConfig
from resilient.control.degradation import GracefulDegradation
from resilient.control.overrides import at_level
from resilient.decorators import circuit, degradable, fallback_chain, recoverable, retry
from resilient.errorinfo import ErrorCategory, ErrorInfo, ErrorSeverity
from resilient.errors import (
    BlockingWaitWarning,
    CircuitBreakerOpenError,
    DecorationError,
    FallbackChainExhaustedError,
    PolicyError,
    PolicyOrderWarning,
    ResilientError,
    ResilientWarning,
)
from resilient.health import HealthSnapshot
from resilient.levels import DegradationLevel
from resilient.mechanism import RetryMechanism
from resilient.outcome import Outcome
from resilient.playbooks.context import RecoveryContext
from resilient.playbooks.procedure import RecoveryProcedure
from resilient.policies.circuit import CircuitState
from resilient.policies.fallback import Fallback
from resilient.policies.rules import cap, enabled_from, ladder, scale
from resilient.registry import Registry, default_registry, health
from resilient.resilience import AsyncResilience, Resilience, resilience_of
from resilient.system import ErrorHandlingSystem

CircuitBreakerState = CircuitState

__all__ = [
    "AsyncResilience",
    "BlockingWaitWarning",
    "CircuitBreaker",
    "CircuitBreakerConfig",
    "CircuitBreakerOpenError",
    "CircuitBreakerState",
    "CircuitState",
    "Classification",
    "Classifier",
    "Clock",
    "DecorationError",
    "DegradationLevel",
    "ErrorAnalytics",
    "ErrorCategory",
    "ErrorHandlingSystem",
    "ErrorInfo",
    "ErrorSeverity",
    "Fallback",
    "FallbackChain",
    "FallbackChainExhaustedError",
    "GracefulDegradation",
    "HealthSnapshot",
    "Outcome",
    "PolicyError",
    "PolicyOrderWarning",
    "RecoveryContext",
    "RecoveryProcedure",
    "Registry",
    "Resilience",
    "ResilientError",
    "ResilientWarning",
    "RetryConfig",
    "RetryMechanism",
    "Transient",
    "at_level",
    "cap",
    "circuit",
    "default_registry",
    "degradable",
    "enabled_from",
    "fallback_chain",
    "health",
    "ladder",
    "recoverable",
    "resilience_of",
    "retry",
    "scale",
]
