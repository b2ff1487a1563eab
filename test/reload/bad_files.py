# SPDX-License-Identifier: BSD-3-Clause
"""More than a hundred kinds of files that must not be loaded, and a word of each one's message."""

import copy
import json
import os


def _set(path, value):
    """An edit: puts a value at a place such as 'policy.rules.0.from'."""
    def edit(config):
        *way, last = [int(step) if step.isdigit() else step for step in path.split('.')]
        at = config
        for step in way:
            at = at.setdefault(step, {}) if isinstance(at, dict) else at[step]
        at[last] = value
    return edit


def _drop(path):
    def edit(config):
        *way, last = path.split('.')
        at = config
        for step in way:
            at = at[int(step)] if step.isdigit() else at[step]
        del at[last]
    return edit


def _add(path, *items):
    def edit(config):
        at = config
        for step in path.split('.'):
            at = at[int(step)] if step.isdigit() else at[step]
        at.extend(items)
    return edit


def _rule(**keys):
    return _add('policy.rules', {'name': 'new-rule', 'action': 'accept', **keys})


# Not what a configuration is made of.
TEXTS = {
    'empty': ('', 'empty'),
    'only-a-comment': ('# nothing\n', 'empty'),
    'open-bracket': ('zones: [', 'not valid YAML'),
    'open-quote': ('zones: ["inside\n', 'not valid YAML'),
    'tab': ('zones:\n\t- inside\n', 'indented with a tab'),
    'unknown-anchor': ('zones: *nowhere\n', 'not valid YAML'),
    'a-list': ('- zones\n- ports\n', 'mapping'),
    'a-word': ('zones\n', 'mapping'),
    'a-number': ('42\n', 'mapping'),
    'two-documents': ('zones: [a]\n---\nzones: [b]\n', 'second document'),
    'a-web-page': ('<!doctype html><html><body>It works!</body></html>\n', 'not valid YAML|mapping'),
    'a-shell-script': ('#!/bin/sh\nexec true\n', 'mapping'),
    'a-colon-too-many': ('zones: inside: outside\n', 'not valid YAML'),
    'zeros': ('\0' * 64, 'bad.yaml'),
    'no-utf8': (b'zones: [\xff\xfe]\n', 'bad.yaml'),
    'deep': ('[' * 20000, 'bad.yaml'),
    'a-key-twice': ('zones: [a, b]\nzones: [a, b]\n', 'twice'),
}

EDITS = {
    # Keys that do not exist, in each section.
    'unknown-section': (_set('polices', {}), 'polices'),
    **{f'unknown-key-of-{section}': (_set(f'{section}.nonsense', 1), 'nonsense')
       for section in ('eal', 'workers', 'limits', 'timeouts', 'policy', 'control', 'state', 'log',
                       'groups')},
    'unknown-key-of-a-port': (_set('ports.0.nonsense', 1), 'nonsense'),
    'unknown-key-of-a-bridge': (_set('bridges.0.nonsense', 1), 'nonsense'),
    'unknown-key-of-a-helper': (_set('helpers.0.nonsense', 1), 'nonsense'),
    'unknown-key-of-a-rule': (_set('policy.rules.0.nonsense', 1), 'nonsense'),
    'unknown-parameter': (_set('helpers.0.params', {'nonsense': 1}), 'nonsense'),
    # Something is missing.
    'no-zones': (_drop('zones'), 'zones'),
    'no-ports': (_drop('ports'), 'ports'),
    'no-policy': (_drop('policy'), 'policy'),
    'a-rule-without-an-action': (_drop('policy.rules.0.action'), 'action'),
    'a-port-without-a-device': (_drop('ports.0.device'), 'device'),
    'a-port-without-a-zone': (_drop('ports.0.zone'), 'zone'),
    # Names of nothing.
    'no-such-zone': (_rule(**{'from': 'moon'}), 'moon'),
    'no-such-zone-of-a-port': (_set('ports.0.zone', 'moon'), 'moon'),
    'no-such-port': (_set('bridges.0.ports', ['in0', 'moon']), 'moon'),
    'no-such-helper': (_rule(proto='tcp', dport=9, helper='moon'), 'moon'),
    'no-such-kind-of-helper': (_add('helpers', {'name': 'moon'}), 'moon'),
    'no-such-related': (_rule(ct=['related'], related=['moon']), 'moon'),
    'no-such-timeouts': (_rule(proto='udp', timeouts='moon'), 'moon'),
    'no-such-group': (_rule(src='moon'), 'moon'),
    'no-such-stage': (_set('pipeline', ['parse', 'moon']), 'moon'),
    'no-such-reason': (_set('log.drops', {'moon': True}), 'moon'),
    'no-such-action': (_set('policy.rules.0.action', 'maybe'), 'maybe'),
    'no-such-default': (_set('policy.default', 'maybe'), 'maybe'),
    'no-such-protocol': (_rule(proto='moon'), 'moon'),
    'no-such-state': (_rule(ct=['moon']), 'moon'),
    'no-such-steer': (_set('workers.steer', 'moon'), 'moon'),
    'no-such-checksums': (_set('ports.0.checksums', 'moon'), 'moon'),
    'no-such-on-change': (_set('policy.on_change', 'moon'), 'moon'),
    'no-such-pass': (_set('bridges.0.pass', ['moon']), 'moon'),
    'no-such-icmp-type': (_rule(proto='icmp', icmp_type='moon'), 'moon'),
    'no-such-track': (_rule(proto='tcp', track='moon'), 'moon'),
    # Twice.
    'a-zone-twice': (_add('zones', 'inside'), 'twice'),
    'a-rule-twice': (lambda c: c['policy']['rules'].append(c['policy']['rules'][0]), 'twice'),
    'a-helper-twice': (lambda c: c['helpers'].append(c['helpers'][0]), 'twice'),
    'a-port-in-two-bridges': (_add('bridges', {'ports': ['in0', 'out0']}), 'bridge'),
    'a-bridge-with-itself': (_set('bridges.0.ports', ['in0', 'in0']), 'in0'),
    'a-bridge-of-one': (_set('bridges.0.ports', ['in0']), 'two'),
    # Values of another type or out of range.
    'rules-as-a-word': (_set('policy.rules', 'all'), 'list'),
    'zones-as-a-mapping': (_set('zones', {'inside': 1}), 'list'),
    'port-of-letters': (_rule(proto='tcp', dport='x50'), 'x50'),
    'port-70000': (_rule(proto='tcp', dport=70000), '70000'),
    'port-below-0': (_rule(proto='tcp', dport=-1), '-1'),
    'range-backwards': (_rule(proto='tcp', dport='90-80'), '90-80'),
    'port-without-protocol': (_rule(dport=80), 'proto'),
    'port-of-gre': (_rule(proto='gre', dport=80), 'port'),
    'address-256': (_rule(src='192.0.2.256'), '192.0.2.256'),
    'prefix-33': (_rule(src='192.0.2.0/33'), '192.0.2.0/33'),
    'bits-beyond-the-prefix': (_rule(src='192.0.2.1/24'), '192.0.2.1/24'),
    'families-mixed': (_rule(src='192.0.2.1', dst='2001:db8::1'), 'famil|IPv'),
    'empty-list': (_rule(src=[]), 'empty'),
    'mark-too-large': (_rule(mark='0x100000000'), 'mark'),
    'timeout-0': (_set('timeouts.udp', {'stream': 0}), 'stream'),
    'timeout-of-a-year': (_set('timeouts.udp', {'stream': 999999999}), '999999999'),
    'timeout-of-letters': (_set('timeouts.udp', {'stream': 'soon'}), 'soon'),
    'helper-on-port-0': (_set('helpers.0.ports', [0]), '0'),
    'helper-on-no-port': (_set('helpers.0.ports', ['ftp!']), 'ftp!'),
    'parameter-of-another-type': (_set('helpers.0.params', {'loose': 'perhaps'}), 'perhaps'),
    'log-rate-of-letters': (_set('log.default', 'often'), 'often'),
    'log-file-without-root': (_set('log.file', {'path': 'records'}), 'records'),
    'name-too-long': (_rule(name='n' * 40), 'n' * 31),
    'name-with-a-blank': (_rule(name='two words'), 'two words'),
    'stages-in-a-wrong-order': (_set('pipeline', ['policy', 'parse']), 'pipeline'),
    'group-in-itself': (_set('groups.addresses', {'a': ['b'], 'b': ['a']}), 'contains itself'),
    'group-called-any': (_set('groups.addresses', {'any': ['192.0.2.1']}), 'any'),
    'group-of-a-missing-file': (_set('groups.addresses', {'a': [{'file': 'missing.txt'}]}),
                                'missing.txt'),
    'group-of-a-bad-file': (_set('groups.addresses', {'a': [{'file': 'bad-list.txt'}]}),
                            'bad-list.txt:2'),
    'group-of-a-folder': (_set('groups.addresses', {'a': [{'file': '.'}]}), 'regular file'),
    'nothing-left': (_rule(src=['192.0.2.1', 'not 192.0.2.1']), 'leaves nothing'),
    'log-in-a-missing-folder': (_set('log.file', {'path': '/nowhere/at/all'}), 'log.file'),
    # Fine for a start, but not for this process.
    'restart-hugepages': (_set('eal.hugepages', 'yes'), 'eal.hugepages'),
    'restart-memory': (_set('eal.memory_mb', 4096), 'eal.memory_mb'),
    'restart-eal-args': (_set('eal.args', ['--no-telemetry']), 'eal.args'),
    'restart-workers': (_set('workers.count', 4), 'workers.count'),
    'restart-burst': (_set('workers.burst', 8), 'workers.burst'),
    'restart-steer': (_set('workers.steer', 'keyed'), 'workers.steer'),
    'restart-spins': (_set('workers.idle.spins', 7), 'workers.idle.spins'),
    'restart-device': (_set('ports.0.device', 'net_null9'), 'device'),
    'restart-mtu': (_set('ports.0.mtu', 1400), 'mtu'),
    'restart-port-name': (lambda c: (_set('ports.0.name', 'other')(c),
                                     _set('bridges.0.ports', ['other', 'out0'])(c)), 'ports were'),
    'restart-connections': (_set('limits.connections', 2048), 'limits.connections'),
    'restart-expectations': (_set('limits.expectations', 2048), 'limits.expectations'),
    'restart-helped': (_set('limits.helped_connections', 64), 'limits.helped_connections'),
    'restart-fragments': (_set('limits.fragments', 64), 'limits.fragments'),
    'restart-socket': (_set('control.socket', '/run/other.sock'), 'control.socket'),
    'restart-read-socket': (_set('control.read_socket', '/run/read.sock'), 'control.read_socket'),
    'restart-history': (_set('control.history', '/nowhere'), 'control.history'),
    'restart-state': (_set('state', {'file': '/nowhere/state'}), 'state.file'),
    'restart-process-helper': (_add('helpers', {
        'name': 'toy', 'ports': [7777], 'userspace': {
            'transports': ['tcp'], 'classes': [{'name': 'data', 'proto': 'tcp', 'max': 1}]}}), 'toy'),
}


def files(lab, config):
    """[(NAME, PATH, WORD)]: a file of each kind; the message about it has the word, or one of several
    between bars."""
    folder = lab.path('bad')
    os.makedirs(folder)
    with open(os.path.join(folder, 'bad-list.txt'), 'w', encoding='ascii') as file:
        file.write('192.0.2.1\nnonsense!\n')
    out = []

    def place(name):
        os.makedirs(os.path.join(folder, name))
        return os.path.join(folder, name, 'bad.yaml')

    def put(name, text, word):
        path = place(name)
        with open(path, 'wb') as file:
            file.write(text if isinstance(text, bytes) else text.encode())
        out.append((name, path, word))
    for name, (text, word) in TEXTS.items():
        put(name, text, word)
    whole = json.dumps(config, indent=2)
    put('half-a-file', whole[:len(whole) // 2], 'not valid YAML')
    put('more-after-the-end', whole + '\n}\n', 'not valid YAML')
    for name, (edit, word) in EDITS.items():
        other = copy.deepcopy(config)
        edit(other)
        text = json.dumps(other, indent=2)
        # Included files are beside all of them.
        put(name, text.replace('"missing.txt"', '"../missing.txt"')
            .replace('"bad-list.txt"', '"../bad-list.txt"'), word)
    out.append(('missing-file', os.path.join(folder, 'nowhere.yaml'), 'cannot be opened'))
    out.append(('a-folder', folder, 'regular file'))
    path = place('a-pipe')
    os.mkfifo(path)
    out.append(('a-pipe', path, 'regular file'))
    path = place('a-link-to-nothing')
    os.symlink('nothing', path)
    out.append(('a-link-to-nothing', path, 'cannot be opened'))
    path = place('a-link-to-itself')
    os.symlink(path, path)
    out.append(('a-link-to-itself', path, 'cannot be opened'))
    out.append(('a-device', '/dev/zero', 'regular file'))
    path = place('too-large')
    with open(path, 'wb') as file:
        file.truncate(65 << 20)
    out.append(('too-large', path, 'too large'))
    put('a-list-of-another-folder', whole.replace(
        '"policy"', '"groups": {"addresses": {"here": [{"file": "list.txt"}]}}, "policy"', 1),
        'whole path')
    with open(os.path.join(folder, 'a-list-of-another-folder', 'list.txt'), 'w', encoding='ascii') as file:
        file.write('192.0.2.1\n')
    return out
