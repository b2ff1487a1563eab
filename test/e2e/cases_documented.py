# SPDX-License-Identifier: BSD-3-Clause
"""What the documents promise of the programs' command lines."""

import os
import shlex

import lab as laboratory
from cases import Case, expect
from middle import POSTERN, ROOT

CAPTURE = os.path.join(ROOT, 'test', 'differential', 'captures', 'ftp-1.pcap')
DEMO = os.path.join(ROOT, 'conf', 'demo.yaml')


def completions(bench):
    """What bash offers for an unfinished command line of `postern`."""
    script = bench.lab.write('completion.bash', laboratory.run(POSTERN, '--bash-completion').stdout)

    def offered(line):
        program = f'source {script}; COMP_LINE={shlex.quote(line)}; COMP_POINT=${{#COMP_LINE}}; ' \
                  'compopt() { :; }; _postern; printf "%s\\n" "${COMPREPLY[@]}"'
        return laboratory.run('bash', '-c', program).stdout.split()
    expect(offered(f'{POSTERN} ') == ['run', 'check', 'schema', 'commands', 'replay'], offered(f'{POSTERN} '))
    expect(offered(f'{POSTERN} re') == ['replay'], 're')
    expect(offered(f'{POSTERN} --v') == ['--version'], '--v')
    expect(offered(f'{POSTERN} replay --in') == ['--inside', '--in-port', '--inside-mac'], '--in')
    expect(offered(f'{POSTERN} replay --json --o') == ['--out'], '--o')
    # The value of an option, and a file: bash knows more.
    for line in ('replay -c ', 'replay --in-port ', 'check ', 'replay -c demo.yaml x'):
        expect(offered(f'{POSTERN} {line}') == [], line)
    done = laboratory.run(POSTERN, 'chekc', 'x.yaml', check=False)
    expect(done.returncode == 2 and "there is no command 'chekc', did you mean 'check'?" in done.stderr,
           done.stderr)
    done = laboratory.run(POSTERN, 'replay', '-c', DEMO, '--jsno', CAPTURE, check=False)
    expect(done.returncode == 2 and "there is no option '--jsno', did you mean '--json'?" in done.stderr,
           done.stderr)
    done = laboratory.run(POSTERN, check=False)
    expect(done.returncode == 2 and 'command is required' in done.stderr, done.stderr)


def cases():
    daemon = frozenset({'control-socket'})
    return [Case('documented/completion-of-postern', None, completions, needs=daemon)]
