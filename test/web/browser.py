# SPDX-License-Identifier: BSD-3-Clause
"""Chromium without a window, driven by its DevTools protocol over two pipes (no port is opened)."""

import base64
import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import time

# Descriptors that --remote-debugging-pipe reads and writes.
READS, WRITES = 3, 4
ARGUMENTS = ['--headless=new', '--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-sync',
             '--disable-background-networking', '--disable-component-update', '--mute-audio',
             '--disable-dev-shm-usage', '--remote-debugging-pipe']


class BrowserError(Exception):
    """The browser, or the page in it, failed."""


def why_impossible():
    return None if shutil.which('chromium') else 'chromium is not installed'


class Browser:
    def __init__(self, folder):
        to_read, self.out = os.pipe()
        self.into, to_write = os.pipe()
        self.log = open(os.path.join(folder, 'chromium.err'), 'wb')

        def place_pipes():
            # Through higher numbers, so that neither overwrites the other.
            high = [os.dup2(to_read, 100), os.dup2(to_write, 101)]
            os.dup2(high[0], READS)
            os.dup2(high[1], WRITES)

        self.process = subprocess.Popen(
            ['chromium', *ARGUMENTS, f'--user-data-dir={os.path.join(folder, "profile")}', 'about:blank'],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, close_fds=False,
            preexec_fn=place_pipes, start_new_session=True)
        os.close(to_read)
        os.close(to_write)
        self.number, self.buffer = 0, b''
        self.events = []

    def _send(self, message):
        os.write(self.out, json.dumps(message).encode() + b'\0')

    def _receive(self, deadline):
        while b'\0' not in self.buffer:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.into], [], [], left)[0]:
                raise BrowserError('Chromium does not answer')
            more = os.read(self.into, 1 << 16)
            if not more:
                raise BrowserError('Chromium has ended')
            self.buffer += more
        line, _, self.buffer = self.buffer.partition(b'\0')
        return json.loads(line)

    def call(self, method, session=None, timeout=60, **parameters):
        self.number += 1
        message = {'id': self.number, 'method': method, 'params': parameters}
        if session:
            message['sessionId'] = session
        self._send(message)
        deadline = time.monotonic() + timeout
        while True:
            answer = self._receive(deadline)
            if answer.get('id') == self.number:
                if 'error' in answer:
                    raise BrowserError(f'{method}: {answer["error"]}')
                return answer['result']
            if 'method' in answer:
                self.events.append(answer)

    def page(self, width=1280, height=900):
        return Page(self, width, height)

    def close(self):
        with contextlib.suppress(BrowserError, OSError):
            self.call('Browser.close', timeout=10)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(10)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)  # its session: its own children
        self.process.wait()
        os.close(self.out)
        os.close(self.into)
        self.log.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Page:
    """One tab."""

    def __init__(self, browser, width, height):
        self.browser = browser
        self.target = browser.call('Target.createTarget', url='about:blank')['targetId']
        self.session = browser.call('Target.attachToTarget', targetId=self.target, flatten=True)['sessionId']
        for domain in ('Page', 'Runtime', 'Log', 'Network', 'Accessibility'):
            self.call(f'{domain}.enable')
        self.call('Emulation.setDeviceMetricsOverride', width=width, height=height,
                  deviceScaleFactor=1, mobile=width < 600)

    def call(self, method, **parameters):
        return self.browser.call(method, session=self.session, **parameters)

    def go(self, url):
        self.call('Page.navigate', url=url)

    def value(self, expression):
        """What an expression of JavaScript is in the page."""
        result = self.call('Runtime.evaluate', expression=expression, returnByValue=True, awaitPromise=True)
        if 'exceptionDetails' in result:
            raise BrowserError(f'{expression}: {result["exceptionDetails"]}')
        return result['result'].get('value')

    def until(self, expression, what=None, timeout=40):
        """Waits until the expression is true, and returns its value."""
        deadline = time.monotonic() + timeout
        while True:
            value = self.value(expression)
            if value:
                return value
            if time.monotonic() > deadline:
                raise BrowserError(f'{what or expression} did not come in {timeout} s; the browser complains of '
                                   f'{self.complaints()}; the page says:\n' + str(self.value('document.body.innerText'))[:2000])
            select.select([], [], [], .05)

    def text(self, selector='body'):
        return self.value(f'document.querySelector({json.dumps(selector)})?.innerText')

    def press(self, key, code=None, number=0, modifiers=0):
        for kind in ('rawKeyDown', 'keyUp'):
            self.call('Input.dispatchKeyEvent', type=kind, key=key, code=code or key,
                      windowsVirtualKeyCode=number, modifiers=modifiers)
        return self

    def picture(self, path):
        data = self.call('Page.captureScreenshot', format='png')['data']
        with open(path, 'wb') as file:
            file.write(base64.b64decode(data))

    def complaints(self):
        """Errors of scripts, of the console, of the content security policy."""
        found = []
        for event in self.browser.events:
            if event.get('sessionId') != self.session:
                continue
            entry = event['params'].get('entry', {})
            if event['method'] == 'Runtime.exceptionThrown':
                found.append(str(event['params']['exceptionDetails']))
            elif event['method'] == 'Log.entryAdded' and entry.get('level') == 'error':
                found.append(entry.get('text', ''))
        return found

    def requests(self):
        """Addresses that the page has asked for."""
        return [event['params']['request']['url'] for event in self.browser.events
                if event.get('sessionId') == self.session and event['method'] == 'Network.requestWillBeSent']

    def close(self):
        self.browser.call('Target.closeTarget', targetId=self.target)
