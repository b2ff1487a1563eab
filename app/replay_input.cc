// SPDX-License-Identifier: BSD-3-Clause
#include "replay_input.h"

#include <algorithm>
#include <utility>

namespace postern {
namespace {

/// The port in PORT=FILE; nothing if the text is only a file's name.
std::optional<PortId> port_of(const std::string& name, const Spec& spec) {
    const auto equals = name.find('=');
    if (equals == std::string::npos) return std::nullopt;
    for (std::size_t p = 0; p < spec.ports.size(); ++p)
        if (spec.ports[p].name == name.substr(0, equals)) return PortId::from(p);
    return std::nullopt;
}

}  // namespace

Result<ReplayInput> ReplayInput::open(const std::vector<std::string>& names, const Spec& spec) {
    ReplayInput out;
    for (const std::string& name : names) {
        const auto port = port_of(name, spec);
        if (!port && names.size() > 1)
            return Error{"\"" + name +
                         "\": several captures are given as PORT=FILE, each with another port of "
                         "the configuration"};
        for (const Capture& c : out.captures_)
            if (c.port == port)
                return Error{"port " + spec.ports[port->number()].name + " has two captures"};
        auto reader = CaptureReader::open(port ? name.substr(name.find('=') + 1) : name);
        if (!reader) return reader.error();
        out.captures_.push_back({std::move(reader).value(), port, std::nullopt});
    }
    return out;
}

Result<std::optional<ReplayInput::Frame>> ReplayInput::next() {
    for (Capture& c : captures_) {
        if (c.started && &c != last_) continue;
        c.waiting.reset();
        c.started = true;
        auto frame = c.reader.next();
        if (!frame) return frame.error();
        c.waiting = frame.value();
    }
    const auto earlier = [](const Capture& a, const Capture& b) {
        return a.waiting && (!b.waiting || a.waiting->time_ns < b.waiting->time_ns);
    };
    last_ = &*std::min_element(captures_.begin(), captures_.end(), earlier);
    if (!last_->waiting) return std::optional<Frame>{};
    Frame out{*last_->waiting, last_->port};
    out.captured.n = count_++;
    return std::optional(out);
}

}  // namespace postern
