"""
Functions of a program's own file are governed, and its lines stay where they are.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import linecache
import textwrap
import traceback

import pytest

from resilient.command.rewriting import GOVERNOR, parse, rewrite


def everything(qualname):
    """
    Want every function.
    """
    return True


@pytest.fixture
def run(monkeypatch, tmp_path):
    """
    Run a program's text after rewriting; return its namespace, and what the governor was given by qualname.
    """

    def go(text, wanted=everything):
        given = {}

        def governor(qualname):
            def decorator(value):
                given[qualname] = value
                return value

            return decorator

        monkeypatch.setattr(builtins, GOVERNOR, governor, raising=False)
        path = tmp_path / "program.py"
        path.write_text(textwrap.dedent(text))
        linecache.checkcache(str(path))
        tree = parse(path.read_bytes(), str(path))
        rewrite(tree, wanted)
        namespace = {"__name__": "program"}
        exec(compile(tree, str(path), "exec", dont_inherit=True), namespace)  # noqa: S102 - the program of the test
        return namespace, given

    return go


EVERYWHERE = """
def plain(): pass
async def waiting(): pass
class Engine:
    def method(self): pass
    class Part:
        def deep(self): pass
if True:
    def chosen(): pass
else:
    def other(): pass
try:
    def tried(): pass
except ValueError:
    def handled(): pass
else:
    def well(): pass
finally:
    def last(): pass
for _ in ():
    def looped(): pass
while False:
    def never(): pass
with open(__file__):
    def held(): pass
match 1:
    case 1:
        def matched(): pass
def outer():
    def inner(): pass
    class Local:
        def method(self): pass
"""


def test_each_def_is_found_wherever_it_stands():
    """
    Functions are named as Python names them, in the order of the source.
    """
    asked = []

    found = rewrite(parse(EVERYWHERE, "program.py"), lambda qualname: asked.append(qualname) or qualname != "never")

    assert asked == [
        "plain",
        "waiting",
        "Engine.method",
        "Engine.Part.deep",
        "chosen",
        "other",
        "tried",
        "handled",
        "well",
        "last",
        "looped",
        "never",
        "held",
        "matched",
        "outer",
        "outer.<locals>.inner",
        "outer.<locals>.Local.method",
    ]
    assert found == [name for name in asked if name != "never"]


def test_qualnames_are_those_that_python_gives(run):
    """
    What the governor is told is what the function says of itself.
    """
    text = """
    def outer():
        def inner(): pass
        class Local:
            async def method(self): pass
    class Engine:
        class Part:
            def deep(self): pass
    outer()
    """

    _, given = run(text)

    assert {name: value.__qualname__ for name, value in given.items()} == {name: name for name in given}
    assert len(given) == 4


def test_what_nobody_wants_is_as_it_was():
    """
    A tree without a wanted function is not changed.
    """
    tree = parse(EVERYWHERE, "program.py")
    before = ast.dump(tree, include_attributes=True)

    assert rewrite(tree, lambda _: False) == []
    assert ast.dump(tree, include_attributes=True) == before


def test_the_governor_stands_around_the_decorators_of_the_program(run):
    """
    It gets what the name would hold.
    """
    text = """
    import functools

    @functools.lru_cache
    def cached(): pass

    class Engine:
        @classmethod
        def make(cls): pass
        @staticmethod
        def help(): pass
    """

    namespace, given = run(text)

    assert given["cached"] is namespace["cached"]
    assert hasattr(given["cached"], "cache_info")
    assert isinstance(given["Engine.make"], classmethod)
    assert isinstance(given["Engine.help"], staticmethod)


def test_properties_stay_around_the_governor(run):
    """
    A getter, a setter and a cached property are governed below what makes them one.
    """
    text = """
    import functools

    def mark(fn):
        fn.marked = True
        return fn

    class Engine:
        @property
        @mark
        def level(self): return 1
        @level.setter
        def level(self, value): pass
        @functools.cached_property
        def model(self): return 2
    """

    namespace, given = run(text, lambda name: name.startswith("Engine"))

    assert all(inspect.isfunction(value) for value in given.values())
    assert set(given) == {"Engine.level", "Engine.model"}
    assert isinstance(namespace["Engine"].__dict__["level"], property)
    assert namespace["Engine"]().model == 2


SOURCE = '''
import functools


def plain(one):
    """Return it."""
    return one


@functools.cache
@functools.wraps(
    plain
)
def decorated(): return 1


class Engine:
    @staticmethod

    # a comment between
    def help():
        raise ValueError("no help")
'''


def test_lines_and_source_stay_true(run):
    """
    The first line of each function, and what `inspect.getsource` returns, are what they are without.
    """
    plain, _ = run(SOURCE, lambda _: False)
    told = {name: _told(plain, name) for name in ("plain", "decorated", "Engine.help")}

    governed, given = run(SOURCE)

    assert {name: _told(governed, name) for name in told} == told
    assert set(given) == set(told)


def _told(namespace, name):
    first, _, rest = name.partition(".")
    fn = getattr(namespace[first], rest) if rest else inspect.unwrap(namespace[first])
    return fn.__code__.co_firstlineno, list(fn.__code__.co_lines()), inspect.getsource(fn)


def test_tracebacks_are_the_same(run):
    """
    An error is told with the same lines and marks.
    """

    def told(wanted):
        namespace, _ = run(SOURCE, wanted)
        with pytest.raises(ValueError, match="no help") as caught:
            namespace["Engine"].help()
        return traceback.format_exception(caught.value)[2:]

    assert told(everything) == told(lambda _: False)


def test_an_error_of_the_governor_points_at_the_function(run, monkeypatch):
    """
    Whoever reads why a function cannot be governed sees which one.
    """
    text = "x = 1\n\ndef broken():\n    pass\n"

    def governor(qualname):
        raise RuntimeError(qualname)

    tree = parse(text, "program.py")
    rewrite(tree, everything)

    with pytest.raises(RuntimeError, match="broken") as caught:
        exec(compile(tree, "program.py", "exec"), {GOVERNOR: governor})  # noqa: S102 - the program of the test
    assert [step.lineno for step in traceback.extract_tb(caught.tb) if step.filename == "program.py"] == [3]


def test_a_program_may_be_deeper_than_our_stack():
    """
    Long expressions and chains of `elif` are no trouble.
    """
    deep = "if x == 0: pass\n" + "".join(f"elif x == {n}: pass\n" for n in range(900))
    text = f"def f():\n    return {' + '.join(['1'] * 900)}\n\nx = 1\n{deep}"

    assert rewrite(parse(text, "program.py"), everything) == ["f"]


def test_a_syntax_error_is_that_of_python():
    """
    File, line and text are told as for any program.
    """
    with pytest.raises(SyntaxError) as caught:
        parse(b"x = 1\ndef f(:\n", "program.py")

    assert (caught.value.filename, caught.value.lineno) == ("program.py", 2)


def test_encodings_are_understood():
    """
    A program may say in its first line how it is written.
    """
    tree = parse("# coding: latin-1\nx = 'é'\n".encode("latin-1"), "program.py")

    assert tree.body[0].value.value == "é"
