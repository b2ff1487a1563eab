// SPDX-License-Identifier: BSD-3-Clause
// The binary form of saved connections, the reader of both forms, and files as bytes.
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <random>
#include <set>
#include <sstream>

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "conntrack/saved_fields.h"
#include "state/file.h"
#include "state/json_record.h"
#include "state/record_reader.h"
#include "state/record_writer.h"
#include "support/saved.h"

namespace postern {
namespace {

using Next = RecordReader::Next;

const SavedSetting& setting() {
    static const SavedSetting s;
    return s;
}

Conn conn_of(std::uint8_t protocol, std::uint16_t sport, std::uint16_t dport) {
    Conn c;
    c.key.family = 4;
    c.key.protocol = protocol;
    c.src[0] = 10;
    c.dst[0] = 192;
    c.sport = Be16::from_host(sport);
    c.dport = Be16::from_host(dport);
    c.timeout_ms = 60'000;
    c.set_edges({EdgeId{0}, EdgeId{1}});
    c.rule = RuleId{0};
    return c;
}

/// One of every kind: each tracker, IPv6, a child, all numbers large.
std::vector<SavedConnection> of_each_protocol() {
    std::vector<SavedConnection> all;
    const auto add = [&all](const Conn& c) -> SavedConnection& {
        all.emplace_back();
        all.back().image.conn = c;
        all.back().id = {static_cast<std::uint32_t>(all.size()), 65535, WorkerId{31}};
        return all.back();
    };
    add(conn_of(proto::udp, 1, 2));
    Conn tcp = conn_of(proto::tcp, 40000, 21);
    tcp.state = static_cast<std::uint8_t>(TcpState::fin_wait);
    tcp.flags =
        conn_flag::seen_reply | conn_flag::assured | conn_flag::expected | conn_flag::liberal;
    put_image(tcp.tcp_side(1), {1, 2, 0xffffffff, 3, 14, 0x3f});
    tcp.tcp_far.last = {1, 2, 3, 4, 1, TcpKind::rst, 14, 0xff, 9, false};
    tcp.mark_latest();
    tcp.key.ct_zone = CtZone{7};
    tcp.set_edges({EdgeId{1}, EdgeId{0}});
    tcp.set_timeouts(1);
    tcp.expected_by = 2;
    tcp.mark = 0xffffffff;
    tcp.label = 17;
    tcp.set_counts(Direction::original, 0, Conn::kMaxBytes);
    tcp.set_counts(Direction::reply, Conn::kMaxPackets, 12345);
    SavedConnection& child = add(tcp);
    child.idle_ms = 500;
    child.age_ms = 3'456'000'000u;
    child.image.conn.master = child.master = {1, 65535, WorkerId{31}};
    Conn six = conn_of(proto::udplite, 5, 6);
    six.key.family = 6;
    six.src[15] = six.dst[15] = 1;
    six.first = {.vlan = 4095, .dscp = 63, .in_port = 2, .limited = 0};
    add(six);
    Conn sctp = conn_of(proto::sctp, 1, 2);
    sctp.sctp = {{1, 0xffffffff}, {}, {true, false}, true, 1};
    sctp.state = static_cast<std::uint8_t>(SctpState::established);
    add(sctp);
    Conn dccp = conn_of(proto::dccp, 1, 2);
    dccp.dccp = {0xffffffffffff, 1, 1, 4, {}};
    dccp.state = static_cast<std::uint8_t>(DccpState::open);
    add(dccp);
    Conn icmp = conn_of(proto::icmp, 9, 9);
    icmp.key_class = 1;
    add(icmp);
    Conn call = conn_of(proto::gre, 11, 22);
    call.key_class = kGreCall;
    call.gre = {1};
    add(call);
    call.sport = {};
    call.gre = {};
    add(call);
    Conn other = conn_of(50, 0, 0);
    other.state = 1;
    add(other);
    return all;
}

/// With each helper's state, all of it as large as it may be, and with a rule's.
std::vector<SavedConnection> of_each_helper() {
    std::vector<SavedConnection> all;
    for (std::size_t i = 0; i < setting().plan.helpers.size(); ++i) {
        const auto id = static_cast<HelperId>(i + 1);
        const HelperDesc& desc = *setting().helpers->find(id)->desc;
        const bool tcp = (desc.transports & transport::tcp) != 0;
        SavedConnection& s = all.emplace_back();
        s.id = {static_cast<std::uint32_t>(100 + i), 1, WorkerId{}};
        s.image.conn = conn_of(tcp ? proto::tcp : proto::udp, 40000, 2100);
        s.image.conn.helper = s.image.helper.conn.helper = id;
        s.image.helper.there = true;
        HelperConn& h = s.image.helper.conn;
        h.proven = h.picked_up = true;
        h.min_timeout_s = 77;
        h.skip = {5, 0xffffffff};
        h.stream[0] = {.next_seq = 3, .fin_seq = 0};
        h.stream[0].state = StreamState::open;
        h.stream[0].fin_seen = 1;
        h.stream[0].fill = HelperImage::kWaiting;
        h.stream[0].has_data = h.stream[0].read_all = 1;
        h.stream[1].state = StreamState::blind;
        s.image.helper.waiting[0].fill(0xfe);
        if (desc.remote) h.state.fill(0xff);
        for (const Field& f : desc.state.fields)
            for (unsigned n = 0; n < f.count; ++n)
                f.put(h.state, f.max, n);
    }
    SavedConnection& by_rule = all.emplace_back();
    by_rule.image.conn = conn_of(proto::udp, 3, 4);
    by_rule.image.helper.there = true;
    return all;
}

ExpectInfo an_expectation() {
    ExpectInfo e;
    e.protocol = proto::gre;
    e.src = Prefix::exact(IpAddr::v4(10, 0, 0, 1));
    e.dst = IpAddr::v4(10, 0, 0, 2);
    e.set_sport(Be16::from_host(0));
    e.dport = Be16::from_host(22);
    e.ct_zone = CtZone{3};
    e.rule = RuleId{0};
    e.master = {5, 6, WorkerId{1}};
    e.mark = 1;
    e.label = 2;
    e.helper = setting().helper("pptp");
    e.child_helper = setting().helper("ftp");
    e.from_side = *setting().plan.edges.find("outside");
    e.flags = expect_flag::permanent | expect_flag::inactive;
    e.tag = 9;
    e.call = 0xffffffff;
    e.deadline = Tick{5000};
    return e;
}

void write(RecordWriter& writer, const SavedConnection& s) {
    Conn c = s.image.conn;
    c.last_seen_ms = 0u - s.idle_ms;
    c.start_ms = 0u - s.age_ms;
    EXPECT_TRUE(writer.connection(s.id, c, s.image.helper.there ? &s.image.helper : nullptr, {}));
}
std::string written(const std::vector<SavedConnection>& all, bool expectation = true,
                    const SavedSetting& by = setting()) {
    RecordWriter writer(
        {.saved_ms = 1234, .boot_ms = 77, .boot_id = "boot", .host = "host", .plan_digest = 99});
    writer.set_plan(by.plan, *by.helpers);
    for (const SavedConnection& s : all)
        write(writer, s);
    if (expectation) {
        EXPECT_TRUE(writer.expectation(an_expectation(), Tick{1000}));
    }
    writer.finish(7);
    std::string out;
    writer.take(out);
    return out;
}

/// All that a reader says about a file.
struct Read {
    std::vector<SavedRecord> records;
    std::vector<std::string> problems;
    std::string end;
    bool whole = false;
    StateHeader header;
    StateTotals totals;
    RecordReader::Counts counts;
};
Read read(std::string_view bytes, std::size_t piece = SIZE_MAX,
          const SavedSetting& by = setting()) {
    RecordReader reader(by.plan, *by.helpers);
    Read out;
    for (SavedRecord record;;) {
        switch (reader.next(record)) {
            case Next::record: out.records.push_back(record); break;
            case Next::bad:
                EXPECT_FALSE(reader.problem().empty());
                EXPECT_NE(reader.fault(), RecordFault::none);
                out.problems.push_back(reader.problem());
                break;
            case Next::more:
                reader.feed(bytes.substr(0, piece));
                bytes.remove_prefix(std::min(piece, bytes.size()));
                if (bytes.empty()) reader.feed_end();
                break;
            case Next::end:
                out.end = reader.problem();
                out.whole = reader.is_whole();
                out.header = reader.header();
                out.totals = reader.totals();
                out.counts = reader.counts();
                EXPECT_EQ(reader.next(record), Next::end);
                return out;
        }
    }
}
/// A record in a form that can be compared: its JSON, and what is not in that.
std::string text_of(const SavedRecord& record) {
    if (const auto* c = std::get_if<SavedConnection>(&record)) {
        std::ostringstream out;
        out << setting().record_of(*c) << c->id.index << ' ' << c->id.generation << ' '
            << +c->id.worker.number() << ' ' << c->master.index << ' ' << c->forgets
            << c->image.helper.there << c->age_ms;
        return out.str();
    }
    const auto& e = std::get<SavedExpectation>(record);
    const ExpectRequest& q = e.request;
    std::ostringstream out;
    out << q.src.to_string() << q.dst.to_string() << ' ' << q.sport.host() << ' '
        << q.sport_mask.raw() << ' ' << q.dport.host() << ' ' << q.mark << ' ' << q.label << ' '
        << q.rule.number() << ' ' << +q.flags << ' ' << q.tag << ' ' << q.call << ' '
        << q.timeout_ms << ' ' << +q.helper << ' ' << +q.child_helper << ' '
        << +q.from_side.number() << ' ' << +q.to_side.number() << ' ' << e.master.index << ' '
        << +q.class_max << ' ' << q.master_max << ' ' << +q.protocol << ' ' << q.ct_zone.number();
    return out.str();
}
std::set<std::string> texts_of(const std::vector<SavedRecord>& records) {
    std::set<std::string> out;
    for (const SavedRecord& r : records)
        out.insert(text_of(r));
    return out;
}

TEST(BinaryState, AllOfEachConnectionIsReadAgain) {
    auto all = of_each_protocol();
    for (auto& s : of_each_helper())
        all.push_back(s);
    const std::string file = written(all);
    for (const std::size_t piece : {std::size_t{1}, std::size_t{37}, SIZE_MAX}) {
        const Read got = read(file, piece);
        EXPECT_EQ(got.end, "");
        EXPECT_TRUE(got.whole);
        EXPECT_TRUE(got.problems.empty()) << got.problems[0];
        EXPECT_EQ(got.header.saved_ms, 1234);
        EXPECT_EQ(got.header.host, "host");
        EXPECT_EQ(got.header.plan_digest, 99u);
        EXPECT_EQ(got.header.boot_ms, 77);
        EXPECT_EQ(got.header.boot_id, "boot");
        EXPECT_EQ(got.totals.connections, all.size());
        EXPECT_EQ(got.totals.expectations, 1u);
        EXPECT_EQ(got.totals.filtered, 7u);
        EXPECT_EQ(got.counts.unknown_fields, 0u);
        ASSERT_EQ(got.records.size(), all.size() + 1);
        for (std::size_t i = 0; i < all.size(); ++i) {
            const auto& again = std::get<SavedConnection>(got.records[i]);
            SavedConnection was = all[i];
            was.image.conn.master = {};
            EXPECT_EQ(text_of(again), text_of(was)) << i;
            EXPECT_EQ(again.image.conn.master, ConnId{});
        }
        EXPECT_EQ(
            text_of(got.records.back()),
            "10.0.0.1/3210.0.0.2 0 65535 22 1 2 0 " +
                std::to_string(expect_flag::permanent | expect_flag::inactive |
                               expect_flag::beside) +
                " 9 4294967295 4000 " + std::to_string(setting().helper("pptp")) + " " +
                std::to_string(setting().helper("ftp")) + " " +
                std::to_string(setting().plan.edges.find("outside")->number()) + " 255 5 " +
                std::to_string(
                    setting().plan.helpers[setting().helper("pptp") - 1u].classes[0].max_per_call) +
                " 0 47 3");
    }
}

TEST(BinaryState, BothFormsSayTheSame) {
    auto all = of_each_protocol();
    for (auto& s : of_each_helper())
        all.push_back(s);
    std::string lines =
        "{\"postern_state\":{\"version\":1,\"saved_ms\":5,\"host\":\"h\",\"boot_ms\":6,\"boot_id\":"
        "\"b\"}}\n";
    for (const SavedConnection& s : all)
        lines += setting().record_of(s).dump() + "\n";
    lines += "{\"end\":{}}";
    const Read json = read(lines, 100), binary = read(written(all, false));
    EXPECT_EQ(json.end, "");
    EXPECT_TRUE(json.whole);
    EXPECT_EQ(json.header.saved_ms, 5);
    EXPECT_EQ(json.header.host, "h");
    EXPECT_EQ(json.header.boot_ms, 6);
    EXPECT_EQ(json.header.boot_id, "b");
    ASSERT_EQ(json.records.size(), binary.records.size());
    for (std::size_t i = 0; i < json.records.size(); ++i)
        EXPECT_EQ(setting().record_of(std::get<SavedConnection>(json.records[i])),
                  setting().record_of(std::get<SavedConnection>(binary.records[i])));
}

TEST(BinaryState, OfAFileThatIsCutNothingElseIsRead) {
    auto all = of_each_protocol();
    all.push_back(of_each_helper().front());
    const std::string file = written(all);
    const auto good = texts_of(read(file).records);
    for (std::size_t n = 0; n < file.size(); ++n) {
        const Read got = read(file.substr(0, n));
        EXPECT_FALSE(got.whole) << n;
        EXPECT_NE(got.end, "") << n;
        for (const SavedRecord& r : got.records)
            EXPECT_TRUE(good.contains(text_of(r))) << n;
    }
}

/// Reads `file` with some bits of a byte turned over. Returns how many records were read, all of
/// which are in `good`.
std::size_t read_damaged(std::string file, std::size_t at, int flip,
                         const std::set<std::string>& good) {
    file[at] = static_cast<char>(file[at] ^ flip);
    const Read got = read(file);
    EXPECT_FALSE(got.whole) << at;
    EXPECT_NE(got.end, "") << at;
    for (const SavedRecord& r : got.records)
        EXPECT_TRUE(good.contains(text_of(r))) << at;
    return got.records.size();
}

TEST(BinaryState, OfADamagedFileNothingElseIsRead) {
    const std::string file = written(of_each_protocol());
    const auto good = texts_of(read(file).records);
    constexpr int kFlips[] = {0x01, 0x80, 0xff};
    for (std::size_t at = 0; at < file.size(); ++at)
        read_damaged(file, at, kFlips[at % 3], good);
}

TEST(BinaryState, WhatIsSoundInADamagedFileIsRead) {
    auto all = of_each_protocol();
    while (written(all, false).size() < 80'000)
        for (const SavedConnection& s : of_each_helper())
            all.push_back(s);
    const std::string file = written(all);
    const auto good = texts_of(read(file).records);
    // In the second block's records, and in its checksum.
    for (const std::size_t at : {std::size_t{40'000}, std::size_t{50'000}}) {
        const std::size_t n = read_damaged(file, at, 0xff, good);
        EXPECT_GT(n, all.size() / 3);
        EXPECT_LT(n, all.size());
    }
}

/// A file's records one by one, to put others in their place.
struct Pieces {
    std::vector<std::string> records;  ///< kind, version, fields
};
Pieces pieces_of(const std::string& file) {
    Pieces out;
    std::size_t at = state_wire::kMagic.size() + 4;
    while (at < file.size()) {
        state_wire::BlockHeader header;
        std::memcpy(&header, file.data() + at, sizeof header);
        at += sizeof header;
        state_wire::FieldReader in(
            {reinterpret_cast<const std::uint8_t*>(file.data()) + at, header.bytes});
        while (!in.at_end()) {
            const auto record = in.bytes(*in.varint());
            out.records.emplace_back(record->begin(), record->end());
        }
        at += header.bytes;
    }
    return out;
}
std::string file_of(const Pieces& pieces) {
    std::string out(state_wire::kMagic);
    const std::uint32_t format = state_wire::kFormat;
    out.append(reinterpret_cast<const char*>(&format), sizeof format);
    state_wire::BlockHeader header;
    for (const std::string& r : pieces.records) {
        state_wire::FieldWriter length;
        length.clear();
        length.varint(r.size());
        const std::string records = std::string(length.view()) + r;
        header.bytes = static_cast<std::uint32_t>(records.size());
        header.crc = header.crc_of(records.data());
        out.append(reinterpret_cast<const char*>(&header), sizeof header);
        out += records;
        ++header.number;
    }
    return out;
}
std::string fields(const std::function<void(state_wire::FieldWriter&)>& fill) {
    state_wire::FieldWriter w;
    w.clear();
    fill(w);
    return std::string(w.view());
}

TEST(BinaryState, WhatIsNotKnownIsSkippedAndCounted) {
    const auto all = of_each_protocol();
    const auto good = read(written(all));
    Pieces p = pieces_of(written(all));
    const std::string more = fields([](state_wire::FieldWriter& w) {
        w.number(900, 7);
        w.bytes(901, std::string_view("later"));
    });
    for (std::string& r : p.records)
        if (r[0] == state_wire::kConnection || r[0] == state_wire::kEnd) r += more;
    p.records.insert(p.records.begin() + 1, {std::string("\x63\x01zz"), std::string("\x04\x02?")});
    const Read got = read(file_of(p));
    EXPECT_EQ(got.end, "");
    EXPECT_EQ(texts_of(got.records), texts_of(good.records));
    EXPECT_EQ(got.counts.unknown_fields, 2 * all.size() + 2);
    EXPECT_EQ(got.counts.unknown_records, 2u);
}

TEST(BinaryState, AnotherOrderOfAStructsFieldsIsUnderstood) {
    // A layout with a field more, and in another order.
    Conn c = conn_of(proto::dccp, 1, 2);
    c.dccp = {77, 1, 0, 4, {}};
    c.state = static_cast<std::uint8_t>(DccpState::open);
    SavedConnection s;
    s.image.conn = c;
    Pieces p = pieces_of(written({s}, false));
    for (std::string& r : p.records) {
        if (r[0] == state_wire::kLayout)
            r = r.substr(0, 2) + fields([](state_wire::FieldWriter& w) {
                    w.number(state_wire::layout_field::number, 1);
                    for (const char* f :
                         {"\x01last_type", "\x02new_ones", "\x01last_dir", "\x01response_seq",
                          "\x01"
                          "client"})
                        w.bytes(state_wire::layout_field::field, std::string_view(f));
                });
        if (r[0] == state_wire::kConnection)
            r += fields([](state_wire::FieldWriter& w) {
                w.bytes(state_wire::conn_field::tracker,
                        std::string_view("\x01\x04\x09\x09\x00\x4d\x01", 7));
            });
    }
    const Read got = read(file_of(p));
    ASSERT_EQ(got.records.size(), 1u) << (got.problems.empty() ? got.end : got.problems[0]);
    const DccpTrack& d = std::get<SavedConnection>(got.records[0]).image.conn.dccp;
    EXPECT_EQ(d.response_seq, 77u);
    EXPECT_EQ(d.client, 1u);
    EXPECT_EQ(d.last_dir, 0u);
    EXPECT_EQ(d.last_type, 4u);
    EXPECT_EQ(got.counts.unknown_fields, 1u);
}

TEST(BinaryState, NothingOutOfRangeIsRead) {
    using namespace state_wire;
    const std::string base = written({of_each_protocol()[1]}, false);
    const auto with = [&](const std::function<void(FieldWriter&)>& fill) {
        Pieces p = pieces_of(base);
        for (std::string& r : p.records)
            if (r[0] == kConnection) r += fields(fill);
        const Read got = read(file_of(p));
        EXPECT_EQ(got.records.empty(), !got.problems.empty());
        return got.problems.empty() ? std::string()
                                    : got.problems[0].substr(got.problems[0].find(": ") + 2);
    };
    const auto number = [&](std::uint32_t field, std::uint64_t value) {
        return with([&](FieldWriter& w) { w.number_or_zero(field, value); });
    };
    const auto bytes = [&](std::uint32_t field, std::string_view value) {
        return with([&](FieldWriter& w) { w.bytes(field, value); });
    };
    EXPECT_EQ(number(conn_field::mark, 5), "");
    EXPECT_EQ(number(conn_field::sport, 65536), "connection.sport: expected a number up to 65535");
    EXPECT_EQ(bytes(conn_field::sport, "1"), "connection.sport: expected a number up to 65535");
    EXPECT_EQ(bytes(conn_field::src, "abc"), "connection.src: expected an IP address");
    EXPECT_EQ(bytes(conn_field::src, std::string(16, 'a')),
              "connection.dst: is of another family than src");
    EXPECT_EQ(number(conn_field::rule, 999), "connection.rule: its name is not in the file");
    EXPECT_EQ(number(conn_field::from, 0), "connection.from: there is no zone of this name");
    EXPECT_EQ(number(conn_field::id, 1), "connection.id: expected an id");
    EXPECT_EQ(number(conn_field::id, std::uint64_t{1} << 24 | kMaxWorkers),
              "connection.id: expected an id");
    EXPECT_EQ(number(conn_field::key_class, 1), "connection.key_class: expected a number up to 0");
    EXPECT_EQ(number(conn_field::state_name, 0),
              "connection.state: this protocol has no such state");
    EXPECT_EQ(number(conn_field::packets_reply, Conn::kMaxPackets + 1),
              "connection.packets: expected a number up to " + std::to_string(Conn::kMaxPackets));
    EXPECT_EQ(bytes(conn_field::tracker, ""), "connection.tracker: its layout is not in the file");
    EXPECT_EQ(bytes(conn_field::tracker, "\x02"),
              "connection.tracker.seq: missing, or out of range");
    EXPECT_EQ(bytes(conn_field::helper_state, "\x01"), "");  // it has no helper
    EXPECT_EQ(with([](FieldWriter& w) { w.raw("\x80"); }), "connection.a field is cut short");
}

TEST(BinaryState, ZonesThatAreMissingAreCounted) {
    SavedSetting other;
    other.plan.edges = {};
    other.plan.edges.join(other.plan.edges.add_zone("inside"), other.plan.edges.add_zone("dmz"));
    const auto all = of_each_protocol();
    const Read got = read(written(all), SIZE_MAX, other);
    EXPECT_TRUE(got.whole);
    EXPECT_EQ(got.counts.bad[static_cast<unsigned>(RecordFault::no_zone)], all.size() + 1);
    EXPECT_TRUE(got.records.empty());
}

TEST(BinaryState, ZonesThatAreGoneAreNotWritten) {
    SavedSetting other;
    other.plan.edges = {};
    const EdgeId there = *setting().plan.edges.find("inside");
    const EdgeId gone = *setting().plan.edges.find("outside");
    other.plan.edges.put_gone(gone, "outside", ZoneId::from(gone.number()));
    other.plan.edges.put_zone(there, "inside", {});
    RecordWriter writer({});
    writer.set_plan(other.plan, *other.helpers);
    EXPECT_FALSE(writer.connection({1, 1, {}}, conn_of(proto::udp, 1, 2), nullptr, {}));
    // It would be open to every zone.
    EXPECT_FALSE(writer.expectation(an_expectation(), {}));
    EXPECT_EQ(writer.totals().zone_gone, 1u);
    EXPECT_EQ(writer.totals().expectations_gone, 1u);
    EXPECT_EQ(writer.totals().connections, 0u);
}

TEST(BinaryState, NamesHaveTheNumbersOfThePlanThatReads) {
    SavedSetting writes, reads;
    writes.plan.rules = {"one", "two"};
    reads.plan.rules = {"two", "", "one"};
    reads.plan.timeout_names = {"long", "short"};
    std::vector<SavedConnection> all(3);
    for (SavedConnection& s : all)
        s.image.conn = conn_of(proto::udp, 1, 2);
    all[1].image.conn.rule = RuleId{1};
    all[1].image.conn.set_timeouts(1);
    const std::string file = written(all, false, writes);
    const Read got = read(file, SIZE_MAX, reads);
    ASSERT_EQ(got.records.size(), 3u);
    EXPECT_EQ(std::get<SavedConnection>(got.records[0]).image.conn.rule, RuleId{2});
    EXPECT_EQ(std::get<SavedConnection>(got.records[1]).image.conn.rule, RuleId{0});
    EXPECT_EQ(std::get<SavedConnection>(got.records[1]).image.conn.timeouts(), 2u);
    // In the middle of a file, as by a reload.
    RecordReader reader(writes.plan, *writes.helpers);
    reader.feed(file);
    reader.feed_end();
    SavedRecord record;
    ASSERT_EQ(reader.next(record), Next::record);
    EXPECT_EQ(std::get<SavedConnection>(record).image.conn.rule, RuleId{0});
    reader.set_plan(reads.plan, *reads.helpers);
    ASSERT_EQ(reader.next(record), Next::record);
    EXPECT_EQ(std::get<SavedConnection>(record).image.conn.rule, RuleId{0});
    ASSERT_EQ(reader.next(record), Next::record);
    EXPECT_EQ(std::get<SavedConnection>(record).image.conn.rule, RuleId{2});
    // And at the writer's side.
    RecordWriter writer({});
    writer.set_plan(writes.plan, *writes.helpers);
    write(writer, all[1]);
    writer.set_plan(reads.plan, *reads.helpers);
    all[1].image.conn.rule = RuleId{0};
    write(writer, all[1]);
    writer.finish();
    std::string both;
    writer.take(both);
    for (const SavedRecord& r : read(both, SIZE_MAX, writes).records)
        EXPECT_EQ(std::get<SavedConnection>(r).image.conn.rule, RuleId{1});
}

TEST(BinaryState, AnotherBuildsHelperStateIsForgotten) {
    using namespace state_wire;
    for (const SavedConnection& s : of_each_helper()) {
        if (s.image.conn.helper == kNoHelper) continue;
        const bool remote = setting().helpers->find(s.image.conn.helper)->desc->remote;
        Pieces p = pieces_of(written({s}, false));
        for (std::string& r : p.records) {
            const std::size_t at = r[0] == kLayout || r[0] == kConnection ? 2 : std::string::npos;
            // The version of the helper's layout is 16 hexadecimal digits.
            for (std::size_t i = at; i != std::string::npos && i + 16 <= r.size(); ++i)
                if (r.find_first_not_of("0123456789abcdef", i) >= i + 16 && i > 2 && r[i - 1] == 16)
                    r[i] = r[i] == '0' ? '1' : '0';
        }
        const Read got = read(file_of(p));
        ASSERT_EQ(got.records.size(), 1u);
        const auto& again = std::get<SavedConnection>(got.records[0]);
        // The same fields in the same ranges mean the same; a remote helper's bytes are its own.
        EXPECT_EQ(again.forgets, remote);
        EXPECT_EQ(again.image.helper.there, !remote);
    }
}

TEST(BinaryState, AnythingMayBeInASoundBlock) {
    auto all = of_each_protocol();
    for (auto& s : of_each_helper())
        all.push_back(s);
    const Pieces good = pieces_of(written(all));
    std::minstd_rand random(3);
    for (int round = 0; round < 3000; ++round) {
        Pieces p = good;
        for (unsigned n = random() % 8; n-- > 0;) {
            std::string& r = p.records[random() % p.records.size()];
            r[random() % r.size()] = static_cast<char>(random());
        }
        for (const SavedRecord& r : read(file_of(p)).records)
            if (const auto* c = std::get_if<SavedConnection>(&r)) {
                const Json record = setting().record_of(*c);
                auto again =
                    read_record(setting().plan, *setting().helpers, Json::parse(record.dump()));
                ASSERT_TRUE(again) << again.error().message << record;
            }
    }
}

// What earlier versions wrote.
const std::string kOldFile =
    R"({"postern_state":{"version":1,"saved_ms":1795408983128}})"
    "\n"
    R"({"connection":{"id":"1/1.0","master":null,"proto":"udp","src":"192.0.2.1","sport":47942,)"
    R"("dst":"192.0.2.2","dport":53,"key_class":0,"ct_zone":0,"rule":"all","mark":0,"label":0,)"
    R"("from":"inside","to":"outside","timeouts":null,"expected_by":null,"flags":["seen_reply"],)"
    R"("state":1,"timeout_ms":30000,"idle_ms":21,"age_ms":90,"packets":[7,6],"bytes":[500,526],)"
    R"("helper":null,"expects_by_rule":false}})"
    "\n"
    R"({"connection":{"id":"1/2.0","master":null,"proto":"udp","src":"192.0.2.1","sport":47943,)"
    R"("dst":"192.0.2.2","dport":53,"key_class":0,"ct_zone":0,"rule":"all","mark":0,"label":0,)"
    R"("timeouts":null,"expected_by":null,"flags":[],)"
    R"("state":0,"timeout_ms":30000,"idle_ms":21,"age_ms":90,"packets":[1,0],"bytes":[500,0],)"
    R"("helper":null,"expects_by_rule":false}})"
    "\n"
    R"({"end":{"connections":2,"expectations":0,"cut":0}})"
    "\n";

TEST(LinesState, FilesOfEarlierVersionsAreRead) {
    const Read got = read(kOldFile, 10);
    EXPECT_EQ(got.end, "");
    EXPECT_TRUE(got.whole);
    EXPECT_EQ(got.header.saved_ms, 1795408983128);
    ASSERT_EQ(got.records.size(), 1u);
    const auto& c = std::get<SavedConnection>(got.records[0]);
    EXPECT_EQ(c.image.conn.tuple().to_string(), "udp 192.0.2.1:47942 > 192.0.2.2:53");
    EXPECT_EQ(c.id, (ConnId{1, 0, WorkerId{1}}));
    EXPECT_EQ(c.image.conn.first.in_port, 0u) << "not known";
    // The other one has no zones.
    EXPECT_EQ(got.counts.bad[static_cast<unsigned>(RecordFault::no_zone)], 1u);
    EXPECT_EQ(got.problems, std::vector<std::string>{"line 3: connection.from: is missing"});
}

TEST(LinesState, WhatIsWrongIsSaidWithItsLine) {
    const std::string head = kOldFile.substr(0, kOldFile.find('\n') + 1);
    const auto end = [](const std::string& text) { return read(text).end; };
    EXPECT_EQ(end(""), "is empty");
    EXPECT_EQ(end(head), "is cut short");
    EXPECT_EQ(end(head + "{\"end\":{}}\n"), "");
    EXPECT_EQ(end(head + "{\"end\":{\"connections\":1,\"expectations\":0}}\n"),
              "line 2: the number of records is another one than the end states");
    EXPECT_EQ(end(head + "{\"end\":{}}\n{}\n"), "line 3: there is more after the end");
    EXPECT_EQ(end("x"), "line 1: this is no file of `posternctl conntrack save`");
    EXPECT_EQ(end(R"({"postern_state":{"version":9,"saved_ms":1}})"),
              "line 1: version 9 of the file (expected 1)");
    EXPECT_EQ(end(R"({"postern_state":{"version":1,"saved_ms":4503599627370497}})"),
              "line 1: saved_ms is 4503599627370497 (expected milliseconds since 1970)");
    EXPECT_EQ(
        end(R"({"postern_state":{"version":1,"saved_ms":1,"boot_id":"x",)"
            R"("boot_ms":4503599627370497}})"),
        "line 1: boot_ms is 4503599627370497 (expected milliseconds since the machine's start)");
    EXPECT_EQ(end(head + std::string((1u << 20) + 1, ' ')), "line 1: is too long for a record");
    EXPECT_EQ(read(head + "nonsense\n").problems[0], "line 2: expected an object with one key");
    for (std::size_t n = 0; n + 1 < kOldFile.size(); ++n)
        EXPECT_FALSE(read(kOldFile.substr(0, n)).whole) << n;
}

// ---- files ----

class StateFiles : public ::testing::Test {
  protected:
    void SetUp() override {
        char name[] = "/tmp/state_test.XXXXXX";
        ASSERT_NE(::mkdtemp(name), nullptr);
        folder_ = name;
        path_ = folder_ + "/state";
        std::ofstream(path_) << "former";
    }
    void TearDown() override {
        const std::string command = "rm -rf '" + folder_ + "'";
        EXPECT_EQ(std::system(command.c_str()), 0);
    }
    std::string content() const {
        std::ifstream in(path_);
        return {std::istreambuf_iterator<char>(in), {}};
    }
    unsigned files() const {
        unsigned n = 0;
        const std::string command = "test \"$(ls '" + folder_ + "' | wc -l)\" = ";
        while (std::system((command + std::to_string(n)).c_str()) != 0)
            ++n;
        return n;
    }
    std::string folder_, path_;
};

TEST_F(StateFiles, TheFormerOneStaysUntilTheNewOneIsComplete) {
    {
        auto file = StateFileWriter::beside(path_);
        ASSERT_TRUE(file);
        file->write(std::string(200'000, 'x'));
        EXPECT_EQ(content(), "former");
    }
    EXPECT_EQ(content(), "former");
    EXPECT_EQ(files(), 1u);
    auto file = StateFileWriter::beside(path_);
    file->write("new");
    ASSERT_TRUE(file->commit());
    EXPECT_EQ(content(), "new");
    EXPECT_EQ(files(), 1u);
    struct stat st {};
    ASSERT_EQ(::stat(path_.c_str(), &st), 0);
    EXPECT_EQ(st.st_mode & 07777, 0600u);
}

TEST_F(StateFiles, KilledInTheMiddleTheFormerOneStays) {
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
        auto file = StateFileWriter::beside(path_);
        file->write(std::string(1'000'000, 'x'));
        ::raise(SIGKILL);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFSIGNALED(status));
    EXPECT_EQ(content(), "former");
    EXPECT_EQ(files(), 1u) << "nothing else is left";
}

TEST_F(StateFiles, AnErrorNamesItsCauseAndTheFormerOneStays) {
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
        // A limit of the file's size stands for a full disk.
        std::signal(SIGXFSZ, SIG_IGN);
        const rlimit limit{100'000, 100'000};
        ::setrlimit(RLIMIT_FSIZE, &limit);
        auto file = StateFileWriter::beside(path_);
        for (int i = 0; i < 10; ++i)
            file->write(std::string(65'536, 'x'));
        const bool failed = !file->ok();
        const auto kept = file->commit();
        const bool named =
            !kept && kept.error().message == path_ + ": cannot be written: File too large";
        ::_exit(failed && named ? 0 : 1);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    EXPECT_EQ(content(), "former");
    EXPECT_EQ(files(), 1u);
}

TEST_F(StateFiles, OnlyARegularFileIsReplaced) {
    const std::string link = folder_ + "/link";
    ASSERT_EQ(::symlink(path_.c_str(), link.c_str()), 0);
    EXPECT_EQ(StateFileWriter::beside(link).error().message,
              link + ": is there and is not a regular file; it is left alone");
    EXPECT_EQ(StateFileWriter::beside(folder_ + "/none/x").error().message,
              folder_ + "/none/x: cannot be written: No such file or directory");
}

TEST_F(StateFiles, OfOthersNoneIsRead) {
    ASSERT_EQ(::chmod(path_.c_str(), 0622), 0);
    EXPECT_EQ(StateFileReader::open(path_).error().message,
              path_ + ": can be written to by others (mode 0622); if you trust it: chmod go-w");
    ASSERT_EQ(::chmod(path_.c_str(), 0644), 0);
    auto file = StateFileReader::open(path_);
    ASSERT_TRUE(file);
    std::uint8_t bytes[100];
    EXPECT_EQ(file->read(bytes).value(), 6u);
    EXPECT_EQ(file->read(bytes).value(), 0u);
    EXPECT_EQ(StateFileReader::open(folder_).error().message, folder_ + ": is not a regular file");
}

}  // namespace
}  // namespace postern
