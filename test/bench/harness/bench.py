# SPDX-License-Identifier: BSD-3-Clause
"""One run of the benchmarks: what was asked for, where we are, what has to be cleaned up.

A Bench owns its folder and every process and namespace that a step starts through it; close() ends
and removes all of them, whatever happened. The processes of a step that is not measured at the
moment are stopped (SIGSTOP), so that contestants which poll do not take each other's CPU."""

import contextlib
import os
import shutil
import signal
import sys
import tempfile
import time

import machine

sys.path.insert(0, os.path.join(machine.ROOT, 'test', 'e2e'))
import lab  # noqa: E402  (processes and namespaces, as the end-to-end tests use them)

BUILD = os.environ.get('POSTERN_BUILD', os.path.join(machine.ROOT, 'build'))
_PREFIX = 'postern-bench-'


class Impossible(Exception):
    """This machine cannot run it; the text says why. Becomes a row that says so."""


class Bench:
    def __init__(self, size, steps, out=sys.stderr):
        self.size = size                          # 'full', 'quick' or 'tiny'
        self.rounds = {'full': 7, 'quick': 5, 'tiny': 1}[size]
        self.steps = steps
        self.out = out
        self.started = time.monotonic()
        self.folder = tempfile.mkdtemp(prefix=f'{_PREFIX}{os.getpid()}-')
        self._cleanups = contextlib.ExitStack()
        self._estimates = {step.NAME: step.seconds(self) for step in steps}
        self._done = {}
        self._current = None
        self._last_line = 0.0
        self._remove_leftovers()

    # ---- what a step asks --------------------------------------------------------------------

    def choose(self, full, quick, tiny):
        return {'full': full, 'quick': quick, 'tiny': tiny}[self.size]

    def program(self, *parts):
        path = os.path.join(BUILD, *parts)
        if not os.access(path, os.X_OK):
            raise Impossible(f'{os.path.relpath(path, machine.ROOT)} is not built')
        return path

    def path(self, *parts):
        return os.path.join(self.folder, *parts)

    def write(self, name, text):
        with open(self.path(name), 'w', encoding='utf-8') as file:
            file.write(text)
        return self.path(name)

    def scope(self):
        """Everything started within `with bench.scope():` has ended after it."""
        return _Scope(self)

    # ---- progress ----------------------------------------------------------------------------

    def begin(self, step):
        self._current = (step.NAME, time.monotonic())
        self.say(step.TITLE, 0.0)

    def end(self):
        name, since = self._current
        self._done[name] = time.monotonic() - since
        self._current = None

    def seconds_left(self, fraction):
        """Estimates of what is left, scaled by how well they did so far."""
        expected = sum(self._estimates[name] for name in self._done)
        taken = sum(self._done.values())
        here = 0.0
        if self._current:
            name, since = self._current
            here = self._estimates[name] * (1 - fraction)
            expected += self._estimates[name] * fraction
            taken += time.monotonic() - since
        speed = min(max(taken / expected, 0.3), 3) if expected > 5 else 1
        waiting = sum(seconds for name, seconds in self._estimates.items()
                      if name not in self._done and not (self._current and self._current[0] == name))
        return (here + waiting) * speed

    def say(self, text, fraction):
        """Where we are: `fraction` of the step is done."""
        now = time.monotonic()
        number = len(self._done) + 1
        left = int(self.seconds_left(fraction))
        line = f'[{number}/{len(self.steps)}] {text}'
        left = f'{left // 60}:{left % 60:02d} left'
        if self.out.isatty():
            width = shutil.get_terminal_size().columns - len(left) - 3
            self.out.write(f'\r\x1b[K{line[:width]}  {left}')
        elif now - self._last_line >= 2 or fraction == 0:
            self.out.write(f'{line}  {left}\n')
        else:
            return
        self._last_line = now
        self.out.flush()

    def remark(self, text):
        self.out.write(('\r\x1b[K' if self.out.isatty() else '') + text + '\n')
        self.out.flush()

    # ---- the end -----------------------------------------------------------------------------

    def close(self):
        signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
        try:
            self._cleanups.close()
            shutil.rmtree(self.folder, ignore_errors=True)
            if self.out.isatty():
                self.out.write('\r\x1b[K')
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    @staticmethod
    def _remove_leftovers():
        """Folders of runs that were killed before they could clean up."""
        for name in os.listdir(tempfile.gettempdir()):
            pid = name.removeprefix(_PREFIX).split('-')[0]
            if name.startswith(_PREFIX) and pid.isdigit() and not os.path.exists(f'/proc/{pid}'):
                shutil.rmtree(os.path.join(tempfile.gettempdir(), name), ignore_errors=True)


class _Scope:
    """Processes (and one laboratory of namespaces) with one end."""

    def __init__(self, bench):
        self.bench = bench
        self.processes = []
        self._stack = contextlib.ExitStack()
        self._serial = 0

    def __enter__(self):
        self.bench._cleanups.callback(self.close)
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
        try:
            self.stop(0)
            self._stack.close()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def stop(self, first):
        """Ends the processes from the one with this number on, the last first."""
        for process in reversed(self.processes[first:]):
            process.signal(signal.SIGCONT)
            process.stop()
        del self.processes[first:]

    def at_end(self, function):
        """Calls it when all processes have ended, the last first."""
        self._stack.callback(function)

    def start(self, name, *argv, stdin=None, env=None):
        """A process of this scope. DPDK's run-time files of each are in a folder of its own."""
        self._serial += 1
        folder = self.bench.path(f'{name}-{len(os.listdir(self.bench.folder))}')
        os.makedirs(folder)
        env = {**os.environ, **(env or {}), 'RUNTIME_DIRECTORY': folder, 'XDG_RUNTIME_DIR': folder}
        process = lab.Process(name, list(argv), folder, env=env,
                              **({'stdin': stdin} if stdin is not None else {}))
        self.processes.append(process)
        return process


def pause(*processes):
    for process in processes:
        process.signal(signal.SIGSTOP)


def resume(*processes):
    for process in processes:
        process.signal(signal.SIGCONT)
