#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The JSON schema that `postern schema` prints, against the loader: both accept all of conf/ and the
files below, both refuse the mistakes below. Needs POSTERN, the program, and POSTERN_CONF, the folder
conf/. Exit code 77: Debian's python3-jsonschema or python3-yaml is missing."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

try:
    import jsonschema
    import yaml
except ImportError as error:
    print(error)
    sys.exit(77)

BASE = """\
zones: [inside, {name: outside, prefixes: 192.0.2.0/24, sides: loose}]
ports:
  - {name: in0, device: net_null0, zone: inside}
  - {name: out0, device: net_null1, zone: outside}
bridges: [{ports: [in0, out0]}]
policy: {default: drop}
"""
RULES = BASE.replace('policy: {default: drop}\n', '') + 'policy: {rules: [%s]}\n'

GOOD = {
    'base': BASE,
    'sections without contents': BASE + 'workers:\nlimits:\n  per_source:\n',
    'workers': BASE + 'workers: {count: 2, cpus: [0, 2], steer: keyed, idle: {sleep_us: 0}}\n',
    'groups': BASE + 'groups: {addresses: {web: [192.0.2.1, "2001:db8::/32", 10.0.0.5-10.0.0.9, '
                     'not guests], guests: 192.0.2.9}, ports: {high: 1024-65535, a: [80, high]}, '
                     'services: {dns: [udp/53, tcp/53], all: [dns, gre, 47, tcp/1-9]}}\n',
    'items of rules': RULES % ('{src: [not 192.0.2.1, 10.0.0.5-10.0.0.9], service: [tcp/80, gre], '
                               'enabled: no, description: "a: b", action: drop}'),
    'one cpu': BASE + 'workers: {cpus: 3}\n',
    'hugepages': BASE + 'eal: {hugepages: no, memory_mb: 64, args: ["--log-level=debug"]}\n',
    'sizes': BASE + 'limits: {connections: 1M, stream_buffer: 8K, per_zone: {inside: 10}}\n',
    'times': BASE + 'timeouts: {base: rfc, udp: {stream: 90}, profiles: {slow: {udp: {stream: 5m}}}}\n',
    'ct zones': BASE.replace('out0]}', 'out0], pass: [], ct_zone: 7, vlan_zones: {100: 5}}'),
    'every VLAN': BASE.replace('out0]}', 'out0], pass: [arp, 0x88cc], vlan_zones: per_vlan}'),
    'limits of a zone': BASE + 'limits: {expectations_per: {ct_zone: {7: 1K}, source: 5}}\n',
    'shares': BASE + 'limits: {expectations_per: {server: 0, security_zone: 48K}}\n',
    'old name': BASE + 'limits: {expectations_per: {zone: 3}}\n',
    'helper': BASE + 'helpers: [{name: ftp, params: {loose: yes}, ports: 2121}, {name: f2, helper: ftp}]\n',
    'userspace': BASE + 'helpers: [{name: toy, params: {loose: true}, userspace: {transports: tcp, '
                        'classes: [{name: data, proto: tcp, timeout: 1m}]}}]\n',
    'rule': RULES % '{from: any, to: [outside], src: "2001:db8::/32", proto: [tcp, 17], '
                    'dport: [80, 8000-8080], mark: 0x10/0xff, track: no, action: accept}',
    'expect': RULES % '{proto: tcp, action: accept, expect: {proto: udp, dport: 1-9, max: 9}, '
                      'set: {mark: 3, label: 0x1}, timeouts: linux}',
    'icmp': RULES % '{proto: icmp, icmp_type: [echo-request, 13], ct: new, action: reject}',
    'stages': BASE + 'pipeline: [parse, forward]\n',
}

BAD = {
    'no zones': BASE.replace('zones: [', 'zonen: ['),
    'unknown section': BASE + 'limit: {}\n',
    'unknown key': BASE + 'workers: {cuont: 2}\n',
    'unknown inner key': BASE + 'limits: {per_source: {halfopen: 1}}\n',
    'section is a number': BASE + 'workers: 3\n',
    'list is a mapping': BASE + 'eal: {args: {a: b}}\n',
    'out of range': BASE + 'workers: {count: 33}\n',
    'not a number': BASE + 'workers: {count: two}\n',
    'fraction': BASE + 'workers: {count: 1.5}\n',
    'quoted number': BASE + 'workers: {count: "2"}\n',
    'unknown word': BASE + 'workers: {steer: both}\n',
    'bad time': BASE + 'timeouts: {udp: {stream: 2 minutes}}\n',
    'bad size': BASE + 'limits: {connections: 4X}\n',
    'not a boolean': BASE + 'helpers: [{name: ftp, auto_assign: maybe}]\n',
    'bad name': BASE.replace('name: in0', 'name: "in 0"').replace('[in0,', '["in 0",'),
    'no device': BASE.replace('device: net_null0, ', ''),
    'bad VLAN': BASE.replace('out0]}', 'out0], vlan_zones: {x: 1}}'),
    'bad ethertype': BASE.replace('out0]}', 'out0], pass: arpp}'),
    'unknown helper': BASE + 'helpers: [{name: ftpp}]\n',
    'unknown kind': BASE + 'helpers: [{name: x, helper: ftpp}]\n',
    'unknown parameter': BASE + 'helpers: [{name: ftp, params: {lose: true}}]\n',
    'parameter of another type': BASE + 'helpers: [{name: f, helper: ftp, params: {loose: 7}}]\n',
    'parameter out of range': BASE + 'helpers: [{name: tftp, params: {prefix: 31}}]\n',
    'no classes': BASE + 'helpers: [{name: toy, userspace: {transports: tcp}}]\n',
    'no action': RULES % '{from: inside}',
    'bad action': RULES % '{action: acept}',
    'empty list': RULES % '{from: [], action: drop}',
    'not an address': RULES % '{src: www.example.org, action: drop}',
    'not a name of a group': RULES % '{src: [not www.example.org], action: drop}',
    'group with a dot': BASE + 'groups: {addresses: {a.b: 192.0.2.1}}\n',
    'group of nothing': BASE + 'groups: {addresses: {a: []}}\n',
    'group that includes two': BASE + 'groups: {ports: {a: {file: x, files: y}}}\n',
    'bad protocol': RULES % '{proto: tpc, action: drop}',
    'bad port': RULES % '{proto: tcp, dport: 70000, action: drop}',
    'bad state': RULES % '{ct: [invalid], action: drop}',
    'bad mark': RULES % '{mark: red, action: drop}',
    'accept by default': BASE.replace('default: drop', 'default: accept'),
    'unknown stage': BASE + 'pipeline: [parse, polcy]\n',
}


def with_text_keys(value):
    """JSON has no other keys."""
    if isinstance(value, dict):
        return {str(key): with_text_keys(item) for key, item in value.items()}
    return [with_text_keys(item) for item in value] if isinstance(value, list) else value


class SchemaTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.postern = os.environ['POSTERN']
        text = subprocess.run([cls.postern, 'schema'], check=True, capture_output=True).stdout
        schema = json.loads(text)
        jsonschema.Draft7Validator.check_schema(schema)
        cls.validator = jsonschema.Draft7Validator(schema)

    def mistakes(self, text):
        return [e.message for e in self.validator.iter_errors(with_text_keys(yaml.safe_load(text)))]

    def loads(self, text):
        with tempfile.NamedTemporaryFile('w', suffix='.yaml') as file:
            file.write(text)
            file.flush()
            # What follows the loading may fail: there is no memory for a second data plane here.
            said = subprocess.run([self.postern, 'check', file.name], capture_output=True, text=True)
        return said.returncode != 2, said.stderr

    def test_accepts_conf(self):
        files = sorted(pathlib.Path(os.environ['POSTERN_CONF']).glob('*.yaml'))
        self.assertGreaterEqual(len(files), 5)
        for file in files:
            with self.subTest(file=file.name):
                self.assertEqual(self.mistakes(file.read_text()), [])

    def test_accepts_what_the_loader_accepts(self):
        for name, text in GOOD.items():
            with self.subTest(name=name):
                self.assertEqual(self.mistakes(text), [])
                if name != 'stages':  # their order is checked with them
                    loads, why = self.loads(text)
                    self.assertTrue(loads, why)

    def test_refuses_what_the_loader_refuses(self):
        for name, text in BAD.items():
            with self.subTest(name=name):
                self.assertNotEqual(self.mistakes(text), [])
                self.assertFalse(self.loads(text)[0])

    def test_says_what_a_key_means(self):
        for key in self.validator.schema['properties'].values():
            self.assertGreater(len(key['description']), 10)


if __name__ == '__main__':
    unittest.main()
