#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Installs what is missing, builds, runs every test. The last line is
#
#   N passed, N failed[, N skipped]
#
# and the exit code is 0 only if nothing failed. Each failure is listed before that line with its
# name, each skip with its reason.
#
#   scripts/test.sh            everything
#   scripts/test.sh STEP...    only these steps: source unit clang sanitize stress fuzz e2e
set -uo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."

FUZZ_SECONDS=${FUZZ_SECONDS:-10}  # for each fuzz target
steps=" ${*:-source unit clang sanitize stress fuzz e2e} "

results=$(mktemp)
finish() { rm -f "$results" "$results".*; }
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

headline() { printf '\n== %s (%d:%02d)\n' "$1" $((SECONDS / 60)) $((SECONDS % 60)); }
wanted() { [[ $steps == *" $1 "* ]]; }

# Takes lines `ok NAME`, `not ok NAME ...`, `skip NAME REASON`, `#  ...` from stdin into the results.
# Shows them all, or with `brief` only what did not pass.
collect() {
    local line
    while IFS= read -r line; do
        case $line in
            'ok '*) printf '%s\n' "$line" >> "$results"; [[ ${1:-} == brief ]] || echo "$line" ;;
            'not ok '*|'skip '*) printf '%s\n' "$line" >> "$results"; echo "$line" ;;
            *) echo "$line" ;;
        esac
    done
}

count() { grep -c "^$1 " "$results"; }

summary() {
    local passed failed skipped
    passed=$(count ok) failed=$(count 'not ok') skipped=$(count skip)
    echo
    grep '^not ok ' "$results"
    grep '^skip ' "$results"
    printf '%d passed, %d failed' "$passed" "$failed"
    [[ $skipped -eq 0 ]] || printf ', %d skipped' "$skipped"
    echo
    [[ $failed -eq 0 ]]
}

# build NAME COMPILER build.sh's arguments...: one result; warnings are failures.
build() {
    local name=$1 compiler=$2 log=$results.build
    shift 2
    case $compiler in
        g++) export CC=gcc CXX=g++ ;;
        clang) export CC=clang-14 CXX=clang++-14 ;;
    esac
    scripts/build.sh "$@" > "$log" 2>&1
    local code=$?
    if [[ $code -ne 0 ]] || grep -q 'warning:' "$log"; then
        echo "not ok build/$name"
        grep -E 'error|warning:|FAILED|note:' "$log" | head -n 40 | sed 's/^/#   /'
        [[ $code -ne 0 ]] && sed 's/^/#   /' "$log" | tail -n 10
    else
        echo "ok build/$name"
    fi
    return $code
}

# meson_tests FOLDER PREFIX meson's arguments...
meson_tests() {
    local folder=$1 prefix=$2
    shift 2
    meson test -C "$folder" --no-rebuild --print-errorlogs "$@" 2>&1 |
        grep -vE '^(ninja: |$|Full log written)' | sed 's/^/#   /'
    scripts/meson_results.py "$folder" "$prefix" | collect brief
    echo "   $(grep -c "^ok $prefix/" "$results") passed"
}

# The executables of a build folder whose name matches, as paths relative to here.
executables() {
    meson introspect "$1" --targets | python3 -c '
import json, os, re, sys
for target in json.load(sys.stdin):
    if target["type"] == "executable" and re.search(sys.argv[1], target["name"]):
        print(os.path.relpath(target["filename"][0]))' "$2"
}

headline 'packages'
if ! scripts/install-deps.sh test; then
    echo 'not ok packages' | collect
    summary
    exit 1
fi

if wanted source; then
    headline 'rules of the source'
    scripts/check-source.sh | collect
fi

if wanted unit || wanted e2e; then
    headline 'build with g++'
    # Nothing can be said about a tree that does not build.
    if ! build g++ g++ -D tests=true > "$results.out"; then
        collect < "$results.out"
        summary
        exit 1
    fi
    collect < "$results.out"
fi

if wanted unit; then
    headline 'unit tests'
    meson_tests build unit --no-suite stress
fi

if wanted clang || wanted fuzz; then
    headline 'build with clang'
    build clang clang -C build-clang -D fuzz=true | collect
fi

if wanted sanitize; then
    headline 'unit tests with AddressSanitizer and UndefinedBehaviorSanitizer'
    build asan g++ -C build-asan -D sanitize=address,undefined | collect
    [[ -f build-asan/build.ninja ]] && meson_tests build-asan asan
fi

if wanted stress; then
    headline 'stress tests with ThreadSanitizer'
    targets=()
    if build tsan-setup g++ -C build-tsan -D sanitize=thread -s > "$results.out"; then
        mapfile -t targets < <(executables build-tsan '_stress$')
    else
        collect < "$results.out"
    fi
    if [[ ${#targets[@]} -gt 0 ]]; then
        build tsan g++ -C build-tsan "${targets[@]#build-tsan/}" | collect
        meson_tests build-tsan tsan --suite stress
    else
        echo 'skip tsan there are no stress tests' | collect
    fi
fi

if wanted fuzz; then
    headline "fuzz targets, $FUZZ_SECONDS s each"
    mapfile -t targets < <(executables build-clang 'fuzz')
    [[ ${#targets[@]} -gt 0 ]] || echo 'skip fuzz there are no fuzz targets' | collect
    for target in "${targets[@]}"; do
        name=${target##*/}
        corpus=$results.corpus
        mkdir -p "$corpus"
        # helpers/ftp/fuzz_seeds for ftp_fuzz, test/fuzz/seeds/NAME for the others
        seeds=()
        for folder in "helpers/${name%%_*}/fuzz_seeds" "test/fuzz/seeds/${name%_fuzz}"; do
            [[ -d $folder ]] && seeds+=("$folder")
        done
        if "$target" -max_total_time="$FUZZ_SECONDS" -timeout=10 -print_final_stats=1 \
            -artifact_prefix="build-clang/$name-" "$corpus" "${seeds[@]}" > "$results.fuzz" 2>&1
        then
            echo "ok fuzz/$name" | collect
            grep -E 'number_of_executed_units|Done' "$results.fuzz" | tail -n 1 | sed 's/^/#   /'
        else
            tail -n 30 "$results.fuzz" | sed 's/^/#   /'
            echo "not ok fuzz/$name" | collect
        fi
        rm -rf "$corpus"
    done
fi

if wanted e2e; then
    headline 'end to end, with real servers and clients'
    # Its own summary line is not the last one here.
    python3 -u test/e2e/run.py 2>&1 | grep -vE '^[0-9]+ passed, [0-9]+ failed' | collect
    [[ ${PIPESTATUS[0]} -le 1 ]] || echo 'not ok e2e its runner failed' | collect
fi

headline 'all'
summary
