# SPDX-License-Identifier: BSD-3-Clause
"""Local users without privileges: locks, links and files where the daemon and posternctl work."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

from kit import CannotTell, HonestTrafficDropped, Skipped, attack, configuration

NOBODY = 65534
READY_S, STOP_S = 60, 20
LOCK = 'import fcntl, os, sys; fcntl.flock(os.open(sys.argv[1], os.O_RDONLY), fcntl.LOCK_EX); ' \
       'print("locked", flush=True); sys.stdin.read()'


@contextlib.contextmanager
def folder_for(mode):
    """A directory of this mode, which everybody can reach."""
    if os.geteuid() != 0:
        raise Skipped('needs root, to become somebody else')
    if shutil.which('setpriv') is None:
        raise Skipped('there is no setpriv')
    with tempfile.TemporaryDirectory(prefix='postern-attack-') as outer:
        os.chmod(outer, 0o755)
        inner = os.path.join(outer, 'run')
        os.mkdir(inner)
        os.chmod(inner, mode)
        yield inner


def unprivileged(*argv):
    return ['setpriv', f'--reuid={NOBODY}', f'--regid={NOBODY}', '--clear-groups', *argv]


class Daemon:
    """The program on two ports without a network."""

    def __init__(self, firewall, folder, socket_path, umask=0o022):
        ports = [{'name': name, 'device': f'net_null{n}', 'zone': zone}
                 for n, (name, zone) in enumerate((('in0', 'inside'), ('out0', 'outside')))]
        self.socket = socket_path
        config = configuration(ports=ports, control={'socket': socket_path})
        path = os.path.join(folder, 'postern.yaml')
        with open(path, 'w', encoding='utf-8') as file:
            json.dump(config, file)
        self.ctl_program = os.path.join(os.path.dirname(firewall.program), 'posternctl')
        self.said = os.path.join(folder, 'postern.out')
        with open(self.said, 'wb') as out:
            self.process = subprocess.Popen([firewall.program, 'run', path], stdout=out,
                                            stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                                            umask=umask)

    def text(self):
        with open(self.said, encoding='utf-8', errors='replace') as file:
            return file.read()

    def ready(self):
        """Whether it says so before it ends, or before time is up."""
        deadline = time.monotonic() + READY_S
        while 'ready' not in self.text():
            if self.process.poll() is not None or time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True

    def must_be_ready(self):
        if not self.ready():
            raise CannotTell(f'the daemon does not start: {self.text()[-300:]}')

    def ctl(self, *arguments):
        return subprocess.run([self.ctl_program, '-s', self.socket, *arguments], timeout=60,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)

    def terminate(self):
        """Whether it ends when it is asked to."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(STOP_S)
            return True
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return False


@contextlib.contextmanager
def daemon(firewall, folder, socket_path, umask=0o022):
    running = Daemon(firewall, folder, socket_path, umask)
    try:
        yield running
    finally:
        running.terminate()


@attack(quick=True)
def lock_on_the_directory(firewall):
    """Anybody who may read the socket's directory locks it, and the daemon neither starts nor ends.

    Older versions waited for that lock for ever, deaf to SIGTERM. Now the daemon locks a file that
    others cannot open, and starts."""
    with folder_for(0o755) as folder:
        holder = subprocess.Popen(unprivileged(sys.executable, '-c', LOCK, folder),
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            if holder.stdout.readline() != b'locked\n':
                raise CannotTell('the lock cannot be taken')
            # The configuration and the output lie elsewhere.
            with daemon(firewall, os.path.dirname(folder), os.path.join(folder, 'sock')) as it:
                opened = [] if it.ready() else ['the daemon does not start']
                if not it.terminate():
                    opened.append('SIGTERM does not end it')
            return opened
        finally:
            holder.stdin.close()
            holder.wait()
            holder.stdout.close()


@attack()
def directory_for_all(firewall):
    """With umask 0 the socket's directory was made with mode 0777: anybody replaces the socket.

    Now it has mode 0700 whatever the umask is, and a directory that others may write to is
    refused."""
    with folder_for(0o755) as folder:
        opened = []
        made = os.path.join(folder, 'made')
        with daemon(firewall, folder, os.path.join(made, 'sock'), umask=0) as it:
            it.must_be_ready()
            if os.stat(made).st_mode & 0o022:
                opened.append(f'the directory has mode {os.stat(made).st_mode & 0o7777:04o}')
            if it.ctl('conntrack', 'count').returncode != 0:
                raise HonestTrafficDropped('posternctl is not served')
        for mode in (0o777, 0o1777):
            os.chmod(made, mode)
            with daemon(firewall, folder, os.path.join(made, 'sock')) as it:
                if it.ready():
                    opened.append(f'a directory of mode {mode:04o} is taken')
        return opened


@attack(quick=True)
def files_of_saved_connections(firewall):
    """`save` and `restore` in a directory where others may write.

    Older versions wrote through a link at PATH.part, kept a foreign file there with its mode,
    replaced device nodes, and restored whatever anybody had written. Now: a new file with an
    unpredictable name, mode 0600, that replaces nothing but a regular file; and only files that
    nobody else can have written are restored."""
    with folder_for(0o755) as folder, daemon(firewall, folder, os.path.join(folder, 's')) as it:
        it.must_be_ready()
        shared = os.path.join(folder, 'shared')
        os.mkdir(shared)
        os.chmod(shared, 0o777)
        state, target = os.path.join(shared, 'state'), os.path.join(folder, 'target')
        opened = []

        with open(target, 'w', encoding='utf-8') as file:
            file.write('precious')
        subprocess.run(unprivileged('ln', '-s', target, f'{state}.part'), check=True)
        it.ctl('conntrack', 'save', state)
        with open(target, encoding='utf-8') as file:
            if file.read() != 'precious':
                opened.append('save writes through a link')

        for name in (state, f'{state}.part'):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)
        subprocess.run(unprivileged('sh', '-c', f'umask 0; : > {state}.part'), check=True)
        saved = it.ctl('conntrack', 'save', state)
        if saved.returncode != 0:
            raise HonestTrafficDropped(f'save: {saved.stdout}{saved.stderr}')
        info = os.stat(state)
        if info.st_uid != 0 or info.st_mode & 0o077:
            opened.append(f'save keeps a file of uid {info.st_uid}, '
                          f'mode {info.st_mode & 0o7777:04o}')
            os.chown(state, 0, 0)
            os.chmod(state, 0o600)

        device = os.path.join(folder, 'null')
        os.mknod(device, 0o600 | 0o020000, os.makedev(1, 3))
        it.ctl('conntrack', 'save', device)
        if os.path.isfile(device):
            opened.append('save replaces a device node')

        restored = it.ctl('conntrack', 'restore', state)
        if restored.returncode != 0:
            raise HonestTrafficDropped(f'restore: {restored.stdout}{restored.stderr}')
        for uid, mode in ((NOBODY, 0o644), (0, 0o666), (0, 0o620)):
            os.chown(state, uid, uid)
            os.chmod(state, mode)
            if it.ctl('conntrack', 'restore', state).returncode == 0:
                opened.append(f'restore takes a file of uid {uid}, mode {mode:04o}')
        return opened
