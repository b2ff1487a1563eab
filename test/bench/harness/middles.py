# SPDX-License-Identifier: BSD-3-Clause
"""What stands between generator and sink: Postern, and what it is compared with.

Each has `process`es (to pause), and is ready for traffic once it is made. All are built from the
same two devices, CPUs and policy: inside may begin connections, outside only answers."""

import json
import os
import subprocess

import bench as b
import testpmd

# How long a TCP connection that has ended is remembered. Short and the same for all, so that a
# generator of short connections does not fill the tables with dead ones.
ENDED_S = 1


def configuration(devices, cpus, queues=1, helper=False, connections=1 << 20, socket='',
                  idle_sleep_us=0, expectations=65536):
    """The daemon's configuration as plain data (JSON is YAML). `devices`: inside, outside; `cpus`:
    one for each worker."""
    rules = []
    if helper:
        rules.append({'name': 'ftp-control', 'from': 'inside', 'to': 'outside', 'proto': 'tcp',
                      'dport': 21, 'ct': ['new'], 'action': 'accept', 'helper': 'ftp'})
        rules.append({'name': 'ftp-data', 'ct': ['related'], 'related': ['ftp'],
                      'action': 'accept'})
    else:
        rules.append({'name': 'all-from-inside', 'from': 'inside', 'to': 'outside',
                      'action': 'accept'})
    config = {
        'eal': {'hugepages': 'auto', 'memory_mb': 320 + connections * 300 // (1 << 20)},
        'workers': {'count': len(cpus), 'cpus': cpus, 'main_cpu': 0, 'burst': 64,
                    'idle': {'spins': 1000, 'sleep_us': idle_sleep_us}},
        'zones': ['inside', 'outside'],
        'ports': [{'name': 'in0', 'device': devices[0], 'zone': 'inside', 'queues': queues},
                  {'name': 'out0', 'device': devices[1], 'zone': 'outside', 'queues': queues}],
        'bridges': [{'ports': ['in0', 'out0'], 'pass': 'all'}],
        'limits': {'connections': connections,
                   'expectations': expectations if helper else 1024,
                   'helped_connections': 65536 if helper else 1024},
        'timeouts': {'tcp': {'close': ENDED_S, 'time_wait': ENDED_S, 'fin_wait': ENDED_S,
                             'last_ack': ENDED_S, 'close_wait': ENDED_S}},
        'policy': {'default': 'drop', 'rules': rules},
        'control': {'socket': socket},
    }
    if helper:
        config['helpers'] = [{'name': 'ftp'}]
    return config


class Postern:
    WHO = 'Postern'

    def __init__(self, scope, name, devices, cpus, prefix=(), **more):
        socket = scope.bench.path(f'{name}.sock')
        config = configuration(devices, cpus, socket=socket, **more)
        path = scope.bench.write(f'{name}.yaml', json.dumps(config, indent=1) + '\n')
        self.socket = socket
        self.ctl = scope.bench.program('app', 'posternctl')
        self.process = scope.start(name, *prefix, scope.bench.program('app', 'postern'), 'run',
                                   path)
        self.process.await_output(r'\bready\b', 30)

    @property
    def processes(self):
        return [self.process]

    def counters(self):
        """All counters, summed over the workers."""
        done = subprocess.run([self.ctl, '-s', self.socket, '--json', 'stats'], timeout=20,
                              capture_output=True, text=True, check=True)
        sums = {}
        for line in done.stdout.splitlines():
            row = json.loads(line)
            sums[row['name']] = sums.get(row['name'], 0) + row['value']
        return sums


class Ceiling:
    """testpmd that sends every frame out of the other port: what ports and generator can do."""
    WHO = 'testpmd mac'

    def __init__(self, scope, name, devices, cpus, queues=1):
        self.testpmd = testpmd.Testpmd(
            scope, name, devices, cpus,
            ['--forward-mode=mac', f'--rxq={queues}', f'--txq={queues}', '--burst=64'])
        self.testpmd.start_forwarding()

    @property
    def processes(self):
        return [self.testpmd.process]


def memif(role, side, socket, number):
    return f'net_memif{number},role={role},id=0,socket={socket}-{side}'


def vhost_server(path, number, queues):
    return f'net_vhost{number},iface={path},queues={queues}'


def vhost_client(path, number, queues):
    return f'net_virtio_user{number},path={path},queues={queues},queue_size=1024'


def cpus_for(count):
    """CPUs for the workers of the middle: the generator has the first one to itself if it can."""
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) == 1:
        raise b.Impossible('needs two CPUs')
    return [allowed[1:][i % (len(allowed) - 1)] for i in range(count)] if count < len(allowed) \
        else [allowed[i % len(allowed)] for i in range(count)]
