#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Tests postern-web: metrics, API, bounds, access, and the page in Chromium.
#
#   scripts/web-test.sh                  all cases
#   scripts/web-test.sh --quick          the cut of scripts/test.sh: less than two minutes
#   scripts/web-test.sh [--quick] NAME.. only these cases, by the beginning of their names
#   scripts/web-test.sh --list           their names
#
# Prints `ok NAME`, `not ok NAME` or `skip NAME REASON` for each, then `N passed, N failed`. Pictures of
# the page are in build/web-pictures/. Needs root for the cases with a firewall.
set -euo pipefail
exec python3 -u -B "$(dirname "$(readlink -f "$0")")/../test/web/main.py" "$@"
