// SPDX-License-Identifier: BSD-3-Clause
#include "replay.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <map>
#include <optional>
#include <utility>

#include <fmt/core.h>
#include <rte_eal.h>
#include <rte_mbuf.h>
#include <rte_rcu_qsbr.h>
#include <unistd.h>

#include "capture/capture.h"
#include "capture/pcapng.h"
#include "firewall.h"
#include "list_rows.h"
#include "log/record_rows.h"
#include "pipeline/turn.h"
#include "port/eal.h"
#include "replay_input.h"
#include "replay_sides.h"
#include "userspace/counters.h"

namespace postern {
namespace {

constexpr int kFailure = 1, kBadOptions = 2;
constexpr std::uint16_t kDataRoom = 65535;
constexpr std::uint16_t kSmallRoom = 2176;
constexpr unsigned kBuffers = 64;
constexpr std::uint32_t kEvents = 1024;
// Longest step of the clock: timeouts are compared modulo 2^32 ms.
constexpr std::uint32_t kMaxStepMs = 5u * 24 * 3600 * 1000;
// Results must be the same from run to run.
constexpr std::uint64_t kSecretSeed = 0x706f737465726e;

struct Totals {
    std::uint64_t packets = 0, accepted = 0, dropped = 0, truncated = 0, unjudged = 0;
    std::uint64_t connections = 0, expected = 0;
    std::array<std::uint64_t, 4> events{};
    std::uint64_t events_lost = 0, fragments_held = 0;
    std::map<std::string, std::uint64_t> drops;
};

class Replay {
  public:
    Replay(Firewall& fw, const Spec& spec, std::int64_t& wall_s, const ReplayOptions& options,
           rte_mempool* pool, rte_mempool* small, Sides sides,
           std::vector<UserspaceHelper> processes, PcapngWriter* annotated)
        : fw_(fw),
          spec_(spec),
          wall_s_(wall_s),
          annotated_(annotated),
          options_(options),
          pool_(pool),
          small_(small),
          sides_(std::move(sides)),
          processes_(std::move(processes)) {}

    int run(ReplayInput& input, CaptureWriter* writer);

  private:
    /// Input and output of worker w in a turn: at most one packet.
    struct Io : TurnIoDefaults {
        Replay& replay;
        Worker& worker;
        const CapturedFrame* frame = nullptr;  ///< null: only time advances
        const PacketInfo* parsed = nullptr;    ///< parse_packet()'s result
        CaptureWriter* writer = nullptr;
        rte_mbuf* next = nullptr;
        bool decided_here = false;
        bool answer = false;

        Io(Replay& its, unsigned w) : replay(its), worker(its.fw_.worker(w)) {}
        unsigned receive(rte_mbuf** pkts) noexcept {
            pkts[0] = next;
            return std::exchange(next, nullptr) != nullptr ? 1 : 0;
        }
        void decided(Worker& w) {
            if (w.batch()[MaskId::away] != 0) return;
            decided_here = true;
            answer = w.batch()[MaskId::answer] != 0;
            replay.report_packet(w, *frame, *parsed);
        }
        void send(PortId port, rte_mbuf** pkts, unsigned n);
        void quiescent() noexcept {
            rte_rcu_qsbr_quiescent(replay.fw_.rcu(), worker.id().number());
        }
    };

    void advance(std::int64_t time_ns);
    Tick now() const { return Tick{static_cast<std::uint32_t>(now_ms_)}; }
    rte_mbuf* make_packet(const CapturedFrame& frame);
    void process(const ReplayInput::Frame& input, CaptureWriter* writer);
    /// `parsed`: parse_packet()'s result for the frame.
    void report_packet(Worker& w, const CapturedFrame& frame, const PacketInfo& parsed);
    /// Its bridge is unknown, so there is no verdict.
    void report_unjudged(const CapturedFrame& frame, const PacketInfo& parsed);
    void report_events();
    void report_event(const ExpectEvent& e);
    std::uint64_t unread(HelperId helper);
    std::uint64_t unread(HelperCounter why);
    void report_summary();
    void add_place(Json& row, const CapturedFrame& frame, const PacketInfo& parsed) const;
    /// Writes a packet with its verdict. `port`: nothing if it is not known.
    void annotate(const CapturedFrame& frame, std::optional<PortId> port,
                  const std::string& comment);
    std::uint64_t connection_number(WorkerId worker, const ConnTable& conns, std::uint32_t slot);

    Firewall& fw_;
    const Spec& spec_;
    std::int64_t& wall_s_;     ///< the firewall's time of day: the capture's
    PcapngWriter* annotated_;  ///< null: none
    const ReplayOptions& options_;
    rte_mempool* pool_;
    rte_mempool* small_;
    Sides sides_;
    std::vector<UserspaceHelper> processes_;  ///< of helpers; none of them runs
    std::optional<std::int64_t> start_ns_;
    std::int64_t last_ns_ = 0;
    std::int64_t now_ms_ = 0;
    std::uint64_t n_ = 0;
    std::uint64_t numbers_ = 0;
    bool sides_inferred_ = false;
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

/// Advances all workers to the capture's time; timestamps that go back count as no time.
void Replay::advance(std::int64_t time_ns) {
    if (!start_ns_) start_ns_ = last_ns_ = time_ns;
    last_ns_ = std::max(last_ns_, time_ns);
    wall_s_ = last_ns_ / 1'000'000'000;
    (void)fw_.follow_schedules(spec_);  // the plan compiled before, with the same rules
    const std::int64_t target = (last_ns_ - *start_ns_) / 1'000'000;
    while (now_ms_ < target) {
        now_ms_ = std::min<std::int64_t>(target, now_ms_ + kMaxStepMs);
        fw_.tend_sets(now());
        for (unsigned w = 0; w < fw_.workers(); ++w) {
            Io nothing(*this, w);
            while (run_turn(nothing.worker, nothing, now(), n_).timers_left) {
            }
        }
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
    // Policy judged this packet, or its connection's first. (The packet may have ended the
    // connection; its slot has not been reused since.)
    RuleId rule = b.rule_of(0);
    if (rule == kNoRule && !dropped && info.conn != 0) rule = w.conns().at(info.conn).rule;
    if (rule != kNoRule) return plan.rule_name(rule);
    if (dropped) return std::string(kDefaultRule);
    return info.ct == CtState::untracked ? "pass" : "";
}

/// Of this frame: the batch may hold the reassembled datagram, or an answer.
std::string text_of(const CapturedFrame& frame, const PacketInfo& parsed) {
    const auto tuple = tuple_of(frame.frame.data(), parsed);
    return tuple
               ? tuple->to_string()
               : fmt::format("ethertype 0x{:04x}, {} bytes", parsed.ethertype, frame.frame.size());
}

/// When, where and between whom: the fields of every packet's row.
void Replay::add_place(Json& row, const CapturedFrame& frame, const PacketInfo& parsed) const {
    row["time"] = time_text(frame.time_ns / 1000);
    row["at_s"] = static_cast<double>(last_ns_ - *start_ns_) / 1e9;
    const auto tuple = tuple_of(frame.frame.data(), parsed);
    row["proto"] = tuple ? Json(protocol_name(tuple->protocol)) : Json(nullptr);
    row["src"] = tuple ? Json(tuple->src.to_string()) : Json(nullptr);
    row["sport"] = tuple ? Json(tuple->sport.host()) : Json(nullptr);
    row["dst"] = tuple ? Json(tuple->dst.to_string()) : Json(nullptr);
    row["dport"] = tuple ? Json(tuple->dport.host()) : Json(nullptr);
    row["bytes"] = frame.length;
}

void Replay::annotate(const CapturedFrame& frame, std::optional<PortId> port,
                      const std::string& comment) {
    if (annotated_ == nullptr) return;
    const std::size_t ports = fw_.plan().ports.size();
    annotated_->write({.interface = static_cast<std::uint32_t>(port ? port->number() : ports),
                       .time_ns = frame.time_ns,
                       .frame = frame.frame,
                       .length = frame.length,
                       .direction = PcapngDirection::inbound,
                       .comment = comment});
}

void Replay::report_unjudged(const CapturedFrame& frame, const PacketInfo& parsed) {
    ++totals_.packets;
    ++totals_.unjudged;
    annotate(frame, std::nullopt, "not judged [bridge_unknown]");
    if (options_.json) {
        Json row{{"type", "packet"}, {"n", frame.n},         {"verdict", "unknown"},
                 {"state", nullptr}, {"direction", nullptr}, {"reason", "bridge_unknown"}};
        add_place(row, frame, parsed);
        std::puts(row.dump().c_str());
        return;
    }
    fmt::print("{:>6} {:>12.6f}  {:<6} {:<11} {:<8} {}  [bridge_unknown]\n", frame.n,
               static_cast<double>(last_ns_ - *start_ns_) / 1e9, "?", "", "",
               text_of(frame, parsed));
}

void Replay::report_packet(Worker& w, const CapturedFrame& frame, const PacketInfo& parsed) {
    const Batch& b = w.batch();
    const PacketInfo& info = b.info[0];
    const bool accepted = b[MaskId::accept] != 0 && b[MaskId::answer] == 0;
    const std::string reason = reason_of(w, fw_.plan());
    ++totals_.packets;
    accepted ? ++totals_.accepted : ++totals_.dropped;
    // A held fragment forwards nothing; its verdict follows when its datagram is complete.
    if (!accepted)
        ++totals_.drops[b[MaskId::held] != 0 ? reason : std::string(to_string(info.why))];
    if (frame.truncated) ++totals_.truncated;

    const Conn* conn = info.conn != 0 ? &w.conns().at(info.conn) : nullptr;
    const char* const verdict = accepted ? "accept" : b[MaskId::held] != 0 ? "held" : "DROP";
    const char* const direction = conn == nullptr                   ? ""
                                  : info.dir == Direction::original ? "original"
                                                                    : "reply";
    Json row{{"type", "packet"},
             {"n", frame.n},
             {"verdict", accepted ? "accept" : "drop"},
             // Conntrack processes datagrams, never a fragment.
             {"state", info.fragment ? Json(nullptr) : Json(to_string(info.ct))},
             {"direction", conn == nullptr                   ? Json(nullptr)
                           : info.dir == Direction::original ? Json("original")
                                                             : Json("reply")},
             {"reason", reason.empty() ? Json(nullptr) : Json(reason)}};
    row["conn"] = conn != nullptr ? Json(connection_number(w.id(), w.conns(), info.conn)) : Json();
    const char* state = conn != nullptr ? conn->state_name() : nullptr;
    std::string comment = verdict;
    if (!info.fragment) comment += std::string(" ") + to_string(info.ct);
    if (!reason.empty()) comment += " [" + reason + "]";
    if (conn != nullptr)
        comment += fmt::format(" connection {} {}{}{}", row["conn"].get<std::uint64_t>(), direction,
                               state != nullptr ? " " : "", state != nullptr ? state : "");
    if (!fw_.plan().helper_name(conn != nullptr ? conn->helper : kNoHelper).empty())
        comment += " helper " + fw_.plan().helper_name(conn->helper);
    annotate(frame, info.in_port, comment);
    row["proto_state"] = state != nullptr ? Json(state) : Json(nullptr);
    row["helper"] = conn != nullptr && conn->helper != kNoHelper
                        ? Json(fw_.plan().helpers[conn->helper - 1u].name)
                        : Json(nullptr);
    row["timeout_s"] = conn != nullptr ? Json(conn->timeout_ms / 1000) : Json(nullptr);
    row["worker"] = w.id().number();
    if (options_.json) {
        row["in"] = fw_.plan().ports[info.in_port.number()].name;
        add_place(row, frame, parsed);
        std::puts(row.dump().c_str());
        return;
    }
    const std::string what = text_of(frame, parsed);
    fmt::print("{:>6} {:>12.6f}  {:<6} {:<11} {:<8} {}", frame.n,
               static_cast<double>(last_ns_ - *start_ns_) / 1e9, verdict,
               info.fragment ? "" : to_string(info.ct), direction, what);
    if (state != nullptr) fmt::print("  {}", state);
    if (!reason.empty()) fmt::print("  [{}]", reason);
    if (fw_.workers() > 1) fmt::print("  worker {}", w.id().number());
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

void Replay::Io::send(PortId, rte_mbuf** pkts, unsigned n) {
    for (unsigned i = 0; i < n; ++i) {
        rte_mbuf* out = pkts[i];
        if (writer != nullptr && !answer) {
            std::vector<std::uint8_t> whole(rte_pktmbuf_pkt_len(out));
            const void* p = rte_pktmbuf_read(out, 0, rte_pktmbuf_pkt_len(out), whole.data());
            const Bytes bytes{static_cast<const std::uint8_t*>(p), whole.size()};
            writer->write(frame->time_ns, bytes,
                          std::max(frame->length, static_cast<std::uint32_t>(whole.size())));
        }
        rte_pktmbuf_free(out);
    }
}

void Replay::process(const ReplayInput::Frame& input, CaptureWriter* writer) {
    const CapturedFrame& frame = input.captured;
    n_ = frame.n;
    advance(frame.time_ns);
    report_events();  // expired objects
    PacketInfo info{};
    parse_packet(frame.frame.data(), static_cast<std::uint32_t>(frame.frame.size()),
                 static_cast<std::uint32_t>(frame.frame.size()), {&fw_.steering().secret, CtZone{}},
                 info);
    const auto port = input.port ? input.port : sides_.port_of(frame.frame, info, fw_.plan());
    if (!port) return report_unjudged(frame, info);
    rte_mbuf* m = make_packet(frame);
    if (m == nullptr) {
        fmt::print(stderr, "packet {}: too long to replay ({} bytes)\n", frame.n,
                   frame.frame.size());
        return;
    }
    m->port = port->number();
    const auto turn = [&](unsigned w, rte_mbuf* next) {
        Io io(*this, w);
        io.frame = &frame;
        io.parsed = &info;
        io.writer = writer;
        io.next = next;
        run_turn(io.worker, io, now(), n_);
        return io.decided_here;
    };
    bool decided = turn(static_cast<unsigned>(frame.n % fw_.workers()), m);
    // One more time: a helper may have sent orders about children to other workers.
    for (bool again = true; again;) {
        again = !decided;
        for (unsigned w = 0; w < fw_.workers(); ++w)
            decided |= turn(w, nullptr);
    }
    report_events();
}

/// Packets for this helper's process, which a replay lacks.
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

/// Packets that no helper read, for this reason.
std::uint64_t Replay::unread(HelperCounter why) {
    std::uint64_t n = 0;
    for (unsigned w = 0; w < fw_.workers(); ++w)
        for (std::size_t h = 1; h <= fw_.plan().helpers.size(); ++h)
            n += fw_.worker(w).helpers().counters(static_cast<HelperId>(h))[why].get();
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
                       {"bridge_unknown", totals_.unjudged},
                       {"drops", drops},
                       {"fragments_held", totals_.fragments_held},
                       {"unread_by_absent_processes", unread_by},
                       {"bad_checksum", unread(HelperCounter::bad_checksum)},
                       {"partial_checksum", unread(HelperCounter::partial_checksum)},
                       {"connections", totals_.connections},
                       {"expected_connections", totals_.expected},
                       {"expectations",
                        {{"new", event(ExpectEventType::fresh)},
                         {"claim", event(ExpectEventType::claim)},
                         {"expire", event(ExpectEventType::expire)},
                         {"destroy", event(ExpectEventType::destroy)},
                         {"events_lost", totals_.events_lost}}},
                       {"workers", fw_.workers()},
                       {"sides_inferred", sides_inferred_},
                       {"duration_s", static_cast<double>(last_ns_ - start_ns_.value_or(0)) / 1e9}};
        std::puts(row.dump().c_str());
        return;
    }
    fmt::print("\n{} packets: {} accepted, {} dropped; {} connections, of which {} were expected\n",
               totals_.packets, totals_.accepted, totals_.dropped, totals_.connections,
               totals_.expected);
    for (const auto& [name, n] : totals_.drops)
        fmt::print("  {:>8} {}\n", n, name);
    if (sides_inferred_)
        fmt::print(
            "the side of each packet was inferred from its addresses, so none can come from the "
            "wrong one: --inside-mac, or a capture a port, tells\n");
    if (totals_.unjudged != 0)
        fmt::print(
            "{} packets were not judged: nothing tells by which bridge they came; a capture a port "
            "or --bridge does\n",
            totals_.unjudged);
    if (totals_.fragments_held != 0)
        fmt::print("{} fragments wait for the rest of their datagrams\n", totals_.fragments_held);
    for (const auto& [why, what] : {std::pair{HelperCounter::bad_checksum, "wrong checksums"},
                                    {HelperCounter::partial_checksum, "unfinished checksums"}})
        if (const std::uint64_t n = unread(why); n != 0)
            fmt::print("{} packets with {} were not read by helpers\n", n, what);
    for (const UserspaceHelper& h : processes_)
        fmt::print(
            "{} packets were for the process of helper {} to read, which a replay has not: what "
            "they "
            "announced opened nothing\n",
            unread(h.id), h.name);
}

int Replay::run(ReplayInput& input, CaptureWriter* writer) {
    sides_inferred_ = !input.has_ports() && !sides_.known();
    for (unsigned w = 0; w < fw_.workers(); ++w)
        rte_rcu_qsbr_thread_online(fw_.rcu(), w);
    int code = 0;
    for (;;) {
        auto frame = input.next();
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

int fail(int code, const std::string& message) {
    std::fflush(stdout);
    fmt::print(stderr, "postern replay: {}\n", message);
    return code;
}

int replay_with_eal(const Spec& spec, const ReplayOptions& options, ReplayInput& input,
                    Sides sides) {
    FirewallOptions fo;
    fo.workers = options.workers;
    fo.secret = HashSecret::from_seed(kSecretSeed);
    fo.expect_events = kEvents;
    fo.handoff_ring = 64;
    fo.believe_checksums = !options.checksums;
    std::int64_t wall_s = 0;
    fo.wall_s = [&wall_s] { return wall_s; };
    auto firewall = Firewall::build(spec, fo);
    if (!firewall) return fail(kFailure, firewall.error().message);
    rte_mempool* pool = rte_pktmbuf_pool_create("replay", kBuffers, 0, 0, kDataRoom, SOCKET_ID_ANY);
    // Those of fragments are held, up to the configured number.
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
    std::optional<PcapngWriter> annotated;
    if (!options.annotated.empty()) {
        std::vector<std::string> names;
        for (const PortSpec& p : spec.ports)
            names.push_back(p.name);
        names.emplace_back("unknown");
        auto w = PcapngWriter::create(options.annotated, names);
        if (!w) return fail(kFailure, w.error().message);
        annotated = std::move(w).value();
    }
    Replay replay(**firewall, spec, wall_s, options, pool, small, std::move(sides),
                  userspace_helpers_of(spec), annotated ? &*annotated : nullptr);
    int code = replay.run(input, writer ? &*writer : nullptr);
    if (writer) {
        if (auto r = writer->close(); !r) code = fail(kFailure, r.error().message);
    }
    if (annotated)
        if (auto r = annotated->close(); !r) code = fail(kFailure, r.error().message);
    return code;
}

}  // namespace

int run_replay(const Spec& spec, const ReplayOptions& options) {
    auto input = ReplayInput::open(options.inputs, spec);
    if (!input) return fail(kFailure, input.error().message);
    auto sides = Sides::create(options, spec, input->has_ports());
    if (!sides) return fail(kBadOptions, sides.error().message);
    EalConfig eal;
    eal.hugepages = EalConfig::Huge::no;
    eal.memory_mb = spec.eal.memory_mb;
    if (auto r = start_eal(eal); !r) return fail(kFailure, r.error().message);
    const int code = replay_with_eal(spec, options, *input, std::move(sides).value());
    std::fflush(stdout);
    // The process ends here; DPDK's threads need no orderly end.
    return code;
}

}  // namespace postern
