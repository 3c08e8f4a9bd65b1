"""
Draw a frame: sky, light, hills and silhouettes, from a prompt, a palette and a seed.

More steps bring more layers, finer ridges and less grain, as a diffusion model
would; the same specification gives the same picture in every process.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from PIL import Image, ImageDraw, ImageFilter

from docs.examples.render_farm.silhouettes import Scenery, add_silhouettes

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["PALETTES", "RESOLUTIONS", "FrameSpec", "Palette", "blend", "paint", "size_of"]

Colour: TypeAlias = tuple[int, int, int]

RESOLUTIONS = {"144p": (256, 144), "240p": (426, 240), "360p": (640, 360), "480p": (854, 480), "720p": (1280, 720)}

# Everything is drawn this many times larger and shrunk: cheap anti-aliasing.
_SUPERSAMPLE = 2
_CLEAN_STEPS = 30


@dataclass(frozen=True, slots=True)
class Palette:
    """
    The colours of one time of day.

    Args:
        sky: From the zenith to the horizon.
        orb: The sun or the moon.
        far: The hills at the horizon.
        near: The ground in front, and every silhouette.
        lamp: Windows and lanterns.
        stars: Whether there are any.
    """

    sky: tuple[Colour, Colour, Colour]
    orb: Colour
    far: Colour
    near: Colour
    lamp: Colour
    stars: bool = False


PALETTES = {
    "dawn": Palette(
        ((58, 74, 130), (226, 142, 140), (255, 214, 165)),
        (255, 240, 208),
        (176, 122, 142),
        (44, 34, 62),
        (255, 216, 140),
    ),
    "day": Palette(
        ((58, 132, 206), (136, 194, 234), (224, 240, 244)),
        (255, 252, 230),
        (126, 164, 182),
        (28, 66, 62),
        (255, 232, 170),
    ),
    "dusk": Palette(
        ((44, 30, 82), (190, 72, 106), (255, 166, 96)), (255, 226, 158), (150, 72, 108), (24, 16, 40), (255, 204, 112)
    ),
    "night": Palette(
        ((6, 10, 30), (18, 34, 76), (58, 86, 132)),
        (238, 240, 226),
        (40, 62, 104),
        (6, 9, 22),
        (255, 206, 112),
        stars=True,
    ),
    "storm": Palette(
        ((30, 40, 50), (70, 88, 98), (142, 156, 152)), (212, 220, 212), (84, 104, 110), (16, 22, 28), (255, 214, 134)
    ),
    "aurora": Palette(
        ((8, 14, 40), (22, 92, 104), (112, 204, 160)),
        (222, 252, 232),
        (32, 82, 98),
        (5, 14, 28),
        (255, 224, 150),
        stars=True,
    ),
}


@dataclass(frozen=True, slots=True)
class FrameSpec:
    """
    What to draw.

    Args:
        prompt: Words; some of them put a silhouette into the picture.
        palette: A name of `PALETTES`.
        seed: What chance starts from.
        size: Width and height in pixels.
        steps: How much detail, 1 to 200; from 30 on there is no grain left.
        warmth: -1.0 (cold) to 1.0 (warm), from the scene's look.
        contrast: 1.0 leaves the colours alone.
    """

    prompt: str
    palette: str
    seed: str
    size: tuple[int, int]
    steps: int
    warmth: float = 0.0
    contrast: float = 1.0


def size_of(resolution: str) -> tuple[int, int]:
    """
    Return width and height in pixels of a name such as ``"480p"``.
    """
    return RESOLUTIONS[resolution]


def blend(one: Colour, other: Colour, share: float) -> Colour:
    """
    Return *one* mixed with *share* (0 to 1) of *other*.
    """
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return red, green, blue


def paint(spec: FrameSpec) -> Image.Image:
    """
    Return the frame that *spec* describes.
    """

    # Each part has its own chance: fewer steps must not move the sun.
    def chance(part: str) -> random.Random:
        return random.Random(f"{spec.seed}:{spec.prompt}:{part}")

    palette = PALETTES[spec.palette]
    width, height = (side * _SUPERSAMPLE for side in spec.size)
    horizon = chance("horizon").uniform(0.56, 0.68) * height
    canvas = _sky(palette, (width, height), horizon)
    if palette.stars:
        _stars(canvas, chance("stars"), horizon, spec.steps)
    canvas = _orb(canvas, chance("orb"), palette, horizon)
    canvas = _clouds(canvas, chance("clouds"), palette, horizon, spec.steps)
    ground = _hills(canvas, chance, palette, horizon, spec.steps)
    add_silhouettes(
        canvas, chance, Scenery(spec.prompt, spec.steps, ground, palette.near, palette.lamp, palette.sky[2])
    )
    frame = canvas.reduce(_SUPERSAMPLE)
    frame = _graded(frame, spec.warmth, spec.contrast)
    return _grained(frame, chance("grain"), spec.steps)


def _sky(palette: Palette, size: tuple[int, int], horizon: float) -> Image.Image:
    width, height = size
    rows = 64
    column = Image.new("RGB", (1, rows))
    zenith, middle, low = palette.sky
    for row in range(rows):
        share = min(1.0, row / rows * height / horizon)
        colour = blend(zenith, middle, share * 2) if share < 0.5 else blend(middle, low, share * 2 - 1)
        column.putpixel((0, row), colour)
    return column.resize((width, height), Image.Resampling.BICUBIC)


def _stars(canvas: Image.Image, rng: random.Random, horizon: float, steps: int) -> None:
    draw = ImageDraw.Draw(canvas)
    unit = canvas.height / 360
    for _ in range(6 * steps):
        x, y = rng.uniform(0, canvas.width), rng.uniform(0, horizon * 0.9)
        radius = rng.choice((0.4, 0.5, 0.7, 1.1)) * unit
        light = rng.randint(130, 255)
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=(light, light, min(255, light + 12)))


def _orb(canvas: Image.Image, rng: random.Random, palette: Palette, horizon: float) -> Image.Image:
    """
    Put the sun or moon with its glow into the sky.
    """
    width, height = canvas.size
    x, y = rng.uniform(0.18, 0.82) * width, rng.uniform(0.35, 0.92) * horizon
    radius = rng.uniform(0.045, 0.085) * height
    # The glow is soft, so an eighth of the size is enough to blur it in.
    small = Image.new("L", (width // 8, height // 8))
    pen = ImageDraw.Draw(small)
    for times, light in ((5.2, 46), (3.4, 92), (1.9, 150)):
        reach = radius * times
        pen.ellipse([v / 8 for v in (x - reach, y - reach, x + reach, y + reach)], fill=light)
    glow = small.filter(ImageFilter.GaussianBlur(radius / 8)).resize(canvas.size, Image.Resampling.BILINEAR)
    lit = Image.composite(Image.new("RGB", canvas.size, palette.orb), canvas, glow)
    ImageDraw.Draw(lit).ellipse((x - radius, y - radius, x + radius, y + radius), fill=palette.orb)
    return lit


def _clouds(canvas: Image.Image, rng: random.Random, palette: Palette, horizon: float, steps: int) -> Image.Image:
    width, height = canvas.size
    mask = Image.new("L", (width // 4, height // 4))
    pen = ImageDraw.Draw(mask)
    for _ in range(min(7, steps // 5)):
        x, y = rng.uniform(0, width), rng.uniform(0.08, 0.75) * horizon
        for _ in range(9):
            reach = rng.uniform(0.05, 0.14) * width
            thick = rng.uniform(0.006, 0.02) * height
            left, top = x + rng.uniform(-0.1, 0.1) * width, y + rng.uniform(-0.02, 0.02) * height
            pen.ellipse(
                [v / 4 for v in (left - reach, top - thick, left + reach, top + thick)], fill=rng.randint(50, 120)
            )
    mask = mask.filter(ImageFilter.GaussianBlur(height / 240)).resize(canvas.size, Image.Resampling.BILINEAR)
    tone = blend(palette.sky[2], palette.orb, 0.4)
    return Image.composite(Image.new("RGB", canvas.size, tone), canvas, mask)


def _ridge(rng: random.Random, octaves: int, roughness: float) -> list[tuple[float, float, float]]:
    return [
        (2**octave * rng.uniform(0.7, 1.4), roughness**octave, rng.uniform(0, math.tau)) for octave in range(octaves)
    ]


def _height_at(waves: list[tuple[float, float, float]], share: float) -> float:
    return sum(size * math.sin(math.tau * often * share + phase) for often, size, phase in waves) / 2


def _hills(
    canvas: Image.Image, chance: Callable[[str], random.Random], palette: Palette, horizon: float, steps: int
) -> list[tuple[float, float]]:
    """
    Draw the ranges from far to near, and return the line of the nearest one.
    """
    draw = ImageDraw.Draw(canvas)
    width, height = canvas.size
    layers = 2 + min(4, steps // 6)
    octaves = 1 + min(6, steps // 4)
    points = 24 + 8 * min(40, steps)
    line: list[tuple[float, float]] = []
    for layer in range(layers):
        depth = layer / (layers - 1)
        base = horizon + (height * 0.97 - horizon) * depth**1.25
        swing = height * (0.11 - 0.07 * depth)
        waves = _ridge(chance(f"ridge {layer - layers}"), octaves, 0.58 - 0.16 * depth)
        line = [
            (width * i / points, base - swing * 0.5 - swing * _height_at(waves, i / points)) for i in range(points + 1)
        ]
        tone = blend(blend(palette.far, palette.sky[2], 0.35), palette.near, depth**0.8)
        draw.polygon([(0, height), *line, (width, height)], fill=tone)
    return line


def _graded(frame: Image.Image, warmth: float, contrast: float) -> Image.Image:
    red, green, blue = (
        [max(0, min(255, round((v - 128) * contrast + 128 + shift))) for v in range(256)]
        for shift in (18 * warmth, 4 * warmth, -18 * warmth)
    )
    return frame.point(red + green + blue)


def _grained(frame: Image.Image, rng: random.Random, steps: int) -> Image.Image:
    """
    Leave in the noise that too few steps have not removed.
    """
    left = max(0.0, 1 - steps / _CLEAN_STEPS)
    if not left:
        return frame
    noise = Image.merge(
        "RGB", [Image.frombytes("L", frame.size, rng.randbytes(frame.width * frame.height)) for _ in range(3)]
    )
    return Image.blend(frame, noise, 0.32 * left)
