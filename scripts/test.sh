#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Installs missing packages, builds, runs every test. The last line is
#
#   N passed, N failed[, N skipped]
#
# and the exit code is 0 only if nothing failed. Each failure is listed before that line with its
# name, each skip with its reason.
#
#   scripts/test.sh            everything
#   scripts/test.sh STEP...    only these steps: source unit instructions sanitize fuzz stress
#                              attack e2e web restart reload differential trials
set -uo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."

steps=" ${*:-source unit instructions sanitize fuzz stress attack e2e web restart reload differential trials} "

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
    # What an earlier run said must not be taken for this one (a test that crashes says nothing).
    rm -f "$folder"/meson-logs/testlog.* "$folder"/*.xml
    # A busy machine is slow, a test that hangs is not seen sooner by less.
    meson test -C "$folder" --print-errorlogs --timeout-multiplier 4 "$@" 2>&1 |
        grep -vE '^(ninja: |$|Full log written|[A-Z][A-Za-z ]+: +[0-9]+ *$)' | sed 's/^/#   /'
    if [[ ! -f $folder/meson-logs/testlog.json ]]; then
        echo "not ok $prefix the tests could not be built or run" | collect
        return
    fi
    scripts/meson_results.py "$folder" "$prefix" | collect brief
    echo "   $(grep -c "^ok $prefix/" "$results") passed"
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

if wanted unit || wanted instructions || wanted attack || wanted e2e || wanted web ||
    wanted restart || wanted reload || wanted differential
then
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

if wanted instructions; then
    headline 'instructions a packet, against the baseline'
    python3 -u test/bench/instructions.py 2>&1 | collect
    [[ ${PIPESTATUS[0]} -le 1 ]] || echo 'not ok instructions it failed itself' | collect
    headline 'instructions a byte of a helped stream, of short and long ones'
    python3 -u test/bench/bytes.py 2>&1 | collect
    [[ ${PIPESTATUS[0]} -le 1 ]] || echo 'not ok bytes it failed itself' | collect
fi

if wanted sanitize || wanted fuzz; then
    headline 'build with clang, AddressSanitizer and UndefinedBehaviorSanitizer'
    build clang clang -C build-clang -D fuzz=true -D sanitize=address,undefined | collect
fi

if wanted sanitize; then
    headline 'unit and stress tests with these sanitizers'
    meson_tests build-clang asan --no-suite fuzz
fi

if wanted fuzz; then
    headline 'fuzz targets, briefly'
    meson_tests build-clang fuzz --suite fuzz
fi

if wanted stress; then
    headline 'stress tests with ThreadSanitizer'
    if ! build tsan-setup g++ -C build-tsan -D sanitize=thread -s > "$results.out"; then
        collect < "$results.out"
    elif [[ $(meson test -C build-tsan --list --suite stress 2>&1) != *stress* ]]; then
        echo 'skip tsan there are no stress tests' | collect
    else
        # meson builds just what these tests need.
        meson_tests build-tsan tsan --suite stress
    fi
fi

if wanted attack; then
    headline 'attacks, the quick ones'
    scripts/attack.sh --quick 2>&1 | grep -vE '^[0-9]+ passed, [0-9]+ failed' |
        sed -E 's/^(ok|not ok|skip) /&attack\//' | collect brief
    [[ ${PIPESTATUS[0]} -le 1 ]] || echo 'not ok attack it failed itself' | collect
    echo "   $(grep -c '^ok attack/' "$results") passed"
fi

if wanted e2e; then
    headline 'end to end, with real servers and clients'
    # Its own summary line is not the last one here.
    python3 -u test/e2e/run.py 2>&1 | grep -vE '^[0-9]+ passed, [0-9]+ failed' |
        sed -uE 's/^(ok|not ok|skip) /&e2e\//' | collect
    [[ ${PIPESTATUS[0]} -le 1 ]] || echo 'not ok e2e its runner failed' | collect
fi

if wanted web; then
    headline 'metrics, API and page, a cut of them'
    scripts/web-test.sh --quick 2>&1 | grep -vE '^[0-9]+ passed, [0-9]+ failed' |
        sed -uE 's/^(ok|not ok|skip) /&web\//' | collect
    [[ ${PIPESTATUS[0]} -le 1 ]] || echo 'not ok web it failed itself' | collect
fi

if wanted restart; then
    headline 'restarts under traffic, a cut of them'
    scripts/restart-cycle.sh 2>&1 | grep -vE '^[0-9]+ passed, [0-9]+ failed' |
        sed -uE 's/^(ok|not ok|skip) /&restart\//' | collect
    [[ ${PIPESTATUS[0]} -le 1 ]] || echo 'not ok restart it failed itself' | collect
fi

if wanted reload; then
    headline 'other configurations under traffic, a cut of them'
    scripts/reload-cycle.sh 2>&1 | grep -vE '^[0-9]+ passed, [0-9]+ failed' |
        sed -uE 's/^(ok|not ok|skip) /&reload\//' | collect
    [[ ${PIPESTATUS[0]} -le 1 ]] || echo 'not ok reload it failed itself' | collect
fi

if wanted differential; then
    headline 'the same answers as Linux and tshark, and of replay what it promises'
    for script in differential/compare differential/live_test differential/replay_test \
        oracle/h323_test; do
        python3 -u "test/$script.py" 2>&1 | collect brief
        [[ ${PIPESTATUS[0]} -le 1 ]] || echo "not ok $script it failed itself" | collect
    done
    echo "   $(grep -cE '^ok (differential|oracle)/' "$results") passed"
fi

if wanted trials; then
    headline 'what a newcomer has to touch'
    scripts/trials.sh --quick 2>&1 | grep -vE '^[0-9]+ passed, [0-9]+ failed' | collect
    [[ ${PIPESTATUS[0]} -le 1 ]] || echo 'not ok trials it failed itself' | collect
fi

headline 'the tests that reports from the field ask for'
# shellcheck disable=SC2086  # the steps are words
scripts/field_tests.py "$results" $steps | collect

headline 'all'
summary
