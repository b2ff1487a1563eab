// SPDX-License-Identifier: BSD-3-Clause
#include "pipeline/expecting.h"

namespace postern {
namespace {

/// Fields of every expectation that its master determines.
void set_master(ExpectRequest& r, const Conn& master, ConnId id, const Edges& edges) noexcept {
    r.ct_zone = master.ct_zone();
    r.master = id;
    r.master_tuple = master.tuple();
    r.master_zone = edges.zone_of(master.edge(Direction::original));
    r.mark = master.mark;
    r.label = master.label;
    r.rule = master.rule;
}

}  // namespace

void Expecting::probe(unsigned i) noexcept {
    Batch& b = batch_;
    const PacketInfo& info = b.info[i];
    const Edges& edges = b.plan->edges;
    b.probe[i] =
        table_.probe(info.key.ct_zone, *tuple_of(b.data[i], info), info.kind == L4Kind::gre_call);
    b.probe[i].from_side = edges.side_of(info.zones.from);
    b.probe[i].to_side = edges.side_of(info.zones.to);
}

ExpectAnswer Expecting::peek(unsigned i) noexcept {
    Batch& b = batch_;
    return table_.peek(b.probe[i], *tuple_of(b.data[i], b.info[i]), b.now, b.match[i]);
}

bool Expecting::claim(unsigned i) noexcept {
    const ExpectMatch& match = batch_.match[i];
    if (!owner_.take(match, turn())) {
        counters_.claims_lost.add();
        return false;
    }
    const PacketInfo& info = batch_.info[i];
    if (info.kind == L4Kind::gre_call && match.sport_mask.raw() != 0) {
        // The other direction of the pair is expected, too; this connection takes it.
        Tuple call = *tuple_of(batch_.data[i], info);
        call.sport = match.sport;
        const Tuple answer = call.reversed();
        ExpectInfo other;
        if (table_.find(table_.probe(match.ct_zone, answer), answer, batch_.now, other) &&
            other.master == match.master)
            owner_.remove(other.id, ExpectEnd::paired, turn());
    }
    return true;
}

void Expecting::fix_sides(ExpectRequest& r, const Conn& master) const noexcept {
    const Edges& edges = batch_.plan->edges;
    const Tuple& tuple = r.master_tuple;
    const auto side_of = [&](const IpAddr& end) noexcept {
        if (end == tuple.src) return edges.side_of(master.edge(Direction::original));
        if (end == tuple.dst) return edges.side_of(master.edge(Direction::reply));
        return kAnyEdge;
    };
    r.to_side = side_of(r.dst);
    const bool is_prefix =
        !r.any_src() && r.src.length < 8 * address_bytes(r.dst.family) && r.dst == tuple.src;
    if ((r.flags & expect_flag::answers) != 0 || is_prefix)
        // Answers to a broadcast come from the side to which the request went.
        r.from_side = edges.side_of(master.edge(Direction::reply));
    else if (!r.any_src())
        r.from_side = side_of(r.src.address);
}

bool Expecting::file_for_rule(const RuleExpect& wish, const Conn& master, ConnId id) noexcept {
    const Tuple tuple = master.tuple();
    ExpectRequest r;
    set_master(r, master, id, batch_.plan->edges);
    r.protocol = wish.protocol;
    r.src = Prefix::exact(wish.to_server ? tuple.src : tuple.dst);
    r.dst = wish.to_server ? tuple.dst : tuple.src;
    fix_sides(r, master);
    r.class_max = wish.class_max;
    r.flags = wish.permanent ? expect_flag::permanent : std::uint8_t{0};
    r.timeout_ms = wish.timeout_ms;
    for (unsigned port = wish.first_port; port <= wish.last_port; ++port) {
        r.dport = Be16::from_host(static_cast<std::uint16_t>(port));
        if (!ok(owner_.insert(r, &masters_[master.helper_slot], turn()).outcome)) {
            counters_.rule_expectations_failed.add();
            return false;
        }
    }
    return true;
}

InsertResult Expecting::file_for_control(ExpectRequest& r, const Conn& master, ConnId id) noexcept {
    set_master(r, master, id, batch_.plan->edges);
    // Control has the helpers from the plan that it knew.
    if (!batch_.plan->serves(r.child_helper)) r.child_helper = kNoHelper;
    if (r.helper == kNoHelper || !batch_.plan->serves(r.helper)) r.helper = master.helper;
    return owner_.insert(r, &masters_[master.helper_slot], turn());
}

InsertOutcome Expecting::file(const PinHole& hole, const Conn& master, ConnId id) noexcept {
    const HelperPlan& helper = batch_.plan->helpers[master.helper - 1u];
    const HelperPlan::Class& cls = helper.classes[hole.class_index];
    ExpectRequest r;
    r.as_tuple() = hole.as_tuple();
    r.as_terms() = hole.as_terms();
    set_master(r, master, id, batch_.plan->edges);
    fix_sides(r, master);
    r.helper = master.helper;
    r.child_helper = hole.child_helper;
    r.class_max = hole.call != 0 ? cls.max_per_call : cls.max_expected;
    r.master_max = helper.max_pending;
    if (r.timeout_ms == 0) r.timeout_ms = cls.timeout_ms;
    InsertOutcome outcome = InsertOutcome::created;
    for (unsigned n = 0; n <= hole.more_ports; ++n) {
        r.dport = Be16::from_host(static_cast<std::uint16_t>(hole.dport.host() + n));
        const auto one = owner_.insert(r, &masters_[master.helper_slot], turn()).outcome;
        if (!ok(one)) outcome = one;
    }
    if (!ok(outcome)) counters_.expectations_failed.add();
    return outcome;
}

void Expecting::act(const EmitAction& action, const Conn& master) noexcept {
    MasterExpectations& pending = masters_[master.helper_slot];
    switch (action.kind) {
        case EmitAction::Kind::activate:
            return owner_.activate(pending, action.class_index, action.tag, action.timeout_s * 1000,
                                   turn(), action.call);
        case EmitAction::Kind::remove:
            static_assert(Emit::kAnyClass == kAnyExpectClass);
            return owner_.remove(pending, action.class_index, action.tag, ExpectEnd::retracted,
                                 turn(), action.mask, action.call, action.others);
        case EmitAction::Kind::remove_branch:
            return owner_.remove_branch(pending, action.call, action.tag, action.mask,
                                        ExpectEnd::retracted, turn());
        case EmitAction::Kind::grant_in_master: return grant_in_master(action, master);
        case EmitAction::Kind::end_child:
        case EmitAction::Kind::adopt_child: return;
    }
}

/// The master may belong to another worker: everything here uses the expectation's id.
void Expecting::grant_in_master(const EmitAction& action, const Conn& conn) noexcept {
    const Tuple here = conn.tuple();
    const ExpectId question =
        table_.find_of({}, table_.probe(conn.ct_zone(), here), action.class_index,
                       action.asked_call, action.asked_tag);
    ExpectInfo asked;
    if (!table_.get(question, asked) || asked.src.address != here.src) return;
    const ExpectId id = table_.find_of(asked.master, table_.probe(conn.ct_zone(), action.child),
                                       action.class_index, action.call, action.tag);
    if (!id) return;
    if (action.timeout_s == 0) {
        owner_.remove(id, ExpectEnd::retracted, turn());
        return;
    }
    owner_.set_timeout(id, action.timeout_s * 1000, turn());
    owner_.activate(id);
}

void Expecting::end_session(const Conn& master, std::span<const ExpectClass> classes) noexcept {
    if (master.tcp_state() == TcpState::fin_wait) return;  // not answered yet
    for (std::size_t i = 0; i < classes.size(); ++i)
        if (classes[i].ends_with_session)
            owner_.remove(masters_[master.helper_slot], static_cast<std::uint8_t>(i), 0,
                          ExpectEnd::retracted, turn());
}

}  // namespace postern
