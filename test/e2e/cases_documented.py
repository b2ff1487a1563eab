# SPDX-License-Identifier: BSD-3-Clause
"""What the documents show is run: each line with `posternctl`, each option of both programs.

The examples of answers are compared in shape: a title that no answer has any more fails here."""

import glob
import json
import os
import re
import shlex

import lab as laboratory
from cases import Case, expect
from cases_commands import Scene
from middle import POSTERN, POSTERNCTL, ROOT

CAPTURE = os.path.join(ROOT, 'test', 'differential', 'captures', 'ftp-1.pcap')
DEMO = os.path.join(ROOT, 'conf', 'demo.yaml')
WAIT_S = 20


def documents():
    return [os.path.join(ROOT, 'README.md'), *sorted(glob.glob(os.path.join(ROOT, 'docs', '*.md')))]


def examples():
    """(place, words of a command line, titles of the answer behind it) of all documents' code."""
    found = []
    for path in documents():
        with open(path, encoding='utf-8') as file:
            lines = file.read().splitlines()
        fenced = False
        for number, line in enumerate(lines):
            if line.startswith('```'):
                fenced = not fenced
            if not fenced and not line.startswith('    '):
                continue
            command = re.match(r'\s*(\$ )?(posternctl .*)', line)
            if not command:
                continue
            words = shlex.split(command[2].replace('$PWD/', ''), comments=True)
            if '|' in words:
                words = words[:words.index('|')]
            following = lines[number + 1].split() if number + 1 < len(lines) else []
            titles = following if command[1] and all(word.isupper() for word in following) else []
            found.append((f'{os.path.relpath(path, ROOT)}:{number + 1}', words[1:], titles))
    return found


def placed(scene, words):
    """With files and sockets of the laboratory in place of those in the document."""
    path = scene.lab.path
    out = []
    for word in words:
        if word.startswith('['):  # may be left out
            continue
        if word == 'FILE':
            word = (scene.other() if 'config' in words else path('documented.tar')
                    if 'support' in words else path('documented.state'))
        elif word.endswith('/read.sock'):
            word = path('reading', 'read.sock')
        elif word.endswith('blocked.txt'):
            word = scene.lab.write('blocked.txt', '192.0.2.66\n')
        elif word.endswith('.pcapng'):
            word = path(word)
        out.append(word)
    return out


def documented_lines(bench):
    lab = bench.lab

    def more(config):
        config['control'].update(read_socket=lab.path('reading', 'read.sock'), read_access='all')
        config['sets'].append({'name': 'blocked'})
    scene = Scene(bench, more)
    described = {command['command']: command for command in scene.daemon.ctl('help')}
    lines = examples()
    expect(len(lines) > 50, f'{len(lines)} lines only')
    for place, words, titles in lines:
        argv = placed(scene, words)
        name = max((name for name in described if ' '.join(argv).find(name) >= 0), key=len, default='')
        expect(name or 'support' in argv, f'{place}: which command is {words}?')
        columns = iter(column['title'] for column in described.get(name, {'columns': []})['columns'])
        expect(all(title in columns for title in titles), f'{place}: shows {titles}')
        if name and described[name]['endless'] or '--watch' in argv[0]:
            process = lab.start(re.sub(r'\W+', '-', place), 'middle', *scene.daemon.ctl_argv(
                *argv, as_json='-w' not in argv))
            process.await_output('listening|capturing to|"name":', WAIT_S)
            expect(process.running(), f'{place}: {words} ended: {process.stderr}')
            process.stop()
            continue
        done = laboratory.run(*scene.daemon.ctl_argv(*argv, as_json=False), check=False)
        expect(done.returncode == 0, f'{place}: {argv}: exit code {done.returncode}: {done.stderr}')


def conditions(bench):
    """Each form of a condition's value that docs/operation.md shows: it selects, and its contrary does not."""
    scene = Scene(bench)
    [control] = scene.daemon.ctl('conntrack', 'list', 'dport=21')
    expect(control['bytes_original'] > 10, control)
    selects = [
        'dport=FTP', 'dport=20-22', 'dport=21-', 'dport=-21', f'id={control["id"]}', 'proto=TCP', 'proto=6',
        'helper=FTP', 'rule=FTP-CONTROL', 'from=INSIDE', 'to=outside', 'state=Established',
        'proto_state=ESTABLISHED', 'family=IPv4', f'src={laboratory.INSIDE4}', f'dst={laboratory.OUTSIDE4}/32',
        'idle=-1h', 'idle=0-5m', 'age=-1h', 'timeout=1h-', 'timeout=1h-200d', 'packets=2-1K', 'packets=-1M',
        'bytes=10-1M', 'bytes=-1G', 'zone=0', 'mark=0', 'label=0/0xff']
    for condition in selects:
        key, value = condition.split('=')
        for words, number in (((condition,), 1), ((f'{key.upper()}={value}',), 1), ((f'{key}!={value}',), 0),
                              ((f'{key}=!{value}',), 0)):
            rows = scene.daemon.ctl('conntrack', 'list', *words,
                                    *([] if key in ('dport', 'id') else [f'id={control["id"]}']))
            expect(len(rows) == number, f'conntrack list {words}: {len(rows)} rows')
            [count] = scene.daemon.ctl('conntrack', 'count', *words)
            expect(count['connections'] >= number, f'conntrack count {words}: {count}')
    [expected] = scene.daemon.ctl('expect', 'list')
    port = expected['dport']
    for condition in (f'id={expected["id"]}', 'helper=FTP', 'proto=TCP', f'src={laboratory.INSIDE4}/32',
                      f'dst={laboratory.OUTSIDE4}', f'dport={port - 1}-{port + 1}', 'zone=0',
                      f'master={control["id"]}', 'timeout=1s-1h'):
        key, value = condition.split('=')
        for words, number in ((condition, 1), (f'{key.upper()}={value}', 1), (f'{key}!={value}', 0)):
            expect(len(scene.daemon.ctl('expect', 'list', words)) == number, f'expect list {words}')
            [count] = scene.daemon.ctl('expect', 'count', words)
            expect(count['expectations'] == number, f'expect count {words}: {count}')


# --- options -----------------------------------------------------------------------------------

def lines_of(scene, *words):
    done = laboratory.run(*scene.daemon.ctl_argv(*words, as_json=False), check=False)
    expect(done.returncode == 0, f'{words}: exit code {done.returncode}: {done.stderr}')
    return done.stdout.splitlines()


def numbers_sorted(scene, *words):
    lines = lines_of(scene, *words, '--columns', 'name,value', '--no-header', '--all', 'stats')
    return [int(line.split()[-1]) for line in lines]


def other_socket(scene):
    done = laboratory.run(POSTERNCTL, '--socket', scene.daemon.socket_path, 'conntrack', 'count')
    expect(len(done.stdout.splitlines()) > 1, done.stdout)


def as_json(scene):
    rows = [json.loads(line) for line in lines_of(scene, '--json', 'port', 'list')]
    expect({'name', 'state'} <= set(rows[0]), rows)


def columns(scene):
    expect(lines_of(scene, '--columns', 'STATE,name,tx_packets', 'port', 'list')[0].split() ==
           ['STATE', 'NAME', 'TX_PACKETS'], 'its titles')
    rows = [json.loads(line) for line in lines_of(scene, '--json', '--columns', 'name,state', 'port', 'list')]
    expect(all(set(row) == {'name', 'state'} for row in rows), rows)


def wide(scene):
    expect(max(map(len, lines_of(scene, '--wide', 'conntrack', 'list'))) > 80, 'not wider than a terminal')
    expect(max(map(len, lines_of(scene, 'conntrack', 'list'))) <= 80, 'wider than a terminal')


def no_header(scene):
    words = ('--columns', 'name,state', 'port', 'list')
    with_titles, without = lines_of(scene, *words), lines_of(scene, '--no-header', *words)
    expect([line.split() for line in without] == [line.split() for line in with_titles[1:]], without)


def sort(scene):
    found = numbers_sorted(scene, '--sort', 'value')
    expect(found == sorted(found) and found[0] != found[-1], found)


def reverse(scene):
    found = numbers_sorted(scene, '--sort', 'VALUE', '--reverse')
    expect(found == sorted(found, reverse=True) and found[0] != found[-1], found)


def limit(scene):
    expect(len(numbers_sorted(scene, '--limit', '3')) == 3, 'not three')
    highest = numbers_sorted(scene, '--sort', 'value', '--reverse', '--limit', '3')
    expect(len(highest) == 3 and highest == sorted(highest, reverse=True), highest)


def all_rows(scene):
    expect(len(lines_of(scene, 'drops', '--all')) > len(lines_of(scene, 'drops')), 'no more rows')


def watch(scene):
    for number, option in enumerate(('--watch', '--watch=0.1')):
        process = scene.lab.start(f'watch-{number}', 'middle', *scene.daemon.ctl_argv(
            option, 'port', 'list', as_json=False))
        process.await_output(r'(?s)NAME.*NAME', WAIT_S)
        expect(process.running(), f'{option} has ended')
        process.stop()


def write(scene):
    path = scene.lab.path('option.pcapng')
    process = scene.lab.start('option-write', 'middle', *scene.daemon.ctl_argv(
        'capture', '--write', path, 'packets=1', as_json=False))
    process.await_output('capturing to', WAIT_S)
    scene.session()
    expect(process.wait(WAIT_S) == 0, process.stderr)
    expect(os.stat(path).st_size > 100 and os.stat(path).st_mode & 0o777 == 0o600, 'its file')


def says(pattern, *words):
    def check(scene):
        expect(re.search(pattern, '\n'.join(lines_of(scene, *words))), f'{words} says something else')
    return check


OF_POSTERNCTL = {
    '--socket': other_socket, '--json': as_json, '--columns': columns, '--wide': wide,
    '--no-header': no_header, '--sort': sort, '--reverse': reverse, '--limit': limit, '--all': all_rows,
    '--watch': watch, '--write': write, '--help': says('Usage: posternctl', '--help'),
    '--version': says(r'posternctl \d', '--version'),
    '--bash-completion': says('complete -o default', '--bash-completion'),
    '--zsh-completion': says('#compdef posternctl', '--zsh-completion')}


def client_options(bench):
    """Each option of posternctl does what its help says."""
    scene = Scene(bench)
    help_text = laboratory.run(*scene.daemon.ctl_argv('--help', as_json=False)).stdout
    options = set(re.findall(r'--[a-z-]+\b', help_text.split('A command of posternctl itself')[0]))
    expect(options == set(OF_POSTERNCTL), f'not tested, or not there: {options ^ set(OF_POSTERNCTL)}')
    for check in OF_POSTERNCTL.values():
        check(scene)


def replay(*words):
    done = laboratory.run(POSTERN, 'replay', '-c', DEMO, *words, check=False)
    expect(done.returncode == 0, f'replay {words}: exit code {done.returncode}: {done.stderr}')
    return done.stdout


def replay_rows(*words):
    return [json.loads(line) for line in replay('--json', *words).splitlines()]


def check_replay(bench, options):
    """Each option of `postern replay`."""
    path = bench.lab.path
    text = replay('--inside', '192.0.2.1', CAPTURE)
    shown = re.compile(r'^ +\d+ +\d+\.\d+  (accept|DROP)', re.M)
    packets = len(shown.findall(text))
    expect(packets > 10 and re.search(rf'^{packets} packets: ', text, re.M), text)
    rows = [row for row in replay_rows(CAPTURE) if row['type'] == 'packet']
    expect(len(rows) == packets and {'time', 'verdict', 'src', 'dst', 'in'} <= set(rows[0]), rows[:1])
    tested = {'--config', '--json', '--inside'}
    for option, word in (('--out', path('out.pcap')), ('--annotate', path('annotated.pcapng'))):
        replay(option, word, CAPTURE)
        expect(os.stat(word).st_size > 1000, f'{option} writes nothing')
        tested.add(option)

    def verdicts(*words):
        return [row['verdict'] for row in replay_rows(*words) if row['type'] == 'packet']
    usual = [row['verdict'] for row in rows]
    for words in (['--workers', '3'], ['--checksums'], ['--bridge', 'in0'], ['--inside-mac', rows_mac(CAPTURE)]):
        expect(verdicts(*words, CAPTURE) == usual or words == ['--checksums'], f'{words}: other verdicts')
        tested.add(words[0])
    found = [row for row in replay_rows('--in-port', 'out0', CAPTURE) if row['type'] == 'packet']
    expect({row['in'] for row in found} == {'out0'}, 'packets come from elsewhere')
    tested.add('--in-port')
    expect(options - {'--help'} == tested, f'not tested, or not there: {(options - {"--help"}) ^ tested}')


def rows_mac(path):
    """The source address of the first frame of a pcap file."""
    with open(path, 'rb') as file:
        frame = file.read(24 + 16 + 12)[24 + 16:]
    return ':'.join(f'{byte:02x}' for byte in frame[6:12])


def daemon_options(bench):
    """Each command and option of `postern`."""
    def options(*words):
        text = laboratory.run(POSTERN, *words, '--help').stdout
        return text, set(re.findall(r'(?<![\w-])--[a-z-]+', re.split(r'Options:', text)[1]))
    text, general = options()
    commands = set(re.findall(r'^  (\w+)  ', text.split('Subcommands:')[1], re.M))
    expect(commands == {'run', 'check', 'schema', 'commands', 'replay'}, commands)
    general = {option for option in general if option in text.split('Subcommands:')[0]}
    expect(general == {'--help', '--version', '--bash-completion', '--zsh-completion'}, general)
    expect(laboratory.run(POSTERN, '--bash-completion').stdout.startswith('# For bash'), 'bash')
    expect(laboratory.run(POSTERN, '--zsh-completion').stdout.startswith('#compdef postern\n'), 'zsh')
    for name in ('check', 'schema', 'commands'):
        expect(options(name)[1] == {'--help'}, f'{name} has options: {options(name)[1]}')
    # --restore: operation/killed-and-restored; --clock: the cases of schedules.
    expect(options('run')[1] == {'--help', '--restore', '--verbose', '--clock'}, options('run')[1])
    check_replay(bench, options('replay')[1])
    done = laboratory.run('sh', '-c', f'{shlex.quote(POSTERN)} check - < {shlex.quote(DEMO)}')
    expect('rules, first to last' in done.stdout, done.stdout)


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
    return [Case(f'documented/{name}', None, check, needs=daemon) for name, check in (
        ('each-line', documented_lines), ('conditions', conditions), ('options-of-posternctl', client_options),
        ('options-of-postern', daemon_options), ('completion-of-postern', completions))]
