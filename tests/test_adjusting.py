from __future__ import annotations

import dataclasses
import functools
import inspect
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilient.errors import PolicyError
from resilient.levels import DegradationLevel
from resilient.policies.adjusting import Adjuster, adjust_parameters, adjust_resolution, effective_level
from resilient.policies.rules import DEFAULT_RULES, cap, enabled_from, ladder, scale

FULL, HIGH, MEDIUM, LOW, MINIMAL = DegradationLevel
LEVELS = tuple(DegradationLevel)


@dataclasses.dataclass(frozen=True)
class Request:
    prompt: str = "a cat"
    steps: int = 50
    quality: float = 1.0
    width: int = 1024
    height: int = 512
    upscale: bool = True


class Model(pydantic.BaseModel):
    steps: int = 50


@dataclasses.dataclass
class Strict:
    steps: int = 50
    quality: float = 1.0

    def __post_init__(self):
        if self.steps < 40:
            raise ValueError("too few steps")


class Size(NamedTuple):
    width: int
    height: int


def render(prompt, *, quality=1.0, resolution="1080p", steps=50):
    """
    Stand for an engine's function.
    """
    raise NotImplementedError


def sized(prompt, width=1024, height=512):
    """
    Stand for a function that takes both sides.
    """
    raise NotImplementedError


def typed(request: Request, extra: str = ""):
    """
    Stand for a function that tells its request's type.
    """
    raise NotImplementedError


def untyped(request):
    """
    Stand for a function that does not.
    """
    raise NotImplementedError


def anything(*args, **kwargs):
    """
    Stand for a function whose calls alone tell what it takes.
    """
    raise NotImplementedError


def adjuster(fn, rules=None, **options):
    """
    Return an adjuster for *fn*.
    """
    return Adjuster(fn, rules or {}, where="@degradable on f", **options)


def after(fn, level, *args, rules=None, **kwargs):
    """
    Return the arguments of a call of *fn* at *level*.
    """
    new_args, new_kwargs, _ = adjuster(fn, rules).adjust(level, args, kwargs)
    return new_args, new_kwargs


def problems_of(fn, rules, **options):
    """
    Return the problems that the rules for *fn* have.
    """
    with pytest.raises(PolicyError) as caught:
        adjuster(fn, rules, **options)
    assert str(caught.value).startswith("@degradable on f: ")
    return caught.value.problems


def test_defaults_positions_and_keywords_follow():
    """
    Arguments follow the level however they are given, and the changes tell before and after.
    """
    args, kwargs, changes = adjuster(render).adjust(MEDIUM, ("a cat",), {"steps": 10, "quality": 0.5})

    assert args == ("a cat",)
    assert kwargs == {"steps": 6, "quality": 0.3, "resolution": "480p"}
    assert changes == {"steps": (10, 6), "quality": (0.5, 0.3), "resolution": ("1080p", "480p")}


@pytest.mark.parametrize(("level", "options"), [(FULL, {}), (LOW, {"only_below": LOW}), (HIGH, {"only_below": "low"})])
def test_at_full_nothing_is_touched(level, options):
    """
    At FULL, or where the function does not follow, the arguments are the very same objects.
    """
    args, kwargs = ("a cat",), {"steps": 10}
    new_args, new_kwargs, changes = adjuster(render, **options).adjust(level, args, kwargs)

    assert new_args is args
    assert new_kwargs is kwargs
    assert changes == {}


def test_nothing_changes_the_very_same_objects():
    """
    Where no rule changes anything, the arguments are the very same objects too.
    """
    args, kwargs = (None,), {"unknown": 1}
    new_args, new_kwargs, changes = adjuster(lambda steps, **more: (steps, more)).adjust(LOW, args, kwargs)

    assert (new_args is args, new_kwargs is kwargs, changes) == (True, True, {})


def test_methods_keep_their_receiver():
    """
    A method's own object is passed on as it is.
    """

    class Engine:
        steps = 50

        def render(self, steps):
            raise NotImplementedError

    engine = Engine()

    assert after(Engine.render, MEDIUM, engine, 50) == ((engine, 30), {})
    assert after(engine.render, MEDIUM, 50) == ((30,), {})


def test_partial_and_unreadable_signatures():
    """
    A partial's keywords are defaults, and a builtin takes what the call gives.
    """
    assert after(functools.partial(render, steps=20), LOW, "a cat")[1]["steps"] == 8
    assert after(max, LOW, 1, steps=20) == ((1,), {"steps": 8})


@pytest.mark.parametrize(
    ("fn", "given_request"), [(typed, Request()), (untyped, Request()), (untyped, vars(Request()))]
)
def test_request_objects_are_copied(fn, given_request):
    """
    Rules reach into a request object; the call gets a changed copy, the caller's object is untouched.
    """
    (request,), _, changes = adjuster(fn).adjust(MEDIUM, (given_request,), {})
    values = request if isinstance(request, dict) else vars(request)

    assert values == {"prompt": "a cat", "steps": 30, "quality": 0.6, "width": 616, "height": 304, "upscale": True}
    assert type(request) is type(given_request)
    assert changes == {
        "request.quality": (1.0, 0.6),
        "request.steps": (50, 30),
        "request.width": (1024, 616),
        "request.height": (512, 304),
    }
    assert Request() == (Request(**given_request) if isinstance(given_request, dict) else given_request)


def test_paths_name_a_field():
    """
    A path's rule is for that field alone, and stands before the default one.
    """
    rules = {"request.steps": scale(minimum=35), "request.quality": False}
    (request,), _, changes = adjuster(typed, rules).adjust(MEDIUM, (Request(),), {})

    assert (request.steps, request.quality, request.width) == (35, 1.0, 616)
    assert "request.quality" not in changes


def test_own_rules_add_replace_and_switch_off():
    """
    Own rules add to the default ones, replace those of the same name, and False switches one off.
    """
    rules = {"steps": cap(medium=45), "quality": False, "prompt": lambda value, level: f"{value} ({level.label})"}

    assert after(render, MEDIUM, "a cat", rules=rules) == (("a cat (medium)",), {"steps": 45, "resolution": "480p"})


def test_a_rule_that_is_not_there_does_nothing():
    """
    Where only the call can tell, a rule whose parameter is not there does nothing.
    """
    rules = {"frames": scale(), "request.frames": scale()}

    assert after(anything, LOW, 1, request=Bare(), steps=10, rules=rules)[1]["steps"] == 4
    assert after(untyped, LOW, {"seed": 1}, rules=rules) == (({"seed": 1},), {})


class Bare:
    pass


@pytest.mark.parametrize(
    ("kwargs", "expected"),
    [
        ({}, {"width": 616, "height": 304}),
        ({"width": 512}, {"width": 304, "height": 304}),
        ({"height": None}, {"height": None}),
        ({"width": "auto"}, {"width": "auto"}),
        ({"width": 512.0}, {"width": 512.0}),
    ],
)
def test_width_and_height_follow_together(kwargs, expected):
    """
    Both sides follow, or neither where one is of an unknown form.
    """
    assert after(sized, MEDIUM, "a cat", **kwargs) == (("a cat",), expected)


def test_one_side_alone_is_no_picture():
    """
    A width without a height stays as it is, at decoration and at the call.
    """
    assert problems_of(lambda width: width, {})
    assert after(anything, MEDIUM, width=1024) == ((), {"width": 1024})
    assert after(anything, MEDIUM, width=1024, height=512) == ((), {"width": 616, "height": 304})
    assert after(anything, MEDIUM, request={"width": 1024}, height=512) == (
        (),
        {"request": {"width": 1024}, "height": 512},
    )


@pytest.mark.parametrize(
    "rules", [{"width": cap(high=500)}, {"request.width": cap(high=500)}, {"rest": scale(), "request.width": False}]
)
def test_an_own_rule_for_one_side_ends_the_pair(rules):
    """
    A rule for one side leaves the other alone.
    """

    def fn(request: Request, rest: int = 0):
        raise NotImplementedError

    (request, *_), _ = after(fn, LOW, Request(), rules=rules)

    assert request.width in {500, 1024}
    assert request.height == 512


def test_a_size_is_not_adjusted_twice():
    """
    A size that follows as a whole is not followed into, and one of an unknown form is.
    """

    @dataclasses.dataclass
    class Sides:
        width: int = 1024
        height: int = 512

    assert after(lambda size: size, MEDIUM, Size(1024, 512)) == ((Size(616, 304),), {})
    assert after(anything, MEDIUM, size=Sides()) == ((), {"size": Sides(616, 304)})
    assert after(anything, MEDIUM, size=Sides(), rules={"size": False}) == ((), {"size": Sides()})


def test_a_rule_for_a_field_stands_before_a_default_for_the_whole():
    """
    A rule for one side of a size is not undone by the default rule for sizes.
    """
    assert after(lambda size: size, LOW, Size(1024, 512), rules={"size.width": cap(low=500)}) == (
        (Size(500, 512),),
        {},
    )


def test_a_rule_that_raises_leaves_the_value():
    """
    A rule that raises costs no call: the value stays, the others follow, and the problem is told once.
    """
    told = []

    def wrong(value, level):
        raise ZeroDivisionError

    follow = adjuster(render, {"steps": wrong}, report=lambda what, error: told.append((what, type(error))))
    results = [follow.adjust(LOW, ("a cat",), {"steps": 50})[1] for _ in range(3)]

    assert results == [{"steps": 50, "quality": 0.4, "resolution": "360p"}] * 3
    assert told == [("steps", ZeroDivisionError)]


def test_a_rule_may_raise_with_nobody_to_tell():
    """
    Neither a missing nor a failing report harms the call.
    """

    def wrong(value, level):
        raise ZeroDivisionError

    def report(what, error):
        raise RuntimeError

    assert adjuster(untyped, {"request": wrong}).adjust(LOW, (1,), {}) == ((1,), {}, {})
    assert adjuster(untyped, {"request": wrong}, report=report).adjust(LOW, (1,), {}) == ((1,), {}, {})


def test_interrupts_pass_through_rules():
    """
    Ctrl-C within a rule leaves as itself.
    """

    def interrupted(value, level):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        adjuster(render, {"steps": interrupted}).adjust(LOW, (), {"steps": 50})


def test_an_object_that_refuses_a_copy_stays():
    """
    What a request object refuses is left and told; what it accepts follows.
    """
    told = []
    request = Strict()
    follow = adjuster(untyped, report=lambda what, error: told.append((what, str(error))))
    (changed,), _, changes = follow.adjust(LOW, (request,), {})

    assert changed == Strict(steps=50, quality=0.4)
    assert changes == {"request.quality": (1.0, 0.4)}
    assert told == [("steps", "too few steps")]
    assert request == Strict()


def test_a_rule_may_give_an_array():
    """
    Values that cannot be compared count as changed.
    """
    _, kwargs, changes = adjuster(anything, {"weights": lambda value, level: value * level.factor}).adjust(
        LOW, (), {"weights": np.ones(2)}
    )

    assert kwargs["weights"].tolist() == [0.4, 0.4]
    assert set(changes) == {"weights"}


def test_features_are_named():
    """
    The names and paths of feature flags are known, and switched off below their level.
    """
    rules = {"request.upscale": enabled_from("medium"), "extra": enabled_from(HIGH), "steps": scale()}

    assert adjuster(typed, rules).features() == ("request.upscale", "extra")
    assert after(typed, LOW, Request(), rules=rules)[0][0].upscale is False
    assert after(typed, MEDIUM, Request(), rules=rules)[0][0].upscale is True


@pytest.mark.parametrize(
    ("only_below", "floor", "expected"),
    [
        (None, None, [FULL, HIGH, MEDIUM, LOW, MINIMAL]),
        (MEDIUM, None, [FULL, FULL, FULL, LOW, MINIMAL]),
        (None, MEDIUM, [FULL, HIGH, MEDIUM, MEDIUM, MEDIUM]),
        (HIGH, LOW, [FULL, FULL, MEDIUM, LOW, LOW]),
        (MEDIUM, MEDIUM, [FULL, FULL, FULL, MEDIUM, MEDIUM]),
    ],
)
def test_effective_level(only_below, floor, expected):
    """
    `only_below` follows only below it, and `floor` is the lowest level that is followed.
    """
    follow = adjuster(lambda steps: steps, only_below=only_below, floor=floor)

    assert [effective_level(level, only_below, floor) for level in LEVELS] == expected
    assert [follow.adjust(level, (10,), {})[0][0] for level in LEVELS] == [int(10 * at.factor) for at in expected]


@pytest.mark.parametrize(
    ("fn", "rules", "options", "message"),
    [
        (render, {"stepz": scale()}, {}, "cannot take 'stepz'; did you mean 'steps'?"),
        (render, {"stepz": False}, {}, "cannot take 'stepz'; did you mean 'steps'?"),
        (render, {"frames": scale()}, {}, "cannot take 'frames'; it takes prompt, quality, resolution, steps"),
        (typed, {"frames": scale()}, {}, "cannot take 'frames'; it takes request, extra"),
        (typed, {"request.frames": scale()}, {}, "cannot take 'request.frames'"),
        (typed, {"request.a.b": scale()}, {}, "one level into a request"),
        (typed, {"request.": scale()}, {}, "one level into a request"),
        (typed, {"": scale()}, {}, "'' is no parameter"),
        (typed, {"request.steps": scale(), "request": scale()}, {}, "both have a rule"),
        (
            render,
            {"steps": 8},
            {},
            "must be a rule such as scale(), a callable (value, level) -> value, or False, got 8",
        ),
        (render, {"steps": None}, {}, "must be a rule such as scale()"),
        (render, {"steps": scale}, {}, "write scale(...)"),
        (render, {"steps": ladder}, {}, "write ladder(...)"),
        (render, {"steps": lambda value: value}, {}, "must take (value, level)"),
        (lambda prompt: prompt, {}, {}, "nothing to adjust: the function takes prompt"),
        (lambda: None, {}, {}, "nothing to adjust: the function takes no named parameters"),
        (lambda steps: steps, {"steps": False}, {}, "nothing to adjust"),
        (render, {}, {"only_below": "best"}, "only_below: 'best' is no service level"),
        (render, {}, {"only_below": MINIMAL}, "only_below='minimal' leaves no level to follow"),
        (render, {}, {"floor": FULL}, "floor='full' leaves no level to follow"),
    ],
)
def test_what_cannot_be_meant_is_refused(fn, rules, options, message):
    """
    Rules that cannot be meant are refused at decoration, with a remedy.
    """
    (problem,) = problems_of(fn, rules, **options)

    assert message in problem


def test_async_rules_are_refused():
    """
    A rule is no coroutine function.
    """

    async def rule(value, level):
        raise NotImplementedError

    assert "must not be async" in problems_of(render, {"steps": rule})[0]


def test_a_builtin_rule_is_taken_at_its_word():
    """
    A callable that does not tell its parameters is a rule.
    """
    with pytest.raises(ValueError, match="signature"):
        inspect.signature(max)

    assert after(lambda top: top, LOW, 1, rules={"top": max}) == ((1,), {})


def test_all_problems_at_once():
    """
    One error tells everything that is wrong.
    """
    assert len(problems_of(render, {"stepz": 8, "quality": scale}, floor="x", only_below=3)) == 5


def test_repr_tells_the_rules():
    """
    The repr shows what follows, and how far.
    """
    follow = adjuster(lambda steps: steps, {"steps": scale(minimum=8)}, only_below=HIGH, floor="low")

    assert repr(follow) == "Adjuster(steps=scale(minimum=8), only_below='high', floor='low')"


def test_adjust_parameters_adjusts_a_mapping():
    """
    A mapping is adjusted as the keywords of a call would be, into a new dict.
    """
    params = {"quality": 1.0, "resolution": "1080p", "steps": 50, "request": {"num_inference_steps": 10}, "seed": 3}
    kept = {**params, "request": dict(params["request"])}

    assert adjust_parameters(params, "medium") == {
        "quality": 0.6,
        "resolution": "480p",
        "steps": 30,
        "request": {"num_inference_steps": 6},
        "seed": 3,
    }
    assert params == kept
    assert adjust_parameters(params, FULL) == params
    assert adjust_parameters(params, FULL) is not params


def test_adjust_parameters_takes_rules():
    """
    Own rules add to the default ones, and a failing one is told.
    """
    told = []
    rules = {"steps": False, "seed": cap(low=1), "quality": lambda value, level: value / 0}

    assert adjust_parameters(
        {"steps": 50, "seed": 3, "quality": 1.0}, LOW, rules, lambda what, error: told.append(what)
    ) == {"steps": 50, "seed": 1, "quality": 1.0}
    assert told == ["quality"]


@pytest.mark.parametrize("level", [None, "best", 0.5])
def test_adjust_parameters_needs_a_level(level):
    """
    What is no level is refused.
    """
    with pytest.raises(PolicyError, match="service level"):
        adjust_parameters({}, level)


def test_adjust_resolution():
    """
    A resolution follows any factor, and unknown forms stay.
    """
    assert adjust_resolution("1080p", 0.8) == "720p"
    assert adjust_resolution("1920x1080", 0.5) == "960x544"
    assert adjust_resolution((1920, 1080), 0.25) == (480, 272)
    assert adjust_resolution("huge", 0.5) == "huge"
    assert adjust_resolution((1001, 7), 1) == (1001, 7)


@pytest.mark.parametrize("factor", [0, -1, 1.5, float("nan"), "0.5", True])
def test_adjust_resolution_refuses_other_factors(factor):
    """
    A factor is a fraction of 1.
    """
    with pytest.raises(PolicyError, match="factor must be a number above 0 and at most 1"):
        adjust_resolution("1080p", factor)


values = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text("0123456789px ", max_size=8)
    | st.sampled_from(["1080p", "high", "64x64"])
)


@given(st.dictionaries(st.sampled_from([*DEFAULT_RULES, "seed"]), values | st.tuples(values, values)))
def test_no_call_is_lost_or_raised(params: dict[str, Any]):
    """
    Whatever a call gives, nothing raises, no name is lost, numbers only go down, and FULL changes nothing.
    """
    results = [adjust_parameters({"request": dict(params)}, level)["request"] for level in LEVELS]

    assert results[0] == params
    for higher, lower in pairwise(results):
        assert list(lower) == list(params)
        for name, value in params.items():
            assert type(lower[name]) is type(value)
            if isinstance(value, int | float):
                assert lower[name] <= higher[name]


@given(st.builds(Request, steps=st.integers(0, 200), width=st.integers(0, 4096), height=st.integers(0, 4096)))
def test_callers_objects_are_never_touched(request_object):
    """
    A request object is the same before and after its call at any level.
    """
    kept = dataclasses.replace(request_object)
    for level in LEVELS:
        (changed,), _, changes = adjuster(typed).adjust(level, (request_object,), {})

        assert (changed is request_object) is (not changes)
        assert request_object == kept


def test_pydantic_annotations_are_seen():
    """
    A model's fields are known at decoration.
    """

    def fn(request: Model):
        raise NotImplementedError

    assert after(fn, LOW, Model()) == ((Model(steps=20),), {})
    assert "cannot take 'frames'" in problems_of(fn, {"frames": scale()})[0]
