# SPDX-License-Identifier: BSD-3-Clause
"""A small FTP client with other manners than curl's: odd_ftp_client.py HOST PORT TARGET MANNER

    ftplib    as Python's own library has it
    pasv      PASV over both families; of the reply it takes the port, wherever it stands
    twice     reads a reply up to the first line with a number and a blank, or up to silence; fetches
              the file twice
    tls       AUTH TLS and PROT P
"""

import ftplib
import re
import ssl
import sys


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


def main():
    host, port, target, manner = sys.argv[1:]
    if manner == 'tls':
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        client = ftplib.FTP_TLS(context=context)
    else:
        client = {'pasv': Pasv, 'twice': Twice}.get(manner, ftplib.FTP)()
    client.connect(host, int(port), timeout=20)
    client.login()
    if manner == 'tls':
        client.prot_p()
    for _ in range(2 if manner == 'twice' else 1):
        with open(target, 'wb') as file:
            client.retrbinary('RETR file.bin', file.write)
    client.quit()


main()
