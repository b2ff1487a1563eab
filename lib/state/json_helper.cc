// SPDX-License-Identifier: BSD-3-Clause
#include "state/json_helper.h"

#include <algorithm>

#include "conntrack/saved_fields.h"
#include "state/json_names.h"
#include "state/layout.h"
#include "state/saved_checks.h"

namespace postern {
namespace {

/// False: it is another build's, and has no meaning for this one.
bool read_state(Fields& f, const HelperDesc& desc, HelperConn& h, Problem& problem) {
    const bool same = f.text("of") == version_of(desc);
    if (desc.remote) {
        const auto bytes = f.bytes("state", kPrivateBytes);
        if (same && bytes.size() != kPrivateBytes)
            f.wrong("state", "expected " + std::to_string(kPrivateBytes) + " bytes");
        std::copy(bytes.begin(), bytes.end(), h.state.begin());
        return same;
    }
    // The same names in the same ranges have the same meaning in every build.
    Problem foreign;
    f.inner("state", same ? problem : foreign).read_struct(desc.state.fields, h.state);
    return foreign.text.empty();
}

}  // namespace

std::string version_of(const HelperDesc& desc) {
    Digest d;
    d.add(desc.name);
    d.add(std::to_string(desc.state.bytes));
    for (const Field& f : desc.state.fields) {
        d.add(f.name);
        for (const std::uint64_t v : {std::uint64_t{f.offset}, std::uint64_t{f.bytes},
                                      std::uint64_t{f.count}, f.max, std::uint64_t{f.low_bit}})
            d.add(std::to_string(v));
    }
    if (desc.remote)
        for (const ExpectClass& c : desc.classes)
            d.add(c.name);
    std::uint64_t value = d.value();
    return hex_of(bytes_of(value));
}

Json helper_json(const HelperImage& image, const HelperDesc& desc) {
    const HelperConn& h = image.conn;
    Json streams = Json::array();
    for (unsigned d = 0; d < 2; ++d) {
        const Stream& s = h.stream[d];
        streams.push_back({{"state", kStreamStates[static_cast<unsigned>(s.state)]},
                           {"next_seq", s.next_seq},
                           {"fin_seq", s.fin_seen ? Json(s.fin_seq) : Json(nullptr)},
                           {"has_data", s.has_data != 0},
                           {"read_all", s.read_all != 0},
                           {"skip", h.skip[d]},
                           {"waiting", hex_of(Bytes{image.waiting[d]}.first(s.fill))}});
    }
    const Json state =
        desc.remote ? Json(hex_of(h.state)) : struct_json(h.state, desc.state.fields);
    return {{"proven", h.proven}, {"picked_up", h.picked_up}, {"min_timeout_s", h.min_timeout_s},
            {"streams", streams}, {"of", version_of(desc)},   {"state", state}};
}

bool read_helper(Fields f, const HelperDesc& desc, HelperImage& image, Problem& problem) {
    HelperConn& h = image.conn;
    h.proven = f.flag("proven");
    h.picked_up = f.has("picked_up") && f.flag("picked_up");  // older files have none
    f.read("min_timeout_s", h.min_timeout_s);
    for (unsigned d = 0; d < 2; ++d) {
        Fields stream = f.of("streams", d);
        Stream& s = h.stream[d];
        const auto state = place(std::span(kStreamStates), stream.text("state"),
                                 [](std::string_view name) { return name; });
        if (!state) stream.wrong("state", "expected unseen, open, ended or blind");
        s.state = static_cast<StreamState>(state.value_or(0));
        stream.read("next_seq", s.next_seq);
        s.fin_seen = !stream.at("fin_seq").is_null();
        if (s.fin_seen) stream.read("fin_seq", s.fin_seq);
        s.has_data = stream.flag("has_data");
        s.read_all = stream.flag("read_all");
        stream.read("skip", h.skip[d]);
        const auto waiting = stream.bytes("waiting", HelperImage::kWaiting);
        s.fill = static_cast<std::uint16_t>(waiting.size());
        std::copy(waiting.begin(), waiting.end(), image.waiting[d].begin());
    }
    return read_state(f, desc, h, problem);
}

}  // namespace postern
