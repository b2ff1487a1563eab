#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Loads other configurations while traffic runs through the firewall, and looks at what stays.
#
#   scripts/reload-cycle.sh                  the cut of scripts/test.sh: less than two minutes
#   scripts/reload-cycle.sh --full           200 loads, 100,000 UDP flows, more of everything
#   scripts/reload-cycle.sh [--full] NAME... only these blocks, by the beginning of their names
#   scripts/reload-cycle.sh --list           their names
#
# Prints `ok NAME` or `not ok NAME` for each thing that has to hold, then `N passed, N failed`.
# Needs root: it runs in network namespaces of its own.
set -euo pipefail
exec python3 -u "$(dirname "$(readlink -f "$0")")/../test/reload/main.py" "$@"
