"""
Frozen dataclasses with shared methods, beside the ones that `dataclasses` makes.
"""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
from typing import ClassVar

import pytest

from resilient.light import dataclass as light


@light(frozen=True, slots=True)
class Light:
    kind: ClassVar[str] = "pair"
    left: int
    right: str = "r"
    hidden: float = dataclasses.field(default=0.5, repr=False, compare=False)
    seen: list[int] = dataclasses.field(default_factory=list, hash=False)


@dataclasses.dataclass(frozen=True, slots=True)
class Real:
    kind: ClassVar[str] = "pair"
    left: int
    right: str = "r"
    hidden: float = dataclasses.field(default=0.5, repr=False, compare=False)
    seen: list[int] = dataclasses.field(default_factory=list, hash=False)


@light(frozen=True, slots=True, kw_only=True)
class LightBase:
    at: int
    where: str | None = None


@light(frozen=True, slots=True, kw_only=True)
class LightChild(LightBase):
    what: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RealBase:
    at: int
    where: str | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RealChild(RealBase):
    what: str


@light(frozen=True, slots=True)
class Checked:
    value: int

    def __post_init__(self):
        if self.value < 0:
            raise ValueError("negative")

    def __repr__(self):
        return f"<{self.value}>"


both = pytest.mark.parametrize("kind", [Light, Real])
children = pytest.mark.parametrize("kind", [LightChild, RealChild])


@both
@pytest.mark.parametrize(
    ("args", "kwargs", "values"),
    [
        ((1,), {}, (1, "r", 0.5, [])),
        ((1, "x"), {}, (1, "x", 0.5, [])),
        ((1, "x", 2.0, [3]), {}, (1, "x", 2.0, [3])),
        ((1,), {"seen": [2], "right": "y"}, (1, "y", 0.5, [2])),
        ((), {"left": 1}, (1, "r", 0.5, [])),
    ],
)
def test_arguments_and_defaults_fill_the_fields(kind, args, kwargs, values):
    """
    Arguments by position and by keyword, defaults and factories come to the fields that they are for.
    """
    made = kind(*args, **kwargs)

    assert tuple(getattr(made, field.name) for field in dataclasses.fields(made)) == values
    assert dataclasses.astuple(made) == values


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        ((), {}),
        ((), {"right": "x"}),
        ((1, "x", 2.0, [], 5), {}),
        ((1,), {"left": 1}),
        ((1,), {"wrong": 1}),
        ((), {"wrong": 1}),
        ((1, "x", 2.0, []), {"wrong": 1}),
    ],
)
@both
def test_wrong_arguments_are_a_type_error(kind, args, kwargs):
    """
    What is missing, too much, unknown or given twice raises a TypeError, as of any call.
    """
    with pytest.raises(TypeError):
        kind(*args, **kwargs)


@children
def test_fields_by_keyword_alone_are_inherited(kind):
    """
    A class with ``kw_only`` takes its base's fields too, and none by position.
    """
    made = kind(at=1, what="x")

    assert (made.at, made.where, made.what) == (1, None, "x")
    with pytest.raises(TypeError):
        kind(1, None, "x")
    with pytest.raises(TypeError):
        kind(at=1)


@both
def test_equality_and_hash_follow_the_compared_fields(kind):
    """
    Objects of one class are equal and hash alike where their compared fields do, and objects of others never.
    """
    one, same, other = kind(1, hidden=0.1), kind(1, hidden=0.2), kind(2)

    assert one == same
    assert one != other
    assert one != (1, "r", 0.5, [])
    assert hash(one) == hash(same) == hash(kind(1, seen=[7]))
    assert one != kind(1, seen=[7])


def test_a_child_is_not_its_base():
    """
    Objects of a class and of its base are not equal.
    """
    assert LightBase(at=1) != LightChild(at=1, what="x")


def test_repr_is_that_of_a_dataclass():
    """
    The repr shows the fields, but for those that are not to be shown.
    """
    assert repr(Light(1)) == repr(Real(1)).replace("Real", "Light")
    assert repr(Checked(3)) == "<3>"


@pytest.mark.parametrize("name", ["left", "kind", "anything"])
@both
def test_nothing_can_be_set_or_deleted(kind, name):
    """
    Setting and deleting attributes raise `FrozenInstanceError`.
    """
    made = kind(1)
    change, delete = (setattr, (made, name, 2)), (delattr, (made, name))

    # Where a class has slots, Python's own answer for what is no field is a TypeError.
    for act, args in (change, delete):
        with pytest.raises((dataclasses.FrozenInstanceError, TypeError)):
            act(*args)
    assert not hasattr(made, "__dict__")


@pytest.mark.parametrize("made", [Light(1, seen=[2]), LightChild(at=1, what="x"), Checked(2)])
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_copies_and_pickles_are_equal(made, protocol):
    """
    A copy, a deep copy and an unpickled object equal the first.
    """
    if protocol >= 2:
        assert pickle.loads(pickle.dumps(made, protocol)) == made
    assert copy.copy(made) == made
    assert copy.deepcopy(made) == made
    assert dataclasses.replace(made) == made


def test_replace_and_asdict_know_the_fields():
    """
    `dataclasses.replace` and `asdict` work, as does matching by position.
    """
    changed = dataclasses.replace(Light(1), right="x")

    assert dataclasses.asdict(changed) == {"left": 1, "right": "x", "hidden": 0.5, "seen": []}
    match changed:
        case Light(left, right):
            assert (left, right) == (1, "x")


def test_post_init_is_called():
    """
    ``__post_init__`` looks at the object once its fields are filled.
    """
    with pytest.raises(ValueError, match="negative"):
        Checked(-1)


@pytest.mark.parametrize(("made", "real"), [(Light, Real), (LightChild, RealChild)])
def test_the_signature_is_that_of_a_dataclass(made, real):
    """
    `inspect.signature` and ``help`` show the fields, and an object has no signature by its class.
    """
    ours, theirs = inspect.signature(made), inspect.signature(real)

    assert list(ours.parameters) == list(theirs.parameters)
    assert [one.kind for one in ours.parameters.values()] == [one.kind for one in theirs.parameters.values()]
    assert next(iter(ours.parameters.values())) == next(iter(theirs.parameters.values()))
    assert not hasattr(made.__new__(made), "__signature__")


@pytest.mark.parametrize("options", [{}, {"slots": True}])
def test_a_plain_dataclass_may_derive_from_it(options):
    """
    A user's own ``@dataclass(frozen=True)`` works below a light one, and one that is not frozen is refused.
    """

    @dataclasses.dataclass(frozen=True, kw_only=True, **options)
    class Own(Light):
        what: str

    made = Own(1, what="x")

    assert (made.left, made.what, made) == (1, "x", Own(1, what="x"))
    assert copy.copy(made) == copy.deepcopy(made) == made
    assert dataclasses.replace(made, what="y").what == "y"
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.what = "y"
    with pytest.raises(TypeError, match="cannot inherit non-frozen dataclass from a frozen one"):
        dataclasses.dataclass(type("Loose", (Light,), {}))
