"""
Put words into pictures: text that fits, and the card that stands in for a shot.
"""

from __future__ import annotations

from functools import cache
from typing import TypeAlias

from PIL import Image, ImageDraw, ImageFont

from docs.examples.render_farm.painter import PALETTES, blend

__all__ = ["Font", "fitted", "font", "paint_title_card"]

Font: TypeAlias = "ImageFont.ImageFont | ImageFont.FreeTypeFont"


@cache
def font(size: float) -> Font:
    """
    Return Pillow's own font at *size* pixels.
    """
    return ImageFont.load_default(size=size)


def fitted(draw: ImageDraw.ImageDraw, text: str, face: Font, room: float) -> str:
    """
    Return as much of the first line of *text* as fits into *room* pixels.
    """
    text = text.partition("\n")[0]
    if draw.textlength(text, face) <= room:
        return text
    while text and draw.textlength(text + "…", face) > room:
        text = text[:-1]
    return text.rstrip() + "…"


def paint_title_card(title: str, note: str, palette: str, size: tuple[int, int]) -> Image.Image:
    """
    Return the card that stands in for a shot nobody could draw.
    """
    colours = PALETTES[palette]
    width, height = size
    card = Image.new("RGB", size, blend(colours.near, colours.sky[1], 0.28))
    draw = ImageDraw.Draw(card)
    inset = height // 6
    draw.rectangle((inset, inset, width - inset, height - inset), outline=colours.orb, width=max(1, height // 120))
    large, small = font(height / 9), font(height / 17)
    draw.text((width / 2, height * 0.46), fitted(draw, title, large, width * 0.72), colours.orb, large, anchor="mm")
    draw.text((width / 2, height * 0.62), note, blend(colours.orb, colours.near, 0.3), small, anchor="mm")
    return card
