#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Installs missing packages to build and run Postern on Debian 12. With everything installed it
# does nothing, in a few milliseconds.
#
#   scripts/install-deps.sh         for scripts/demo.sh: the build and the demo's peers
#   scripts/install-deps.sh test    in addition for scripts/test.sh
#   scripts/install-deps.sh bench   for scripts/bench.sh: the build, generators, peers
set -euo pipefail

packages=(
    # build
    g++ meson ninja-build pkg-config python3
    libdpdk-dev libhyperscan-dev libyaml-cpp-dev nlohmann-json3-dev libcli11-dev
    libspdlog-dev libfmt-dev libpcap-dev libfixbuf-dev libcpp-httplib-dev libssl-dev
    # demo: namespaces, a real server, real clients
    iproute2 ethtool procps vsftpd curl lftp openssl
)
test_packages=(
    libgtest-dev libgmock-dev libbenchmark-dev
    # the second compiler, with its fuzzer and sanitizer run-times
    clang-14 libclang-rt-14-dev clang-format-14 ccache
    # the configuration's JSON schema, tried
    python3-jsonschema python3-yaml
    # completion, tried in the other shell
    zsh
    # what reads the metrics of postern-web
    prometheus
    # counting instructions; processors that announce less than this one
    valgrind qemu-user
    # end to end: captures of failed cases, ping, and what to compare with: testpmd, the kernel
    tcpdump iputils-ping dpdk-dev nftables
    # another reader of what the H.323 helpers read, and of IPFIX
    tshark
    # end to end: a collector of flow records
    nfdump
    # end to end: TFTP
    tftpd-hpa tftp-hpa
    # end to end: network scanners (saned, scanimage)
    sane-utils
    # end to end: SIP callers with media, a registrar, telephones
    sip-tester kamailio baresip-core
    # end to end: what a browser can be made to say
    chromium
    # end to end: chat
    ngircd weechat-headless
    # end to end: streaming media
    ffmpeg python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-tools
    gstreamer1.0-plugins-base gstreamer1.0-plugins-good
    # end to end: backups
    amanda-server amanda-client libencode-locale-perl libxml-simple-perl openbsd-inetd
    # end to end: two more FTP clients (Java's own is run from its source); libraries of two more servers, which are unpacked, see below
    inetutils-ftp openjdk-17-jdk-headless libmemcached11 libmemcachedutil2 libhashkit2 libpcre2-posix3 libsodium23
    libhiredis0.14
    # end to end: a small office (addresses, names)
    dnsmasq-base isc-dhcp-client
    # end to end: PPTP; NetBIOS names and SNMP agents found by broadcast
    pptp-linux pptpd samba samba-common-bin snmpd snmp
)
bench_packages=(
    libgtest-dev libgmock-dev libbenchmark-dev ccache
    # generator and ceiling; peers: Open vSwitch on DPDK, the kernel
    dpdk-dev openvswitch-switch-dpdk nftables conntrack
)
case "${1:-demo}" in
    demo) ;;
    test) packages+=("${test_packages[@]}") ;;
    bench) packages+=("${bench_packages[@]}") ;;
    *) echo "usage: ${0##*/} [demo|test|bench]" >&2; exit 2 ;;
esac

missing_of() {
    local -A have=()
    local name status
    while read -r name status; do
        [[ $status == installed ]] && have[$name]=1
    done < <(dpkg-query -W -f '${Package} ${db:Status-Status}\n' "$@" 2>/dev/null || true)
    for name in "$@"; do
        [[ -v "have[$name]" ]] || echo "$name"
    done
}

give_up() {
    echo "install-deps: $1" >&2
    echo "install-deps: these packages are missing: ${missing[*]}" >&2
    echo "install-deps: install them by hand (on Debian 12: apt-get install --no-install-recommends" \
         "${missing[*]}) and run this again" >&2
    exit 1
}

if ! command -v dpkg-query >/dev/null; then
    missing=("${packages[@]}")
    give_up "this is not a Debian system, so it cannot be seen what is installed"
fi
# Debian's FTP servers exclude each other, so these are only unpacked, for the tests.
unpack_servers() {
    local name folder to
    [[ ${1:-demo} == test ]] || return 0
    for name in proftpd-core pure-ftpd; do
        to=/var/lib/postern-test/$name
        [[ ! -d $to ]] || continue
        folder=$(mktemp -d)
        if (cd "$folder" && apt-get download -qq "$name" && dpkg -x "$name"*.deb "$folder/it") \
            > "$folder/log" 2>&1; then
            mkdir -p "${to%/*}" && mv "$folder/it" "$to"
        else
            echo "install-deps: no $name: its tests will be skipped" >&2
        fi
        rm -rf "$folder"
    done
}

mapfile -t missing < <(missing_of "${packages[@]}")
if [[ ${#missing[@]} -eq 0 ]]; then
    unpack_servers "$@"
    exit 0
fi
command -v apt-get >/dev/null || give_up "there is no apt-get here"
[[ $(id -u) -eq 0 ]] || give_up "installing packages needs root"

# Debian starts a server as soon as its package is there. The tests run them with configurations
# of their own inside a namespace; the host must not begin to offer files because of that.
policy=/usr/sbin/policy-rc.d
made_policy=no
log=$(mktemp)
finish() {
    rm -f "$log"
    [[ $made_policy == no ]] || rm -f "$policy"
}
trap finish EXIT
if [[ ! -e $policy ]]; then
    made_policy=yes
    printf '#!/bin/sh\nexit 101\n' > "$policy"
    chmod 755 "$policy"
fi

echo "install-deps: installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
install() {
    apt-get -o DPkg::Lock::Timeout=120 install -y -qq --no-install-recommends "${missing[@]}"
}
# The package lists of a fresh machine are empty or old: refresh them, but a machine whose mirror
# cannot be reached may still have all packages in its cache.
if ! { apt-get update -qq && install; } > "$log" 2>&1 && ! install >> "$log" 2>&1; then
    tail -n 15 "$log" >&2
    give_up "apt-get could not install them (its last lines are above)"
fi
for server in vsftpd tftpd-hpa openvswitch-switch kamailio prometheus; do
    if printf '%s\n' "${missing[@]}" | grep -qx $server && command -v systemctl >/dev/null; then
        systemctl disable --quiet $server.service 2>/dev/null || true
    fi
done
mapfile -t missing < <(missing_of "${packages[@]}")
[[ ${#missing[@]} -eq 0 ]] || give_up "apt-get reported success, but not all of them are there"
unpack_servers "$@"
