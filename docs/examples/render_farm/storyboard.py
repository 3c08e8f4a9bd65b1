"""
Read a storyboard: what to render, with every mistake named by file and line.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from docs.examples.render_farm.painter import PALETTES, RESOLUTIONS
from docs.examples.render_farm.toml_lines import TomlLines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

__all__ = ["Scene", "Shot", "Storyboard", "StoryboardError", "read_storyboard"]


_LONGEST_TITLE = 80


@dataclass(frozen=True, slots=True)
class Shot:
    """
    One shot as it is ordered.

    Args:
        number: Counts from 1 through the whole film.
        title: For captions.
        prompt: What to draw.
        kind: ``"take"`` asks for a batch of moving frames, ``"still"`` for one picture.
        resolution: A name such as ``"480p"``.
        steps: How much detail, 1 to 200.
        batch: How many candidate frames to ask for at once, 1 to 16.
        seed: What chance starts from.
    """

    number: int
    title: str
    prompt: str
    kind: str
    resolution: str
    steps: int
    batch: int
    seed: int


@dataclass(frozen=True, slots=True)
class Scene:
    """
    Shots that share a time of day.
    """

    title: str
    palette: str
    shots: tuple[Shot, ...]


@dataclass(frozen=True, slots=True)
class Storyboard:
    """
    A whole film; *seed* also decides which faults the farm has.
    """

    title: str
    seed: int
    scenes: tuple[Scene, ...]

    @property
    def shots(self) -> tuple[Shot, ...]:
        """
        All shots, in order.
        """
        return tuple(shot for scene in self.scenes for shot in scene.shots)


class StoryboardError(Exception):
    """
    A storyboard that cannot be rendered.

    Args:
        problems: One line per problem, ``file:line: message``.
    """

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__(self.problems)

    def __str__(self) -> str:
        return "\n".join(self.problems)


@dataclass(frozen=True, slots=True)
class Field:
    """
    One key of a table: how it is checked, and what holds when it is left out.

    Args:
        check: Tells what is wrong with a value, or None.
        default: None where the key has to be given.
    """

    check: Callable[[Any], str | None]
    default: Any = None


def _words(value: object) -> str | None:
    return None if isinstance(value, str) and value.strip() else "must be a text that is not empty"


def _title(value: object) -> str | None:
    fits = isinstance(value, str) and value.strip() and value.isprintable() and len(value) <= _LONGEST_TITLE
    return None if fits else f"must be one line of text, 1 to {_LONGEST_TITLE} characters"


def _whole(low: int, high: int) -> Callable[[object], str | None]:
    def check(value: object) -> str | None:
        fits = isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
        return None if fits else f"must be a whole number from {low} to {high}"

    return check


def _one_of(*names: str) -> Callable[[object], str | None]:
    def check(value: object) -> str | None:
        if value in names:
            return None
        return f"must be one of {', '.join(map(repr, names))}" + _did_you_mean(str(value), names)

    return check


def _tables(value: object) -> str | None:
    filled = isinstance(value, list) and value and all(isinstance(one, dict) for one in value)
    return None if filled else "must be an array of tables, written [[...]]"


def _table(value: object) -> str | None:
    return None if isinstance(value, dict) else "must be a table"


_ORDER = {
    "resolution": Field(_one_of(*RESOLUTIONS), "480p"),
    "steps": Field(_whole(1, 200), 36),
    "batch": Field(_whole(1, 16), 2),
    "kind": Field(_one_of("take", "still"), "take"),
}
_SHOT = {"title": Field(_title), "prompt": Field(_words), "seed": Field(_whole(0, 2**31), 0), **_ORDER}
_SCENE = {"title": Field(_title), "palette": Field(_one_of(*PALETTES)), "shot": Field(_tables)}
_FILM = {
    "title": Field(_title),
    "seed": Field(_whole(0, 2**31), 1),
    "defaults": Field(_table, {}),
    "scene": Field(_tables),
}


def read_storyboard(path: Path) -> Storyboard:
    """
    Return the storyboard in the TOML file *path*.

    Raises:
        StoryboardError: With all problems of the file at once.
    """
    data, lines = _parse(path)
    checker = _Checker(path, lines)
    film = checker.table(data, (), _FILM)
    defaults = checker.table(film["defaults"], ("defaults",), _ORDER)
    shot_fields = {**_SHOT, **{name: Field(_ORDER[name].check, defaults[name]) for name in _ORDER}}
    scenes = []
    number = 0
    for at, raw_scene in enumerate(film["scene"]):
        scene = checker.table(raw_scene, ("scene", at), _SCENE)
        shots = []
        for index, raw_shot in enumerate(scene["shot"]):
            number += 1
            shot = checker.table(raw_shot, ("scene", at, "shot", index), shot_fields)
            shots.append(Shot(number=number, **{**shot, "seed": shot["seed"] or film["seed"] * 1000 + number}))
        scenes.append(Scene(scene["title"], scene["palette"], tuple(shots)))
    if checker.problems:
        raise StoryboardError(text for _, text in sorted(checker.problems))
    return Storyboard(film["title"], film["seed"], tuple(scenes))


def _parse(path: Path) -> tuple[dict[str, Any], TomlLines]:
    """
    Return the file's tables, and the lines that they stand on.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        msg = f"{path}:1: the storyboard cannot be read: {reason}; give another one with --storyboard FILE"
        raise StoryboardError([msg]) from None
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        msg = f"{path}:{line}: not UTF-8 text: byte {error.start} is {raw[error.start]:#04x}; save it as UTF-8"
        raise StoryboardError([msg]) from None
    if not text.strip():
        msg = f"{path}:1: the storyboard is empty; it needs a title and at least one [[scene]] with a [[scene.shot]]"
        raise StoryboardError([msg])
    try:
        return tomllib.loads(text), TomlLines(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"\(at line (\d+), column (\d+)\)", str(error))
        line = int(found[1]) if found else text.rstrip().count("\n") + 1
        reason = str(error).split(" (at ")[0]
        msg = f"{path}:{line}: not TOML: {reason[:1].lower()}{reason[1:]}"
        raise StoryboardError([msg]) from None


class _Checker:
    """
    Gather problems, in the order of their lines.
    """

    def __init__(self, path: Path, lines: TomlLines) -> None:
        self.problems: list[tuple[int, str]] = []
        self._path = path
        self._lines = lines

    def _problem(self, where: tuple[str | int, ...], message: str) -> None:
        line = self._lines.of(where)
        self.problems.append((line, f"{self._path}:{line}: {message}"))

    def table(
        self, given: Mapping[str, Any], where: tuple[str | int, ...], fields: Mapping[str, Field]
    ) -> dict[str, Any]:
        """
        Return a value for each of *fields*; wrong ones are noted and replaced by something harmless.
        """
        name = _name_of(where)
        for key in given:
            if key not in fields:
                hint = _did_you_mean(key, fields) or f"; it takes {', '.join(fields)}"
                self._problem((*where, key), f"unknown key {key!r} in {name}{hint}")
        values = {}
        for key, field in fields.items():
            harmless = [] if field.check is _tables else field.default
            if key not in given:
                values[key] = harmless
                if field.default is None:
                    self._problem(where, f"{name} has no {key!r}, which {field.check(None)}")
                continue
            problem = field.check(given[key])
            if problem:
                self._problem((*where, key), f"{key} in {name} is {_shown(given[key])}, but it {problem}")
            values[key] = harmless if problem else given[key]
        return values


def _name_of(where: tuple[str | int, ...]) -> str:
    """
    Return how people would name a table: ``scene 2, shot 3``.
    """
    if not where:
        return "the film"
    if len(where) == 1:
        return f"[{where[0]}]"
    return ", ".join(f"{where[i]} {int(where[i + 1]) + 1}" for i in range(0, len(where), 2))


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _did_you_mean(word: str, names: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(names), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
