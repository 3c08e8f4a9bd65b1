# ruff: noqa: SLF001 - what is kept can only be seen from within
import builtins
import sys
import types
import warnings

import pytest

from resilient.control.degradation import GracefulDegradation
from resilient.control.signals import LatencyWindow, OperationRatio, SystemUse
from resilient.errors import ResilientWarning

# -- latency -------------------------------------------------------------------


def test_no_latency(clock):
    """
    Without any call there is no latency.
    """
    assert LatencyWindow(clock).p95() is None


@pytest.mark.parametrize(("calls", "expected"), [(1, 1), (19, 19), (20, 19), (100, 95), (101, 96)])
def test_p95(clock, calls, expected):
    """
    The 95th percentile is a time that a call really took: 95 of 100 stayed within it.
    """
    window = LatencyWindow(clock)
    for seconds in range(calls, 0, -1):
        window.observe(seconds)

    assert window.p95() == expected
    assert repr(window) == f"<LatencyWindow p95={expected} s>"


def test_latency_forgets(clock):
    """
    Calls count for five minutes.
    """
    window = LatencyWindow(clock)
    window.observe(60.0)
    clock.advance(300)
    window.observe(1.0)

    assert window.p95() == 60.0
    clock.advance(0.1)
    assert window.p95() == 1.0
    window.reset()
    assert window.p95() is None


def test_latency_is_bounded(clock):
    """
    Only the last 1,000 calls count.
    """
    window = LatencyWindow(clock)
    for _ in range(1000):
        window.observe(9.0)
    for _ in range(1000):
        window.observe(1.0)

    assert window.p95() == 1.0
    assert len(window._ring) == 1000


# -- failure ratio -------------------------------------------------------------


class Counters:
    def __init__(self, clock):
        self.total = self.failed = 0
        self.ratio = OperationRatio(clock, lambda: self.total, lambda: self.failed)

    def add(self, ok=0, failed=0):
        self.total += ok + failed
        self.failed += failed
        return self.ratio.ratio()


@pytest.fixture
def counters(clock):
    """
    Return counters of operations and their ratio.
    """
    return Counters(clock)


def test_no_operations(counters):
    """
    Without operations there is no ratio, and not a ratio of zero.
    """
    assert counters.add() is None


def test_ratio(counters):
    """
    The ratio is failed / all operations.
    """
    assert counters.add(ok=3) == 0
    assert counters.add(failed=1) == 0.25


def test_ratio_looks_back_five_minutes(clock, counters):
    """
    What is older than five minutes does not count, whatever happened in between.
    """
    counters.add(ok=90, failed=10)
    clock.advance(10)
    counters.add()
    clock.advance(200)
    assert counters.add(ok=10) == pytest.approx(10 / 110)
    clock.advance(100.1)

    assert counters.add() == 0
    clock.advance(300)
    assert counters.add() is None


def test_unseen_operations_count_as_spread(clock, counters):
    """
    Operations that nobody sampled count in proportion: an hour of success does not hide five minutes of failure.
    """
    clock.advance(3600)
    counters.total += 36_000
    counters.add()
    clock.advance(10)

    assert counters.add(failed=100) == pytest.approx(100 / (2900 + 100))


def test_first_samples_of_a_long_gap(clock, counters):
    """
    With one sample only, what came since counts as spread as well.
    """
    clock.advance(600)

    assert counters.add(ok=50, failed=50) == pytest.approx(0.5)


def test_ratio_is_bounded(clock, counters):
    """
    However often it is asked, it keeps a sample per five seconds of five minutes.
    """
    for _ in range(5000):
        clock.advance(0.5)
        counters.add(ok=1, failed=1)

    assert len(counters.ratio._samples) <= 62
    assert counters.add() == pytest.approx(0.5)
    assert repr(counters.ratio).startswith("<OperationRatio 6")


@pytest.mark.parametrize(("total", "failed"), [(0, 0), (200, 0)])
def test_counters_set_back(counters, total, failed):
    """
    Counters that were set to zero begin a new history instead of a negative one.
    """
    counters.ratio.reset()
    counters.add(ok=50, failed=50)
    counters.ratio.reset()
    counters.total, counters.failed = total, failed

    assert counters.ratio.ratio() is None
    assert counters.add(ok=1, failed=1) == 0.5


def test_more_failures_than_operations(counters):
    """
    Counters read at slightly different moments never make a ratio over 1.
    """
    counters.failed = 2
    counters.total = 1

    assert counters.ratio.ratio() == 1.0


# -- memory and CPU --------------------------------------------------------------


class Times(tuple):
    __slots__ = ()

    def __new__(cls, user, idle, iowait=0.0, guest=0.0, guest_nice=0.0):
        return super().__new__(cls, (user, idle, iowait, guest, guest_nice))

    idle = property(lambda self: self[1])
    iowait = property(lambda self: self[2])
    guest = property(lambda self: self[3])
    guest_nice = property(lambda self: self[4])


@pytest.fixture
def machine(monkeypatch):
    """
    Stand in for psutil.
    """
    fake = types.ModuleType("psutil")
    fake.times = Times(0.0, 0.0)
    fake.cpu_times = lambda: fake.times
    fake.virtual_memory = lambda: types.SimpleNamespace(percent=42.5)
    monkeypatch.setitem(sys.modules, "psutil", fake)
    return fake


@pytest.fixture
def no_psutil(monkeypatch):
    """
    Let the import of psutil fail.
    """
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "psutil":
            raise ModuleNotFoundError(name)
        return real(name, *args, **kwargs)

    monkeypatch.delitem(sys.modules, "psutil", raising=False)
    monkeypatch.setattr(builtins, "__import__", without)


def test_memory(clock, machine):
    """
    Memory use is a fraction of 1.
    """
    assert SystemUse(clock).memory() == 0.425


def test_cpu(clock, machine):
    """
    CPU use is what was busy between two readings; waiting for disks is idle, guests are counted once.
    """
    use = SystemUse(clock)
    assert use.cpu() is None
    clock.advance(10)
    machine.times = Times(user=6.0, idle=3.0, iowait=1.0, guest=1.0, guest_nice=1.0)

    assert use.cpu() == pytest.approx(0.6)


def test_cpu_is_read_once_a_second(clock, machine):
    """
    Within a second the last reading holds.
    """
    use = SystemUse(clock)
    use.cpu()
    clock.advance(1)
    machine.times = Times(user=1.0, idle=1.0)
    assert use.cpu() == 0.5
    clock.advance(0.9)
    machine.times = Times(user=9.0, idle=1.0)

    assert use.cpu() == 0.5
    clock.advance(0.1)
    assert use.cpu() == 1.0


def test_cpu_counters_that_stand_still(clock, machine):
    """
    A machine whose counters did not move says nothing.
    """
    use = SystemUse(clock)
    use.cpu()
    clock.advance(5)

    assert use.cpu() is None


def test_cpu_platform_without_iowait(clock, machine):
    """
    Fields that a platform does not have count as zero.
    """

    class Plain(tuple):
        __slots__ = ()
        idle = property(lambda self: self[1])

    use = SystemUse(clock)
    machine.times = Plain((0.0, 0.0))
    use.cpu()
    clock.advance(5)
    machine.times = Plain((3.0, 1.0))

    assert use.cpu() == 0.75
    assert repr(use) == "<SystemUse of memory and CPU by psutil>"


def test_real_psutil(clock):
    """
    The real psutil answers with fractions of 1.
    """
    pytest.importorskip("psutil")
    use = SystemUse(clock)
    use.cpu()
    clock.advance(2)

    assert 0 < use.memory() < 1
    assert use.cpu() is None or 0 <= use.cpu() <= 1


def test_without_psutil(clock, no_psutil):
    """
    Without psutil there is one warning with the install hint, at the caller's line, and both signals are unavailable.
    """
    degradation = GracefulDegradation(clock=clock)
    thresholds = {"memory_usage_threshold": 0.9, "cpu_usage_threshold": 0.9}
    with pytest.warns(ResilientWarning, match=r"pip install 'resilient-aspects\[system\]'") as caught:
        degradation.configure_triggers(thresholds)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        degradation.configure_triggers(thresholds)
        signals = degradation.signals()

    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert {name: state["state"] for name, state in signals.items()} == dict.fromkeys(signals, "unavailable")


def test_nobody_asked_for_psutil(clock, no_psutil):
    """
    Without memory or CPU thresholds psutil is not missed.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        GracefulDegradation(clock=clock).configure_triggers({"error_rate_threshold": 10})
