# SPDX-License-Identifier: BSD-3-Clause
"""What a case is, and where all of them are listed.

A case is a name, the Setting it wants in the middle, and a function check(bench) that raises Failed.
`begin(bench)`, if given, is called first for all chosen cases of one Setting: clients that have to
run into a time limit do so side by side. `needs` names what the middle must be capable of.

Cases come in pairs where a pair has a meaning: with the helper it works, without it fails; with the
frame type on the pass list it arrives, without it does not.
"""

import dataclasses
import typing

import middle


class Failed(Exception):
    """The thing under test did not do what it should."""


@dataclasses.dataclass(frozen=True)
class Case:
    name: str
    setting: typing.Optional[middle.Setting]  # None: the case starts the daemon itself
    check: typing.Callable
    begin: typing.Optional[typing.Callable] = None
    needs: frozenset = frozenset()


def expect(condition, message):
    if not condition:
        raise Failed(message)


SHORT_S = 4  # for what should fail: long enough for two retransmitted SYNs


def pair(name, setting, begin):
    """Works with the helper, fails without it. `begin(bench, timeout_s)` starts it and returns a
    function that waits for its end and says what went wrong: None if nothing did. It has
    `timeout_s` seconds, which may be None: as long as it likes."""
    filed, waiting = {}, {}

    def works(bench):
        filed[bench] = bench.filed_expectations()
        problem = begin(bench, None)()
        expect(problem is None, problem)
        if filed[bench] is not None:
            expect(bench.filed_expectations() > filed[bench], 'no expectation was filed')

    def begin_to_fail(bench):
        waiting[bench] = begin(bench, SHORT_S)

    def fails(bench):
        expect(waiting.pop(bench)() is not None, 'it works without the helper, too')
        if bench.can('control-socket'):
            expect(bench.middle.drops().get('policy', 0) > 0, 'the policy has dropped nothing')

    without = dataclasses.replace(setting, helper=False, params=())
    return [Case(f'{name}/helper', setting, works, needs=frozenset({'helper'})),
            Case(f'{name}/no-helper', without, fails, begin_to_fail, frozenset({'no-helper'}))]


def all_cases():
    import cases_amanda
    import cases_asymmetric
    import cases_commands
    import cases_config
    import cases_conntrack
    import cases_control
    import cases_documented
    import cases_expect
    import cases_broadcast
    import cases_browser
    import cases_capture
    import cases_flows
    import cases_ftp
    import cases_ftp_odd
    import cases_groups
    import cases_irc
    import cases_office
    import cases_h323
    import cases_jumbo
    import cases_operation
    import cases_operator
    import cases_state
    import cases_pools
    import cases_ports
    import cases_restart
    import cases_seeing
    import cases_rtsp
    import cases_rules
    import cases_pptp
    import cases_sane
    import cases_sets
    import cases_sip
    import cases_sip_calls
    import cases_tftp
    import cases_traffic
    import cases_userspace
    import cases_zones
    return [case for group in (cases_conntrack, cases_expect, cases_ftp, cases_ftp_odd,
                               cases_h323, cases_tftp,
                               cases_sane, cases_amanda, cases_irc, cases_rtsp, cases_sip, cases_sip_calls,
                               cases_pptp, cases_broadcast, cases_browser, cases_traffic, cases_pools,
                               cases_userspace, cases_zones, cases_asymmetric, cases_office,
                               cases_operation, cases_operator, cases_state, cases_restart, cases_control,
                               cases_config, cases_commands, cases_documented, cases_groups, cases_ports, cases_jumbo,
                               cases_seeing, cases_capture, cases_rules, cases_sets, cases_flows)
            for case in group.cases()]
