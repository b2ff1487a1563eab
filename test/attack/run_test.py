#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""That the driver of attacks says what an attack found, and does not take a failure for a success."""

import os
import subprocess
import sys
import unittest
from unittest import mock

import kit
import run

KINDS = {
    'holds': lambda firewall: None,
    'holds_too': lambda firewall: ['', ''],
    'opens': lambda firewall: ['a port', '', 'another\nport'],
    'drops': lambda firewall: kit.Answers([{'type': 'packet', 'n': 3, 'verdict': 'drop',
                                            'reason': 'policy'}]).must_pass(),
    'breaks': lambda firewall: firewall.replay({}, b''),
    'skips': lambda firewall: (_ for _ in ()).throw(kit.Skipped('no root')),
}
SAID = {
    'holds': ('ok', ''),
    'holds_too': ('ok', ''),
    'opens': ('not ok', 'a port; another port'),
    'drops': ('not ok', 'honest traffic does not pass: packet 3 is dropped (policy)'),
    'breaks': ('not ok', 'cannot tell: replay ends with 1:'),
    'skips': ('skip', 'no root'),
}


class Driver(unittest.TestCase):
    def setUp(self):
        attacks = {f'x/{name}': kit.Attack(f'x/{name}', 'what', function, name == 'opens', False)
                   for name, function in KINDS.items()}
        patch = mock.patch.dict(kit.ATTACKS, attacks, clear=True)
        patch.start()
        self.addCleanup(patch.stop)

    def test_results(self):
        for name, (verdict, what) in SAID.items():
            got = run.carry_out((f'x/{name}', '/bin/false'))
            self.assertEqual(got[:2], (verdict, f'x/{name}'))
            self.assertEqual(got[2][:len(what) or None], what)

    def test_choice(self):
        names = lambda *arguments: [attack.name for attack in run.choose(*arguments)]
        self.assertEqual(len(names([], False)), len(KINDS))
        self.assertEqual(names(['x'], True), ['x/opens'])
        self.assertEqual(names(['drops', 'x/holds', 'drops'], False), ['x/drops', 'x/holds'])
        with self.assertRaisesRegex(ValueError, 'hold'):
            names(['hold'], False)

    def test_each_attack_says_what_it_opens(self):
        with self.assertRaisesRegex(ValueError, 'docstring'):
            kit.attack()(lambda firewall: None)

    def test_exit_code(self):
        script = os.path.join(kit.HERE, 'run.py')
        for arguments, code in ((['--list'], 0), (['no such attack'], 2),
                                (['--against', '/nowhere'], 2)):
            done = subprocess.run([sys.executable, '-B', script, *arguments], capture_output=True,
                                  text=True, timeout=60, check=False)
            self.assertEqual(done.returncode, code, done.stderr)


if __name__ == '__main__':
    unittest.main()
