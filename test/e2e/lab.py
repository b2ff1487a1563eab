# SPDX-License-Identifier: BSD-3-Clause
"""The laboratory: two hosts joined only by what stands in the middle.

      host "inside"            host "middle"             host "outside"
    192.0.2.1  eth0 ------- pst-in   pst-out ------- eth0  192.0.2.2
    2001:db8::1                                            2001:db8::2

Each host is a network namespace; their names carry this process' id, so several laboratories can
exist at once. The middle has no addresses and does not forward: whatever passes was passed by the
program that holds its two ports (middle.py).

A Lab owns what it makes. close() ends its processes by id, removes its namespaces (the veth pairs
go with them) and its folder. A child is also killed by the kernel when this process dies, and the
namespaces that a killed run left behind are removed by the next one.
"""

import contextlib
import ctypes
import os
import re
import select
import shutil
import signal
import subprocess
import tempfile
import time

INSIDE4, OUTSIDE4 = '192.0.2.1', '192.0.2.2'
INSIDE6, OUTSIDE6 = '2001:db8::1', '2001:db8::2'
HOSTS = ('inside', 'middle', 'outside')

_libc = ctypes.CDLL('libc.so.6', use_errno=True)
_PR_SET_PDEATHSIG = 1
_CLONE_NEWNET = 0x40000000
_FOLDER_PREFIX = 'postern-e2e-'


class LabError(Exception):
    """Something of the laboratory itself (not of the thing under test) went wrong."""


def run(*argv, check=True, timeout=30):
    """Runs a short command; returns its CompletedProcess with text output."""
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=timeout, check=False)
    if check and done.returncode != 0:
        raise LabError(f'{" ".join(argv)}: exit {done.returncode}: {done.stderr.strip()}')
    return done


def why_impossible():
    """None if namespaces and veth pairs can be made here, else the reason."""
    if os.geteuid() != 0:
        return 'needs root (network namespaces)'
    name = f'pst-probe-{os.getpid()}'
    made = run('ip', 'netns', 'add', name, check=False)
    if made.returncode != 0:
        return f'network namespaces cannot be made here: {made.stderr.strip()}'
    try:
        veth = run('ip', '-n', name, 'link', 'add', 'probe0', 'type', 'veth', 'peer',
                   'name', 'probe1', check=False)
    finally:
        run('ip', 'netns', 'del', name, check=False)
    if veth.returncode != 0:
        return f'veth pairs cannot be made here: {veth.stderr.strip()}'
    return None


def _end_all_in(namespace):
    """Kills what still runs in a namespace of ours: servers' children that left their session."""
    for _ in range(100):
        pids = run('ip', 'netns', 'pids', namespace, check=False).stdout.split()
        if not pids:
            return
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        select.select([], [], [], 0.01)


def remove_namespace(name):
    _end_all_in(name)
    run('ip', 'netns', 'del', name, check=False)


def _remove_leftovers():
    """Removes what runs that were killed before they could clean up have left behind."""
    for line in run('ip', 'netns', 'list').stdout.splitlines():
        name = line.split()[0]
        found = re.fullmatch(r'pst-(?:inside|middle|outside|probe)-(\d+)(?:-\d+)?', name)
        if found and not os.path.exists(f'/proc/{found[1]}'):
            remove_namespace(name)
    for name in os.listdir(tempfile.gettempdir()):
        found = re.fullmatch(_FOLDER_PREFIX + r'(\d+)-\w+', name)
        if found and not os.path.exists(f'/proc/{found[1]}'):
            shutil.rmtree(os.path.join(tempfile.gettempdir(), name), ignore_errors=True)


class Process:
    """A child in a session of its own, whose output goes to files and can be waited for."""

    def __init__(self, name, argv, folder, stdin=subprocess.DEVNULL, env=None):
        self.name = name
        self.argv = argv
        self.out_path = os.path.join(folder, f'{name}.out')
        self.err_path = os.path.join(folder, f'{name}.err')
        parent = os.getpid()

        def die_with_parent():
            _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:
                os._exit(1)

        with open(self.out_path, 'wb') as out, open(self.err_path, 'wb') as err:
            self.popen = subprocess.Popen(argv, stdin=stdin, stdout=out, stderr=err, env=env,
                                          start_new_session=True, preexec_fn=die_with_parent)
        # Readable once the process has ended: lets every wait below end with the process.
        self.pidfd = os.pidfd_open(self.popen.pid)

    @property
    def stdout(self):
        return _read(self.out_path)

    @property
    def stderr(self):
        return _read(self.err_path)

    def running(self):
        return self.popen.poll() is None

    def await_output(self, pattern, timeout=20):
        """Waits until `pattern` is in stdout or stderr; LabError if it never will be."""
        deadline = time.monotonic() + timeout
        while True:
            ended = not self.running()
            said = self.stdout + self.stderr
            if re.search(pattern, said):
                return
            if ended:
                raise LabError(f'{self.name} ended with exit code {self.popen.returncode} before '
                               f'it said {pattern!r}:\n{_tail(said)}')
            if time.monotonic() > deadline:
                raise LabError(f'{self.name} did not say {pattern!r} in {timeout} s:\n'
                               f'{_tail(said)}')
            select.select([self.pidfd], [], [], 0.02)

    def wait(self, timeout):
        """The exit code; LabError if it is still running after `timeout` seconds."""
        try:
            return self.popen.wait(timeout)
        except subprocess.TimeoutExpired:
            raise LabError(f'{self.name} is still running after {timeout} s') from None

    def signal(self, number):
        if self.running():
            self.popen.send_signal(number)

    def stop(self, timeout=5):
        """Ends the process and everything in its session that it started."""
        if self.running():
            self.popen.terminate()
            try:
                self.popen.wait(timeout)
            except subprocess.TimeoutExpired:
                pass
        try:
            os.killpg(self.popen.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.popen.wait()
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1
        return self.popen.returncode


class Lab:
    def __init__(self, keep=False):
        self.keep = keep
        self.names = {}
        self.processes = []
        self.folder = None
        _remove_leftovers()
        try:
            self.folder = tempfile.mkdtemp(prefix=f'{_FOLDER_PREFIX}{os.getpid()}-')
            os.chmod(self.folder, 0o755)  # servers drop their privileges and still read here
            self._make_hosts()
        except BaseException:
            self.close()
            raise

    # ---- hosts -------------------------------------------------------------------------------

    def _make_hosts(self):
        taken = {line.split()[0] for line in run('ip', 'netns', 'list').stdout.splitlines()}
        suffix, n = str(os.getpid()), 1
        while f'pst-middle-{suffix}' in taken:
            n += 1
            suffix = f'{os.getpid()}-{n}'
        for host in HOSTS:
            name = f'pst-{host}-{suffix}'
            run('ip', 'netns', 'add', name)
            self.names[host] = name
        # The middle's own stack stays silent; the hosts use their addresses without waiting.
        self.do('middle', 'sysctl', '-qw', 'net.ipv6.conf.all.disable_ipv6=1',
                'net.ipv6.conf.default.disable_ipv6=1')
        for host, port, v4, v6 in (('inside', 'pst-in', INSIDE4, INSIDE6),
                                   ('outside', 'pst-out', OUTSIDE4, OUTSIDE6)):
            # Small receive buffers: a client that reads slowly makes for a slow transfer.
            self.do(host, 'sysctl', '-qw', 'net.ipv6.conf.default.accept_dad=0',
                    'net.ipv6.conf.default.router_solicitations=0',
                    'net.ipv4.tcp_rmem=4096 32768 65536')
            run('ip', '-n', self.names[host], 'link', 'add', 'eth0', 'type', 'veth',
                'peer', 'name', port, 'netns', self.names['middle'])
            offloads_off(self, host, 'eth0')
            offloads_off(self, 'middle', port)
            self.ip(host, 'addr', 'add', f'{v4}/24', 'brd', '+', 'dev', 'eth0')
            self.ip(host, 'addr', 'add', f'{v6}/64', 'dev', 'eth0', 'nodad')
            self.ip('middle', 'link', 'set', port, 'up', 'promisc', 'on')
            self.ip(host, 'link', 'set', 'eth0', 'up')
            self.ip(host, 'link', 'set', 'lo', 'up')

    def ip(self, host, *arguments):
        return run('ip', '-n', self.names[host], *arguments)

    def on(self, host, *argv):
        """The argument list that runs `argv` on a host."""
        return ['ip', 'netns', 'exec', self.names[host], *argv]

    def do(self, host, *argv, check=True, timeout=30):
        """Runs a short command on a host."""
        return run(*self.on(host, *argv), check=check, timeout=timeout)

    def start(self, name, host, *argv, stdin=subprocess.DEVNULL, env=None):
        """Starts a long-running command on a host; the Lab ends it."""
        process = Process(name, self.on(host, *argv), self.folder, stdin=stdin, env=env)
        self.processes.append(process)
        return process

    @contextlib.contextmanager
    def inside_of(self, host):
        """Within this block, this thread is on `host`: sockets made here live there for good."""
        home = os.open('/proc/thread-self/ns/net', os.O_RDONLY)
        there = os.open(f'/run/netns/{self.names[host]}', os.O_RDONLY)
        try:
            _enter(there)
            yield
        finally:
            _enter(home)
            os.close(there)
            os.close(home)

    def path(self, *parts):
        return os.path.join(self.folder, *parts)

    def write(self, name, text):
        path = self.path(name)
        with open(path, 'w', encoding='utf-8') as file:
            file.write(text)
        return path

    # ---- the end -----------------------------------------------------------------------------

    def close(self, logs_to=None):
        """Ends and removes everything; first copies the logs to the folder `logs_to`, if given.

        It is not interrupted: a second Ctrl-C would leave half of it behind."""
        signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
        try:
            self._close(logs_to)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _close(self, logs_to):
        for process in reversed(self.processes):
            process.stop()
        self.processes.clear()
        if logs_to and self.folder:
            shutil.copytree(self.folder, logs_to, dirs_exist_ok=True,
                            ignore=shutil.ignore_patterns('srv', '*.sock'))
        if self.keep:
            return
        for name in self.names.values():
            remove_namespace(name)
        self.names.clear()
        if self.folder:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def offloads_off(lab, host, device):
    """A veth leaves checksums and segmentation to a NIC that does not exist: do them in full."""
    lab.do(host, 'ethtool', '-K', device, 'tx', 'off', 'rx', 'off', 'tso', 'off', 'gso', 'off',
           'gro', 'off', 'txvlan', 'off', 'rxvlan', 'off', check=False)
    for line in lab.do(host, 'ethtool', '-k', device).stdout.splitlines():
        if re.match(r'(tx-checksumming|tcp-segmentation-offload|generic-segmentation-offload|'
                    r'generic-receive-offload): on$', line):
            raise LabError(f'{device} on {host}: {line} (ethtool could not turn it off)')


def _enter(namespace):
    if _libc.setns(namespace, _CLONE_NEWNET) != 0:
        raise LabError(f'setns: {os.strerror(ctypes.get_errno())}')


def _read(path):
    with open(path, encoding='utf-8', errors='replace') as file:
        return file.read()


def _tail(text, lines=20):
    return '\n'.join(text.splitlines()[-lines:])
