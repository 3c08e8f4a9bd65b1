import subprocess
import sys
from pathlib import Path

import pytest

from docs.examples.render_farm.faults import DRAMA, Episode, Fault, fault_script

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("server", DRAMA)
def test_the_same_seed_gives_the_same_faults(server):
    """
    A script follows from the server's name and the seed alone.
    """
    assert fault_script(server, 41) == fault_script(server, 41)


def test_the_same_seed_gives_the_same_faults_in_another_process():
    """
    The script does not depend on the hash seed of the process that makes it.
    """
    code = """if True:
        from docs.examples.render_farm.faults import fault_script
        print({number: fault.value for number, fault in fault_script('atlas', 41).items()})
    """

    told = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout

    assert told.strip() == str({number: fault.value for number, fault in fault_script("atlas", 41).items()})


def test_another_seed_moves_the_acts_but_keeps_their_order():
    """
    Seeds differ in when faults come and how long they last.
    """
    scripts = [fault_script("atlas", seed) for seed in range(20)]

    assert len({tuple(sorted(script)) for script in scripts}) > 1
    for script in scripts:
        met = [script[number] for number in sorted(script)]
        acts = [fault for at, fault in enumerate(met) if at == 0 or met[at - 1] is not fault]
        assert acts == [episode.fault for episode in DRAMA["atlas"]]


def test_episodes_are_as_long_and_as_far_apart_as_they_say():
    """
    Calm and length of an episode are counted in requests, from 1.
    """
    drama = {"x": (Episode(Fault.BUSY, (2, 2), (3, 3)), Episode(Fault.DIE, (1, 1), (1, 1)))}

    assert fault_script("x", 5, drama) == {3: Fault.BUSY, 4: Fault.BUSY, 5: Fault.BUSY, 7: Fault.DIE}


def test_a_server_without_a_part_never_fails():
    """
    Only the servers of the drama have faults.
    """
    assert fault_script("unknown", 1) == {}


def test_every_fault_is_played():
    """
    The drama of the demo leaves no kind of fault out.
    """
    played = {episode.fault for episodes in DRAMA.values() for episode in episodes}

    assert played == set(Fault)
