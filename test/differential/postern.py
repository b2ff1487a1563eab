# SPDX-License-Identifier: BSD-3-Clause
"""Runs `postern replay`."""

import json
import os
import subprocess
import tempfile

import captures

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROGRAM = os.path.join(ROOT, 'build', 'app', 'postern')
LIMIT_S = 120


class Failure(Exception):
    """It did not do what it was asked."""


def run_bare(program, config, *arguments):
    """The finished process, told nothing of the sides."""
    return subprocess.run([program, 'replay', '-c', config, *arguments], capture_output=True,
                          timeout=LIMIT_S, check=False)


def run_file(program, config, path, *arguments):
    """The finished process."""
    return subprocess.run([program, 'replay', '-c', config, '--inside-mac', captures.INSIDE_MAC,
                           *arguments, path], capture_output=True, timeout=LIMIT_S, check=False)


def run(program, config, capture, *arguments):
    """The same for a capture given as bytes."""
    with tempfile.NamedTemporaryFile(suffix='.pcap') as file:
        file.write(capture)
        file.flush()
        return run_file(program, config, file.name, *arguments)


def replay(program, config, capture, *arguments):
    """All rows of its JSON."""
    return rows(run(program, config, capture, '--json', *arguments))


def rows(done):
    """All rows of a finished process's JSON."""
    if done.returncode != 0:
        raise Failure(f'exit code {done.returncode}: {done.stderr.decode().strip()}')
    return [json.loads(line) for line in done.stdout.splitlines()]
