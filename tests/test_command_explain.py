"""
``resilient explain`` tells a function's policies, and where each value comes from.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

from resilient import ResilientWarning, weave
from resilient.testing import disabled
from tests.command_line import command_line

ROOT = Path(__file__).parents[1]

STUDIO = """\
[policies.external]
retry = { initial_delay = "20ms", on = ["network"] }
[policies.gpu]
extends = "external"
recoverable = true
circuit = false
[functions]
"studio_*:render" = "gpu"
"studio_*:Engine.*" = { circuit = { open_for = inf }, degradable = { steps = { minimum = 8 } } }
"""

VIDEO = """
    print("loading")
    from resilient import Registry, circuit, default_registry, degradable, fallback_chain, retry, scale

    def card(shot, **_):
        return "card"

    def busy(error):
        return True

    @degradable(steps=scale(minimum=4))
    @fallback_chain(card)
    @retry(max_attempts=7, max_delay=5, on=(busy, ConnectionError))
    @circuit("gpu", failure_threshold=2)
    def render(shot, steps=20):
        return shot

    class Engine:
        name = "atlas"

        @classmethod
        def make(cls):
            pass

    default_registry().configure({"policies": {"external": {"retry": {"max_duration": 9}}}})
"""


@pytest.fixture
def explain(tmp_path, capsys, monkeypatch):
    """
    Return a command line in a folder of its own, with a file of policies.
    """
    with command_line(tmp_path, capsys, monkeypatch) as line:
        line.write({"resilient.toml": STUDIO})
        yield line


def rows(out):
    """
    Return the table: the columns of each line that has an option, by kind and option.
    """
    found, kind = {}, None
    for line in out.splitlines():
        if line and not line.startswith(" "):
            kind = line
        elif line and ":" not in line.split()[0]:
            name, *rest = line.split()
            found[kind, name] = rest
    return found


def test_each_value_has_its_source(explain, monkeypatch):
    """
    Defaults, decorators, lines of the file, variables and what the module has configured are told apart.
    """
    explain.write({"studio_a.py": VIDEO})
    monkeypatch.setenv("RESILIENT_POLICIES__EXTERNAL__RETRY__JITTER", "full")

    status, out, err = explain("explain", "studio_a:render")

    assert (status, err) == (0, "loading\n")
    assert out.splitlines()[:2] == ["studio_a:render", "  resilient.toml:8: 'studio_*:render' is gpu < external"]
    table = rows(out)
    assert table["retry", "max_attempts"] == ["7", "decorator", "@retry"]
    assert table["retry", "initial_delay"] == ["'20ms'", "file", "resilient.toml:2"]
    assert table["retry", "on"] == ["['network']", "file", "resilient.toml:2"]
    assert table["retry", "jitter"] == ["'full'", "environment", "RESILIENT_POLICIES__EXTERNAL__RETRY__JITTER"]
    assert table["retry", "max_duration"] == ["9", "runtime", "configure()"]
    assert table["retry", "max_delay"] == ["5.0", "decorator", "@retry"]
    assert table["retry", "exponential_base"] == ["2.0", "default"]
    assert table["degradable", "steps"] == ["scale(minimum=4)", "decorator", "@degradable"]
    assert table["fallback_chain", "entries"] == ["studio_a:card", "decorator", "@fallback_chain"]
    assert table["fallback_chain", "on"] == ["Exception", "default"]
    assert table["recoverable", "max_runs"] == ["3", "default"]
    assert [kind for kind, name in dict.fromkeys((kind, "") for kind, _ in table) if kind != "studio_a:render"] == [
        "degradable",
        "fallback_chain",
        "recoverable",
        "retry",
    ]
    assert out.endswith("\n\ncircuit: removed\n")


def test_json_has_the_same(explain):
    """
    With --json the answer is one object.
    """
    explain.write({"studio_b.py": VIDEO})

    status, out, _ = explain("explain", "studio_b:render", "--json")

    told = json.loads(out)
    assert status == 0
    assert (told["function"], told["order"], told["removed"], told["notes"]) == (
        "studio_b:render",
        ["degradable", "fallback_chain", "recoverable", "retry"],
        ["circuit"],
        [],
    )
    assert told["patterns"] == [
        {"pattern": "studio_*:render", "where": "resilient.toml:8", "policies": ["gpu", "external"]}
    ]
    retry = told["policies"]["retry"]
    assert retry["initial_delay"] == {"value": "20ms", "from": "file", "where": "resilient.toml:2"}
    assert retry["on"] == {"value": ["network"], "from": "file", "where": "resilient.toml:2"}
    assert retry["max_delay"] == {"value": 5.0, "from": "decorator", "where": "@retry"}
    assert retry["wait"] == {"value": None, "from": "default", "where": None}
    assert told["policies"]["fallback_chain"]["entries"]["value"] == ["studio_b:card"]


def test_decorators_alone_are_explained(explain):
    """
    Without a file the decorators are, and that no file was found is said.
    """
    (explain.folder / "resilient.toml").unlink()
    explain.write({"studio_c.py": VIDEO})

    status, out, _ = explain("explain", "studio_c:render")

    table = rows(out)
    assert status == 0
    assert "note: no file of policies was found" in out
    assert {"ConnectionError", "busy"} <= {word.strip("(),") for word in table["retry", "on"]}
    assert table["circuit", "name"] == ["'gpu'", "decorator", "@circuit"]
    assert table["circuit", "failure_threshold"] == ["2", "decorator", "@circuit"]


def test_a_method_that_nobody_decorated_is_explained(explain):
    """
    What a file declares for it is shown; what JSON has no number for is a text there.
    """
    explain.write({"studio_d.py": VIDEO})

    status, out, _ = explain("explain", "studio_d:Engine.make")

    assert status == 0
    assert "'studio_*:Engine.*' has a table of its own" in out
    assert rows(out)["circuit", "open_for"] == ["inf", "file", "resilient.toml:9"]
    told = json.loads(explain("explain", "studio_d:Engine.make", "--json")[1])
    assert told["policies"]["circuit"]["open_for"]["value"] == "inf"
    assert told["policies"]["degradable"]["steps"]["value"] == {"minimum": 8}


def test_what_no_policy_is_for_is_said(explain):
    """
    A function without policies is an answer, too.
    """
    explain.write({"studio_e.py": VIDEO})

    assert explain("explain", "studio_e:card")[:2] == (0, "studio_e:card\n\nno policies\n")


def test_a_module_that_cannot_be_imported_is_explained_without_its_decorators(explain):
    """
    The answer says so; where no pattern means the function either, there is none.
    """
    explain.write({"studio_f.py": "raise ValueError('password: hunter2')\n", "other_f.py": "raise SystemExit\n"})

    status, out, err = explain("explain", "studio_f:render")
    assert (status, err) == (0, "")
    assert "note: decorators are not known: importing 'studio_f' raised ValueError: " in out
    assert "hunter2" not in out
    assert rows(out)["retry", "initial_delay"] == ["'20ms'", "file", "resilient.toml:2"]

    status, out, err = explain("explain", "other_f:render")
    assert (status, out) == (1, "")
    assert err == "resilient: importing 'other_f' raised SystemExit; and no pattern means 'other_f:render'\n"


def test_without_importing(explain):
    """
    With --no-import the file alone is asked.
    """
    status, out, err = explain("explain", "studio_g:render", "--no-import")

    assert (status, err) == (0, "")
    assert "note: decorators are not looked at: the module is not imported" in out


def test_a_function_that_is_not_there(explain):
    """
    The status is 1, with what may have been meant; and so for what is no function.
    """
    explain.write({"studio_h.py": VIDEO})

    assert explain("explain", "studio_h:rendr")[::2] == (
        1,
        "loading\nresilient: 'studio_h' has no 'rendr'; did you mean 'render'?\n",
    )
    assert explain("explain", "studio_h:Engine.mak")[::2] == (
        1,
        "resilient: 'studio_h:Engine' has no 'mak'; did you mean 'make'?\n",
    )
    assert explain("explain", "studio_h:Engine.name")[::2] == (
        1,
        "resilient: 'studio_h:Engine.name' is no function, but of the type str\n",
    )


def test_wrong_questions(explain):
    """
    What names no function, and a file that is not there, are wrong usage; a wrong file has its problems told.
    """
    explain.write({"wrong.toml": "[policies.a]\nretri = {}\n"})

    assert explain("explain", "render")[0] == 2
    assert "write it as module:function" in explain("explain", "render")[2]
    assert explain("explain", "a:b", "--policies", "gone.toml") == (
        2,
        "",
        "resilient: there is no file 'gone.toml'\n",
    )
    status, _, err = explain("explain", "a:b", "--policies", "wrong.toml")
    assert status == 1
    assert err.startswith("resilient: wrong.toml:2: policies.a.retri: is unknown")


def test_what_cannot_be_put_on_the_function_is_noted(explain):
    """
    A reference that leads nowhere, and policies that have nothing to do, are notes.
    """
    explain.write({
        "studio_i.py": "def render(): pass\n",
        "a.toml": '[functions]\n"studio_i:render" = { fallback_chain = ["studio_i:crad"] }\n',
        "b.toml": '[functions]\n"studio_i:render" = { degradable = { steps = {} } }\n',
    })  # fmt: skip

    assert (
        "note: cannot be put in force: a.toml:2: " in explain("explain", "studio_i:render", "--policies", "a.toml")[1]
    )
    assert (
        "note: degradable has nothing to do for this function"
        in explain("explain", "studio_i:render", "--policies", "b.toml")[1]
    )


def test_another_name_for_a_function_is_noted(explain):
    """
    Patterns match the name that a function has, not each place where it can be found.
    """
    explain.write({"studio_j.py": VIDEO, "other_j.py": "from studio_j import render\n"})

    status, out, _ = explain("explain", "other_j:render")

    assert status == 0
    assert "note: other_j:render is studio_j:render: that is the name that patterns have to match" in out


LOOM = """
    import functools
    from json import dumps
    from math import hypot
    from os import getcwd as cwd
    from resilient import retry as again

    def render():
        pass

    async def stream():
        pass

    def frames():
        yield 1

    def make():
        def made():
            pass
        return made

    def wrapped():
        pass
    wrapped.__module__ = "gone"

    class Engine:
        def __init__(self):
            self.hook = make()
        def render(self):
            pass
        draw = render
        @classmethod
        def load(cls):
            pass
        @staticmethod
        def probe():
            pass
        @property
        def level(self):
            pass
        class Model:
            def infer(self):
                pass

    class Sub(Engine):
        pass

    draft = render
    partly = functools.partial(render)
    cached = functools.cache(lambda: 1)
    made = make()
    engine = Engine()
    bound = engine.render
"""


def notes(explain, name, policies):
    """
    Return name, notes and kinds of policies as JSON tells them; the text has the same notes.
    """
    words = ["explain", "--policies", policies, name]
    told = json.loads(explain(*words, "--json")[1])
    status, out, _ = explain(*words)
    assert status == 0
    assert [line.removeprefix("  note: ") for line in out.splitlines() if line.startswith("  note")] == told["notes"]
    return told["function"], told["notes"], told["order"]


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("Engine", "@governed cannot be put on the class Engine; decorate its methods, or "),
        ("frames", "@governed cannot guard loom_k:frames: it is a generator, and fails while it is iterated"),
        ("Engine.__init__", "Python itself calls it; end the pattern with its name, __init__"),
        ("partly", "weaving guards functions and methods, and this is of the type partial"),
        ("bound", "weaving guards functions and methods, and this is of the type method"),
        ("draft", "'draft' is another name for it, taken before 'loom_k' is woven; call it as 'render'"),
        ("Engine.draw", "'draw' is another name for it, taken before 'loom_k' is woven; call it as 'render'"),
        ("engine.hook", "neither the module 'loom_k' nor a class in it has it"),
        ("wrapped", "no pattern matches 'gone:wrapped'"),
        ("cwd", f"no pattern matches '{os.getcwd.__module__}:getcwd'"),
        ("dumps", "no pattern matches 'json:dumps'"),
    ],
)
def test_what_weaving_would_not_guard_is_noted(explain, path, why):
    """
    What is declared for it is no promise: the note says what is in the way. The question has an answer all the same.
    """
    explain.write({"loom_k.py": LOOM, "all.toml": '[functions]\n"loom_k*:*" = { circuit = true }\n'})

    told = notes(explain, f"loom_k:{path}", "all.toml")[1]

    assert told[-1].startswith(f"would not be guarded: {why}")


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("render", "render"),
        ("stream", "stream"),
        ("Engine.load", "Engine.load"),
        ("Engine.probe", "Engine.probe"),
        ("Engine.Model.infer", "Engine.Model.infer"),
        ("Sub.render", "Engine.render"),
        ("engine.render", "Engine.render"),
        ("made", "make.<locals>.made"),
        ("cached", "<lambda>"),
    ],
)
def test_what_weaving_guards_has_no_such_note(explain, path, name):
    """
    What weaving reports as woven is explained as being in force, under the name that it is woven by.
    """
    explain.write({"loom_l.py": LOOM, "all.toml": '[functions]\n"loom_l*:*" = { circuit = true }\n'})
    function, told, order = notes(explain, f"loom_l:{path}", "all.toml")

    other = [f"loom_l:{path} is loom_l:{name}: that is the name that patterns have to match"] * (path != name)
    assert (function, told, order) == (f"loom_l:{name}", other, ["circuit"])
    with pytest.warns(ResilientWarning, match="4 references were taken before weaving"):
        assert function in weave("all.toml").functions


def test_a_star_for_modules_is_not_for_these(explain):
    """
    Neither the standard library nor this one, nor what is written in C, has policies by a star.
    """
    explain.write({
        "loom_m.py": "import math\nhypot = math.hypot\n",
        "star.toml": '[functions]\n"*:*" = { circuit = true }\n',
        "c.toml": '[functions]\n"math:*" = { circuit = true }\n',
        "named.toml": '[functions]\n"math:hypot" = { circuit = true }\n"gone:*" = { circuit = true }\n',
        "loom_n.py": LOOM,
    })  # fmt: skip
    named = "loom_m:hypot is math:hypot: that is the name that patterns have to match"
    star = "a star for modules means neither the standard library nor what this library uses; write"

    assert notes(explain, "json:dumps", "star.toml")[1][-1].startswith(f"would not be guarded: {star} 'json:dumps'")
    assert notes(explain, "resilient.text:cut", "star.toml")[1] == [
        "would not be guarded: this library itself is left alone"
    ]
    assert notes(explain, "loom_m:hypot", "c.toml")[1] == [
        named,
        "would not be guarded: it is written in C; name it without a star",
    ]
    assert notes(explain, "loom_m:hypot", "named.toml")[1] == [named]
    assert notes(explain, "loom_n:wrapped", "named.toml")[1][-1] == (
        "would not be guarded: neither the module 'gone' nor a class in it has it"
    )


def test_what_a_module_configures_is_for_all_of_its_functions(explain):
    """
    Where the default registry is configured, what nobody decorated has policies from there too.
    """
    configured = "default_registry().configure({'functions': {'loom_o:f': {'circuit': True}}})"
    explain.write({"loom_o.py": f"from resilient import default_registry\ndef f(): pass\n{configured}\n"})

    assert json.loads(explain("explain", "loom_o:f", "--json")[1])["order"] == ["circuit"]


def test_a_module_may_name_the_files_policies(explain):
    """
    What it configures is laid over the file that is asked, as in the program.
    """
    file = '[policies.gpu]\nretry = { max_attempts = 4 }\ncircuit = {}\n[functions]\n"loom_q:g" = "gpu"\n'
    configured = (
        "default_registry().configure({'functions': {'loom_q:f': 'gpu'},"
        " 'policies': {'gpu': {'retry': {'max_attempts': 7}}}})"
    )
    explain.write(
        {"loom_q.py": f"from resilient import default_registry\ndef f(): pass\ndef g(): pass\n{configured}\n"}
    )
    explain.write({"resilient.toml": file})
    for name in ("f", "g"):
        told = json.loads(explain("explain", f"loom_q:{name}", "--json")[1])

        assert told["order"] == ["retry", "circuit"]
        assert told["policies"]["retry"]["max_attempts"] == {"value": 7, "from": "runtime", "where": "configure()"}


def test_another_registry_is_noted(explain):
    """
    The file that is asked holds for functions of the default registry, as long as nobody else loads it.
    """
    text = "from resilient import Registry, retry\n@retry(registry=Registry('studio'))\ndef render(): pass\n"
    explain.write({"studio_p.py": text})

    status, out, _ = explain("explain", "studio_p:render")

    assert status == 0
    assert "note: it is on registry 'studio': the file is in force there once that has loaded it" in out


def test_a_programs_own_function_is_not_looked_for(explain):
    """
    It is there when the program runs; what is declared for it can be told before.
    """
    explain.write({"main.toml": '[functions]\n"__main__:f" = { circuit = true }\n'})

    assert notes(explain, "__main__:f", "main.toml") == (
        "__main__:f",
        ["decorators are not looked at: a program's own functions are there when it runs"],
        ["circuit"],
    )


def test_that_nothing_is_in_force_is_noted(explain):
    """
    While the switch of the environment is set, policies are validated and no more.
    """
    explain.write({"studio_q.py": VIDEO})

    with disabled():
        status, out, _ = explain("explain", "studio_q:render")

    assert status == 0
    assert "note: nothing is in force while RESILIENT_DISABLED is set: functions are called as they are" in out
    assert rows(out)["retry", "max_attempts"] == ["7", "decorator", "@retry"]


def test_a_property_is_told_what_to_decorate(explain):
    """
    It is no function; its getter is.
    """
    explain.write({"loom_r.py": LOOM})

    assert explain("explain", "loom_r:Engine.level") == (
        1,
        "",
        "resilient: 'loom_r:Engine.level' is no function, but of the type property; decorate its getter\n",
    )


@pytest.mark.slow
def test_an_answer_comes_at_once(tmp_path):
    """
    Beyond what importing the library's decorators takes, an explanation takes less than 100 ms.
    """
    rules = "".join(f'"studio_{n}.*:render_*" = "gpu"\n' for n in range(200))
    (tmp_path / "resilient.toml").write_text(STUDIO + rules, encoding="utf-8")
    (tmp_path / "studio_k.py").write_text("def render(steps=1): pass\n", encoding="utf-8")

    def seconds(*words):
        taken = []
        for _ in range(5):
            start = time.perf_counter()
            subprocess.run(
                [sys.executable, *words],
                cwd=tmp_path,
                env={"PYTHONPATH": str(ROOT)},
                check=True,
                capture_output=True,
                timeout=60,
            )
            taken.append(time.perf_counter() - start)
        return statistics.median(taken)

    start_up = seconds("-c", "from resilient import retry, health; health()")
    assert seconds("-m", "resilient", "explain", "studio_k:render") - start_up < 0.1
