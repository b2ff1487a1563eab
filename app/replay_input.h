// SPDX-License-Identifier: BSD-3-Clause
// ReplayInput: the frames of one capture, or of one capture a port, merged by their times.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/types.h"
#include "capture/capture.h"
#include "config/spec.h"

namespace postern {

class ReplayInput {
  public:
    struct Frame {
        CapturedFrame captured;      ///< `n` counts over all captures
        std::optional<PortId> port;  ///< the input port, if its capture is a port's
    };

    /// `names` is one file, or PORT=FILE for each of several ports of the configuration.
    static Result<ReplayInput> open(const std::vector<std::string>& names, const Spec& spec);

    /// The earliest of all; nothing at the end. After an Error there are no more.
    Result<std::optional<Frame>> next();
    /// Whether captures state the input ports of their frames.
    bool has_ports() const noexcept { return captures_.front().port.has_value(); }

  private:
    struct Capture {
        CaptureReader reader;
        std::optional<PortId> port;
        std::optional<CapturedFrame> waiting;
        bool started = false;
    };

    std::vector<Capture> captures_;
    Capture* last_ = nullptr;  ///< whose frame is the caller's
    std::uint64_t count_ = 0;
};

}  // namespace postern
