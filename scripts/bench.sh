#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Builds, then measures Postern on this machine: parts, the whole path in memory, the whole firewall
# over ports, and its peers beside it. Ends in bench/results/latest.md, latest.json and plots.
#
#   scripts/bench.sh                      everything, in under 30 minutes
#   scripts/bench.sh --quick              in under 3 minutes
#   scripts/bench.sh --only ports,ftp     some steps; --help names them
#   scripts/bench.sh --against COMMIT     this tree and that one by turns, and the ratios
#
# Two CPUs suffice; no NIC and no hugepages are needed. It may be interrupted at any time, and ends
# every process that it started. docs/performance.md explains the results.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."

for word in "$@"; do
    # These build nothing, or what they need themselves.
    case $word in
        --help | -h | --against | --against=*) exec python3 -B test/bench/harness/main.py "$@" ;;
    esac
done
if [[ -z ${POSTERN_BUILD:-} ]]; then  # who says where it is has built it
    scripts/install-deps.sh bench
    scripts/build.sh -D tests=true
fi
exec python3 -B test/bench/harness/main.py "$@"
