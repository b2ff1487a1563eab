#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Writes the manual pages and the shells' completions from the programs' own descriptions.

    scripts/manual.py [--check] [BUILD]

BUILD is the build folder (default: build). Writes docs/man/, docs/completion/ and what posternctl
knows of the commands without a daemon (app/known_commands.inc). --check writes nothing and fails if
a file differs.
"""

import json
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LINE_MAX = 96


def output_of(*argv):
    return subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          check=True).stdout


def roff(text):
    """Text for a manual page. `code` becomes bold."""
    text = text.replace('\\', '\\e').replace('-', '\\-')
    text = re.sub(r'`([^`]*)`', r'\\fB\1\\fR', text)
    # Links of Markdown: their text.
    text = re.sub(r'\[([^\]]*)\]\([^)]*\)', r'\1', text)
    return '\n'.join('\\&' + line if line.startswith(('.', "'")) else line
                     for line in text.split('\n'))


def page(name, section, title):
    return [f'.\\" Written by scripts/manual.py; changes here are lost.',
            f'.TH {name.upper()} {section} "" "Postern" "{title}"']


def item(head, text):
    return ['.TP', head, roff(text) if text else '\\&']


def files(*entries):
    lines = ['.SH FILES']
    for path, text in entries:
        lines += item(f'.I {roff(path)}', text)
    return lines


EXIT = ['.SH EXIT STATUS', *item('.B 0', 'done'), *item('.B 1', 'it could not be done'),
        *item('.B 2', 'the command line or the configuration is wrong')]


def options_of(help_text):
    """Pairs of an option and its text, from the help of a subcommand."""
    found = []
    for line in help_text.splitlines():
        start = re.match(r'  (\S.*?)(?:\s{2,}(.*))?$', line)
        if start and not line.startswith('   '):
            found.append([start[1], start[2] or ''])
        elif found and line.startswith('     '):
            found[-1][1] = (found[-1][1] + ' ' + line.strip()).strip()
    return [(head, text) for head, text in found if not head.startswith('-h,')]


def postern_page(postern):
    lines = page('postern', 8, 'System administration')
    lines += ['.SH NAME', 'postern \\- a stateful firewall for DPDK, with helpers and expectations',
              '.SH SYNOPSIS']
    general = output_of(postern, '--help')
    commands = re.findall(r'^  (\w+)  +(\S.*(?:\n {10,}\S.*)*)', general.split('Subcommands:')[1],
                          re.M)
    helps = {name: output_of(postern, name, '--help') for name, _ in commands}
    for name, _ in commands:
        usage = re.search(rf'^Usage: \S*postern {name}(.*)', helps[name], re.M)[1]
        lines += [f'.B postern {name}', roff(usage.strip()), '.br']
    lines += ['.SH DESCRIPTION', roff(
        'Postern forwards packets between ports of DPDK, follows every connection, and opens '
        'pin-holes for the connections that protocols announce. The file that describes it is in '
        'postern.yaml(5); posternctl(8) asks a running one.'), '.SH OPTIONS']
    for head, said in options_of(general.split('Subcommands:')[0].split('Options:')[1]):
        lines += item(f'.B {roff(head)}', said)
    lines.append('.SH COMMANDS')
    for name, text in commands:
        lines += [f'.SS postern {name}', roff(' '.join(text.split()))]
        for head, said in options_of(helps[name]):
            lines += item(f'.B {roff(head)}', said)
    lines += ['.SH SIGNALS', *item('.B SIGINT, SIGTERM, SIGQUIT', 'end it in good order'),
              *item('.B SIGHUP', 'reads the file of its start again'),
              *item('.B SIGUSR1', 'prints a summary'), *EXIT,
              *files(('/run/postern/control.sock', 'the control socket')),
              '.SH SEE ALSO', '.BR posternctl (8),', '.BR postern.yaml (5)']
    return lines


def type_of(arg):
    if arg['type'] == 'boolean':
        return 'true|false'
    if arg.get('values') and len(arg['values']) <= 4:
        return '|'.join(arg['values'])
    return arg['type'].upper().replace(' ', '_')


def web_page(web):
    lines = page('postern-web', 8, 'System administration')
    lines += ['.SH NAME', 'postern\\-web \\- metrics, an API and a page of a running postern, over HTTP',
              '.SH SYNOPSIS', '.B postern\\-web', '.RI [ OPTION ]...', '.SH DESCRIPTION', roff(
                  'Serves what posternctl(8) shows: /metrics for Prometheus, /api/v1/COMMAND as JSON, and a '
                  'page for people. It asks the daemon on the socket that only reads (control.read_socket '
                  'in postern.yaml(5)), changes nothing and needs no privilege. Without --token-file or '
                  '--client-ca it listens on loopback addresses only.'), '.SH OPTIONS']
    for head, said in options_of(output_of(web, '--help')):
        lines += item(f'.B {roff(head)}', said)
    return [*lines, *EXIT, *files(('/run/postern-read/read.sock', 'the default of --socket')),
            '.SH SEE ALSO', '.BR postern (8),', '.BR posternctl (8)']


def posternctl_page(posternctl, commands):
    said = output_of(posternctl, '-s', '/nonexistent', 'help')
    lines = page('posternctl', 8, 'System administration')
    lines += ['.SH NAME', 'posternctl \\- asks a running postern firewall about its state',
              '.SH SYNOPSIS', '.B posternctl',
              '.RI [ OPTION "]... " COMMAND " [" VALUE "]... [" KEY = VALUE ]...',
              '.SH DESCRIPTION', roff(
                  'Sends a command to the daemon and prints the answer: columns for people, or '
                  'with --json one JSON object a line, with all fields. Where lines are longer '
                  'than the terminal (80 columns if there is none), columns are left out; --wide '
                  'shows all. Rows of zeros are left out without --all.'), '.SH OPTIONS']
    for line in said.split('Options:\n')[1].split('A command of')[0].splitlines():
        head = re.match(r'  (\S.*?)(?:  +(.*))?$', line)
        if head and not line.startswith('    '):
            lines += ['.TP', f'.B {roff(head[1])}', *([roff(head[2])] if head[2] else [])]
        else:
            lines.append(roff(line.strip()))
    lines += ['.SH CONDITIONS', roff(
        'Commands that list, count or end take conditions; all of them must hold. KEY!=VALUE (or '
        'KEY=!VALUE) means all others. Names may be written in any case.')]
    forms = {}
    for command in commands:
        for arg in command['args']:
            if arg.get('form'):
                forms[type_of(arg)] = arg['form']
    for name, form in forms.items():
        lines += item(f'.I {roff(name)}', form)
    lines.append('.SH COMMANDS')
    for command in commands:
        uses_file = command['file'] != 'none'
        args = [] if command['file'] == 'read' else command['args']
        words = [command['command'], *(['FILE'] if uses_file else [])]
        words += [arg['name'] + ('...' if arg.get('repeated') else '') if arg['positional']
                  else f'{arg["name"]}={type_of(arg)}'
                  for arg in args if arg['required']]
        lines += [f'.SS {roff(" ".join(words))}', roff(command['help'] + '.')]
        if command['effect'] == 'write':
            lines.append('The control socket only.')
        for arg in args:
            text = arg['help']
            if arg['required']:
                text += ' (required)'
            if arg['positional']:
                text += f'; `{arg["name"]}=` may be left out'
            if len(arg.get('values', [])) > 4:
                text += ': ' + ', '.join(arg['values'])
            lines += item(f'.BI {roff(arg["name"])}= "{roff(type_of(arg))}"', text)
        if command['columns']:
            lines += ['.PP', 'Columns: ' + roff(', '.join(c['title'] for c in command['columns']))]
    lines += ['.SS support FILE', roff(
        'Write one archive (tar) for a bug report: counters, states, names and the configuration; '
        'no payload, no connections.'), '.SS help',
              roff('List the commands; `posternctl COMMAND --help` describes one.'), *EXIT,
              *files(('/run/postern/control.sock', 'the default of --socket')),
              '.SH SEE ALSO', '.BR postern (8),', '.BR postern.yaml (5)']
    return lines


def tables(document):
    """Headings, texts and tables of docs/configuration.md, whose tables come from the program."""
    lines = []
    in_code = False
    paragraph = []

    def flush():
        if paragraph:
            lines.append('.PP')
            lines.append(roff(' '.join(paragraph)))
            paragraph.clear()
    for line in document.splitlines():
        if line.startswith('```'):
            flush()
            lines.append('.fi' if in_code else '.PP\n.nf')
            in_code = not in_code
        elif in_code or line.startswith('    '):
            flush()
            if not in_code:
                lines.append('.nf\n' + roff(line) + '\n.fi')
            else:
                lines.append(roff(line))
        elif line.startswith('#'):
            flush()
            level = len(line) - len(line.lstrip('#'))
            title = line.lstrip('# ').replace('`', '')
            lines.append(('.SH ' if level <= 2 else '.SS ') + roff(title))
        elif line.startswith('|'):
            flush()
            cells = [cell.strip().replace('\\|', '|')
                     for cell in re.split(r'(?<!\\)\|', line)[1:-1]]
            if set(''.join(cells)) <= set('-: ') or cells[0] in ('key', 'Key'):
                continue
            rest = '; '.join(cell for cell in cells[1:] if cell)
            lines += ['.TP', roff(cells[0]) or '\\&', roff(rest) or '\\&']
        elif not line.strip():
            flush()
        else:
            paragraph.append(line.strip())
    flush()
    return lines


def yaml_page():
    with open(os.path.join(ROOT, 'docs', 'configuration.md'), encoding='utf-8') as file:
        document = file.read()
    document = document.split('\n', 1)[1]  # without its title
    return [*page('postern.yaml', 5, 'File formats'), '.SH NAME',
            'postern.yaml \\- the configuration of postern', '.SH DESCRIPTION',
            *tables(document), '.SH SEE ALSO', '.BR postern (8),', '.BR posternctl (8)']


def known_commands(commands):
    """C++ raw strings, short enough for compilers: one a command, in pieces."""
    lines = ['// Written by scripts/manual.py: the descriptions of the commands, for posternctl '
             'without a daemon.']
    for command in commands:
        text = json.dumps(command, separators=(',', ':'), ensure_ascii=False)
        pieces = [text[i:i + 80] for i in range(0, len(text), 80)]
        lines += [f'R"json({piece})json"' for piece in pieces]
        lines[-1] += ','
    return lines


def tidy(lines):
    """Without macros that do nothing: a paragraph after a heading, a break at a section's end."""
    lines = '\n'.join(lines).split('\n')
    out = []
    for line in lines:
        if line == '.PP' and out and out[-1].startswith(('.SH', '.SS')):
            continue
        if line.startswith('.S') and out and out[-1] == '.br':
            out.pop()
        out.append(line)
    return out


def main(argv):
    check = '--check' in argv
    rest = [word for word in argv if word != '--check']
    app = os.path.join(rest[0] if rest else os.path.join(ROOT, 'build'), 'app')
    postern, posternctl = os.path.join(app, 'postern'), os.path.join(app, 'posternctl')
    commands = [json.loads(line) for line in output_of(postern, 'commands').splitlines()]
    commands.sort(key=lambda command: command['command'])
    pages = {
        'docs/man/postern.8': tidy(postern_page(postern)),
        'docs/man/posternctl.8': tidy(posternctl_page(posternctl, commands)),
        'docs/man/postern.yaml.5': tidy(yaml_page()),
        'docs/completion/postern': [output_of(postern, '--bash-completion').rstrip('\n')],
        'docs/completion/_postern': [output_of(postern, '--zsh-completion').rstrip('\n')],
        'docs/completion/posternctl': [output_of(posternctl, '--bash-completion').rstrip('\n')],
        'docs/completion/_posternctl': [output_of(posternctl, '--zsh-completion').rstrip('\n')],
        'app/known_commands.inc': known_commands(commands),
    }
    web = os.path.join(app, 'web', 'postern-web')
    if os.access(web, os.X_OK):  # it is optional
        pages['docs/man/postern-web.8'] = tidy(web_page(web))
    wrong = []
    for name, lines in pages.items():
        path = os.path.join(ROOT, name)
        text = '\n'.join(lines) + '\n'
        try:
            with open(path, encoding='utf-8') as file:
                same = file.read() == text
        except FileNotFoundError:
            same = False
        if same:
            continue
        if check:
            wrong.append(name)
            continue
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, 'w', encoding='utf-8') as file:
            file.write(text)
    for name in wrong:
        print(f'{name} is not what scripts/manual.py writes', file=sys.stderr)
    return 1 if wrong else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
