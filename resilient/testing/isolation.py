"""
A registry of one's own, and the events of any.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from resilient.registry import Registry, default_registry, swap_default
from resilient.testing.blocks import Block

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

    from resilient.clock import Clock, Rng
    from resilient.events import Event
    from resilient.resilience import Resilience

__all__ = ["capture_events", "isolated_registry"]


def isolated_registry(clock: Clock | None = None, rng: Rng | None = None, name: str = "isolated") -> Block[Registry]:
    """
    Make a fresh registry the default one within the block, and hand it over.

    Functions of the registry that was the default use the fresh one too, with
    closed circuits and zero counts; afterwards they go on where they were.
    Functions decorated within the block stay with the fresh registry. A call
    that is under way when the block begins or ends goes on, and its failure is
    counted once, on one of the two. Blocks nest.

    Args:
        clock: Its clock, for example a `FakeClock`; None: the machine's.
        rng: Its chance, for example ``random.Random(1)``; None: the module `random`.
        name: Its name, for people.
    """
    return Block("isolated_registry()", lambda: _isolated(Registry(name, clock, rng)))


@contextmanager
def _isolated(fresh: Registry) -> Generator[Registry]:
    fresh.declare_like(default_registry())
    with ExitStack() as way_back:
        previous = swap_default(fresh)
        way_back.callback(swap_default, previous)
        for resilience in list(previous.functions.values()):
            way_back.callback(_lend(resilience, fresh))
        yield fresh


def _lend(resilience: Resilience[..., Any], registry: Registry) -> Callable[[], None]:
    """
    Put a function on *registry*, with zero counts; return its way back.
    """
    pipeline = resilience.pipeline
    home, name, policies = resilience.registry, pipeline.name, pipeline.policies
    in_force, declared, aside = resilience.in_force, resilience.declared, resilience.aside
    declarations = home.declarations
    resume_stats = pipeline.lay_stats_aside()

    def give_back() -> None:
        if resilience.registry is registry:
            resilience.give_up_name()
            registry.hub.detach(pipeline)
        resilience.registry = home
        pipeline.name = name
        resilience.in_force, resilience.declared, resilience.aside = in_force, declared, aside
        pipeline.install(policies, home.hub)
        resume_stats()
        if home.declarations is not declarations:
            resilience.follow()

    try:
        resilience.bind(registry)
    except BaseException:
        give_back()
        raise
    return give_back


def capture_events(
    registry: Registry | None = None, events: Iterable[type[Event]] | type[Event] | None = None
) -> Block[list[Event]]:
    """
    Collect what happens within the block in a list.

    Args:
        registry: Whose events; None: the default registry, as it is when the block begins.
        events: Classes from `resilient.events`; None: all but `CallSucceeded`,
            for somebody who listens to successes slows every call.
    """

    @contextmanager
    def capture() -> Generator[list[Event]]:
        captured: list[Event] = []
        unsubscribe = (registry or default_registry()).on(captured.append, events)
        try:
            yield captured
        finally:
            unsubscribe()

    return Block("capture_events()", capture)
