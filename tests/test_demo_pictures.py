import io
import json

import pytest

Image = pytest.importorskip("PIL.Image")
pytest.importorskip("matplotlib")
console = pytest.importorskip("rich.console")

from docs.examples.render_farm.contact_sheet import contact_sheet, route_colour  # noqa: E402 - after the check
from docs.examples.render_farm.lettering import paint_title_card  # noqa: E402
from docs.examples.render_farm.painter import PALETTES, FrameSpec, paint  # noqa: E402
from docs.examples.render_farm.report import print_report, write_report  # noqa: E402
from docs.examples.render_farm.results import LOST, Mark, Report, RunResult, ShotResult  # noqa: E402
from docs.examples.render_farm.timeline import draw_timeline, spans  # noqa: E402


def spec(**changes):
    """
    Return the specification of a small frame.
    """
    return FrameSpec(**{"prompt": "a boat", "palette": "day", "seed": "1", "size": (96, 54), "steps": 30, **changes})


def shot(number, route="first try", *, lost=False, as_ordered=True):
    """
    Return a made-up result.
    """
    file = io.BytesIO()
    Image.new("RGB", (96, 54), "teal").save(file, "PNG")
    return ShotResult(
        number=number,
        title=f"Shot {number}" + " with a title that has no end" * (number == 2),
        scene="One" if number < 3 else "Two",
        ordered="144p, 6 steps, 1 frame",
        delivered="" if lost else "144p, 6 steps, 1 frame",
        as_ordered=as_ordered and not lost,
        route=LOST if lost else route,
        level="full",
        attempts=1,
        seconds=0.1,
        error="ReadTimeout: timed out" if lost else None,
        picture=None if lost else file.getvalue(),
    )


@pytest.fixture
def report():
    """
    A made-up report with one thing of each kind in it.
    """
    return Report(
        title="A film",
        seed=3,
        bare=RunResult(
            seconds=2.0, shots=(shot(1), shot(2, lost=True), shot(3)), errors=(("ReadTimeout: timed out", 1),)
        ),
        resilient=RunResult(
            seconds=3.0,
            shots=(shot(1), shot(2, "fallback:sketch", as_ordered=False), shot(3, "retry")),
            errors=(("ReadTimeout: timed out", 3),),
        ),
        circuits=("renderers", "library"),
        marks=(
            Mark(0.5, "error", "render_shot", "network", "ReadTimeout: timed out"),
            Mark(0.6, "circuit", "renderers", "open"),
            Mark(0.8, "level", "default", "high"),
            Mark(1.0, "down", "atlas", "down"),
            Mark(1.1, "recovery", "use_backup_endpoint", "render_shot"),
            Mark(1.2, "fallback", "sketch", "render_shot"),
            Mark(1.6, "circuit", "renderers", "half_open"),
            Mark(1.7, "circuit", "renderers", "closed"),
            Mark(2.0, "up", "atlas", "up"),
            Mark(2.5, "level", "default", "full"),
        ),
        health={"status": "pass"},
        health_text="status  pass",
    )


@pytest.mark.parametrize("palette", PALETTES)
def test_a_frame_has_the_asked_size_and_is_the_same_each_time(palette):
    """
    A frame follows from its specification alone.
    """
    first, again = (paint(spec(palette=palette, prompt="a lighthouse, pines, snow")) for _ in range(2))

    assert first.size == (96, 54)
    assert first.tobytes() == again.tobytes()


@pytest.mark.parametrize(
    "change", [{"prompt": "a tree"}, {"seed": "2"}, {"palette": "night"}, {"steps": 8}, {"warmth": 0.5}]
)
def test_everything_in_a_specification_shows(change):
    """
    Another prompt, seed, palette, number of steps or look gives another picture.
    """
    assert paint(spec(**change)).tobytes() != paint(spec()).tobytes()


def test_fewer_steps_leave_more_grain():
    """
    A frame of few steps compresses worse, since noise is left in it.
    """

    def weight(steps):
        file = io.BytesIO()
        paint(spec(steps=steps)).save(file, "PNG")
        return file.tell()

    assert weight(4) > weight(15) > weight(30)


def test_a_title_card_fits_any_title():
    """
    A card has the asked size, whatever the title's length.
    """
    assert paint_title_card("An endless title " * 9, "picture follows", "dusk", (320, 180)).size == (320, 180)


def test_the_contact_sheet_grows_with_its_scenes(report):
    """
    Each scene has rows of its own, and a lost shot has a card too.
    """
    one_scene = RunResult(seconds=1.0, shots=report.resilient.shots[:2], errors=())
    small = Report(**{name: getattr(report, name) for name in Report.__slots__} | {"resilient": one_scene})

    large, less = contact_sheet(report), contact_sheet(small)

    assert large.width == less.width
    assert large.height > less.height


def test_every_kind_of_route_has_its_colour():
    """
    The colour of a route depends on its kind, not on the step or entry in it.
    """
    kinds = ["first try", "retry", "recovery:x", "fallback:y", LOST]

    assert len({route_colour(kind) for kind in kinds}) == len(kinds)
    assert route_colour("fallback:a") == route_colour("fallback:b")


def test_marks_become_stretches():
    """
    The stretches between marks cover the whole run.
    """
    marks = [Mark(1.0, "circuit", "x", "open"), Mark(3.0, "circuit", "x", "closed")]

    assert spans(marks, "closed", 4.0) == [(0.0, 1.0, "closed"), (1.0, 2.0, "open"), (3.0, 1.0, "closed")]


@pytest.mark.slow
def test_a_timeline_is_drawn_without_any_marks_too(report, tmp_path):
    """
    A run in which nothing happened has a timeline as well.
    """
    quiet = Report(**{name: getattr(report, name) for name in Report.__slots__} | {"marks": (), "circuits": ()})

    draw_timeline(quiet, tmp_path / "quiet.png")

    with Image.open(tmp_path / "quiet.png") as picture:
        assert picture.width > 1000


@pytest.mark.slow
def test_a_report_is_written_as_two_pictures_and_a_json_file(report, tmp_path):
    """
    The JSON file has both runs without their pixels, and the pictures can be opened.
    """
    sheet, timeline, data = write_report(report, tmp_path)

    told = json.loads(data.read_text())
    for path in (sheet, timeline):
        with Image.open(path) as picture:
            assert picture.format == "PNG"
    assert (told["bare"]["shots_lost"], told["resilient"]["shots_lost"]) == (1, 0)
    assert told["resilient"]["routes"] == {"first try": 1, "fallback:sketch": 1, "retry": 1}
    assert "picture" not in told["resilient"]["shots"][0]
    assert len(told["timeline"]) == len(report.marks)


def test_the_terminal_shows_both_runs_the_errors_and_health(report):
    """
    What was delivered, by which route, what failed and how the registry is, are all printed.
    """
    terminal = console.Console(file=io.StringIO(), width=100)

    print_report(report, terminal)

    text = terminal.file.getvalue()
    for words in ("delivered", "by fallback:sketch", "lost", "ReadTimeout: timed out", "status  pass", "seconds"):
        assert words in text
