# SPDX-License-Identifier: BSD-3-Clause
"""What the soaks share: one event after the other, chosen by a seed, and the program around them.

    class House(Events):
        def kill(self): ...
        EVENTS = ((kill, 2), ...)               and how often, compared with the others
        def run(self, seconds):
            for _ in self.happens(seconds): ...     after each event: look whether all is well
        def summary(self): ...
        def close(self): ...                    whatever is left, after a failure too

The daemon that is under test is `daemon`. What may not be is an AssertionError.
"""
import argparse
import os
import random
import tempfile
import time
from collections import Counter
from pathlib import Path

from gantry import RpcError


class Wrong(AssertionError):
    """What may not be."""


class Events:
    EVENTS = ()

    def __init__(self, directory, seed):
        self.directory, self.seed, self.dice = Path(directory), seed, random.Random(seed)
        self.events, self.counts = 0, Counter()

    def happens(self, seconds):
        """Go on when an event has happened; says once a minute how it goes."""
        end, say = time.monotonic() + seconds, time.monotonic() + 60
        functions, weights = zip(*self.EVENTS)
        while time.monotonic() < end:
            event = self.dice.choices(functions, weights)[0]
            try:
                event(self)
            except (RpcError, AssertionError, OSError) as problem:
                raise Wrong(f"event {self.events} ({event.__name__}): {problem}") from problem
            self.events += 1
            self.counts[event.__name__] += 1
            yield
            if time.monotonic() > say:
                say += 60
                print(self.summary(), flush=True)

    def happened(self):
        return f"{self.events} events ({', '.join(f'{n} {name}' for name, n in sorted(self.counts.items()))})"


def main(kind, about, seconds=600):
    """The program: `kind` is the class. Its status."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--seconds", type=float, default=float(os.environ.get("GANTRY_SOAK_SECONDS", seconds)))
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--list", action="store_true", help="name the events")
    args = parser.parse_args()
    if args.list:
        for event, weight in kind.EVENTS:
            print(f"{event.__name__:<12} {weight:>3}  {event.__doc__}")
        return 0
    with tempfile.TemporaryDirectory() as directory:
        soak = kind(directory, args.seed)
        print(f"seed {args.seed}, for {args.seconds:g} s", flush=True)
        try:
            soak.run(args.seconds)
        except (AssertionError, RpcError, OSError) as wrong:
            print(f"{soak.summary()}\n{soak.daemon.log_tail(60)}\nWRONG (seed {args.seed}): {wrong}")
            return 1
        finally:
            soak.close()
        print(soak.summary())
    return 0
