"""
The engine's policies, as decorators: what to do about a farm that fails.

What the functions do is in `docs/examples/render_farm/plain_engine.py`, and
those know nothing of policies. Take the decorators away (``fn.__wrapped__``)
and each function here still does its work too, as long as nothing fails.

A server that hangs is cut off by ``@timeout`` where the function is async. No
thread can be stopped: the sync functions' HTTP client has a timeout of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from docs.examples.render_farm import plain_engine
from docs.examples.render_farm.plain_engine import house_look, still_card, title_card
from resilient import DegradationLevel, circuit, degradable, fallback_chain, recoverable, retry, scale, timeout

if TYPE_CHECKING:
    from docs.examples.render_farm.plain_engine import Clients, Look, RenderOrder, Take

__all__ = ["fetch_look", "render_shot", "render_still", "sketch"]


@fallback_chain(house_look)
@retry(max_attempts=3, initial_delay=0.1, max_delay=0.5)
@circuit("library", failure_threshold=3, open_for=1.5, success_threshold=1)
def fetch_look(clients: Clients, scene: str) -> Look:
    """
    Ask the library how *scene* is graded.
    """
    return plain_engine.fetch_look(clients, scene)


@retry(max_attempts=2, initial_delay=0.1, max_delay=0.5)
@circuit("sketchpad", failure_threshold=3, open_for=1.0, success_threshold=1)
@timeout("1.8s")
async def sketch(clients: Clients, order: RenderOrder) -> Take:
    """
    Ask the small server for one coarse frame.
    """
    return await plain_engine.sketch(clients, order)


@degradable(steps=scale(minimum=6))
@fallback_chain(sketch, title_card)
@recoverable
@retry(max_attempts=3, initial_delay=0.1, max_delay=0.6)
@circuit("renderers", failure_threshold=9, open_for=1.0, success_threshold=2, ignore="memory")
@timeout("1.8s")
async def render_shot(clients: Clients, order: RenderOrder) -> Take:
    """
    Ask a renderer for a batch of frames.
    """
    return await plain_engine.render_shot(clients, order)


@degradable(only_below=DegradationLevel.HIGH)
@fallback_chain(still_card)
@recoverable
@retry(max_attempts=3, initial_delay=0.1, max_delay=0.6)
@circuit("renderers")
def render_still(
    clients: Clients,
    url: str,
    title: str,
    prompt: str,
    palette: str,
    *,
    seed: int,
    look: Look,
    resolution: str,
    steps: int,
) -> Take:
    """
    Ask a renderer for one picture.

    Stills are seen for long: they follow the service level only below HIGH.
    """
    how = {"seed": seed, "look": look, "resolution": resolution, "steps": steps}
    return plain_engine.render_still(clients, url, title, prompt, palette, **how)
