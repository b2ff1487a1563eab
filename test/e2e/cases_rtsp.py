# SPDX-License-Identifier: BSD-3-Clause
"""Streaming: a GStreamer server outside, ffmpeg or a GStreamer client inside. Two tones come by UDP
to the ports that SETUP has agreed on."""

import collections
import functools
import os

import lab as laboratory
from cases import Case, expect, pair
from middle import Setting

LONG_ENOUGH_S = 30
PACKETS = 5  # of each of the two streams, at least
SAMPLES = 1024  # of one byte, in a packet


class Streamer:
    def __init__(self, lab, port):
        program = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'rtsp_server.py')
        for family, address in ((4, laboratory.OUTSIDE4), (6, laboratory.OUTSIDE6)):
            # It keeps a list of its plug-ins in the user's folders.
            process = lab.start(f'rtsp-server-{family}', 'outside', '/usr/bin/python3', program,
                                address, str(port), env={**os.environ, 'HOME': lab.path()})
            process.await_output('ready', 60)


def play(client, family, bench, timeout_s, transport='udp'):
    bench.server(Streamer)
    host = laboratory.OUTSIDE4 if family == 4 else f'[{laboratory.OUTSIDE6}]'
    url = f'rtsp://{host}:{bench.setting.port}/test'
    files = [bench.lab.path(f'{client}-{family}.{stream}') for stream in (0, 1)]
    argv = {'ffmpeg': ['ffmpeg', '-nostdin', '-hide_banner', '-rtsp_transport', transport, '-i', url,
                       '-t', '1', '-map', '0', '-c', 'copy', '-f', 'framecrc', '-'],
            'gstreamer': ['gst-launch-1.0', '-v', 'rtspsrc', f'location={url}', 'protocols=udp',
                          'name=from', *(word for file in files for word in (
                              'from.', '!', 'identity', f'eos-after={PACKETS + 1}',
                              '!', 'filesink', f'location={file}'))]}[client]
    process = bench.lab.start(f'{client}-{family}', 'inside', 'timeout', '-s', 'KILL',
                              str(timeout_s or LONG_ENOUGH_S), *argv,
                              env={**os.environ, 'HOME': bench.lab.path()})

    def problem():
        code = process.wait(LONG_ENOUGH_S + 5)
        if client == 'ffmpeg':
            if code != 0:
                return f'ffmpeg ended with exit code {code}: {process.stderr[-500:]}'
            packets = collections.Counter(line[0] for line in process.stdout.splitlines() if line)
            came = [packets['0'], packets['1']]
        else:  # its exit code tells more of its good-bye than of what came
            came = [os.path.getsize(file) // SAMPLES for file in files if os.path.exists(file)]
        if len(came) == 2 and min(came) >= PACKETS:
            return None
        return f'packets came: {came}; exit code {code}: {process.stderr[-500:]}'
    return problem


def interleaved_expects_nothing(bench):
    before = bench.filed_expectations()
    problem = play('ffmpeg', 4, bench, None, 'tcp')()
    expect(problem is None, problem)
    expect(bench.filed_expectations() == before, 'media in the control connection were expected')


def cases():
    found = []
    for workers, client, family, port in ((1, 'ffmpeg', 4, 0), (3, 'ffmpeg', 6, 0),
                                          (3, 'gstreamer', 4, 8554)):
        found += pair(f'rtsp/{workers}-workers/{client}/ipv{family}',
                      Setting(service='rtsp', workers=workers, control_port=port),
                      functools.partial(play, client, family))
    found.append(Case('rtsp/interleaved', Setting(service='rtsp', workers=1),
                      interleaved_expects_nothing, needs=frozenset({'control-socket', 'helper'})))
    return found
