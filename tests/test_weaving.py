"""
Weaving: declared policies around functions that nobody decorated.
"""

from __future__ import annotations

import asyncio
import binascii
import copy
import gc
import importlib
import importlib.machinery
import importlib.util
import inspect
import itertools
import json
import pickle
import string
import sys
import textwrap
import threading
import time
import types
import warnings
import weakref

import pytest

from resilient import PolicyError, Registry, ResilientWarning, resilience_of, retry, unweave, weave
from resilient.weaving.hooks import ImportHook
from resilient.weaving.reach import Reach
from resilient.weaving.woven import LOOM
from tests.harness import held, in_fork, may_fork, needs_fork

RETRY = {"retry": {"max_attempts": 3, "initial_delay": 0.0, "jitter": False}}

ENGINE = """
    calls = []

    def attempt(*what):
        calls.append(what)
        if len(calls) % 3:
            raise ConnectionError("down")
        return what

    def render(shot, *, quality=1.0):
        return attempt("render", shot, quality)

    async def stream(shot):
        return attempt("stream", shot)

    class Engine:
        def generate(self, shot):
            return attempt("generate", shot)

        @classmethod
        def load(cls, name):
            return attempt("load", cls, name)

        @staticmethod
        def probe():
            return attempt("probe")

        class Model:
            async def infer(self, x):
                return attempt("infer", x)
"""


class Project:
    """
    Modules in a folder, a file of policies, and what is woven of it.
    """

    def __init__(self, folder, registry):
        self.folder = folder
        self.registry = registry
        self.file = folder / "resilient.toml"

    def write(self, name, source=ENGINE):
        """
        Write the module *name* without importing it.
        """
        path = self.folder.joinpath(*name.split(".")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(source), encoding="utf-8")
        importlib.invalidate_caches()
        return path

    def module(self, name="engine", source=ENGINE):
        """
        Write the module *name*, and import it.
        """
        self.write(name, source)
        return importlib.import_module(name)

    def declare(self, *patterns, **tables):
        """
        Write the file: these patterns get a retry, or the tables that are given by pattern.
        """
        lines = ["[policies.again]", "retry = { max_attempts = 3, initial_delay = 0, jitter = false }", "[functions]"]
        lines += [f"{json.dumps(pattern)} = 'again'" for pattern in patterns]
        lines += [f"{json.dumps(pattern)} = {table}" for pattern, table in tables.get("tables", {}).items()]
        self.file.write_text("\n".join(lines), encoding="utf-8")

    def weave(self, *patterns, **tables):
        """
        Declare, and weave.
        """
        self.declare(*patterns, **tables)
        return weave(self.file, registry=self.registry)


@pytest.fixture
def project(tmp_path, monkeypatch, registry):
    """
    Return a folder for modules, the first on the path; what it adds to the process goes again.
    """
    before = dict(sys.modules)
    # Some tests write a module anew within the second that its compiled form is told by.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.syspath_prepend(tmp_path)
    yield Project(tmp_path, registry)
    with warnings.catch_warnings(action="ignore"):
        unweave()
    for name in set(sys.modules) - set(before):
        if name.startswith("made") or str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def finders():
    """
    Return the finders of ours that look on at imports.
    """
    return [finder for finder in sys.meta_path if isinstance(finder, ImportHook)]


def guarded(fn):
    """
    Tell whether *fn* carries policies.
    """
    return hasattr(fn, "resilience")


# -- what is woven ---------------------------------------------------------------


def call_all(engine):
    """
    Return what each function of the engine returns after two failures.
    """
    made = engine.Engine()
    return [
        engine.render("a", quality=0.5),
        asyncio.run(engine.stream("b")),
        made.generate("c"),
        engine.Engine.load("d"),
        made.probe(),
        asyncio.run(engine.Engine.Model().infer(6)),
    ]


NAMES = (
    "engine:Engine.Model.infer",
    "engine:Engine.generate",
    "engine:Engine.load",
    "engine:Engine.probe",
    "engine:attempt",
    "engine:render",
    "engine:stream",
)


@pytest.mark.parametrize("first", ["import", "weave"])
def test_every_kind_of_function_is_woven(project, first):
    """
    Functions, methods, classmethods, staticmethods and coroutines are guarded, whether imported before or after.
    """
    if first == "import":
        project.module()
    else:
        project.write("engine")
    weaving = project.weave("engine:*", tables={"engine:attempt": "{ retry = false }"})
    engine = importlib.import_module("engine")

    assert call_all(engine) == [
        ("render", "a", 0.5),
        ("stream", "b"),
        ("generate", "c"),
        ("load", engine.Engine, "d"),
        ("probe",),
        ("infer", 6),
    ]
    assert weaving.functions == NAMES
    assert set(NAMES) <= set(project.registry.functions)
    assert engine.render.resilience.stats().retries == 2
    assert inspect.iscoroutinefunction(engine.stream)
    assert weaving.missed == weaving.unmatched == ()
    assert "7 functions" in repr(weaving)


def test_only_what_a_pattern_matches_is_touched(project):
    """
    A function that no pattern matches stays the same object.
    """
    engine = project.module()
    before = engine.stream, engine.Engine.generate
    weaving = project.weave("engine:ren*")

    assert weaving.functions == ("engine:render",)
    assert (engine.stream, engine.Engine.generate) == before


def test_what_a_module_has_from_elsewhere_is_not_its_own(project):
    """
    Imported functions, and methods that are other modules' functions, are woven where they are defined only.
    """
    project.write("helpers", "def fetch(): return 1\ndef send(): return 2")
    app = project.module("app", "from helpers import fetch\nimport helpers\nclass App:\n    send = helpers.send")
    with pytest.warns(ResilientWarning, match="match no function: 'app:\\*'"):
        weaving = project.weave("app:*")

    assert weaving.functions == ()
    assert not guarded(app.fetch)
    assert not guarded(app.App.send)


ODD = """
    import functools

    def pages():
        yield 1

    async def stream():
        yield 1

    class Page:
        def __init__(self, n=1): self.n = n
        def __eq__(self, other): return True
        def __call__(self): return 2
        @property
        def title(self): return "t"
        @functools.cached_property
        def text(self): return "t"
        def show(self): return self.n
"""


def test_what_cannot_be_woven_is_told_with_its_reason(project):
    """
    Generators, properties and classes stay as they are; the reason for each is in `skipped`.
    """
    odd = project.module("odd", ODD)
    before = dict(vars(odd)), dict(vars(odd.Page))
    weaving = project.weave("odd:*")

    assert weaving.functions == ("odd:Page.show",)
    assert set(weaving.skipped) == {"odd:pages", "odd:stream", "odd:Page", "odd:Page.title", "odd:Page.text"}
    assert "generator" in weaving.skipped["odd:stream"]
    assert "decorate its getter" in weaving.skipped["odd:Page.title"]
    assert vars(odd) == before[0]
    assert {key for key, value in vars(odd.Page).items() if value is not before[1].get(key)} == {"show"}


@pytest.mark.parametrize("pattern", ["odd:Page.__call__", "odd:*.__call__", "odd:Page.__init__"])
def test_special_methods_are_woven_where_a_pattern_names_them(project, pattern):
    """
    What Python itself calls is guarded where a pattern ends with its name, and then when Python calls it too.
    """
    odd = project.module("odd", ODD)
    weaving = project.weave("odd:*", pattern)
    name = pattern.replace("*", "Page")
    page = odd.Page(7)

    assert weaving.functions == tuple(sorted([name, "odd:Page.show"]))
    assert (page.show(), page()) == (7, 2)
    assert project.registry.functions[name].stats().calls == 1


def test_decorated_functions_are_not_wrapped_again(project):
    """
    A function with decorators of ours stays the same object, and so does one under a foreign decorator above them.
    """
    shop = project.module(
        "shop",
        """
        import functools

        def foreign(fn):
            @functools.wraps(fn)
            def outer(*args):
                return fn(*args)
            return outer

        def order(): pass
        def elsewhere(): pass
        def paid(): pass
        """,
    )
    shop.order = retry(registry=project.registry)(shop.order)
    shop.paid = shop.foreign(retry(registry=project.registry)(shop.paid))
    shop.elsewhere = retry(registry=Registry("other"))(shop.elsewhere)
    before = shop.order, shop.paid, shop.elsewhere
    with pytest.warns(ResilientWarning, match="'shop:elsewhere' .*registry 'other', which declares for itself"):
        weaving = project.weave("shop:order", "shop:paid", "shop:elsewhere")

    assert (shop.order, shop.paid, shop.elsewhere) == before
    assert weaving.functions == ()
    assert "'other'" in weaving.skipped["shop:elsewhere"]
    assert weaving.unmatched == ("shop:elsewhere",)


def test_what_a_factory_made_is_woven_under_its_own_name(project):
    """
    A function whose own name is no place in the module is woven where it comes first, other names of it are told.
    """
    made = project.module(
        "factory",
        """
        def make():
            def handler():
                return 1
            return handler
        handle = make()
        again = handle
        class Desk:
            def open(self): return 2
            unlock = open
        """,
    )
    with pytest.warns(ResilientWarning, match="2 references") as told:
        weaving = project.weave("factory:*")

    assert "factory:make.<locals>.handler" in weaving.functions
    assert guarded(made.handle)
    assert guarded(made.Desk.open)
    assert weaving.missed == (("factory", "again"), ("factory:Desk", "unlock"))
    assert told[0].filename == __file__


def test_cached_and_foreign_wrapped_functions_are_woven_whole(project):
    """
    What `functools.lru_cache`, `functools.singledispatch` or wrapt have made of a function keeps its attributes.
    """
    tools = project.module(
        "tools",
        """
        import functools, wrapt
        @functools.lru_cache
        def load(name): return [name]
        @functools.singledispatch
        def show(value): return "any"
        @show.register
        def _(value: int): return "int"
        @wrapt.decorator
        def twice(wrapped, instance, args, kwargs): return [wrapped(*args, **kwargs)] * 2
        @twice
        def draw(x): return x
        class Shop:
            @twice
            def sell(self, x): return x
            @functools.lru_cache
            def stock(self): return [1]
            part = functools.partialmethod(lambda self, x: x, 3)
        """,
    )
    weaving = project.weave("tools:load", "tools:show", "tools:draw", "tools:Shop.s*")
    shop = tools.Shop()

    assert len(weaving.functions) == 5
    assert tools.load("a") is tools.load("a")
    assert tools.load.cache_info().hits == 1
    assert (tools.show("x"), tools.show(1)) == ("any", "int")
    assert tools.draw(1) == [1, 1]
    assert shop.sell(2) == [2, 2]
    assert shop.stock() is shop.stock()
    assert shop.part() == 3
    assert project.registry.functions["tools:Shop.sell"].stats().calls == 1


CLASSES = """
    import abc, dataclasses, enum, typing

    class Shape(abc.ABC):
        @abc.abstractmethod
        def area(self): return 1
        @classmethod
        @abc.abstractmethod
        def unit(cls): return 1

    class Square(Shape):
        __slots__ = ("side",)
        def __init__(self, side): self.side = side
        def area(self): return super().area() * self.side ** 2
        @classmethod
        def unit(cls): return super().unit(), cls
        def who(self): return __class__

    class Colour(enum.Enum):
        RED = 1
        def shade(self): return self.name
        @classmethod
        def _missing_(cls, value): return cls.RED
        @staticmethod
        def count(): return 1

    @dataclasses.dataclass(frozen=True, slots=True)
    class Point:
        x: int = 0
        def moved(self, by: int) -> "Point": return dataclasses.replace(self, x=self.x + by)

    class Pair(typing.NamedTuple):
        a: int
        def swapped(self): return self.a

    class Named:
        def __set_name__(self, owner, name): self.name = name

    class Meta(type):
        def __setattr__(cls, key, value): raise AttributeError("frozen")
        def __hash__(cls): raise TypeError
        def __eq__(cls, other): raise TypeError

    class Frozen(metaclass=Meta):
        field = Named()
        def get(self): return self.field.name

    class Proto(typing.Protocol):
        def area(self) -> int: ...
"""


def test_classes_of_every_kind_work_as_before(project):
    """
    Abstract, slotted, frozen and enum classes, dataclasses and protocols: bodies, `super` and checks stay true.
    """
    kinds = project.module("kinds", CLASSES)
    members = dict(kinds.Colour.__members__)
    weaving = project.weave("kinds:*")
    square = kinds.Square(3)

    assert square.area() == 9
    assert kinds.Square.unit() == (1, kinds.Square)
    assert square.who() is kinds.Square
    assert kinds.Shape.__abstractmethods__ == {"area", "unit"}
    assert kinds.Shape.area.__isabstractmethod__
    assert kinds.Colour(5).shade() == "RED"
    assert kinds.Colour.RED.count() == 1
    assert members == kinds.Colour.__members__
    assert kinds.Point(1).moved(2) == kinds.Point(3)
    assert pickle.loads(pickle.dumps(kinds.Point(1))) == kinds.Point(1)
    assert kinds.Pair(1).swapped() == 1
    assert kinds.Frozen().get() == "field"
    assert not any(name.rpartition(".")[2].startswith("__") for name in weaving.functions)
    assert "kinds:Frozen.get" in weaving.functions

    class Cube(kinds.Square):
        def area(self):
            return 6 * super().area()

    assert Cube(2).area() == 24

    before = {name: dict(vars(kinds)[name].__dict__) for name in ("Shape", "Square", "Colour", "Point", "Frozen")}
    unweave()

    assert not any(guarded(inspect.unwrap(value)) for names in before.values() for value in names.values())


def test_a_woven_function_looks_like_itself(project):
    """
    Signature, hints, name, docstring and source stay true; it pickles by reference and copies as itself.
    """
    engine = project.module()
    before = inspect.signature(engine.render), inspect.getsource(engine.render)
    project.weave("engine:*")
    generate = engine.Engine().generate

    assert (inspect.signature(engine.render), inspect.getsource(engine.render)) == before
    assert (engine.render.__name__, engine.render.__module__) == ("render", "engine")
    assert pickle.loads(pickle.dumps(engine.render)) is engine.render
    assert pickle.loads(pickle.dumps(engine.Engine.load)) == engine.Engine.load
    assert pickle.loads(pickle.dumps(engine.Engine.probe)) is engine.Engine.probe
    assert pickle.loads(pickle.dumps(generate)).__func__ is generate.__func__
    assert copy.deepcopy(engine.render) is copy.copy(engine.render) is engine.render
    assert repr(resilience_of(engine.render)).startswith("engine:render on registry")


def test_looking_at_modules_runs_nobodys_code(project):
    """
    Proxies, odd entries in `sys.modules` and modules with attributes of their own are not asked for anything.
    """
    odd = project.module(
        "odd",
        """
        class Proxy:
            def __getattribute__(self, name): raise RuntimeError(name)
        proxy = Proxy()
        def __getattr__(name): raise RuntimeError(name)
        def work(): return 1
        """,
    )

    class Strange(types.ModuleType):
        def __getattribute__(self, name):
            raise RuntimeError(name)

    sys.modules["made_strange"] = Strange("made_strange")
    sys.modules["made_proxy"] = odd.proxy
    sys.modules["made_none"] = None
    nameless = sys.modules["made_nameless"] = types.ModuleType("made_nameless")
    del nameless.__name__
    weaving = project.weave("odd:*", "made*:*")

    assert weaving.functions == ("odd:work",)
    assert weaving.missed == ()


def test_a_star_at_the_beginning_means_neither_us_nor_the_standard_library(project):
    """
    Patterns that name a module of Python's own do reach it; none reaches ours.
    """
    engine = project.module("engine", "def capwords(): return 1\ndef safe_repr(): return 2")
    weaving = project.weave("*:capwords", "*:safe_repr", "resilient.text:*", "string:Formatter.vformat")

    assert weaving.functions == ("engine:capwords", "engine:safe_repr", "string:Formatter.vformat")
    assert not guarded(string.capwords)
    project.weave("*:capwords", "string:cap*")
    assert guarded(string.capwords)
    assert string.capwords("a b") == "A B"
    assert engine.capwords() == 1


def test_a_builtin_of_an_extension_is_woven(project):
    """
    A function written in C is guarded in its module where a pattern names it without a star.
    """
    before = binascii.hexlify
    with pytest.warns(ResilientWarning, match="no function: 'binascii:hex"):
        weaving = project.weave("binascii:hex*")
    assert weaving.skipped == {"binascii:hexlify": "it is written in C; name it without a star"}
    assert binascii.hexlify is before
    unweave()
    assert project.weave("binascii:hexlify").functions == ("binascii:hexlify",)
    assert binascii.hexlify(b"a") == b"61"
    assert guarded(binascii.hexlify)
    assert pickle.loads(pickle.dumps(binascii.hexlify)) is binascii.hexlify
    unweave()
    assert binascii.hexlify is before


# -- modules that come later -------------------------------------------------------


def test_a_reload_is_woven_again(project):
    """
    After `importlib.reload` the new functions are guarded, and the module has its own loader.
    """
    engine = project.module()
    loader = engine.__loader__
    weaving = project.weave("engine:*")
    before = engine.render
    again = importlib.reload(engine)

    assert again is engine
    assert engine.render is not before
    assert weaving.functions == NAMES
    assert type(engine.__loader__) is type(engine.__spec__.loader) is type(loader)
    unweave()
    assert not guarded(engine.render)


def test_a_reload_that_fails_leaves_nothing_unguarded(project):
    """
    The functions that a failed reload has made anew are guarded like those that it has not.
    """
    engine = project.module("engine", "def render(): return 1\ndef stream(): return 1")
    weaving = project.weave("engine:*")
    before = engine.stream
    project.write("engine", "def render(): return 2\nraise LookupError")
    with pytest.raises(LookupError):
        importlib.reload(engine)

    assert engine.render() == 2
    assert guarded(engine.render)
    assert engine.stream is before
    assert weaving.functions == ("engine:render", "engine:stream")


def test_an_import_that_fails_is_woven_when_it_succeeds(project):
    """
    A module whose import raises is gone as without us, and guarded when it can be imported.
    """
    project.write("engine", "def render(): return 1\nraise LookupError")
    project.weave("engine:*")
    with pytest.raises(LookupError):
        importlib.import_module("engine")
    assert "engine" not in sys.modules

    assert guarded(project.module("engine", "def render(): return 1").render)


def test_packages_of_every_kind_are_woven(project):
    """
    Packages, their submodules and namespace packages are imported as ever, whatever a star crosses.
    """
    project.write("shop.__init__", "from shop.till import pay")
    project.write("shop.till", "def pay(): return 1")
    project.write("space.deep.well", "def draw(): return 2")
    weaving = project.weave("shop*:*", "space*:*")
    shop = importlib.import_module("shop")
    well = importlib.import_module("space.deep.well")

    assert weaving.functions == ("shop.till:pay", "space.deep.well:draw")
    assert shop.pay is sys.modules["shop.till"].pay
    assert (shop.pay(), well.draw()) == (1, 2)
    assert weaving.missed == ()


@pytest.mark.parametrize("when", ["put there before", "found by name", "found lazily"])
def test_a_lazy_module_stays_lazy_until_it_is_used(project, when):
    """
    `importlib.util.LazyLoader` modules are not run by weaving, and are guarded when they have run.
    """
    path = project.write("idle", "print('ran')\ndef work(): return 1")
    if when == "put there before":
        project.declare("idle:*")
    else:
        weave_before = project.weave("idle:*")
        assert weave_before.functions == ()
    if when == "found lazily":

        class Finder:
            def find_spec(self, name, where=None, target=None):
                loader = importlib.util.LazyLoader(importlib.machinery.SourceFileLoader(name, str(path)))
                return importlib.util.spec_from_file_location(name, path, loader=loader) if name == "idle" else None

        finder = Finder()
        sys.meta_path.insert(1, finder)
        try:
            idle = importlib.import_module("idle")
        finally:
            sys.meta_path.remove(finder)
    else:
        spec = importlib.util.find_spec("idle")
        loader = spec.loader = importlib.util.LazyLoader(spec.loader)
        idle = sys.modules["idle"] = importlib.util.module_from_spec(spec)
        loader.exec_module(idle)
    weaving = weave(project.file, registry=project.registry)

    assert object.__getattribute__(idle, "__dict__").keys() >= {"__spec__"}
    assert "work" not in object.__getattribute__(idle, "__dict__")
    assert idle.work() == 1
    assert weaving.functions == ("idle:work",)
    assert isinstance(idle.__spec__.loader, importlib.machinery.SourceFileLoader)


def test_a_module_that_replaces_itself_is_woven(project):
    """
    Both the module that ran, and the one that it has put in its own place, have guarded functions.
    """
    project.write(
        "chameleon",
        """
        import sys, types
        def work(): return 1
        other = types.ModuleType(__name__)
        other.work = types.FunctionType(work.__code__, {"__name__": __name__}, "work")
        other.old = work
        sys.modules[__name__] = other
        """,
    )
    weaving = project.weave("chameleon:*")
    chameleon = importlib.import_module("chameleon")

    assert weaving.functions == ("chameleon:work",)
    assert guarded(chameleon.work)


def test_only_what_is_wanted_is_looked_at(project):
    """
    Modules that no pattern means are found by others, with their own loader.
    """
    project.write("engine")
    project.write("other")
    project.weave("engine:*", "engine_*:*")
    [finder] = finders()

    assert finder.find_spec("other") is None
    assert finder.find_spec("resilient.weaving") is None
    assert finder.find_spec("engine").name == "engine"
    assert finder.find_spec("engine_nothing") is None
    assert "engine" not in sys.modules
    unweave()
    assert finder.find_spec("engine") is None
    assert finders() == []


def test_a_finder_of_old_is_left_to_importlib(project):
    """
    A finder without `find_spec` ends the look: who stands behind it is asked by importlib itself.
    """
    project.write("engine")
    project.weave("engine:*")
    [finder] = finders()
    old = object()
    sys.meta_path.insert(1, old)
    try:
        assert finder.find_spec("engine") is None
    finally:
        sys.meta_path.remove(old)

    class Gone(ImportHook):
        pass

    assert Gone(lambda _: True, print).find_spec("engine") is None
    assert "wants" in repr(finder)


def test_a_module_may_be_run_by_hand(project):
    """
    Who runs what a finder has found, in a module of its own, gets guarded functions.
    """
    project.write("engine")
    project.weave("engine:*")
    spec = importlib.util.find_spec("engine")
    engine = types.ModuleType("engine")
    spec.loader.exec_module(engine)

    assert guarded(engine.render)
    assert spec.loader.is_package("engine") is False


def test_what_is_found_before_is_not_woven_after(project):
    """
    A lazy module that runs when weaving has been undone stays as it is.
    """
    project.write("idle", "def work(): return 1")
    project.weave("idle:*")
    spec = importlib.util.find_spec("idle")
    loader = spec.loader = importlib.util.LazyLoader(spec.loader)
    idle = sys.modules["idle"] = importlib.util.module_from_spec(spec)
    loader.exec_module(idle)
    unweave()

    assert not guarded(idle.work)


def test_what_is_no_module_is_imported_as_it_is(project):
    """
    A loader may make any object for a module; it is run and left alone.
    """
    ran = []

    class Loader:
        def create_module(self, spec):
            return types.SimpleNamespace(__path__=[])

        def exec_module(self, module):
            ran.append(module)

    class Finder:
        def find_spec(self, name, path=None, target=None):
            return importlib.util.spec_from_loader(name, Loader()) if name == "made_odd" else None

    finder = Finder()
    sys.meta_path.append(finder)
    try:
        project.weave("made_odd:*")
        assert ran == [importlib.import_module("made_odd")]
    finally:
        sys.meta_path.remove(finder)


def test_a_module_that_weaves_while_it_is_imported_is_finished_later(project):
    """
    Functions below a module's own call of `weave` are guarded at the next import, or the next look.
    """
    project.declare("app:*")
    project.write("other")
    sys.modules["made_registry"] = types.SimpleNamespace(weave=lambda: weave(project.file, registry=project.registry))
    app = project.module(
        "app",
        """
        import made_registry
        def above(): return 1
        weaving = made_registry.weave()
        names = weaving.functions
        def below(): return 2
        """,
    )

    assert app.names == ("app:above",)
    importlib.import_module("other")
    assert guarded(app.below)
    assert app.weaving.functions == ("app:above", "app:below")


def test_threads_may_import_while_others_weave(project, switches):
    """
    Whatever the interleaving, each function is guarded once, and no import fails.
    """
    modules = [f"many{index}" for index in range(20)]
    for name in modules:
        project.write(name, "".join(f"def f{index}(): return {index}\n" for index in range(10)))
    project.declare("many*:*")
    errors = []
    start = threading.Barrier(4)

    def run(work):
        try:
            start.wait()
            work()
        except BaseException as error:
            errors.append(error)

    def load(names):
        for name in names:
            importlib.import_module(name)

    jobs = [
        lambda: load(modules),
        lambda: load(modules[::-1]),
        lambda: [weave(project.file, registry=project.registry) for _ in range(5)],
        lambda: [weave(registry=project.registry) for _ in range(5)] if project.registry.declarations else None,
    ]
    threads = [threading.Thread(target=run, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    weaving = weave(registry=project.registry)
    wrapped = [getattr(sys.modules[name], f"f{index}") for name in modules for index in range(10)]

    assert errors == []
    assert len(weaving.functions) == 200
    assert not any(guarded(fn.__wrapped__) for fn in wrapped)
    assert weaving.missed == ()
    unweave()
    assert not any(guarded(sys.modules[name].f0) for name in modules)


def test_modules_may_come_and_grow_in_the_middle_of_a_look(project, monkeypatch, at_collections):
    """
    Garbage is collected while tables are read, and at a collection another thread may import or define something.
    """
    # More names than the interpreter keeps spare pairs for: reading them makes new ones.
    many = "".join(f"name{index} = {index}\n" for index in range(3000))
    engine = project.module("engine", many + textwrap.dedent(ENGINE))
    holder = project.module("holder", f"from engine import render\n{many}")
    for index in range(3000):
        monkeypatch.setitem(sys.modules, f"more{index}", types.ModuleType(f"more{index}"))
    numbers = itertools.count()

    def grow():
        name = f"come{next(numbers)}"
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
        setattr(engine, name, None)
        setattr(holder, name, None)

    project.declare("engine:render")
    at_collections(grow)
    with pytest.warns(ResilientWarning, match="1 reference was taken before"):
        weaving = weave(project.file, registry=project.registry)
    missed = weaving.missed
    functions = weaving.functions
    gc.set_threshold(0)

    assert next(numbers) > 0
    assert functions == ("engine:render",)
    assert missed == (("holder", "render"),)


@needs_fork
@may_fork
def test_a_forked_child_may_weave(project):
    """
    A lock that another thread held at the fork, and a function that it was about to weave, are free in the child.
    """
    engine = project.module()
    project.declare("engine:render")

    def work():
        weave(project.file, registry=project.registry)
        return str(guarded(engine.render))

    with held(LOOM.lock):
        LOOM.busy.add((id(engine), "render"))
        try:
            answer = in_fork(work)
        finally:
            LOOM.busy.clear()

    assert answer == "True"
    assert not guarded(engine.render)


# -- what is missed ------------------------------------------------------------------


def test_references_from_before_are_told(project):
    """
    Modules, classes and tables that hold a function as it was are named in one warning, once, and stay as they are.
    """
    project.module()
    app = project.module(
        "app",
        """
        import functools
        from engine import render
        from engine import Engine
        load = Engine.load
        half = functools.partial(render, quality=0.5)
        class App:
            draw = staticmethod(render)
            class Inner:
                HANDLERS = {"render": render, 1: Engine.probe}
        HANDLERS = {"r": render}
        NUMBERS = {1: render, 2: render, 3: len}
        """,
    )
    before = app.render
    with pytest.warns(ResilientWarning) as told:
        weaving = project.weave("engine:render", "engine:Engine.*")

    assert weaving.missed == (
        ("app", "half"),
        ("app", "load"),
        ("app", "render"),
        ("app:App", "draw"),
        ("app:App.Inner.HANDLERS", "int"),
        ("app:App.Inner.HANDLERS", "render"),
        ("app:HANDLERS", "r"),
        ("app:NUMBERS", "int"),
    )
    [warning] = told
    assert "engine:render in app as 'render'" in str(warning.message)
    assert warning.filename == __file__
    assert app.render is before
    assert weave(registry=project.registry).missed == weaving.missed


def test_a_reference_from_an_import_in_a_circle_is_told(project):
    """
    Who takes a function while its module is still being imported goes past its policies, and is named.
    """
    project.write("engine", "def render(): return 1\nimport app\ndef late(): return 2")
    project.write("app", "from engine import render")
    weaving = project.weave("engine:*")
    with pytest.warns(ResilientWarning, match="engine:render in app as 'render'"):
        importlib.import_module("engine")

    assert weaving.missed == (("app", "render"),)


def test_one_reference_is_told_in_the_singular(project):
    """
    The warning is a sentence for one as for many.
    """
    project.module()
    project.module("app", "from engine import render")
    told = "^1 reference was taken before weaving, and goes past the policies: engine:render in app"
    with pytest.warns(ResilientWarning, match=told):
        project.weave("engine:render")


def test_long_lists_are_cut(project):
    """
    A warning names ten, and how many more there are; `missed` has them all.
    """
    project.module("engine", "".join(f"def f{index}(): pass\n" for index in range(30)))
    project.module("app", "from engine import *")
    with pytest.warns(ResilientWarning, match="and 20 more"):
        weaving = project.weave("engine:*")

    assert len(weaving.missed) == 30


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("engine:rendr", "did you mean 'render'"),
        ("engine:Engine.generat", "did you mean 'Engine.generate'"),
        ("engine:Engine", "a class; name its methods"),
        ("app:render", "that is 'engine:render', so write that"),
        ("app:Sub.generate", "that is 'engine:Engine.generate', so write that"),
        ("app:Sub.generate.more", "there is none yet"),
        ("engine:nothing*", r"toml:4\)$"),
    ],
)
def test_a_pattern_that_matches_nothing_is_told_with_what_to_write(project, pattern, why):
    """
    Patterns for a module that is there, and has no such function, are warned about once, with their line.
    """
    project.module()
    project.module("app", "from engine import render, Engine\nclass Sub(Engine): pass")
    with pytest.warns(ResilientWarning, match=why) as told:
        weaving = project.weave(pattern)

    assert len(told) == 1
    assert "resilient.toml:" in str(told[0].message)
    assert weaving.unmatched == (pattern,)
    weave(registry=project.registry)


def test_patterns_of_modules_that_may_come_are_not_warned_about(project):
    """
    What is not imported yet may have the function, and so may the program's own file.
    """
    weaving = project.weave("engine:render", "eng*:Engine.*", "__main__:nothing")

    assert weaving.unmatched == ("engine:render", "eng*:Engine.*", "__main__:nothing")
    project.module()
    assert weaving.unmatched == ("__main__:nothing",)


def test_a_pattern_is_warned_about_when_its_module_comes(project):
    """
    A module that is imported later, without the function of a pattern, is told then.
    """
    project.write("engine")
    project.weave("engine:rendr")
    with pytest.warns(ResilientWarning, match="did you mean 'render'"):
        importlib.import_module("engine")


# -- errors ------------------------------------------------------------------------------


FALLING = """
    def a_video():
        raise ConnectionError
    def b_still():
        return "still"
    def c_video():
        raise ConnectionError
"""
STILL = "{ fallback_chain = ['engine:b_still'] }"
BROKEN = "{ fallback_chain = ['engine:nothing'] }"


def test_weaving_puts_policies_on_all_functions_or_on_none(project):
    """
    Where a policy cannot be put on a function, nothing has changed, and all problems are told at once.
    """
    engine = project.module()
    before = engine.render, engine.stream, engine.attempt
    with pytest.raises(PolicyError) as caught:
        project.weave("engine:attempt", tables={"engine:render": BROKEN, "engine:stream": BROKEN})

    assert len(caught.value.problems) == 2
    assert "engine:render" in str(caught.value)
    assert (engine.render, engine.stream, engine.attempt) == before
    assert finders() == []


def test_what_was_woven_before_stays_where_more_cannot_be(project):
    """
    A second weaving that fails takes back what it has woven itself.
    """
    engine = project.module()
    weaving = project.weave("engine:attempt")
    with pytest.raises(PolicyError):
        project.weave("engine:attempt", "engine:stream", tables={"engine:render": BROKEN})

    assert weaving.functions == ("engine:attempt",)
    assert not guarded(engine.stream)
    assert len(finders()) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        unweave()


def test_what_cannot_be_woven_does_not_keep_a_module_from_being_imported(project):
    """
    A policy that cannot be put on a function of a module imported later is a warning.
    """
    project.write("engine")
    weaving = project.weave("engine:stream", tables={"engine:render": BROKEN})
    with pytest.warns(ResilientWarning, match="importing 'engine': 1 function is not woven.*nothing"):
        engine = importlib.import_module("engine")

    assert weaving.functions == ("engine:stream",)
    assert engine.calls == []


def test_what_an_import_could_not_weave_is_kept_until_it_is_woven(project):
    """
    Its problem is among `problems`, once, through a weaving that fails, until one that does not or a reload.
    """
    project.write("engine")
    weaving = project.weave(tables={"engine:render": BROKEN, "engine:stream": BROKEN})
    assert weaving.problems == ()
    with pytest.warns(ResilientWarning, match="importing 'engine': 2 functions are not woven"):
        engine = importlib.import_module("engine")
    with pytest.raises(PolicyError):
        project.weave("engine:stream", tables={"engine:render": BROKEN})

    first, second = weaving.problems
    assert "engine:render" in first
    assert "engine:stream" in second
    assert weaving.unmatched == ()
    project.weave("engine:stream")
    assert weaving.problems == ()
    with pytest.warns(ResilientWarning, match="declarations have changed: 1 function is not woven"):
        project.registry.configure({"functions": {"engine:render": {"fallback_chain": ["engine:nothing"]}}})
    assert len(weaving.problems) == 1
    with pytest.warns(ResilientWarning, match="importing 'engine': 1 function is not woven"):
        importlib.reload(engine)
    assert len(weaving.problems) == 1
    project.registry.configure({})
    importlib.reload(engine)
    assert weaving.problems == ()


def test_what_is_referred_to_is_woven_too(project):
    """
    A fallback that is woven itself is called under its policies, whichever of the two comes first.
    """
    project.module("engine", FALLING)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        project.weave("engine:b_still", tables=dict.fromkeys(["engine:a_video", "engine:c_video"], STILL))
    engine = sys.modules["engine"]

    assert engine.a_video() == "still"
    assert engine.c_video() == "still"
    assert engine.b_still.resilience.stats().calls == 2


@pytest.mark.parametrize("first", ["engine", "stills"])
def test_modules_that_refer_to_each_other_are_woven_when_they_are_imported(project, first):
    """
    A reference to a module that is not imported yet imports it, woven, in a circle too.
    """
    project.write("engine", FALLING)
    project.write("stills", "def still(): raise ConnectionError\ndef plain(): return 'plain'")
    still = "{ fallback_chain = ['engine:b_still'], retry = { max_attempts = 2, initial_delay = 0 } }"
    tables = {"engine:a_video": "{ fallback_chain = ['stills:still'] }", "stills:still": still}
    weaving = project.weave("engine:b_still", "stills:plain", tables=tables)
    importlib.import_module(first)
    engine, stills = map(importlib.import_module, ("engine", "stills"))

    assert engine.a_video() == "still"
    assert stills.still.resilience.stats().attempts == 2
    assert engine.b_still.resilience.stats().calls == 1
    assert len(weaving.functions) == 4


PACKAGE = """
    from made_pack.core import render
    def card(): return "card"
"""


@pytest.mark.parametrize("reference", ["made_pack:card", "made_pack.cards:card"])
def test_a_package_may_come_to_what_is_referred_to_after_it_has_imported_the_function(project, reference):
    """
    The function is woven for those who import it at once, and its policy is followed when the package is there.
    """
    project.write("made_pack.__init__", PACKAGE)
    project.write("made_pack.core", "def render(): raise ConnectionError")
    project.write("made_pack.cards", "from made_pack import card")
    weaving = project.weave(tables={"made_pack.core:render": f"{{ fallback_chain = ['{reference}'] }}"})
    package = importlib.import_module("made_pack")

    assert package.render() == "card"
    assert weaving.problems == weaving.missed == ()
    assert weaving.functions == ("made_pack.core:render",)
    assert "card" in repr(package.render.resilience)


@pytest.mark.parametrize("look", ["import", "problems"])
def test_what_a_package_never_comes_to_is_told_when_it_is_there(project, look):
    """
    By then its function is put back; the next import or look at the weaving tells.
    """
    project.write("made_pack.__init__", PACKAGE)
    project.write("made_pack.core", "def render(): raise ConnectionError")
    project.write("made_next", "")
    weaving = project.weave(tables={"made_pack.core:render": "{ fallback_chain = ['made_pack:crad'] }"})
    importlib.import_module("made_pack")
    with pytest.warns(ResilientWarning, match="1 function is not woven: .*did you mean 'card'"):
        assert importlib.import_module("made_next") if look == "import" else weaving.problems

    [problem] = weaving.problems
    assert "policies of made_pack.core:render" in problem
    assert weaving.functions == ()
    assert not guarded(sys.modules["made_pack.core"].render)


def test_undoing_forgets_what_is_waited_for(project):
    """
    A package that weaves and unweaves while it is imported gets its function back.
    """
    project.write("made_pack.__init__", "from made_pack import core\nimport resilient\nresilient.unweave()\n")
    project.write("made_pack.core", "def render(): raise ConnectionError")
    weaving = project.weave(tables={"made_pack.core:render": "{ fallback_chain = ['made_pack:card'] }"})
    package = importlib.import_module("made_pack")

    assert not guarded(package.core.render)
    assert weaving.problems == weaving.functions == ()


VANDAL = """
    import engine, made_registry
    def stand_in(): return 5
    made_registry.weave()
"""


@pytest.mark.parametrize(
    ("deed", "error"),
    [
        ("engine.a_video = engine.c_video = None", None),
        ("del engine.b_still", "has no attribute 'b_still'"),
        ("pass", None),
    ],
)
def test_what_an_import_for_a_policy_does_is_noticed(project, deed, error):
    """
    A module that is imported for a reference may weave, and replace what is being woven: that is left alone.
    """
    engine = project.module("engine", FALLING)
    project.write("vandal", f"{textwrap.dedent(VANDAL)}\n{deed}")
    sys.modules["made_registry"] = types.SimpleNamespace(weave=lambda: weave(registry=project.registry))
    project.declare(tables={"engine:a_video": STILL, "engine:c_video": "{ fallback_chain = ['vandal:stand_in'] }"})
    if error is None:
        weaving = weave(project.file, registry=project.registry)
        assert guarded(engine.c_video) is guarded(engine.a_video) is (deed == "pass")
        assert weaving.functions == (("engine:a_video", "engine:c_video") if deed == "pass" else ())
    else:
        with pytest.raises(PolicyError, match=error):
            weave(project.file, registry=project.registry)
        assert not guarded(engine.a_video)


# -- again, and back -------------------------------------------------------------------------


def test_weaving_twice_changes_nothing(project):
    """
    The same file again gives the same weaving and the same wrappers; another file decides from then on.
    """
    engine = project.module()
    weaving = project.weave("engine:render", "engine:Engine.*")
    before = engine.render, vars(engine.Engine)["load"]

    assert weave(project.file, registry=project.registry) is weaving
    assert weave(registry=project.registry) is weaving
    assert (engine.render, vars(engine.Engine)["load"]) == before
    assert len(finders()) == 1
    other = project.folder / "other.toml"
    other.write_text("[functions]\n'engine:render' = { circuit = {} }\n'engine:stream' = { retry = {} }", "utf-8")
    weave(other, registry=project.registry)
    assert engine.render is before[0]
    assert [one.kind for one in engine.render.resilience.policies] == ["circuit"]
    assert guarded(engine.stream)


def test_undo_restores_the_very_same_objects(project):
    """
    Functions, classmethods and staticmethods are the objects that they were, and imports are not looked at.
    """
    engine = project.module()
    finders_before = list(sys.meta_path)
    before = dict(vars(engine)), dict(vars(engine.Engine)), dict(vars(engine.Engine.Model))
    weaving = project.weave("engine:*")
    held = engine.render
    [woven] = [one for one in weaving._woven.values() if one.name == "engine:render"]  # noqa: SLF001 - its repr
    assert repr(woven) == "<Woven engine:render: in place>"
    weaving.undo()

    assert sys.meta_path == finders_before
    for holder, names in zip((engine, engine.Engine, engine.Engine.Model), before, strict=True):
        assert all(vars(holder)[key] is value for key, value in names.items() if key != "__weakref__")
    assert weaving.functions == weaving.missed == ()
    assert "undone" in repr(weaving)
    assert "0 rules" in repr(Reach())
    assert list(project.registry.functions) == []
    assert held("a") == ("render", "a", 1.0)
    weaving.undo()


def test_what_somebody_else_has_replaced_is_left_alone(project):
    """
    Undoing leaves what was patched after weaving, names it, and lets what is back already be.
    """
    engine = project.module()
    raw = engine.stream
    weaving = project.weave("engine:*")
    engine.render = mine = lambda shot: shot
    engine.Engine.probe = staticmethod(mine)
    engine.stream = raw
    del engine.attempt
    with pytest.warns(ResilientWarning, match=": engine:attempt; engine:render; engine:Engine.probe$"):
        weaving.undo()

    assert engine.render is mine
    assert engine.Engine.probe is mine
    assert engine.stream is raw
    assert not guarded(engine.Engine.load)


def test_unweave_undoes_every_registry(project):
    """
    What one registry has woven is not woven by another, and one call undoes all.
    """
    engine = project.module()
    before = engine.render, engine.stream
    other = Project(project.folder / "other", Registry("other"))
    other.folder.mkdir()
    project.weave("engine:render")
    with pytest.warns(ResilientWarning, match="registry 'default'"):
        weaving = other.weave("engine:render", "engine:stream")

    assert weaving.functions == ("engine:stream",)
    assert engine.render.resilience.registry is project.registry
    unweave()
    assert (engine.render, engine.stream) == before
    assert finders() == []


def test_a_module_that_nobody_uses_any_more_is_free(project, no_gc):
    """
    Weaving holds no module, class or function: what is dropped goes, and comes again guarded.
    """
    engine = project.module()
    weaving = project.weave("engine:*")
    ref = weakref.ref(engine), weakref.ref(engine.Engine), weakref.ref(engine.render)
    del engine, sys.modules["engine"]
    gc.collect()

    assert [one() for one in ref] == [None, None, None]
    assert weaving.functions == ()
    assert weaving._woven == {}  # noqa: SLF001 - nothing may be left of it
    assert guarded(importlib.import_module("engine").render)


def test_a_class_that_cannot_be_changed_is_skipped(project, monkeypatch):
    """
    A class that does not let its functions be replaced is told with its reason.
    """

    def refuse(holder, key, value):
        raise TypeError("immutable")

    engine = project.module("engine", "class Stone:\n    def roll(self): return 1")
    monkeypatch.setattr("resilient.weaving.woven._set", refuse)
    with pytest.warns(ResilientWarning, match="cannot be changed: immutable"):
        weaving = project.weave("engine:Stone.roll")

    assert weaving.functions == ()
    assert engine.Stone().roll() == 1
    assert list(project.registry.functions) == []


@pytest.mark.parametrize(("value", "shown"), [(3, r"3 \(int\)"), ("default", r"'default' \(str\)")])
def test_what_is_no_registry_is_refused(project, value, shown):
    """
    The error is that of every ``registry=``, and nothing has happened.
    """
    project.declare("engine:render")
    with pytest.raises(PolicyError, match=rf"weave\(\).*registry must be a Registry or None, got {shown}"):
        weave(project.file, registry=value)

    assert finders() == []


def test_the_default_registry_is_woven_where_none_is_given(project):
    """
    Without a registry it is the default one, and without a path the file that is loaded already.
    """
    from resilient.testing import isolated_registry

    project.module()
    project.declare("engine:render")
    with isolated_registry() as registry:
        weaving = weave(str(project.file))
        assert weave() is weaving
        # Beside functions of other tests, which follow the default registry too.
        assert "engine:render" in registry.functions
        unweave()


# -- speed --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_ten_thousand_functions_are_woven_in_under_three_seconds(untraced, monkeypatch, registry):
    """
    10,000 functions in 100 modules, under 200 patterns.
    """
    source = "\n".join(f"def f{index}(x): return x" for index in range(60)) + "\nclass C:\n"
    source += "\n".join(f"    def g{index}(self): return 1" for index in range(40))
    patterns = {}
    for number in range(100):
        module = types.ModuleType(f"made.m{number}")
        exec(source, vars(module))  # noqa: S102 - our own text
        monkeypatch.setitem(sys.modules, module.__name__, module)
        patterns[f"made.m{number}:f*"] = "all"
    patterns |= {f"made.m{number}*:C.g{number % 40}*": "all" for number in range(50)}
    patterns |= {f"made.*:*{number}": "all" for number in range(49)}
    patterns["made.*:C.*"] = "all"
    registry.configure({"policies": {"all": {"retry": {}, "circuit": {}}}, "functions": patterns})
    took = []
    for _ in range(3):
        began = time.perf_counter()
        weaving = weave(registry=registry)
        took.append(time.perf_counter() - began)
        assert len(weaving.functions) == 10_000
        unweave()
        gc.collect()

    assert len(patterns) == 200
    assert min(took) < 3.0


# -- reloads ---------------------------------------------------------------------------


def test_a_reload_weaves_what_only_it_means(project):
    """
    Functions of modules that are imported already get their policies as soon as a new pattern matches them.
    """
    engine = project.module()
    weaving = project.weave("engine:render")
    assert weaving.functions == ("engine:render",)
    project.declare("engine:render", "engine:Engine.*")
    project.registry.reload()

    assert {"engine:Engine.generate", "engine:Engine.load", "engine:render"} < set(weaving.functions)
    assert engine.Engine().generate("s") == ("generate", "s")


def test_a_mapping_weaves_too(project):
    """
    What `configure` declares reaches functions that nobody decorated.
    """
    project.module()
    weaving = project.weave("engine:render")
    project.registry.configure({"functions": {"engine:stream": {"retry": {}}}})

    assert weaving.functions == ("engine:render", "engine:stream")


def test_what_a_reload_cannot_weave_is_told_and_kept(project):
    """
    The declarations are in force by then: the function stays as it is, until they change again.
    """
    engine = project.module()
    raw = engine.stream
    weaving = project.weave("engine:render")
    project.declare(tables={"engine:render": "'again'", "engine:stream": "{ fallback_chain = ['nowhere:f'] }"})
    with pytest.warns(ResilientWarning, match="declarations have changed: 1 function is not woven: .*nowhere"):
        project.registry.reload()

    assert len(weaving.problems) == 1
    assert engine.stream is raw

    project.declare("engine:render", "engine:stream")
    project.registry.reload()

    assert weaving.problems == ()
    assert engine.stream is not raw


def test_a_warning_that_is_an_error_leaves_the_reload_whole(project, reports):
    """
    What was declared is in force, and so the reload has succeeded.
    """
    project.module()
    project.weave("engine:render")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        project.declare(tables={"engine:stream": "{ fallback_chain = ['nowhere:f'] }"})
        project.registry.reload()

    assert reports == [("weaving what has been declared", ResilientWarning)]
    assert project.registry.refused is None


def test_after_undoing_a_reload_weaves_nothing(project):
    """
    Nobody follows the declarations any more.
    """
    engine = project.module()
    raw = engine.stream
    weaving = project.weave("engine:render")
    weaving.undo()
    project.declare("engine:render", "engine:stream")
    project.registry.reload()

    assert engine.stream is raw


@pytest.mark.parametrize("first", [True, False])
def test_weaving_that_fails_has_changed_nothing(project, first):
    """
    What was declared before is in force, and read again; what was woven before follows it.
    """
    engine = project.module()
    raw = engine.render
    tables = {"engine:render": "'again'", "engine:Engine.probe": "{ fallback_chain = ['nowhere:f'] }"}
    good = project.file
    weaving = None if first else project.weave("engine:stream")
    before = project.registry.declarations
    project.file = project.folder / "other.toml"
    with pytest.raises(PolicyError, match="nowhere"):
        project.weave(tables=tables)

    assert engine.render is raw
    assert project.registry.declarations is before
    assert project.registry.health().status == "pass"
    if weaving is not None:
        assert weaving.functions == ("engine:stream",)
        assert [policy.kind for policy in engine.stream.resilience.policies] == ["retry"]
        project.registry.reload()
        assert project.registry.declarations.file.label == str(good)


def test_weaving_again_what_is_in_force_already_takes_nothing_back(project):
    """
    Without a file of its own, what `weave` cannot put on a function is an error, and the declarations stay.
    """
    project.module()
    project.weave("engine:stream")
    with pytest.warns(ResilientWarning, match="not woven"):
        project.registry.configure({"functions": {"engine:render": {"fallback_chain": ["nowhere:f"]}}})
    before = project.registry.declarations
    with pytest.raises(PolicyError, match="nowhere"):
        weave(registry=project.registry)

    assert project.registry.declarations is before


def test_what_somebody_else_has_declared_meanwhile_stays(project, monkeypatch):
    """
    A weaving that fails takes back what it has loaded itself, and nothing else.
    """
    project.module()
    weaving = project.weave("engine:stream")

    def look():
        project.registry.configure({"functions": {"engine:render": {"retry": {}}}})
        raise PolicyError("look")

    monkeypatch.setattr(weaving, "look", look)
    with pytest.raises(PolicyError, match="look"):
        project.weave("engine:stream")

    assert project.registry.declarations.runtime is not None
