#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Attacks Postern in the ways that are known to have worked once. Each attack has a name.
#
#   scripts/attack.sh                          all attacks against build/app/postern
#   scripts/attack.sh NAME...                  only these, or all of a subject
#   scripts/attack.sh --against FILE [NAME...] another program, e.g. an older one
#   scripts/attack.sh --quick                  the cut that scripts/test.sh runs
#   scripts/attack.sh --list                   their names, and what each opens
#
# Prints `ok NAME` or `not ok NAME WHAT WAS OPENED` for each, then `N passed, N failed`. The exit
# code is 0 only if nothing was opened. Live attacks need root: they run in network namespaces of
# their own.
set -euo pipefail
exec python3 -u "$(dirname "$(readlink -f "$0")")/../test/attack/run.py" "$@"
