// SPDX-License-Identifier: BSD-3-Clause
// Saved connections: what is written is read again as it was, what is damaged is refused in words,
// and nothing that is read can be what packets could not have led to.
#include <algorithm>
#include <random>

#include <gtest/gtest.h>

#include "conntrack/saved_fields.h"
#include "state/id_text.h"
#include "support/eal.h"
#include "support/requests.h"
#include "support/saved.h"
#include "world.h"

namespace postern {
namespace {

const auto* const kEal = ::testing::AddGlobalTestEnvironment(new EalEnvironment);

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
    return c;
}
SavedConnection saved(const Conn& conn) {
    SavedConnection s;
    s.image.conn = conn;
    return s;
}
Json written(const SavedConnection& s) {
    return setting().record_of(s);
}
Result<SavedRecord> read(const Json& record) {
    // As from a file: there, a number that is not negative is unsigned.
    return read_record(setting().plan, *setting().helpers, Json::parse(record.dump()));
}
SavedConnection read_again(const SavedConnection& s) {
    auto r = read(written(s));
    EXPECT_TRUE(r) << r.error().message;
    return r ? std::get<SavedConnection>(*r) : SavedConnection{};
}
/// What is said of a record; empty: nothing is wrong.
std::string problem(const Json& record) {
    auto r = read(record);
    return r ? "" : r.error().message;
}

SavedConnection helped(const HelperDesc& desc) {
    const bool tcp = (desc.transports & transport::tcp) != 0;
    SavedConnection s = saved(conn_of(tcp ? proto::tcp : proto::udp, 40000, 2100));
    const HelperId id = setting().helper(desc.name);
    s.image.conn.helper = s.image.helper.conn.helper = id;
    s.image.helper.there = true;
    return s;
}

class EachHelper : public ::testing::TestWithParam<const HelperDesc*> {};

TEST_P(EachHelper, PrivateStateIsTheSameBytesAgain) {
    const HelperDesc& desc = *GetParam();
    std::minstd_rand random(7);
    for (int round = 0; round < 50; ++round) {
        SavedConnection s = helped(desc);
        auto& state = s.image.helper.conn.state;
        if (desc.remote)
            for (auto& b : state)
                b = static_cast<std::uint8_t>(random());
        for (const Field& f : desc.state.fields)
            for (unsigned i = 0; i < f.count; ++i) {
                const std::uint64_t any = std::uint64_t{random()} << 33 ^ random();
                f.put(state, round == 0 ? f.max : f.max == UINT64_MAX ? any : any % (f.max + 1), i);
            }
        const SavedConnection again = read_again(s);
        EXPECT_TRUE(again.image.helper.there);
        EXPECT_FALSE(again.forgets);
        EXPECT_EQ(again.image.helper.conn.state, state);
    }
}

TEST_P(EachHelper, NothingOutOfRangeIsRead) {
    const HelperDesc& desc = *GetParam();
    const Json good = written(helped(desc));
    for (const Field& f : desc.state.fields) {
        const std::string name(f.name);
        std::vector<Json> bad{nullptr, "1", -1, 1.5, Json::array(), Json::object()};
        if (f.max != UINT64_MAX) bad.push_back(f.max + 1);
        for (const Json& value : bad) {
            Json record = good;
            Json& state = record["connection"]["private"]["state"][name];
            (f.count == 1 ? state : state[f.count - 1u]) = value;
            EXPECT_NE(problem(record).find(name), std::string::npos)
                << name << " = " << value << ": " << problem(record);
            // Of another build, it is no error, and no state either.
            record["connection"]["private"]["of"] = "0";
            auto r = read(record);
            ASSERT_TRUE(r) << r.error().message;
            EXPECT_TRUE(std::get<SavedConnection>(*r).forgets);
        }
    }
}

TEST_P(EachHelper, AnotherBuildWithTheSameFieldsIsUnderstood) {
    Json record = written(helped(*GetParam()));
    record["connection"]["private"]["of"] = "another";
    auto r = read(record);
    ASSERT_TRUE(r) << r.error().message;
    // A remote helper's bytes are its own.
    EXPECT_EQ(std::get<SavedConnection>(*r).forgets, GetParam()->remote);
    if (GetParam()->remote) return;
    record["connection"]["private"]["state"]["new_field"] = 1;
    r = read(record);
    ASSERT_TRUE(r);
    EXPECT_TRUE(std::get<SavedConnection>(*r).forgets);
}

std::vector<const HelperDesc*> every_helper() {
    std::vector<const HelperDesc*> all(all_helpers().begin(), all_helpers().end());
    all.push_back(&SavedSetting::kRemote);
    return all;
}
INSTANTIATE_TEST_SUITE_P(All, EachHelper, ::testing::ValuesIn(every_helper()),
                         [](const auto& each) { return std::string(each.param->name); });

TEST(ConnState, TheVersionNoticesThatOnlyTheStructChanged) {
    SavedSetting other;
    const auto of = [](const Json& record) { return record["connection"]["private"]["of"]; };
    SavedConnection s = helped(*find_helper("ftp"));
    const Json before = of(written(s));
    // The same helper, but for one number.
    static HelperDesc changed = *find_helper("ftp");
    changed.state.bytes += 2;
    std::vector<HelperConfig> configs{{s.image.conn.helper, "ftp", &changed, {}}};
    other.helpers = std::move(HelperSet::create(configs)).value();
    EXPECT_NE(of(other.record_of(s)), before);
    changed.state.bytes -= 2;
    EXPECT_EQ(of(other.record_of(s)), before);
    std::vector<Field> fields(changed.state.fields.begin(), changed.state.fields.end());
    ++fields[3].max;
    changed.state.fields = fields;
    EXPECT_NE(of(other.record_of(s)), before);
}

TEST(ConnState, AllOfAConnectionIsReadAgain) {
    SavedConnection s = helped(*find_helper("sip"));
    Conn& c = s.image.conn;
    c.key.ct_zone = CtZone{7};
    c.set_edges({EdgeId{1}, EdgeId{0}});
    c.rule = RuleId{0};
    c.set_timeouts(1);
    c.expected_by = 2;
    c.mark = 0xffffffff;
    c.label = 17;
    c.flags = conn_flag::seen_reply | conn_flag::assured | conn_flag::expected | conn_flag::liberal;
    c.state = static_cast<std::uint8_t>(TcpState::fin_wait);
    c.set_counts(Direction::original, 0, Conn::kMaxBytes);
    c.set_counts(Direction::reply, Conn::kMaxPackets, 12345);
    put_image(c.tcp_side(1), {1, 2, 0xffffffff, 3, 14, 0x3f});
    c.tcp_far.last = {1, 2, 3, 4, 1, TcpKind::rst, 14, 0xff, 9, false};
    c.mark_latest();
    s.idle_ms = 500;
    HelperConn& h = s.image.helper.conn;
    h.proven = true;
    h.picked_up = true;
    h.min_timeout_s = 77;
    h.skip = {5, 0xffffffff};
    h.stream[0] = {.next_seq = 3};
    h.stream[0].state = StreamState::open;
    h.stream[0].fill = 3;
    h.stream[1].state = StreamState::blind;
    s.image.helper.waiting[0] = {'a', 0, 'c'};
    const SavedConnection again = read_again(s);
    EXPECT_EQ(written(again), written(s));
    EXPECT_EQ(again.image.conn.tcp_near.side[1].max_ack, 0xffffffffu);
    EXPECT_EQ(again.image.conn.packets(Direction::reply), Conn::kMaxPackets);
    EXPECT_EQ(again.image.conn.bytes(Direction::original), Conn::kMaxBytes);
    EXPECT_EQ(again.image.conn.state, c.state);
    EXPECT_EQ(again.image.helper.waiting[0], s.image.helper.waiting[0]);
    EXPECT_TRUE(again.image.helper.conn.picked_up);
    EXPECT_EQ(again.idle_ms, 500u);
}

TEST(ConnState, OldConnectionsAreReadAgain) {
    Json record = written(saved(conn_of(proto::udp, 1, 2)));
    record["connection"]["age_ms"] =
        40u * 24 * 3600 * 1000;  // more than a Tick can be compared with
    auto r = read(record);
    ASSERT_TRUE(r) << r.error().message;
    EXPECT_EQ(std::get<SavedConnection>(*r).age_ms, 3'456'000'000u);
}

TEST(ConnState, EveryProtocolIsReadAgain) {
    std::vector<Conn> all{
        conn_of(proto::udp, 1, 2),  conn_of(proto::udplite, 1, 2), conn_of(proto::sctp, 1, 2),
        conn_of(proto::dccp, 1, 2), conn_of(proto::icmp, 9, 9),    conn_of(proto::gre, 11, 22),
        conn_of(proto::gre, 0, 22), conn_of(proto::gre, 0, 0),     conn_of(50, 0, 0)};
    all[2].sctp = {{1, 0xffffffff}, {}, {true, false}, true, 1};
    all[2].state = static_cast<std::uint8_t>(SctpState::established);
    all[3].dccp = {0xffffffffffff, 1, 1, 4, {}};
    all[3].state = static_cast<std::uint8_t>(DccpState::open);
    all[4].key_class = 1;
    all[5].key_class = all[6].key_class = kGreCall;
    all[5].gre = {1};
    all[6].gre = all[7].gre = {};
    all[8].state = 1;
    for (const Conn& c : all) {
        const SavedConnection again = read_again(saved(c));
        EXPECT_EQ(written(again), written(saved(c)));
        EXPECT_EQ(again.image.conn.tuple(), c.tuple());
    }
}

TEST(ConnState, WhatIsWrongIsSaidByItsName) {
    const Json tcp = written(helped(*find_helper("ftp")));
    const auto with = [](Json record, const char* key, const Json& value) {
        record["connection"][key] = value;
        return problem(record);
    };
    EXPECT_EQ(problem(Json(7)), "expected an object with one key, connection or expectation");
    EXPECT_EQ(problem({{"other", 1}}), "expected a connection or an expectation");
    EXPECT_EQ(problem({{"connection", 1}}), "connection: expected an object");
    EXPECT_EQ(with(tcp, "sport", "x"), "connection.sport: expected a number up to 65535");
    EXPECT_EQ(with(tcp, "sport", 65536), "connection.sport: expected a number up to 65535");
    EXPECT_EQ(with(tcp, "src", "1.2.3"), "connection.src: expected an IP address");
    EXPECT_EQ(with(tcp, "src", "::1"), "connection.dst: is of another family than src");
    EXPECT_EQ(with(tcp, "proto", "tcpp"), "connection.proto: expected a protocol");
    EXPECT_EQ(with(tcp, "state", "odd"), "connection.state: this protocol has no such state");
    EXPECT_EQ(with(tcp, "from", "nowhere"), "connection.from: there is no zone of this name");
    EXPECT_EQ(with(tcp, "to", tcp["connection"]["from"]),
              "connection.to: no bridge leads there from where it comes in");
    EXPECT_EQ(with(tcp, "flags", {"assured", "odd"}),
              "connection.flags: expected a list of seen_reply, assured, expected, liberal");
    EXPECT_EQ(with(tcp, "tcp", Json::array()), "connection.tcp: expected a list of two");
    EXPECT_EQ(with(tcp, "private", nullptr), "connection.private: expected an object");
    EXPECT_EQ(with(tcp, "packets", {1}), "connection.packets: expected a list of two numbers");
    EXPECT_EQ(with(tcp, "timeout_ms", 1ull << 31),
              "connection.timeout_ms: expected a number up to 2147483647");
    EXPECT_EQ(with(tcp, "helper", "tftp"), "connection.helper: does not read this protocol");
    EXPECT_EQ(with(written(saved(conn_of(proto::gre, 0, 0))), "dport", 5),
              "connection.dport: this protocol has no ports");
    EXPECT_EQ(with(written(saved(conn_of(proto::udp, 1, 2))), "key_class", 1),
              "connection.key_class: expected a number up to 0");
    // Whatever lacks is named, and so is what is too much in a struct.
    for (const auto& [key, value] : tcp["connection"].items()) {
        if (key == "expects_by_rule") continue;  // matters without a helper only
        if (key == "vlan" || key == "dscp" || key == "in_port") continue;  // older files lack them
        Json record = tcp;
        record["connection"].erase(key);
        EXPECT_EQ(problem(record), "connection." + key + ": is missing");
    }
    Json record = tcp;
    record["connection"]["tracker"]["scale"] = 15;
    EXPECT_EQ(problem(record), "connection.tracker.scale: expected a number up to 14");
    record["connection"]["tracker"]["scale"] = 1;
    record["connection"]["tracker"]["more"] = 1;
    EXPECT_EQ(problem(record), "connection.tracker: has fields that are not known");
}

TEST(IdText, IsReadAsItIsWritten) {
    EXPECT_EQ(id_text(ConnId{5, 7, WorkerId{1}}), "1/5.7");
    EXPECT_EQ(id_text(OwnerId{4}, ExpectId{4000000000, 3000000000}), "4/4000000000.3000000000");
    const auto id = IdText::parse("4/4000000000.3000000000");
    ASSERT_TRUE(id);
    EXPECT_EQ(id->worker, 4u);
    EXPECT_EQ(id->index, 4000000000u);
    EXPECT_EQ(id->generation, 3000000000u);
    for (const char* text : {"", "/", "1/5", "1.5", "5.7", "1/5.", "/5.7", "1/.7", "1/0.7",
                             "1/5.7 ", " 1/5.7", "1/5.7.8", "1/2/5.7", "-1/5.7", "+1/5.7",
                             "1/0x5.7", "1/4294967296.7", "1/5.99999999999999999999"})
        EXPECT_FALSE(IdText::parse(text)) << text;
}

TEST(ConnState, ExpectationsAreReadAgainAndChecked) {
    ExpectInfo e;
    e.protocol = proto::gre;
    e.src = Prefix::exact(IpAddr::v4(10, 0, 0, 1));
    e.dst = IpAddr::v4(10, 0, 0, 2);
    e.sport = Be16::from_host(11);
    e.sport_mask = Be16::from_raw(0xffff);
    e.dport = Be16::from_host(22);
    e.ct_zone = CtZone{3};
    e.rule = RuleId{0};
    e.master = {5, 6, WorkerId{1}};
    e.mark = 1;
    e.label = 2;
    e.helper = setting().helper("pptp");
    e.flags = expect_flag::permanent | expect_flag::inactive;
    e.tag = 9;
    e.deadline = Tick{5000};
    const Json record = expectation_record(setting().plan, e, Tick{1000});
    auto r = read(record);
    ASSERT_TRUE(r) << r.error().message;
    const auto& got = std::get<SavedExpectation>(*r);
    const ExpectRequest& q = got.request;
    EXPECT_EQ(got.master, (ConnId{5, 6, WorkerId{1}}));
    EXPECT_EQ(q.src, e.src);
    EXPECT_EQ(q.dst, e.dst);
    EXPECT_EQ(q.sport, e.sport);
    EXPECT_EQ(q.sport_mask, e.sport_mask);
    EXPECT_EQ(q.ct_zone, CtZone{3});
    EXPECT_EQ(q.helper, e.helper);
    EXPECT_EQ(q.flags, e.flags | expect_flag::beside);
    EXPECT_EQ(q.timeout_ms, 4000u);
    EXPECT_EQ(q.class_max, setting().plan.helpers[e.helper - 1u].classes[0].max_expected);
    const auto with = [&](const char* key, const Json& value) {
        Json bad = record;
        bad["expectation"][key] = value;
        return problem(bad);
    };
    EXPECT_EQ(with("src", nullptr), "");
    EXPECT_EQ(with("src_prefix", 33), "expectation.src_prefix: expected a number up to 32");
    EXPECT_EQ(with("class", 4), "expectation.class: expected a number up to 3");
    EXPECT_EQ(with("helper", "nobody"), "expectation.helper: there is no helper of this name");
    EXPECT_EQ(with("dst", nullptr), "expectation.dst: expected an IP address");
    EXPECT_EQ(with("flags", "permanent"), "expectation.flags: expected a list");
}

// ---- restored ----

const std::string kPolicy =
    "policy: {rules: [{name: out, from: inside, ct: [new], action: accept}]}\n";

RestoreRequest::Outcome restore(World& world, const ConnImage& image, std::uint32_t idle_ms = 0) {
    Worker& home = world.fw().worker(home_of(world.fw().steering(), image.conn));
    home.begin_turn(world.now);
    const auto outcome = restore_into(home, image, idle_ms, idle_ms).outcome;
    world.turn();
    return outcome;
}
RestoreRequest::Outcome restore(World& world, const Conn& conn, std::uint32_t idle_ms = 0) {
    return restore(world, ConnImage{conn, {}}, idle_ms);
}
/// The only connection of a world, as it would be read from a file, for `to`.
SavedConnection saved_one(World& world, World& to) {
    for (unsigned w = 0; w < world.fw().workers(); ++w) {
        ConnTable& t = world.fw().worker(w).conns();
        for (std::uint32_t s = 1; s <= t.capacity(); ++s) {
            if (!t.at(s).alive()) continue;
            const Conn& conn = t.at(s);
            HelperImage image;
            HelperEngine& helpers = world.fw().worker(w).helpers();
            if (conn.helper_slot != 0) helpers.save(*helpers.at(conn.helper_slot), image);
            const ConnId id{s, conn.generation, WorkerId::from(w)};
            auto r = read_record(to.fw().plan(), to.fw().helpers(),
                                 connection_record(world.fw().plan(), world.fw().helpers(), id,
                                                   conn, &image, world.now));
            EXPECT_TRUE(r) << r.error().message;
            return std::get<SavedConnection>(*r);
        }
    }
    ADD_FAILURE() << "there is none";
    return {};
}
Conn only_one(World& world) {
    return saved_one(world, world).image.conn;
}

const IpAddr kClient = IpAddr::v4(192, 0, 2, 1), kServer = IpAddr::v4(198, 51, 100, 2);

TEST(Restore, WhatHasNoPortsGoesOn) {
    using enum RestoreRequest::Outcome;
    const frames::Flow kPing{kClient, kServer};
    const struct {
        frames::Frame there, back;
    } kExchanges[] = {
        {frames::echo(kPing, true, 7), frames::echo(kPing.back(), false, 7)},
        {frames::ip(kClient, kServer, 50, frames::Frame(16)),
         frames::ip(kServer, kClient, 50, frames::Frame(16))},
    };
    for (const auto& [there, back] : kExchanges) {
        World first(kPolicy, 3);
        ASSERT_TRUE(first.from_inside(there));
        const Conn conn = only_one(first);
        World second(kPolicy, 3);
        EXPECT_FALSE(second.from_outside(back));
        EXPECT_EQ(restore(second, conn), restored);
        EXPECT_EQ(restore(second, conn), exists);
        EXPECT_TRUE(second.from_outside(back));
        EXPECT_EQ(second.sum(&WorkerCounters::connections_created), 0u);
    }
}

TEST(Restore, CallsOfWhichOneDirectionWasSeenAreNotTakenForEachOther) {
    using enum RestoreRequest::Outcome;
    // The sender's id is unknown in both, which is no call 0.
    Conn there = conn_of(proto::gre, 0, 0), back = conn_of(proto::gre, 0, 7);
    for (Conn* call : {&there, &back})
        call->key_class = kGreCall;
    std::copy_n(kClient.bytes.data(), 4, there.src);
    std::copy_n(kServer.bytes.data(), 4, there.dst);
    std::copy_n(kServer.bytes.data(), 4, back.src);
    std::copy_n(kClient.bytes.data(), 4, back.dst);
    World world("policy: {rules: []}\n", 3);
    back.set_edges(world.fw().plan().edges.pair(EdgeId{1}, EdgeId{0}));
    EXPECT_EQ(restore(world, there), restored);
    EXPECT_EQ(restore(world, back), restored);
    EXPECT_EQ(restore(world, back), exists);
    EXPECT_TRUE(world.from_inside(frames::gre_call(kClient, kServer, 0)));
    EXPECT_TRUE(world.from_outside(frames::gre_call(kServer, kClient, 7)));
}

TEST(Restore, ACallGoesOnInBothDirections) {
    using enum RestoreRequest::Outcome;
    Conn call = conn_of(proto::gre, 11, 22);
    std::copy_n(kClient.bytes.data(), 4, call.src);
    std::copy_n(kServer.bytes.data(), 4, call.dst);
    call.key_class = kGreCall;
    call.gre = {77};  // a slot of another table
    const frames::Frame there = frames::gre_call(kClient, kServer, 22);
    const frames::Frame back = frames::gre_call(kServer, kClient, 11);
    const std::string nothing = "policy: {rules: []}\n";
    {
        World world(nothing, 3);
        EXPECT_FALSE(world.from_outside(back));
        EXPECT_EQ(restore(world, call), restored);
        EXPECT_EQ(restore(world, call), exists);
        EXPECT_TRUE(world.from_outside(back));
        EXPECT_TRUE(world.from_inside(there));
        const Conn again = only_one(world);
        EXPECT_NE(again.gre.second_key, 0u);
        EXPECT_EQ(again.sport.host(), 11);
        EXPECT_EQ(again.packets(Direction::original), 1u);
        EXPECT_EQ(again.packets(Direction::reply), 1u);
    }
    // Of which one direction was seen only.
    call.gre = {};
    call.sport = {};
    World world(nothing, 3);
    EXPECT_EQ(restore(world, call), restored);
    EXPECT_TRUE(world.from_inside(there));
    EXPECT_FALSE(world.from_outside(back));
    // The other direction has begun anew: it is not taken away.
    World begun(kPolicy, 3);
    ASSERT_TRUE(begun.send(back, World::kInside));
    call.gre = {77};
    call.sport = Be16::from_host(11);
    EXPECT_EQ(restore(begun, call), exists);
    EXPECT_TRUE(begun.send(back, World::kInside));
}

TEST(Restore, HalfOpenOnesCountAgainForTheirSource) {
    const std::string limits = std::string(World::kLimits) + ", per_source: {half_open: 1}";
    const auto syn = [](std::uint16_t port) {
        return frames::tcp(frames::Flow{kClient, kServer, port, 80},
                           frames::TcpFields{.flags = 0x02});
    };
    World first(kPolicy, 1, {}, limits);
    ASSERT_TRUE(first.from_inside(syn(1001)));
    World second(kPolicy, 1, {}, limits);
    EXPECT_EQ(restore(second, only_one(first)), RestoreRequest::Outcome::restored);
    EXPECT_FALSE(second.from_inside(syn(1002)));
    EXPECT_EQ(second.drops(DropReason::source_half_open), 1u);
    EXPECT_TRUE(second.from_inside(syn(1001)));
}

TEST(Restore, WhoseRuleExpectsNothingAnyMoreTakesNoHelperState) {
    World world(kPolicy, 1);
    const auto free = [&] { return world.fw().worker(0).helpers().conns_free(); };
    const std::uint32_t before = free();
    ConnImage image{conn_of(proto::udp, 1000, 2000), {}};
    image.helper.there = true;
    EXPECT_EQ(restore(world, image), RestoreRequest::Outcome::without_helper);
    EXPECT_EQ(free(), before);
}

TEST(Restore, WhoseTimeIsOverIsNotThere) {
    World world(kPolicy, 1);
    const Conn conn = conn_of(proto::udp, 1000, 2000);
    EXPECT_EQ(restore(world, conn, 30'000), RestoreRequest::Outcome::expired);
    EXPECT_EQ(restore(world, conn, 29'999), RestoreRequest::Outcome::restored);
}

TEST(Restore, TimesAreThoseThatAreInForceNow) {
    using enum RestoreRequest::Outcome;
    const frames::Flow f{kClient, kServer, 1000, 2000};
    World first(kPolicy, 1);
    // A stream, whose packets set no time any more.
    ASSERT_TRUE(first.from_inside(frames::udp(f, "a")));
    ASSERT_TRUE(first.from_outside(frames::udp(f.back(), "b")));
    first.pass(2500);
    ASSERT_TRUE(first.from_inside(frames::udp(f, "c")));
    ASSERT_EQ(first.connection(2000)->conn.timeout_ms, 120'000u);

    const std::string ten =
        "timeouts: {udp: {stream: 10m}, profiles: {five: {udp: {stream: 5s}}}}\n";
    World longer(kPolicy, 1, ten);
    EXPECT_EQ(restore(longer, saved_one(first, longer).image, 300'000), restored);
    EXPECT_EQ(longer.connection(2000)->conn.timeout_ms, 600'000u);

    // By the rule's profile, which it did not have.
    const std::string profiled =
        "policy: {rules: [{name: out, from: inside, ct: [new], action: accept, timeouts: five}]}\n";
    World shorter(profiled, 1, ten);
    const ConnImage image = saved_one(first, shorter).image;
    EXPECT_EQ(restore(shorter, image, 5'000), expired);
    EXPECT_EQ(restore(shorter, image, 4'999), restored);
    EXPECT_TRUE(shorter.from_inside(frames::udp(f, "d")));
    EXPECT_EQ(shorter.connection(2000)->conn.timeout_ms, 5'000u);
}

TEST(Restore, WindowsAreLiberalIfTheRuleSaysSoNow) {
    const std::string strict =
        "policy: {rules: [{name: out, from: inside, ct: [new], action: accept}]}\n";
    const std::string liberal =
        "policy: {rules: [{name: out, from: inside, ct: [new], action: accept, liberal: true}]}\n";
    for (const bool then : {false, true}) {
        World first(then ? liberal : strict, 1);
        ASSERT_TRUE(first.from_inside(
            frames::tcp({kClient, kServer, 1000, 2000}, {.flags = tcp_flag::syn})));
        ASSERT_EQ(first.connection(2000)->conn.has(conn_flag::liberal), then);
        World second(then ? strict : liberal, 1);
        EXPECT_EQ(restore(second, saved_one(first, second).image),
                  RestoreRequest::Outcome::restored);
        EXPECT_EQ(second.connection(2000)->conn.has(conn_flag::liberal), !then);
    }
}

TEST(Restore, OfTcpNeitherLessNorMoreThanItsStateHas) {
    Conn conn = conn_of(proto::tcp, 1000, 2000);
    conn.state = static_cast<std::uint8_t>(TcpState::established);
    conn.flags = conn_flag::seen_reply | conn_flag::assured;
    conn.tcp_far.last.kind = TcpKind::ack;
    conn.tcp_far.last.win = 1000;
    const auto time_of = [](const Conn& c) {
        World world(kPolicy, 1, "timeouts: {tcp: {established: 1h, unacknowledged: 10m}}\n");
        EXPECT_EQ(restore(world, c), RestoreRequest::Outcome::restored);
        return world.connection(2000)->conn.timeout_ms / 1000;
    };
    EXPECT_EQ(time_of(conn), 3600u);
    conn.tcp_marks.of[1] = tcp_mark::data_unacked;
    EXPECT_EQ(time_of(conn), 600u);
    conn.tcp_marks.of[1] = 0;
    // Shortened by two goodbyes that were not believed.
    conn.tcp_far.last.kind = TcpKind::fin;
    EXPECT_EQ(time_of(conn), 60u);
}

TEST(Restore, AHelpersLeastTimeStaysForAsLongAsItAsks) {
    using enum RestoreRequest::Outcome;
    const std::string policy =
        "policy: {rules: [{from: inside, proto: udp, ct: [new], action: accept, helper: ras}]}\n";
    const std::string helpers = "helpers: [{name: ras}]\n";
    const frames::Flow f{kClient, kServer, 1000, 1719};
    // Registers (H.225.0 section 7.9): for 300 s, unless somebody says otherwise.
    const std::string request = frames::from_hex(
        "0c000001060008914a0007800100c000020106b80100c00002019c4022c0b50000120b506f7374"
        "65726e2074657374003106b50000120b506f737465726e20746573740031");
    const std::string confirm =
        frames::from_hex("10000001060008914a000700120065006e00640070006f0069006e007400200037");
    World first(policy, 1, helpers);
    ASSERT_TRUE(first.from_inside(frames::udp(f, request)));
    ASSERT_TRUE(first.from_outside(frames::udp(f.back(), confirm)));
    ASSERT_EQ(first.connection(1719)->conn.timeout_ms, 300'000u);

    const std::string more = helpers + "timeouts: {udp: {unreplied: 50s}}\n";
    World later(policy, 1, more);
    const ConnImage image = saved_one(first, later).image;
    EXPECT_EQ(restore(later, image, 300'000), expired);
    EXPECT_EQ(restore(later, image, 299'999), restored);

    World second(policy, 1, more);
    EXPECT_EQ(restore(second, image), restored);
    EXPECT_EQ(second.connection(1719)->conn.timeout_ms, 300'000u);
    // It leaves, and is no stream yet.
    EXPECT_TRUE(second.from_inside(frames::udp(
        f,
        frames::from_hex("184000020100c000020106b8120065006e00640070006f0069006e007400200037"))));
    EXPECT_EQ(second.connection(1719)->conn.timeout_ms, 50'000u);
}

}  // namespace
}  // namespace postern
