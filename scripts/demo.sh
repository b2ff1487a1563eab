#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Demonstrates Postern on one machine without a NIC or hugepages: two network namespaces connected
# only by it, a real FTP server outside, real clients inside. Installs missing packages, builds,
# and removes its namespaces at the end, also when interrupted. Needs root. Exit code 0: success.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."

if [[ $(id -u) -ne 0 ]]; then
    echo 'demo: network namespaces need root: sudo scripts/demo.sh' >&2
    exit 1
fi
scripts/install-deps.sh demo
# A demo needs no tests; a folder that was set up for them is used as it is.
options=()
if [[ ! -f build/build.ninja ]]; then
    options=(-D tests=false)
    echo 'demo: building (a minute or two the first time)'
fi
scripts/build.sh "${options[@]}" app/postern app/posternctl
exec python3 -u scripts/demo.py
