from __future__ import annotations

import functools
import pickle

import pytest

from resilient import Classifier, ErrorCategory
from resilient.policies.matching import Matcher, matcher


class Odd(Exception):  # noqa: N818 - short in tables
    pass


def meant(on, error, **options):
    """
    Tell whether *on* means *error*.
    """
    classifier = Classifier()
    return matcher(on).matches(error, lambda: classifier.classify(error), **options)


@pytest.mark.parametrize(
    ("on", "error", "expected"),
    [
        (OSError, ConnectionError(), True),
        (ConnectionError, OSError(), False),
        ((KeyError, OSError), OSError(), True),
        ([KeyError], OSError(), False),
        ({KeyError, OSError}, KeyError(), True),
        (iter([KeyError, OSError]), OSError(), True),
        ("network", ConnectionError(), True),
        ("network", ValueError(), False),
        ("validation", ValueError(), True),
        (ErrorCategory.MEMORY, MemoryError(), True),
        ({"memory", "network"}, MemoryError(), True),
        (lambda error: error.args == (1,), Odd(1), True),
        (lambda error: error.args == (1,), Odd(2), False),
        ((lambda error: False, lambda error: 1), Odd(), True),
        ((KeyError, "network", lambda error: True), Odd(), True),
        ((), Odd(), False),
        (functools.partial(isinstance, Odd()), Odd, True),
    ],
)
def test_matches(on, error, expected):
    """
    Types with their subclasses, categories and predicates are meant, one or several of them.
    """
    if isinstance(error, type):
        on, error = matcher(lambda one: isinstance(one, Odd)), error()

    assert expected is meant(on, error)


def test_permanent():
    """
    A category may leave out its errors that another try cannot mend; types and predicates do not.
    """
    error = ValueError()

    assert not meant("validation", error, permanent=False)
    assert meant(("validation", ValueError), error, permanent=False)
    assert meant(("validation", lambda _: True), error, permanent=False)
    assert meant("memory", MemoryError(), permanent=False)


def test_classifies_only_where_a_category_decides():
    """
    Without categories, or with a type that is meant, nothing is classified.
    """

    def never():
        raise NotImplementedError

    assert matcher((OSError, lambda _: True)).matches(KeyError(), never)
    assert matcher((OSError, "network")).matches(OSError(), never)


def test_lying_class():
    """
    An error is judged by its real type, whatever `__class__` says or raises.
    """

    class Liar(OSError):  # noqa: N818 - what it does is all that matters
        @property
        def __class__(self):
            raise RuntimeError

    assert meant(OSError, Liar())
    assert not meant(KeyError, Liar())


def test_predicate_that_raises():
    """
    What a predicate raises passes through.
    """
    with pytest.raises(AttributeError):
        meant(lambda error: error.no, Odd())


@pytest.mark.parametrize(
    ("value", "remedy"),
    [
        (5, "must be exception types, category names or a predicate, one or several"),
        (None, "must be exception types, category names or a predicate, one or several"),
        ([OSError, 5], "must be exception types, category names or a predicate, one or several"),
        (int, "and int is none of them"),
        (KeyboardInterrupt, "KeyboardInterrupt is not one \\(Ctrl-C, SystemExit and cancellation always pass"),
        (BaseException, "BaseException is not one"),
        ("netwrok", "must be a category, one of 'network', 'memory'"),
        ("", "must be a category"),
    ],
)
def test_wrong(value, remedy):
    """
    Anything else is refused, with what it must be.
    """
    with pytest.raises(ValueError, match=remedy):
        matcher(value)


def test_async_predicate():
    """
    A predicate cannot be async: nobody would await it.
    """

    async def predicate(error):
        raise NotImplementedError

    with pytest.raises(ValueError, match="a predicate cannot be async"):
        matcher(predicate)


def test_equal():
    """
    Matchers of the same errors are equal, in whatever order and how often they were given.
    """
    one, other = matcher((KeyError, OSError, "memory")), matcher(["memory", OSError, KeyError, OSError])

    assert one == other
    assert hash(one) == hash(other)
    assert one != matcher(KeyError)
    assert one == pickle.loads(pickle.dumps(one))
    assert one is matcher(one)


def test_contents():
    """
    What was given can be looked through and looked for.
    """

    def predicate(error):
        raise NotImplementedError

    on = matcher((OSError, "memory", predicate))

    assert [OSError, ErrorCategory.MEMORY, predicate] == list(on)
    assert OSError in on
    assert KeyError not in on
    assert bool(on)
    assert not Matcher()


@pytest.mark.parametrize(
    ("on", "shown"),
    [
        (OSError, "OSError"),
        ("memory", "'memory'"),
        ((KeyError, "network", "memory"), "(KeyError, 'memory', 'network')"),
        ((), "()"),
        (meant, "meant"),
    ],
)
def test_repr(on, shown):
    """
    A matcher shows what was given.
    """
    assert shown == repr(matcher(on))


def test_repr_of_an_object():
    """
    A predicate without a name shows itself.
    """

    class Judge:
        def __call__(self, error):
            raise NotImplementedError

        def __repr__(self):
            return "Judge()"

    assert repr(matcher(Judge())) == "Judge()"
