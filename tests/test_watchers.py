"""
Who is told of changes, held weakly.
"""

from __future__ import annotations

import gc
import threading
import weakref

import pytest

from resilient.watchers import Watchers


class Watcher:
    """
    What can be told.
    """

    def refresh(self):
        """
        Look again.
        """


@pytest.fixture
def watchers():
    """
    Return nobody.
    """
    return Watchers()


def test_each_is_there_once_and_in_order(watchers):
    """
    Whoever is added twice is told once, in the order of first additions, until it is discarded.
    """
    one, other, third = (Watcher() for _ in range(3))
    for watcher in (one, other, third, one):
        watchers.add(watcher)
    shown = repr(watchers)
    watchers.discard(other)
    watchers.discard(other)

    assert watchers.living() == [one, third]
    assert shown == "<Watchers: 3>"


def test_who_is_gone_is_not_told(watchers):
    """
    Watchers are not kept alive.
    """
    one, other = Watcher(), Watcher()
    watchers.add(one)
    watchers.add(other)
    del one
    gc.collect()

    assert watchers.living() == [other]


def test_references_are_shared():
    """
    However many tell a watcher, it has one reference.
    """
    watcher = Watcher()
    for _ in range(10):
        Watchers().add(watcher)
    several = [Watchers() for _ in range(10)]
    for one in several:
        one.add(watcher)

    assert weakref.getweakrefcount(watcher) == 1


def test_the_dead_do_not_pile_up(watchers):
    """
    Of those that are gone, references stay for a fourth of the living and a few more.
    """
    living = [Watcher() for _ in range(100)]
    for watcher in living:
        watchers.add(watcher)
    most = 0
    for _ in range(1000):
        watchers.add(Watcher())
        most = max(most, len(watchers._refs))  # noqa: SLF001 - what is kept can only be seen from within

    assert watchers.living() == living
    assert most <= 100 * 5 // 4 + 20


def test_many_may_come_while_others_look(watchers):
    """
    Threads add and discard while another one reads, and nobody who stays is missed.
    """
    stays = Watcher()
    watchers.add(stays)
    done = threading.Event()
    missed = []

    def come_and_go():
        while not done.is_set():
            watcher = Watcher()
            watchers.add(watcher)
            watchers.discard(watcher)
            watchers.add(Watcher())

    threads = [threading.Thread(target=come_and_go) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        missed = [number for number in range(2000) if stays not in watchers.living()]
    finally:
        done.set()
        for thread in threads:
            thread.join()

    assert missed == []
