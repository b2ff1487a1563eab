// SPDX-License-Identifier: BSD-3-Clause
// The binary form: blocks of records (wire.h, NOTES.md).
#include <algorithm>
#include <cstring>
#include <optional>
#include <string>

#include "conntrack/saved_fields.h"
#include "state/binary_record.h"
#include "state/reader_forms.h"
#include "state/saved_checks.h"

namespace postern {

using namespace state_wire;

namespace {

using Next = RecordReader::Next;

constexpr std::uint64_t kMaxTimeMs = 1ull << 52;  ///< differences cannot overflow

class BinaryForm : public ReaderForm {
  public:
    explicit BinaryForm(ReaderShared& shared) : s_(shared) {}

    void plan_changed() override { names_.set_plan(*s_.plan, *s_.helpers); }

    Next next(SavedRecord& out) override {
        for (;;) {
            if (!block_.empty()) {
                if (const auto next = read_record(out)) return *next;
                continue;
            }
            if (const auto next = next_block()) return *next;
        }
    }

  private:
    std::string at(const std::string& what) const {
        return "record " + std::to_string(record_) + ": " + what;
    }
    std::string at_block(const std::string& what) const {
        return "block " + std::to_string(next_block_) + ": " + what;
    }

    /// Fills block_; nothing: look again.
    std::optional<Next> next_block() {
        const Bytes8 rest = s_.rest();
        if (!began_) return begin(rest);
        if (!s_.has_header && next_block_ != 0)
            return s_.end(at_block("the header of the file is missing"));
        if (rest.empty() && s_.over) {
            if (!ended_) return s_.end("is cut short");
            if (lost_) return s_.end("parts of it are damaged");
            return s_.end(s_.agrees() ? ""
                                      : "the number of records is another one than the end states");
        }
        if (ended_ && !rest.empty()) return s_.end("there is more after the end");
        BlockHeader header;
        if (rest.size() < sizeof header) {
            if (!s_.over) return Next::more;
            return s_.end("is cut short");
        }
        std::memcpy(&header, rest.data(), sizeof header);
        if (header.magic != BlockHeader::kMagicNumber || header.bytes == 0 ||
            header.bytes > kMaxRecords) {
            ++s_.counts.damaged_blocks;
            return s_.end(at_block("is damaged, and the rest cannot be read"));
        }
        if (rest.size() - sizeof header < header.bytes) {
            if (!s_.over) return Next::more;
            return s_.end("is cut short");
        }
        const Bytes8 records = rest.subspan(sizeof header, header.bytes);
        const bool sound = header.crc == header.crc_of(records.data());
        if (sound) records_.assign(records.begin(), records.end());
        s_.take(sizeof header + header.bytes);
        if (!sound || header.number < next_block_) {
            ++s_.counts.damaged_blocks;
            lost_ = true;
            auto bad = s_.bad(at_block(sound ? "is there twice" : "is damaged") +
                              "; its records are left out");
            if (!sound) ++next_block_;
            return bad;
        }
        if (header.number > next_block_) {
            s_.counts.damaged_blocks += header.number - next_block_;
            lost_ = true;
        }
        next_block_ = header.number + 1;
        block_ = records_;
        return std::nullopt;
    }

    std::optional<Next> begin(Bytes8 rest) {
        constexpr std::size_t kStart = kMagic.size() + sizeof kFormat;
        if (rest.size() < kStart) return s_.over ? s_.end("is cut short") : Next::more;
        if (std::memcmp(rest.data(), kMagic.data(), kMagic.size()) != 0)
            return s_.end("this is no file of `posternctl conntrack save`");
        std::uint32_t format = 0;
        std::memcpy(&format, rest.data() + kMagic.size(), sizeof format);
        if (format != kFormat)
            return s_.end("form " + std::to_string(format) + " of the file (expected " +
                          std::to_string(kFormat) + ")");
        s_.take(kStart);
        began_ = true;
        return std::nullopt;
    }

    /// Takes one record from block_. Nothing: it is no record for the caller.
    std::optional<Next> read_record(SavedRecord& out) {
        ++record_;
        FieldReader in(block_);
        const auto length = in.varint();
        const auto bytes = length ? in.bytes(*length) : std::nullopt;
        if (!bytes || bytes->size() < 2) {
            block_ = {};
            lost_ = true;
            return s_.bad(at("its length is wrong; the rest of its block is left out"));
        }
        block_ =
            block_.subspan(static_cast<std::size_t>(bytes->data() + bytes->size() - block_.data()));
        const std::uint8_t kind = (*bytes)[0], version = (*bytes)[1];
        if (!s_.has_header && kind != kHeader) return s_.end("the header of the file is missing");
        if (version > kVersion || version == 0 || kind == 0 || kind > kEnd) {
            ++s_.counts.unknown_records;
            return std::nullopt;
        }
        if (ended_) return s_.end(at("there is more after the end"));
        Record r(bytes->subspan(2), names_, s_.counts);
        bool is_record = false;
        switch (kind) {
            case kHeader: read_header(r); break;
            case kName: read_name(r); break;
            case kLayout: read_layout(r); break;
            case kConnection:
                out.emplace<SavedConnection>();
                read_connection(r, std::get<SavedConnection>(out));
                is_record = true;
                break;
            case kExpectation:
                out.emplace<SavedExpectation>();
                read_expectation(r, std::get<SavedExpectation>(out));
                is_record = true;
                break;
            case kEnd: read_end(r); break;
            default: break;
        }
        if (!r.ok()) {
            const char* name = kind == kConnection    ? "connection."
                               : kind == kExpectation ? "expectation."
                                                      : "";
            if (!is_record) lost_ = true;
            return s_.bad(at(name + r.problem()), r.fault());
        }
        if (is_record) return Next::record;
        return std::nullopt;
    }

    void read_header(Record& r) {
        StateHeader h;
        while (r.next())
            switch (r.field()) {
                case header_field::saved_ms:
                    h.saved_ms = static_cast<std::int64_t>(r.number("saved_ms", kMaxTimeMs));
                    break;
                case header_field::host: {
                    const Bytes8 text = r.data("host");
                    h.host.assign(text.begin(), text.end());
                    break;
                }
                case header_field::plan_digest: r.read("plan_digest", h.plan_digest); break;
                case header_field::boot_ms:
                    h.boot_ms = static_cast<std::int64_t>(r.number("boot_ms", kMaxTimeMs));
                    break;
                case header_field::boot_id: {
                    const Bytes8 text = r.data("boot_id");
                    h.boot_id.assign(text.begin(), text.end());
                    break;
                }
                default: r.unknown();
            }
        if (s_.has_header) r.wrong("there is a second header");
        if (!r.ok()) return;
        s_.header = std::move(h);
        s_.has_header = true;
    }

    void read_name(Record& r) {
        std::uint64_t number = 0;
        Bytes8 text;
        while (r.next())
            switch (r.field()) {
                case name_field::number: number = r.number("number", UINT32_MAX); break;
                case name_field::text: text = r.data("text"); break;
                default: r.unknown();
            }
        if (!r.ok()) return;
        if (!names_.add_name(number, {reinterpret_cast<const char*>(text.data()), text.size()}))
            r.wrong("a name is empty or was given before, or there are too many");
    }

    void read_layout(Record& r) {
        std::uint64_t number = 0;
        std::string version;
        std::vector<NamesRead::LayoutField> fields;
        while (r.next())
            switch (r.field()) {
                case layout_field::number: number = r.number("number", UINT32_MAX); break;
                case layout_field::version: {
                    const Bytes8 text = r.data("version");
                    version.assign(text.begin(), text.end());
                    break;
                }
                case layout_field::field: {
                    FieldReader f(r.data("field"));
                    const auto count = f.varint();
                    if (!count || *count == 0 || *count > UINT8_MAX) {
                        r.wrong("a field of a layout has no count");
                        break;
                    }
                    const auto name = f.rest();
                    fields.push_back(
                        {std::string(name.begin(), name.end()), static_cast<unsigned>(*count)});
                    break;
                }
                default: r.unknown();
            }
        if (r.ok() && !names_.add_layout(number, version, std::move(fields)))
            r.wrong("a layout was given before, or there are too many");
    }

    void read_connection(Record& r, SavedConnection& out) {
        Conn& c = out.image.conn;
        Tuple t;
        std::uint64_t key_class = 0, packets[2] = {}, counted[2] = {}, states = 0;
        std::uint64_t from = 0, to = 0, helper_name = 0, state_name = 0;
        std::uint64_t vlan = 0, dscp = 0, in_port = 0;
        bool both_known = false, by_rule = false;
        Bytes8 sides[2], tracker;
        std::optional<Bytes8> helper_state;
        using namespace conn_field;
        while (r.next())
            switch (r.field()) {
                case conn_field::id: out.id = r.id("id"); break;
                case conn_field::master: out.master = r.id("master"); break;
                case conn_field::protocol: r.read("proto", t.protocol); break;
                case conn_field::src: t.src = r.address("src"); break;
                case conn_field::dst: t.dst = r.address("dst"); break;
                case conn_field::sport: r.read("sport", t.sport); break;
                case conn_field::dport: r.read("dport", t.dport); break;
                case conn_field::key_class: key_class = r.number("key_class", 15); break;
                case both_calls_known: both_known = r.flag("both_calls_known"); break;
                case ct_zone:
                    c.key.ct_zone = CtZone::from(r.number("ct_zone", kCtZones - 1));
                    break;
                case conn_field::rule: c.rule = names_.rule(r.name("rule")); break;
                case conn_field::mark: r.read("mark", c.mark); break;
                case conn_field::label: r.read("label", c.label); break;
                case conn_field::vlan: vlan = r.number("vlan", kVlans - 1); break;
                case conn_field::dscp: dscp = r.number("dscp", 63); break;
                case conn_field::in_port: in_port = r.name("in_port"); break;
                case conn_field::from: from = r.name("from"); break;
                case conn_field::to: to = r.name("to"); break;
                case conn_field::timeouts:
                    c.set_timeouts(names_.timeouts(r.name("timeouts")));
                    break;
                case conn_field::expected_by:
                    c.expected_by = names_.helper(r.name("expected_by"));
                    break;
                case conn_field::flags: c.flags = r.flags("flags", kConnFlags); break;
                case conn_field::state_name: state_name = r.name("state"); break;
                case conn_field::state: states = r.number("state", 1); break;
                case conn_field::timeout_ms: r.read("timeout_ms", c.timeout_ms, INT32_MAX); break;
                case idle_ms: r.read("idle_ms", out.idle_ms, INT32_MAX); break;
                case age_ms: r.read("age_ms", out.age_ms); break;
                case packets_original:
                case packets_reply:
                    packets[r.field() - packets_original] = r.number("packets", Conn::kMaxPackets);
                    break;
                case bytes_original:
                case bytes_reply:
                    counted[r.field() - bytes_original] = r.number("bytes", Conn::kMaxBytes);
                    break;
                case tcp_original:
                case tcp_reply: sides[r.field() - tcp_original] = r.data("tcp"); break;
                case conn_field::tracker: tracker = r.data("tracker"); break;
                case conn_field::helper: helper_name = r.name("helper"); break;
                case conn_field::helper_state: helper_state = r.data("helper_state"); break;
                case expects_by_rule: by_rule = r.flag("expects_by_rule"); break;
                default: r.unknown();
            }
        if (!r.ok()) return;
        if (t.src.family == Family::none) r.wrong("src: is missing");
        if (t.src.family != t.dst.family) r.wrong("dst: is of another family than src");
        set_ends(c, t);
        if (key_class > max_key_class(t.protocol))
            r.wrong("key_class: expected a number up to " +
                    std::to_string(max_key_class(t.protocol)));
        r.check(set_key_class(c, t, static_cast<unsigned>(key_class), both_known));
        r.check(set_zones(c, *s_.plan, names_.edge(from), names_.edge(to)));
        set_first_link(c, *s_.plan, vlan, dscp, names_.text(in_port).value_or(""));
        for (const Direction d : {Direction::original, Direction::reply})
            c.set_counts(d, packets[index(d)], counted[index(d)]);
        if (!has_state_names(t.protocol))
            c.set_state(states);
        else if (!set_state(c, names_.text(state_name).value_or("")))
            r.wrong("state: this protocol has no such state");
        if (const TrackerPart part = tracker_part(c); !part.fields.empty()) {
            std::fill(part.bytes.begin(), part.bytes.end(), std::uint8_t{0});
            r.read_struct("tracker", tracker, part.fields, part.bytes);
        }
        if (t.protocol == proto::tcp) {
            for (unsigned d = 0; d < 2; ++d) {
                TcpSideImage side;
                r.read_struct("tcp", sides[d], kTcpSideFields, bytes_of(side));
                put_image(c.tcp_side(d), side);
            }
            c.mark_latest();
        }
        if (r.ok()) read_helper_part(r, out, helper_name, helper_state, by_rule);
    }

    void read_helper_part(Record& r, SavedConnection& out, std::uint64_t name,
                          const std::optional<Bytes8>& state, bool by_rule) {
        HelperImage& image = out.image.helper;
        const HelperId id = names_.helper(name);
        if (id != kNoHelper && !s_.plan->helpers[id - 1u].supports(out.image.conn.protocol()))
            return r.wrong("helper: does not read this protocol");
        // Its helper waits for the first packet with payload.
        const bool waits = id != kNoHelper && !state && is_silent(out.image.conn);
        if (waits)
            out.image.conn.helper = id;
        else if (id != kNoHelper && state)
            image.there = read_helper(r, *state, id, *s_.helpers->find(id)->desc, image);
        else if (name == 0)
            image.there = by_rule;
        out.forgets = name != 0 && !image.there && !waits;
    }

    void read_expectation(Record& r, SavedExpectation& out) {
        ExpectRequest& q = out.request;
        IpAddr src;
        std::uint64_t prefix = 0, helper_name = 0, from = 0, to = 0;
        using namespace state_wire::expect_field;
        while (r.next())
            switch (r.field()) {
                case expect_field::master: out.master = r.id("master"); break;
                case expect_field::protocol: r.read("proto", q.protocol); break;
                case expect_field::src: src = r.address("src"); break;
                case src_prefix: prefix = r.number("src_prefix", 128); break;
                case expect_field::sport: {
                    Be16 port;
                    r.read("sport", port);
                    q.set_sport(port);
                    break;
                }
                case expect_field::dst: q.dst = r.address("dst"); break;
                case expect_field::dport: r.read("dport", q.dport); break;
                case class_index: r.read("class", q.class_index, kExpectClasses - 1); break;
                case expect_field::flags: q.flags = r.flags("flags", kExpectFlags); break;
                case expect_field::tag: r.read("tag", q.tag); break;
                case call: r.read("call", q.call); break;
                case left_ms: r.read("left_ms", q.timeout_ms, INT32_MAX); break;
                case expect_field::helper: helper_name = r.name("helper"); break;
                case child_helper: q.child_helper = names_.helper(r.name("child_helper")); break;
                case expect_field::from: from = r.name("from"); break;
                case expect_field::to: to = r.name("to"); break;
                case expect_field::ct_zone:
                    q.ct_zone = CtZone::from(r.number("ct_zone", kCtZones - 1));
                    break;
                case expect_field::rule: q.rule = names_.rule(r.name("rule")); break;
                case expect_field::mark: r.read("mark", q.mark); break;
                case expect_field::label: r.read("label", q.label); break;
                default: r.unknown();
            }
        if (!r.ok()) return;
        if (q.dst.family == Family::none) r.wrong("dst: is missing");
        if (src.family != Family::none && src.family != q.dst.family)
            r.wrong("dst: is of another family than src");
        const std::uint64_t most = std::uint64_t{8} * address_bytes(src.family);
        if (prefix > most || (prefix == 0 && src.family != Family::none))
            r.wrong("src_prefix: does not fit src");
        if (src.family != Family::none) q.src = {src, static_cast<std::uint8_t>(prefix)};
        const auto side = [&](const char* key, std::uint64_t name) {
            if (name == 0) return kAnyEdge;
            const auto id = names_.edge(name);
            if (!id)
                r.wrong(std::string(key) + ": there is no zone of this name", RecordFault::no_zone);
            return id ? s_.plan->edges.side_of(*id) : kAnyEdge;
        };
        q.from_side = side("from", from);
        q.to_side = side("to", to);
        q.helper = names_.helper(helper_name);
        if (q.helper == kNoHelper && helper_name != 0)
            r.wrong("helper: there is no helper of this name", RecordFault::no_helper);
        set_limits(*s_.plan, q);
    }

    void read_end(Record& r) {
        StateTotals& t = s_.totals;
        while (r.next())
            switch (r.field()) {
                case end_field::connections: r.read("connections", t.connections); break;
                case end_field::expectations: r.read("expectations", t.expectations); break;
                case end_field::cut: r.read("cut", t.cut); break;
                case end_field::filtered: r.read("filtered", t.filtered); break;
                case end_field::zone_gone: r.read("zone_gone", t.zone_gone); break;
                case end_field::expectations_filtered:
                    r.read("expectations_filtered", t.expectations_filtered);
                    break;
                case end_field::expectations_gone:
                    r.read("expectations_gone", t.expectations_gone);
                    break;
                default: r.unknown();
            }
        ended_ = r.ok();
    }

    ReaderShared& s_;
    NamesRead names_;
    std::vector<std::uint8_t> records_;  ///< of the current block
    Bytes8 block_;                       ///< those of them that were not read
    std::uint32_t next_block_ = 0;
    std::uint64_t record_ = 0;  ///< of all kinds, from 1
    bool began_ = false;        ///< the magic number was read
    bool ended_ = false;        ///< the last record was read
    bool lost_ = false;         ///< some records are missing or cannot be read
};

}  // namespace

std::unique_ptr<ReaderForm> binary_form(ReaderShared& shared) {
    return std::make_unique<BinaryForm>(shared);
}

}  // namespace postern
