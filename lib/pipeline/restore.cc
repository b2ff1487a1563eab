// SPDX-License-Identifier: BSD-3-Clause
// Restores a saved connection in the table of its home worker.
#include "conntrack/tcp_relearn.h"
#include "pipeline/gone_names.h"
#include "pipeline/new_connection.h"

namespace postern {
namespace {

/// Whether a running connection is what its peers made of the saved one before it was restored: by
/// a segment in mid-stream, so that no helper reads it.
bool is_stand_in(const Conn& running, const Conn& image) noexcept {
    return running.protocol() == proto::tcp && running.helper == kNoHelper &&
           (running.tcp_flags[0] & running.tcp_flags[1] & tcp_side::liberal) != 0 &&
           running.edge(Direction::original) == image.edge(Direction::original) &&
           running.edge(Direction::reply) == image.edge(Direction::reply) &&
           running.has(conn_flag::swapped) == image.has(conn_flag::swapped);
}

}  // namespace

RestoreReply Tracking::restore(RestoreRequest& m) noexcept {
    using enum RestoreRequest::Outcome;
    const Tick now = batch_.now;
    Conn& image = m.conn;
    image.last_seen_ms = now.ms - m.idle_ms;
    image.start_ms = now.ms - m.age_ms;
    // Control has its numbers from the plan that it knew. The sweep of a plan that has come since
    // may be past the slot that it gets.
    if (is_zone_gone(image, batch_.plan->names)) return {zone_gone, {}};
    forget_gone_names(image, batch_.plan->names);
    // Its rule's settings, and the timeout of its state, may have changed since.
    if (image.rule.number() < batch_.plan->effects.size()) {
        const RuleEffect& effect = batch_.plan->effect(image.rule);
        image.set_timeouts(effect.timeouts);
        image.flags &= static_cast<std::uint8_t>(~conn_flag::liberal);
        if (effect.liberal) image.flags |= conn_flag::liberal;
        image.sloppy = effect.sloppy ? 1 : 0;
    }
    if (image.protocol() == proto::tcp && image.sloppy == 0) tcp_begin_learning(image);
    const std::uint32_t by_state_ms = image.timeout_ms = timeout_of(image, batch_.plan->track);
    // Without a helper its state is that of its rule's expectations.
    const HelperImage* helper = m.helper;
    const bool expects_by_rule = image.rule.number() < batch_.plan->effects.size() &&
                                 batch_.plan->effect(image.rule).expects != 0;
    const bool wanted = helper != nullptr && batch_.plan->serves(helper->conn.helper) &&
                        (helper->conn.helper != kNoHelper || expects_by_rule);
    if (!batch_.plan->serves(image.helper)) image.helper = kNoHelper;
    if (wanted) Helping::apply_min_timeout(image, helper->conn.min_timeout_s);
    if (m.idle_ms >= image.timeout_ms) return {expired, {}};
    if (const std::uint32_t running = conns_.find(image.tuple(), image.ct_zone(), image.key_class);
        running != 0) {
        if (!wanted || !is_stand_in(conns_.at(running), image)) return {exists, {}};
        end(running, ConnEnd::restored);
    }
    const bool paired = image.protocol() == proto::gre && image.gre.second_key != 0;
    NewConnection made(*this, image.has(conn_flag::expected));
    const Edges& edges = batch_.plan->edges;
    if (!made.adopt(image,
                    edges.pair(image.edge(Direction::original), image.edge(Direction::reply))))
        return {full, {}};
    if (paired && conns_.holder_of(made.slot(), image.sport) != 0) return {exists, {}};
    if (paired && !conns_.pair(made.slot(), image.sport)) return {full, {}};
    Conn& conn = made.conn();
    const bool has_helper = wanted && helping_.restore(made.slot(), *helper);
    if (!has_helper) conn.timeout_ms = by_state_ms;
    if (!wanted) helping_.begin_restored(made.slot());
    const ConnId id = conns_.id_of(made.commit());
    return {helper != nullptr && !has_helper ? without_helper : restored, id};
}

}  // namespace postern
