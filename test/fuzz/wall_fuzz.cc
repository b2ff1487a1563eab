// SPDX-License-Identifier: BSD-3-Clause
// The whole firewall: workers, helpers, expectations, fragments, restore, early drop.
//
// Input: a program of operations (kOperations), each a byte and its arguments, about 20
// conversations between one host inside and one outside. TCP numbers are kept here, so that most
// segments are in order. Two firewalls run it: one has one worker, the other four, on which packets
// arrive in turn; the first byte chooses what steers there.
//
// Oracles: after each operation no packet buffer is lost; both firewalls sent the same frames and
// dropped for the same reasons, as long as none of them ran out of something (what is shared by
// workers runs out at other times). When all connections are ended, by order or by silence, no
// connection, helper slot, stream buffer, expectation, fragment or packet buffer is left.
#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "net/cursor.h"
#include "require.h"
#include "state/id_text.h"
#include "state/json_record.h"
#include "support/init_eal.h"
#include "support/requests.h"
#include "world.h"

namespace postern {
namespace {

using frames::Flow;
using frames::Frame;

constexpr const char* kHelpers =
    "helpers: [{name: ftp}, {name: irc}, {name: rtsp}, {name: sip}, {name: tftp}, {name: pptp},"
    " {name: q931}, {name: h245}, {name: sane}, {name: snmp}, {name: amanda}]\n";
constexpr const char* kPolicy =
    "policy:\n"
    "  default: drop\n"
    "  rules:\n"
    "    - {name: related, ct: [related], action: accept}\n"
    "    - {name: ident, from: outside, proto: tcp, dport: 113, action: reject}\n"
    "    - {name: ftp, from: inside, proto: tcp, dport: 21, ct: [new], action: accept, helper: "
    "ftp}\n"
    "    - {name: irc, from: inside, proto: tcp, dport: 6667, ct: [new], action: accept, helper: "
    "irc}\n"
    "    - {name: rtsp, from: inside, proto: tcp, dport: 554, ct: [new], action: accept, helper: "
    "rtsp}\n"
    "    - {name: sip-tcp, proto: tcp, dport: 5060, ct: [new], action: accept, helper: sip}\n"
    "    - {name: sip-udp, proto: udp, dport: 5060, ct: [new], action: accept, helper: sip}\n"
    "    - {name: tftp, from: inside, proto: udp, dport: 69, ct: [new], action: accept, helper: "
    "tftp}\n"
    "    - {name: pptp, from: inside, proto: tcp, dport: 1723, ct: [new], action: accept, helper: "
    "pptp}\n"
    "    - {name: q931, proto: tcp, dport: 1720, ct: [new], action: accept, helper: q931}\n"
    "    - {name: call, from: inside, proto: tcp, dport: 1234, ct: [new], action: accept,"
    " expect: {proto: udp, dport: 7000-7003, to: client}}\n"
    "    - {name: out, from: inside, ct: [new], action: accept}\n"
    "    - {name: web, from: outside, proto: tcp, dport: 80, ct: [new], action: accept}\n";
constexpr const char* kLimits =
    "connections: 256, expectations: 64, helped_connections: 32, fragments: 64";
constexpr std::uint32_t kLongestMs = 6u * 24 * 3600 * 1000;

struct Line {
    bool client;
    std::string_view text;
};
/// What helpers read, so that an input of a few bytes gets far. By turns of the service.
const std::map<std::uint16_t, std::vector<Line>> kLines{
    {21,
     {{false, "220 ready\r\n"},
      {true, "USER a\r\n"},
      {false, "331 password\r\n"},
      {true, "PASS b\r\n"},
      {false, "230 in\r\n"},
      {true, "PASV\r\n"},
      {false, "227 Entering Passive Mode (192,0,2,9,195,80).\r\n"},
      {true, "EPSV\r\n"},
      {false, "229 ok (|||50001|)\r\n"},
      {true, "PORT 10,0,0,1,195,90\r\n"},
      {true, "EPRT |2|2001:db8::1|50010|\r\n"},
      {false, "200 done\r\n"},
      {true, "AUTH TLS\r\n"},
      {false, "234 go\r\n"}}},
    {6667,
     {{true, "NICK me\r\nUSER me 0 * :me\r\n"},
      {false, ":irc.example 001 me :Welcome\r\n"},
      {true, "PRIVMSG you :\001DCC SEND f 167772161 50020 1000\001\r\n"},
      {true, "PRIVMSG you :\001DCC CHAT chat 167772161 50021\001\r\n"}}},
    {554,
     {{true, "OPTIONS rtsp://cam/x RTSP/1.0\r\nCSeq: 1\r\n\r\n"},
      {false, "RTSP/1.0 200 OK\r\nCSeq: 1\r\nPublic: SETUP\r\n\r\n"},
      {true,
       "SETUP rtsp://cam/x/1 RTSP/1.0\r\nCSeq: 2\r\nTransport: "
       "RTP/AVP;unicast;client_port=50030-50031\r\n\r\n"},
      {false,
       "RTSP/1.0 200 OK\r\nCSeq: 2\r\nSession: 1\r\nTransport: "
       "RTP/AVP;unicast;client_port=50030-50031;server_port=50040-50041\r\n\r\n"},
      {true, "TEARDOWN rtsp://cam/x/1 RTSP/1.0\r\nCSeq: 3\r\nSession: 1\r\n\r\n"},
      {false, "RTSP/1.0 200 OK\r\nCSeq: 3\r\nSession: 1\r\n\r\n"}}},
    {5060,
     {{true,
       "REGISTER sip:r SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1:5062\r\nFrom: <sip:a@r>;tag=1\r\n"
       "To: <sip:a@r>\r\nCall-ID: 1\r\nCSeq: 1 REGISTER\r\nContact: <sip:a@10.0.0.1:5062>\r\n"
       "Content-Length: 0\r\n\r\n"},
      {false,
       "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 10.0.0.1:5062\r\nFrom: <sip:a@r>;tag=1\r\n"
       "To: <sip:a@r>;tag=2\r\nCall-ID: 1\r\nCSeq: 1 REGISTER\r\n"
       "Contact: <sip:a@10.0.0.1:5062>;expires=60\r\nContent-Length: 0\r\n\r\n"},
      {true,
       "INVITE sip:b@r SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1:5062\r\nFrom: <sip:a@r>;tag=1\r\n"
       "To: <sip:b@r>\r\nCall-ID: 2\r\nCSeq: 1 INVITE\r\nContent-Type: application/sdp\r\n"
       "Content-Length: 52\r\n\r\nv=0\r\nc=IN IP4 10.0.0.1\r\nm=audio 50050 RTP/AVP 0\r\n\r\n"},
      {false,
       "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 10.0.0.1:5062\r\nFrom: <sip:a@r>;tag=1\r\n"
       "To: <sip:b@r>;tag=2\r\nCall-ID: 2\r\nCSeq: 1 INVITE\r\nContent-Type: application/sdp\r\n"
       "Content-Length: 53\r\n\r\nv=0\r\nc=IN IP4 192.0.2.9\r\nm=audio 50060 RTP/AVP 0\r\n\r\n"},
      {true,
       "BYE sip:b@r SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1:5062\r\nFrom: <sip:a@r>;tag=1\r\n"
       "To: <sip:b@r>;tag=2\r\nCall-ID: 2\r\nCSeq: 2 BYE\r\nContent-Length: 0\r\n\r\n"},
      {false,
       "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 10.0.0.1:5062\r\nFrom: <sip:a@r>;tag=1\r\n"
       "To: <sip:b@r>;tag=2\r\nCall-ID: 2\r\nCSeq: 2 BYE\r\nContent-Length: 0\r\n\r\n"}}},
    {69, {{true, std::string_view("\0\1file\0octet\0", 13)}}},
};

constexpr std::array<std::uint16_t, 10> kServices{21,   6667, 554, 5060, 1723,
                                                  1720, 1234, 80,  113,  69};

struct Conversation {
    Flow flow;  ///< of the client
    bool client_inside;
    std::uint32_t seq[2];
};

/// One firewall and what it did since it was asked last.
class Wall {
  public:
    explicit Wall(unsigned workers)
        : world_(kPolicy, workers, kHelpers, kLimits, {}, workers == 1 ? 0 : 64) {
        world_.keep_out = true;
        for (unsigned w = 0; w < workers; ++w)
            buffers_ += fw().worker(w).helpers().buffers_free();
        if (workers != 1)
            for (unsigned w = 0; w < workers; ++w)
                fw().worker(w).tracking().listen(ConnEvents::all);
    }

    World& world() { return world_; }
    Firewall& fw() { return world_.fw(); }

    void send(const Frame& frame, PortId port) {
        if (frame.empty() || frame.size() > 1900) return;
        world_.send(frame, port, next_++ % fw().workers());
    }
    void pass(std::uint32_t ms) {
        world_.now = world_.now + ms;
        world_.turn();
    }

    struct Done {
        std::vector<World::Packet> out;
        std::array<std::uint64_t, kDropReasons> drops;
        std::uint32_t connections;
        std::uint32_t expectations;
        bool ran_out;  ///< of something, ever since start()
    };
    /// What it has sent since the last call, and how it stands.
    Done done() {
        Done d;
        d.out = std::exchange(world_.out, {});
        d.drops = drops();
        for (unsigned r = 0; r < kDropReasons; ++r)
            d.drops[r] -= drops_[r];
        d.connections = connections();
        d.expectations = fw().expectations().live();
        d.ran_out = shortages() != shortages_;
        return d;
    }
    void start() {
        next_ = 0;
        drops_ = drops();
        shortages_ = shortages();
        world_.out.clear();
    }

    void check_buffers() {
        std::uint32_t held = 0;
        for (unsigned w = 0; w < fw().workers(); ++w)
            held += fw().worker(w).reassembly().held();
        require(world_.buffers_in_use() == held, "a packet buffer was lost");
    }
    void check_empty() {
        require(connections() == 0, "a connection was lost");
        require(fw().expectations().live() == 0, "an expectation was lost");
        std::uint32_t buffers = 0;
        for (unsigned w = 0; w < fw().workers(); ++w) {
            HelperEngine& helpers = fw().worker(w).helpers();
            require(helpers.conns_free() == helpers.capacity(), "a helper slot was lost");
            buffers += helpers.buffers_free();
        }
        require(buffers == buffers_, "a stream buffer was lost");
    }

    /// All that live, by a name that does not tell the worker.
    std::map<std::string, std::pair<unsigned, std::uint32_t>> names() {
        std::map<std::string, std::pair<unsigned, std::uint32_t>> found;
        for_each([&](unsigned w, std::uint32_t slot, const Conn& c) {
            const Tuple t = c.tuple();
            found[std::to_string(t.protocol) + ' ' + t.src.to_string() + ' ' + t.dst.to_string() +
                  ' ' + std::to_string(t.sport.host()) + ' ' + std::to_string(t.dport.host()) +
                  ' ' + std::to_string(c.key_class)] = {w, slot};
        });
        return found;
    }
    void end(unsigned n) {
        const auto all = names();
        if (all.empty()) return;
        const auto [w, slot] = std::next(all.begin(), n % all.size())->second;
        fw().worker(w).tracking().end(slot, ConnEnd::control);
        world_.turn();
    }
    void end_all() {
        for (const auto& [name, where] : names()) {
            // It may have ended with its master.
            Worker& worker = fw().worker(where.first);
            if (worker.conns().at(where.second).alive())
                worker.tracking().end(where.second, ConnEnd::control);
            world_.turn();
        }
    }

    /// Saves all connections, ends them, restores them. Those for which there was no room count as
    /// a shortage.
    void restart() {
        std::map<std::string, SavedConnection>
            saved;  // by name: the order does not tell the worker
        for (const auto& [name, where] : names()) {
            Worker& worker = fw().worker(where.first);
            const Conn& conn = worker.conns().at(where.second);
            HelperImage image;
            if (conn.helper_slot != 0)
                worker.helpers().save(*worker.helpers().at(conn.helper_slot), image);
            const ConnId id{where.second, conn.generation, WorkerId::from(where.first)};
            auto read = read_record(
                fw().plan(), fw().helpers(),
                connection_record(fw().plan(), fw().helpers(), id, conn, &image, world_.now));
            require(read.ok(), "a saved connection cannot be read");
            saved.emplace(name, std::get<SavedConnection>(std::move(read).value()));
        }
        end_all();
        check_empty();
        std::map<std::string, ConnId> ids;
        std::set<std::string> left;
        for (const auto& [name, connection] : saved)
            left.insert(name);
        // Masters first; whose master is not there, or in a circle, has none.
        for (bool any = true; !left.empty();) {
            any = false;
            for (auto it = left.begin(); it != left.end();) {
                SavedConnection& c = saved[*it];
                const bool waits =
                    c.master && std::ranges::any_of(left, [&](const std::string& other) {
                        return saved[other].id == c.master;
                    });
                if (waits) {
                    ++it;
                    continue;
                }
                any = true;
                restore(c, ids);
                it = left.erase(it);
            }
            require(any, "masters in a circle");
        }
    }

  private:
    template <class Fn>
    void for_each(Fn&& fn) {
        for (unsigned w = 0; w < fw().workers(); ++w) {
            ConnTable& t = fw().worker(w).conns();
            for (std::uint32_t s = 1; s <= t.capacity(); ++s)
                if (t.at(s).alive()) fn(w, s, t.at(s));
        }
    }
    std::uint32_t connections() {
        std::uint32_t n = 0;
        for_each([&](unsigned, std::uint32_t, const Conn&) { ++n; });
        return n;
    }
    std::array<std::uint64_t, kDropReasons> drops() {
        std::array<std::uint64_t, kDropReasons> all{};
        for (unsigned r = 0; r < kDropReasons; ++r)
            all[r] = world_.drops(static_cast<DropReason>(r));
        return all;
    }
    std::uint64_t shortages() {
        std::uint64_t n = not_restored_;
        for (Counter WorkerCounters::*counter : std::initializer_list<Counter WorkerCounters::*>{
                 &WorkerCounters::early_dropped, &WorkerCounters::table_full,
                 &WorkerCounters::claims_lost, &WorkerCounters::helper_pool_empty,
                 &WorkerCounters::rejects_limited, &WorkerCounters::rule_expectations_failed,
                 &WorkerCounters::expectations_failed, &WorkerCounters::masters_not_told,
                 &WorkerCounters::children_not_told})
            n += world_.sum(counter);
        for (const DropReason r :
             {DropReason::handoff_full, DropReason::fragment_full, DropReason::ct_collision})
            n += world_.drops(r);
        return n;
    }
    void restore(const SavedConnection& c, std::map<std::string, ConnId>& ids) {
        Worker& home = fw().worker(home_of(fw().steering(), c.image.conn));
        ConnImage image = c.image;
        if (const auto master = ids.find(id_text(c.master)); master != ids.end())
            image.conn.master = master->second;
        home.begin_turn(world_.now);
        const RestoreReply reply = restore_into(home, image, c.idle_ms, c.age_ms);
        world_.turn();
        using enum RestoreRequest::Outcome;
        require(reply.outcome != exists, "a connection that has ended is still there");
        if (reply.outcome == full || reply.outcome == without_helper) ++not_restored_;
        if (reply.outcome == restored || reply.outcome == without_helper)
            ids[id_text(c.id)] = reply.id;
    }

    World world_;
    unsigned next_ = 0;
    std::uint32_t buffers_ = 0;
    std::array<std::uint64_t, kDropReasons> drops_{};
    std::uint64_t shortages_ = 0;
    std::uint64_t not_restored_ = 0;
};

struct Fixture {
    Wall one{1}, four{4};
};
Fixture* fixture;

class Program {
  public:
    Program(Fixture& f, Cursor input) : f_(f), in_(input) {
        for (unsigned i = 0; i < kConversations; ++i) {
            const bool v6 = i >= kServices.size();
            const std::uint16_t service = kServices[i % kServices.size()];
            const bool inward = service == 80 || service == 113;
            const char* in = v6 ? "2001:db8::1" : "10.0.0.1";
            const char* out = v6 ? "2001:db8:1::9" : "192.0.2.9";
            talks_[i] = {frames::flow(inward ? out : in, 40000 + i, inward ? in : out, service),
                         !inward,
                         {1000, 500'000}};
        }
    }

    void run() {
        const unsigned steering = u8();
        f_.four.fw().set_devices_steer((steering & 1) != 0);
        f_.one.start();
        f_.four.start();
        for (unsigned n = 0; in_.remaining() != 0 && n < 200; ++n) {
            step();
            f_.one.check_buffers();
            f_.four.check_buffers();
            compare();
        }
        if ((steering & 2) != 0) {
            both([](Wall& w) { w.end_all(); });
        }
        // Whatever is left ends by silence; children after their masters, whom they keep.
        for (unsigned i = 0; i < 4; ++i)
            both([](Wall& w) { w.pass(kLongestMs); });
        for (Wall* w : {&f_.one, &f_.four}) {
            w->check_empty();
            require(w->world().buffers_in_use() == 0, "a packet buffer was lost");
        }
    }

  private:
    static constexpr unsigned kConversations = 2 * kServices.size();
    static constexpr unsigned kOperations = 18;

    std::uint8_t u8() { return in_.u8().value_or(0); }
    Bytes bytes(std::size_t n) { return *in_.take(std::min<std::size_t>(n, in_.remaining())); }
    std::string_view text() {
        const Bytes b = bytes(u8());
        return {reinterpret_cast<const char*>(b.data()), b.size()};
    }
    Conversation& talk() { return talks_[u8() % kConversations]; }

    template <class Fn>
    void both(Fn&& fn) {
        fn(f_.one);
        fn(f_.four);
    }
    void send(const Frame& frame, PortId port) {
        last_ = frame;
        last_port_ = port;
        both([&](Wall& w) { w.send(frame, port); });
    }
    static PortId other_port(PortId port) {
        return port == World::kInside ? World::kOutside : World::kInside;
    }
    static PortId port_of(const Conversation& c, bool client) {
        return client == c.client_inside ? World::kInside : World::kOutside;
    }
    void segment(Conversation& c, bool client, std::uint8_t flags, std::string_view payload,
                 std::int32_t seq_by = 0, std::int32_t ack_by = 0) {
        const unsigned d = client ? 0 : 1;
        frames::TcpFields t;
        t.flags = flags;
        t.seq = c.seq[d] + static_cast<std::uint32_t>(seq_by);
        if ((flags & tcp_flag::ack) != 0) t.ack = c.seq[1 - d] + static_cast<std::uint32_t>(ack_by);
        t.payload = payload;
        send(frames::tcp(client ? c.flow : c.flow.back(), t), port_of(c, client));
        if (seq_by == 0)
            c.seq[d] += static_cast<std::uint32_t>(payload.size()) +
                        ((flags & (tcp_flag::syn | tcp_flag::fin)) != 0 ? 1u : 0u);
    }
    void say(Conversation& c, bool client, std::string_view payload) {
        if (c.flow.dport == 69 || (c.flow.dport == 5060 && c.flow.src.family == Family::ipv4))
            send(frames::udp(client ? c.flow : c.flow.back(), payload), port_of(c, client));
        else
            segment(c, client, tcp_flag::ack | tcp_flag::psh, payload);
    }

    void step() {
        switch (u8() % kOperations) {
            case 0: {
                Conversation& c = talk();
                segment(c, true, tcp_flag::syn, {});
                segment(c, false, tcp_flag::syn | tcp_flag::ack, {});
                segment(c, true, tcp_flag::ack, {});
                break;
            }
            case 1: {
                Conversation& c = talk();
                const bool client = (u8() & 1) != 0;
                say(c, client, text());
                break;
            }
            case 2: {  // some lines of the service's own
                Conversation& c = talk();
                const auto lines = kLines.find(c.flow.dport);
                unsigned at = u8(), n = 1 + u8() % 8;
                for (; lines != kLines.end() && n != 0; --n, ++at) {
                    const Line& line = lines->second[at % lines->second.size()];
                    say(c, line.client, line.text);
                }
                break;
            }
            case 3: {
                Conversation& c = talk();
                const unsigned how = u8();
                const auto flags = static_cast<std::uint8_t>(u8() & 0x3f);
                const auto seq = static_cast<std::int8_t>(u8()),
                           ack = static_cast<std::int8_t>(u8());
                const int scale = (how & 2) != 0 ? 1000 : 1;
                segment(c, (how & 1) != 0, flags, std::string(how >> 2, 'x'), seq * scale,
                        ack * scale);
                break;
            }
            case 4: {
                Conversation& c = talk();
                const bool client = (u8() & 1) != 0;
                send(frames::udp(client ? c.flow : c.flow.back(), text()), port_of(c, client));
                break;
            }
            case 5: {
                Conversation& c = talk();
                const unsigned how = u8(), mask = u8(), id = u8();
                const bool client = (how & 1) != 0;
                const std::string payload(16 + (how >> 1) * 8, 'f');
                unsigned n = 0;
                for (const Frame& f :
                     frames::fragments(frames::udp(client ? c.flow : c.flow.back(), payload),
                                       8 + how % 8 * 64, id))
                    if (n < 40 && (mask >> (n++ % 8) & 1) == 0) send(f, port_of(c, client));
                break;
            }
            case 6: {
                const std::size_t head = u8();
                const bool outside = last_port_ == World::kInside;
                if (last_.size() < 60) break;
                const bool v6 = last_[12] == 0x86;
                const IpAddr in = *IpAddr::parse(v6 ? "2001:db8::1" : "10.0.0.1");
                const IpAddr out = *IpAddr::parse(v6 ? "2001:db8:1::9" : "192.0.2.9");
                const Frame about = last_;
                send(frames::unreachable(outside ? out : in, outside ? in : out, about, head),
                     outside ? World::kOutside : World::kInside);
                break;
            }
            case 7: {
                Conversation& c = talk();
                const unsigned how = u8();
                const bool client = (how & 1) != 0;
                send(frames::echo(client ? c.flow : c.flow.back(), (how & 2) != 0,
                                  static_cast<std::uint16_t>(how >> 2)),
                     port_of(c, client));
                break;
            }
            case 8: {
                const unsigned which = u8(), how = u8();
                meet(which, how);
                break;
            }
            case 9: {
                const std::uint32_t t = u8();
                both([&](Wall& w) { w.pass(t < 128 ? t * 20 : (t - 127) * 4000); });
                break;
            }
            case 10: both([](Wall& w) { w.restart(); }); break;
            case 11: {
                const unsigned n = u8() % 64, base = u8(), outside = u8() & 1;
                for (unsigned i = 0; i < n; ++i) {
                    const auto host = static_cast<std::uint8_t>(i + 2);
                    const Flow f{IpAddr::v4(outside != 0 ? std::uint8_t{198} : std::uint8_t{10}, 51,
                                            static_cast<std::uint8_t>(base), host),
                                 *IpAddr::parse(outside ? "10.0.0.1" : "192.0.2.9"),
                                 static_cast<std::uint16_t>(2000 + base), 80};
                    send(frames::tcp(f, {.flags = tcp_flag::syn, .seq = 1}),
                         outside ? World::kOutside : World::kInside);
                }
                break;
            }
            case 12: {
                const std::size_t at = u8();
                const std::uint8_t with = u8();
                if (last_.size() <= at + 12) break;
                Frame f = last_;
                f[at + 12] ^= with;
                send(f, last_port_);
                break;
            }
            case 13: send(Frame(last_), other_port(last_port_)); break;
            case 14: send(Frame(last_), last_port_); break;
            case 15: {
                constexpr std::uint8_t kProtocols[] = {
                    proto::gre,  proto::sctp,   proto::dccp,   99,
                    proto::icmp, proto::icmpv6, proto::udplite};
                Conversation& c = talk();
                const unsigned how = u8();
                const bool client = (how & 1) != 0;
                const Bytes l4 = bytes(u8());
                const Flow f = client ? c.flow : c.flow.back();
                send(frames::ip(f.src, f.dst, kProtocols[(how >> 1) % std::size(kProtocols)],
                                Frame(l4.begin(), l4.end())),
                     port_of(c, client));
                break;
            }
            case 16: {
                Conversation& c = talk();
                const unsigned how = u8();
                const Flow f = (how & 1) != 0 ? c.flow : c.flow.back();
                send(frames::gre_call(f.src, f.dst, static_cast<std::uint16_t>(how >> 1)),
                     port_of(c, (how & 1) != 0));
                break;
            }
            case 17: {
                const unsigned n = u8();
                both([&](Wall& w) { w.end(n); });
                break;
            }
        }
    }

    /// What an expectation waits for, or nearly.
    void meet(unsigned which, unsigned how) {
        std::vector<ExpectInfo> all;
        std::uint32_t cursor = 0;
        while (f_.one.fw().expectations().walk(cursor, 1024,
                                               [&](const ExpectInfo& e) { all.push_back(e); })) {
        }
        if (all.empty()) return;
        const ExpectInfo& e = all[which % all.size()];
        const bool v6 = e.dst.family == Family::ipv6;
        const IpAddr in = *IpAddr::parse(v6 ? "2001:db8::1" : "10.0.0.1");
        const IpAddr out = *IpAddr::parse(v6 ? "2001:db8:1::9" : "192.0.2.9");
        const bool from_inside = !(e.dst == in);
        Flow f{from_inside ? in : out, e.dst,
               e.sport_mask.raw() != 0 ? e.sport.host()
                                       : static_cast<std::uint16_t>(1024 + (how >> 2)),
               static_cast<std::uint16_t>(e.dport.host() + ((how & 1) != 0 ? 1 : 0))};
        const bool wrong = (how & 2) != 0;
        const PortId port = from_inside != wrong ? World::kInside : World::kOutside;
        if (e.protocol == proto::tcp)
            send(frames::tcp(f, {.flags = tcp_flag::syn, .seq = 7}), port);
        else if (e.protocol == proto::gre)
            send(frames::gre_call(f.src, f.dst, f.dport), port);
        else
            send(frames::udp(f, "media"), port);
        if ((how & 0x80) != 0 && e.protocol == proto::udp)
            send(frames::udp(f.back(), "answer"), other_port(port));
    }

    void compare() {
        const Wall::Done a = f_.one.done(), b = f_.four.done();
        if (a.ran_out || b.ran_out) return;
        const auto same = [](const World::Packet& x, const World::Packet& y) {
            return x.port == y.port && x.frame == y.frame;
        };
        require(std::ranges::equal(a.out, b.out, same), "one worker sends other packets than four");
        require(a.drops == b.drops, "one worker drops for other reasons than four");
        require(a.connections == b.connections, "one worker has other connections than four");
        require(a.expectations == b.expectations, "one worker expects other than four");
    }

    Fixture& f_;
    Cursor in_;
    std::array<Conversation, kConversations> talks_;
    Frame last_;
    PortId last_port_;
};

}  // namespace
}  // namespace postern

extern "C" int LLVMFuzzerInitialize(int*, char***) {
    postern::init_eal(768);
    postern::fixture = new postern::Fixture;  // reached until the process ends
    return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace postern;
    Program(*fixture, Cursor{Bytes{data, size}}).run();
    return 0;
}
