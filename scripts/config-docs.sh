#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Writes the tables of docs/configuration.md anew from the descriptions of the keys (lib/config/spec
# and the helpers). Argument: the build folder (default: build).
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
exec ninja -C "${1:-build}" config-docs
