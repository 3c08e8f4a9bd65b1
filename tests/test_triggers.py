import math
import warnings
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilient.control.degradation import GracefulDegradation
from resilient.control.thresholds import Timing, check_triggers
from resilient.control.triggers import Triggers
from resilient.errors import PolicyError, ResilientWarning
from resilient.levels import DegradationLevel as Level

T0 = 1000.0


class Machine:
    """
    Triggers with one signal ``s`` above 10, and the level they lead to.
    """

    def __init__(self, timing=None, ceiling=Level.FULL, **signals):
        self.triggers = Triggers(timing)
        for name, threshold in (signals or {"s": 10.0}).items():
            self.triggers.watch(name, threshold)
        self.level = self.ceiling = ceiling
        self.set_at = -math.inf
        self.steps = []

    def look(self, at, value=None, **values):
        self.triggers.observe(T0 + at, values or {"s": value})
        return self.decide(at)

    def decide(self, at):
        for step in self.triggers.decide(T0 + at, self.level, self.ceiling, self.set_at):
            self.steps.append(step)
            self.level = step.level
        return self.level

    def report(self, at):
        step = self.triggers.report(T0 + at, self.level, "out of memory")
        if step is not None:
            self.level = step.level
        return step is not None


def test_down_after_hold():
    """
    A signal above its threshold for hold_down seconds lowers the level by one, and not a second earlier.
    """
    machine = Machine()

    assert machine.look(0, 11) is Level.FULL
    assert machine.look(29.9, 11) is Level.FULL
    assert machine.look(30, 11) is Level.HIGH
    assert machine.steps[0].changes == {"s": 11}
    assert machine.steps[0].reason == "s 11 above 10 for 30 s"


def test_threshold_itself_is_not_above():
    """
    A signal exactly at its threshold lowers nothing.
    """
    machine = Machine()
    machine.look(0, 10)

    assert machine.look(1000, 10) is Level.FULL


@pytest.mark.parametrize("between", [10, 0, None], ids=["at threshold", "low", "unavailable"])
def test_spike(between):
    """
    Spikes shorter than hold_down lower nothing, however many there are.
    """
    machine = Machine()
    for start in range(0, 400, 40):
        machine.look(start, 99)
        machine.look(start + 29, 99)
        machine.look(start + 30, between)

    assert machine.level is Level.FULL


def test_each_step_holds_and_dwells_anew():
    """
    A signal that stays above lowers one level a step, at least dwell seconds apart, down to MINIMAL.
    """
    machine = Machine()
    changes = {}
    for at in range(600):
        before = machine.level
        if machine.look(at, 11) is not before:
            changes[at] = machine.level

    assert changes == {30: Level.HIGH, 90: Level.MEDIUM, 150: Level.LOW, 210: Level.MINIMAL}


def test_no_dwell_still_holds():
    """
    Without a dwell each step still needs a hold of its own.
    """
    machine = Machine(Timing(dwell=0))
    machine.look(0, 11)

    assert machine.look(500, 11) is Level.HIGH
    assert machine.look(500, 11) is Level.HIGH
    assert machine.look(530, 11) is Level.MEDIUM


def lowered(timing=None, **signals):
    """
    Return a machine whose signal has lowered it by one at second 30.
    """
    machine = Machine(timing, **signals)
    machine.look(0, 11)
    assert machine.look(30, 11) is Level.HIGH
    return machine


def test_up_after_hold():
    """
    The level rises when the signal was below its recovery mark for hold_up seconds.
    """
    machine = lowered()
    machine.look(31, 6.9)

    assert machine.look(150.9, 6.9) is Level.HIGH
    assert machine.look(151, 6.9) is Level.FULL
    assert machine.steps[-1].changes is None


def test_between_mark_and_threshold():
    """
    A signal that caused a step remains a cause while it is not below its recovery mark: the level stays.
    """
    machine = lowered()
    for at in range(31, 2000, 10):
        machine.look(at, 7)

    assert machine.level is Level.HIGH
    assert machine.triggers.states()["s"]["state"] == "recovering"


def test_calm_is_interrupted():
    """
    A look that finds the signal over its recovery mark begins hold_up anew.
    """
    machine = lowered()
    machine.look(31, 1)
    machine.look(100, 8)
    machine.look(101, 1)

    assert machine.look(200, 1) is Level.HIGH
    assert machine.look(221, 1) is Level.FULL


def test_all_signals_have_to_be_calm():
    """
    One calm signal does not raise the level while another is over its mark.
    """
    machine = Machine(a=10.0, b=10.0)
    machine.look(0, a=11, b=0)
    machine.look(30, a=11, b=0)
    machine.look(31, a=0, b=8)

    assert machine.look(200, a=0, b=8) is Level.HIGH
    assert machine.look(201, a=0, b=0) is Level.HIGH
    assert machine.look(321, a=0, b=0) is Level.FULL


def test_signal_that_never_asked_delays_only():
    """
    A signal over its mark that never was above its threshold holds the level back until restore_after.
    """
    machine = Machine(a=10.0, b=10.0)
    machine.look(0, a=11, b=8)
    machine.look(30, a=11, b=8)
    machine.look(31, a=0, b=8)

    assert machine.look(330, a=0, b=8) is Level.HIGH
    assert machine.look(331, a=0, b=8) is Level.FULL


def test_unavailable_signals_do_not_hold_back():
    """
    A signal that cannot be read neither lowers the level nor keeps it down.
    """
    machine = Machine(a=10.0, b=10.0)
    machine.look(0, a=11)
    machine.look(30, a=11)
    machine.look(31, a=0)

    assert machine.look(151, a=0) is Level.FULL
    assert machine.triggers.states()["b"] == {"value": None, "threshold": 10.0, "state": "unavailable"}


def test_no_signal_readable():
    """
    When nothing can be read any more, only restore_after raises the level.
    """
    machine = lowered()
    machine.look(31, None)

    assert machine.look(330, None) is Level.HIGH
    assert machine.look(331, None) is Level.FULL


def test_reported_cause():
    """
    A reported cause lowers at once, at most once a minute, and time alone restores it.
    """
    machine = Machine()

    assert machine.report(0)
    assert not machine.report(59)
    assert machine.report(60)
    assert machine.level is Level.MEDIUM
    assert machine.decide(359) is Level.MEDIUM
    assert machine.decide(360) is Level.HIGH
    assert machine.decide(659) is Level.HIGH
    assert machine.decide(660) is Level.FULL


def test_reported_cause_below_calm_signals():
    """
    Calm signals do not raise early what a reported cause has lowered.
    """
    machine = Machine()
    machine.look(-500, 0)
    machine.report(0)

    assert machine.look(299, 0) is Level.HIGH
    assert machine.look(300, 0) is Level.FULL


def test_reported_at_minimal():
    """
    A cause reported at MINIMAL changes nothing.
    """
    machine = Machine(ceiling=Level.MINIMAL)

    assert not machine.report(0)


def test_steps_that_nobody_saw():
    """
    What time restores does not depend on how often anybody looks.
    """
    machine = Machine(Timing(dwell=400))
    machine.report(0)
    machine.report(60)

    assert machine.decide(10_000) is Level.FULL
    assert [step.level for step in machine.steps] == [Level.HIGH, Level.FULL]
    # They are dated when they were due, and yet the next one keeps its distance.
    machine.look(10_001, 11)
    assert machine.look(10_399, 11) is Level.FULL
    assert machine.look(10_400, 11) is Level.HIGH


def test_restores_keep_their_pace():
    """
    A restored step that is seen late does not put off the next one.
    """
    machine = Machine()
    machine.report(0)
    machine.report(60)

    assert machine.decide(600) is Level.HIGH
    assert machine.decide(660) is Level.FULL


def test_restore_never():
    """
    With restore_after=inf time alone never raises the level, but calm signals do.
    """
    machine = lowered(Timing(restore_after=math.inf))
    machine.look(31, 8)
    assert machine.look(10**9, 8) is Level.HIGH
    machine.look(10**9, 1)

    assert machine.look(10**9 + 120, 1) is Level.FULL


def test_hand_set_is_a_ceiling():
    """
    Triggers lower below a level that was set by hand, and raise up to it only.
    """
    machine = Machine(ceiling=Level.MEDIUM)
    machine.look(0, 11)
    assert machine.look(30, 11) is Level.LOW
    machine.look(31, 0)

    assert machine.look(151, 0) is Level.MEDIUM
    assert machine.look(100_000, 0) is Level.MEDIUM


def test_hand_begins_holds_anew():
    """
    After a change by hand every hold begins anew.
    """
    machine = Machine()
    machine.look(0, 11)
    machine.set_at = T0 + 20

    assert machine.look(49, 11) is Level.FULL
    assert machine.look(50, 11) is Level.HIGH


def test_states():
    """
    Each signal tells its value, its threshold and how it stands to it.
    """
    machine = Machine(ok=1.0, above=1.0, recovering=1.0, unavailable=1.0)
    machine.look(0, recovering=2)
    machine.look(1, ok=0.9, above=2, recovering=0.9)

    states = machine.triggers.states()
    assert {name: state["state"] for name, state in states.items()} == {name: name for name in states}
    assert states["above"] == {"value": 2, "threshold": 1.0, "state": "above"}
    assert repr(machine.triggers).startswith("<Triggers ok ok, above above")
    assert repr(Triggers()) == "<Triggers none>"


def test_own_recovery_mark():
    """
    A signal's own recover_at stands for the common one, and survives a new configuration.
    """
    triggers = Triggers()
    triggers.watch("own", 10, recover_at=0.2)
    triggers.watch("common", 10)
    triggers.configure(Timing(recover_at=0.5), {"error_rate": 10})
    values = {"own": 3, "common": 3, "error_rate": 3}
    for at, value in ((0, dict.fromkeys(values, 11)), (1, values)):
        triggers.observe(at, value)

    states = {name: state["state"] for name, state in triggers.states().items()}
    assert states == {"error_rate": "ok", "own": "recovering", "common": "ok"}


def test_reset():
    """
    A reset forgets what was seen and keeps what is watched.
    """
    machine = Machine()
    machine.look(0, 11)
    machine.report(1)
    machine.triggers.reset()

    assert machine.triggers.states()["s"]["state"] == "unavailable"
    assert machine.report(2)


@given(
    st.lists(
        st.tuples(st.floats(0.1, 100), st.sampled_from([None, 0.0, 6.9, 7.0, 8.0, 10.0, 10.1, 99.0])), max_size=60
    ),
    st.sampled_from(list(Level)),
)
def test_rules_hold_on_any_history(looks, ceiling):
    """
    Whatever the signal does: steps down only after hold_down above, dwell between, one level, never past the ceiling.
    """
    machine = Machine(ceiling=ceiling)
    now, above_since, stepped_at = 0.0, None, -math.inf
    for gap, value in looks:
        now += gap
        above_since = (now if above_since is None else above_since) if value is not None and value > 10 else None
        before = machine.level
        after = machine.look(now, value)
        assert after <= ceiling
        if after is not before:
            assert abs(after.steps_down - before.steps_down) == 1
            assert now - stepped_at > 59.99
            stepped_at = now
        if after < before:
            assert above_since is not None
            assert now - above_since > 29.99
        if after > before:
            assert value is None or value < 10.1


# -- options -------------------------------------------------------------------


def test_options():
    """
    Thresholds and times come back in their normal form; a timedelta is as good as seconds.
    """
    thresholds, timing = check_triggers(
        {"error_rate_threshold": 10, "response_time_threshold": timedelta(seconds=30)},
        {"hold_down": timedelta(minutes=1), "restore_after": math.inf},
    )

    assert thresholds == {"error_rate": 10.0, "response_time": 30.0}
    assert timing == Timing(hold_down=60.0, restore_after=math.inf)


def test_all_problems_at_once():
    """
    Everything that is wrong is told in one error, with the remedy.
    """
    wrong = {"error_rate_treshold": 1, "memory_usage_threshold": 90, "cpu_usage_threshold": math.nan, "queue": 1, 7: 1}
    with pytest.raises(PolicyError) as caught:
        GracefulDegradation().configure_triggers(wrong, hold_down=-1, recover_at=0, restore_after=0, hold_up="x")

    assert caught.value.where == "configure_triggers"
    assert [problem.split()[0] for problem in caught.value.problems] == [
        "hold_down",
        "hold_up",
        "recover_at",
        "restore_after",
        "unknown",
        "unknown",
        "unknown",
        "memory_usage_threshold",
        "cpu_usage_threshold",
    ]
    text = str(caught.value)
    assert "did you mean 'error_rate_threshold'?" in text
    assert "add_signal(name, fn, threshold)" in text
    assert "at most 1, got 90 (int)" in text


def test_thresholds_are_a_mapping():
    """
    Thresholds that are no mapping are refused with an example of one.
    """
    with pytest.raises(PolicyError, match=r"must be a mapping such as .*, got 10"):
        GracefulDegradation().configure_triggers(10)


def test_wrong_options_change_nothing():
    """
    A configuration that is refused leaves the old one in force.
    """
    degradation = GracefulDegradation()
    degradation.configure_triggers({"error_rate_threshold": 10})
    with pytest.raises(PolicyError):
        degradation.configure_triggers({"failure_ratio_threshold": 2})

    assert list(degradation.signals()) == ["error_rate"]


def test_rate_that_looks_like_a_ratio():
    """
    An error_rate_threshold below 1 gives one warning that names the ratio's key; 1 and more give none.
    """
    degradation = GracefulDegradation()
    with pytest.warns(ResilientWarning, match="errors per minute.*failure_ratio_threshold") as caught:
        degradation.configure_triggers({"error_rate_threshold": 0.1})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        degradation.configure_triggers({"error_rate_threshold": 1})

    assert len(caught) == 1
    assert caught[0].filename == __file__


async def _async_signal():
    return 1


def test_signal_problems_at_once():
    """
    A signal with a wrong name, function, threshold and mark is refused with all four problems.
    """
    with pytest.raises(PolicyError) as caught:
        GracefulDegradation().add_signal("", _async_signal, -1, recover_at=2)

    assert [problem.split()[0] for problem in caught.value.problems] == ["name", "fn", "threshold", "recover_at"]


def test_signal_with_a_built_in_name():
    """
    A signal of one's own cannot take a built-in signal's name.
    """
    with pytest.raises(PolicyError, match=r"'cpu_usage_threshold': \.\.\.") as caught:
        GracefulDegradation().add_signal("cpu_usage", lambda: 1, 1)

    assert len(caught.value.problems) == 1
