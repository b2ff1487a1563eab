#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""That instructions.py fails when a path got dearer, says where, and does not when it did not.

It is run on one path, with baselines made up from what it counts now. Exit code 77: skipped.
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

import instructions

HERE = os.path.dirname(os.path.realpath(__file__))
BUILD = os.environ.get('POSTERN_BUILD', os.path.join(HERE, '../../build'))
PATH = 'dropped-udp4'
GROWN = 'lib/net/parse_plain.h'


def guard(baseline, *options, build=BUILD):
    done = subprocess.run([sys.executable, os.path.join(HERE, 'instructions.py'), '--build', build,
                           '--baseline', baseline, *options, PATH],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=200)
    return done.returncode, done.stdout


class Guard(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.baseline = os.path.join(self.folder.name, 'baseline.json')
        code, said = guard(self.baseline, '--update')
        self.assertEqual(code, 0, said)
        with open(self.baseline) as f:
            self.counted = json.load(f)

    def doctored(self, by):
        """The guard's answer to a baseline in which one file had only this share of its cost."""
        doctored = json.loads(json.dumps(self.counted))
        counts = doctored['paths'][PATH]
        whole = sum(counts.values())
        # So that the whole path is `by` dearer now than in the baseline.
        counts[GROWN] = round(counts[GROWN] - whole * (1 - 1 / (1 + by)), 1)
        with open(self.baseline, 'w') as f:
            json.dump(doctored, f)
        return guard(self.baseline)

    def test_all(self):
        code, said = guard(self.baseline)
        self.assertEqual((code, said), (0, f'ok instructions/{PATH}\n'))

        code, said = self.doctored(by=0.005)
        self.assertEqual((code, said), (0, f'ok instructions/{PATH}\n'), 'within the tolerance')

        code, said = self.doctored(by=0.02)
        self.assertEqual(code, 1, said)
        first, head, *rows = said.splitlines()
        self.assertTrue(first.startswith(f'not ok instructions/{PATH} '), said)
        self.assertIn('(+2.0%)', first)
        self.assertEqual(head.split(), ['#', 'before', 'now', 'change'])
        self.assertEqual([row.split()[-1] for row in rows], [GROWN], 'what grew, and nothing else')

        code, said = self.doctored(by=-0.04)
        self.assertEqual(code, 0, said)
        self.assertIn('better', said)

        del self.counted['paths'][PATH]
        self.counted['paths']['another'] = {GROWN: 1.0}
        with open(self.baseline, 'w') as f:
            json.dump(self.counted, f)
        code, said = guard(self.baseline)
        self.assertEqual(code, 1, said)
        self.assertIn('has no baseline', said)

    def test_a_baseline_of_another_build(self):
        """For the build that everybody makes it is an error; others are not compared."""
        kind = self.counted['build']
        if 'clang' in kind['compiler']:
            self.skipTest('the default build is of g++')
        defaults = instructions.default_options()
        self.counted['build'] = {'compiler': kind['compiler'],
                                 'options': defaults | {'cpu': 'another one'}}
        with open(self.baseline, 'w') as f:
            json.dump(self.counted, f)

        code, said = guard(self.baseline, build=self.build_with(defaults))
        differs = f"(cpu: another one, now {defaults['cpu']})"
        self.assertEqual((code, said), (
            1, f'not ok instructions the baseline is not of the default build {differs}: '
               'test/bench/instructions.py --update\n'))

        code, said = guard(self.baseline, build=self.build_with(defaults | {'optimization': '3'}))
        self.assertEqual(code, 0, said)
        self.assertTrue(said.startswith('skip instructions '), said)

        os.remove(self.baseline)
        code, said = guard(self.baseline, build=self.build_with(defaults))
        self.assertEqual(code, 1, said)

        self.counted['build'] = {'compiler': 'another one', 'options': defaults}
        with open(self.baseline, 'w') as f:
            json.dump(self.counted, f)
        code, said = guard(self.baseline, build=self.build_with(defaults))
        self.assertEqual(code, 0, said)
        self.assertIn('compiler: another one', said)

    def test_last_words(self):
        """A program that ends too early is quoted, not valgrind's empty sum."""
        folder = self.build_with({})
        program = os.path.join(folder, 'test/bench/path_count')
        os.remove(program)
        source = os.path.join(folder, 'ends.c')
        with open(source, 'w') as f:
            f.write('#include <stdio.h>\n'
                    'int main(int n, char** words) {\n'
                    '    if (words[1][0] == \'i\') __asm__(".byte 0x0f, 0x0b");\n'
                    '    return fprintf(stderr, "no memory\\nfor %s\\n", words[1]) != 0 ? 3 : n;\n'
                    '}\n')
        subprocess.run(['cc', '-o', program, source], check=True)

        with self.assertRaises(RuntimeError) as raised:
            instructions.count(program, 'packets')
        self.assertEqual(str(raised.exception),
                         'it failed with exit code 3; no memory; for packets')

        with self.assertRaises(RuntimeError) as raised:
            instructions.count(program, 'illegal')
        said = str(raised.exception)
        self.assertTrue(said.startswith('it failed with signal '), said)
        self.assertIn('(SIGILL)', said)
        self.assertIn(': main (', said, 'where')
        self.assertNotIn('refs', said)

    def build_with(self, options):
        """A folder like one built with these options."""
        folder = tempfile.mkdtemp(dir=self.folder.name)
        os.makedirs(os.path.join(folder, 'test/bench'))
        os.symlink(os.path.join(os.path.realpath(BUILD), 'test/bench/path_count'),
                   os.path.join(folder, 'test/bench/path_count'))
        os.mkdir(os.path.join(folder, 'meson-info'))
        with open(os.path.join(folder, 'meson-info/intro-buildoptions.json'), 'w') as f:
            json.dump([{'name': name, 'value': value} for name, value in options.items()], f)
        return folder


if __name__ == '__main__':
    if shutil.which('valgrind') is None:
        print('no valgrind here')
        sys.exit(77)
    unittest.main()
