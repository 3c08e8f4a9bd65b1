"""
The example's server that hangs: what cuts it off, with decorators and from the file.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from resilient import CallTimeoutError, Registry, governed
from resilient.testing import FakeClock, isolated_registry

httpx = pytest.importorskip("httpx")
for needed in ("PIL", "matplotlib", "rich"):
    pytest.importorskip(needed)

from docs.examples.render_farm import engine, plain_engine  # noqa: E402 - they need the packages above
from docs.examples.render_farm.plain_engine import HOUSE_LOOK, Clients, RenderOrder  # noqa: E402 - as above

POLICIES = Path(engine.__file__).with_name("resilient.toml")
URLS = dict.fromkeys(("atlas", "sketchpad", "library"), "http://farm.test")
ORDER = RenderOrder("http://farm.test", "t", "a boat", "day", 1, HOUSE_LOOK, "144p", 6, 1)


async def hang(_request):
    """
    Never answer.
    """
    await asyncio.Event().wait()


async def ask(fn):
    """
    Return the outcome of *fn*, a function of the engine, on a farm that hangs.
    """
    async with httpx.AsyncClient(transport=httpx.MockTransport(hang), timeout=None) as client:
        return await fn.resilience.outcome(Clients(httpx.Client(), client, URLS), ORDER)


@pytest.mark.parametrize("how", ["decorated", "declared"])
def test_a_server_that_hangs_is_cut_off_and_counts_as_a_failure(how):
    """
    Each attempt, below the circuit, by the same limit in both engines.
    """
    registry = Registry(clock=FakeClock())
    if how == "decorated":
        with isolated_registry(clock=FakeClock()) as registry:
            outcome = asyncio.run(ask(engine.sketch))
    else:
        registry.reload(POLICIES)
        outcome = asyncio.run(ask(governed(registry=registry)(plain_engine.sketch)))

    assert (type(outcome.error), outcome.error.seconds, outcome.attempts) == (CallTimeoutError, 1.8, 2)
    assert registry.circuits["sketchpad"].failure_count == 2


@pytest.mark.parametrize("name", ["fetch_look", "sketch", "render_shot", "render_still"])
def test_both_engines_have_the_same_limits_in_the_same_places(name):
    """
    What is async has one below its circuit; what is sync has none, for its client has a timeout.
    """
    registry = Registry()
    registry.reload(POLICIES)
    declared = governed(registry=registry)(getattr(plain_engine, name)).resilience.policies
    decorated = getattr(engine, name).resilience.policies

    assert [policy.kind for policy in declared] == [policy.kind for policy in decorated]
    limits = [[repr(policy) for policy in one if policy.kind == "timeout"] for one in (declared, decorated)]
    assert limits[0] == limits[1]
    assert bool(limits[0]) is asyncio.iscoroutinefunction(getattr(plain_engine, name))
