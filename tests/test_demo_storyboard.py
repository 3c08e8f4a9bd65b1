from pathlib import Path

import pytest

from docs.examples.render_farm.storyboard import StoryboardError, read_storyboard
from docs.examples.render_farm.toml_lines import TomlLines

DEMO = Path(__file__).parents[1] / "docs" / "examples" / "render_farm" / "storyboard.toml"

GOOD = """\
title = "A film"
seed = 7

[defaults]
steps = 20

[[scene]]
title = "One"
palette = "dusk"

[[scene.shot]]
title = "First"
prompt = "a boat"
resolution = "360p"

[[scene.shot]]
title = "Second"
prompt = "a tree"
kind = "still"
seed = 99
"""


def problems_of(path, content):
    """
    Return the problems of a file with this content, without the file's name.
    """
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(StoryboardError) as caught:
        read_storyboard(path)
    return [problem.removeprefix(str(path)) for problem in caught.value.problems]


@pytest.fixture
def path(tmp_path):
    """
    Where a test's storyboard goes.
    """
    return tmp_path / "film.toml"


def test_the_storyboard_of_the_demo_can_be_read():
    """
    The storyboard that comes with the demo has at least twenty shots, numbered from 1.
    """
    board = read_storyboard(DEMO)

    assert [shot.number for shot in board.shots] == list(range(1, len(board.shots) + 1))
    assert len(board.shots) >= 20


def test_a_shot_takes_what_it_does_not_say_from_the_defaults(path):
    """
    A key of the shot wins over [defaults], and [defaults] over what the demo assumes.
    """
    path.write_text(GOOD)

    first, second = read_storyboard(path).shots

    assert (first.resolution, first.steps, first.batch, first.kind) == ("360p", 20, 2, "take")
    assert (second.resolution, second.kind, second.seed) == ("480p", "still", 99)
    assert first.seed == 7001


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", ":1: the storyboard is empty; it needs a title"),
        (" \n\n", ":1: the storyboard is empty; it needs a title"),
        ('title = "x"\nseed = \n', ":2: not TOML: invalid value"),
        ('title = "x"\ntitle = "y"\n', ":2: not TOML: cannot overwrite a value"),
        ("seed = 1\nscene = [1,\n", ":2: not TOML: "),
        (b'title = "x"\nother = "\xff"\n', ":2: not UTF-8 text: byte 21 is 0xff"),
    ],
)
def test_a_file_that_is_no_toml_is_told_with_its_line(path, content, expected):
    """
    A file that cannot be parsed gives one message, with the line that is to blame.
    """
    problems = problems_of(path, content)

    assert len(problems) == 1
    assert problems[0].startswith(expected)


@pytest.mark.parametrize("name", ["none.toml", "."])
def test_a_file_that_is_not_there_is_told_with_the_remedy(tmp_path, name):
    """
    A path that is no readable file is named, with the reason and the option to change it.
    """
    with pytest.raises(StoryboardError) as caught:
        read_storyboard(tmp_path / name)

    assert str(caught.value).startswith(f"{tmp_path / name}:1: the storyboard cannot be read: ")
    assert "--storyboard FILE" in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("seed = 7", "seed = -7", ":2: seed in the film is -7, but it must be a whole number from 0 to"),
        ("seed = 7", "sead = 7", ":2: unknown key 'sead' in the film; did you mean 'seed'?"),
        ("seed = 7", "colour = 7", ":2: unknown key 'colour' in the film; it takes title, seed, defaults, scene"),
        ("steps = 20", "steps = true", ":5: steps in [defaults] is True, but it must be a whole number from 1 to 200"),
        ('palette = "dusk"', 'palette = "dask"', "did you mean 'dusk'?"),
        ('palette = "dusk"', "", ":7: scene 1 has no 'palette', which must be one of 'dawn', "),
        ('title = "First"', 'title = "a\\nb"', ":12: title in scene 1, shot 1 is 'a\\nb', but it must be one line"),
        ('title = "First"', "title = ''", ":12: title in scene 1, shot 1 is '', but it must be one line of text"),
        ('prompt = "a tree"', "prompt = 3", ":18: prompt in scene 1, shot 2 is 3, but it must be a text"),
        ('resolution = "360p"', 'resolution = "36Op"', ":14: resolution in scene 1, shot 1 is '36Op'"),
        ('kind = "still"', 'kind = "stil"', "did you mean 'still'?"),
        ("[[scene.shot]]", "[[scene.shott]]", ":11: unknown key 'shott' in scene 1; did you mean 'shot'?"),
        ("[defaults]\nsteps = 20", "defaults = 3", ":4: defaults in the film is 3, but it must be a table"),
    ],
)
def test_each_kind_of_mistake_has_its_message(path, old, new, expected):
    """
    A wrong, missing or unknown key is told with its line, its place, its value and the remedy.
    """
    problems = problems_of(path, GOOD.replace(old, new))

    assert any(expected in problem for problem in problems), problems


def test_scenes_of_a_wrong_shape_are_told(path):
    """
    A scene that is no array of tables is told, and nothing else falls over it.
    """
    assert problems_of(path, 'title = "x"\nscene = 3\n') == [
        ":2: scene in the film is 3, but it must be an array of tables, written [[...]]"
    ]


def test_all_problems_come_at_once_in_the_order_of_their_lines(path):
    """
    Every mistake of a file is in the one error, sorted by line.
    """
    content = GOOD.replace("seed = 7", "seed = 'x'").replace("dusk", "dask").replace("a boat", "").replace("99", "1.5")

    lines = [int(problem.split(":")[1]) for problem in problems_of(path, content)]

    assert lines == [2, 9, 13, 20]


def test_lines_are_found_past_texts_of_several_lines():
    """
    What looks like a key inside a multi-line text is none.
    """
    lines = TomlLines('a = """\nb = 1\n[c]\n"""\nb = 2\n[[c]]\nd.e = 1 # d\n[[c]]\n"f g" = 2\n[c.h]\ni = 1\n')

    assert (lines.of(("a",)), lines.of(("b",))) == (1, 5)
    assert (lines.of(("c", 0, "d")), lines.of(("c", 1, "f g"))) == (7, 9)
    assert (lines.of(("c", 1, "h", "i")), lines.of(("c", 0, "nothing"))) == (11, 6)
    assert "places" in repr(lines)
