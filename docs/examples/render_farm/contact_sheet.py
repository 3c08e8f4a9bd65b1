"""
Draw the contact sheet: every shot of the resilient run, captioned with its level and route.
"""

from __future__ import annotations

import io
from itertools import groupby
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw

from docs.examples.render_farm.lettering import fitted, font
from docs.examples.render_farm.results import LOST

if TYPE_CHECKING:
    from docs.examples.render_farm.results import Report, ShotResult

__all__ = ["contact_sheet", "route_colour"]

_THUMB = (384, 216)
_COLUMNS = 5
_GAP = 26
_MARGIN = 44
_CAPTION = 84
_SCENE = 54
_HEAD = 176
_FOOT = 92
_CELL = (_THUMB[0] + _GAP, _THUMB[1] + _CAPTION + _GAP)

_PAPER, _CARD, _INK, _SOFT = "#14161c", "#1f232d", "#f2efe8", "#a3a8b4"
# Told apart by lightness too, not by hue alone.
_ROUTES = (
    ("first try", "#5fbf7f", "first try"),
    ("retry", "#6db3f2", "a later attempt (retry)"),
    ("recovery", "#c39bf0", "after a recovery step"),
    ("fallback", "#f2b34c", "a fallback"),
    (LOST, "#e5534b", "lost"),
)


def route_colour(route: str) -> str:
    """
    Return the colour that stands for a route such as ``"fallback:sketch"``.
    """
    kind = route.partition(":")[0]
    return next((colour for name, colour, _ in _ROUTES if name == kind), _ROUTES[-1][1])


def contact_sheet(report: Report) -> Image.Image:
    """
    Return the sheet for *report*, one row of scenes after the other.
    """
    scenes = [(scene, list(shots)) for scene, shots in groupby(report.resilient.shots, key=lambda shot: shot.scene)]
    rows = sum(-(-len(shots) // _COLUMNS) for _, shots in scenes)
    columns = max(3, min(_COLUMNS, max((len(shots) for _, shots in scenes), default=1)))
    width = 2 * _MARGIN + columns * _CELL[0] - _GAP
    height = _HEAD + len(scenes) * _SCENE + rows * _CELL[1] + _FOOT
    sheet = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(sheet)
    _head(draw, report, width)
    lost_bare = {shot.number for shot in report.bare.shots if shot.route == LOST}
    top = _HEAD
    for scene, shots in scenes:
        draw.text((_MARGIN, top + 14), scene, _INK, font(26))
        line = _MARGIN + draw.textlength(scene, font(26)) + 20
        draw.line((line, top + 30, width - _MARGIN, top + 30), fill="#343a48", width=2)
        top += _SCENE
        for index, shot in enumerate(shots):
            row, column = divmod(index, columns)
            _card(
                sheet,
                draw,
                shot,
                (_MARGIN + column * _CELL[0], top + row * _CELL[1]),
                lost_bare=shot.number in lost_bare,
            )
        top += -(-len(shots) // columns) * _CELL[1]
    _legend(draw, (_MARGIN, height - _FOOT + 14), width)
    return sheet


def _head(draw: ImageDraw.ImageDraw, report: Report, width: int) -> None:
    run, bare = report.resilient, report.bare
    total = len(run.shots)
    draw.text((_MARGIN, 34), fitted(draw, report.title, font(46), width - 2 * _MARGIN), _INK, font(46))
    summary = (
        f"{total - run.lost} of {total} shots delivered, {run.as_ordered} of them exactly as ordered, "
        f"in {run.seconds:.1f} s. "
        f"The same faults without resilient: {total - bare.lost} of {total}."
    )
    draw.text((_MARGIN, 102), fitted(draw, summary, font(25), width - 2 * _MARGIN), _INK, font(25))
    draw.text((_MARGIN, 138), "Caption: route and service level; below it what was delivered.", _SOFT, font(20))


def _card(
    sheet: Image.Image, draw: ImageDraw.ImageDraw, shot: ShotResult, corner: tuple[int, int], *, lost_bare: bool
) -> None:
    left, top = corner
    right, colour = left + _THUMB[0], route_colour(shot.route)
    draw.rectangle((left, top, right - 1, top + _THUMB[1] + _CAPTION - 1), fill=_CARD)
    if shot.picture is None:
        draw.rectangle((left, top, right - 1, top + _THUMB[1] - 1), fill="#3a1d1f")
        draw.text((left + _THUMB[0] / 2, top + _THUMB[1] / 2), "LOST", route_colour(LOST), font(44), anchor="mm")
    else:
        sheet.paste(_thumbnail(shot.picture), corner)
    below = top + _THUMB[1]
    draw.rectangle((left, below, right - 1, below + 5), fill=colour)
    _tag(draw, (left + 8, top + 8), f"{shot.number:02}", _INK)
    if lost_bare:
        _tag(draw, (right - 8, top + 8), "lost without resilient", route_colour(LOST), right=True)
    room = _THUMB[0] - 24
    draw.text((left + 12, below + 12), fitted(draw, shot.title, font(20), room), _INK, font(20))
    how = f"{shot.route} · {shot.level.upper()}"
    draw.text((left + 12, below + 37), fitted(draw, how, font(18), room), colour, font(18))
    what = shot.delivered or shot.error or ""
    draw.text((left + 12, below + 60), fitted(draw, what, font(16), room), _SOFT, font(16))


def _thumbnail(picture: bytes) -> Image.Image:
    """
    Return *picture* at the thumbnail's size; small ones keep their visible pixels.
    """
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    way = Image.Resampling.LANCZOS if image.width > _THUMB[0] else Image.Resampling.NEAREST
    return image.resize(_THUMB, way)


def _tag(draw: ImageDraw.ImageDraw, corner: tuple[int, int], text: str, colour: str, *, right: bool = False) -> None:
    face = font(17)
    wide = draw.textlength(text, face) + 14
    x, y = (corner[0] - wide, corner[1]) if right else corner
    draw.rounded_rectangle((x, y, x + wide, y + 26), 6, fill="#14161c")
    draw.text((x + 7, y + 13), text, colour, face, anchor="lm")


def _legend(draw: ImageDraw.ImageDraw, corner: tuple[int, int], width: int) -> None:
    x, y = float(corner[0]), corner[1]
    draw.line((x, y - 12, width - _MARGIN, y - 12), fill="#343a48", width=2)
    for _, colour, words in _ROUTES:
        draw.rectangle((x, y + 6, x + 26, y + 20), fill=colour)
        draw.text((x + 36, y + 13), words, _INK, font(19), anchor="lm")
        x += 36 + draw.textlength(words, font(19)) + 34
    note = (
        "FULL > HIGH > MEDIUM > LOW > MINIMAL: the lower the service level, the fewer pixels and steps are asked for."
    )
    draw.text((corner[0], y + 47), fitted(draw, note, font(18), width - 2 * _MARGIN), _SOFT, font(18), anchor="lm")
