// SPDX-License-Identifier: BSD-3-Clause
#include "state/record_writer.h"

#include <algorithm>

#include "conntrack/saved_fields.h"
#include "state/layout.h"
#include "state/saved_checks.h"

namespace postern {

using namespace state_wire;

namespace {

constexpr std::uint32_t kUnknown = UINT32_MAX;
constexpr std::size_t kMaxName = 4096;  ///< bytes; configured names are far shorter

/// An id as one number: index, generation, worker from the high bits on.
constexpr std::uint64_t number_of(ConnId id) noexcept {
    return std::uint64_t{id.index} << 24 | std::uint64_t{id.generation} << 8 | id.worker.number();
}

/// Bit i: the flag at position i of the list.
std::uint64_t flag_bits(std::uint8_t flags, std::span<const FlagName> names) noexcept {
    std::uint64_t out = 0;
    for (std::size_t i = 0; i < names.size(); ++i)
        if ((flags & names[i].bit) != 0) out |= std::uint64_t{1} << i;
    return out;
}

std::span<const std::uint8_t> bytes_of_address(const IpAddr& a) noexcept {
    return std::span(a.bytes).first(address_bytes(a.family));
}

}  // namespace

RecordWriter::RecordWriter(const StateHeader& header) : states_(256u * 16u, kUnknown) {
    done_ = kMagic;
    const std::uint32_t format = kFormat;
    done_.append(reinterpret_cast<const char*>(&format), sizeof format);
    record_.clear();
    record_.number(header_field::saved_ms, static_cast<std::uint64_t>(header.saved_ms));
    record_.bytes(header_field::host, std::string_view(header.host).substr(0, kMaxName));
    record_.number(header_field::plan_digest, header.plan_digest);
    record_.number(header_field::boot_ms, static_cast<std::uint64_t>(header.boot_ms));
    record_.bytes(header_field::boot_id, std::string_view(header.boot_id).substr(0, kMaxName));
    append(kHeader, record_.view());
}

void RecordWriter::set_plan(const Plan& plan, const HelperSet& helpers) {
    plan_ = &plan;
    helpers_ = &helpers;
    rules_.assign(plan.rules.size(), kUnknown);
    helper_names_.assign(plan.helpers.size(), kUnknown);
    helper_versions_.assign(plan.helpers.size(), {});
    edges_.assign(plan.edges.size(), kUnknown);
    ports_.assign(plan.ports.size(), kUnknown);
    timeouts_.assign(plan.timeout_names.size() + 1, kUnknown);
    // A table of another plan may have the address of one that was freed.
    layouts_.clear();
}

std::uint32_t RecordWriter::name(std::string_view text) {
    if (text.empty() || text.size() > kMaxName) return 0;
    const auto [at, is_new] =
        names_.try_emplace(std::string(text), static_cast<std::uint32_t>(names_.size() + 1));
    if (is_new) {
        aside_.clear();
        aside_.number(name_field::number, at->second);
        aside_.bytes(name_field::text, text);
        append(kName, aside_.view());
    }
    return at->second;
}

template <class TextOf>
std::uint32_t RecordWriter::name(std::vector<std::uint32_t>& known, std::size_t number,
                                 TextOf&& text_of) {
    if (number >= known.size()) return 0;
    if (known[number] == kUnknown) known[number] = name(text_of());
    return known[number];
}

std::uint32_t RecordWriter::rule(RuleId id) {
    return name(rules_, id.number(), [&] { return std::string_view(plan_->rule_name(id)); });
}
std::uint32_t RecordWriter::helper(HelperId id) {
    if (id == kNoHelper) return 0;
    return name(helper_names_, id - 1u, [&] { return std::string_view(plan_->helper_name(id)); });
}
std::uint32_t RecordWriter::edge(EdgeId id) {
    return name(edges_, id.number(), [&] {
        return plan_->edges[id].in_use ? std::string_view(plan_->edges[id].name)
                                       : std::string_view();
    });
}

std::uint32_t RecordWriter::port(std::uint32_t number) {
    if (number == 0) return 0;
    return name(ports_, number - 1,
                [&] { return std::string_view(plan_->ports[number - 1].name); });
}

std::uint32_t RecordWriter::layout(std::span<const Field> table, std::string_view version) {
    for (const KnownLayout& known : layouts_)
        if (known.table == table.data() && known.version == version) return known.number;
    aside_.clear();
    aside_.number(layout_field::number, next_layout_);
    aside_.bytes(layout_field::version, version);
    for (const Field& f : table) {
        innermost_.clear();
        innermost_.varint(f.count);
        innermost_.raw(f.name);
        aside_.bytes(layout_field::field, innermost_.view());
    }
    append(kLayout, aside_.view());
    layouts_.push_back({table.data(), std::string(version), next_layout_});
    return next_layout_++;
}

void RecordWriter::put_struct(FieldWriter& into, std::uint32_t field,
                              std::span<const std::uint8_t> object, std::span<const Field> table,
                              std::string_view version) {
    const std::uint32_t number = layout(table, version);
    innermost_.clear();
    innermost_.varint(number);
    for (const Field& f : table)
        for (unsigned i = 0; i < f.count; ++i)
            innermost_.varint(f.get(object, i));
    into.bytes(field, innermost_.view());
}

void RecordWriter::put_tracker(Conn& c) {
    if (c.protocol() == proto::tcp) {
        c.recall_last();
        for (unsigned d = 0; d < 2; ++d) {
            TcpSideImage side = image_of(c.tcp_side(d));
            put_struct(record_, conn_field::tcp_original + d, bytes_of(side), kTcpSideFields, {});
        }
    }
    if (const TrackerPart part = tracker_part(c); !part.fields.empty())
        put_struct(record_, conn_field::tracker, part.bytes, part.fields, {});
    if (!has_state_names(c.protocol())) {
        record_.number(conn_field::state, c.state);
        return;
    }
    std::uint32_t& state = states_[c.protocol() * 16u + c.state];
    if (state == kUnknown) state = name(c.state_name());
    record_.number(conn_field::state_name, state);
}

void RecordWriter::put_helper(const HelperImage& image, const HelperDesc& desc) {
    const HelperConn& h = image.conn;
    std::string& version = helper_versions_[h.helper - 1u];
    if (version.empty()) version = version_of(desc);
    FieldWriter& out = inner_;
    out.clear();
    out.number(helper_field::proven, h.proven);
    out.number(helper_field::picked_up, h.picked_up);
    out.number(helper_field::min_timeout_s, h.min_timeout_s);
    for (unsigned d = 0; d < 2; ++d) {
        const Stream& s = h.stream[d];
        const std::uint32_t state = name(kStreamStates[static_cast<unsigned>(s.state)]);
        innermost_.clear();
        innermost_.number(stream_field::state, state);
        innermost_.number(stream_field::next_seq, s.next_seq);
        if (s.fin_seen) innermost_.number_or_zero(stream_field::fin_seq, s.fin_seq);
        innermost_.number(stream_field::has_data, s.has_data);
        innermost_.number(stream_field::read_all, s.read_all);
        innermost_.number(stream_field::skip, h.skip[d]);
        if (s.fill != 0)
            innermost_.bytes(stream_field::waiting,
                             std::span<const std::uint8_t>(image.waiting[d]).first(s.fill));
        out.bytes(helper_field::stream_original + d, innermost_.view());
    }
    if (desc.remote) {
        out.bytes(helper_field::remote_state, std::span<const std::uint8_t>(h.state));
        out.bytes(helper_field::remote_version, version);
    } else {
        put_struct(out, helper_field::state, h.state, desc.state.fields, version);
    }
    record_.bytes(conn_field::helper_state, out.view());
}

bool RecordWriter::connection(ConnId id, const Conn& conn, const HelperImage* image, Tick now) {
    const std::uint32_t from = edge(conn.edge(Direction::original));
    const std::uint32_t to = edge(conn.edge(Direction::reply));
    if (from == 0 || to == 0) {
        ++totals_.zone_gone;
        return false;
    }
    Conn c = conn;  // its tracker's state is completed
    const std::size_t address = address_bytes(c.family());
    record_.clear();
    record_.number(conn_field::id, number_of(id));
    record_.number(conn_field::master, number_of(c.master));
    record_.number(conn_field::protocol, c.protocol());
    record_.bytes(conn_field::src, std::span<const std::uint8_t>(c.src).first(address));
    record_.bytes(conn_field::dst, std::span<const std::uint8_t>(c.dst).first(address));
    record_.number(conn_field::sport, c.sport.host());
    record_.number(conn_field::dport, c.dport.host());
    record_.number(conn_field::key_class, c.key_class);
    if (c.protocol() == proto::gre)
        record_.number(conn_field::both_calls_known, c.gre.second_key != 0);
    record_.number(conn_field::ct_zone, c.ct_zone().number());
    record_.number(conn_field::rule, rule(c.rule));
    record_.number(conn_field::mark, c.mark);
    record_.number(conn_field::label, c.label);
    if (!c.has(conn_flag::expected)) {
        record_.number(conn_field::vlan, c.first.vlan);
        record_.number(conn_field::dscp, c.first.dscp);
        record_.number(conn_field::in_port, port(c.first.in_port));
    }
    record_.number(conn_field::from, from);
    record_.number(conn_field::to, to);
    record_.number(conn_field::timeouts, name(timeouts_, c.timeouts(), [&] {
                       return std::string_view(plan_->timeouts_name(c.timeouts()));
                   }));
    record_.number(conn_field::expected_by, helper(c.expected_by));
    record_.number(conn_field::flags, flag_bits(c.flags, kConnFlags));
    record_.number(conn_field::timeout_ms, c.timeout_ms);
    record_.number(conn_field::idle_ms,
                   static_cast<std::uint64_t>(std::max(now - c.last_seen(), 0)));
    record_.number(conn_field::age_ms, now.ms - c.start_ms);
    for (const Direction d : {Direction::original, Direction::reply}) {
        record_.number(conn_field::packets_original + index(d), c.packets(d));
        record_.number(conn_field::bytes_original + index(d), c.bytes(d));
    }
    put_tracker(c);
    const std::uint32_t reader = helper(c.helper);
    record_.number(conn_field::helper, reader);
    if (image != nullptr && image->there) {
        const HelperInstance* instance = c.helper != kNoHelper ? helpers_->find(c.helper) : nullptr;
        if (c.helper == kNoHelper)
            record_.number(conn_field::expects_by_rule, 1);
        else if (reader != 0 && instance != nullptr)
            put_helper(*image, *instance->desc);
        if (image->cut) ++totals_.cut;
    }
    append(kConnection, record_.view());
    ++totals_.connections;
    return true;
}

bool RecordWriter::expectation(const ExpectInfo& e, Tick now) {
    // Without its zone it would be open to all of them, and without its helper to all rules.
    const bool any_from = e.from_side == kAnyEdge, any_to = e.to_side == kAnyEdge;
    const std::uint32_t from = any_from ? 0 : edge(e.from_side);
    const std::uint32_t to = any_to ? 0 : edge(e.to_side);
    const std::uint32_t owner = helper(e.helper);
    if ((!any_from && from == 0) || (!any_to && to == 0) || (e.helper != kNoHelper && owner == 0)) {
        ++totals_.expectations_gone;
        return false;
    }
    record_.clear();
    record_.number(expect_field::master, number_of(e.master));
    record_.number(expect_field::protocol, e.protocol);
    if (!e.any_src()) record_.bytes(expect_field::src, bytes_of_address(e.src.address));
    record_.number(expect_field::src_prefix, e.src.length);
    if (!e.any_sport()) record_.number_or_zero(expect_field::sport, e.sport.host());
    record_.bytes(expect_field::dst, bytes_of_address(e.dst));
    record_.number(expect_field::dport, e.dport.host());
    record_.number(expect_field::class_index, e.class_index);
    record_.number(expect_field::flags, flag_bits(e.flags, kExpectFlags));
    record_.number(expect_field::tag, e.tag);
    record_.number(expect_field::call, e.call);
    record_.number(expect_field::left_ms,
                   static_cast<std::uint64_t>(std::max(e.deadline - now, 0)));
    record_.number(expect_field::helper, owner);
    record_.number(expect_field::child_helper, helper(e.child_helper));
    record_.number(expect_field::from, from);
    record_.number(expect_field::to, to);
    record_.number(expect_field::ct_zone, e.ct_zone.number());
    record_.number(expect_field::rule, rule(e.rule));
    record_.number(expect_field::mark, e.mark);
    record_.number(expect_field::label, e.label);
    append(kExpectation, record_.view());
    ++totals_.expectations;
    return true;
}

void RecordWriter::finish(std::uint64_t filtered) {
    totals_.filtered = filtered;
    record_.clear();
    record_.number(end_field::connections, totals_.connections);
    record_.number(end_field::expectations, totals_.expectations);
    record_.number(end_field::cut, totals_.cut);
    record_.number(end_field::filtered, totals_.filtered);
    record_.number(end_field::zone_gone, totals_.zone_gone);
    record_.number(end_field::expectations_gone, totals_.expectations_gone);
    record_.number(end_field::expectations_filtered, totals_.expectations_filtered);
    append(kEnd, record_.view());
    seal();
}

void RecordWriter::take(std::string& out) {
    if (out.empty())
        out.swap(done_);
    else
        out += done_;
    done_.clear();
}

void RecordWriter::append(Kind kind, std::string_view fields) {
    // Kind, version and the length of the fields precede them.
    constexpr std::size_t kPrefix = 2 + kMaxVarint;
    if (block_.size() + kPrefix + fields.size() > kMaxRecords) seal();
    for (std::size_t n = fields.size() + 2;; n >>= 7) {
        if (n < 0x80) {
            block_ += static_cast<char>(n);
            break;
        }
        block_ += static_cast<char>(n | 0x80);
    }
    block_ += static_cast<char>(kind);
    block_ += static_cast<char>(kVersion);
    block_ += fields;
}

void RecordWriter::seal() {
    if (block_.empty()) return;
    BlockHeader header;
    header.number = next_block_++;
    header.bytes = static_cast<std::uint32_t>(block_.size());
    header.crc = header.crc_of(block_.data());
    done_.append(reinterpret_cast<const char*>(&header), sizeof header);
    done_ += block_;
    block_.clear();
}

}  // namespace postern
