#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Builds into a build folder, which is made on first use.
#
#   scripts/build.sh [-C FOLDER] [-D OPTION=VALUE]... [-s] [TARGET]...
#
# FOLDER is build/ by default; options are meson's; without a TARGET everything is built, with -s
# nothing (the folder is only set up). CC and
# CXX choose the compiler of a new folder (g++ unless set), through ccache where it is installed.
# Prints nothing but errors and warnings; VERBOSE=1 shows the compiler's lines.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."

folder=build
options=()
setup_only=no
while getopts C:D:s option; do
    case $option in
        C) folder=$OPTARG ;;
        D) options+=("-D$OPTARG") ;;
        s) setup_only=yes ;;
        *) exit 2 ;;
    esac
done
shift $((OPTIND - 1))

: "${CC:=gcc}" "${CXX:=g++}"
if command -v ccache >/dev/null && [[ $CXX != ccache* ]]; then
    CC="ccache $CC" CXX="ccache $CXX"
fi
export CC CXX
# What one checkout has compiled serves another one: the cache does not see where they are.
export CCACHE_BASEDIR=$PWD CCACHE_NOHASHDIR=1

quiet() {  # run a command; show what it said only if it failed
    local said
    if ! said=$("$@" 2>&1); then
        printf '%s\n' "$said" >&2
        return 1
    fi
}

if [[ -f $folder/build.ninja ]]; then
    [[ ${#options[@]} -eq 0 ]] || quiet meson configure "$folder" "${options[@]}"
else
    quiet meson setup "$folder" "${options[@]}"
fi
[[ $setup_only == no ]] || exit 0
if [[ ${VERBOSE:-0} == 1 ]]; then
    exec ninja -v -C "$folder" "$@"
fi
# --quiet hides the progress and shows what the compilers print: warnings, too.
exec ninja --quiet -C "$folder" "$@"
