#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Tries how much a newcomer has to touch: adds a helper, a stage, a configuration key and a counter
# to a copy of this tree, builds and tests each, and counts the files changed outside its own new
# folder or files. Pages that scripts/*-docs.sh write are not counted.
#
#   scripts/trials.sh            all of it
#   scripts/trials.sh --quick    without building the whole program
#
# The changes are test/trials/*.patch. The last line is `N passed, N failed`.
set -uo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."

quick=no
case ${1:-} in
    --quick) quick=yes ;;
    '') ;;
    *) echo "trials: unknown argument $1 (expected --quick)" >&2; exit 2 ;;
esac

folder=$PWD/build-trials
patches=$PWD/test/trials
log=$folder/log
tree=$folder/tree
mkdir -p "$tree"
# Only files that differ are written: ninja goes by their times, and the build folder stays.
if ! git ls-files -z --cached --others --exclude-standard > "$folder/files"; then
    echo 'trials: git does not list the files of this tree' >&2
    exit 2
fi
while IFS= read -r -d '' file; do
    [[ -f $file ]] && ! cmp --quiet "$file" "$tree/$file" || continue
    mkdir -p "$tree/$(dirname "$file")" && cp --preserve=mode "$file" "$tree/$file"
done < "$folder/files"
(cd "$tree" && find . -path ./build -prune -o -path ./.git -prune -o -type f -print0) |
    while IFS= read -r -d '' file; do
        [[ -f $file ]] || rm "$tree/$file"
    done
cd "$tree" || exit 1
rm -rf .git
# Called by a hook, git has variables that mean the tree's own repository.
# shellcheck disable=SC2046  # they are words
unset $(git rev-parse --local-env-vars)
git init --quiet && git add --all &&
    git -c user.name=trials -c user.email=trials@localhost commit --quiet --message trials ||
    exit 2

as_before() { git checkout --quiet . && git clean --quiet --force -d --exclude=/build; }

passed=0 failed=0
verdict() {  # NAME PROBLEM
    if [[ -z $2 ]]; then
        passed=$((passed + 1))
        echo "ok trials/$1"
    else
        failed=$((failed + 1))
        echo "not ok trials/$1 $2"
        tail -n 30 "$log" | sed 's/^/#   /'
    fi
}
build() { scripts/build.sh -D tests=true "$@" >> "$log" 2>&1; }
run() { "$@" >> "$log" 2>&1; }

# Files changed that are neither new nor written by a script.
touched() {
    git status --porcelain --untracked-files=all | grep -v '^??' | cut -c4- |
        grep -vE '^docs/(configuration\.md|helpers/)'
}

# try NAME MOST FUNCTION: applies NAME.patch, calls FUNCTION, which builds and tests.
try() {
    local name=$1 most=$2 check=$3 count problem=''
    as_before
    : > "$log"
    if ! run git apply -C1 --recount "$patches/$name.patch"; then
        verdict "$name" "test/trials/$name.patch does not fit any more"
        return
    fi
    "$check" || problem='it does not build, or does not do what it should'
    count=$(touched | wc -l)
    echo "#   $name: $count files changed beside its own, at most $most: $(touched | paste -sd' ')"
    [[ $count -le $most ]] || problem="it touches $count files, at most $most"
    verdict "$name" "$problem"
}

whole_program() { [[ $quick == yes ]] || build app/postern app/posternctl; }

# The steps of docs/writing-a-helper.md.
helper() {
    cp -r helpers/_sample helpers/parley
    mv helpers/parley/_sample.cc helpers/parley/parley.cc
    sed -i 's/helper_sample/helper_parley/; s/"sample"/"parley"/' helpers/parley/parley.cc
    sed -i 's/^helper sample/helper parley/' helpers/parley/dialogues/*.txt
    build test/dialogue/dialogue_test && run scripts/helper-docs.sh &&
        run meson test -C build --no-rebuild 'dialogue parley' && whole_program
}
stage() {
    build test/unit/no_groups_test && run build/test/unit/no_groups_test && whole_program
}
key() {
    build test/unit/config_test && run build/test/unit/config_test || return 1
    [[ $quick == yes ]] && return
    whole_program && run scripts/config-docs.sh && grep -q max_clients docs/configuration.md &&
        build/app/postern schema | grep -q max_clients
}
counter() {
    if [[ $quick == yes ]]; then
        build lib/pipeline/libpostern_pipeline.a
        return
    fi
    whole_program && run test/trials/has_metric.py build unsent_bursts
}

try helper 2 helper
try stage 2 stage
try key 3 key
try counter 1 counter
as_before

echo "$passed passed, $failed failed"
[[ $failed -eq 0 ]]
