// SPDX-License-Identifier: BSD-3-Clause
// `postern replay`: what the firewall would do with a capture, packet by packet.
//
// The same stages as the daemon's run over the capture, by the capture's own clock, on any number
// of simulated workers; every packet starts on another worker than the one before, so that steering
// is at work too. The answers do not depend on the number of workers.
#pragma once

#include <string>
#include <vector>

#include "config/spec.h"

namespace postern {

struct ReplayOptions {
    std::vector<std::string> inputs;  ///< a capture, or PORT=CAPTURE for several ports
    std::string output;               ///< empty: none
    bool json = false;
    unsigned workers = 1;
    bool checksums = false;  ///< they are compared, as the configuration says; else believed
    std::vector<std::string> inside_prefixes;
    std::string bridge;  ///< all packets are of the one that has this port; empty: each of its own
    std::string inside_mac;  ///< "02:00:00:00:00:01"; empty: by prefix, or by who spoke first
};

/// Prints to standard output. Returns the process's exit code: 0, 1 when the capture cannot be
/// read, 2 when the options are wrong.
int run_replay(const Spec& spec, const ReplayOptions& options);

}  // namespace postern
