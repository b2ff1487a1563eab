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


def all_cases():
    import cases_expect
    import cases_ftp
    import cases_operation
    import cases_tftp
    import cases_traffic
    return cases_expect.cases() + cases_ftp.cases() + cases_tftp.cases() + cases_traffic.cases() + cases_operation.cases()
