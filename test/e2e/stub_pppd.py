#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""In place of pppd, for machines whose kernel has no PPP: pptpd runs it on a terminal whose other end
it carries over GRE. Says something, then appends to the file STUB_PPPD_SAID what it hears."""

import os
import sys
import tty

HELLO = b'\xc0\x21hello from the server'


def framed(payload):
    """An HDLC-like frame (RFC 1662): check sequence (appendix C.2) and escapes."""
    data = b'\xff\x03' + payload
    check = 0xffff
    for byte in data:
        check ^= byte
        for _ in range(8):
            check = check >> 1 ^ 0x8408 if check & 1 else check >> 1
    data += (check ^ 0xffff).to_bytes(2, 'little')
    escaped = b''.join(bytes((0x7d, byte ^ 0x20)) if byte < 0x20 or byte in (0x7d, 0x7e)
                       else bytes((byte,)) for byte in data)
    return b'\x7e' + escaped + b'\x7e'


def main():
    tty.setraw(0)
    os.write(1, framed(HELLO))
    with open(os.environ['STUB_PPPD_SAID'], 'ab', buffering=0) as file:
        try:
            while heard := os.read(0, 4096):
                file.write(heard)
        except OSError:  # the terminal's other end is gone
            pass
    return 0


if __name__ == '__main__':
    sys.exit(main())
