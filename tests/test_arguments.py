from __future__ import annotations

import abc
import collections
import dataclasses
import functools
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple, Protocol, TypedDict, TypeVar

import attrs
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilient.policies.arguments import MISSING, Parameters
from resilient.policies.request_objects import with_fields

T = TypeVar("T")


@dataclasses.dataclass
class Plain:
    steps: int = 50
    prompt: str = "a cat"


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    steps: int = 50
    prompt: str = "a cat"


@attrs.define
class Attrs:
    steps: int = 50
    _seed: int = 1


@attrs.frozen
class FrozenAttrs:
    steps: int = 50
    _seed: int = 1


class Model(pydantic.BaseModel):
    steps: int = 50
    prompt: str = "a cat"


class FrozenModel(pydantic.BaseModel, frozen=True):
    steps: int = 50
    prompt: str = "a cat"


class Named(NamedTuple):
    steps: int = 50
    prompt: str = "a cat"


class Typed(TypedDict, total=False):
    steps: int


class Attributes(dict):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.__dict__ = self


class Wrapper(collections.abc.MutableMapping):
    """
    A mapping whose shallow copy shares what it holds.
    """

    def __init__(self, held):
        self.held = held

    def __getitem__(self, key):
        return self.held[key]

    def __setitem__(self, key, value):
        self.held[key] = value

    def __delitem__(self, key):
        del self.held[key]

    def __iter__(self):
        return iter(self.held)

    def __len__(self):
        return len(self.held)


class Selfish(dict):
    def __copy__(self):
        return self


class Deaf(Wrapper):
    def __init__(self, _held=None):
        super().__init__({"steps": 50})


@dataclasses.dataclass
class Strict:
    steps: int = 50

    def __post_init__(self):
        if self.steps < 50:
            raise ValueError("too few")


class Abstract(abc.ABC):
    @abc.abstractmethod
    def run(self): ...


class HasSteps(Protocol):
    steps: int


class Bare:
    pass


class Exploding(Mapping):
    def __getitem__(self, key):
        raise RuntimeError

    __iter__ = __len__ = __getitem__


REQUESTS = [
    Plain(),
    Frozen(),
    Attrs(),
    FrozenAttrs(),
    Model(),
    FrozenModel(),
    Named(),
    {"steps": 50, "prompt": "a cat"},
    collections.OrderedDict(steps=50),
    collections.defaultdict(int, steps=50),
    collections.ChainMap({"prompt": "a cat"}, {"steps": 50}),
    collections.UserDict(steps=50),
    types.MappingProxyType({"steps": 50}),
    Attributes(steps=50),
    Wrapper({"steps": 50}),
]


def steps_of(request):
    """
    Return the steps of a request of any kind.
    """
    return request["steps"] if isinstance(request, Mapping) else request.steps


def plain(prompt, steps=50, *rest, seed=1):
    """
    Stand for a function with parameters of most kinds.
    """
    raise NotImplementedError


def first_only(prompt, steps=50, /, seed=1):
    """
    Stand for a function with positional-only parameters.
    """
    raise NotImplementedError


def anything(*args, **kwargs):
    """
    Stand for a function that names no parameter.
    """
    raise NotImplementedError


def requested(prompt, request=None):
    """
    Stand for a function that takes a request without saying its type.
    """
    raise NotImplementedError


class Engine:
    steps = 9

    def method(self, prompt, steps=50):
        raise NotImplementedError

    @classmethod
    def on_class(cls, prompt, steps=50):
        raise NotImplementedError

    def __call__(self, prompt, steps: int = 50, request: Plain | None = None):
        raise NotImplementedError


@pytest.mark.parametrize(
    ("fn", "args", "kwargs", "expected"),
    [
        (plain, ("a cat", 40), {}, 40),
        (plain, ("a cat",), {"steps": 40}, 40),
        (plain, ("a cat",), {}, 50),
        (first_only, ("a cat", 40), {}, 40),
        (first_only, ("a cat",), {}, 50),
        (anything, (1, 2), {"steps": 40}, 40),
        (anything, (1, 2), {}, MISSING),
        (Engine.method, (Engine(), "a cat", 40), {}, 40),
        (Engine().method, ("a cat", 40), {}, 40),
        (Engine.__dict__["on_class"].__func__, (Engine, "a cat", 40), {}, 40),
        (Engine(), ("a cat", 40), {}, 40),
        (functools.partial(plain, steps=30), ("a cat",), {}, 30),
        (functools.partial(plain, "a cat"), (40,), {}, 40),
        (lambda steps: steps, (40,), {}, 40),
        (max, (1, 2), {"steps": 40}, 40),
        (lambda prompt: prompt, ("a cat",), {"steps": 40}, MISSING),
    ],
)
def test_arguments_are_read_however_they_are_given(fn, args, kwargs, expected):
    """
    An argument is found as a keyword, by position or by its default.
    """
    parameters = Parameters.of(fn)

    assert expected == parameters.get("steps", args, kwargs)
    assert ("steps" if expected is not MISSING else None) == parameters.find("steps", args, kwargs)


@pytest.mark.parametrize(
    ("fn", "args", "kwargs", "expected"),
    [
        (plain, ("a cat", 50, 7), {}, (("a cat", 9, 7), {})),
        (plain, ("a cat",), {"steps": 50, "seed": 2}, (("a cat",), {"steps": 9, "seed": 2})),
        (plain, ("a cat",), {}, (("a cat",), {"steps": 9})),
        (plain, (), {"prompt": "a cat"}, ((), {"prompt": "a cat", "steps": 9})),
        (first_only, ("a cat",), {}, (("a cat", 9), {})),
        (lambda a=1, b=2, steps=3, /: (a, b, steps), (), {}, ((1, 2, 9), {})),
        (anything, (1,), {"steps": 50}, ((1,), {"steps": 9})),
        (max, (1,), {"steps": 50}, ((1,), {"steps": 9})),
    ],
)
def test_replacing_makes_new_arguments(fn, args, kwargs, expected):
    """
    A changed argument goes where the call has it, and the given arguments stay as they were.
    """
    kept = (args, dict(kwargs))

    assert expected == Parameters.of(fn).replace("steps", 9, args, kwargs)
    assert kept == (args, kwargs)


@pytest.mark.parametrize("path", ["height", "height.steps"])
def test_replacing_what_is_not_there_is_a_key_error(path):
    """
    A path that the function does not have cannot be replaced.
    """
    with pytest.raises(KeyError, match="height"):
        Parameters.of(plain).replace(path, 9, ("a cat",), {})


@pytest.mark.parametrize("request_object", REQUESTS, ids=lambda one: type(one).__name__)
@pytest.mark.parametrize("call", [lambda one: ((one,), {}), lambda one: ((), {"request": one})], ids=["args", "kwargs"])
def test_request_objects_get_a_changed_copy(request_object, call):
    """
    The call gets a copy of the same type with the new value, and the caller's object keeps the old one.
    """
    parameters = Parameters.of(lambda request: request)
    args, kwargs = call(request_object)

    path = parameters.find("steps", args, kwargs)
    args, kwargs = parameters.replace(path, 9, args, kwargs)
    changed = args[0] if args else kwargs["request"]

    assert path == "request.steps"
    assert steps_of(changed) == 9
    assert type(changed) is type(request_object)
    assert steps_of(request_object) == 50
    assert parameters.get("request.steps", args, kwargs) == 9


def test_several_fields_make_one_copy():
    """
    Fields of one object are changed together, private ones of attrs too, and whole arguments beside them.
    """
    parameters = Parameters.of(lambda request, steps: (request, steps))
    values = {"request.steps": 9, "request._seed": 2, "steps": 3}

    assert parameters.replace_all(values, (Attrs(),), {"steps": 1}) == ((Attrs(9, 2),), {"steps": 3})


def test_other_keys_and_own_attributes_survive():
    """
    A copy keeps what it is not told to change, and attributes of a dict of attributes agree with its keys.
    """
    changed = with_fields(Attributes(steps=50, prompt="a cat"), {"steps": 9})

    assert changed == {"steps": 9, "prompt": "a cat"}
    assert changed.steps == 9
    assert with_fields(collections.defaultdict(int, seed=1), {"steps": 9})["unknown"] == 0


@pytest.mark.parametrize("request_object", [Strict(), Selfish(steps=50), Deaf()], ids=lambda one: type(one).__name__)
def test_an_object_that_refuses_a_copy_raises(request_object):
    """
    An object that cannot be changed for one call says so, and is not touched.
    """
    with pytest.raises((TypeError, ValueError)):
        Parameters.of(lambda request: request).replace("request.steps", 9, (request_object,), {})

    assert steps_of(request_object) == 50


def test_find_takes_the_parameter_before_a_field():
    """
    A bare name is the parameter itself, else the field of the first argument that has it.
    """
    both = Parameters.of(lambda request, steps=50: (request, steps))
    two = Parameters.of(lambda prompt, first, second: (prompt, first, second))

    assert both.find("steps", (Plain(),), {}) == "steps"
    assert two.find("steps", ("a cat", {"seed": 1}, Plain()), {}) == "second.steps"
    assert two.find("steps", ("a cat", {"steps": 1}, Plain()), {}) == "first.steps"
    assert two.find("first.steps", ("a cat", Bare(), Plain()), {}) is None


def test_find_looks_into_further_keywords():
    """
    Keywords that a function takes without naming them are looked into as well.
    """
    assert Parameters.of(anything).find("steps", (), {"prompt": "a cat", "job": Plain()}) == "job.steps"


def test_a_receiver_is_no_request():
    """
    A method's own object is neither looked into nor changed.
    """
    parameters = Parameters.of(Plain.__eq__)

    assert parameters.has_self
    assert parameters.find("steps", (Plain(), 3), {}) is None
    assert not Parameters.of(plain).has_self


def test_objects_that_raise_have_no_fields():
    """
    An object that fails when asked counts as having nothing.
    """
    assert Parameters.of(requested).find("steps", ("a cat", Exploding()), {}) is None


def annotated(kind):
    """
    Return the parameters of a function whose one parameter is annotated with *kind*.
    """

    def fn(thing):
        raise NotImplementedError

    fn.__annotations__["thing"] = kind
    return Parameters.of(fn)


@pytest.mark.parametrize(
    "kind",
    [
        Plain,
        Frozen,
        Attrs,
        Model,
        Named,
        Typed,
        Plain | None,
        typing.Optional[Model],  # noqa: UP045 - the older spelling
        Annotated[Attrs, "a note"],
        dict,
        dict[str, int],
        Mapping[str, Any],
        Any,
        object,
        T,
        Abstract,
        HasSteps,
        Plain | dict,
        "Plain",
        "Unseen",
        "not a type",
    ],
    ids=repr,
)
def test_annotations_that_can_hold_a_field(kind):
    """
    A parameter whose type has the field, or may have it, can take the field's name.
    """
    assert annotated(kind).takes("steps")
    assert annotated(kind).takes("thing.steps")


@pytest.mark.parametrize(
    "kind",
    [
        str,
        int | None,
        None,
        list[int],
        Sequence[str],
        Callable[[], Any],
        type[Plain],
        Literal["a"],
        Bare,
        typing.SupportsInt,
        "str",
        Annotated[int, "a note"],
    ],
    ids=repr,
)
def test_annotations_that_cannot_hold_a_field(kind):
    """
    A parameter of a type without fields cannot take one.
    """
    assert not annotated(kind).takes("steps")
    assert not annotated(kind).takes("thing.steps")


@pytest.mark.parametrize("kind", [Plain, Typed, Model], ids=repr)
def test_a_known_type_lacks_what_it_does_not_name(kind):
    """
    The fields of a type are seen without a call.
    """
    assert not annotated(kind).takes("height")
    assert not annotated(kind).takes("thing.height")


@pytest.mark.parametrize(
    ("fn", "path", "expected"),
    [
        (plain, "steps", True),
        (plain, "seed", True),
        (plain, "rest", False),
        (plain, "height", False),
        (plain, "steps.height", False),
        (plain, "prompt.height", True),
        (plain, "other.height", False),
        (requested, "height", True),
        (lambda video_request: video_request, "height", True),
        (lambda thing: thing, "height", False),
        (lambda thing=Frozen(): thing, "steps", True),
        (lambda thing=types.MappingProxyType({}): thing, "height", True),
        (anything, "height", True),
        (anything, "request.height", True),
        (max, "height", True),
        (Engine(), "prompt", True),
        (Engine(), "height", False),
        (Engine.method, "self", False),
        (Plain, "steps", True),
        (functools.partial(Engine(), steps=3), "height", False),
        (functools.partial(plain, "a cat"), "prompt", False),
    ],
)
def test_what_a_function_can_take(fn, path, expected):
    """
    A function takes its parameters, the fields of its requests, and anything where it takes any keyword.
    """
    assert expected is Parameters.of(fn).takes(path)


def test_repr_shows_the_names():
    """
    The repr lists what can be given by name.
    """
    assert repr(Parameters.of(plain)) == "Parameters(prompt, steps, seed)"
    assert repr(Parameters.of(max)) == "Parameters(**)"
    assert repr(MISSING) == "MISSING"


@given(st.data())
def test_replacing_agrees_with_python(data):
    """
    However a call gives its arguments, Python sees the new value there and the others as they were.
    """

    def fn(a, b=2, /, c=3, *rest, d=4, **more):
        return {"a": a, "b": b, "c": c, "d": d, "rest": rest, "more": more}

    args = tuple(data.draw(st.lists(st.integers(), min_size=1, max_size=5)))
    keywords = st.sampled_from(["d", "e"] if len(args) > 2 else ["c", "d", "e"])
    kwargs = data.draw(st.dictionaries(keywords, st.integers()))
    name = data.draw(st.sampled_from("abcd"))

    new_args, new_kwargs = Parameters.of(fn).replace(name, "new", args, kwargs)
    after = fn(*new_args, **new_kwargs)

    assert {**fn(*args, **kwargs), name: "new"} == after
