"""
The engine as it would be without resilient: ordinary functions that ask a farm for pictures.

`docs/examples/render_farm/engine.py` puts policies on them with decorators, and
`docs/examples/render_farm/resilient.toml` does the same from outside.
"""

from __future__ import annotations

import asyncio
import base64
import io
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from PIL import Image

from docs.examples.render_farm.lettering import paint_title_card
from docs.examples.render_farm.painter import size_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    import httpx

__all__ = [
    "HOUSE_LOOK",
    "SERVERS",
    "BrokenFrameError",
    "Clients",
    "Look",
    "RenderOrder",
    "Take",
    "fetch_look",
    "house_look",
    "render_shot",
    "render_still",
    "sketch",
    "still_card",
    "title_card",
]

SERVERS = ("atlas", "borealis", "sketchpad", "library")
"""The farm: two big renderers, a small one for sketches, and the library of looks."""

_OUT_OF_MEMORY = 507
_SKETCH = "240p"
_SKETCH_STEPS = 12


class BrokenFrameError(Exception):
    """
    A server sent something that is no picture.
    """


@dataclass(frozen=True, slots=True)
class Look:
    """
    How a scene is graded.
    """

    warmth: float
    contrast: float


HOUSE_LOOK = Look(warmth=0.0, contrast=1.0)


@dataclass(frozen=True, slots=True)
class RenderOrder:
    """
    One request for frames. The names are what `degradable` and the playbooks know.

    Args:
        endpoint: The server to ask.
        title: For the card that stands in.
        prompt: What to draw.
        palette: The scene's.
        seed: What chance starts from.
        look: How to grade it.
        resolution: A name such as ``"720p"``.
        steps: How much detail.
        batch: How many frames at once.
    """

    endpoint: str
    title: str
    prompt: str
    palette: str
    seed: int
    look: Look
    resolution: str
    steps: int
    batch: int


@dataclass(frozen=True, slots=True)
class Take:
    """
    What came back: PNG frames, and what they were drawn with.
    """

    frames: tuple[bytes, ...]
    resolution: str
    steps: int


@dataclass(frozen=True, slots=True)
class Clients:
    """
    The HTTP clients of one run, and where its servers are.
    """

    sync: httpx.Client
    asynchronous: httpx.AsyncClient
    urls: Mapping[str, str]


# -- the stand-ins: what a fallback chain ends with must not need anything that can fail --


def house_look(clients: Clients, scene: str) -> Look:
    """
    Return the look that suits every scene a little.
    """
    del clients, scene
    return HOUSE_LOOK


def title_card(clients: Clients, order: RenderOrder) -> Take:
    """
    Return a card with the shot's title, drawn right here.
    """
    del clients
    return _card(order.title, order.palette, order.resolution)


def still_card(
    clients: Clients, url: str, title: str, prompt: str, palette: str, *, resolution: str, **order: object
) -> Take:
    """
    Return a card in place of a still.
    """
    del clients, url, prompt, order
    return _card(title, palette, resolution)


def _card(title: str, palette: str, resolution: str) -> Take:
    file = io.BytesIO()
    paint_title_card(title, "picture follows", palette, size_of(resolution)).save(file, "PNG")
    return Take((file.getvalue(),), resolution, 0)


# -- the functions that ask servers ---------------------------------------------------


def fetch_look(clients: Clients, scene: str) -> Look:
    """
    Ask the library how *scene* is graded.
    """
    answer = clients.sync.get(f"{clients.urls['library']}/look/{scene}", timeout=0.8)
    answer.raise_for_status()
    return Look(**answer.json())


async def sketch(clients: Clients, order: RenderOrder) -> Take:
    """
    Ask the small server for one coarse frame.
    """
    coarse = replace(order, endpoint=clients.urls["sketchpad"], resolution=_SKETCH, steps=_SKETCH_STEPS, batch=1)
    answer = await clients.asynchronous.post(f"{coarse.endpoint}/render", json=_body(coarse))
    return await asyncio.to_thread(_take, answer, coarse.resolution, coarse.steps)


async def render_shot(clients: Clients, order: RenderOrder) -> Take:
    """
    Ask a renderer for a batch of frames.
    """
    answer = await clients.asynchronous.post(f"{order.endpoint}/render", json=_body(order))
    return await asyncio.to_thread(_take, answer, order.resolution, order.steps)


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
    """
    order = RenderOrder(url, title, prompt, palette, seed, look, resolution, steps, batch=1)
    answer = clients.sync.post(f"{url}/render", json=_body(order))
    return _take(answer, resolution, steps)


def _body(order: RenderOrder) -> dict[str, object]:
    body = asdict(order)
    return {**body, **body.pop("look")}


def _take(answer: httpx.Response, resolution: str, steps: int) -> Take:
    """
    Return the frames of *answer*, once they have proved to be pictures.
    """
    if answer.status_code == _OUT_OF_MEMORY:
        raise MemoryError(answer.json()["error"])
    answer.raise_for_status()
    frames = tuple(base64.b64decode(frame) for frame in answer.json()["frames"])
    for frame in frames:
        try:
            with Image.open(io.BytesIO(frame)) as image:
                image.load()
        except (OSError, SyntaxError) as error:
            raise BrokenFrameError(f"a frame of {len(frame)} bytes cannot be decoded: {error}") from error
    return Take(frames, resolution, steps)
