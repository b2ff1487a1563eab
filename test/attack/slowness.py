# SPDX-License-Identifier: BSD-3-Clause
"""Small inputs that take control, not the workers, much time."""

import json
import os
import resource
import signal
import subprocess
import tempfile

from kit import CannotTell, HonestTrafficDropped, attack, configuration
from local_users import Daemon

# Linear work needs about a second of the processor for each of these, quadratic work minutes.
KEYS, LINKS = 200_000, 40_000
LIMIT_S = 8


def bounded(argv):
    """The finished process, or nothing if it needs more than LIMIT_S of processor time."""
    done = subprocess.run(
        argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (LIMIT_S, LIMIT_S + 1)))
    return None if done.returncode in (-signal.SIGXCPU, -signal.SIGKILL) else done


@attack()
def unknown_keys(firewall):
    """A configuration with very many unknown keys is reported after minutes.

    Each key was compared with all before it. Now the work grows with their number."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, 'many.yaml')
        with open(path, 'w', encoding='utf-8') as file:
            json.dump({**configuration(), **{f'key_{n}': 1 for n in range(KEYS)}}, file)
        done = bounded([firewall.program, 'check', path])
    if done is None:
        return f'{KEYS} unknown keys take more than {LIMIT_S} s of the processor'
    if done.stderr.count('unknown key') != KEYS:
        raise CannotTell(f'not all keys are reported: {done.stderr[-200:]}')
    return None


@attack()
def chain_of_masters(firewall):
    """A file of saved connections in which each is the child of the next holds `restore` up.

    The file was gone through once for each link of the chain. Now it is gone through once."""
    with tempfile.TemporaryDirectory() as folder:
        state = os.path.join(folder, 'state')
        with open(state, 'w', encoding='utf-8') as file:
            file.write('{"postern_state": {"version": 1, "saved_ms": 5}}\n')
            for n in range(LINKS):
                file.write(f'{{"connection": {{"id": "{n}", "master": "{n + 1}"}}}}\n')
            file.write('{"end": {}}\n')
        daemon = Daemon(firewall, folder, os.path.join(folder, 's'))
        try:
            daemon.must_be_ready()
            done = bounded([daemon.ctl_program, '-s', daemon.socket, 'conntrack', 'restore', state])
        finally:
            daemon.terminate()
    if done is None:
        return f'a chain of {LINKS} records takes more than {LIMIT_S} s of the processor'
    if f'of {LINKS} restored' not in done.stdout:
        raise HonestTrafficDropped(f'not all records are judged: {done.stdout}{done.stderr}')
    return None
