# SPDX-License-Identifier: BSD-3-Clause
"""A control socket that answers as a test wants: what a daemon would say, or nothing at all."""

import json
import os
import socket
import threading

DEFAULT = {
    'metrics': [
        {'group': 'worker', 'name': 'rx_packets', 'kind': 'counter', 'unit': 'packets',
         'labels': {'worker': '0'}, 'value': 7, 'help': 'frames taken from ports'},
        {'group': 'drops', 'name': 'drops', 'kind': 'counter', 'unit': 'packets',
         'labels': {'worker': '0', 'reason': 'policy'}, 'value': 3, 'help': 'packets not forwarded'}],
    'memory': [{'part': 'connections', 'used': 1, 'max': 4, 'used_percent': 25, 'mb': 1,
                'key': 'limits.connections'}],
    'expect events': [{'time': '2026-11-30T01:00:00.000+0000', 'event': 'listening'}],
}


class FakeDaemon:
    """`answers`: rows by command; `silent`: takes connections and says nothing."""

    def __init__(self, path, answers=None, silent=False):
        self.path, self.silent = path, silent
        self.answers = {**DEFAULT, **(answers or {})}
        self.asked = []  # commands, in order
        self.busy = self.most_busy = 0  # questions being answered
        self.lock = threading.Lock()
        self.ended = False
        self.ends = set()
        if os.path.exists(path):
            os.unlink(path)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while not self.ended:
            try:
                end, _ = self.listener.accept()
            except OSError:
                return
            with self.lock:
                self.ends.add(end)
            threading.Thread(target=self._serve, args=(end,), daemon=True).start()

    def _serve(self, end):
        busy = 0
        try:
            with end, end.makefile('rwb') as file:
                for line in file:
                    request = json.loads(line)
                    with self.lock:
                        self.asked.append(request['command'])
                        self.busy += 1
                        self.most_busy = max(self.most_busy, self.busy)
                    if self.silent:
                        busy = 1
                        continue
                    self._answer(file, request)
                    file.flush()
        except (OSError, ValueError):
            pass
        finally:
            with self.lock:
                self.ends.discard(end)
                self.busy -= busy

    def _answer(self, file, request):
        rows = self.answers.get(request['command'], [])
        if callable(rows):
            rows = rows(request['args'])
        with self.lock:
            self.busy -= 1
        if isinstance(rows, str):
            file.write(json.dumps({'error': {'message': rows, 'code': 'bad_args'}}).encode() + b'\n')
            return
        for row in rows:
            file.write(b'{"row":' + json.dumps(row).encode() + b'}\n')
        if request['command'] != 'expect events':
            file.write(json.dumps({'end': {'ok': True, 'rows': len(rows)}}).encode() + b'\n')

    def times(self, command):
        with self.lock:
            return self.asked.count(command)

    def close(self):
        self.ended = True
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        with self.lock:
            for end in self.ends:
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
        if os.path.exists(self.path):
            os.unlink(self.path)
