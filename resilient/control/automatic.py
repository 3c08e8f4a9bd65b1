"""
Levels that follow signals: who looks at them, when, and what is done about it.

Nothing here has a thread. Signals are looked at when events happen
(`AutomaticLevels.evaluate`) and when a level is read.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeAlias

from resilient.callers import warn_caller
from resilient.clock import SYSTEM_CLOCK
from resilient.control.scopes import Levels
from resilient.control.signals import SystemUse
from resilient.control.thresholds import BUILT_IN, check_signal, check_triggers
from resilient.control.triggers import Triggers
from resilient.levels import DegradationLevel
from resilient.text import cut

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import timedelta

    from resilient.clock import Clock
    from resilient.control.triggers import SignalState
    from resilient.events import LevelChanged

__all__ = ["AutomaticLevels"]

# Reads a signal; None while there is nothing to read.
Source: TypeAlias = "Callable[[], float | None]"

# Seconds between two looks at the signals, as long as little happens.
_LOOK_EVERY = 1.0


class AutomaticLevels(Levels):
    """
    The levels of one registry, that triggers lower and raise as well.

    Args:
        clock: Where time comes from.
        emit: Takes each `LevelChanged`, in order, outside every lock.
        wants: Tells whether anybody listens for such events; None: always.
        report: Is told once what raised, a listener or a signal, and the error;
            None: it is logged.
        sources: Where error rate, failure ratio and response time come from;
            None: that signal is unavailable.
        watch_latency: Told whether response times are looked at from now on:
            only then is it worth a clock to measure them.
    """

    def __init__(
        self,
        *,
        clock: Clock = SYSTEM_CLOCK,
        emit: Callable[[LevelChanged], None] | None = None,
        wants: Callable[[], bool] | None = None,
        report: Callable[[str, Exception], None] | None = None,
        sources: Iterable[Source | None] = (None, None, None),
        watch_latency: Callable[[bool], None] | None = None,
    ) -> None:
        super().__init__(clock=clock, emit=emit, wants=wants, report=report)
        self._system = SystemUse(clock)
        every = (*sources, self._system.memory, self._system.cpu)
        self._sources = {name: source or _unavailable for name, source in zip(BUILT_IN, every, strict=True)}
        self._watching = watch_latency or _ignore
        self._triggers = Triggers()
        # Replaced whole, never changed: a look works on what it began with.
        self._signals: dict[str, Source] = {}
        self._looking = False
        self._look_at = -math.inf
        self._passed_over = 0

    def _renew_locks(self) -> None:
        """
        Take fresh locks: in a forked child the old ones may be held for ever.
        """
        super()._renew_locks()
        self._looking = False

    def configure_triggers(
        self,
        thresholds: Mapping[str, float],
        *,
        hold_down: float | timedelta = 30.0,
        hold_up: float | timedelta = 120.0,
        recover_at: float = 0.7,
        dwell: float | timedelta = 60.0,
        restore_after: float | timedelta = 300.0,
    ) -> None:
        """
        Say when the level goes down and up by itself, in place of what was said before.

        Args:
            thresholds: Any of ``error_rate_threshold`` (errors per minute),
                ``failure_ratio_threshold`` (0 to 1, over five minutes),
                ``response_time_threshold`` (p95, in seconds),
                ``memory_usage_threshold`` and ``cpu_usage_threshold`` (0 to 1).
            hold_down: Seconds above a threshold before a step down.
            hold_up: Seconds below the recovery marks of all before a step up.
            recover_at: The recovery mark, as a fraction of the threshold.
            dwell: Seconds between two steps at least.
            restore_after: Seconds without cause before a step up; inf: never for that alone.

        Raises:
            PolicyError: With every problem at once.
        """
        given = {
            "hold_down": hold_down,
            "hold_up": hold_up,
            "recover_at": recover_at,
            "dwell": dwell,
            "restore_after": restore_after,
        }
        limits, timing = check_triggers(thresholds, given)
        rate = limits.get("error_rate", 1.0)
        if rate < 1:
            warn_caller(
                f"error_rate_threshold={rate:g} is errors per minute: about one in {1 / rate:.3g} minutes lowers the "
                "level; for a part of the operations use failure_ratio_threshold"
            )
        if not limits.keys().isdisjoint({"memory_usage", "cpu_usage"}):
            self._system.psutil()
        with self.lock:
            self._triggers.configure(timing, limits)
            own = {name: fn for name, fn in self._signals.items() if name not in BUILT_IN}
            self._signals = {**{name: self._sources[name] for name in limits}, **own}
        self._watching("response_time" in limits)
        # The holds begin now, and not when somebody happens to read.
        self.look()

    def add_signal(self, name: str, fn: Source, threshold: float, recover_at: float | None = None) -> None:
        """
        Watch a signal of your own, in place of an older one of that name.

        Args:
            name: Its name, as events and health tell it.
            fn: Returns its value, or None while there is none; called outside
                every lock, about once a second while calls are made.
            threshold: The level goes down while the value stays above this.
            recover_at: Its recovery mark, as a fraction of the threshold; None:
                the one of `configure_triggers`.

        Raises:
            PolicyError: With every problem at once.
        """
        limits = check_signal(name, fn, threshold, recover_at)
        with self.lock:
            self._triggers.watch(name, limits["threshold"], limits["recover_at"])
            self._signals = {**self._signals, name: fn}
            self._reported.discard(_signal(name))
        self.look()

    def lower_for(self, reason: str, by: str = "trigger") -> bool:
        """
        Lower the registry by one level for a cause that is no signal, at most once a minute.

        It rises again after ``restore_after`` seconds without cause.

        Args:
            reason: Why; events tell it.
            by: What events give as ``by``.

        Returns:
            Whether the level was lowered.
        """
        self.evaluate()
        with self.lock:
            step = self._triggers.report(self._clock.monotonic(), self._root.level, cut(reason))
            if step is not None:
                self._change_locked(self._root, step.level, step.reason, by)
        if step is not None:
            self._announce(self._root)
        return step is not None

    def signals(self) -> dict[str, SignalState]:
        """
        Return what each watched signal reads and how it stands to its threshold, by name.
        """
        self.look()
        with self.lock:
            return self._triggers.states()

    def reset(self) -> None:
        """
        Set every scope to FULL and forget what the signals have shown.

        Signals, thresholds, features and owners stay.
        """
        with self.lock:
            scopes = [self._root, *self._lowered.values()]
        for scope in scopes:
            scope.set_level(DegradationLevel.FULL, "reset")
        # Only now: until then time could restore what nothing seems to have lowered.
        with self.lock:
            self._triggers.reset()
            self._look_at = -math.inf

    def evaluate(self) -> None:
        """
        Look at the signals and take the step that is due, if it is time for another look.

        Cheap when called often: the signals are read once a second, and
        within a second again after 1, 2, 4, 8 ... calls, so that a burst is
        seen although it began after a look.
        """
        if not self._signals and self._root.level is self._root.ceiling:
            return
        if self._clock.monotonic() < self._look_at:
            self._passed_over += 1
            if self._passed_over & (self._passed_over - 1):
                return
        self.look()

    def look(self) -> None:
        """
        Look at the signals now, and take the step that is due.
        """
        if not self._signals and self._root.level is self._root.ceiling:
            return
        # A second thread, or a signal that itself reads the level, goes on with
        # the level as it is: signals are user code, and nobody waits for them.
        with self.lock:
            if self._looking:
                return
            self._looking = True
            signals = self._signals
        changed = False
        try:
            values = {name: self._read(name, fn) for name, fn in signals.items()}
            with self.lock:
                changed = self._step_locked(signals, values)
        finally:
            self._looking = False
        if changed:
            self._announce(self._root)

    def _step_locked(self, signals: Mapping[str, Source], values: Mapping[str, float | None]) -> bool:
        now = self._clock.monotonic()
        if now >= self._look_at:
            self._look_at = now + _LOOK_EVERY
            self._passed_over = 0
        root = self._root
        if signals is self._signals:
            self._triggers.observe(now, values)
        steps = self._triggers.decide(now, root.level, root.ceiling, root.set_at)
        for step in steps:
            self._change_locked(root, step.level, cut(step.reason), "trigger", step.changes)
        return bool(steps)

    def _read(self, name: str, fn: Source) -> float | None:
        try:
            value = fn()
            number = None if value is None else float(value)
        except Exception as error:  # noqa: BLE001 - a signal never harms the call that looks at it
            self._tell(_signal(name), error)
            return None
        return None if number is None or math.isnan(number) else number


def _signal(name: str) -> str:
    return f"signal {name}"


def _unavailable() -> None:
    """
    Stand for a signal that nobody feeds.
    """


def _ignore(_watched: bool) -> None:  # noqa: FBT001 - a callback's one argument
    """
    Stand for a latency that nobody has to be told to measure.
    """
