"""
What the registry is told about the engine, however its policies were put on it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from docs.examples.render_farm.plain_engine import BrokenFrameError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType

    from docs.examples.render_farm.recorder import Recorder
    from resilient import Registry

__all__ = ["prepare"]


def prepare(registry: Registry, urls: Mapping[str, str], recorder: Recorder, engine: ModuleType) -> None:
    """
    Tell *registry* what is known of the engine: its errors, its servers, and when to lower the service level.

    The seconds are those of a demonstration; a real engine is more patient.

    Args:
        registry: Where its policies are.
        urls: Where its servers are, by name.
        recorder: Who is to hear of everything.
        engine: Its functions, under policies.
    """
    registry.classifier.add(BrokenFrameError, "model", severity="high", transient=True)
    renderers = [urls["atlas"], urls["borealis"]]
    registry.playbooks.provide(endpoints=renderers, function=engine.render_shot)
    registry.playbooks.provide(endpoints=renderers, function=engine.render_still)
    registry.degradation.configure_triggers(
        {"failure_ratio_threshold": 0.5, "error_rate_threshold": 90},
        hold_down=0.3,
        hold_up=0.4,
        recover_at=0.7,
        dwell=1.2,
        restore_after=3.0,
    )
    registry.degradation.add_signal("errors in 2 s", recorder.recent_errors, threshold=6, recover_at=0.6)
    registry.on(recorder)
