"""
A program runs under declared policies as it runs without: its status, its output, and what it knows of itself.
"""

from __future__ import annotations

import json
import re
import signal
import textwrap
import zipfile

import pytest

from tests.harness import python
from tests.programs import ENVIRON, governed, start

# Every function of the program is under a policy that changes nothing while calls go well.
EVERYTHING = """
[functions]
"__main__:*" = { circuit = true }
"""

RETRIED = """
[functions]
"program:flaky*" = { retry = { max_attempts = 3, initial_delay = 0 } }
"""


@pytest.fixture
def folder(tmp_path):
    """
    A folder with a file of policies, and a function that writes files into it.
    """

    def write(files):
        for name, text in {"policies.toml": EVERYTHING, **files}.items():
            path = tmp_path / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(textwrap.dedent(text))
        return tmp_path

    return write


FACTS = """
    '''A program.'''
    from __future__ import annotations
    import inspect, pickle, sys, traceback

    @staticmethod
    def helper(x: int = 1):
        '''Help.'''
        return x

    class Engine:
        @property
        def level(self):
            return "full"
        @classmethod
        def make(cls, *, size: int) -> Engine:
            return cls()
        async def wait(self):
            pass
        def __call__(self):
            return super().__repr__().partition(" at ")[0]

    def plain(one, /, two=2, *rest, three, **more) -> str:
        # a comment
        return one

    if __name__ == "__main__":
        print(sys.argv, sys.path[0], __name__, __file__, __spec__, __package__, __doc__, __cached__)
        print(sorted(globals()), type(__loader__).__name__, __loader__.name, type(__builtins__))
        print(sys.modules["__main__"].__dict__ is globals(), __builtins__ is sys.modules["builtins"])
        print(inspect.getsource(plain), inspect.signature(plain), inspect.signature(Engine.make), plain.__annotations__)
        print(inspect.unwrap(plain).__code__.co_firstlineno, inspect.iscoroutinefunction(Engine.wait))
        print(pickle.loads(pickle.dumps(plain)) is plain, pickle.dumps(plain), plain.__qualname__, plain.__module__)
        print(Engine().level, Engine.make(size=1)(), helper(3), plain("one", three=3))
"""

PROGRAMS = {
    "facts": FACTS,
    "text as status": "import sys\ndef f(): pass\nsys.exit('out of film')\n",
    "number as status": "import sys\ndef f(): pass\nsys.exit(7)\n",
    "true as status": "import sys\ndef f(): pass\nsys.exit(True)\n",
    "no status": "import sys\ndef f(): pass\nsys.exit()\n",
    "error": """
        def inner(x):
            return 1 / x

        def outer():
            try:
                inner(0)
            except ZeroDivisionError as error:
                raise ValueError("no film") from error

        outer()
    """,
    "group of errors": """
        def fail(x):
            raise ValueError(x)

        errors = []
        for x in range(2):
            try:
                fail(x)
            except ValueError as error:
                errors.append(error)
        raise ExceptionGroup("both", errors)
    """,
    "hook of its own": """
        import sys

        def hook(kind, error, traceback):
            print("hooked", kind, error, traceback.tb_frame.f_code.co_name, traceback.tb_lineno)
            print(error.__traceback__ is traceback, sys.excepthook is hook)
            print(sys.last_value is error, sys.last_traceback is traceback)
        sys.excepthook = hook
        raise ValueError("no film")
    """,
    "syntax error": "x = 1\ndef f(:\n    pass\n",
    "late syntax error": "x = 1\nreturn x\n",
    "syntax warning": "x = 1\ndef f(): pass\nassert (x, 'always')\nprint(x is 1)\n",
    "ctrl-c": "def wait():\n    raise KeyboardInterrupt\nwait()\n",
    "order of endings": """
        import atexit, threading, sys

        def last():
            print("at exit")
        atexit.register(last)

        def worker():
            main_ended.wait()
            print("thread")
        main_ended = threading.Event()
        threading.Thread(target=worker).start()
        threading.Timer(0.01, main_ended.set).start()
        print("main")
        sys.exit(5)
    """,
    "gone while it runs": """
        import os

        os.unlink(__file__)
        def f():
            raise ValueError("no film")
        f()
    """,
    "exit of a thread": """
        import sys, threading

        def worker():
            sys.exit(3)
        thread = threading.Thread(target=worker)
        thread.start()
        thread.join()
        print("on")
    """,
    "examples in docstrings": """
        import doctest

        def double(x):
            '''
            >>> double(2)
            4
            '''
            return 2 * x

        print(doctest.testmod())
    """,
    "a generator and a class": """
        from dataclasses import dataclass

        @dataclass
        class Shot:
            title: str
            def show(self):
                return self.title

        def shots():
            yield Shot("sunrise")

        print([shot.show() for shot in shots()], Shot("x") == Shot("x"))
    """,
}


@pytest.mark.parametrize("text", PROGRAMS.values(), ids=PROGRAMS)
def test_a_program_ends_as_it_does_without(folder, text):
    """
    Status, output and tracebacks are the same.
    """
    place = folder({"program.py": text})

    expected = start(place, "program.py", "one", "--two")
    place = folder({"program.py": text})
    assert governed(place, "program.py", "one", "--two") == expected


@pytest.mark.parametrize("path", ["./program.py", "film/../program.py", "film/linked.py"])
def test_a_program_knows_its_place(folder, path):
    """
    However its path is written, ``__file__``, ``sys.argv`` and the first place of ``sys.path`` are Python's.
    """
    place = folder({"program.py": "import sys\ndef f(): pass\nprint(sys.argv, sys.path[0], __file__)\n", "film/x": ""})
    (place / "film" / "linked.py").symlink_to(place / "program.py")

    expected = start(place, path)
    assert expected[0] == 0
    assert governed(place, path) == expected


@pytest.mark.parametrize("flag", ["-P", "-O", "-Wignore"])
def test_flags_of_the_interpreter_hold(folder, flag):
    """
    A program sees the flags that Python was started with, and no folder in ``sys.path`` where it asked for none.
    """
    text = "import sys\ndef f(): assert False\nprint(sys.flags, sys.path[0] == sys.argv[1])\nassert not __debug__, 1\n"
    place = folder({"program.py": text})

    expected = start(place, flag, "program.py", str(place))
    done = start(place, flag, "-m", "resilient", "run", "--policies", "policies.toml", "program.py", str(place))
    assert done == expected


def test_a_signal_ends_it_as_without(folder, interruptible):
    """
    A Ctrl-C from outside ends the process by the signal, and a shell sees 130; SIGTERM ends it at once.
    """
    place = folder(
        {"program.py": "import os, signal, sys\ndef f(): pass\nos.kill(os.getpid(), int(sys.argv[1]))\nprint('on')\n"}
    )

    for number in (signal.SIGINT, signal.SIGTERM):
        expected = start(place, "program.py", str(int(number)))
        assert expected[0] == -number
        assert governed(place, "program.py", str(int(number))) == expected


def test_a_module_runs_as_by_dash_m(folder):
    """
    ``-m`` finds modules and packages from the working folder, and they know what they are.
    """
    text = """
        import sys
        def f(): pass
        print(sys.argv, sys.path[0], __name__, __file__, __spec__.name, __package__, __cached__)
    """
    place = folder({"film/__init__.py": "", "film/__main__.py": text, "film/scene.py": text, "single.py": text})

    for name in ("film", "film.scene", "single"):
        expected = start(place, "-m", name, "-x", "--report")
        assert expected[0] == 0
        assert governed(place, "-m", name, "-x", "--report") == expected


def test_a_folder_and_a_zip_file_run(folder):
    """
    Python runs the ``__main__.py`` in them, and so do we.
    """
    text = """
        import sys, part
        def f(): pass
        print(sys.argv, sys.path[0], __name__, __file__, __spec__.name, __package__)
    """
    place = folder({"film/__main__.py": text, "film/part.py": "print('part')\n", "empty/x.py": ""})
    with zipfile.ZipFile(place / "film.zip", "w") as archive:
        archive.writestr("__main__.py", textwrap.dedent(text))
        archive.writestr("part.py", "print('part')\n")

    for name in ("film", "film.zip"):
        expected = start(place, name, "one")
        assert expected[0] == 0
        assert governed(place, name, "one") == expected
    assert governed(place, "empty") == (1, "", f"resilient: can't find '__main__' module in '{place}/empty'\n")


def test_compiled_programs_run(folder):
    """
    A program without a source runs; its functions cannot be governed.
    """
    place = folder({"program.py": "import sys\ndef f(): pass\nf()\nprint(sys.argv, __file__, type(__loader__))\n"})
    start(place, "-c", "import py_compile; py_compile.compile('program.py', 'program.pyc')")

    expected = start(place, "program.pyc")
    done = governed(place, "program.pyc")
    assert (done.returncode, done.stdout) == expected[:2]
    assert "'__main__:*' matched no function" in done.stderr


def test_a_program_that_is_not_there(folder):
    """
    The message and the status are Python's.
    """
    place = folder({})

    gone = governed(place, "gone.py")
    module = governed(place, "-m", "gone.module")
    nothing = governed(place)

    assert gone == (
        2,
        "",
        f"resilient: can't open file '{place}/gone.py': [Errno 2] No such file or directory\n",
    )
    assert (module.returncode, module.stdout) == (1, "")
    assert "No module named 'gone'" in module.stderr
    assert nothing.returncode == 2
    assert "name a program to run" in nothing.stderr


FLAKY = """
    calls = 0

    def flaky():
        global calls
        calls += 1
        if calls % 3:
            raise ConnectionError("busy")
        return calls

    class Engine:
        def flaky_method(self):
            return flaky()

    if __name__ == "__main__":
        print(flaky(), Engine().flaky_method())
"""


def test_functions_of_the_program_are_governed_by_the_name_of_its_file(folder):
    """
    ``program:flaky`` and ``__main__:flaky`` name the same function, and an unmatched pattern is told.
    """
    place = folder({"program.py": FLAKY, "policies.toml": RETRIED + '"program:Engine.*" = { retry = true }\n'})

    done = governed(place, "program.py")

    assert done == (0, "3 6\n", "")


def test_functions_of_a_module_run_by_its_name_are_governed(folder):
    """
    With ``-m`` patterns may use the module's name.
    """
    policies = RETRIED.replace("program:", "film.program:")
    place = folder({"film/program.py": FLAKY, "policies.toml": policies})

    done = governed(place, "-m", "film.program")

    assert done == (0, "3 6\n", "")


def test_imported_modules_are_woven_before_anybody_holds_their_functions(folder):
    """
    What ``from engine import flaky`` gets is governed.
    """
    place = folder(
        {
            "engine.py": FLAKY,
            "program.py": "from engine import flaky\nprint(flaky())\n",
            "policies.toml": RETRIED.replace("program:", "engine:"),
        }
    )

    assert governed(place, "program.py") == (0, "3\n", "")


def test_a_fallback_may_stand_further_down_in_the_program(folder):
    """
    References into the program itself are followed when they are needed, by either of its names.
    """
    place = folder(
        {
            "program.py": """
            print("loaded once")
            def one():
                raise ConnectionError
            def two():
                raise ConnectionError
            def card():
                return "card"
            print(one(), two())
        """,
            "policies.toml": """
            [functions]
            "program:one" = { fallback_chain = ["__main__:card"] }
            "program:two" = { fallback_chain = ["program:card"] }
        """,
        }
    )

    assert governed(place, "program.py") == (0, "loaded once\ncard card\n", "")


def test_inner_functions_are_governed_only_where_a_pattern_names_them(folder):
    """
    A star means what has a place of its own; ``<locals>`` names the rest.
    """
    text = """
        def outer():
            def inner():
                return 1
            return inner
        print(hasattr(outer, "resilience"), hasattr(outer(), "resilience"))
    """
    place = folder({"program.py": text})
    star = governed(place, "program.py")
    folder({"policies.toml": '[functions]\n"__main__:outer.<locals>.inner" = { retry = true }\n'})
    named = governed(place, "program.py")

    assert (star.stdout, named.stdout) == ("True False\n", "False True\n")


def test_spawned_processes_are_governed_too(folder):
    """
    A function of the program that another process calls has its policies there.
    """
    text = """
        import multiprocessing, sys

        tries = 0

        def flaky(x):
            global tries
            tries += 1
            if tries % 3:
                raise ConnectionError("busy")
            return x, __name__, tries, flaky.resilience.name

        if __name__ == "__main__":
            multiprocessing.set_start_method(sys.argv[1])
            with multiprocessing.Pool(1) as pool:
                print(pool.apply(flaky, [7]))
    """
    place = folder({"program.py": text, "policies.toml": RETRIED})

    for method, name in (("spawn", "__mp_main__"), ("fork", "__main__")):
        done = governed(place, "program.py", method)
        assert done == (0, f"(7, '{name}', 3, '__main__:flaky')\n", "")


def test_spawning_works_as_without(folder):
    """
    A program that is run by its module's name, and spawns, ends as it does without.
    """
    text = """
        import multiprocessing, sys

        def work(x):
            return x, __name__, sys.argv

        if __name__ == "__main__":
            multiprocessing.set_start_method("spawn")
            with multiprocessing.Pool(1) as pool:
                print(pool.apply(work, [7]))
    """
    place = folder({"film/program.py": text})

    expected = start(place, "-m", "film.program", "x")
    assert expected[0] == 0
    assert governed(place, "-m", "film.program", "x") == expected


def test_a_report_tells_what_the_policies_did(folder):
    """
    At the end standard error has the functions, what happened to them, and the health snapshot.
    """
    place = folder({"program.py": FLAKY, "policies.toml": RETRIED})

    done = governed(place, "program.py", options=["--report"])

    assert (done.returncode, done.stdout) == (0, "3 6\n")
    for words in (
        "resilient: 1 function under declared policies\n  __main__:flaky\n",
        "what the policies did:\n",
        "retry.scheduled",
        "registry default: pass",
    ):
        assert words in done.stderr


def test_a_report_as_json(folder):
    """
    It is one line, the last one of standard error, also where the program fails.
    """
    place = folder(
        {
            "program.py": FLAKY + "    def shots():\n        yield 1\n    raise SystemExit('out of film')\n",
            "policies.toml": RETRIED + '"program:shots" = { retry = true }\n"program:gone" = { retry = true }\n',
        }
    )

    done = governed(place, "program.py", options=["--report", "--json"])

    first, last = done.stderr.splitlines()
    told = json.loads(last)
    assert (done.returncode, first) == (1, "out of film")
    assert told["functions"] == ["__main__:flaky"]
    assert told["unmatched"] == ["program:shots", "program:gone"]
    assert "generator" in told["skipped"]["__main__:shots"]
    assert {"what": "retry.scheduled", "whom": "__main__:flaky", "times": 4} in told["did"]
    assert told["health"]["functions"]["__main__:flaky"]["retries"] == 4


def test_a_pattern_that_matches_nothing_is_told_and_fails_a_strict_run(folder):
    """
    The program runs to its end; then its status is 1 where it was 0, and its own where it was not.
    """
    place = folder(
        {
            "program.py": "import sys\nprint('made')\nsys.exit(int(sys.argv[1]))\n",
            "policies.toml": '[functions]\n"engine:render" = { retry = true }\n',
        }
    )
    told = "resilient: 'engine:render' matched no function\n"

    assert governed(place, "program.py", "0") == (0, "made\n", told)
    assert governed(place, "program.py", "0", options=["--strict"]) == (1, "made\n", told)
    assert governed(place, "program.py", "3", options=["--strict"]) == (3, "made\n", told)


def test_policies_that_cannot_be_meant_keep_the_program_from_running(folder):
    """
    Every problem is told with its line, and the status is 2.
    """
    place = folder({"program.py": "print('made')\n", "policies.toml": "[policies.a]\nretri = {}\ncircuit = 3\n"})

    done = governed(place, "program.py")

    assert (done.returncode, done.stdout) == (2, "")
    assert "policies.toml:2: policies.a.retri" in done.stderr
    assert "policies.toml:3: policies.a.circuit" in done.stderr
    assert "Traceback" not in done.stderr


def test_policies_are_found_as_everywhere(folder):
    """
    Without ``--policies`` it is the nearest resilient.toml; without one of those the status is 2.
    """
    place = folder({"program.py": FLAKY, "resilient.toml": RETRIED})

    found = start(place, "-m", "resilient", "run", "program.py")
    (place / "resilient.toml").unlink()
    none = start(place, "-m", "resilient", "run", "program.py")

    assert found == (0, "3 6\n", "")
    assert (none.returncode, none.stdout) == (2, "")
    assert "no policies found" in none.stderr


def test_an_error_under_policies_is_told_without_our_frames(folder):
    """
    The traceback of a governed function that fails in the end is that of the function alone.
    """
    text = """
        def flaky():
            raise ConnectionError("busy")

        def make():
            flaky()

        make()
    """
    place = folder({"program.py": text, "policies.toml": RETRIED})

    expected = start(place, "program.py")
    done = governed(place, "program.py")

    # A retry says in a note how often it has tried.
    assert re.sub(r"(?m)^.*attempts.*\n", "", done.stderr) == expected.stderr
    assert done.stderr != expected.stderr


def test_our_own_errors_point_at_the_call(folder):
    """
    A call that a circuit rejects is told where the program made it.
    """
    text = """
        def flaky():
            raise ConnectionError("busy")

        for _ in range(2):
            try:
                flaky()
            except ConnectionError:
                pass
    """
    policies = '[functions]\n"program:flaky" = { circuit = { failure_threshold = 1 } }\n'
    place = folder({"program.py": text, "policies.toml": policies})

    done = governed(place, "program.py")

    assert done.returncode == 1
    assert re.findall(r'File "(.+)", line (\d+)', done.stderr) == [(f"{place}/program.py", "7")]
    assert (
        "resilient.errors.CircuitBreakerOpenError: circuit 'program:flaky'" in done.stderr
        or "__main__:flaky" in done.stderr
    )


@pytest.mark.parametrize("code", ["''", "0.0", "False", "None", "0", "'told'", "3"])
def test_the_status_is_what_python_makes_of_it(folder, code):
    """
    A text, though empty, and a float are messages to Python, and status 1; False is 0.
    """
    place = folder({"program.py": f"import sys\ndef f(): pass\nsys.exit({code})\n"})

    assert governed(place, "program.py") == start(place, "program.py")


def test_dashes_may_stand_before_the_program(folder):
    """
    What follows ``--`` is the program and its own words.
    """
    place = folder({"program.py": "import sys\ndef f(): pass\nprint(sys.argv)\n"})

    assert governed(place, "--", "program.py", "-x") == start(place, "program.py", "-x")


def test_a_reference_that_never_comes_is_told(folder):
    """
    What a policy of the program's own function refers to in vain is named at the first call.
    """
    place = folder(
        {
            "program.py": "def f(): return 1\nprint(f())\n",
            "policies.toml": '[functions]\n"__main__:f" = { fallback_chain = ["__main__:nope"] }\n',
        }
    )
    done = governed(place, "program.py")

    assert done.returncode == 1
    assert "PolicyError" in done.stderr
    assert "'nope'" in done.stderr
    assert "RecursionError" not in done.stderr


def test_a_narrow_terminal_gets_names_escaped(folder):
    """
    What standard output has no letters for is escaped, and no traceback.
    """
    place = folder({"wide.toml": '[policies."日本"]\nretry = true\n'})
    environ = {**ENVIRON, "PYTHONIOENCODING": "ascii"}
    out, err = python("-m", "resilient", "check", "wide.toml", env=environ, cwd=place)

    assert "\\u65e5" in out
    assert err == ""
