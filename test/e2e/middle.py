# SPDX-License-Identifier: BSD-3-Clause
"""What stands between the two hosts: Postern, or something to compare it with.

Postern       the daemon under test.
Wire          dpdk-testpmd that copies every frame: shows that a case which fails behind Postern does
              not fail because of the laboratory, the servers or the clients.
LinuxBridge   the kernel's own bridge, conntrack and helpers under the same policy: shows that a case
              asks for what a firewall with helpers does.

All of them are made from one Setting and have the same four members: start(lab), stop(), `problems`
(what to say if something went wrong) and CAPABLE, the things that a case may need of them.
"""

import dataclasses
import json
import os
import shutil
import signal
import subprocess

import lab as laboratory

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get('POSTERN_BUILD', os.path.join(ROOT, 'build'))
POSTERN = os.path.join(BUILD, 'app', 'postern')
POSTERNCTL = os.path.join(BUILD, 'app', 'posternctl')


# By helper: what its control connections run over, and their usual port.
SERVICES = {'ftp': ('tcp', 21), 'tftp': ('udp', 69), 'sane': ('tcp', 6566),
            'amanda': ('udp', 10080), 'irc': ('tcp', 6667), 'rtsp': ('tcp', 554),
            'sip': ('udp tcp', 5060), 'pptp': ('tcp', 1723), 'netbios': ('udp', 137),
            'snmp': ('udp', 161)}
# Services of several helpers: transports, port, helper, and the kernel's name of it.
COMPOUNDS = {'h323': [(['udp'], 1719, 'ras', 'RAS'), (['tcp'], 1720, 'q931', 'Q.931')]}
COMPOUNDS['flooded'] = [(['tcp'], 21, 'ftp', 'ftp'), (['udp', 'tcp'], 5060, 'sip', 'sip'),
                        *COMPOUNDS['h323']]


@dataclasses.dataclass(frozen=True)
class Setting:
    """One way to set up the middle. Cases with equal settings share one run of it."""
    workers: int = 2
    helper: bool = True
    # control: only control ports may be new. inside: everything from inside may be new.
    policy: str = 'control'
    default: str = 'drop'
    service: str = 'ftp'  # whose control port it is: one of SERVICES or COMPOUNDS
    control_port: int = 0  # 0: the usual one
    params: tuple = ()     # of the helper: pairs of a name and a value
    server: str = 'vsftpd'  # FTP's: vsftpd | proftpd | pure-ftpd
    passes: tuple = ('arp', 'nd')
    vlan: int = 0
    driver: str = 'af_packet'  # or pcap
    rules: tuple = ()     # further ones, as JSON, before the others
    idle_s: int = 0       # silence after which an established TCP connection ends; 0: the default

    def name(self):
        words = [f'{self.workers}w', self.policy]
        words += [self.service] if self.service != 'ftp' else []
        words += [self.default] if self.default != 'drop' else []
        words += [self.server] if self.server != 'vsftpd' else []
        words += [f'port{self.control_port}'] if self.control_port else []
        words += [f'{key}-{value}' for key, value in self.params]
        words += ['pass-' + ('-'.join(self.passes) or 'none')] if self.passes != ('arp', 'nd') else []
        words += [self.driver] if self.driver != 'af_packet' else []
        words += [f'rules{len(self.rules)}'] if self.rules else []
        words += [f'vlan{self.vlan}'] if self.vlan else []
        words += [f'idle{self.idle_s}'] if self.idle_s else []
        words += ['helper' if self.helper else 'no-helper']
        return '-'.join(words)

    @property
    def transports(self):
        return SERVICES[self.service][0].split()

    @property
    def port(self):
        return self.control_port or SERVICES[self.service][1]

    def controls(self):
        """[(transports, port, helper, the kernel's name of it)] of control connections."""
        return COMPOUNDS.get(self.service) or [(self.transports, self.port, self.service,
                                                self.service)]


def device_of(setting, number, interface):
    if setting.driver == 'pcap':
        return f'net_pcap{number},rx_iface_in={interface},tx_iface={interface}'
    return f'net_{setting.driver}{number},iface={interface}'


def configuration(setting, socket_path):
    """The daemon's configuration as plain data (JSON is YAML, so it needs no writer)."""
    controls = [{'name': f'{helper}-control', 'from': 'inside', 'to': 'outside',
                 'proto': transports, 'dport': port, 'ct': ['new'], 'action': 'accept',
                 **({'helper': helper} if setting.helper else {})}
                for transports, port, helper, _ in setting.controls()]
    rules = [*map(json.loads, setting.rules), *controls]
    if setting.policy == 'inside':
        rules.append({'name': 'inside-out', 'from': 'inside', 'to': 'outside', 'ct': ['new'],
                      'action': 'accept'})
    config = {
        'eal': {'hugepages': 'no', 'memory_mb': 512},
        'workers': {'count': setting.workers, 'idle': {'spins': 100, 'sleep_us': 50}},
        'ports': [
            {'name': 'in0', 'device': device_of(setting, 0, 'pst-in'), 'zone': 'inside',
             'queues': 1},
            {'name': 'out0', 'device': device_of(setting, 1, 'pst-out'), 'zone': 'outside',
             'queues': 1},
        ],
        'zones': ['inside', 'outside'],
        'bridges': [{'ports': ['in0', 'out0'], 'pass': list(setting.passes)}],
        'limits': {'connections': 65536, 'expectations': 4096, 'helped_connections': 1024},
        # A connection that was reset or closed is soon gone: some cases wait for that.
        'timeouts': {'tcp': {'close': 1, 'time_wait': 1}},
        'policy': {'default': setting.default, 'rules': rules},
        'control': {'socket': socket_path},
    }
    if setting.vlan:
        config['bridges'][0].update(ct_zone=0, vlan_zones='per_vlan')
    if setting.idle_s:
        config['timeouts']['tcp'].update(dict.fromkeys(
            ('established', 'unacknowledged', 'retransmitted'), setting.idle_s))
    if setting.helper:
        config['helpers'] = [{'name': helper, 'ports': [port], 'params': dict(setting.params)}
                             for _, port, helper, _ in setting.controls()]
        rules.append({'name': f'{setting.service}-data', 'ct': ['related'],
                      'related': [helper for _, _, helper, _ in setting.controls()],
                      'action': 'accept'})
    return config


class Postern:
    # streams: reads control messages that are cut into segments.
    CAPABLE = {'helper', 'no-helper', 'control-socket', 'pass-list', 'streams'}

    def __init__(self, setting=None, config=None, config_path=None, name='postern', options=()):
        self.setting, self.config, self.config_path = setting, config, config_path
        self.name, self.options = name, options  # of `postern run`
        self.lab = self.process = None

    @staticmethod
    def missing():
        for path in (POSTERN, POSTERNCTL):
            if not os.access(path, os.X_OK):
                return f'{os.path.relpath(path, ROOT)} is not built'
        return None

    @property
    def socket_path(self):
        return self.lab.path(f'{self.name}.sock')

    def launch(self, lab, by=lambda argv: argv):
        """Starts the process without waiting for it; `by` makes the command that starts it."""
        self.lab = lab
        if self.config_path is None:
            config = self.config or configuration(self.setting, self.socket_path)
            self.config_path = lab.write(f'{self.name}.yaml', json.dumps(config, indent=2) + '\n')
        # DPDK keeps its run-time files below this folder, apart from those of other programs.
        os.makedirs(lab.path('run'), exist_ok=True)
        self.process = lab.start(self.name, 'middle',
                                 *by([POSTERN, 'run', *self.options, self.config_path]),
                                 env={**os.environ, 'RUNTIME_DIRECTORY': lab.path('run')})
        return self

    def start(self, lab):
        self.launch(lab)
        self.process.await_output(r'\bready\b')
        return self

    def stop(self):
        return self.process.stop() if self.process else None

    def terminate(self, timeout=15):
        """SIGTERM, as an operator would; the exit code."""
        self.process.signal(signal.SIGTERM)
        return self.process.wait(timeout)

    def problems(self):
        code = self.process.popen.poll()
        return [] if code is None else [f'the daemon ended by itself with exit code {code}']

    def ctl_argv(self, *words, as_json=True):
        return [POSTERNCTL, '-s', self.socket_path, *(['--json'] if as_json else []), *words]

    def ctl(self, *words):
        """The rows of a posternctl command."""
        done = laboratory.run(*self.ctl_argv(*words))
        return [json.loads(line) for line in done.stdout.splitlines()]

    def text(self, *words):
        """What posternctl prints for people."""
        return laboratory.run(*self.ctl_argv(*words, as_json=False)).stdout

    def connections(self, **wanted):
        """Rows of the connection table with these values, e.g. proto='tcp', dport=21."""
        return [row for row in self.ctl('conntrack', 'list')
                if all(row.get(key) == value for key, value in wanted.items())]

    def expectations(self):
        return self.ctl('expect', 'list')

    def drops(self):
        """Packets dropped so far, by reason."""
        return {row['reason']: row['packets'] for row in self.ctl('drops')}


class Wire:
    CAPABLE = {'helper', 'streams'}

    def __init__(self, setting):
        self.process = None

    @staticmethod
    def missing():
        return None if shutil.which('dpdk-testpmd') else 'dpdk-testpmd (dpdk-dev) is not installed'

    def start(self, lab):
        self.process = lab.start(
            'testpmd', 'middle', 'stdbuf', '-oL', 'dpdk-testpmd', '--no-huge', '--no-shconf',
            '--no-pci', '--no-telemetry', '-m', '512', '--lcores', '0@0,1@0',
            '--vdev', 'net_af_packet0,iface=pst-in', '--vdev', 'net_af_packet1,iface=pst-out',
            '--', '--forward-mode=io', '--total-num-mbufs=8192', stdin=subprocess.PIPE)
        self.process.await_output(r'Press enter to exit')
        return self

    def stop(self):
        return self.process.stop() if self.process else None

    def problems(self):
        return []


class LinuxBridge:
    CAPABLE = {'helper', 'no-helper'}

    def __init__(self, setting):
        self.setting = setting

    @staticmethod
    def missing():
        return None if shutil.which('nft') else 'nft (nftables) is not installed'

    def start(self, lab):
        s = self.setting
        # (transport, port, the ruleset's name of the helper, the kernel's)
        controls = [(transport, port, f'{helper}-{transport}', kernels)
                    for transports, port, helper, kernels in s.controls()
                    for transport in transports]
        each = '\n'.join
        ruleset = lab.write('bridge.nft', f'''
table inet fw {{
    {each(f'ct helper {h} {{ type "{k}" protocol {t}; }}' for t, _, h, k in controls)}
    chain helpers {{
        type filter hook prerouting priority -150;
        {each(f'{t} dport {p} ct state new ct helper set "{h}"'
              for t, p, h, _ in controls if s.helper)}
    }}
    chain forward {{
        type filter hook forward priority 0; policy drop;
        ct state established,related accept
        icmpv6 type {{ 133-137 }} accept
        {each(f'meta iifname "br0" {t} dport {p} ct state new accept' for t, p, _, _ in controls)}
        {'ip saddr %s ct state new accept' % laboratory.INSIDE4 if s.policy == 'inside' else ''}
        {'ip6 saddr %s ct state new accept' % laboratory.INSIDE6 if s.policy == 'inside' else ''}
    }}
}}
''')
        lab.ip('middle', 'link', 'add', 'br0', 'type', 'bridge', 'stp_state', '0',
               'mcast_snooping', '0', 'forward_delay', '0')
        for port in ('pst-in', 'pst-out'):
            lab.ip('middle', 'link', 'set', port, 'master', 'br0')
        lab.ip('middle', 'link', 'set', 'br0', 'up')
        lab.do('middle', 'sysctl', '-qw', 'net.bridge.bridge-nf-call-iptables=1',
               'net.bridge.bridge-nf-call-ip6tables=1', 'net.bridge.bridge-nf-filter-vlan-tagged=1')
        lab.do('middle', 'nft', '-f', ruleset)
        return self

    def stop(self):
        return None

    def problems(self):
        return []


KINDS = {'postern': Postern, 'wire': Wire, 'linux': LinuxBridge}
