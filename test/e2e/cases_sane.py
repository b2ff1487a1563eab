# SPDX-License-Identifier: BSD-3-Clause
"""Scanning over the network: saned with its test backend outside, scanimage inside. The image comes
by a connection to a port that saned names when it is asked to start."""

import functools
import os
import subprocess

import lab as laboratory
from cases import pair
from middle import Setting

LONG_ENOUGH_S = 20
SCAN = ['--mode', 'Color', '--test-picture', 'Color pattern', '--resolution', '50',
        '-x', '60', '-y', '60', '--format', 'pnm']


class Saned:
    """saned on the outside host, on both families."""

    def __init__(self, lab, port):
        self.port = port
        for folder, files in {
                'saned': {'dll.conf': 'test\n', 'test.conf': 'number_of_devices 1\n',
                          'saned.conf': f'{laboratory.INSIDE4}\n{laboratory.INSIDE6}\n'},
                'scanimage': {'dll.conf': 'net\n', 'net.conf': 'connect_timeout = 3\n'}}.items():
            os.makedirs(lab.path(folder))
            for name, text in files.items():
                lab.write(os.path.join(folder, name), text)
        self.env = {**os.environ, 'SANE_CONFIG_DIR': lab.path('saned')}
        # What a scan of this device looks like when no network is in between.
        self.picture = subprocess.run(['scanimage', '-d', 'test:0', *SCAN], env=self.env,
                                      capture_output=True, timeout=LONG_ENOUGH_S, check=True).stdout
        process = lab.start('saned', 'outside', 'saned', '--listen', '--stderr', '--debug=3',
                            f'--port={port}', env=self.env)
        process.await_output('waiting for control connection')


def scan(family, bench, timeout_s):
    bench.server(Saned)
    host = laboratory.OUTSIDE4 if family == 4 else f'[{laboratory.OUTSIDE6}]'
    name = f'scanimage-{family}'
    target = bench.lab.path(f'{name}.pnm')
    env = {**os.environ, 'SANE_CONFIG_DIR': bench.lab.path('scanimage')}
    # It takes a TERM for a wish to cancel, and waits for the server's consent.
    client = bench.lab.start(name, 'inside', 'timeout', '-s', 'KILL',
                             str(timeout_s or LONG_ENOUGH_S), 'scanimage',
                             '-d', f'net:{host}:test:0', *SCAN, '-o', target, env=env)

    def problem():
        code = client.wait(LONG_ENOUGH_S + 5)
        if code != 0:
            return f'scanimage ended with exit code {code}: {client.stderr}'
        with open(target, 'rb') as file:
            same = file.read() == bench.server(Saned).picture
        return None if same else 'the picture is not the one that was scanned'
    return problem


def cases():
    return [case for workers in (1, 3) for family in (4, 6)
            for case in pair(f'sane/{workers}-workers/ipv{family}',
                             Setting(service='sane', workers=workers),
                             functools.partial(scan, family))]
