# SPDX-License-Identifier: BSD-3-Clause
"""H.323 calls of scripted peers (h323_peer.py), where only RAS and call signalling to their
well-known ports may be new: H.245, media, T.120 and calls to and from registered endpoints live by
expectations."""

import dataclasses
import json
import os
import sys

import lab as laboratory
from cases import expect, pair
from middle import Setting
from peers import FOLDER

LONG_ENOUGH_S = 20

# Scenario: all steps of both sides, and how far one comes without the helper.
STEPS = {
    'gatekeeper': (['ras', 'signalling', 'h245', 'media', 'called back', 'h245', 'media'], ['ras']),
    'direct': (['signalling', 'h245', 'media', 't120'], ['signalling']),
    'fast-start': (['signalling', 'media'], ['signalling']),
    'tunnelled': (['signalling', 'media'], ['signalling']),
}
ADDRESSES = {4: (laboratory.INSIDE4, laboratory.OUTSIDE4),
             6: (laboratory.INSIDE6, laboratory.OUTSIDE6)}


def call(scenario, version):
    """For cases.pair(). Over IPv6 the messages are cut into segments."""
    def begin(bench, timeout_s):
        inside, outside = ADDRESSES[version]
        program = os.path.join(FOLDER, 'h323_peer.py')
        name = f'h323-{scenario}-{version}'
        more = ('cut' if version == 6 else 'whole', str(timeout_s or LONG_ENOUGH_S))
        answerer = bench.lab.start(name + '-answer', 'outside', sys.executable, program, 'answer',
                                   scenario, outside, inside, *more)
        answerer.await_output('ready')
        caller = bench.lab.start(name + '-call', 'inside', sys.executable, program, 'call',
                                 scenario, inside, outside, *more)
        # The first step needs no helper; after it the well-known port is free for another call.
        answerer.await_output('step')

        def problem():
            for end in (caller, answerer):
                end.wait(LONG_ENOUGH_S + 10)
                said = json.loads(end.stdout.splitlines()[-1])
                everything, without_helper = STEPS[scenario]
                if said['steps'] != everything:
                    expect(len(said['steps']) <= len(without_helper) or timeout_s is None,
                           f'came as far as {said}, though nothing expected it')
                    return f'came as far as {said}'
            return None
        return problem
    return begin


def cases():
    found = []
    for scenario, version, workers in (('gatekeeper', 4, 3), ('gatekeeper', 6, 1),
                                       ('direct', 4, 1), ('direct', 6, 3),
                                       ('fast-start', 4, 3), ('fast-start', 6, 1),
                                       ('tunnelled', 4, 1), ('tunnelled', 6, 3)):
        both = pair(f'h323/{workers}-workers/{scenario}/ipv{version}',
                    Setting(service='h323', workers=workers), call(scenario, version))
        if version == 6:
            both[0] = dataclasses.replace(both[0], needs=both[0].needs | {'streams'})
        found += both
    return found
