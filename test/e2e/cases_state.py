# SPDX-License-Identifier: BSD-3-Clause
"""Restarts of the daemon with `state:`: what was running goes on, with other settings too."""

import json
import os
import signal

from cases import Case, expect
from middle import POSTERN, Postern, Setting, configuration
from peers import SLOWLY, FtpServer, SteppedClient, Transfer

RUNTIME_FAILURE, STOP_S = 1, 15


def config_of(lab, workers, state, default='drop', **more):
    config = configuration(Setting(workers=workers, default=default), lab.path('postern.sock'))
    return {**config, 'state': {'file': state, **more}}


def daemon_of(lab, config):
    # Under one name: a session finds its daemon by it.
    return Postern(Setting(), config=config)


def ends(daemon):
    code = daemon.terminate(STOP_S)
    said = daemon.process.stdout + daemon.process.stderr
    expect(code == 0, f'exit code {code}:\n{said}')
    return said


def goes_on(before, after, default):
    """A transfer and an FTP session outlive restarts by TERM, with other numbers of workers."""
    def check(bench):
        lab = bench.lab
        state = lab.path('state')
        daemon = daemon_of(lab, config_of(lab, before, state, default)).start(lab)
        said = daemon.process.stdout + daemon.process.stderr
        expect('there is no such file yet' in said, f'nothing is said of the missing file:\n{said}')
        server = FtpServer(lab)
        client = SteppedClient(lab, port=server.port)
        client('announce epsv')
        running = Transfer('lftp', 'epsv', 4).start(lab, server.port, 60, SLOWLY)
        bench.eventually(lambda: [row for row in daemon.connections(proto='tcp')
                                  if row.get('master')], 'no data connection is seen')
        expect(running.process.running(), 'the transfer had ended before the restart')
        said = ends(daemon)
        expect('saved 4 connections and 1 expectations' in said or
               'saved 3 connections and 1 expectations' in said, f'what was saved:\n{said}')
        expect(os.stat(state).st_mode & 0o777 == 0o600, 'the file is for others, too')
        daemon = daemon_of(lab, config_of(lab, after, state, default)).start(lab)
        rows = daemon.connections(proto='tcp')
        children = [row for row in rows if row.get('master_id')]
        expect(children and all(any(row['id'] == child['master_id'] for row in rows)
                                for child in children), f'masters are lost: {rows}')
        problem = running.problem(server)
        expect(problem is None, problem)
        client('connect')  # as it was announced before the restart
        got = client('fetch file.bin')
        expect(got['sha256'] == server.digest, f'another file arrived: {got}')
        metrics = [row for row in daemon.ctl('metrics') if row['name'] == 'connections_restored']
        expect(metrics and metrics[0]['labels']['outcome'] == 'restored', f'{metrics}')
        drops = daemon.drops()
        expect(not drops.get('ct_invalid') and not drops.get('reject'), f'dropped: {drops}')
    return check


def killed(bench):
    """A daemon that is killed has left the last periodic save, and a quiet session goes on."""
    lab = bench.lab
    state = lab.path('state')
    config = config_of(lab, 2, state, 'reject', save_every=1)
    daemon = daemon_of(lab, config).start(lab)
    server = FtpServer(lab)
    client = SteppedClient(lab, port=server.port)
    client('announce epsv')

    def saved_at():
        try:
            return os.stat(state).st_mtime_ns
        except FileNotFoundError:
            return 0
    # The one that was on its way may have passed the session.
    for _ in range(2):
        before = saved_at()
        bench.eventually(lambda: saved_at() != before, 'nothing is saved in the background')
    daemon.process.signal(signal.SIGKILL)
    daemon.process.wait(STOP_S)
    daemon = daemon_of(lab, config).start(lab)
    client('connect')
    got = client('fetch file.bin')
    expect(got['sha256'] == server.digest, f'another file arrived: {got}')


def damaged(bench):
    """A damaged file is said, kept aside, and does not keep the daemon from starting."""
    lab = bench.lab
    state = lab.path('state')
    lab.write('state', 'nonsense')
    os.chmod(state, 0o600)
    daemon = daemon_of(lab, config_of(lab, 2, state)).start(lab)
    said = daemon.process.stdout + daemon.process.stderr
    expect('line 1: this is no file' in said and f'kept as {state}.damaged' in said, said)
    expect(open(f'{state}.damaged', encoding='utf-8').read() == 'nonsense', 'it is not kept')
    ends(daemon)
    expect(os.path.getsize(state) > 0, 'nothing was saved at the stop')
    # Others may write to it: not used.
    os.chmod(state, 0o666)
    daemon = daemon_of(lab, config_of(lab, 2, state, save_on_stop=False)).start(lab)
    said = daemon.process.stdout + daemon.process.stderr
    expect('can be written to by others' in said and os.path.exists(f'{state}.damaged'), said)
    ends(daemon)
    expect(not os.path.exists(state), 'saved although it should not be')


def named_file(bench):
    """--restore: the file or nothing."""
    lab = bench.lab
    config = lab.write('named.yaml', json.dumps(
        configuration(Setting(), lab.path('postern.sock'))) + '\n')

    def refused(path, words):
        done = lab.do('middle', POSTERN, 'run', '--restore', path, config, check=False)
        said = done.stdout + done.stderr
        expect(done.returncode == RUNTIME_FAILURE and words in said and 'ready' not in said,
               f'{words}: exit code {done.returncode}: {said}')
    refused(lab.path('nowhere'), 'nowhere: cannot be opened')
    bad = lab.write('bad', '{"postern_state": {"version": 1, "saved_ms": 1}}\n')
    os.chmod(bad, 0o600)
    refused(bad, 'is cut short')


def cases():
    daemon = frozenset({'control-socket', 'helper'})
    found = [Case(f'state/{before}-to-{after}-workers/{default}', None,
                  goes_on(before, after, default), needs=daemon)
             for before, after, default in ((1, 3, 'reject'), (3, 2, 'drop'), (2, 2, 'reject'))]
    found += [Case('state/killed', None, killed, needs=daemon),
              Case('state/damaged', None, damaged, needs=daemon),
              Case('state/named-file', None, named_file, needs=daemon)]
    return found
