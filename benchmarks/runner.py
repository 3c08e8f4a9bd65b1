"""
The runner: asks every question, and asks again where a bound seems to be missed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from benchmarks import (
    failure,
    import_time,
    memory,
    methods,
    recording,
    rejection,
    retry_storm,
    scale,
    snapshot,
    success,
    threads,
)
from benchmarks.results import MISSED

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.results import Result
    from benchmarks.stopwatch import Stopwatch

__all__ = ["QUESTIONS", "QUICK", "Question", "ask_all", "missed"]

# How often a question is asked again while a bound seems to be missed: on a busy
# machine the best of a few rounds is not always a good one.
REPEATS = 6


class Question(Protocol):
    """
    What each file of this folder is.
    """

    QUESTION: str

    def ask(self, watch: Stopwatch, *, with_peers: bool) -> list[Result]:
        """
        Measure, and return what was found.
        """


QUESTIONS: tuple[Question, ...] = (
    success,
    methods,
    rejection,
    failure,
    retry_storm,
    threads,
    memory,
    import_time,
    snapshot,
    recording,
    scale,
)

# What has no bounds is not worth the time of a quick run.
QUICK = tuple(question for question in QUESTIONS if question is not scale)


def ask_all(
    questions: Sequence[Question], watch: Stopwatch, *, with_peers: bool, tell: Callable[[str], object]
) -> dict[str, list[Result]]:
    """
    Ask each question, and those again whose bounds seem to be missed.

    Args:
        questions: What is asked.
        watch: Takes the times; it remembers the best of all rounds.
        with_peers: Whether other libraries are asked too.
        tell: Takes a line of progress.
    """
    answers = {}
    for question in questions:
        name = question.QUESTION
        tell(f"{name} ...")
        answers[name] = question.ask(watch, with_peers=with_peers)
        for _ in range(REPEATS):
            # Sizes are what they are; only times get better with rounds.
            late = [one for one in answers[name] if one.verdict == MISSED and one.measure != "KiB"]
            if not late:
                break
            tell(f"{name}: {len(late)} over the bound, once more ...")
            # Its peers have nothing to lose or to win by that.
            again = {one.subject: one for one in question.ask(watch, with_peers=False)}
            answers[name] = [again.get(one.subject, one) for one in answers[name]]
    return answers


def missed(answers: dict[str, list[Result]]) -> list[str]:
    """
    Return ``question: subject`` of each result over what it is held to.
    """
    return [f"{name}: {one.subject}" for name, results in answers.items() for one in results if one.verdict == MISSED]
