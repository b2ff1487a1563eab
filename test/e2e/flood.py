# SPDX-License-Identifier: BSD-3-Clause
"""Forged packets, one after the other, from addresses of nobody to an address of nobody.

    flood.py INTERFACE DESTINATION_MAC DESTINATION COUNT

Sends SIP calls, SYNs of FTP and H.323, and such with payload, without end. Says `flooded` when COUNT
of each kind have been sent."""

import ipaddress
import select
import socket
import struct
import sys

TOGETHER = 32     # packets, then a pause: the machine's other programs want to run, too
PAUSE_S = 0.005


def checksum(data):
    data += b'\0' * (len(data) % 2)
    total = sum(struct.unpack(f'!{len(data) // 2}H', data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def packet(source, destination, protocol, header, checksum_at, payload):
    body = bytearray(header + payload)
    pseudo = source + destination + struct.pack('!HH', protocol, len(body))
    struct.pack_into('!H', body, checksum_at, checksum(pseudo + bytes(body)) or 0xffff)
    ip = struct.pack('!BBHHHBBH4s4s', 0x45, 0, 20 + len(body), 1, 0, 64, protocol, 0, source,
                     destination)
    return ip[:10] + struct.pack('!H', checksum(ip)) + ip[12:] + bytes(body)


def invite(host, number):
    body = (f'v=0\r\no=a 1 1 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\n'
            f'm=audio {10000 + number % 20000 * 2} RTP/AVP 0\r\n'
            f'm=video {10000 + (number + 7) % 20000 * 2} RTP/AVP 31\r\n')
    return (f'INVITE sip:b@b SIP/2.0\r\nVia: SIP/2.0/UDP {host}:5060;branch=z9hG4bK{number}\r\n'
            f'From: <sip:a@a>;tag={number}\r\nTo: <sip:b@b>\r\nCall-ID: {number}\r\n'
            f'CSeq: 1 INVITE\r\nContent-Type: application/sdp\r\n'
            f'Content-Length: {len(body)}\r\n\r\n{body}').encode()


def kinds(number, destination):
    """One packet of each kind."""
    source = bytes((203, number >> 8 & 255, number & 255, 1 + (number >> 16) % 250))
    sport = 1024 + number % 60000
    said = invite(ipaddress.ip_address(source), number)
    yield packet(source, destination, 17, struct.pack('!HHHH', sport, 5060, 8 + len(said), 0), 6, said)
    for port, payload in ((21, b''), (21, b'U'), (1720, b'\3')):
        syn = struct.pack('!HHIIBBHHH', sport + len(payload), port, number, 0, 5 << 4, 2, 60000, 0, 0)
        yield packet(source, destination, 6, syn, 16, payload)


def main():
    interface, mac, destination, count = sys.argv[1:]
    link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    link.bind((interface, 0))
    ethernet = bytes.fromhex(mac.replace(':', '')) + link.getsockname()[4] + b'\x08\0'
    number = 0
    while True:
        for data in kinds(number, ipaddress.ip_address(destination).packed):
            link.send(ethernet + data)
        number += 1
        if number == int(count):
            print('flooded', flush=True)
        if number % (TOGETHER // 4) == 0:
            select.select([], [], [], PAUSE_S)


if __name__ == '__main__':
    main()
