#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Says whether a running daemon shows a metric: test/trials/has_metric.py BUILD NAME"""
import json
import os
import select
import subprocess
import sys
import tempfile

CONFIG = """
eal: {{hugepages: no, memory_mb: 64}}
zones: [inside, outside]
ports:
  - {{name: in0, device: net_null0, zone: inside}}
  - {{name: out0, device: net_null1, zone: outside}}
bridges: [{{ports: [in0, out0]}}]
limits: {{connections: 1K, expectations: 256, helped_connections: 64}}
policy: {{rules: [{{name: all, action: accept}}]}}
control: {{socket: {socket}}}
"""
WAIT_S = 60


def wait_until_it_runs(daemon):
    """It says when its control socket answers."""
    said = b''
    while b'postern: ready' not in said:
        if not select.select([daemon.stdout], [], [], WAIT_S)[0]:
            sys.exit(f'the daemon does not start: {said!r}')
        got = os.read(daemon.stdout.fileno(), 65536)
        if not got:
            sys.exit(f'the daemon ended: {said!r}')
        said += got


def main():
    build, name = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        socket = os.path.join(folder, 'control.sock')
        config = os.path.join(folder, 'trial.yaml')
        with open(config, 'w', encoding='utf-8') as file:
            file.write(CONFIG.format(socket=socket))
        with subprocess.Popen([f'{build}/app/postern', 'run', config], stdout=subprocess.PIPE) as daemon:
            try:
                wait_until_it_runs(daemon)
                said = subprocess.run([f'{build}/app/posternctl', '--socket', socket, '--json',
                                       'metrics'], stdout=subprocess.PIPE, text=True, check=True)
            finally:
                daemon.terminate()
    names = {json.loads(line).get('name') for line in said.stdout.splitlines()}
    sys.exit(0 if name in names else f'there is no metric {name} among {sorted(map(str, names))}')


if __name__ == '__main__':
    main()
