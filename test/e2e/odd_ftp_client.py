# SPDX-License-Identifier: BSD-3-Clause
"""A small FTP client with other manners than curl's: odd_ftp_client.py HOST PORT TARGET MANNER

    ftplib    as Python's own library has it
    pasv      PASV over both families; of the reply it takes the port, wherever it stands
    twice     reads a reply up to the first line with a number and a blank, or up to silence; fetches
              the file twice
    tls       AUTH TLS and PROT P
    names     is hostile: it asks for names of files, and sends a request between two that look like
              replies. Then it fetches the file, and fails if it reaches the port of the second name
"""

import ftplib
import re
import socket
import ssl
import sys

REFUSED_S = 2


class Pasv(ftplib.FTP):
    def makepasv(self):
        numbers = re.findall(r'\d+', self.sendcmd('PASV').partition(' ')[2])[-6:]
        return self.sock.getpeername()[0], int(numbers[4]) * 256 + int(numbers[5])


class Twice(ftplib.FTP):
    """Any line with a number and a blank ends a reply."""
    def getmultiline(self):
        while not re.match(r'\d\d\d ', line := self.getline()):
            pass
        return line


class Names(ftplib.FTP):
    """Takes the names for replies; port_of_name is the one that the second of them gives."""
    def login(self, *words):
        super().login(*words)
        self.sendcmd('TYPE I')
        self.putcmd('STAT up')
        self.expect('213-')
        self.putcmd('TYPE I')
        self.expect('200 a file')
        self.putcmd('PASV')
        numbers = re.findall(r'\d+', self.expect('227 a file'))
        self.port_of_name = int(numbers[-2]) * 256 + int(numbers[-1])
        if self.reaches():
            sys.exit(f'a name has opened port {self.port_of_name}')
        self.expect('213 ')
        self.expect('200 ok')
        self.announced = self.expect('227 ')

    def expect(self, beginning):
        line = self.getline()
        if not line.startswith(beginning):
            sys.exit(f'got "{line}", expected "{beginning}"')
        return line

    def reaches(self):
        """Whether the port of the name is open. Only a port that is not takes its time."""
        try:
            socket.create_connection((self.host, self.port_of_name), REFUSED_S).close()
        except OSError:
            return False
        return True

    def makepasv(self):
        """PASV was sent inside the list; its own reply came after it."""
        return ftplib.parse227(self.announced)


def main():
    host, port, target, manner = sys.argv[1:]
    if manner == 'tls':
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        client = ftplib.FTP_TLS(context=context)
    else:
        client = {'pasv': Pasv, 'twice': Twice, 'names': Names}.get(manner, ftplib.FTP)()
    client.connect(host, int(port), timeout=20)
    client.login()
    if manner == 'tls':
        client.prot_p()
    for _ in range(2 if manner == 'twice' else 1):
        with open(target, 'wb') as file:
            client.retrbinary('RETR file.bin', file.write)
    client.quit()


main()
