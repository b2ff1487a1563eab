#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Runs attacks on Postern that worked once. Each attack has a name.
#
#   scripts/attack.sh                          all attacks against build/app/postern
#   scripts/attack.sh NAME...                  only these, or all of a subject
#   scripts/attack.sh --against FILE [NAME...] another program, e.g. an older one
#   scripts/attack.sh --quick                  the selection of scripts/test.sh
#   scripts/attack.sh --list                   their names and descriptions
#
# Prints `ok NAME` or `not ok NAME WHAT WAS OPENED` for each, then `N passed, N failed`. The exit
# code is 0 only if nothing was opened. Live attacks need root: they run in network namespaces of
# their own.
set -euo pipefail
exec python3 -u "$(dirname "$(readlink -f "$0")")/../test/attack/run.py" "$@"
