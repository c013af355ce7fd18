#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""tools_test: check_layers and tidy find what they are there to find, in a small tree made for each test."""
import subprocess
import tempfile
import unittest
from pathlib import Path

TOOLS = Path(__file__).resolve().parent


class Tree(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.root = Path(self.folder.name)
        self.addCleanup(self.folder.cleanup)

    def write(self, path, text):
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def run_tool(self, name, **env):
        result = subprocess.run([TOOLS / name], cwd=self.root, env={'PATH': '/usr/bin:/bin', **env},
                                capture_output=True, text=True, check=False)
        self.assertEqual(result.stderr, '')
        self.assertEqual(result.returncode, 1 if result.stdout else 0)
        return result.stdout


class CheckLayers(Tree):
    def setUp(self):
        super().setUp()
        self.write('src/layers.txt', 'base -\ncore base\nrpc base core\ndisk base core\nserver base disk\napp *\n')
        for path in ('base/base.h', 'core/core.h', 'core/queue.h', 'core/os/os.h', 'core/sim/sim.h', 'rpc/rpc.h',
                     'disk/disk.h', 'disk/inside.h', 'server/server.h', 'server/tcp/tcp.h'):
            self.write(f'src/{path}', '')
        self.write('src/core/PUBLIC', 'core.h\nqueue.h\nsim/sim.h\n')

    def expect(self, path, header, why):
        self.write(path, f'#include "{header}"\n')
        self.assertIn(why, self.run_tool('check_layers'))
        (self.root / path).unlink()

    def accept(self, path, header):
        self.write(path, f'#include "{header}"\n')
        self.assertEqual(self.run_tool('check_layers'), '')

    def test_only_downwards(self):
        self.accept('src/server/a.c', 'disk/disk.h')
        self.expect('src/disk/a.c', 'server/server.h', 'a.c:1: disk may include base core; not server')
        self.expect('src/base/a.c', 'core/core.h', 'base may include nothing; not core')
        self.expect('src/server/a.c', 'core/core.h', 'server may include base disk; not core')

    def test_only_what_is_public(self):
        self.accept('src/disk/a.c', 'core/queue.h')
        self.accept('src/disk/b.c', 'disk/inside.h')
        self.expect('src/server/a.c', 'disk/inside.h', 'private to disk')
        self.expect('src/server/a.c', 'disk/none.h', 'is no file')

    def test_rpc_files_see_rpc(self):
        self.accept('src/disk/disk_rpc.c', 'rpc/rpc.h')
        self.expect('src/disk/disk.c', 'rpc/rpc.h', 'not rpc')

    def test_tests_see_their_own_and_what_is_public(self):
        self.accept('src/disk/disk_test.c', 'server/server.h')
        self.accept('src/disk/b_test.c', 'core/sim/sim.h')
        self.accept('src/disk/test_rig.h', 'server/server.h')
        self.accept('tests/sim/a.c', 'core/sim/sim.h')
        self.expect('src/server/a_test.c', 'disk/inside.h', 'private to disk')
        self.expect('src/disk/a.c', 'core/sim/sim.h', "simulator's")

    def test_seam_is_crossed_upwards_only(self):
        self.accept('src/core/os/a.c', 'core/core.h')
        self.accept('src/server/tcp/a.c', 'server/server.h')
        self.expect('src/core/a.c', 'core/os/os.h', 'a folder below core')
        self.expect('src/core/sim/a.c', 'core/os/os.h', 'a folder below core')

    def test_symbols_obey_too(self):
        self.archive('disk', 'void disk(void); void disk(void) {}')
        self.archive('core', 'void disk(void); void core(void); void core(void) { disk(); }')
        self.archive('server', 'void disk(void); void server(void); void server(void) { disk(); }')
        output = self.run_tool('check_layers')
        self.assertIn('uses disk() of disk, which core may not', output)
        self.assertNotIn('server', output)

    def archive(self, module, code):
        folder = self.root / 'build/src' / module
        folder.mkdir(parents=True)
        subprocess.run(['cc', '-c', '-x', 'c', '-', '-o', folder / 'a.o'], input=code, text=True, check=True)
        subprocess.run(['ar', 'rc', folder / f'lib{module}.a', folder / 'a.o'], check=True)


class Tidy(Tree):
    HEAD = '/* SPDX-License-Identifier: BSD-3-Clause */\n/* a.c: an example. */\n'

    def setUp(self):
        super().setUp()
        subprocess.run(['git', 'init', '-q', self.root], check=True)

    def check(self, text, path='src/nvmf/a.c'):
        self.write(path, text)
        return self.run_tool('tidy')

    def test_clean_file_is_clean(self):
        self.assertEqual(self.check(self.HEAD + 'int f(void);\n'), '')

    def test_head(self):
        self.assertIn('no SPDX', self.check('/* a.c: an example. */\n'))
        self.assertIn('what it is for', self.check(self.HEAD.replace('a.c', 'b.c')))

    def test_text(self):
        self.assertIn(':3: blanks', self.check(self.HEAD + 'int f(void); \n'))
        self.assertIn(':3: a tab after', self.check(self.HEAD + ' \tint f(void);\n'))
        self.assertIn(':3: 121 columns', self.check(self.HEAD + 'x' * 121 + '\n'))
        self.assertIn('one newline', self.check(self.HEAD + 'int f(void);'))
        self.assertIn('a note to self', self.check(self.HEAD + '/* TO' + 'DO */\n'))

    def test_length_wants_a_reason(self):
        self.assertIn('has 1003 lines', self.check(self.HEAD + 'int f(void);\n' * 1000))
        self.assertEqual(self.check(self.HEAD + '/* Long because it is one table. */\n' * 1000), '')

    def test_calls(self):
        self.assertIn(':3: strcpy()', self.check(self.HEAD + 'void f(void) { strcpy(a, b); }\n'))
        self.assertIn('time()', self.check(self.HEAD + 'void f(void) { if (time(NULL)) return; }\n'))
        self.assertIn('threads', self.check(self.HEAD + 'void f(void) { pthread_self(); }\n'))
        self.assertIn('constructors', self.check(self.HEAD + '__attribute__((constructor)) void f(void);\n'))

    def test_what_only_looks_like_a_call(self):
        self.assertEqual(self.check(self.HEAD + '/* time(NULL) */ const char *s = "rand()";\n'), '')
        self.assertEqual(self.check(self.HEAD + 'void f(void) { ops->time(1); run_time(2); ops.send(3); }\n'), '')
        self.assertEqual(self.check(self.HEAD + 'static void bind(int a)\n{\n}\nvoid f(void) { bind(1); }\n'), '')

    def test_platform_may(self):
        self.assertEqual(self.check(self.HEAD + 'void f(void) { pthread_self(); time(0); }\n', 'src/core/os/a.c'), '')


if __name__ == '__main__':
    unittest.main()
