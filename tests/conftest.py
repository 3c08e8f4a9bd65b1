"""
What several files of tests need.
"""

from __future__ import annotations

import gc
import sys

import pytest


def pytest_collection_finish():
    """
    Take what was collected out of the garbage collector's sight: a full collection costs a tenth afterwards.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture
def untraced():
    """
    Keep tracers out of this thread, for what is timed and for what interrupts.

    Under coverage each line costs several times as much, and coverage's own
    lock may be held by the very thread that a signal handler interrupts.
    """
    tracer = sys.gettrace()
    sys.settrace(None)
    yield
    sys.settrace(tracer)
