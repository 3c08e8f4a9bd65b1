"""
Put what a prompt names into a picture: dark shapes on the nearest line of hills.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from PIL import ImageDraw

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from PIL import Image

__all__ = ["SUBJECTS", "Scenery", "add_silhouettes"]

Colour: TypeAlias = tuple[int, int, int]
Line: TypeAlias = "list[tuple[float, float]]"


@dataclass(frozen=True, slots=True)
class Scenery:
    """
    What silhouettes are drawn into.

    Args:
        prompt: The words that name them.
        steps: How much detail the frame gets.
        ground: The line that things stand on, from left to right.
        ink: The colour of silhouettes.
        lamp: The colour of windows and lanterns.
        glint: The colour of light on water.
    """

    prompt: str
    steps: int
    ground: Line
    ink: Colour
    lamp: Colour
    glint: Colour


class Brush:
    """
    A pen that knows the ground: sizes are shares of the picture's height.

    Args:
        canvas: What is drawn on.
        rng: Where chance comes from.
        scenery: What is drawn into.
    """

    def __init__(self, canvas: Image.Image, rng: random.Random, scenery: Scenery) -> None:
        self.pen = ImageDraw.Draw(canvas)
        self.width, self.height = canvas.size
        self.rng = rng
        self.ink, self.lamp, self.glint, self.steps = scenery.ink, scenery.lamp, scenery.glint, scenery.steps
        self._ground = scenery.ground

    def spot(self, low: float = 0.05, high: float = 0.95) -> tuple[float, float]:
        """
        Return a point on the ground between two shares of the width.
        """
        index = round(self.rng.uniform(low, high) * (len(self._ground) - 1))
        return self._ground[index]

    def box(self, x: float, y: float, width: float, height: float, colour: Colour | None = None) -> None:
        """
        Fill a box that stands on *y*, centred at *x*; sizes in pixels.
        """
        self.pen.rectangle((x - width / 2, y - height, x + width / 2, y), fill=colour or self.ink)

    def many(self, share: float, most: int) -> int:
        """
        Return how many of a thing to draw: *share* of the steps, 2 to *most*.
        """
        return max(2, min(most, round(self.steps * share)))


def _trees(brush: Brush) -> None:
    for _ in range(brush.many(1.2, 46)):
        x, y = brush.spot(0, 1)
        tall = brush.rng.uniform(0.08, 0.22) * brush.height
        for tier in range(4):
            top, reach = y - tall + tier * tall * 0.2, tall * (0.09 + 0.05 * tier)
            brush.pen.polygon(
                [(x, top), (x - reach, top + tall * 0.36), (x + reach, top + tall * 0.36)], fill=brush.ink
            )
        brush.box(x, y + tall * 0.08, tall * 0.06, tall * 0.2)


def _lighthouse(brush: Brush) -> None:
    x, y = brush.spot(0.22, 0.78)
    tall = 0.42 * brush.height
    foot, head = tall * 0.13, tall * 0.085
    top = y - tall
    side = brush.rng.choice((-1, 1))
    beam = [
        (x, top - tall * 0.05),
        (x + side * brush.width, top - tall * 0.3),
        (x + side * brush.width, top + tall * 0.16),
    ]
    # A beam of light is see-through, which this pen is not: hatch it.
    for share in range(0, 100, 3):
        end = beam[1][1] + (beam[2][1] - beam[1][1]) * share / 100
        brush.pen.line([beam[0], (beam[1][0], end)], fill=brush.lamp, width=max(1, brush.height // 500))
    brush.pen.polygon([(x - foot, y + foot), (x - head, top), (x + head, top), (x + foot, y + foot)], fill=brush.ink)
    brush.box(x, top, head * 2.7, tall * 0.025)
    brush.box(x, top - tall * 0.02, head * 1.3, tall * 0.075, brush.lamp)
    brush.pen.polygon(
        [(x - head, top - tall * 0.09), (x, top - tall * 0.17), (x + head, top - tall * 0.09)], fill=brush.ink
    )


def _houses(brush: Brush) -> None:
    for _ in range(brush.many(0.4, 12)):
        x, y = brush.spot()
        wide = brush.rng.uniform(0.07, 0.12) * brush.height
        tall = wide * brush.rng.uniform(0.7, 1.5)
        brush.box(x, y + wide * 0.4, wide, tall + wide * 0.4)
        roof = y - tall
        brush.pen.polygon([(x - wide * 0.62, roof), (x, roof - wide * 0.55), (x + wide * 0.62, roof)], fill=brush.ink)
        if brush.rng.random() < 0.75:
            brush.box(x - wide * 0.18, roof + wide * 0.5, wide * 0.2, wide * 0.24, brush.lamp)
            brush.box(x + wide * 0.2, roof + wide * 0.5, wide * 0.2, wide * 0.24, brush.lamp)


def _towers(brush: Brush) -> None:
    for _ in range(brush.many(0.8, 26)):
        x, y = brush.spot(0, 1)
        wide = brush.rng.uniform(0.05, 0.1) * brush.height
        tall = brush.rng.uniform(0.12, 0.42) * brush.height
        brush.box(x, brush.height, wide, brush.height - y + tall)
        rows, cell = int(tall / (wide * 0.4)), wide * 0.4
        for row in range(rows if brush.steps > 8 else 0):
            for column in (-1, 1):
                if brush.rng.random() < 0.34:
                    brush.box(
                        x + column * wide * 0.22, y - tall + (row + 1) * cell, wide * 0.16, cell * 0.45, brush.lamp
                    )


def _boat(brush: Brush) -> None:
    x, _ = brush.spot(0.25, 0.75)
    size = 0.2 * brush.height
    y = brush.height * (_SHORE + 0.05)
    brush.pen.polygon(
        [(x - size, y - size * 0.28), (x + size, y - size * 0.28), (x + size * 0.7, y), (x - size * 0.75, y)],
        fill=brush.ink,
    )
    brush.box(x, y - size * 0.2, size * 0.05, size * 1.5)
    sail = brush.lamp
    brush.pen.polygon(
        [(x + size * 0.07, y - size * 1.6), (x + size * 0.07, y - size * 0.4), (x + size * 0.8, y - size * 0.4)],
        fill=sail,
    )
    brush.pen.polygon(
        [(x - size * 0.07, y - size * 1.4), (x - size * 0.07, y - size * 0.4), (x - size * 0.6, y - size * 0.4)],
        fill=sail,
    )


def _birds(brush: Brush) -> None:
    for _ in range(brush.many(0.35, 11)):
        x, y = brush.rng.uniform(0.1, 0.9) * brush.width, brush.rng.uniform(0.12, 0.45) * brush.height
        span = brush.rng.uniform(0.014, 0.032) * brush.height
        for side in (-1, 1):
            box = (x + (side - 1) * span, y - span * 0.5, x + (side + 1) * span, y + span * 0.9)
            brush.pen.arc(box, 200, 340, fill=brush.ink, width=max(2, brush.height // 190))


def _figure(brush: Brush) -> None:
    x, y = brush.spot(0.3, 0.7)
    tall = 0.17 * brush.height
    brush.pen.polygon(
        [(x - tall * 0.16, y + tall * 0.1), (x, y - tall * 0.8), (x + tall * 0.18, y + tall * 0.1)], fill=brush.ink
    )
    brush.pen.ellipse((x - tall * 0.1, y - tall, x + tall * 0.1, y - tall * 0.78), fill=brush.ink)
    brush.pen.line(
        [(x, y - tall * 0.6), (x + tall * 0.3, y - tall * 0.42)], fill=brush.ink, width=max(2, int(tall / 14))
    )
    glow = tall * 0.07
    lamp = (x + tall * 0.3, y - tall * 0.32)
    brush.pen.ellipse((lamp[0] - glow, lamp[1] - glow, lamp[0] + glow, lamp[1] + glow), fill=brush.lamp)


def _rain(brush: Brush) -> None:
    for _ in range(brush.steps * 9):
        x, y = brush.rng.uniform(0, brush.width), brush.rng.uniform(0, brush.height)
        long = brush.rng.uniform(0.02, 0.05) * brush.height
        brush.pen.line([(x, y), (x - long * 0.35, y + long)], fill=(150, 164, 170), width=max(1, brush.height // 480))


def _snow(brush: Brush) -> None:
    for _ in range(brush.steps * 8):
        x, y = brush.rng.uniform(0, brush.width), brush.rng.uniform(0, brush.height)
        radius = brush.rng.uniform(0.001, 0.0042) * brush.height
        brush.pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=(240, 244, 250))


def _bridge(brush: Brush) -> None:
    y = brush.height * 0.78
    deck, piers = brush.height * 0.02, 5
    brush.pen.rectangle((0, y, brush.width, y + deck), fill=brush.ink)
    for pier in range(1, piers):
        x = brush.width * pier / piers
        brush.box(x, brush.height, deck, brush.height - y + brush.height * 0.24)
    for span in range(piers + 1):
        left, right = brush.width * (span - 0) / piers, brush.width * (span + 1) / piers
        cable = []
        for i in range(21):
            sag = math.sin(math.pi * i / 20)
            cable.append((left + (right - left) * i / 20, y - brush.height * 0.23 * (1 - sag * 0.92)))
        brush.pen.line(cable, fill=brush.ink, width=max(2, brush.height // 240))


def _water(brush: Brush) -> None:
    top = brush.height * _SHORE
    for y in range(round(top), brush.height):
        depth = (y - top) / (brush.height - top)
        shade = tuple(round(g + (i - g) * (0.45 + 0.5 * depth)) for g, i in zip(brush.glint, brush.ink, strict=True))
        brush.pen.line([(0, y), (brush.width, y)], fill=shade)
    for _ in range(brush.steps * 3):
        depth = brush.rng.random() ** 1.5
        x, y = brush.rng.uniform(0, brush.width), top + depth * (brush.height - top)
        long = (0.01 + 0.05 * depth) * brush.width
        shade = tuple(round(g + (i - g) * 0.4) for g, i in zip(brush.glint, brush.ink, strict=True))
        brush.pen.line(
            [(x - long, y), (x + long, y)], fill=shade, width=max(1, round((0.5 + depth) * brush.height / 400))
        )


# In the order in which they are drawn, from the back to the front.
SUBJECTS: tuple[tuple[Callable[[Brush], None], frozenset[str]], ...] = (
    (_towers, frozenset({"city", "tower", "skyline"})),
    (_lighthouse, frozenset({"lighthouse"})),
    (_houses, frozenset({"village", "house", "cottage", "harbour"})),
    (_trees, frozenset({"forest", "pine", "tree", "wood"})),
    (_figure, frozenset({"keeper", "figure", "lantern", "child"})),
    (_water, frozenset({"sea", "bay", "water", "lake", "boat", "ship", "harbour", "tide"})),
    (_bridge, frozenset({"bridge"})),
    (_boat, frozenset({"boat", "ship"})),
    (_birds, frozenset({"gull", "bird", "crow", "goose"})),
    (_rain, frozenset({"rain", "storm"})),
    (_snow, frozenset({"snow"})),
)
_SHORE = 0.86


def add_silhouettes(canvas: Image.Image, chance: Callable[[str], random.Random], scenery: Scenery) -> None:
    """
    Draw each of the `SUBJECTS` that the prompt names, in singular or plural.
    """
    words = {form for word in re.findall("[a-z]+", scenery.prompt.lower()) for form in (word, word.removesuffix("s"))}
    for drawing, names in SUBJECTS:
        if words & names:
            drawing(Brush(canvas, chance(drawing.__name__), scenery))
