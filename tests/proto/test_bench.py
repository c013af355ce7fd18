# SPDX-License-Identifier: BSD-3-Clause
"""bench/bench.py compares samples that were taken while the machine was the same, and says how many were not: a ratio
of a run with near CPUs and one with far ones is the machine's, not the target's."""
import json
import subprocess
import sys
from pathlib import Path

from gantry import BUILD

BENCH = Path(__file__).parents[2] / "bench"
sys.path.insert(0, str(BENCH))
import pairs                                  # noqa: E402
from pairs import Pairs, Sample, agree, sentence  # noqa: E402

NEAR, FAR, MIXED = (55, 60), (280, 300), (50, 290)


def sample(side, value, before, after=None, waited=0.0):
    return Sample(side, value, before, after or before, waited)


def filled(wanted, *samples):
    made = Pairs(wanted)
    for one in samples:
        made.add(sample(*one))
    return made


def test_states_agree_where_every_two_cpus_do():
    assert agree((50, 290), (62, 300))
    assert not agree((50, 290), (290, 50))
    assert not agree(NEAR, NEAR, MIXED)
    assert agree((), ())                      # nothing that could differ


def test_a_ratio_is_made_of_samples_of_one_state():
    row = filled(2, ("a", 10, NEAR), ("b", 2, FAR), ("a", 6, FAR), ("b", 5, NEAR)).row()
    assert sorted(row["ratio_all"]) == [2, 3]
    assert row["ratio_by_state"] == {"near": 2, "far": 3} and row["states"] == {"near": 1, "far": 1}
    assert row["agreed"] == 2 and row["left_out"] == 0


def test_a_sample_whose_state_changed_is_left_out():
    made = filled(1, ("a", 10, NEAR, FAR), ("b", 5, NEAR), ("b", 5, FAR))
    assert not made.complete() and made.next_side() == "a"
    made.add(sample("a", 20, FAR))
    assert made.complete() and made.row()["ratio"] == 4
    assert made.row()["left_out"] == 2 and "2 of 4 samples left out" in sentence(made.row())


def test_a_sample_whose_target_did_not_have_its_cpu_is_left_out():
    row = filled(1, ("a", 1, NEAR, NEAR, 0.9), ("b", 5, NEAR), ("a", 10, NEAR, NEAR, 0.1)).row()
    assert row["ratio_all"] == [2] and row["left_out"] == 1


def test_a_pair_is_used_once():
    row = filled(3, ("a", 10, NEAR), ("b", 5, NEAR), ("b", 2, NEAR)).row()
    assert row["ratio_all"] == [2] and row["left_out"] == 1
    assert sentence(row) == "ONLY 1 pairs: near 1 (2.00); 1 of 3 samples left out; 3 were wanted"


def test_sides_take_turns_and_the_one_a_sample_waits_for_is_next():
    made, order = Pairs(3), ""
    while not made.complete():
        order += made.next_side()
        made.add(sample(order[-1], 1, NEAR))
    assert order == "ababab"
    assert made.row()["agreed"] == 3
    waits = filled(3, ("a", 1, NEAR), ("b", 1, FAR), ("a", 1, FAR))
    assert waits.next_side() == "b" and waits.states_wanted("b") == [NEAR]


def test_a_machine_that_never_agrees_ends_and_is_told():
    made, turn = Pairs(2), 0
    while not made.complete():
        side = made.next_side()
        made.add(sample(side, 6 if side == "a" else 3, NEAR if side == "a" else FAR))
        turn += 1
    row = made.row()
    assert turn == 2 * pairs.SAMPLES_PER_PAIR
    assert row["agreed"] == 0 and row["ratio"] == 2 and row["left_out"] == turn
    assert sentence(row) == "NONE AGREED, this is of all 12 samples"


def test_one_side_alone_counts_its_steady_samples():
    made = Pairs(2, "a")
    for one in (sample("a", 1, NEAR, FAR), sample("a", 3, NEAR), sample("a", 5, FAR)):
        assert not made.complete() and made.next_side() == "a"
        made.add(one)
    row = made.row()
    assert made.complete() and row["a"] == 4 and "ratio" not in row
    assert sentence(row) == "2 samples: near 1, far 1; 1 of 3 samples left out"


def test_both_sides_are_started_once_and_measured_in_turn():
    done = subprocess.run([sys.executable, str(BENCH / "bench.py"), "--build", str(BUILD), "-n", "1", "-t", "1",
                           "--json", "--initiator", f"gantry={BUILD}", "host: randread QD1, its CPU"], check=True,
                          capture_output=True, text=True, timeout=300)
    row = json.loads(done.stdout)
    assert row["case"] == "host: randread QD1, its CPU per I/O"
    assert row["a"] > 0 and row["b"] > 0 and row["ratio"] > 0
    assert [s["side"] for s in row["samples"]][:2] == ["a", "b"]
    assert all(s["value"] > 0 and len(s["before"]) == len(s["after"]) for s in row["samples"])
