// SPDX-License-Identifier: BSD-3-Clause
#include "plan/userspace_helpers.h"

#include <algorithm>
#include <filesystem>

#include "userspace/counters.h"

namespace postern {
namespace {

constexpr std::array<ParamDesc, 3> kParams{kLooseParam, kDenyPortsParam, kDenyServicesParam};

}  // namespace

std::span<const ParamDesc> DeclaredHelper::params() noexcept {
    return kParams;
}

DeclaredHelper::DeclaredHelper(const HelperSpec& spec) : spec_(spec) {
    const UserspaceSpec& declared = *spec_.userspace;
    for (const auto& c : declared.classes)
        classes_.push_back({.name = c.name,
                            .help = "declared in the configuration",
                            .max_expected = c.max,
                            .timeout_s = c.timeout_s});
    desc_.name = spec_.name;
    desc_.help = "its parser is another process";
    for (const std::uint8_t p : spec_.protocols)
        desc_.transports |= transport::of(p);
    desc_.framing = desc_.transports == transport::udp ? Framing::datagram
                    : declared.stream                  ? Framing::stream
                                                       : Framing::line;
    desc_.needs_proof = declared.proof;
    desc_.remote = true;
    desc_.default_ports = spec_.ports;
    desc_.classes = classes_;
    desc_.params = kParams;
    desc_.counters = kUserspaceCounterTable;
}

std::vector<UserspaceHelper> userspace_helpers_of(const Spec& spec) {
    std::vector<UserspaceHelper> out;
    for (std::size_t i = 0; i < spec.helpers.size(); ++i) {
        const HelperSpec& h = spec.helpers[i];
        if (!h.userspace) continue;
        UserspaceHelper& u = out.emplace_back();
        u.id = static_cast<HelperId>(i + 1);
        u.name = h.name;
        const auto beside = std::filesystem::path(spec.control.socket).parent_path();
        u.socket = h.userspace->socket.empty() ? (beside / ("helper-" + h.name + ".sock")).string()
                                               : h.userspace->socket;
        u.data_bytes = h.userspace->data_bytes;
        u.bypass = h.userspace->bypass;
        u.wait_ms = h.userspace->wait_ms;
        u.queue = h.userspace->queue;
        for (const auto& c : h.userspace->classes)
            u.class_protocols.push_back(c.protocol);
    }
    return out;
}

}  // namespace postern
