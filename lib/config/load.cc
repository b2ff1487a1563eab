// SPDX-License-Identifier: BSD-3-Clause
// The sections of a configuration file but policy, in the order in which later ones need the names
// of earlier ones; and the entry points.
#include "config/load.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <exception>
#include <memory>
#include <set>

#include "config/loader.h"

namespace postern {
namespace config {
namespace {

constexpr std::size_t kMaxFileBytes = std::size_t{64} << 20;
constexpr std::size_t kMaxSocketPath = 107;  // sockaddr_un
constexpr std::size_t kMaxPath = 4000;

}  // namespace

void Names::add(const Value& at, const std::string& name) {
    if (!index_.try_emplace(name, order_.size()).second) at.error(quoted(name) + " is given twice");
    order_.push_back(name);
}

std::optional<std::size_t> Names::find(const Value& v) const {
    if (const auto s = v.scalar())
        if (const auto it = index_.find(*s); it != index_.end()) return it->second;
    if (order_.empty()) {
        if (!quiet_when_empty) v.error(v.found() + " is not " + what_ + ", for there is none");
        return std::nullopt;
    }
    const std::vector<std::string_view> views(order_.begin(), order_.end());
    return v.choice(views, what_);
}

Spec Loader::load(const YAML::Node& root) {
    const Value top(report_, root, "");
    Map map(top);
    const auto section = [&](std::string_view key, void (Loader::*read)(const Value&)) {
        if (auto v = map.get(key)) (this->*read)(*v);
    };
    section("eal", &Loader::eal);
    section("workers", &Loader::workers);
    if (auto v = map.require("zones", "a list of names, such as [inside, outside]")) zones(*v);
    if (auto v = map.require("ports", "a list of {name, device, zone}")) ports(*v);
    section("bridges", &Loader::bridges);
    section("helpers", &Loader::helpers);
    section("timeouts", &Loader::timeouts);
    section("limits", &Loader::limits);
    if (auto v = map.require("policy", "{default, rules}")) policy(*v);
    spec_.pipeline = schema_.default_pipeline;
    section("pipeline", &Loader::pipeline);
    section("control", &Loader::control);
    if (auto v = map.get("scanner_cache"))
        if (auto directory = v->text(kMaxPath)) {
            if (directory->empty() || directory->front() != '/')
                v->error(v->found() +
                         " is not a directory from the root (expected such as "
                         "/var/cache/postern)");
            spec_.scanner_cache = *directory;
        }
    map.finish();
    if (report_.clean()) advise();
    return std::move(spec_);
}

// --- eal ---------------------------------------------------------------------------------------

namespace {
struct OwnOption {
    std::string_view option;  // long, or a single letter
    std::string_view instead;
};
constexpr OwnOption kOwnOptions[] = {
    {"lcores", "workers.count and workers.cpus"},
    {"l", "workers.count and workers.cpus"},
    {"c", "workers.count and workers.cpus"},
    {"s", "workers.count and workers.cpus"},
    {"S", "workers.count and workers.cpus"},
    {"main-lcore", "workers.main_cpu"},
    {"m", "eal.memory_mb"},
    {"socket-mem", "eal.memory_mb"},
    {"no-huge", "eal.hugepages"},
    {"no-shconf", "eal.hugepages"},
    {"in-memory", "eal.hugepages"},
    {"huge-unlink", "eal.hugepages"},
    {"vdev", "ports"},
    {"a", "ports"},
    {"allow", "ports"},
    {"b", "ports"},
    {"block", "ports"},
    {"no-pci", "ports"},
    {"proc-type", "nothing: Postern is always its own primary process"},
    {"file-prefix", "nothing: Postern chooses one that is its own"},
    {"no-telemetry", "nothing: Postern has its own control socket"},
    {"telemetry", "nothing: Postern has its own control socket"},
    {"help", "nothing"},
    {"h", "nothing"},
    {"version", "nothing"},
    {"v", "nothing"},
};

const OwnOption* own_option(std::string_view arg) {
    if (arg == "--") return nullptr;
    if (arg.starts_with("--")) {
        // getopt_long takes any abbreviation, so "--vd=x" is "--vdev=x".
        const auto name = arg.substr(2, arg.find('=') - 2);
        for (const auto& o : kOwnOptions)
            if (o.option.size() > 1 && o.option.starts_with(name)) return &o;
    } else if (arg.starts_with('-')) {
        for (const auto& o : kOwnOptions)
            if (o.option.size() == 1 && arg.size() > 1 && arg[1] == o.option[0]) return &o;
    }
    return nullptr;
}
}  // namespace

void Loader::eal(const Value& v) {
    Map map(v);
    if (auto h = map.get("hugepages")) {
        // YAML readers differ on whether a bare yes is text or a truth value; both spellings do.
        constexpr std::string_view kWords[] = {"auto", "yes", "no", "true", "false"};
        constexpr Hugepages kValues[] = {Hugepages::automatic, Hugepages::yes, Hugepages::no,
                                         Hugepages::yes, Hugepages::no};
        if (auto i = h->choice(kWords, "a use of hugepages")) spec_.eal.hugepages = kValues[*i];
    }
    map.read("memory_mb", spec_.eal.memory_mb, {64, 1 << 20});
    if (auto list = map.get("args")) {
        for (const auto& item : list->list()) {
            const auto arg = item.text(4096);
            if (!arg) continue;
            if (*arg == "--")
                item.error("\"--\" ends the EAL's arguments and may not be given");
            else if (const auto* own = own_option(*arg))
                item.error(quoted(*arg) + " is set by Postern (use " + std::string(own->instead) +
                           ")");
            else
                spec_.eal.args.push_back(*arg);
        }
    }
    map.finish();
}

// --- workers -----------------------------------------------------------------------------------

void Loader::workers(const Value& v) {
    WorkersSpec& w = spec_.workers;
    constexpr Range kCpu{0, 1023};
    Map map(v);
    map.read("count", w.count, {1, kMaxWorkers});
    if (auto cpus = map.get("cpus"))
        for (const auto& item : cpus->one_or_more())
            if (auto n = item.number(kCpu)) w.cpus.push_back(static_cast<std::uint16_t>(*n));
    if (auto cpu = map.get("main_cpu"))
        if (auto n = cpu->number(kCpu)) w.main_cpu = static_cast<std::uint16_t>(*n);
    map.read("burst", w.burst, {1, kMaxBurst});
    if (auto idle = map.get("idle")) {
        Map m(*idle);
        m.read("spins", w.idle.spins, {0, 1'000'000'000});
        m.read("sleep_us", w.idle.sleep_us, {0, 10'000});
        m.finish();
    }
    map.finish();
}

// --- zones, ports, bridges ---------------------------------------------------------------------

void Loader::zones(const Value& v) {
    zone_names_.quiet_when_empty = true;
    const auto items = v.list();
    if (items.empty() && (v.is_null() || v.is_list())) v.error("expected at least one zone");
    for (const auto& item : items)
        if (auto name = item.name()) {
            if (*name == "any") {
                item.error("\"any\" cannot be a zone's name; in rules it means every zone");
                continue;
            }
            zone_names_.add(item, *name);
            spec_.zones.push_back(*name);
        }
    if (items.size() > kMaxZones)
        v.error(std::to_string(items.size()) + " zones (expected at most " +
                std::to_string(kMaxZones) + ")");
}

namespace {
/// What makes two `device:` texts the same device: a PCI address in full, or a virtual device's
/// name.
std::string device_identity(const PortSpec& port) {
    if (!port.is_pci()) return port.device.substr(0, port.device.find(','));
    std::string id = port.device.size() == 12 ? port.device : "0000:" + port.device;
    for (auto& c : id)
        if (c >= 'A' && c <= 'F') c = static_cast<char>(c - 'A' + 'a');
    return id;
}
}  // namespace

void Loader::ports(const Value& v) {
    const auto items = v.list();
    if (items.empty() && (v.is_null() || v.is_list())) v.error("expected at least one port");
    if (items.size() > kMaxPorts)
        v.error(std::to_string(items.size()) + " ports (expected at most " +
                std::to_string(kMaxPorts) + ")");
    port_names_.quiet_when_empty = true;
    std::set<std::string> devices;
    for (const auto& item : items) {
        PortSpec port;
        port.where = item.mark();
        Map map(item);
        if (auto name = map.require("name", "a name of your choice, such as in0"))
            if (auto s = name->name()) {
                port.name = *s;
                port_names_.add(*name, *s);
            }
        if (auto device = map.require("device", "a PCI address or a virtual device"))
            if (auto s = device->text(1024)) {
                port.device = *s;
                if (s->find_first_of(" \t") != std::string::npos)
                    device->error("a device has no spaces, found " + quoted(*s));
                else if (!devices.insert(device_identity(port)).second)
                    device->error("device " + quoted(device_identity(port)) + " is given twice");
            }
        if (auto zone = map.require("zone", "the name of its zone"))
            if (auto id = zone_names_.find(*zone)) port.zone = static_cast<ZoneId>(*id);
        if (auto queues = map.get("queues")) {
            // A queue that no worker polls would swallow its share of the packets.
            queues->read(port.queues, {1, spec_.workers.count});
        }
        map.read("mtu", port.mtu, {1280, 9600});
        if (auto checksums = map.get("checksums")) {
            static constexpr std::array<std::string_view, 3> kModes{"off", "nic", "full"};
            if (auto mode = checksums->choice(kModes, "a way to check them"))
                port.checksums = static_cast<ChecksumMode>(*mode);
        }
        map.finish();
        if (spec_.ports.size() < kMaxPorts) spec_.ports.push_back(std::move(port));
    }
}

void Loader::bridges(const Value& v) {
    std::set<std::size_t> bridged;
    for (const auto& item : v.list()) {
        BridgeSpec bridge;
        bridge.pass.ethertypes = {0x0806};
        bridge.pass.neighbour_discovery = true;
        Map map(item);
        if (auto ports = map.require("ports", "its two ports")) {
            const auto ends = ports->list();
            if (ends.size() != 2) {
                ports->error("expected exactly two ports, found " + std::to_string(ends.size()));
            } else {
                for (std::size_t i = 0; i < 2; ++i) {
                    const auto id = port_names_.find(ends[i]);
                    if (!id) continue;
                    if (!bridged.insert(*id).second)
                        ends[i].error("port " + ends[i].found() + " is already in a bridge");
                    bridge.ports[i] = static_cast<PortIndex>(*id);
                }
            }
        }
        if (auto p = map.get("pass")) bridge.pass = pass(*p);
        conntrack_zones(map, bridge);
        map.finish();
        spec_.bridges.push_back(std::move(bridge));
    }
}

void Loader::conntrack_zones(Map& map, BridgeSpec& bridge) {
    constexpr Range kZone{0, kCtZones - 1};
    const auto index = static_cast<CtZone>(spec_.bridges.size());
    const auto own = map.get("ct_zone");
    const auto vlans = map.get("vlan_zones");
    const auto word = vlans ? vlans->scalar() : std::nullopt;
    const bool per_vlan = word && *word == "per_vlan";
    bridge.ct_zone = index;
    // Apart from what bridges without zones of their own have, and from other bridges' VLANs.
    if (per_vlan) bridge.ct_zone = static_cast<CtZone>((index + 1) * kVlans);
    if (own) own->read(bridge.ct_zone, per_vlan ? Range{0, kCtZones - kVlans} : kZone);
    if (per_vlan) {
        for (unsigned id = 0; id < kVlans; ++id)
            bridge.vlan_zones.push_back(static_cast<CtZone>(bridge.ct_zone + id));
    } else if (word) {
        vlans->error(
            "expected per_vlan, or a mapping of VLAN ids to zones such as {100: 1}, found " +
            vlans->found());
    } else if (vlans) {
        bridge.vlan_zones.assign(kVlans, bridge.ct_zone);
        Map of(*vlans);
        for (const auto& item : of.items()) {
            const auto id = item.key.number({1, kVlans - 2});
            const auto zone = item.value.number(kZone);
            if (id && zone) bridge.vlan_zones[*id] = static_cast<CtZone>(*zone);
        }
    }
}

PassSpec Loader::pass(const Value& v) {
    struct Word {
        std::string_view name;
        std::uint16_t ethertype;  // 0: not an ethertype
    };
    static constexpr Word kWords[] = {{"all", 0},
                                      {"nd", 0},
                                      {"llc", 0},
                                      {"arp", 0x0806},
                                      {"rarp", 0x8035},
                                      {"lldp", 0x88cc},
                                      {"lacp", 0x8809},
                                      {"eapol", 0x888e},
                                      {"ptp", 0x88f7},
                                      {"mpls", 0x8847},
                                      {"pppoe-discovery", 0x8863},
                                      {"pppoe", 0x8864}};
    std::vector<std::string_view> names;
    for (const auto& w : kWords)
        names.push_back(w.name);

    PassSpec pass;
    // Here an empty list is plain: nothing passes.
    const auto items = v.scalar() ? v.one_or_more() : v.list();
    for (const auto& item : items) {
        const auto s = item.scalar();
        if (s && !s->empty() && s->front() >= '0' && s->front() <= '9') {
            const auto n = item.number({0x0600, 0xffff});
            if (!n) continue;
            if (*n == 0x0800 || *n == 0x86dd)
                item.error("IP cannot be passed unseen; write rules in policy");
            else if (*n == 0x8100 || *n == 0x88a8)
                item.error("VLAN tags are looked through; name what is inside them");
            else
                pass.ethertypes.push_back(static_cast<std::uint16_t>(*n));
            continue;
        }
        const auto i = item.choice(names, "an ethertype, by name or as a number such as 0x88cc");
        if (!i) continue;
        const Word& w = kWords[*i];
        if (w.ethertype != 0)
            pass.ethertypes.push_back(w.ethertype);
        else if (w.name == "all")
            pass.all_non_ip = true;
        else if (w.name == "nd")
            pass.neighbour_discovery = true;
        else
            pass.llc = true;
    }
    std::sort(pass.ethertypes.begin(), pass.ethertypes.end());
    pass.ethertypes.erase(std::unique(pass.ethertypes.begin(), pass.ethertypes.end()),
                          pass.ethertypes.end());
    return pass;
}

// --- helpers -----------------------------------------------------------------------------------

void Loader::helpers(const Value& v) {
    std::vector<std::string_view> kinds;
    for (const auto& h : schema_.helpers)
        kinds.push_back(h.name);
    const auto items = v.list();
    if (items.size() > kMaxHelpers - 1)
        v.error(std::to_string(items.size()) + " helpers (expected at most " +
                std::to_string(kMaxHelpers - 1) + ")");
    for (const auto& item : items) {
        HelperSpec helper;
        helper.where = item.mark();
        Map map(item);
        const auto name = map.require("name", "a name of your choice, such as ftp");
        const auto process = map.get("userspace");
        const auto kind_value = map.get("helper");
        if (process && kind_value)
            kind_value->error("a helper in another process (`userspace`) has no kind");
        std::optional<std::size_t> kind;
        if (name)
            if (auto s = name->name()) {
                helper.name = *s;
                helper_names_.add(*name, *s);
                if (process && std::count(kinds.begin(), kinds.end(), *s) != 0)
                    name->error(quoted(*s) +
                                " is a helper of this build; one in another process "
                                "needs another name");
                if (!kind_value && !process)
                    kind = name->choice(kinds, "a helper; give its kind by `helper:`");
            }
        if (kind_value && !process) kind = kind_value->choice(kinds, "a helper");
        const auto ports = map.get("ports");
        const auto params = map.get("params");
        if (kind) {
            const HelperSchema& schema = schema_.helpers[*kind];
            helper.kind = schema.name;
            helper.protocols = schema.protocols;
            helper.ports = schema.ports;
            helper_params(params ? &*params : nullptr, schema.params, helper);
        } else if (process) {
            helper.kind = helper.name;
            helper.userspace = userspace(*process, helper);
            helper_params(params ? &*params : nullptr, schema_.userspace_params, helper);
        }
        if (ports) {
            helper.ports.clear();
            for (const auto& p : ports->one_or_more())
                if (auto n = p.number({1, 65535})) {
                    const auto port = static_cast<std::uint16_t>(*n);
                    if (std::count(helper.ports.begin(), helper.ports.end(), port))
                        p.error("port " + std::to_string(port) + " is given twice");
                    else
                        helper.ports.push_back(port);
                }
        }
        if (auto assign = map.get("auto_assign"))
            if (auto on = assign->flag()) helper.auto_assign = *on;
        map.finish();
        spec_.helpers.push_back(std::move(helper));
    }
}

void Loader::helper_params(const Value* v, const std::vector<ParamSchema>& params,
                           HelperSpec& helper) {
    std::optional<Map> map;
    if (v) map.emplace(*v);
    for (const auto& p : params) {
        ParamValue value = p.fallback;
        if (auto given = map ? map->get(p.name) : std::nullopt) {
            if (std::holds_alternative<bool>(value)) {
                if (auto b = given->flag()) value = *b;
            } else if (std::holds_alternative<std::uint64_t>(value)) {
                if (auto n = given->number({p.min, p.max})) value = *n;
            } else if (auto s = given->text()) {
                if (const std::string what = p.problem ? p.problem(*s) : ""; !what.empty())
                    given->error(what);
                value = *s;
            }
        }
        helper.params.push_back({p.name, std::move(value)});
    }
    if (map) map->finish();
}

UserspaceSpec Loader::userspace(const Value& v, HelperSpec& helper) {
    static constexpr std::array<std::string_view, 2> kTransports{"tcp", "udp"};
    static constexpr std::array<std::uint8_t, 2> kProtocols{proto::tcp, proto::udp};
    static constexpr std::array<std::string_view, 2> kFramings{"lines", "stream"};
    static constexpr std::size_t kMaxClasses = 4;
    UserspaceSpec out;
    Map map(v);
    if (const auto transports = map.require("transports", "[tcp], [udp] or both"))
        for (const auto& t : transports->one_or_more())
            if (const auto i = t.choice(kTransports, "a transport")) {
                if (std::count(helper.protocols.begin(), helper.protocols.end(), kProtocols[*i]))
                    t.error(quoted(kTransports[*i]) + " is given twice");
                else
                    helper.protocols.push_back(kProtocols[*i]);
            }
    if (const auto framing = map.get("framing"))
        if (const auto i = framing->choice(kFramings, "a framing")) out.stream = *i == 1;
    if (const auto proof = map.get("proof"))
        if (const auto on = proof->flag()) out.proof = *on;
    map.read("data_len", out.data_bytes, {0, 32});
    if (const auto bypass = map.get("bypass"))
        if (const auto on = bypass->flag()) out.bypass = *on;
    map.read("wait_ms", out.wait_ms, {1, 60000});
    map.read("queue", out.queue, {1, 65536, Unit::size});
    if (const auto socket = map.get("socket"))
        if (auto path = socket->text(kMaxSocketPath)) out.socket = *path;
    if (const auto classes = map.require("classes", "a list of what it expects")) {
        const auto items = classes->list();
        if (items.empty() || items.size() > kMaxClasses)
            classes->error(std::to_string(items.size()) + " classes (expected 1 to 4)");
        for (const auto& item : items) {
            UserspaceSpec::Class c;
            Map of(item);
            if (const auto name = of.require("name", "a name of your choice, such as data"))
                if (auto s = name->name()) {
                    if (std::any_of(out.classes.begin(), out.classes.end(),
                                    [&](const auto& other) { return other.name == *s; }))
                        name->error(quoted(*s) + " is given twice");
                    c.name = *s;
                }
            if (const auto protocol = of.require("proto", "tcp or udp"))
                if (const auto i = protocol->choice(kTransports, "a protocol it may open"))
                    c.protocol = kProtocols[*i];
            of.read("max", c.max, {1, 255});
            of.read("timeout", c.timeout_s, {1, kMaxTimeoutS, Unit::seconds});
            of.finish();
            out.classes.push_back(std::move(c));
        }
    }
    map.finish();
    return out;
}

// --- timeouts, limits --------------------------------------------------------------------------

void Loader::timeouts(const Value& v) {
    Map map(v);
    timeouts_of(map, spec_.timeouts);
    if (auto profiles = map.get("profiles")) {
        Map of(*profiles);
        for (const auto& item : of.items()) {
            TimeoutProfileSpec profile;
            if (auto name = item.key.name()) profile.name = *name;
            if (profile.name == "linux" || profile.name == "rfc" || profile.name == "default")
                item.key.error(quoted(profile.name) + " has its meaning already");
            // Those before it may be its base.
            Map one(item.value);
            timeouts_of(one, profile.timeouts);
            one.finish();
            timeout_profiles_.push_back(std::move(profile));
        }
    }
    map.finish();
}

/// `base`, and what differs from it.
void Loader::timeouts_of(Map& map, TimeoutsSpec& t) {
    constexpr Range kTimeout{1, kMaxTimeoutS, Unit::seconds};
    if (auto base = map.get("base")) {
        std::vector<std::string_view> names;
        for (const auto& p : timeout_profiles_)
            names.push_back(p.name);
        if (auto i = base->choice(names, "a profile of timeouts above"))
            t = timeout_profiles_[*i].timeouts;
    }
    struct Entry {
        std::string_view key;
        std::uint32_t* out;
    };
    const auto group = [&](std::string_view key, std::initializer_list<Entry> entries) {
        const auto section = map.get(key);
        if (!section) return;
        Map m(*section);
        for (const auto& e : entries)
            m.read(e.key, *e.out, kTimeout);
        m.finish();
    };
    group("tcp", {{"syn_sent", &t.tcp.syn_sent_s},
                  {"syn_recv", &t.tcp.syn_recv_s},
                  {"established", &t.tcp.established_s},
                  {"fin_wait", &t.tcp.fin_wait_s},
                  {"close_wait", &t.tcp.close_wait_s},
                  {"last_ack", &t.tcp.last_ack_s},
                  {"time_wait", &t.tcp.time_wait_s},
                  {"close", &t.tcp.close_s},
                  {"syn_sent2", &t.tcp.syn_sent2_s},
                  {"unacknowledged", &t.tcp.unacknowledged_s},
                  {"retransmitted", &t.tcp.retransmitted_s}});
    group("sctp", {{"closed", &t.sctp.closed_s},
                   {"cookie_wait", &t.sctp.cookie_wait_s},
                   {"cookie_echoed", &t.sctp.cookie_echoed_s},
                   {"established", &t.sctp.established_s},
                   {"shutdown_sent", &t.sctp.shutdown_sent_s},
                   {"shutdown_recd", &t.sctp.shutdown_recd_s},
                   {"shutdown_ack_sent", &t.sctp.shutdown_ack_sent_s},
                   {"heartbeat_sent", &t.sctp.heartbeat_sent_s}});
    group("dccp", {{"request", &t.dccp.request_s},
                   {"respond", &t.dccp.respond_s},
                   {"partopen", &t.dccp.partopen_s},
                   {"open", &t.dccp.open_s},
                   {"closereq", &t.dccp.closereq_s},
                   {"closing", &t.dccp.closing_s},
                   {"timewait", &t.dccp.timewait_s}});
    group("udp", {{"unreplied", &t.udp.unreplied_s}, {"stream", &t.udp.stream_s}});
    group("gre", {{"unreplied", &t.gre_unreplied_s},
                  {"stream", &t.gre_stream_s},
                  {"expected_unreplied", &t.gre_expected_unreplied_s},
                  {"expected_stream", &t.gre_expected_stream_s}});
    group("icmp", {{"request", &t.icmp_request_s}});
    group("icmpv6", {{"request", &t.icmpv6_request_s}});
    group("generic", {{"timeout", &t.generic_s}});
}

/// The number by which RuleSpec::timeouts knows a profile; it becomes one of the Spec's.
std::uint8_t Loader::timeout_profile(const Value& v) {
    std::vector<std::string_view> names;
    for (const auto& p : timeout_profiles_)
        names.push_back(p.name);
    const auto chosen = v.choice(names, "a profile of timeouts");
    if (!chosen) return 0;
    auto& used = spec_.timeout_profiles;
    const TimeoutProfileSpec& profile = timeout_profiles_[*chosen];
    const auto at = static_cast<std::size_t>(
        std::find_if(used.begin(), used.end(),
                     [&](const TimeoutProfileSpec& p) { return p.name == profile.name; }) -
        used.begin());
    if (at == used.size()) {
        if (at == kMaxTimeoutNames) {
            v.error("rules use more than " + std::to_string(kMaxTimeoutNames) +
                    " profiles of timeouts");
            return 0;
        }
        used.push_back(profile);
    }
    return static_cast<std::uint8_t>(at + 1);
}

void Loader::limits(const Value& v) {
    LimitsSpec& l = spec_.limits;
    Map map(v);
    map.read("connections", l.connections, {64, 256u << 20, Unit::size});
    map.read("expectations", l.expectations, {16, 16u << 20, Unit::size});
    // A connection that is helped is a connection, so there cannot be more of the former.
    l.helped_connections = std::min(l.helped_connections, l.connections);
    map.read("helped_connections", l.helped_connections,
             {16, std::min<std::uint64_t>(16u << 20, l.connections), Unit::size});
    map.read("stream_buffer", l.stream_buffer_bytes, {512, 32768, Unit::size});
    map.read("fragments", l.fragments, {64, 1u << 20, Unit::size});
    if (auto source = map.get("per_source")) {
        Map of(*source);
        of.read("half_open", l.half_open_per_source, {0, 60000, Unit::size});
        of.read("new_per_second", l.new_per_second_per_source, {0, 60000, Unit::size});
        of.finish();
    }
    if (auto per = map.get("expectations_per")) {
        constexpr Range kCount{0, 16u << 20, Unit::size};
        Map of(*per);
        if (auto zone = of.get("zone")) {
            if (zone->is_map()) {
                Map zones(*zone);
                for (const auto& item : zones.items()) {
                    const auto id = item.key.number({0, kCtZones - 1});
                    const auto max = item.value.number(kCount);
                    if (id && max)
                        l.expectations_of_zones.emplace_back(static_cast<CtZone>(*id),
                                                             static_cast<std::uint32_t>(*max));
                }
            } else {
                zone->read(l.expectations_per_zone, kCount);
            }
        }
        of.read("source", l.expectations_per_source, kCount);
        of.read("destination", l.expectations_per_destination, {1, 65535, Unit::size});
        of.finish();
    }
    l.per_zone.assign(spec_.zones.size(), 0);
    if (auto zones = map.get("per_zone")) {
        Map of(*zones);
        for (std::size_t z = 0; z < spec_.zones.size(); ++z)
            of.read(spec_.zones[z], l.per_zone[z], {0, 256u << 20, Unit::size});
        of.finish();
    }
    map.finish();
}

// --- pipeline, control -------------------------------------------------------------------------

void Loader::pipeline(const Value& v) {
    const std::vector<std::string_view> known(schema_.stages.begin(), schema_.stages.end());
    spec_.pipeline.clear();
    std::set<std::size_t> seen;
    const auto items = v.one_or_more();
    bool clean = !items.empty();
    for (const auto& item : items) {
        const auto i = item.choice(known, "a stage");
        const bool first = i && seen.insert(*i).second;
        if (i && !first) item.error(item.found() + " is given twice");
        if (first) spec_.pipeline.push_back(schema_.stages[*i]);
        clean = clean && first;
    }
    if (!clean || !schema_.order_problem) return;
    if (const auto wrong = schema_.order_problem(spec_.pipeline))
        (wrong->first < items.size() ? items[wrong->first] : v).error(wrong->second);
}

void Loader::control(const Value& v) {
    Map map(v);
    if (auto socket = map.get("socket"))
        if (auto s = socket->text(kMaxSocketPath)) spec_.control.socket = *s;
    map.finish();
}

}  // namespace config

// --- entry points ------------------------------------------------------------------------------

std::string Diagnostic::to_string() const {
    std::string out = file;
    if (line != 0) out += ":" + std::to_string(line) + ":" + std::to_string(column);
    return out + ": " + message;
}

LoadResult load_spec_text(std::string_view text, const std::string& name, const Schema& schema) {
    LoadResult result;
    const auto fail = [&](unsigned line, unsigned column, std::string message) {
        result.spec.reset();
        result.errors.push_back({name, line, column, std::move(message)});
        return std::move(result);
    };
    try {
        const auto documents = YAML::LoadAll(std::string(text));
        if (documents.empty() || (documents.size() == 1 && documents[0].IsNull()))
            return fail(0, 0, "the file is empty (expected at least zones, ports and policy)");
        config::Report report(name);
        if (documents.size() > 1)
            return fail(static_cast<unsigned>(documents[1].Mark().line + 1), 1,
                        "a second document begins (expected one document a file)");
        Spec spec = config::Loader(report, schema).load(documents[0]);
        if (report.clean()) result.spec = std::move(spec);
        report.move_to(result);
        return result;
    } catch (const YAML::Exception& e) {
        return e.mark.is_null()
                   ? fail(0, 0, "not valid YAML: " + e.msg)
                   : fail(static_cast<unsigned>(e.mark.line) + 1,
                          static_cast<unsigned>(e.mark.column) + 1, "not valid YAML: " + e.msg);
    } catch (const std::exception& e) {
        return fail(0, 0, std::string("cannot be read: ") + e.what());
    }
}

LoadResult load_spec(const std::string& path, const Schema& schema) {
    LoadResult result;
    const auto fail = [&](const std::string& message) {
        result.errors.push_back({path, 0, 0, message});
        return std::move(result);
    };
    try {
        const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rb"),
                                                                   &std::fclose);
        if (!file) return fail(std::string("cannot be opened: ") + std::strerror(errno));
        std::string text;
        std::array<char, 65536> block;
        while (const std::size_t n = std::fread(block.data(), 1, block.size(), file.get())) {
            text.append(block.data(), n);
            if (text.size() > config::kMaxFileBytes)
                return fail("too large (expected at most 64 MiB)");
        }
        if (std::ferror(file.get()))
            return fail(std::string("cannot be read: ") + std::strerror(errno));
        return load_spec_text(text, path, schema);
    } catch (const std::exception& e) {
        return fail(std::string("cannot be read: ") + e.what());
    }
}

}  // namespace postern
