#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""test.py: build what the tests need, run the suites in order, count. ./test installs packages and calls this.

    tools/test.py [SUITE...]     all suites, or these
    tools/test.py --list

Every suite goes through, whatever the ones before it did; the last line is "N passed, N failed".
"""
import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
JOBS = str(len(os.sched_getaffinity(0)))
FUZZ_SECONDS = int(os.environ.get('FUZZ_SECONDS', '10'))
FUZZ_SEED = os.environ.get('FUZZ_SEED', '1')  # the same each time, so that what fails fails again; 0: a new one
LOG_LINES = 50                  # of each thing that failed
PYTEST_LOG_LINES = 400          # of all that failed in a suite
MESON_TIMEOUT_FACTOR = 4        # sanitizers and busy machines are slow
PYTEST_TIMEOUT_S = 45 * 60
TEST_TIMEOUT_S = 15 * 60         # one that hangs fails with its name
PROTO_AT_ONCE = 4               # files; at most 8: tests/lib/gantry.py gives each ports of its own
GUESTS_AT_ONCE = min(4, max(1, int(JOBS) // 2))  # files; emulated machines have two processors each
# An emulated machine fails by itself now and then: Linux finds its own patched instructions half written (Oops: int3),
# a processor that does not answer, or no root. What failed in the guests of so few files is tried once more, and told.
GUEST_FAILURES_MAX = 3
TSAN_MODULES = {'core', 'net', 'base', 'verbs', 'virtio_race'}

#           directory      compiler  meson options
TREES = {
    'release': ('build',       None,    []),
    # As where libipsec-mb is not there: all of the others have it.
    'debug':   ('build-debug', None,    ['-Dbuildtype=debugoptimized', '-Dipsec_mb=disabled']),
    'asan':    ('build-asan',  None,    ['-Doptimization=1', '-Ddebug=true', '-Db_sanitize=address,undefined',
                                         '-Db_ndebug=false', '-Dwerror=false']),
    'tsan':    ('build-tsan',  None,    ['-Doptimization=1', '-Ddebug=true', '-Db_sanitize=thread',
                                         '-Db_ndebug=false', '-Dwerror=false']),
    'clang':   ('build-clang', 'clang', ['-Dbuildtype=debugoptimized']),
    'fuzz':    ('build-fuzz',  'clang', ['-Dfuzz=true', '-Dbuildtype=debugoptimized', '-Dtests=disabled']),
}
SANITIZER_ENV = {
    'ASAN_OPTIONS': 'detect_stack_use_after_return=1',
    'UBSAN_OPTIONS': 'halt_on_error=1:print_stacktrace=1',
    'TSAN_OPTIONS': 'second_deadlock_stack=1',
}


@dataclass
class Result:
    passed: int = 0
    skipped: int = 0
    failures: list = field(default_factory=list)    # names
    log: str = ''                                   # of what failed

    def add(self, other):
        self.passed += other.passed
        self.skipped += other.skipped
        self.failures += other.failures


class Runner:
    def __init__(self):
        self.total = Result()
        self.built = {}

    def report(self, name, result, started):
        """One line for what ran, its log when it failed. Nothing ran: nothing said."""
        if not result.passed and not result.failures and not result.skipped:
            return
        words = [f'{result.passed} passed']
        if result.failures:
            words.append(f'{len(result.failures)} failed')
        if result.skipped:
            words.append(f'{result.skipped} skipped')
        if result.failures:
            print(indented(result.log))
        print(f'{name:<16} {", ".join(words)}  ({time.monotonic() - started:.0f} s)', flush=True)
        self.total.add(Result(result.passed, result.skipped, [f'{name}: {failure}' for failure in result.failures]))

    def build(self, tree, *targets):
        """Configure and build a tree once; whether that worked. With targets only these."""
        key = (tree, targets)
        if key not in self.built:
            started = time.monotonic()
            log = self.configure(tree) or command(['ninja', '-C', TREES[tree][0], '-j', JOBS, *targets])
            self.built[key] = not log
            self.report(f'build {tree}', Result(0, 0, ['does not build'], from_failure(log)) if log else Result(1),
                        started)
        return self.built[key]

    @staticmethod
    def configure(tree):
        """None, or the log of what went wrong."""
        directory, compiler, options = TREES[tree]
        if (ROOT / directory / 'build.ninja').exists():
            return None
        env = {'CC': compiler} if compiler else {}
        return command(['meson', 'setup', directory, *options], env)

    def meson(self, name, tree, wanted):
        """The unit tests of a tree whose suite `wanted` accepts."""
        if not self.build(tree):
            return
        directory = TREES[tree][0]
        listing = subprocess.run(['meson', 'introspect', directory, '--tests'], cwd=ROOT, capture_output=True,
                                 text=True, check=True).stdout
        names = [test['name'] for test in json.loads(listing) if any(map(wanted, suites_of(test)))]
        if not names:
            return
        started = time.monotonic()
        wrapper = ['--wrapper', 'setarch -R'] if tree in ('asan', 'tsan') and can_fix_addresses() else []
        report = ROOT / directory / 'meson-logs' / ('testlog-setarch.json' if wrapper else 'testlog.json')
        report.unlink(missing_ok=True)
        log = command(['meson', 'test', '-C', directory, '--no-rebuild', '--num-processes', JOBS,
                       '--timeout-multiplier', str(MESON_TIMEOUT_FACTOR), *wrapper, *names], SANITIZER_ENV)
        self.report(name, meson_result(report, log), started)

    def pytest(self, name, suite, tree, at_once=1, in_guests=False):
        """The files tests/<suite>/test_*.py, against the programs of a tree. Most of them wait most of their time."""
        if not any((ROOT / 'tests' / suite).glob('test_*.py')) or not self.build(tree):
            return
        started = time.monotonic()
        options = ['-n', str(at_once), '--dist', 'loadfile'] if at_once > 1 else []
        result, failed = pytest_run(suite, tree, [*options, f'tests/{suite}'])
        files = {test.split('::')[0] for test in failed}
        if in_guests and 0 < len(files) <= GUEST_FAILURES_MAX and len(failed) == len(result.failures):
            print(indented(result.log) + f'\n{name}: tried once more, after the above: {", ".join(failed)}')
            again, _ = pytest_run(suite, tree, failed)
            result = Result(result.passed + again.passed, result.skipped + again.skipped, again.failures, again.log)
        self.report(name, result, started)

    def seeds(self):
        if not self.build('debug'):
            return
        started = time.monotonic()
        log = command(['tools/seeds', '--build', TREES['debug'][0]], timeout_s=PYTEST_TIMEOUT_S)
        self.report('seeds', Result(0 if log else 1, 0, ['seeds'] if log else [], last_lines(log or '')), started)

    def fuzz(self):
        targets = self.fuzz_targets()
        if not targets or not self.build('fuzz', *[str(Path(t).relative_to(ROOT / 'build-fuzz')) for t in targets]):
            return
        with ThreadPoolExecutor(int(JOBS)) as pool:
            for target, result, seconds in pool.map(fuzz_one, map(Path, targets)):
                self.report(target.name, result, time.monotonic() - seconds)

    def fuzz_targets(self):
        log = self.configure('fuzz')
        if log:
            self.report('build fuzz', Result(0, 0, ['is not configured'], last_lines(log)), time.monotonic())
            return []
        listing = subprocess.run(['meson', 'introspect', 'build-fuzz', '--targets'], cwd=ROOT, capture_output=True,
                                 text=True, check=True).stdout
        return sorted(t['filename'][0] for t in json.loads(listing) if t['name'].endswith('_fuzz'))


def fuzz_one(target):
    started = time.monotonic()
    found = ROOT / 'build-fuzz/corpus' / target.name
    found.mkdir(parents=True, exist_ok=True)
    seeds = [d for d in [ROOT / 'tests/corpus' / target.name] if d.is_dir()]
    log = command([target, f'-max_total_time={FUZZ_SECONDS}', f'-seed={FUZZ_SEED}', '-timeout=10', '-rss_limit_mb=2048',
                   f'-artifact_prefix={ROOT}/build-fuzz/{target.name}-', '-print_final_stats=1', found, *seeds],
                  SANITIZER_ENV, FUZZ_SECONDS + 120)
    result = Result(0, 0, [target.name], last_lines(log)) if log else Result(1)
    return target, result, time.monotonic() - started


#    suite      what it is                                                       how
SUITES = {
    'house':   ('layers, tidiness, the tools themselves',
                lambda r: r.meson('house', 'release', lambda s: s == 'house')),
    'unit':    ('unit tests, with asserts and with ASan and UBSan',
                lambda r: (r.meson('unit', 'debug', is_unit), r.meson('unit asan', 'asan', is_unit))),
    'tsan':    ('unit tests of core, net, base and verbs, and what races over a ring, with TSan',
                lambda r: r.meson('unit tsan', 'tsan', lambda s: s in TSAN_MODULES)),
    'clang':   ('clang builds everything without a warning, lock annotations checked',
                lambda r: r.build('clang')),
    'sim':     ('the whole target in virtual time, seed by seed',
                lambda r: (r.meson('sim', 'debug', is_sim), r.meson('sim asan', 'asan', is_sim))),
    'seeds':   ('10,000 seeds of the simulations; tools/seeds 1000000 for more',
                lambda r: r.seeds()),
    'proto':   ('raw conversations with the daemon, as released and with ASan and UBSan',
                lambda r: (r.pytest('proto', 'proto', 'release', PROTO_AT_ONCE),
                           r.pytest('proto asan', 'proto', 'asan', PROTO_AT_ONCE))),
    'config':  ('configurations saved, restarted from, saved again',
                lambda r: r.pytest('config', 'config', 'asan')),
    'interop': ('Linux hosts in a guest',
                lambda r: r.pytest('interop', 'interop', 'release', GUESTS_AT_ONCE, in_guests=True)),
    'package': ('the Debian package, installed and started by systemd in a guest',
                lambda r: r.pytest('package', 'package', 'release', in_guests=True)),
    'fuzz':    (f'every fuzz target for {FUZZ_SECONDS} s',
                lambda r: r.fuzz()),
}


def main():
    parser = argparse.ArgumentParser(description='Build and run the tests.')
    parser.add_argument('suites', nargs='*', metavar='SUITE', help=', '.join(SUITES))
    parser.add_argument('--list', action='store_true', help='name the suites')
    args = parser.parse_args()
    unknown = sorted(set(args.suites) - set(SUITES))
    if unknown:
        parser.error(f'{", ".join(unknown)}: no such suite; there are {", ".join(SUITES)}')
    if args.list:
        for name, (what, _) in SUITES.items():
            print(f'{name:<10} {what}')
        return 0

    os.chdir(ROOT)
    runner = Runner()
    for name in args.suites or SUITES:
        SUITES[name][1](runner)
    total = runner.total
    if total.failures:
        print('\nFailed:\n' + '\n'.join(f'    {failure}' for failure in total.failures))
    if total.skipped:
        print(f'\nSkipped: {total.skipped}')
    print(f'\n{total.passed} passed, {len(total.failures)} failed')
    return 1 if total.failures else 0


def is_sim(suite):
    return suite == 'sim'


def is_unit(suite):
    return suite not in ('house', 'sim')


def suites_of(test):
    """Meson says "project:suite"."""
    return [suite.split(':')[-1] for suite in test['suite']]


def command(argv, env=None, timeout_s=None):
    """Run it; None when it succeeded, else what it said."""
    try:
        done = subprocess.run([str(a) for a in argv], cwd=ROOT, env={**os.environ, **(env or {})}, text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              errors='replace', timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired as e:
        said = e.stdout.decode(errors='replace') if isinstance(e.stdout, bytes) else e.stdout or ''
        return f'{said}\n{argv[0]} took longer than {timeout_s} s'
    except OSError as e:
        return f'{argv[0]}: {e.strerror}'
    return None if done.returncode == 0 else done.stdout + f'\n{argv[0]} ended with {done.returncode}'


def meson_result(path, log):
    """From Meson's log: cmocka's functions counted one by one, other programs as one test each."""
    result = Result()
    if not path.exists():
        return Result(0, 0, ['meson test did not run'], last_lines(log or ''))
    for line in path.read_text().splitlines():
        test = json.loads(line)
        name = test['name'].split('/')[-1].strip()
        said = test.get('stdout', '') + '\n' + test.get('stderr', '')
        failed = sorted(set(re.findall(r'^\[  FAILED  \] (\w+)$', said, re.M)))
        skipped = len(re.findall(r'^\[  SKIPPED \] \w+$', said, re.M))
        if test['result'] == 'SKIP':
            result.skipped += 1
        elif test['result'] == 'OK':
            result.passed += len(re.findall(r'^\[       OK \] ', said, re.M)) or 1
            result.skipped += skipped
        else:
            result.passed += len(re.findall(r'^\[       OK \] ', said, re.M))
            running = re.findall(r'^\[ RUN      \] (\w+)', said, re.M)
            ended = f'{name}.{running[-1]}' if running else name
            result.failures += [f'{name}.{function}' for function in failed] or [f'{ended} ({test["result"].lower()})']
            result.log += last_lines(said) + '\n'
    if log and not result.failures:
        return Result(result.passed, result.skipped, ['meson test ended with an error'], last_lines(log))
    return result


def pytest_run(suite, tree, arguments):
    """What came of it, and the names by which pytest knows those that failed."""
    directory = TREES[tree][0]
    report = ROOT / directory / f'{suite}.xml'
    report.unlink(missing_ok=True)
    log = command([python_with_pytest(), '-m', 'pytest', '-q', '--tb=short', f'--junitxml={report}',
                   f'--timeout={TEST_TIMEOUT_S}', *arguments],
                  {**SANITIZER_ENV, 'GANTRY_BUILD': directory}, PYTEST_TIMEOUT_S)
    return pytest_result(report, log), re.findall(r'^(?:FAILED|ERROR) (\S+)', log or '', re.M)


def pytest_result(path, log):
    result = Result(log=last_lines(log or '', PYTEST_LOG_LINES))
    if not path.exists():
        result.failures.append('pytest did not finish')
        return result
    for case in ElementTree.parse(path).getroot().iter('testcase'):
        name = f'{case.get("classname", "").split(".")[-1]}.{case.get("name")}'
        if case.find('failure') is not None or case.find('error') is not None:
            result.failures.append(name)
        elif case.find('skipped') is not None:
            result.skipped += 1
        else:
            result.passed += 1
    if log and not result.failures:
        result.failures.append('pytest ended with an error')
    return result


def indented(log):
    return '\n'.join('    | ' + line for line in log.splitlines())


def last_lines(log, count=LOG_LINES):
    return '\n'.join(log.splitlines()[-count:])


def from_failure(log):
    """Ninja's first complaint."""
    lines = log.splitlines()
    at = next((i for i, line in enumerate(lines) if line.startswith('FAILED:')), max(0, len(lines) - LOG_LINES))
    return '\n'.join(lines[at:at + LOG_LINES])


def can_fix_addresses():
    """Sanitizers of this age do not take every address layout that newer kernels choose."""
    return shutil.which('setarch') and command(['setarch', '-R', 'true']) is None


def python_with_pytest():
    """The one that Debian's python3-pytest is for; another python3 may come first in PATH."""
    return '/usr/bin/python3' if Path('/usr/bin/python3').exists() else sys.executable


if __name__ == '__main__':
    sys.exit(main())
