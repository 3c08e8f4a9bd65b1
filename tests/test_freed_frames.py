"""
What the frames of a call that ran out of memory hold is free before anybody goes on, wherever the error keeps them.
"""

from __future__ import annotations

import weakref

import pytest

from resilient import fallback_chain, recoverable
from resilient.policies.base import free_frames
from tests.harness import Tensor


class Engine:
    """
    A function that runs out of memory, with a tensor in each frame, and raises what is made of that.
    """

    def __init__(self, link):
        self.link = link
        self.refs = []

    def allocate(self):
        tensor = Tensor()
        self.refs.append(weakref.ref(tensor))
        raise MemoryError

    def render(self):
        tensor = Tensor()
        self.refs.append(weakref.ref(tensor))
        try:
            self.allocate()
        except MemoryError as error:
            if self.link == "cause":
                raise RuntimeError("render") from error
            if self.link == "context":
                raise MemoryError("render")  # noqa: B904 - so that it is the context
            if self.link == "group":
                raise ExceptionGroup("render", [ValueError(), error]) from None
            raise

    def left(self):
        """
        Return what is still there.
        """
        return [one for ref in self.refs if (one := ref()) is not None]


@pytest.mark.usefixtures("no_gc")
@pytest.mark.parametrize("link", [None, "cause", "context", "group"])
@pytest.mark.parametrize("policy", ["recoverable", "fallback_chain"])
def test_what_a_failed_call_held_is_free_before_anybody_goes_on(colour, registry, policy, link):
    """
    A recovery step, and a fallback, begin on freed memory, though the error has been raised from another one or in one.
    """
    engine, seen = Engine(link), []

    def look(*_):
        seen.append(len(engine.left()))
        return True

    if policy == "recoverable":
        registry.playbooks.step("memory", before=registry.playbooks.steps("memory")[0])(look)
        fn = recoverable(max_runs=1, registry=registry)(colour.of(engine.render))
    else:
        fn = fallback_chain(look, registry=registry)(colour.of(engine.render))
    colour.outcome(fn)

    assert seen == [0]
    assert len(engine.refs) >= 2


def test_errors_that_go_in_circles_are_no_endless_work():
    """
    Causes that lead back, and groups of groups, are looked through as far as a bound.
    """
    one, other = MemoryError(), MemoryError()
    group = ExceptionGroup("g", [ExceptionGroup("h", [one] * 100)] * 100)
    one.__cause__, other.__cause__ = other, one
    other.__context__ = group

    free_frames(one)
    free_frames(group)

    assert one.__cause__ is other
