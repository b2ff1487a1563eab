// SPDX-License-Identifier: BSD-3-Clause
#include "replay.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <map>
#include <optional>
#include <set>

#include <fmt/core.h>
#include <rte_eal.h>
#include <rte_mbuf.h>
#include <rte_rcu_qsbr.h>
#include <unistd.h>

#include "capture/capture.h"
#include "commands.h"
#include "firewall.h"
#include "port/eal.h"
#include "userspace/counters.h"
#include "userspace_helpers.h"

namespace postern {
namespace {

constexpr int kFailure = 1, kBadOptions = 2;
constexpr std::uint16_t kDataRoom = 65535;
constexpr std::uint16_t kSmallRoom = 2176;
constexpr unsigned kBuffers = 64;
constexpr std::uint32_t kEvents = 1024;
// Longest step of the clock at once: timeouts are compared modulo 2^32 ms.
constexpr std::uint32_t kMaxStepMs = 5u * 24 * 3600 * 1000;
// Answers are to be the same from run to run.
constexpr std::uint64_t kSecretSeed = 0x706f737465726e;

using Mac = std::array<std::uint8_t, 6>;

std::optional<Mac> parse_mac(const std::string& text) {
    Mac mac;
    unsigned v[6];
    char rest;
    if (std::sscanf(text.c_str(), "%2x:%2x:%2x:%2x:%2x:%2x%c", &v[0], &v[1], &v[2], &v[3], &v[4],
                    &v[5], &rest) != 6)
        return std::nullopt;
    for (int i = 0; i < 6; ++i)
        mac[i] = static_cast<std::uint8_t>(v[i]);
    return mac;
}

/// Which side of the firewall a frame arrives on.
class Sides {
  public:
    static Result<Sides> create(const ReplayOptions& o) {
        Sides s;
        for (const auto& text : o.inside_prefixes) {
            const auto p = Prefix::parse(text);
            if (!p) return Error{"--inside: \"" + text + "\" is not a prefix like 192.0.2.0/24"};
            s.prefixes_.push_back(*p);
        }
        if (!o.inside_mac.empty()) {
            s.mac_ = parse_mac(o.inside_mac);
            if (!s.mac_)
                return Error{"--inside-mac: \"" + o.inside_mac +
                             "\" is not an address like 02:00:00:00:00:01"};
        }
        return s;
    }

    bool inside(Bytes frame, const PacketInfo& info) {
        Mac src{}, dst{};
        if (frame.size() >= 12) {
            std::copy_n(frame.begin(), 6, dst.begin());
            std::copy_n(frame.begin() + 6, 6, src.begin());
        }
        if (mac_) return src == *mac_;
        const bool ip = info.family != Family::none && frame.size() >= info.l3_off + 40u;
        if (!ip) {
            if (!prefixes_.empty()) return true;
            return first_speaker(macs_, src, dst);
        }
        // The outer addresses: for an ICMP error, its sender's.
        const std::uint8_t* p = frame.data() + info.l3_off;
        const bool v4 = info.family == Family::ipv4;
        const IpAddr a = v4 ? IpAddr::v4(p + 12) : IpAddr::v6(p + 8);
        const IpAddr b = v4 ? IpAddr::v4(p + 16) : IpAddr::v6(p + 24);
        if (!prefixes_.empty())
            return std::any_of(prefixes_.begin(), prefixes_.end(),
                               [&](const Prefix& prefix) { return prefix.contains(a); });
        return first_speaker(addresses_, a, b);
    }

  private:
    template <class T>
    static bool first_speaker(std::set<std::pair<T, T>>& seen, const T& from, const T& to) {
        if (seen.count({to, from}) != 0) return false;
        seen.insert({from, to});
        return true;
    }

    std::vector<Prefix> prefixes_;
    std::optional<Mac> mac_;
    std::set<std::pair<IpAddr, IpAddr>> addresses_;  // {inside, outside}
    std::set<std::pair<Mac, Mac>> macs_;
};

struct Totals {
    std::uint64_t packets = 0, accepted = 0, dropped = 0, truncated = 0;
    std::uint64_t connections = 0, expected = 0;
    std::array<std::uint64_t, 4> events{};
    std::uint64_t events_lost = 0, fragments_held = 0;
    std::map<std::string, std::uint64_t> drops;
};

class Replay {
  public:
    Replay(Firewall& fw, const ReplayOptions& options, rte_mempool* pool, rte_mempool* small,
           PortIndex inside, PortIndex outside, Sides sides, std::vector<UserspaceHelper> processes)
        : fw_(fw),
          options_(options),
          pool_(pool),
          small_(small),
          ports_{inside, outside},
          sides_(std::move(sides)),
          processes_(std::move(processes)) {}

    int run(CaptureReader& reader, CaptureWriter* writer);

  private:
    void advance(std::int64_t time_ns);
    void drain_timers(Tick now);
    rte_mbuf* make_packet(const CapturedFrame& frame);
    void process(const CapturedFrame& frame, CaptureWriter* writer);
    /// Runs one packet on worker w; true when it was decided there.
    bool turn(unsigned w, rte_mbuf* m, const CapturedFrame& frame, CaptureWriter* writer);
    void report_packet(Worker& w, const CapturedFrame& frame);
    void report_events();
    void report_event(const ExpectEvent& e);
    std::uint64_t unread(HelperId helper);
    void report_summary();
    std::uint64_t connection_number(WorkerId worker, const ConnTable& conns, std::uint32_t slot);

    Firewall& fw_;
    const ReplayOptions& options_;
    rte_mempool* pool_;
    rte_mempool* small_;
    PortIndex ports_[2];
    Sides sides_;
    std::vector<UserspaceHelper> processes_;  ///< of helpers; none of them runs
    std::optional<std::int64_t> start_ns_;
    std::int64_t last_ns_ = 0;
    std::int64_t now_ms_ = 0;
    std::uint64_t n_ = 0;
    std::uint64_t numbers_ = 0;
    std::map<std::tuple<WorkerId, std::uint32_t, std::uint16_t>, std::uint64_t> number_of_;
    Totals totals_;
};

rte_mbuf* Replay::make_packet(const CapturedFrame& frame) {
    const bool fits = frame.frame.size() + RTE_PKTMBUF_HEADROOM <= kSmallRoom;
    rte_mbuf* head = fits ? nullptr : rte_pktmbuf_alloc(pool_);
    if (head == nullptr) head = rte_pktmbuf_alloc(small_);
    rte_mbuf* tail = head;
    Bytes left = frame.frame;
    while (head != nullptr) {
        const auto n = static_cast<std::uint16_t>(
            std::min<std::size_t>(left.size(), rte_pktmbuf_tailroom(tail)));
        std::memcpy(rte_pktmbuf_mtod_offset(tail, char*, tail->data_len), left.data(), n);
        tail->data_len = static_cast<std::uint16_t>(tail->data_len + n);
        head->pkt_len += n;
        left = left.subspan(n);
        if (left.empty()) break;
        rte_mbuf* more = rte_pktmbuf_alloc(small_);
        if (more == nullptr) {
            rte_pktmbuf_free(head);
            return nullptr;
        }
        tail->next = more;
        tail = more;
        ++head->nb_segs;
    }
    return head;
}

void Replay::drain_timers(Tick now) {
    for (unsigned w = 0; w < fw_.workers(); ++w)
        while (!fw_.worker(w).housekeeping(now, n_)) {
        }
}

/// Brings all workers to the capture's time; timestamps that go back count as no time.
void Replay::advance(std::int64_t time_ns) {
    if (!start_ns_) start_ns_ = last_ns_ = time_ns;
    last_ns_ = std::max(last_ns_, time_ns);
    const std::int64_t target = (last_ns_ - *start_ns_) / 1'000'000;
    while (now_ms_ < target) {
        now_ms_ = std::min<std::int64_t>(target, now_ms_ + kMaxStepMs);
        drain_timers(Tick{static_cast<std::uint32_t>(now_ms_)});
    }
}

std::uint64_t Replay::connection_number(WorkerId worker, const ConnTable& conns,
                                        std::uint32_t slot) {
    auto [it, fresh] = number_of_.try_emplace({worker, slot, conns.at(slot).generation}, 0);
    if (fresh) it->second = ++numbers_;
    return it->second;
}

std::string reason_of(Worker& w, const Plan& plan) {
    const Batch& b = w.batch();
    const PacketInfo& info = b.info[0];
    if (b[MaskId::held] != 0) return "fragment_held";
    const bool dropped = b[MaskId::drop] != 0 || b[MaskId::answer] != 0;
    if (dropped && info.why != DropReason::policy && info.why != DropReason::reject)
        return std::string(to_string(info.why));
    // Policy was asked about this packet, or about its connection's first. (The packet may have
    // ended that; nobody has had its slot since.)
    RuleId rule = info.rule;
    if (rule == kNoRule && !dropped && info.conn != 0) rule = w.conns().at(info.conn).rule;
    if (rule != kNoRule) return plan.rules[rule];
    if (dropped) return std::string(to_string(info.why));
    return info.ct == CtState::untracked ? "pass" : "";
}

void Replay::report_packet(Worker& w, const CapturedFrame& frame) {
    const Batch& b = w.batch();
    const PacketInfo& info = b.info[0];
    const bool accepted = b[MaskId::accept] != 0 && b[MaskId::answer] == 0;
    const std::string reason = reason_of(w, fw_.plan());
    ++totals_.packets;
    accepted ? ++totals_.accepted : ++totals_.dropped;
    // Nothing leaves by a fragment that is held; what becomes of it shows when its datagram is
    // whole.
    if (!accepted)
        ++totals_.drops[b[MaskId::held] != 0 ? reason : std::string(to_string(info.why))];
    if (frame.truncated) ++totals_.truncated;

    const Conn* conn = info.conn != 0 ? &w.conns().at(info.conn) : nullptr;
    Json row{{"type", "packet"},
             {"n", frame.n},
             {"verdict", accepted ? "accept" : "drop"},
             // Conntrack sees datagrams, never a fragment.
             {"state", info.fragment ? Json(nullptr) : Json(to_string(info.ct))},
             {"direction", conn == nullptr                   ? Json(nullptr)
                           : info.dir == Direction::original ? Json("original")
                                                             : Json("reply")},
             {"reason", reason.empty() ? Json(nullptr) : Json(reason)}};
    row["conn"] = conn != nullptr ? Json(connection_number(w.id(), w.conns(), info.conn)) : Json();
    const char* state = conn != nullptr ? conn->state_name() : nullptr;
    row["proto_state"] = state != nullptr ? Json(state) : Json(nullptr);
    row["helper"] = conn != nullptr && conn->helper != kNoHelper
                        ? Json(fw_.plan().helpers[conn->helper - 1u].name)
                        : Json(nullptr);
    row["timeout_s"] = conn != nullptr ? Json(conn->timeout_ms / 1000) : Json(nullptr);
    row["worker"] = w.id();
    if (options_.json) {
        std::puts(row.dump().c_str());
        return;
    }
    const bool known = info.family != Family::none && info.why != DropReason::truncated_l3 &&
                       info.why != DropReason::truncated_l4 &&
                       info.why != DropReason::bad_ip_header &&
                       info.why != DropReason::bad_ext_header;
    std::string what =
        known ? tuple_of(frame.frame.data(), info).to_string()
              : fmt::format("ethertype 0x{:04x}, {} bytes", info.ethertype, frame.frame.size());
    fmt::print("{:>6} {:>12.6f}  {:<6} {:<11} {:<8} {}", frame.n,
               static_cast<double>(last_ns_ - *start_ns_) / 1e9,
               accepted               ? "accept"
               : b[MaskId::held] != 0 ? "held"
                                      : "DROP",
               info.fragment ? "" : to_string(info.ct),
               conn == nullptr                   ? ""
               : info.dir == Direction::original ? "original"
                                                 : "reply",
               what);
    if (state != nullptr) fmt::print("  {}", state);
    if (!reason.empty()) fmt::print("  [{}]", reason);
    if (fw_.workers() > 1) fmt::print("  worker {}", w.id());
    fmt::print("\n");
}

void Replay::report_event(const ExpectEvent& e) {
    ++totals_.events[static_cast<unsigned>(e.type)];
    Json row{{"type", "expectation"}, {"n", e.cookie}, {"event", to_string(e.type)}};
    row.update(expectation_row(fw_.plan(), e.info));
    if (e.type == ExpectEventType::destroy) row["cause"] = to_string(e.end);
    if (options_.json) {
        std::puts(row.dump().c_str());
        return;
    }
    const auto text = [](const Json& v) { return v.is_null() ? "any" : v.dump(); };
    fmt::print(
        "       expectation {}: {} {} from {} port {} to {} port {}{}\n", to_string(e.type),
        text(row["helper"]), row["proto"].get<std::string>(), text(row["src"]), text(row["sport"]),
        e.info.dst.to_string(), e.info.dport.host(),
        e.type == ExpectEventType::destroy ? " (" + std::string(to_string(e.end)) + ")" : "");
}

void Replay::report_events() {
    ExpectEvent e;
    for (unsigned o = 0; o < fw_.expectations().owners(); ++o)
        while (fw_.expectations().owner(static_cast<OwnerId>(o)).events().pop(e))
            report_event(e);
}

bool Replay::turn(unsigned w, rte_mbuf* m, const CapturedFrame& frame, CaptureWriter* writer) {
    Worker& worker = fw_.worker(w);
    worker.begin(&m, 1, Tick{static_cast<std::uint32_t>(now_ms_)}, frame.n);
    worker.run_stages();
    Batch& b = worker.batch();
    const bool decided = b[MaskId::away] == 0;
    const bool answer = b[MaskId::answer] != 0;
    if (decided) report_packet(worker, frame);
    worker.finish();
    for (TxBuffer& tx : worker.tx()) {
        for (unsigned i = 0; i < tx.n; ++i) {
            rte_mbuf* out = tx.pkt[i];
            if (writer != nullptr && !answer) {
                std::vector<std::uint8_t> whole(rte_pktmbuf_pkt_len(out));
                const void* p = rte_pktmbuf_read(out, 0, rte_pktmbuf_pkt_len(out), whole.data());
                const Bytes bytes{static_cast<const std::uint8_t*>(p), whole.size()};
                writer->write(frame.time_ns, bytes,
                              std::max(frame.length, static_cast<std::uint32_t>(whole.size())));
            }
            rte_pktmbuf_free(out);
        }
        tx.n = 0;
    }
    rte_rcu_qsbr_quiescent(fw_.rcu(), w);
    return decided;
}

void Replay::process(const CapturedFrame& frame, CaptureWriter* writer) {
    n_ = frame.n;
    advance(frame.time_ns);
    report_events();  // what time has ended
    PacketInfo info{};
    parse_packet(frame.frame.data(), static_cast<std::uint32_t>(frame.frame.size()),
                 static_cast<std::uint32_t>(frame.frame.size()), {&fw_.plan().secret, 0}, info);
    rte_mbuf* m = make_packet(frame);
    if (m == nullptr) {
        fmt::print(stderr, "packet {}: too long to replay ({} bytes)\n", frame.n,
                   frame.frame.size());
        return;
    }
    m->port = sides_.inside(frame.frame, info) ? ports_[0] : ports_[1];
    unsigned w = static_cast<unsigned>(frame.n % fw_.workers());
    bool decided = turn(w, m, frame, writer);
    while (!decided) {
        for (w = 0; w < fw_.workers(); ++w) {
            rte_mbuf* taken[kMaxBurst];
            if (fw_.worker(w).take_handoff(taken) != 0) decided = turn(w, taken[0], frame, writer);
        }
    }
    for (w = 0; w < fw_.workers(); ++w)
        fw_.worker(w).end_children(Tick{static_cast<std::uint32_t>(now_ms_)}, n_);
    report_events();
}

/// Packets that were this helper's process to read, which a replay has not.
std::uint64_t Replay::unread(HelperId helper) {
    std::uint64_t n = 0;
    for (unsigned w = 0; w < fw_.workers(); ++w)
        for (const auto c :
             {UserspaceCounter::userspace_bypassed, UserspaceCounter::userspace_absent})
            n += fw_.worker(w)
                     .helpers()
                     .counters(helper)
                     .at[kHelperCounters + static_cast<unsigned>(c)]
                     .get();
    return n;
}

void Replay::report_summary() {
    for (unsigned w = 0; w < fw_.workers(); ++w) {
        totals_.connections += fw_.worker(w).counters().connections_created.get();
        totals_.expected += fw_.worker(w).counters().connections_expected.get();
        totals_.fragments_held += fw_.worker(w).reassembly().held();
        totals_.events_lost += fw_.expectations().owner(static_cast<OwnerId>(w)).events().lost();
    }
    if (options_.json) {
        Json drops = Json::object();
        for (const auto& [name, n] : totals_.drops)
            drops[name] = n;
        const auto event = [&](ExpectEventType t) {
            return totals_.events[static_cast<unsigned>(t)];
        };
        Json unread_by = Json::object();
        for (const UserspaceHelper& h : processes_)
            unread_by[h.name] = unread(h.id);
        const Json row{{"type", "summary"},
                       {"packets", totals_.packets},
                       {"accepted", totals_.accepted},
                       {"dropped", totals_.dropped},
                       {"truncated", totals_.truncated},
                       {"drops", drops},
                       {"fragments_held", totals_.fragments_held},
                       {"unread_by_absent_processes", unread_by},
                       {"connections", totals_.connections},
                       {"expected_connections", totals_.expected},
                       {"expectations",
                        {{"new", event(ExpectEventType::fresh)},
                         {"claim", event(ExpectEventType::claim)},
                         {"expire", event(ExpectEventType::expire)},
                         {"destroy", event(ExpectEventType::destroy)},
                         {"events_lost", totals_.events_lost}}},
                       {"workers", fw_.workers()},
                       {"duration_s", static_cast<double>(last_ns_ - start_ns_.value_or(0)) / 1e9}};
        std::puts(row.dump().c_str());
        return;
    }
    fmt::print("\n{} packets: {} accepted, {} dropped; {} connections, of which {} were expected\n",
               totals_.packets, totals_.accepted, totals_.dropped, totals_.connections,
               totals_.expected);
    for (const auto& [name, n] : totals_.drops)
        fmt::print("  {:>8} {}\n", n, name);
    if (totals_.fragments_held != 0)
        fmt::print("{} fragments wait for the rest of their datagrams\n", totals_.fragments_held);
    for (const UserspaceHelper& h : processes_)
        fmt::print(
            "{} packets were for the process of helper {} to read, which a replay has not: what "
            "they "
            "announced opened nothing\n",
            unread(h.id), h.name);
}

int Replay::run(CaptureReader& reader, CaptureWriter* writer) {
    for (unsigned w = 0; w < fw_.workers(); ++w)
        rte_rcu_qsbr_thread_online(fw_.rcu(), w);
    int code = 0;
    for (;;) {
        auto frame = reader.next();
        if (!frame) {
            fmt::print(stderr, "{}\n", frame.error().message);
            code = kFailure;
            break;
        }
        if (!frame.value()) break;
        process(*frame.value(), writer);
    }
    for (unsigned w = 0; w < fw_.workers(); ++w)
        rte_rcu_qsbr_thread_offline(fw_.rcu(), w);
    report_summary();
    return code;
}

/// The ports that stand for inside and outside: the first bridge's; the one whose zone is called
/// "inside", if there is one, is inside.
std::optional<std::pair<PortIndex, PortIndex>> sides_of(const Spec& spec) {
    if (spec.bridges.empty()) return std::nullopt;
    PortIndex a = spec.bridges[0].ports[0], b = spec.bridges[0].ports[1];
    if (spec.zones[spec.ports[b].zone] == "inside") std::swap(a, b);
    return std::pair{a, b};
}

int fail(int code, const std::string& message) {
    std::fflush(stdout);
    fmt::print(stderr, "postern replay: {}\n", message);
    return code;
}

int replay_with_eal(const Spec& spec, const ReplayOptions& options, CaptureReader& reader,
                    Sides sides) {
    const auto ports = sides_of(spec);
    if (!ports) return fail(kBadOptions, "the configuration has no bridge to replay over");
    FirewallOptions fo;
    fo.workers = options.workers;
    fo.secret = HashSecret::from_seed(kSecretSeed);
    fo.expect_events = kEvents;
    fo.handoff_ring = 64;
    auto firewall = Firewall::build(spec, fo);
    if (!firewall) return fail(kFailure, firewall.error().message);
    rte_mempool* pool = rte_pktmbuf_pool_create("replay", kBuffers, 0, 0, kDataRoom, SOCKET_ID_ANY);
    // Those of fragments are held, as many as the configuration says.
    rte_mempool* small =
        rte_pktmbuf_pool_create("replay_small", kBuffers + spec.limits.fragments + fo.workers, 0, 0,
                                kSmallRoom, SOCKET_ID_ANY);
    if (pool == nullptr || small == nullptr) return fail(kFailure, "no memory for packet buffers");
    std::optional<CaptureWriter> writer;
    if (!options.output.empty()) {
        auto w = CaptureWriter::create(options.output);
        if (!w) return fail(kFailure, w.error().message);
        writer = std::move(w).value();
    }
    Replay replay(**firewall, options, pool, small, ports->first, ports->second, std::move(sides),
                  userspace_helpers_of(spec));
    int code = replay.run(reader, writer ? &*writer : nullptr);
    if (writer) {
        if (auto r = writer->close(); !r) code = fail(kFailure, r.error().message);
    }
    return code;
}

}  // namespace

int run_replay(const Spec& spec, const ReplayOptions& options) {
    auto sides = Sides::create(options);
    if (!sides) return fail(kBadOptions, sides.error().message);
    auto reader = CaptureReader::open(options.input);
    if (!reader) return fail(kFailure, reader.error().message);
    EalConfig eal;
    eal.hugepages = EalConfig::Huge::no;
    eal.memory_mb = spec.eal.memory_mb;
    if (auto r = start_eal(eal); !r) return fail(kFailure, r.error().message);
    const int code = replay_with_eal(spec, options, *reader, std::move(sides).value());
    std::fflush(stdout);
    // The process ends here; DPDK's threads need not be asked to.
    return code;
}

}  // namespace postern
