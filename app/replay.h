// SPDX-License-Identifier: BSD-3-Clause
// `postern replay`: the verdict on each packet of a capture.
//
// The same stages as the daemon's run over the capture, by the capture's own clock, on any number
// of simulated workers. Every packet starts on another worker than the one before, so that steering
// is exercised too. The verdicts do not depend on the number of workers.
#pragma once

#include <string>
#include <vector>

#include "config/spec.h"

namespace postern {

struct ReplayOptions {
    std::vector<std::string> inputs;  ///< a capture, or PORT=CAPTURE for several ports
    std::string output;               ///< empty: none
    std::string annotated;            ///< empty: none
    bool json = false;
    unsigned workers = 1;
    bool checksums = false;  ///< verified as configured; else taken as correct
    std::vector<std::string> inside_prefixes;
    std::string bridge;   ///< all packets are of the bridge with this port; empty: each of its own
    std::string in_port;  ///< all packets come by this port; empty: see Sides
    std::string inside_mac;  ///< "02:00:00:00:00:01"; empty: by prefix, or by the first sender
};

/// Prints to standard output. Returns the process's exit code: 0, 1 if the capture cannot be read,
/// 2 if the options are wrong.
int run_replay(const Spec& spec, const ReplayOptions& options);

}  // namespace postern
