"""
Service level control as people use it: set the level, read it, and ask what it means.

How levels follow signals stands in `resilient.control.automatic`, how they belong
together in `resilient.control.scopes`.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from resilient.clock import SYSTEM_CLOCK
from resilient.control.automatic import AutomaticLevels
from resilient.light import dataclass
from resilient.policies import adjusting

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from resilient.clock import Clock
    from resilient.events import LevelChanged
    from resilient.levels import DegradationLevel

__all__ = ["GracefulDegradation", "LevelConfig", "LevelState"]


@dataclass(frozen=True, slots=True)
class LevelConfig:
    """
    What the level in force means.

    Args:
        quality: The factor that quality is multiplied by, 0.2 to 1.0.
        features: The registered features, and whether each is on.
    """

    quality: float
    features: Mapping[str, bool]

    def __getitem__(self, key: str) -> Any:
        return self.to_dict()[key]

    def to_dict(self) -> dict[str, Any]:
        """
        Return the same as a dict.
        """
        return asdict(self)


@dataclass(frozen=True, slots=True)
class LevelState:
    """
    The level in force.

    Args:
        name: Its name, lower-case.
        percentage: Its factor, 0 to 100.
    """

    name: str
    percentage: int

    def __getitem__(self, key: str) -> Any:
        return self.to_dict()[key]

    def to_dict(self) -> dict[str, Any]:
        """
        Return the same as a dict.
        """
        return asdict(self)


class GracefulDegradation(AutomaticLevels):
    """
    The service levels of one registry, or of its own where it stands alone.

    `scope` gives a named part of the work that can be lowered alone;
    `configure_triggers` and `add_signal` let the level follow signals.

    Args:
        clock: Where time comes from.
        emit: Takes each `LevelChanged`, in order, outside every lock.
        wants: Tells whether anybody listens for such events; None: always.
        report: Is told once what raised, a listener or a signal, and the error;
            None: it is logged.
        error_rate: Returns errors per minute; None: that signal is unavailable.
        failure_ratio: Returns failed / all operations, or None; see `OperationRatio`.
        latency_p95: Returns seconds, or None; see `LatencyWindow`.
        watch_latency: Told whether response times are looked at from now on.
    """

    def __init__(
        self,
        *,
        clock: Clock = SYSTEM_CLOCK,
        emit: Callable[[LevelChanged], None] | None = None,
        wants: Callable[[], bool] | None = None,
        report: Callable[[str, Exception], None] | None = None,
        error_rate: Callable[[], float | None] | None = None,
        failure_ratio: Callable[[], float | None] | None = None,
        latency_p95: Callable[[], float | None] | None = None,
        watch_latency: Callable[[bool], None] | None = None,
    ) -> None:
        sources = (error_rate, failure_ratio, latency_p95)
        super().__init__(
            clock=clock, emit=emit, wants=wants, report=report, sources=sources, watch_latency=watch_latency
        )
        self._features: dict[str, DegradationLevel] = {}

    # -- by hand -------------------------------------------------------------

    @property
    def level(self) -> DegradationLevel:
        """
        The registry's level.
        """
        self.look()
        return self._root.level

    @property
    def current_level(self) -> str:
        """
        The name of the registry's level; setting it is `set_level`.
        """
        return self.level.label

    @current_level.setter
    def current_level(self, level: DegradationLevel | str) -> None:
        self.set_level(level)

    def degrade(self, reason: str = "") -> str:
        """
        Lower the registry by one level, to stay there until it is set again.

        Args:
            reason: Why; events tell it.

        Returns:
            The new level's name.
        """
        return self._root.degrade(reason)

    def restore(self, reason: str = "") -> str:
        """
        Raise the registry by one level.

        Args:
            reason: Why; events tell it.

        Returns:
            The new level's name.
        """
        return self._root.restore(reason)

    def set_level(self, level: DegradationLevel | str, reason: str = "") -> str:
        """
        Set the registry's level, to stay there until it is set again.

        Triggers may lower it further, and then raise it no higher than this.

        Args:
            level: A level or its name.
            reason: Why; events tell it.

        Returns:
            The new level's name.

        Raises:
            PolicyError: *level* is no level.
        """
        return self._root.set_level(level, reason)

    # -- what a level means --------------------------------------------------

    def get_current_level(self) -> LevelState:
        """
        Return the name and the percentage of the registry's level.
        """
        level = self.level
        return LevelState(level.label, round(level.factor * 100))

    def get_config(self) -> LevelConfig:
        """
        Return what the registry's level means: the factor for quality, and which features are on.
        """
        level = self.level
        return LevelConfig(level.factor, {name: level >= least for name, least in self._features.copy().items()})

    def register_feature(self, name: str, enabled_from: DegradationLevel) -> None:
        """
        Let `get_config` tell of the feature *name*, that is on at *enabled_from* and above.
        """
        self._features[name] = enabled_from

    def adjust_parameters(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """
        Return *params* as the level in force makes them, by the default rules.

        Args:
            params: Arguments by name; left as they are.
        """
        return adjusting.adjust_parameters(params, self._root.effective())

    def adjust_resolution(self, value: Any, factor: float | None = None) -> Any:
        """
        Return the resolution *value* as the level in force makes it.

        Args:
            value: ``"1080p"``, ``"1920x1080"`` or ``(1920, 1080)``.
            factor: Another factor than the level's.
        """
        return adjusting.adjust_resolution(value, self._root.effective().factor if factor is None else factor)

    def __repr__(self) -> str:
        lowered = "".join(f", {name} {level.label}" for name, level in self.lowered_scopes().items())
        watched = ", ".join(self._signals) or "none"
        return f"<GracefulDegradation at {self._root.level.label}{lowered}; signals: {watched}>"
