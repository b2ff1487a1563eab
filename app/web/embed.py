#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Writes C++ with the files of the page as constants: embed.py OUT FILE...

A file is served at /NAME; index.html at /, too.
"""

import os
import sys

TYPES = {'.html': 'text/html; charset=utf-8', '.js': 'text/javascript; charset=utf-8',
         '.css': 'text/css; charset=utf-8', '.svg': 'image/svg+xml'}
BYTES_A_LINE = 32


def array(name, data):
    """Not a string: compilers need not take one of more than 64 KiB."""
    signed = [str(b - 256 if b > 127 else b) for b in data + b'\0']
    lines = [','.join(signed[i:i + BYTES_A_LINE]) for i in range(0, len(signed), BYTES_A_LINE)]
    return f'static constexpr char {name}[] = {{\n' + ',\n'.join(lines) + '};'


def main(out, *paths):
    texts = ['// Written by embed.py.', '#include "web/page.h"', 'namespace postern {']
    rows = []
    for number, path in enumerate(sorted(paths)):
        with open(path, 'rb') as file:
            data = file.read()
        name = os.path.basename(path)
        texts.append(array(f'kFile{number}', data))
        for place in ['/' + name] + (['/'] if name == 'index.html' else []):
            kind = TYPES[os.path.splitext(name)[1]]
            rows.append(f'    {{"{place}", "{kind}", {{kFile{number}, {len(data)}}}}},')
    texts += ['std::span<const PageFile> page_files() {', '    static constexpr PageFile kFiles[] = {',
              *rows, '    };', '    return kFiles;', '}', '}  // namespace postern', '']
    with open(out, 'w', encoding='ascii') as file:
        file.write('\n'.join(texts))


if __name__ == '__main__':
    main(*sys.argv[1:])
