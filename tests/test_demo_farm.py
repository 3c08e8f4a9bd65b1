import base64
import contextlib
import io
import itertools
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

httpx = pytest.importorskip("httpx")
Image = pytest.importorskip("PIL.Image")

from docs.examples.render_farm.farm import Farm, FarmError  # noqa: E402 - after the check for the extra
from docs.examples.render_farm.faults import Fault  # noqa: E402
from docs.examples.render_farm.server import MAX_BATCH, RenderServer  # noqa: E402

ROOT = Path(__file__).parents[1]
ORDER = {
    "prompt": "a lighthouse",
    "palette": "dusk",
    "seed": 1,
    "resolution": "144p",
    "steps": 6,
    "batch": 2,
    "warmth": 0.1,
    "contrast": 1.1,
}


@pytest.fixture
def serve():
    """
    Run a server with a script in a thread of this process.
    """
    with contextlib.ExitStack() as stack:

        def start(**script):
            faults = {int(number.removeprefix("at")): fault for number, fault in script.items()}
            server = stack.enter_context(RenderServer(0, "test", faults, itertools.count(1)))
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.005})
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.shutdown)
            return server, stack.enter_context(
                httpx.Client(base_url=f"http://127.0.0.1:{server.server_port}", timeout=5, trust_env=False)
            )

        yield start


def frames_of(answer):
    """
    Return the PNG files in an answer.
    """
    return [base64.b64decode(frame) for frame in answer.json()["frames"]]


def test_a_healthy_server_draws_what_is_asked_for(serve):
    """
    Each frame of a batch is a PNG of the asked size, another one, and the same at the next request.
    """
    _, client = serve()

    first, again = (frames_of(client.post("/render", json=ORDER)) for _ in range(2))

    assert [Image.open(io.BytesIO(frame)).size for frame in first] == [(256, 144)] * 2
    assert first[0] != first[1]
    assert again == first


def test_a_busy_server_says_when_to_come_back(serve):
    """
    BUSY is a 503 with Retry-After, and the next request is served.
    """
    _, client = serve(at1=Fault.BUSY)

    busy, well = client.post("/render", json=ORDER), client.post("/render", json=ORDER)

    assert (busy.status_code, busy.headers["Retry-After"], well.status_code) == (503, "1", 200)


def test_a_broken_answer_holds_no_whole_picture(serve):
    """
    BROKEN frames end in the middle.
    """
    _, client = serve(at1=Fault.BROKEN)

    (frame, *_) = frames_of(client.post("/render", json=ORDER))

    with pytest.raises(OSError, match=r"truncated|cannot identify"):
        Image.open(io.BytesIO(frame)).load()


@pytest.mark.parametrize(
    ("batch", "fault", "status"), [(MAX_BATCH + 1, None, 507), (2, "memory", 507), (1, "memory", 200)]
)
def test_a_batch_that_is_too_large_runs_out_of_memory(serve, batch, fault, status):
    """
    There is room for a few frames, and for a single one while the fault MEMORY lasts.
    """
    _, client = serve(**({"at1": Fault(fault)} if fault else {}))

    answer = client.post("/render", json={**ORDER, "batch": batch})

    assert answer.status_code == status
    assert ("CUDA out of memory" in answer.text) is (status == 507)


def test_a_hanging_server_never_answers(serve):
    """
    HANG holds the request until the server closes.
    """
    server, client = serve(at1=Fault.HANG)

    with pytest.raises(httpx.ReadTimeout):
        client.post("/render", json=ORDER, timeout=0.05)
    server.closing.set()


def test_a_refusing_server_resets_the_request_and_shuts_its_door(serve):
    """
    REFUSE drops the connection without an answer and stops listening.
    """
    server, client = serve(at1=Fault.REFUSE)

    with pytest.raises(httpx.TransportError):
        client.post("/render", json=ORDER)
    assert server.closing.wait(5)


def test_looks_and_probes(serve):
    """
    A scene's look is the same each time; probes are not numbered; other paths are not found.
    """
    _, client = serve(at3=Fault.BUSY)

    looks = [client.get("/look/The%20storm").json() for _ in range(2)]

    assert client.get("/").json() == {"server": "test"}
    assert client.get("/else").status_code == 404
    assert looks[0] == looks[1]
    assert client.get("/look/x").status_code == 503
    assert client.get("/look/x").status_code == 200


@pytest.mark.slow
def test_a_farm_starts_killed_servers_again_and_leaves_none_behind():
    """
    A server killed by its script comes back on the same port, and all are gone after the block.
    """
    with Farm(["atlas", "borealis"], 41) as farm, httpx.Client(timeout=5, trust_env=False) as client:
        urls, pids = farm.urls, set(farm.pids.values())
        os.kill(farm.pids["atlas"], signal.SIGKILL)
        back = threading.Event()
        for _ in range(200):
            with contextlib.suppress(httpx.TransportError):
                assert client.get(urls["atlas"]).json() == {"server": "atlas"}
                if farm.outages and farm.outages[-1].end:
                    break
            back.wait(0.02)
        pids |= set(farm.pids.values())
        assert farm.urls == urls
        assert [outage.server for outage in farm.outages] == ["atlas"]
        assert "atlas, borealis; seed 41" in repr(farm)

    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


@pytest.mark.slow
def test_a_server_ends_with_its_standard_input():
    """
    When the program that started a server is gone, the server ends by itself.
    """
    command = [sys.executable, "-m", "docs.examples.render_farm.server", "--name", "atlas", "--seed", "1"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline().startswith("ready ")
        process.stdin.close()

        assert process.wait(10) == 0


@pytest.mark.slow
def test_a_server_that_does_not_start_is_named(monkeypatch, capfd):
    """
    The farm says which server did not start, and stops the others.
    """
    monkeypatch.setattr(sys, "executable", "/bin/false")

    with pytest.raises(FarmError, match="'atlas' did not start"), Farm(["atlas"], 1):
        pass
