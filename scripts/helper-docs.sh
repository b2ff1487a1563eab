#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Writes docs/helpers/ anew from the helpers' descriptors and notes. Argument: the build folder
# (default: build).
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
exec ninja -C "${1:-build}" helper-docs
