#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The programs on processors that announce less than this one, as hypervisors make them: emulated
by qemu-x86_64. Exit code 77: skipped.

What is compiled in has to be there, or one sentence says what is missing; everything else has to be
dispensable. The emulator refuses instructions that the processor does not announce.
"""
import os
import shutil
import subprocess
import sys
import unittest

HERE = os.path.dirname(os.path.realpath(__file__))
BUILD = os.environ.get('POSTERN_BUILD', os.path.join(HERE, '../build'))
EMULATOR = 'qemu-x86_64'
CONFIGURATION = os.path.join(HERE, '../conf/bridge.yaml')
# What the build's x86-64-v3 does not contain, and some hypervisors hide: time stamps with the
# processor's number, random numbers, carry-less products, AES.
HIDDEN = 'max,-rdtscp,-rdrand,-rdseed,-pclmulqdq,-aes,-sha-ni,-vaes,-vpclmulqdq,-fsgsbase,-adx,-erms'


def on(cpu, program, *arguments):
    return subprocess.run([EMULATOR, '-cpu', cpu, os.path.join(BUILD, program), *arguments],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, timeout=240)


class Processor(unittest.TestCase):
    def ends_with_one_sentence(self, cpu, program, *features):
        done = on(cpu, program, 'check', CONFIGURATION)
        self.assertEqual((done.returncode, done.stdout), (1, ''), done)
        self.assertEqual(done.stderr.count('\n'), 1, done.stderr)
        self.assertIn('compiled for processors with ', done.stderr)
        for feature in features:
            self.assertIn(feature, done.stderr)

    def test_without_what_is_compiled_in(self):
        for program in ('app/postern', 'app/posternctl', 'test/bench/path_count'):
            self.ends_with_one_sentence('max,-avx2', program, 'with AVX2, ')
        self.ends_with_one_sentence('max,-bmi2', 'app/postern', 'with BMI2, ')
        # A processor of 2008.
        self.ends_with_one_sentence('max,-xsave,-avx,-avx2,-fma,-f16c,-bmi1,-bmi2,-movbe,-abm',
                                    'app/postern', 'AVX', 'AVX2', ' and ')

    def test_without_what_hypervisors_hide(self):
        done = on(HIDDEN, 'app/postern', 'check', CONFIGURATION)
        self.assertEqual((done.returncode, done.stderr), (0, ''), done)
        # Workers, helpers' patterns, the expectation table, tracking: a whole firewall.
        done = on(HIDDEN, 'test/bench/path_count', 'helped-ftp')
        self.assertEqual((done.returncode, done.stdout), (0, '4096\n'), done)


if __name__ == '__main__':
    if shutil.which(EMULATOR) is None:
        print(f'no {EMULATOR} here')
        sys.exit(77)
    unittest.main()
