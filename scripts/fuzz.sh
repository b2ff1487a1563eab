#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Fuzzes with libFuzzer, AddressSanitizer and UndefinedBehaviorSanitizer, longer than the tests do.
#
#   scripts/fuzz.sh [-t SECONDS] [TARGET...]     all targets, 600 seconds each
#   scripts/fuzz.sh -l                           lists them
#
# Its corpus stays in build-clang/fuzz/TARGET, and the next run continues from there. The last
# line of each target says how many inputs ran; a crash ends with exit code 1 and the input's path.
set -uo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."

seconds=600 list=
while getopts 't:l' option; do
    case $option in
        t) seconds=$OPTARG ;;
        l) list=yes ;;
        *) sed -n '3,9s/^# \?//p' "$0" >&2; exit 2 ;;
    esac
done
shift $((OPTIND - 1))

CC=clang-14 CXX=clang++-14 scripts/build.sh -C build-clang -D fuzz=true \
    -D sanitize=address,undefined > build-clang.log 2>&1 ||
    { tail -n 20 build-clang.log; rm -f build-clang.log; exit 1; }
rm -f build-clang.log
mapfile -t all < <(find build-clang/test/fuzz -maxdepth 1 -name '*_fuzz' -type f -printf '%f\n' |
    sed 's/_fuzz$//' | sort)
if [[ -n $list ]]; then
    printf '%s\n' "${all[@]}"
    exit 0
fi

failed=0
for target in "${@:-${all[@]}}"; do
    program=build-clang/test/fuzz/${target}_fuzz
    if [[ ! -x $program ]]; then
        echo "no such target: $target (one of: ${all[*]})" >&2
        exit 2
    fi
    found=build-clang/fuzz/$target
    mkdir -p "$found"
    seeds=()
    for folder in "helpers/$target/fuzz_seeds" helpers/*/fuzz_seeds/"$target" \
        "test/fuzz/${target}_seeds"; do
        [[ -d $folder ]] && seeds+=("$folder")
    done
    if "$program" -max_total_time="$seconds" -max_len=2000 -print_final_stats=1 \
        -artifact_prefix="$found/" "$found" "${seeds[@]}" > "$found.log" 2>&1; then
        runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$found.log")
        echo "ok $target: $runs inputs in ${seconds} s"
    else
        echo "not ok $target: see $found.log"
        grep -E 'ERROR|oracle|artifact|SUMMARY' "$found.log" | sed 's/^/#   /'
        failed=1
    fi
done
exit $failed
