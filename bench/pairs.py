# SPDX-License-Identifier: BSD-3-Clause
"""Samples of two sides, paired where the machine was the same for both.

The host of a virtual machine moves its CPUs: a cache line between the target's and the initiator's takes 60 ns or 340,
that changes within seconds, and whatever goes through a socket changes with it, by a factor of two. So each sample has
the round trips right before and right after it (the state: one figure for each two CPUs), and a ratio is made only of
two samples whose four states agree. A sample whose target had to wait long for its CPU does not count either. What is
left out, or finds no partner, is counted.
"""
import statistics
import subprocess
import time
from collections import Counter, namedtuple

AGREE = 1.5             # the largest of several readings over the smallest; near and far are a factor of five apart
NEAR_NS = 150
WAITED_MAX = 0.2        # of a sample's time, while somebody else had the target's CPU
SAMPLES_PER_PAIR = 6    # at most, on average: three tries of each side
PATIENCE_S = 2          # for the state of a sample that waits for its partner
LOOK_EVERY_S = 0.05

Sample = namedtuple("Sample", "side value before after waited")


class Line:
    """The distances between CPUs that matter to a case: build/bench/micro_line, which nothing else may keep busy."""

    def __init__(self, program, cpus):
        self.program, self.cpus = str(program), cpus

    def state(self):
        return tuple(float(subprocess.run([self.program, str(a), str(b)], check=True, capture_output=True,
                                          timeout=60).stdout) for a, b in self.cpus)

    def settle(self, wanted):
        """The state, once it is one of those wanted, or when that has taken too long."""
        end = time.monotonic() + PATIENCE_S
        while True:
            state = self.state()
            if not wanted or any(agree(state, w) for w in wanted) or time.monotonic() > end:
                return state
            time.sleep(LOOK_EVERY_S)


def agree(*states):
    return all(max(readings) <= AGREE * min(readings) for readings in zip(*states))


def name_of(state):
    near = sum(ns < NEAR_NS for ns in state)
    return "near" if near == len(state) else "mixed" if near else "far"


class Pairs:
    """What was measured of a case: `wanted` pairs of agreeing samples, or samples by themselves of one side alone."""

    def __init__(self, wanted, sides="ab"):
        self.wanted, self.sides = wanted, sides
        self.samples, self.pairs, self.waiting = [], [], []

    def complete(self):
        return len(self.pairs) >= self.wanted or len(self.samples) >= self.wanted * SAMPLES_PER_PAIR

    def next_side(self):
        """The one for which a sample of the other waits, or else the one that was not the last."""
        if not self.samples:
            return self.sides[0]
        waiting = Counter(s.side for s in self.waiting)
        last = self.samples[-1].side
        return min(self.sides, key=lambda side: (waiting[side], side == last))

    def states_wanted(self, side):
        return [s.after for s in self.waiting if s.side != side]

    def add(self, sample):
        self.samples.append(sample)
        if sample.waited > WAITED_MAX or not agree(sample.before, sample.after):
            return
        if len(self.sides) == 1:
            self.pairs.append((sample,))
            return
        for other in reversed(self.waiting):
            if other.side != sample.side and agree(sample.before, sample.after, other.before, other.after):
                self.waiting.remove(other)
                self.pairs.append(tuple(sorted((sample, other), key=lambda s: s.side)))
                return
        self.waiting.append(sample)

    def row(self):
        """What there is to tell. Where no two samples agreed, what the sides did on the whole, and `agreed` 0."""
        values = {side: [p[i].value for p in self.pairs] or [s.value for s in self.samples if s.side == side]
                  for i, side in enumerate(self.sides)}
        row = {side: statistics.median(v) for side, v in values.items()}
        row.update({f"{side}_all": v for side, v in values.items()})
        states = [name_of(p[0].after) for p in self.pairs if p[0].after]
        row.update(wanted=self.wanted, agreed=len(self.pairs), samples=[s._asdict() for s in self.samples],
                   left_out=len(self.samples) - len(self.pairs) * len(self.sides), states=dict(Counter(states)))
        if len(self.sides) > 1:
            ratios = [ratio(a.value, b.value) for a, b in self.pairs] or [ratio(row["a"], row["b"])]
            by_state = {s: statistics.median(r for r, t in zip(ratios, states) if t == s) for s in row["states"]}
            row.update(ratio=statistics.median(ratios), ratio_min=min(ratios), ratio_max=max(ratios),
                       ratio_all=ratios, ratio_by_state=by_state)
        return row


def ratio(a, b):
    return a / b if b else float("inf")


def sentence(row):
    """How good the figures of a row are."""
    by_state = row.get("ratio_by_state", {})
    where = ", ".join(f"{name} {count}" + (f" ({by_state[name]:.2f})" if name in by_state else "")
                      for name, count in sorted(row["states"].items(), reverse=True))
    what = "pairs" if "b" in row else "samples"
    text = f"{row['agreed']} {what}" + (f": {where}" if where else "")
    if row["left_out"]:
        text += f"; {row['left_out']} of {len(row['samples'])} samples left out"
    if not row["agreed"]:
        return f"NONE AGREED, this is of all {len(row['samples'])} samples"
    return text if row["agreed"] >= row["wanted"] else f"ONLY {text}; {row['wanted']} were wanted"
