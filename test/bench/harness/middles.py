# SPDX-License-Identifier: BSD-3-Clause
"""What stands between generator and sink: Postern, and what it is compared with.

Each has `process`es (to pause), and is ready for traffic once it is made. All are built from the
same two devices, CPUs and policy: inside may begin connections, outside only answers."""

import itertools
import json
import os
import shutil
import subprocess
import time

import bench as b
import testpmd

# How long a TCP connection that has ended is remembered. Short and the same for all, so that a
# generator of short connections does not fill the tables with dead ones.
ENDED_S = 1
# ... and a UDP flow that nobody answered.
UNANSWERED_S = 1


def configuration(devices, cpus, queues=1, helper=False, connections=1 << 20, socket='',
                  idle_sleep_us=0, expectations=65536):
    """The daemon's configuration as plain data (JSON is YAML). `devices`: inside, outside; `cpus`:
    one for each worker."""
    rules = [{'name': name, 'from': 'inside', 'to': 'outside', 'action': 'accept', **more}
             for name, more in (('udp', {'proto': 'udp'}), ('web', {'proto': 'tcp', 'dport': 80}))]
    if helper:
        rules.append({'name': 'ftp-control', 'from': 'inside', 'to': 'outside', 'proto': 'tcp',
                      'dport': 21, 'ct': ['new'], 'action': 'accept', 'helper': 'ftp'})
        rules.append({'name': 'ftp-data', 'ct': ['related'], 'related': ['ftp'],
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
                             'last_ack': ENDED_S, 'close_wait': ENDED_S},
                     'udp': {'unreplied': UNANSWERED_S}},
        'policy': {'default': 'drop', 'rules': rules},
        'control': {'socket': socket},
    }
    if helper:
        config['helpers'] = [{'name': 'ftp'}]
    return config


class Postern:
    WHO = 'Postern'
    TRANSMIT_QUEUES = 1  # that the other side has to look at

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
    TRANSMIT_QUEUES = 1

    def __init__(self, scope, name, devices, cpus, queues=1, prefix=()):
        self.testpmd = testpmd.Testpmd(
            scope, name, devices, cpus, prefix=prefix, arguments=
            ['--forward-mode=mac', f'--rxq={queues}', f'--txq={queues}', '--burst=64'])
        self.testpmd.start_forwarding()

    @property
    def processes(self):
        return [self.testpmd.process]


class OvsDpdk:
    """Open vSwitch with its userspace datapath and connection tracker. It makes interfaces of its
    own (br0), so it runs in a namespace; it needs none of the system's configuration or service."""
    WHO = 'OVS-DPDK'
    TRANSMIT_QUEUES = 2  # one for each PMD thread and one for the rest; which is whose varies
    PROGRAM = '/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk'
    SCHEMA = '/usr/share/openvswitch/vswitch.ovsschema'

    def __init__(self, scope, name, devices, cpus, prefix=()):
        for path in (self.PROGRAM, self.SCHEMA):
            if not os.path.exists(path):
                raise b.Impossible('OVS-DPDK (package openvswitch-switch-dpdk) is not installed')
        self.folder = scope.bench.path(name)
        os.makedirs(self.folder)
        env = {key: self.folder for key in ('OVS_RUNDIR', 'OVS_LOGDIR', 'OVS_DBDIR')}
        self._env = {**os.environ, **env}
        self._prefix = prefix
        database = f'{self.folder}/conf.db'
        b.lab.run('ovsdb-tool', 'create', database, self.SCHEMA)
        self.socket = f'unix:{self.folder}/db.sock'
        self.server = scope.start(f'{name}-db', *prefix, 'ovsdb-server', database,
                                  f'--remote=p{self.socket}', f'--unixctl={self.folder}/db.ctl',
                                  '--no-chdir', env=env)
        self._await(lambda: os.path.exists(f'{self.folder}/db.sock'), 'its data base')
        self._vsctl('--no-wait', 'init')
        mask = sum({1 << cpu for cpu in cpus})
        self._vsctl('--no-wait', 'set', 'Open_vSwitch', '.', 'other_config:dpdk-init=true',
                    'other_config:dpdk-extra="--no-huge --legacy-mem --no-shconf --no-pci '
                    '--no-telemetry --log-level=error -m 1024"',
                    'other_config:dpdk-lcore-mask=0x1', f'other_config:pmd-cpu-mask={mask:#x}')
        self.switch = scope.start(name, *prefix, self.PROGRAM, self.socket, '--no-chdir',
                                  f'--unixctl={self.folder}/vs.ctl', '-vconsole:err', env=env)
        self._await(lambda: os.path.exists(f'{self.folder}/vs.ctl'), 'ovs-vswitchd')
        self._vsctl('add-br', 'br0', '--', 'set', 'bridge', 'br0', 'datapath_type=netdev')
        for port, device in zip(('in0', 'out0'), devices):
            self._vsctl('add-port', 'br0', port, '--', 'set', 'Interface', port, 'type=dpdk',
                        f'options:dpdk-devargs="{device}"')
        self._vsctl('--', '--id=@d', 'create', 'Datapath', 'datapath_version=0', '--', 'set',
                    'Open_vSwitch', '.', 'datapaths:netdev=@d')
        self._vsctl('add-zone-tp', 'netdev', 'zone=0',
                    *(f'tcp_{state}={ENDED_S}' for state in ('fin_wait', 'time_wait', 'close',
                                                             'close_wait', 'last_ack')),
                    f'udp_first={UNANSWERED_S}')
        self._run('ovs-ofctl', 'del-flows', f'unix:{self.folder}/br0.mgmt')
        for flow in self.flows():
            self._run('ovs-ofctl', 'add-flow', f'unix:{self.folder}/br0.mgmt', flow)

    @staticmethod
    def refused_helpers(names):
        """Those of `names` that its connection tracker has no helper for, by its own word."""
        if shutil.which('ovs-ofctl') is None:
            return []

        def refuses(name):
            done = subprocess.run(
                ['ovs-ofctl', 'parse-flow', f'tcp,actions=ct(commit,alg={name})'],
                capture_output=True, text=True, timeout=10, check=False)
            return 'invalid conntrack helper' in done.stderr
        return [name for name in names if refuses(name)]

    @staticmethod
    def flows():
        new = 'table=1,priority=10,in_port=1,ct_state=+trk+new'
        return ['table=0,priority=10,ip,ct_state=-trk,actions=ct(table=1)',
                'table=1,priority=20,ip,ct_state=+trk+est,in_port=1,actions=output:2',
                'table=1,priority=20,ip,ct_state=+trk+est,in_port=2,actions=output:1',
                'table=1,priority=15,ip,ct_state=+trk+new+rel,in_port=1,actions=ct(commit),output:2',
                'table=1,priority=15,ip,ct_state=+trk+new+rel,in_port=2,actions=ct(commit),output:1',
                f'{new},udp,actions=ct(commit),output:2',
                f'{new},tcp,tp_dst=80,actions=ct(commit),output:2',
                f'{new},tcp,tp_dst=21,actions=ct(commit,alg=ftp),output:2',
                'table=1,priority=0,actions=drop']

    def _await(self, condition, what):
        deadline = time.monotonic() + 20
        while not condition():
            if time.monotonic() > deadline or not self.server.running():
                raise b.lab.LabError(f'{what} did not start')
            time.sleep(0.02)

    def _run(self, *argv):
        done = subprocess.run([*self._prefix, *argv], env=self._env, capture_output=True, text=True,
                              timeout=30, check=False)
        if done.returncode != 0:
            raise b.lab.LabError(f'{argv[0]} {argv[-1]}: {done.stderr.strip()[-200:]}')

    def _vsctl(self, *words):
        self._run('ovs-vsctl', f'--db={self.socket}', '--timeout=15', *words)

    @property
    def processes(self):
        return [self.switch]


class KernelRouter:
    """Linux, forwarding between two interfaces of a namespace under the same policy in nftables.
    Packets are worked on by the CPUs given (receive packet steering)."""
    WHO = 'Linux nftables'

    def __init__(self, scope, wire, cpus):
        if shutil.which('nft') is None:
            raise b.Impossible('nft (package nftables) is not installed')
        wire.route()
        for name, value in (('ip_forward', 1), ('conf.all.rp_filter', 0),
                            ('conf.m0.rp_filter', 0), ('conf.m1.rp_filter', 0)):
            wire.middle('sysctl', '-qw', f'net.ipv4.{name}={value}')
        for state in ('fin_wait', 'time_wait', 'close', 'close_wait', 'last_ack'):
            wire.middle('sysctl', '-qw',
                        f'net.netfilter.nf_conntrack_tcp_timeout_{state}={ENDED_S}', check=False)
        wire.middle('sysctl', '-qw', f'net.netfilter.nf_conntrack_udp_timeout={UNANSWERED_S}',
                    check=False)
        rules = scope.bench.write(f'{wire.names[1]}.nft', '''
table inet fw {
    ct helper ftp { type "ftp" protocol tcp; }
    chain helpers {
        type filter hook prerouting priority -150;
        iifname "m0" tcp dport 21 ct state new ct helper set "ftp"
    }
    chain forward {
        type filter hook forward priority 0; policy drop;
        ct state established,related accept
        iifname "m0" meta l4proto udp ct state new accept
        iifname "m0" tcp dport { 21, 80 } ct state new accept
    }
}
''')
        wire.middle('nft', '-f', rules)
        mask = f'{sum({1 << cpu for cpu in cpus}):x}'
        for device in ('m0', 'm1'):
            wire.middle('sh', '-c', f'echo {mask} > /sys/class/net/{device}/queues/rx-0/rps_cpus')

    processes = ()


_serial = itertools.count(1)


def namespace(scope, host):
    """A network namespace that goes with the scope; its name. `host` is inside or middle: names that
    the laboratory's own cleaning recognises, should we be killed."""
    problem = b.lab.why_impossible()
    if problem:
        raise b.Impossible(problem)
    name = f'pst-{host}-{os.getpid()}-{next(_serial)}'
    b.lab.run('ip', 'netns', 'add', name)
    scope.at_end(lambda: b.lab.remove_namespace(name))
    b.lab.run('ip', 'netns', 'exec', name, 'sysctl', '-qw', 'net.ipv6.conf.all.disable_ipv6=1',
              'net.ipv6.conf.default.disable_ipv6=1')
    return name


def in_namespace(name):
    """What puts a command before it runs there."""
    return ('ip', 'netns', 'exec', name)


class Veth:
    """Two veth pairs between two namespaces: the generator's (g0, g1) and the middle's (m0, m1)."""
    TO_SERVER, TO_CLIENT = '02:00:00:00:00:02', '02:00:00:00:00:01'

    def __init__(self, scope):
        self.names = [namespace(scope, 'inside'), namespace(scope, 'middle')]
        for n in range(2):
            b.lab.run('ip', '-n', self.names[0], 'link', 'add', f'g{n}', 'type', 'veth', 'peer',
                      'name', f'm{n}', 'netns', self.names[1])
            for name, device in zip(self.names, (f'g{n}', f'm{n}')):
                self.on(name, 'ethtool', '-K', device, 'tx', 'off', 'rx', 'off', 'tso', 'off',
                        'gso', 'off', 'gro', 'off', check=False)
                b.lab.run('ip', '-n', name, 'link', 'set', device, 'up', 'promisc', 'on')

    def on(self, name, *argv, check=True):
        return b.lab.run('ip', 'netns', 'exec', name, *argv, check=check)

    def middle(self, *argv, check=True):
        return self.on(self.names[1], *argv, check=check)

    def route(self):
        """Addresses, routes and neighbours for a router in the middle. The generator's addresses
        are those of traffic.cc: 10.0.0.0/8 inside, 198.18.0.0/16 outside."""
        for device, own, hop, net, mac in (
                ('m0', '192.0.2.254', '192.0.2.1', '10.0.0.0/8', self.TO_CLIENT),
                ('m1', '203.0.113.254', '203.0.113.1', '198.18.0.0/16', self.TO_SERVER)):
            self.middle('ip', 'addr', 'add', f'{own}/24', 'dev', device)
            self.middle('ip', 'neigh', 'replace', hop, 'lladdr', mac, 'dev', device, 'nud',
                        'permanent')
            self.middle('ip', 'route', 'add', net, 'via', hop, 'dev', device)

    def mac(self, device):
        return self.middle('cat', f'/sys/class/net/{device}/address').stdout.strip()


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
