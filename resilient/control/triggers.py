"""
When the service level steps down and up: thresholds, hysteresis, patience.

A pure state machine. It is shown what the signals read (`Triggers.observe`)
and asked for steps (`Triggers.decide`); time comes in with each call. Between
two looks a signal is taken to stay what it was.

A signal becomes a *cause* when it is above its threshold, and remains one until
it is below its recovery mark. The level goes

=========  =====================================================================
down       when a signal was above its threshold for ``hold_down`` seconds
up         when all that can be read were below their marks for ``hold_up``, and
           nothing was reported by `Triggers.report` for ``restore_after``
up         when there was no cause of any kind for ``restore_after``
=========  =====================================================================

one level a step, steps at least ``dwell`` apart, and never above what was set
by hand.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypedDict

from resilient.control.thresholds import BUILT_IN, Timing
from resilient.levels import DegradationLevel
from resilient.light import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["REPORT_EVERY", "SignalState", "Step", "Triggers"]

REPORT_EVERY = 60.0
"""Seconds between two steps down that are reported and not measured."""

_NEVER = -math.inf


@dataclass(frozen=True, slots=True)
class Step:
    """
    One step of the service level that is due.

    Args:
        level: The new level.
        reason: Why, for people.
        changes: The signals that asked for it and what they read; None where time did.
    """

    level: DegradationLevel
    reason: str
    changes: Mapping[str, float] | None = None


class SignalState(TypedDict):
    """
    What is known of a signal; ``state`` is ``"ok"``, ``"above"``, ``"recovering"`` or ``"unavailable"``.
    """

    value: float | None
    threshold: float
    state: str


class _Watch:
    """
    One signal as it was seen last.
    """

    __slots__ = ("above_since", "cause", "mark", "recover_at", "threshold", "value")

    def __init__(self, threshold: float, recover_at: float | None, mark: float) -> None:
        self.threshold = threshold
        self.recover_at = recover_at
        self.mark = mark
        self.value: float | None = None
        self.above_since: float | None = None
        self.cause = False

    def see(self, now: float, value: float | None) -> None:
        self.value = value
        if value is None:
            self.above_since = None
            self.cause = False
        elif value > self.threshold:
            self.above_since = now if self.above_since is None else self.above_since
            self.cause = True
        else:
            self.above_since = None
            self.cause = self.cause and value >= self.mark

    @property
    def state(self) -> str:
        if self.value is None:
            return "unavailable"
        if self.above_since is not None:
            return "above"
        return "recovering" if self.cause else "ok"


class Triggers:
    """
    What the signals have shown so far, and the steps that follow from it.

    Args:
        timing: How patient to be; None: the defaults.
    """

    def __init__(self, timing: Timing | None = None) -> None:
        self.timing: Timing = Timing() if timing is None else timing
        self._watches: dict[str, _Watch] = {}
        self.reset()

    def reset(self) -> None:
        """
        Forget all that was seen; what is watched stays.
        """
        self._calm_since: float | None = None
        self._cause_at = _NEVER
        self._reported_at = _NEVER
        # When the last step was due, and when it was really taken.
        self._stepped_at = _NEVER
        self._taken_at = _NEVER
        self._fell_at = _NEVER
        for watch in self._watches.values():
            watch.see(_NEVER, None)

    def watch(self, name: str, threshold: float, recover_at: float | None = None) -> None:
        """
        Watch a signal, in place of an older one of that name.

        Args:
            name: The signal's name.
            threshold: It is above this when it asks for a step down.
            recover_at: Its own recovery mark, as a fraction of the threshold.
        """
        mark = threshold * (self.timing.recover_at if recover_at is None else recover_at)
        self._watches[name] = _Watch(threshold, recover_at, mark)

    def configure(self, timing: Timing, thresholds: Mapping[str, float]) -> None:
        """
        Watch the built-in signals named in *thresholds*, no others of them, with this patience.
        """
        self.timing = timing
        own = {name: watch for name, watch in self._watches.items() if name not in BUILT_IN}
        self._watches = {}
        for name, threshold in thresholds.items():
            self.watch(name, threshold)
        for watch in own.values():
            watch.mark = watch.threshold * (timing.recover_at if watch.recover_at is None else watch.recover_at)
        self._watches.update(own)

    def observe(self, now: float, values: Mapping[str, float | None]) -> None:
        """
        Take in what the signals read at *now*; None, or no value: it cannot be read.
        """
        for name, watch in self._watches.items():
            was_cause = watch.cause
            watch.see(now, values.get(name))
            if was_cause or watch.cause:
                # Also at the first look that finds it gone: it may have ended just before.
                self._cause_at = now
        readable = [watch for watch in self._watches.values() if watch.value is not None]
        # What cannot be read neither asks for a step nor stands in the way of one.
        if not readable or any(watch.value is None or watch.value >= watch.mark for watch in readable):
            self._calm_since = None
        elif self._calm_since is None:
            self._calm_since = now

    def decide(self, now: float, level: DegradationLevel, ceiling: DegradationLevel, set_at: float) -> list[Step]:
        """
        Return the steps that are due at *now*.

        More than one only where nobody looked while time alone restored them.

        Args:
            now: The time, as the clock's monotonic seconds.
            level: The level as it is.
            ceiling: The level that was set by hand; none is taken above it.
            set_at: When that was done: every hold begins anew there.
        """
        timing = self.timing
        if now < self._taken_at + timing.dwell:
            return []
        since = max(self._stepped_at, set_at)
        hot = {
            name: watch
            for name, watch in self._watches.items()
            if watch.above_since is not None and now >= max(watch.above_since, since) + timing.hold_down
        }
        if hot:
            return [] if level is DegradationLevel.MINIMAL else [self._fall(now, level, hot)]
        if level >= ceiling:
            return []
        calm = self._calm_since is not None and now >= max(self._calm_since, since) + timing.hold_up
        if calm and now - self._reported_at >= timing.restore_after:
            self._stepped_at = self._taken_at = now
            return [Step(level.higher(), f"all signals below their recovery marks for {timing.hold_up:g} s")]
        return self._restored(now, level, ceiling, set_at)

    def report(self, now: float, level: DegradationLevel, reason: str) -> Step | None:
        """
        Take in a cause that is no signal; return the step down for it, at most one a minute.
        """
        self._cause_at = self._reported_at = now
        if level is DegradationLevel.MINIMAL or now < self._fell_at + REPORT_EVERY:
            return None
        self._stepped_at = self._taken_at = self._fell_at = now
        return Step(level.lower(), reason)

    def states(self) -> dict[str, SignalState]:
        """
        Return what is known of each signal, by name.
        """
        return {
            name: {"value": watch.value, "threshold": watch.threshold, "state": watch.state}
            for name, watch in self._watches.items()
        }

    def __repr__(self) -> str:
        return f"<Triggers {', '.join(f'{name} {watch.state}' for name, watch in self._watches.items()) or 'none'}>"

    def _fall(self, now: float, level: DegradationLevel, hot: Mapping[str, _Watch]) -> Step:
        self._stepped_at = self._taken_at = self._fell_at = now
        told = ", ".join(f"{name} {watch.value:g} above {watch.threshold:g}" for name, watch in hot.items())
        reason = f"{told} for {self.timing.hold_down:g} s"
        return Step(
            level.lower(), reason, {name: watch.value for name, watch in hot.items() if watch.value is not None}
        )

    def _restored(self, now: float, level: DegradationLevel, ceiling: DegradationLevel, set_at: float) -> list[Step]:
        # Each step is dated when it was due and not when somebody looked, so
        # that the level does not depend on how often it is read.
        timing = self.timing
        steps: list[Step] = []
        while level < ceiling:
            quiet_since = max(self._cause_at, self._stepped_at, set_at)
            due = max(quiet_since + timing.restore_after, self._stepped_at + timing.dwell)
            if now < due:
                break
            self._stepped_at = due
            self._taken_at = now
            level = level.higher()
            steps.append(Step(level, f"no cause for {timing.restore_after:g} s"))
        return steps
