#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Restarts the firewall while traffic runs through it, and looks at what survives.
#
#   scripts/restart-cycle.sh                  the cut of scripts/test.sh: less than two minutes
#   scripts/restart-cycle.sh --full           20 restarts of each kind, 100,000 UDP flows
#   scripts/restart-cycle.sh [--full] NAME... only these blocks, by the beginning of their names
#   scripts/restart-cycle.sh --list           their names
#
# Prints `ok NAME` or `not ok NAME` for each kind of traffic in each block, then
# `N passed, N failed`. Needs root: it runs in network namespaces of its own.
set -euo pipefail
exec python3 -u "$(dirname "$(readlink -f "$0")")/../test/restart/cycle.py" "$@"
