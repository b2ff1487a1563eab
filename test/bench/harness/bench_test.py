# SPDX-License-Identifier: BSD-3-Clause
"""scripts/bench.sh in small: that it makes its tables, JSON and plots, says where it is, and leaves
nothing behind, also when it is interrupted. Not how fast anything is."""

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
import unittest
import xml.etree.ElementTree

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import against  # noqa: E402
import results  # noqa: E402
import svg  # noqa: E402

SCRIPT = os.path.join(HERE, '..', '..', '..', 'scripts', 'bench.sh')


def start(case, folder, *words):
    """Ends with the test case, whatever comes of that."""
    run = subprocess.Popen([SCRIPT, '--tiny', '--output', folder, *words], text=True,
                           stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                           stderr=subprocess.PIPE)

    def end():
        if run.poll() is None:
            run.send_signal(signal.SIGINT)
        run.wait(30)
        run.stderr.close()
    case.addCleanup(end)
    return run


def left_behind(pid):
    """Processes and folders of the run with this process id."""
    mark = f'postern-bench-{pid}-'.encode()
    found = [name for name in os.listdir(tempfile.gettempdir()) if name.startswith(mark.decode())]
    for name in os.listdir('/proc'):
        try:
            with open(f'/proc/{name}/environ', 'rb') as file:
                if name.isdigit() and mark in file.read():
                    found.append(f'process {name}')
        except OSError:
            pass
    return found


class Whole(unittest.TestCase):
    def test_makes_tables_and_plots_and_cleans_up(self):
        with tempfile.TemporaryDirectory() as folder:
            run = start(self, folder)
            _, said = run.communicate(timeout=240)
            self.assertEqual(run.returncode, 0, said)
            self.assertRegex(said, r'(?m)^\[1/\d+\] .* \d+:\d\d left$')
            with open(os.path.join(folder, 'latest.json'), encoding='utf-8') as file:
                data = json.load(file)
            rows = [row for section in data['sections'] for row in section['rows']]
            for row in rows:
                self.assertTrue(row.get('values') or row.get('note'), row)
            measured = [row for row in rows if row.get('values')]
            self.assertGreater(len(measured), 10)
            for key in ('cpu', 'kernel', 'dpdk', 'commit'):
                self.assertTrue(data['machine'][key], key)
            with open(os.path.join(folder, 'latest.md'), encoding='utf-8') as file:
                page = file.read()
            for section in data['sections']:
                self.assertIn(section['title'], page)
            for name in ('cycles.svg', 'memory.svg'):
                xml.etree.ElementTree.parse(os.path.join(folder, name))
                self.assertIn(f'({name})', page)
            self.assertEqual(left_behind(run.pid), [])

    def test_interrupted(self):
        with tempfile.TemporaryDirectory() as folder:
            run = start(self, folder, '--only', 'ports', '--rounds', '1000')
            said, deadline = '', time.monotonic() + 60
            while 'run ' not in said:
                self.assertLess(time.monotonic(), deadline, said)
                if select.select([run.stderr], [], [], 0.5)[0]:
                    line = run.stderr.readline()
                    self.assertTrue(line, f'it ended: {said}')
                    said += line
            self.assertNotEqual(left_behind(run.pid), [])  # this test sees what it looks for
            run.send_signal(signal.SIGINT)
            _, rest = run.communicate(timeout=30)
            self.assertEqual(run.returncode, 130, rest)
            self.assertIn('interrupted', rest)
            self.assertEqual(os.listdir(folder), [])
            self.assertEqual(left_behind(run.pid), [])


class Parts(unittest.TestCase):
    def test_ratio_is_of_the_same_round(self):
        reference = results.Row('a', values=[10, 20, 40])
        row = results.Row('b', values=[20, 40, 80], reference=reference)
        self.assertEqual(row.ratio(), 2)
        self.assertEqual(row.median(), 40)
        self.assertEqual((row.best(True), row.best(False)), (80, 20))
        self.assertEqual(row.spread(), 1.5)

    def test_interleaves(self):
        order, rows = [], [results.Row('x', 'A'), results.Row('x', 'B')]
        results.interleave([(row, lambda row=row: order.append(row.who) or 1.0) for row in rows], 3,
                           lambda text, fraction: None)
        self.assertEqual(order, ['A', 'B', 'B', 'A', 'A', 'B'])
        self.assertEqual([len(row.values) for row in rows], [3, 3])

    def test_plot(self):
        text = svg.plot('a < b', 'x', 'y', {'one': [(1, 5), (1000, 7)], 'none': []}, log_y=True)
        root = xml.etree.ElementTree.fromstring(text)
        lines = root.findall('{http://www.w3.org/2000/svg}polyline')
        self.assertEqual(len(lines), 1)
        self.assertIsNone(svg.plot('t', 'x', 'y', {'none': []}))


class Against(unittest.TestCase):
    def test_a_commit_that_is_not_there(self):
        run = subprocess.run([SCRIPT, '--against', 'no-such-commit'], text=True, check=False,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
        self.assertEqual(run.returncode, 1)
        self.assertIn('--against no-such-commit: git knows no such commit', run.stderr)

    def test_table(self):
        found = {('path_bench', ('faster', 1000)): {'old': [200, 210], 'new': [100, 105]},
                 ('path_bench', ('lost packets', 0)): {'old': [0, 4], 'new': [2, 2]},
                 ('mix_bench', ('new row', 0)): {'new': [1]}}
        lines = against.compared(found, 'old', 'new')
        self.assertEqual(lines[1].split(), ['faster', '1000', '200.0', '100.0', '0.500', '0.500'])
        self.assertEqual(lines[2].split(), ['lost', 'packets', '0.0', '2.0', '-', '-'])
        self.assertIn('only in one of the two', lines[3])
        self.assertEqual(against.compared({}, 'old', 'new'), ['no program has such a row'])


if __name__ == '__main__':
    unittest.main()
