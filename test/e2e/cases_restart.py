# SPDX-License-Identifier: BSD-3-Clause
"""Saves that end badly leave the last file alone: a kill in the middle, a full disk; and a file of which
half is missing. What a restart keeps of running traffic, test/restart shows."""

import contextlib
import json
import os
import select
import signal
import sys

from cases import Case, expect
from middle import Postern, Setting, configuration

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'restart'))
import traffic  # noqa: E402

FLOWS = 20_000  # a save takes long enough to be met in the middle
TRIES = 60
STOP_S = 30
SMALL_KB = 256  # less than a file of so many flows


class Wall(Postern):
    """A firewall with very many connections, and the file in which it keeps them."""

    def __init__(self, bench, name, path, *options):
        rule = json.dumps({'name': 'flows', 'from': 'inside', 'to': 'outside', 'proto': 'udp',
                           'ct': ['new'], 'action': 'accept'})
        config = configuration(Setting(rules=(rule,)), bench.lab.path(f'{name}.sock'))
        config['state'] = {'file': path, 'save_on_stop': True}
        super().__init__(config=config, name=name, options=options)

    def flows(self, bench):
        traffic.UdpFlows(traffic.Ends(bench.lab), FLOWS, 10_000).begin()
        return self


def folder(bench, name='kept'):
    path = bench.lab.path(name)
    os.makedirs(path)
    return path


def contents(path):
    with open(path, 'rb') as file:
        return file.read()


def await_writing(place, process):
    """Until a file in this folder, which has no name yet, is being written; False: the process has ended
    before."""
    files = f'/proc/{process.popen.pid}/fd'
    while process.running():
        for number in os.listdir(files):
            path = os.path.join(files, number)
            with contextlib.suppress(FileNotFoundError):
                if os.readlink(path).startswith(place + '/') and os.stat(path).st_size > 0:
                    return True
        select.select([process.pidfd], [], [], 0.0002)
    return False


def killed_client(bench):
    """`posternctl conntrack save` is killed while it writes."""
    place = folder(bench)
    path = os.path.join(place, 'state')
    daemon = Wall(bench, 'killed-client', bench.lab.path('unused')).start(bench.lab)
    daemon.flows(bench)
    daemon.text('conntrack', 'save', path)
    met = 0
    for number in range(TRIES):
        last = contents(path)
        client = bench.lab.start(f'save-{number}', 'middle', *daemon.ctl_argv('conntrack', 'save', path))
        await_writing(place, client)
        client.signal(signal.SIGKILL)
        if client.wait(STOP_S) == 0:
            continue  # it was faster
        met += 1
        expect(contents(path) == last, 'the killed save has changed the file')
        expect(os.listdir(place) == ['state'], f'the killed save leaves {os.listdir(place)}')
        if met == 5:
            break
    expect(met > 0, 'no save could be met in the middle')
    said = daemon.text('conntrack', 'restore', path)
    expect('exists' in said, f'the file is not whole: {said}')


def killed_daemon(bench):
    """TERM, and KILL while the daemon saves."""
    place = folder(bench)
    path = os.path.join(place, 'state')
    first = Wall(bench, 'killed-1', path).start(bench.lab)
    first.flows(bench)
    expect(first.terminate(STOP_S) == 0, f'the first stop fails: {first.process.stderr[-500:]}')
    last = contents(path)
    met = 0
    for number in range(2, TRIES):
        daemon = Wall(bench, f'killed-{number}', path).start(bench.lab)
        count = sum(row['connections'] for row in daemon.ctl('conntrack', 'count'))
        expect(count >= FLOWS, f'{count} of {FLOWS} connections are there after the start')
        daemon.process.signal(signal.SIGTERM)
        await_writing(place, daemon.process)
        daemon.process.signal(signal.SIGKILL)
        if daemon.process.wait(STOP_S) == 0:
            last = contents(path)  # it was faster
            continue
        met += 1
        expect(contents(path) == last, 'the killed save has changed the file')
        expect(os.listdir(place) == ['state'], f'the killed save leaves {os.listdir(place)}')
        if met == 2:
            break
    expect(met > 0, 'no save could be met in the middle')


# In a mount namespace of its own: a disk with too little room for a file. `last` is there already.
ON_SMALL_DISK = '''
disk=$1; mount -t tmpfs -o size=$2 postern-test "$disk" || exit 99
shift 2
[ -z "$last" ] || printf "$last" > "$disk/state"
"$@"; echo "exit code $?"
printf 'last file: '; cat "$disk/state"; echo; ls "$disk"
'''


def on_small_disk(place, argv):
    return ['sh', '-c', ON_SMALL_DISK, 'sh', place, f'{SMALL_KB}k', *argv]


def check_small_disk(process):
    process.wait(STOP_S)
    said = process.stdout + process.stderr
    expect('exit code 1\n' in said, f'the save does not fail: {said[-1000:]}')
    expect('No space left' in said, f'the cause is not named: {said[-1000:]}')
    expect(process.stdout.endswith('last file: last\nstate\n'),
           f'the last file is not left alone: {said[-1000:]}')


def full_disk_of_client(bench):
    place = folder(bench)
    daemon = Wall(bench, 'full-client', bench.lab.path('unused')).start(bench.lab).flows(bench)
    save = daemon.ctl_argv('conntrack', 'save', os.path.join(place, 'state'), as_json=False)
    check_small_disk(bench.lab.start('save', 'middle', *on_small_disk(place, save),
                                     env={**os.environ, 'last': 'last'}))


def full_disk_of_daemon(bench):
    """It says so, and ends with another exit code than 0."""
    place = folder(bench)
    daemon = Wall(bench, 'full-daemon', os.path.join(place, 'state'))
    daemon.launch(bench.lab, lambda argv: on_small_disk(place, argv))
    daemon.process.await_output(r'\bready\b')
    daemon.flows(bench)
    shell = daemon.process.popen.pid
    # The file of an earlier run, as far as it matters here.
    with open(f'/proc/{shell}/root{place}/state', 'w', encoding='ascii') as file:
        file.write('last')
    with open(f'/proc/{shell}/task/{shell}/children', encoding='ascii') as file:
        os.kill(int(file.read()), signal.SIGTERM)
    check_small_disk(daemon.process)


def half_a_file(bench):
    """By --restore nothing starts; the configured one is put aside, and what is sound in it comes back."""
    place = folder(bench)
    path = os.path.join(place, 'state')
    first = Wall(bench, 'half-1', path).start(bench.lab)
    first.flows(bench)
    expect(first.terminate(STOP_S) == 0, 'the first stop fails')
    whole = contents(path)
    half = whole[:len(whole) // 2]
    with open(path, 'wb') as file:
        file.write(half)
    refused = Wall(bench, 'half-2', bench.lab.path('unused'), '--restore', path)
    refused.launch(bench.lab)
    expect(refused.process.wait(STOP_S) == 1, 'a start with half a file does not fail')
    expect(path in refused.process.stderr + refused.process.stdout, 'the file is not named')
    expect(contents(path) == half, 'the refused start has changed the file')
    second = Wall(bench, 'half-3', path).start(bench.lab)
    expect(contents(path + '.damaged') == half, 'the damaged file is not kept')
    count = sum(row['connections'] for row in second.ctl('conntrack', 'count'))
    expect(FLOWS // 4 < count < FLOWS, f'{count} connections come back of half a file of {FLOWS}')


def cases():
    needs = frozenset({'control-socket'})
    return [Case(f'restart/{name}', None, check, needs=needs) for name, check in (
        ('killed-client-leaves-the-last-file', killed_client),
        ('killed-daemon-leaves-the-last-file', killed_daemon),
        ('full-disk-of-a-client', full_disk_of_client),
        ('full-disk-of-the-daemon', full_disk_of_daemon),
        ('half-a-file', half_a_file))]
