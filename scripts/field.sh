#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Repeats the tests of test/field.tsv with an older program, where each has to fail.
#
#   scripts/field.sh --against TREE [NAME...]   a checkout that is built in TREE/build: app/postern,
#                                               app/posternctl and test/dialogue/dialogue_test;
#                                               configurations are those of TREE/conf
#
# NAME is a part of a test's name; without any, all. Prints for each test of the table, with the
# first words of its failure:
#
#   fails NAME       as it has to
#   lacks NAME       it fails because TREE has no such key, command or notation
#   passes NAME      it does not show the fault
#   unknown NAME     a unit test: break the code by hand
#
# The exit code is 1 if a test passes, or TREE is not built. End-to-end tests need root.
set -euo pipefail
exec python3 -u "$(dirname "$(readlink -f "$0")")/field_against.py" "$@"
