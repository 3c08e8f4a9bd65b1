import json
import os
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from docs.examples.render_farm.__main__ import main
from docs.examples.render_farm.farm import Outage
from docs.examples.render_farm.recorder import Recorder
from resilient import DegradationLevel, ErrorCategory, ErrorInfo, ErrorSeverity
from resilient.events import AttemptFailed, CircuitOpened, FallbackUsed, LevelChanged, RecoveryRun, RetryScheduled

for needed in ("httpx", "PIL", "matplotlib", "rich"):
    pytest.importorskip(needed)
psutil = pytest.importorskip("psutil")

ROOT = Path(__file__).parents[1]
COMMAND = [sys.executable, "-m", "docs.examples.render_farm"]
POLICIES = "docs/examples/render_farm/resilient.toml"
WOVEN = [sys.executable, "-m", "resilient", "run", "--strict", "--policies", POLICIES, *COMMAND[1:], "--woven"]
NOW = datetime(2024, 5, 1, tzinfo=UTC)
ERROR = ErrorInfo(NOW, "ReadTimeout", "timed out", ErrorCategory.NETWORK, ErrorSeverity.HIGH)

SMALL = """\
title = "Small"
seed = 5
[defaults]
resolution = "144p"
steps = 6
[[scene]]
title = "One"
palette = "night"
[[scene.shot]]
title = "First"
prompt = "a boat"
[[scene.shot]]
title = "Second"
prompt = "a tree"
kind = "still"
[[scene]]
title = "Two"
palette = "day"
[[scene.shot]]
title = "Third"
prompt = "a city"
batch = 6
[[scene.shot]]
title = "Fourth"
prompt = "a bridge"
"""


def test_events_become_marks_in_the_order_of_time():
    """
    What the timeline shows is noted with the seconds since the recorder began, and nothing else is.
    """
    clock = iter([100.0, 101.0, 102.0, 103.0, 104.0, 105.0, 106.0])
    recorder = Recorder(lambda: next(clock))
    full, high = DegradationLevel.FULL, DegradationLevel.HIGH

    recorder(AttemptFailed(at=NOW, function="engine:render", attempt=1, error=ERROR))
    recorder(CircuitOpened(at=NOW, circuit="renderers", reason="failures", previous="closed"))
    recorder(LevelChanged(at=NOW, scope="default", previous=full, level=high, reason="errors", by="trigger"))
    recorder(
        RecoveryRun(at=NOW, function="engine:render", step="clear_cache", applied=True, success=False, error=ERROR)
    )
    recorder(FallbackUsed(at=NOW, function="engine:render", entry="sketch", success=True, error=ERROR))
    recorder(RetryScheduled(at=NOW, attempt=1, delay=1.0, error=ERROR))

    marks = recorder.marks((Outage("atlas", 101.5, 103.5), Outage("library", 104.5, None)))
    assert [(mark.at, mark.kind, mark.name, mark.value) for mark in marks] == [
        (1.0, "error", "render", "network"),
        (1.5, "down", "atlas", "down"),
        (2.0, "circuit", "renderers", "open"),
        (3.0, "level", "default", "high"),
        (3.5, "up", "atlas", "up"),
        (4.0, "recovery", "clear_cache", "render"),
        (4.5, "down", "library", "down"),
        (5.0, "fallback", "sketch", "render"),
    ]
    assert repr(recorder) == "Recorder(5 marks)"


def test_only_errors_within_the_window_are_recent():
    """
    The signal counts failed attempts of the last seconds.
    """
    now = 0.0
    recorder = Recorder(lambda: now, window=2.0)
    for now in (1.0, 2.0, 3.5):  # noqa: B007 - the recorder's clock reads it
        recorder(AttemptFailed(at=NOW, function="engine:render", attempt=1, error=ERROR))

    assert recorder.recent_errors() == 2.0


def test_a_wrong_storyboard_starts_nothing(tmp_path, capsys, monkeypatch):
    """
    Mistakes go to standard error with file and line, the status is 2, and no server is started.
    """
    monkeypatch.setattr(subprocess, "Popen", None)
    path = tmp_path / "film.toml"
    path.write_text(SMALL.replace("night", "nigth"))

    status = main(["--storyboard", str(path), "--out", str(tmp_path / "out")])

    told = capsys.readouterr()
    assert status == 2
    assert told.err.startswith(f"{path}:8: palette in scene 1 is 'nigth', but it must be one of ")
    assert "did you mean 'night'?" in told.err
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_made_starts_nothing(tmp_path, capsys, monkeypatch):
    """
    An unusable --out is told before anything is started.
    """
    monkeypatch.setattr(subprocess, "Popen", None)
    (tmp_path / "file").write_text("")
    path = tmp_path / "film.toml"
    path.write_text(SMALL)

    status = main(["--storyboard", str(path), "--out", str(tmp_path / "file" / "out")])

    assert status == 2
    assert capsys.readouterr().err == f"--out {tmp_path}/file/out: not a directory; give another folder\n"


def test_a_missing_extra_is_told_with_its_remedy(tmp_path, capsys, monkeypatch):
    """
    Without one of the packages of the extra the demo says what to install.
    """
    monkeypatch.setitem(sys.modules, "rich.console", None)

    status = main(["--out", str(tmp_path)])

    assert status == 2
    assert capsys.readouterr().err == "the demo needs rich: pip install 'resilient-aspects[demo]'\n"


def test_an_engine_without_decorators_needs_policies_from_outside(tmp_path, capsys, monkeypatch):
    """
    Started without them, --woven says how to start it, and starts no server.
    """
    monkeypatch.setattr(subprocess, "Popen", None)

    status = main(["--woven", "--out", str(tmp_path)])

    assert status == 2
    assert capsys.readouterr().err.startswith("--woven needs policies from outside: resilient run --policies ")


@pytest.mark.slow
@pytest.mark.parametrize("command", [COMMAND, WOVEN], ids=["decorated", "woven"])
def test_a_small_storyboard_is_rendered_from_end_to_end(tmp_path, command):
    """
    The resilient run delivers every shot, and pictures and report are there; with decorators, and with a file.
    """
    board = tmp_path / "film.toml"
    board.write_text(SMALL)

    done = subprocess.run(
        [*command, "--storyboard", str(board), "--out", str(tmp_path / "out")],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "120"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert (done.returncode, done.stderr) == (0, "")
    for words in ("delivered", "lost", "Top errors", "health()", "library"):
        assert words in done.stdout
    told = json.loads((tmp_path / "out" / "report.json").read_text())
    assert [shot["title"] for shot in told["resilient"]["shots"]] == ["First", "Second", "Third", "Fourth"]
    assert told["resilient"]["shots_lost"] == 0
    assert told["bare"]["shots_lost"] > 0
    assert any(mark["kind"] == "error" for mark in told["timeline"])
    assert (tmp_path / "out" / "contact-sheet.png").stat().st_size > 10_000
    assert (tmp_path / "out" / "timeline.png").stat().st_size > 10_000


@pytest.mark.slow
def test_ctrl_c_stops_every_server(tmp_path, interruptible):
    """
    After an interrupt the status is 130, and none of the servers is left.
    """
    command = [*COMMAND, "--out", str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        servers = []
        for _ in range(500):
            servers = psutil.Process(process.pid).children()
            # A server that listens has been told its port, so the play is about to begin.
            if len(servers) == 4 and all(one.net_connections() for one in servers):
                break
            threading.Event().wait(0.02)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=20)

    assert len(servers) == 4
    assert (process.returncode, told) == (130, "interrupted; every render server is stopped\n")
    assert [one for one in servers if one.is_running()] == []
