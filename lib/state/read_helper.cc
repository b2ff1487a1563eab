// SPDX-License-Identifier: BSD-3-Clause
// The helper's part of a connection in the binary form.
#include <algorithm>
#include <iterator>
#include <optional>
#include <string_view>

#include "state/binary_record.h"

namespace postern {

using namespace state_wire;

namespace {

void read_stream(Record& outer, Bytes8 bytes, HelperImage& image, unsigned d) {
    using namespace stream_field;
    Record r(bytes, outer.names(), outer.counts());
    Stream& s = image.conn.stream[d];
    while (r.next())
        switch (r.field()) {
            case stream_field::state: {
                const auto text = r.names().text(r.name("state")).value_or("");
                const auto at = std::find(std::begin(kStreamStates), std::end(kStreamStates), text);
                if (at == std::end(kStreamStates))
                    r.wrong("state: expected unseen, open, ended or blind");
                else
                    s.state = static_cast<StreamState>(at - std::begin(kStreamStates));
                break;
            }
            case next_seq: r.read("next_seq", s.next_seq); break;
            case fin_seq:
                s.fin_seen = 1;
                r.read("fin_seq", s.fin_seq);
                break;
            case has_data: s.has_data = r.flag("has_data"); break;
            case read_all: s.read_all = r.flag("read_all"); break;
            case skip: r.read("skip", image.conn.skip[d]); break;
            case waiting: {
                const Bytes8 data = r.data("waiting");
                if (data.size() > HelperImage::kWaiting) {
                    r.wrong("waiting: expected at most " + std::to_string(HelperImage::kWaiting) +
                            " bytes");
                    break;
                }
                s.fill = static_cast<std::uint16_t>(data.size());
                std::copy(data.begin(), data.end(), image.waiting[d].begin());
                break;
            }
            default: r.unknown();
        }
    if (!r.ok()) outer.wrong("helper_state.stream." + r.problem());
}

}  // namespace

bool read_helper(Record& outer, Bytes8 bytes, HelperId id, const HelperDesc& desc,
                 HelperImage& image) {
    using namespace helper_field;
    Record r(bytes, outer.names(), outer.counts());
    HelperConn& h = image.conn;
    h.helper = id;
    Bytes8 streams[2];
    std::optional<Bytes8> state_bytes, remote;
    std::string_view remote_of;
    while (r.next())
        switch (r.field()) {
            case proven: h.proven = r.flag("proven"); break;
            case picked_up: h.picked_up = r.flag("picked_up"); break;
            case min_timeout_s: r.read("min_timeout_s", h.min_timeout_s); break;
            case stream_original:
            case stream_reply: streams[r.field() - stream_original] = r.data("stream"); break;
            case helper_field::state: state_bytes = r.data("state"); break;
            case remote_state: remote = r.data("remote_state"); break;
            case remote_version: {
                const Bytes8 text = r.data("remote_version");
                remote_of = {reinterpret_cast<const char*>(text.data()), text.size()};
                break;
            }
            default: r.unknown();
        }
    if (!r.ok()) {
        outer.wrong("helper_state." + r.problem());
        return false;
    }
    for (unsigned d = 0; d < 2; ++d)
        read_stream(outer, streams[d], image, d);
    if (desc.remote) {
        if (!remote || remote_of != r.names().version(id)) return false;
        if (remote->size() != kPrivateBytes) {
            outer.wrong("helper_state.remote_state: expected " + std::to_string(kPrivateBytes) +
                        " bytes");
            return false;
        }
        std::copy(remote->begin(), remote->end(), h.state.begin());
        return true;
    }
    if (!state_bytes) return false;  // the helper was in another process
    std::string_view where;
    const auto version = r.names().layout_version(*state_bytes);
    const auto result = r.names().read_struct(*state_bytes, desc.state.fields, true, h.state,
                                              outer.counts().unknown_fields, where);
    if (result == NamesRead::Struct::good) return true;
    h.state = {};
    // The same names in the same ranges have the same meaning in every build.
    if (result == NamesRead::Struct::unknown)
        outer.wrong("helper_state: its layout is not in the file");
    else if (version == r.names().version(id))
        outer.wrong("helper_state.state." + std::string(where) + ": missing, or out of range");
    return false;
}

}  // namespace postern
