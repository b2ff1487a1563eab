#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Helpers read payload through Cursor only, and include nothing but base, net, helper and what lies
# in their own folder.
# Usage: lint_helpers.sh FOLDER
set -u
bad=$(grep -rnE '\b(sscanf|strto[a-z]+|ato[ifl]+|str(n?cmp|n?cpy|chr|str|len|tok)|mem(cpy|chr|mem|move))\(' \
        --include='*.cc' --include='*.h' "$1"
      grep -rnE '^#include "' --include='*.cc' --include='*.h' "$1" |
        grep -vE '#include "(base|net|helper)/' |
        grep -vE '/([^/:]+)/[^/:]+:[0-9]+:#include "\1/'
      grep -rnE '#include <(rte_|hs|sys/|arpa/|netinet/)' --include='*.cc' --include='*.h' "$1")
[ -z "$bad" ] && exit 0
printf 'not allowed in helpers:\n%s\n' "$bad"
exit 1
