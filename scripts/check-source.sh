#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Checks the rules of the source. Prints `ok NAME`, `not ok NAME` with the places,
# or `skip NAME REASON` for each; exit code 1 if one is broken. (test/lint_helpers.sh has the rules
# for helpers.)
set -uo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."

broken=0
verdict() {  # NAME PLACES: a rule holds if there are no places where it does not
    if [[ -z $2 ]]; then
        echo "ok source/$1"
    else
        broken=1
        echo "not ok source/$1"
        sed 's/^/#   /' <<< "$2" | head -n 20
    fi
}

# Everything that git knows or would add; a tree without git (a release archive) is searched.
if git rev-parse --git-dir > /dev/null 2>&1; then
    mapfile -t files < <(git ls-files --cached --others --exclude-standard)
else
    mapfile -t files < <(find . -path './build*' -prune -o -type f -printf '%P\n')
fi
those() {  # REGEX: the files whose path matches
    local file
    for file in "${files[@]}"; do
        [[ $file =~ $1 && -f $file ]] && printf '%s\n' "$file"
    done
    return 0
}
mapfile -t cxx < <(those '\.(cc|h)$')
mapfile -t headers < <(those '\.h$')
mapfile -t scripts < <(those '(\.sh|^\.ci/run)$')
mapfile -t python < <(those '\.py$')
mapfile -t licensed < <(those '(\.(cc|h|py|sh)|meson\.build|meson_options\.txt|^\.ci/run)$')

verdict spdx-line "$(for file in "${licensed[@]}"; do
    head -n 2 "$file" | grep -q 'SPDX-License-Identifier: BSD-3-Clause' || echo "$file"
done)"

if command -v clang-format-14 > /dev/null; then
    verdict clang-format "$(clang-format-14 --dry-run "${cxx[@]}" 2>&1 | grep warning:)"
else
    echo "skip source/clang-format clang-format-14 is not installed"
fi

verdict pragma-once "$(grep -L '^#pragma once' "${headers[@]}")"

# A header is named from its library's folder; which folders can be seen, the build decides.
verdict includes "$(grep -nE '^#include "\.\.?/(lib|app|pipelines)' "${cxx[@]}")"

verdict shell-syntax "$(for file in "${scripts[@]}"; do bash -n "$file" 2>&1; done)"
verdict python-syntax "$(python3 - "${python[@]}" 2>&1 << 'END'
import ast, sys
for path in sys.argv[1:]:
    try:
        ast.parse(open(path, encoding='utf-8').read(), path)
    except SyntaxError as error:
        print(f'{path}:{error.lineno}: {error.msg}')
END
)"
verdict white-space "$(grep -nE '[[:blank:]]+$|'$'\t' "${cxx[@]}" "${scripts[@]}" "${python[@]}")"

# Includes between folders are those that the architecture names.
verdict include-graph "$(scripts/check_includes.py "${cxx[@]}" 2>&1)"

# Links of documents lead somewhere, those to functions to where they are.
mapfile -t documents < <(those '\.md$')
verdict links "$(scripts/check_links.py "${documents[@]}" 2>&1)"

# Files and classes of a size that can be read; what tables generate aside.
mapfile -t code < <(those '^(app|lib|helpers|pipelines)/.*\.(cc|h)$')
verdict sizes "$(scripts/source_sizes.py "${code[@]}" 2>&1)"

# Words that have a term of the field instead, and titles of the commits since there is that list.
mapfile -t prose < <(those '^(app|lib|helpers|pipelines|docs|conf|test|scripts)/|^[A-Z]+\.md$' |
    grep -vE '_seeds/|\.pcap|scripts/(private_words.txt|check_words.py)$')
verdict words "$(scripts/check_words.py "${prose[@]}" 2>&1)"
if since=$(git log --diff-filter=A --format=%h -- scripts/private_words.txt 2> /dev/null | tail -n 1) &&
    [[ -n $since ]]; then
    verdict commit-titles "$(git log --format=%s "$since.." | awk 'length > 72')"
else
    echo "skip source/commit-titles there is no history here"
fi
scripts/check_words.py --look "${prose[@]}" | sed 's/^/#   to look at: /'

# The table that maps Linux's sentences to tests names tests that exist.
verdict named-tests "$(python3 - lib/expect/NOTES.md << 'END'
import glob, re, subprocess, sys
tests = set()
for path in glob.glob('test/**/*.cc', recursive=True):
    with open(path, encoding='utf-8') as file:
        tests |= {'.'.join(found) for found in
                  re.findall(r'^TEST(?:_[FP])?\((\w+),\s*(\w+)\)', file.read(), re.MULTILINE)}
cases = subprocess.run(['test/e2e/run.py', '-l'], capture_output=True, text=True).stdout.split()
for path in sys.argv[1:]:
    with open(path, encoding='utf-8') as file:
        for number, line in enumerate(file, 1):
            for name in re.findall(r'`([A-Z]\w+\.[A-Z]\w+)`', line) if line[0] == '|' else ():
                if name not in tests:
                    print(f'{path}:{number}: there is no test {name}')
            for name in re.findall(r'`e2e:([^`]+)`', line) if line[0] == '|' else ():
                if not any(case.startswith(name) for case in cases):
                    print(f'{path}:{number}: there is no case {name}')
END
)"
exit $broken
