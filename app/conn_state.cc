// SPDX-License-Identifier: BSD-3-Clause
#include "conn_state.h"

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstring>
#include <limits>
#include <optional>
#include <span>
#include <vector>

#include "net/rss.h"

namespace postern {
namespace {

// ---- bytes and names ----

std::string hex_of(std::span<const std::uint8_t> bytes) {
    constexpr char kDigits[] = "0123456789abcdef";
    std::string out;
    for (const std::uint8_t b : bytes) {
        out += kDigits[b >> 4];
        out += kDigits[b & 15];
    }
    return out;
}

std::optional<std::vector<std::uint8_t>> bytes_of(const std::string& hex) {
    if (hex.size() % 2 != 0) return std::nullopt;
    std::vector<std::uint8_t> out(hex.size() / 2);
    for (std::size_t i = 0; i < out.size(); ++i) {
        const char* at = hex.data() + 2 * i;
        if (const auto [end, ec] = std::from_chars(at, at + 2, out[i], 16); end != at + 2)
            return std::nullopt;
    }
    return out;
}

template <class T>
std::span<const std::uint8_t> as_bytes(const T& value) {
    return {reinterpret_cast<const std::uint8_t*>(&value), sizeof value};
}

struct FlagName {
    std::uint8_t bit;
    const char* name;
};
constexpr FlagName kConnFlags[] = {{conn_flag::seen_reply, "seen_reply"},
                                   {conn_flag::assured, "assured"},
                                   {conn_flag::expected, "expected"},
                                   {conn_flag::liberal, "liberal"}};
constexpr FlagName kSideFlags[] = {
    {tcp_side::window_scale, "window_scale"}, {tcp_side::sack, "sack"},
    {tcp_side::close_init, "close_init"},     {tcp_side::liberal, "liberal"},
    {tcp_side::data_unacked, "data_unacked"}, {tcp_side::max_ack_set, "max_ack_set"}};
constexpr FlagName kExpectFlags[] = {{expect_flag::permanent, "permanent"},
                                     {expect_flag::inactive, "inactive"},
                                     {expect_flag::userspace, "userspace"}};
constexpr std::string_view kStreamStates[] = {"unseen", "open", "ended", "blind"};

Json flags_json(std::uint8_t flags, std::span<const FlagName> names) {
    Json out = Json::array();
    for (const FlagName& f : names)
        if ((flags & f.bit) != 0) out.push_back(f.name);
    return out;
}

/// Changes with the shape of what a helper keeps in its private state, as far as can be told.
std::string version_of(const HelperDesc& desc) {
    std::uint64_t h = 0xcbf29ce484222325u;
    const auto add = [&h](std::string_view text) {
        for (const char c : text)
            h = (h ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
        h = (h ^ 0xff) * 0x100000001b3u;
    };
    add(desc.name);
    for (const ExpectClass& c : desc.classes)
        add(c.name);
    for (const ParamDesc& p : desc.params)
        add(p.name);
    for (const CounterDesc& c : desc.counters)
        add(c.name);
    for (const PatternDesc& p : desc.patterns)
        add(p.expression);
    for (const StateField& f : desc.state)
        add(f.name), add(std::to_string(f.offset) + "/" + std::to_string(f.bytes));
    return hex_of(as_bytes(h));
}

Json helper_or_null(const Plan& plan, HelperId id) {
    return id == kNoHelper ? Json(nullptr) : Json(plan.helpers[id - 1u].name);
}
Json id_or_null(ConnId id) {
    return id ? Json(id_text(id)) : Json(nullptr);
}

Json tuple_into(Json out, const Tuple& t) {
    out["proto"] = protocol_name(t.protocol);
    out["src"] = t.src.to_string();
    out["sport"] = t.sport.host();
    out["dst"] = t.dst.to_string();
    out["dport"] = t.dport.host();
    return out;
}

// ---- reading with complaints ----

/// Fields of one object; what is wrong with the first bad one stays in the Reader.
struct Problem {
    std::string text;
};
class Fields {
  public:
    Fields(const Json& object, std::string where, Problem& problem)
        : object_(object), where_(std::move(where)), problem_(problem) {
        if (!object_.is_object()) wrong("", "expected an object");
    }

    void wrong(std::string_view key, const std::string& what) {
        if (problem_.text.empty())
            problem_.text = where_ + (key.empty() ? "" : "." + std::string(key)) + ": " + what;
    }
    const Json& at(const char* key) {
        static const Json kNull;
        if (object_.is_object() && object_.contains(key)) return object_[key];
        wrong(key, "is missing");
        return kNull;
    }
    std::uint64_t number(const char* key, std::uint64_t max) { return number(at(key), key, max); }
    std::uint64_t number(const Json& v, std::string_view key, std::uint64_t max) {
        if (v.is_number_unsigned() && v.get<std::uint64_t>() <= max) return v.get<std::uint64_t>();
        wrong(key, "expected a number up to " + std::to_string(max));
        return 0;
    }
    template <class T>
    void read(const char* key, T& out) {
        out = static_cast<T>(number(key, std::numeric_limits<T>::max()));
    }
    bool flag(const char* key) {
        const Json& v = at(key);
        if (!v.is_boolean()) wrong(key, "expected true or false");
        return v.is_boolean() && v.get<bool>();
    }
    /// Empty for null.
    std::string text(const char* key) {
        const Json& v = at(key);
        if (v.is_string()) return v.get<std::string>();
        if (!v.is_null()) wrong(key, "expected text or null");
        return {};
    }
    IpAddr address(const char* key) {
        const auto a = IpAddr::parse(text(key));
        if (!a) wrong(key, "expected an IP address");
        return a.value_or(IpAddr{});
    }
    std::uint8_t flags(const char* key, std::span<const FlagName> names) {
        std::uint8_t out = 0;
        const Json& list = at(key);
        if (!list.is_array()) wrong(key, "expected a list");
        for (const Json& item : list) {
            const auto found = std::find_if(names.begin(), names.end(), [&](const FlagName& f) {
                return item.is_string() && item.get<std::string>() == f.name;
            });
            if (found == names.end())
                wrong(key, item.dump() + " is no flag");
            else
                out |= found->bit;
        }
        return out;
    }
    std::vector<std::uint8_t> bytes(const char* key, std::size_t max) {
        const auto out = bytes_of(text(key));
        if (!out || out->size() > max)
            wrong(key, "expected at most " + std::to_string(max) + " bytes in hexadecimal");
        return out && out->size() <= max ? *out : std::vector<std::uint8_t>();
    }
    /// What a tracker keeps, all of it. Its bytes, too.
    template <class T>
    std::vector<std::uint8_t> raw(const char* key, T& out) {
        auto all = bytes(key, sizeof out);
        if (all.size() == sizeof out)
            std::memcpy(static_cast<void*>(&out), all.data(), sizeof out);
        else
            wrong(key, "expected " + std::to_string(sizeof out) + " bytes");
        return all;
    }
    /// The two elements of a list, by Direction.
    Fields of(const char* key, unsigned direction) {
        static const Json kNull;
        const Json& list = at(key);
        const bool good = list.is_array() && list.size() == 2;
        if (!good) wrong(key, "expected a list of two");
        return Fields(good ? list[direction] : kNull,
                      where_ + "." + key + "[" + std::to_string(direction) + "]", problem_);
    }
    Fields inner(const char* key) { return Fields(at(key), where_ + "." + key, problem_); }
    const Json& object() const { return object_; }

  private:
    const Json& object_;
    std::string where_;
    Problem& problem_;
};

Tuple read_tuple(Fields& f) {
    Tuple t;
    const auto protocol = parse_protocol(f.text("proto"));
    if (!protocol) f.wrong("proto", "expected a protocol");
    t.protocol = protocol.value_or(0);
    t.src = f.address("src");
    t.dst = f.address("dst");
    if (t.src.family != t.dst.family) f.wrong("dst", "is of another family than src");
    t.sport = Be16::from_host(static_cast<std::uint16_t>(f.number("sport", 65535)));
    t.dport = Be16::from_host(static_cast<std::uint16_t>(f.number("dport", 65535)));
    return t;
}

/// The place of a name in a list; nothing when it is not there or the field is null.
template <class List, class Name>
std::optional<std::size_t> place(const List& list, const std::string& name, Name name_of) {
    for (std::size_t i = 0; i < list.size(); ++i)
        if (!name.empty() && name_of(list[i]) == name) return i;
    return std::nullopt;
}

HelperId helper_of(const Plan& plan, const std::string& name) {
    const auto i = place(plan.helpers, name, [](const HelperPlan& h) { return h.name; });
    return i ? static_cast<HelperId>(*i + 1) : kNoHelper;
}
RuleId rule_of(const Plan& plan, const std::string& name) {
    const auto i = place(plan.rules, name, [](const std::string& r) { return r; });
    return i ? static_cast<RuleId>(*i) : kNoRule;
}

// ---- TCP ----

Json tcp_json(const Conn& c) {
    Json sides = Json::array();
    for (const TcpSide& s : c.tcp.side)
        sides.push_back({{"end", s.end},
                         {"max_end", s.max_end},
                         {"max_win", s.max_win},
                         {"max_ack", s.max_ack},
                         {"scale", s.scale},
                         {"flags", flags_json(s.flags, kSideFlags)}});
    return sides;
}

void read_tcp(Fields& f, Conn& c) {
    c.tcp = {};
    for (unsigned d = 0; d < 2; ++d) {
        Fields side = f.of("tcp", d);
        TcpSide& s = c.tcp.side[d];
        side.read("end", s.end);
        side.read("max_end", s.max_end);
        side.read("max_win", s.max_win);
        side.read("max_ack", s.max_ack);
        s.scale = static_cast<std::uint8_t>(side.number("scale", 14));
        s.flags = side.flags("flags", kSideFlags);
    }
}

// ---- the helper's part ----

Json helper_json(const HelperImage& image, const HelperDesc& desc) {
    const HelperConn& h = image.conn;
    Json streams = Json::array();
    for (unsigned d = 0; d < 2; ++d) {
        const Stream& s = h.stream[d];
        streams.push_back({{"state", kStreamStates[static_cast<unsigned>(s.state)]},
                           {"next_seq", s.next_seq},
                           {"fin_seq", s.fin_seen ? Json(s.fin_seq) : Json(nullptr)},
                           {"has_data", s.has_data},
                           {"read_all", s.read_all},
                           {"skip", h.skip[d]},
                           {"waiting", hex_of(Bytes{image.waiting[d]}.first(s.fill))}});
    }
    Json state = Json::object();
    for (const StateField& field : desc.state) {
        const auto bytes = std::span(h.state).subspan(field.offset, field.bytes);
        std::uint32_t number = 0;
        if (field.bytes <= 4) {
            std::memcpy(&number, bytes.data(), bytes.size());
            state[std::string(field.name)] = number;
        } else {
            state[std::string(field.name)] = hex_of(bytes);
        }
    }
    if (desc.state.empty()) state = {{"bytes", hex_of(h.state)}, {"of", version_of(desc)}};
    return {{"proven", h.proven},
            {"min_timeout_s", h.min_timeout_s},
            {"streams", streams},
            {"state", state}};
}

/// False: the state is bytes of another build.
bool read_state(Fields f, const HelperDesc& desc, HelperConn& h) {
    if (desc.state.empty()) {
        const auto bytes = f.bytes("bytes", kPrivateBytes);
        std::copy(bytes.begin(), bytes.end(), h.state.begin());
        return f.text("of") == version_of(desc) && bytes.size() == kPrivateBytes;
    }
    for (const StateField& field : desc.state) {
        const std::string name(field.name);
        std::uint8_t* to = h.state.data() + field.offset;
        if (field.bytes <= 4) {
            const std::uint64_t max = (std::uint64_t{1} << 8 * field.bytes) - 1;
            const auto number = static_cast<std::uint32_t>(f.number(name.c_str(), max));
            std::memcpy(to, &number, field.bytes);
        } else {
            const auto bytes = f.bytes(name.c_str(), field.bytes);
            if (bytes.size() != field.bytes)
                f.wrong(name, "expected " + std::to_string(field.bytes) + " bytes");
            std::copy(bytes.begin(), bytes.end(), to);
        }
    }
    if (f.object().is_object() && f.object().size() != desc.state.size())
        f.wrong("", "has fields that this helper does not know");
    return true;
}

bool read_helper(Fields f, const HelperDesc& desc, HelperImage& image) {
    HelperConn& h = image.conn;
    h.proven = f.flag("proven");
    f.read("min_timeout_s", h.min_timeout_s);
    for (unsigned d = 0; d < 2; ++d) {
        Fields stream = f.of("streams", d);
        Stream& s = h.stream[d];
        const auto state = place(std::span(kStreamStates), stream.text("state"),
                                 [](std::string_view name) { return name; });
        if (!state) stream.wrong("state", "expected unseen, open, ended or blind");
        s.state = static_cast<StreamState>(state.value_or(0));
        stream.read("next_seq", s.next_seq);
        s.fin_seen = !stream.at("fin_seq").is_null();
        if (s.fin_seen) stream.read("fin_seq", s.fin_seq);
        s.has_data = stream.flag("has_data");
        s.read_all = stream.flag("read_all");
        stream.read("skip", h.skip[d]);
        const auto waiting = stream.bytes("waiting", HelperImage::kWaiting);
        s.fill = static_cast<std::uint16_t>(waiting.size());
        std::copy(waiting.begin(), waiting.end(), image.waiting[d].begin());
    }
    return read_state(f.inner("state"), desc, h);
}

}  // namespace

bool can_be_saved(const Conn& conn) noexcept {
    switch (conn.protocol()) {
        case proto::tcp:
        case proto::udp:
        case proto::udplite:
        case proto::sctp:
        case proto::dccp: return true;
        default: return false;
    }
}

std::string id_text(ConnId id) {
    return std::to_string(id.worker) + "/" + std::to_string(id.index) + "." +
           std::to_string(id.generation);
}

WorkerId home_of(const Plan& plan, const Tuple& t) noexcept {
    const unsigned n = address_bytes(t.src.family);
    const unsigned folded = fold16(t.src.bytes.data(), n) ^ fold16(t.dst.bytes.data(), n) ^
                            t.sport.host() ^ t.dport.host();
    return plan.home(symmetric_toeplitz(static_cast<std::uint16_t>(folded)));
}

Json connection_record(Firewall& fw, WorkerId worker, const Mailbox::Row& row) {
    const Plan& plan = fw.plan();
    const Conn& c = row.conn;
    Json out = tuple_into(
        {{"id", id_text({row.slot, c.generation, worker})}, {"master", id_or_null(c.master)}},
        c.tuple());
    out["ct_zone"] = c.zone();
    out["from"] = plan.zones[c.from];
    out["rule"] = c.rule == kNoRule ? Json(nullptr) : Json(plan.rules[c.rule]);
    out["timeouts"] = c.timeouts == 0 ? Json(nullptr) : Json(plan.timeout_names[c.timeouts - 1u]);
    out["expected_by"] = helper_or_null(plan, c.expected_by);
    out["mark"] = c.mark;
    out["label"] = c.label;
    out["flags"] = flags_json(c.flags, kConnFlags);
    out["state"] = c.state_name() != nullptr ? Json(c.state_name()) : Json(c.state);
    out["timeout_ms"] = c.timeout_ms;
    out["idle_ms"] = row.now.ms - c.last_seen_ms;
    out["age_ms"] = row.now.ms - c.start_ms;
    out["packets"] = {c.packets[0], c.packets[1]};
    out["bytes"] = {c.bytes[0], c.bytes[1]};
    if (c.protocol() == proto::tcp)
        out["tcp"] = tcp_json(c), out["tracker"] = hex_of(as_bytes(c.tcp_last));
    else if (c.protocol() == proto::sctp)
        out["tracker"] = hex_of(as_bytes(c.sctp));
    else if (c.protocol() == proto::dccp)
        out["tracker"] = hex_of(as_bytes(c.dccp));
    out["helper"] = helper_or_null(plan, c.helper);
    if (row.helper.there && c.helper != kNoHelper)
        out["private"] = helper_json(row.helper, *fw.helpers().find(c.helper)->desc);
    out["expects_by_rule"] = row.helper.there && c.helper == kNoHelper;
    return {{"connection", out}};
}

Result<SavedConnection> read_connection(Firewall& fw, const Json& record) {
    const Plan& plan = fw.plan();
    Problem problem;
    Fields f(record, "connection", problem);
    SavedConnection out;
    Conn& c = out.image.conn;
    const Tuple t = read_tuple(f);
    std::copy(t.src.bytes.begin(), t.src.bytes.end(), c.src);
    std::copy(t.dst.bytes.begin(), t.dst.bytes.end(), c.dst);
    c.sport = t.sport;
    c.dport = t.dport;
    c.key.protocol = t.protocol;
    c.key.family = static_cast<std::uint8_t>(t.src.family);
    f.read("ct_zone", c.key.zone);
    if (!can_be_saved(c)) f.wrong("proto", "connections of this protocol are not restored");
    out.id = f.text("id");
    out.master = f.text("master");
    const auto zone = place(plan.zones, f.text("from"), [](const std::string& z) { return z; });
    if (!zone) f.wrong("from", "there is no zone of this name");
    c.from = static_cast<std::uint8_t>(zone.value_or(0));
    c.rule = rule_of(plan, f.text("rule"));
    const auto profile =
        place(plan.timeout_names, f.text("timeouts"), [](const std::string& n) { return n; });
    c.timeouts = profile ? static_cast<std::uint8_t>(*profile + 1) : std::uint8_t{0};
    c.expected_by = helper_of(plan, f.text("expected_by"));
    f.read("mark", c.mark);
    f.read("label", c.label);
    c.flags = f.flags("flags", kConnFlags);
    f.read("timeout_ms", c.timeout_ms);
    f.read("idle_ms", out.idle_ms);
    f.read("age_ms", out.age_ms);
    for (const auto& [key, to] : {std::pair("packets", c.packets), std::pair("bytes", c.bytes)}) {
        const Json& two = f.at(key);
        if (!two.is_array() || two.size() != 2) {
            f.wrong(key, "expected a list of two numbers");
            continue;
        }
        for (unsigned d = 0; d < 2; ++d)
            to[d] = f.number(two[d], key, UINT64_MAX);
    }
    const unsigned states = t.protocol == proto::tcp    ? kTcpStates
                            : t.protocol == proto::sctp ? kSctpStates
                            : t.protocol == proto::dccp ? kDccpStates
                                                        : 0;
    if (states == 0) {
        c.state = static_cast<std::uint8_t>(f.number("state", 1));
    } else {
        const std::string wanted = f.text("state");
        for (c.state = 0; c.state < states && wanted != c.state_name();)
            ++c.state;
        if (c.state == states) {
            c.state = 0;
            f.wrong("state", "this protocol has no such state");
        }
    }
    const auto damaged = [&] {
        c.tcp = {};
        c.tcp_last = {};
        f.wrong("tracker", "is damaged");
    };
    if (t.protocol == proto::tcp) {
        read_tcp(f, c);
        f.raw("tracker", c.tcp_last);
        if (c.tcp_last.kind >= TcpKind::kCount || c.tcp_last.dir > 1) damaged();
    } else if (t.protocol == proto::sctp) {
        c.sctp = {};
        const auto bytes = f.raw("tracker", c.sctp);
        for (std::size_t i = offsetof(SctpTrack, init); i < bytes.size(); ++i)
            if (bytes[i] > 1) damaged();  // truth values and a Direction
    } else if (t.protocol == proto::dccp) {
        c.dccp = {};
        f.raw("tracker", c.dccp);
        if (c.dccp.client > 1 || c.dccp.last_dir > 1) damaged();
    }
    HelperImage& helper = out.image.helper;
    const std::string name = f.text("helper");
    const HelperId id = helper_of(plan, name);
    if (id != kNoHelper && !plan.helpers[id - 1u].speaks(t.protocol))
        f.wrong("helper", "does not read this protocol");
    if (id != kNoHelper) {
        helper.conn.helper = id;
        helper.there = read_helper(f.inner("private"), *fw.helpers().find(id)->desc, helper);
    } else {
        helper.there = f.flag("expects_by_rule");
    }
    out.forgets = !name.empty() && !helper.there;
    if (!problem.text.empty()) return Error{problem.text};
    return out;
}

Json expectation_record(const Plan& plan, const ExpectInfo& e, Tick now) {
    Json out{{"master", id_or_null(e.master)},
             {"proto", protocol_name(e.protocol)},
             {"src", e.src_prefix == 0 ? Json(nullptr) : Json(e.src.to_string())},
             {"src_prefix", e.src_prefix},
             {"sport", e.sport_mask.raw() == 0 ? Json(nullptr) : Json(e.sport.host())},
             {"dst", e.dst.to_string()},
             {"dport", e.dport.host()},
             {"ct_zone", e.zone},
             {"class", e.class_index},
             {"flags", flags_json(e.flags, kExpectFlags)},
             {"tag", e.tag},
             {"left_ms", std::max(e.deadline - now, 0)},
             {"helper", helper_or_null(plan, e.helper)},
             {"child_helper", helper_or_null(plan, e.child_helper)},
             {"rule", e.rule == kNoRule ? Json(nullptr) : Json(plan.rules[e.rule])},
             {"mark", e.mark},
             {"label", e.label}};
    return {{"expectation", out}};
}

Result<SavedExpectation> read_expectation(Firewall& fw, const Json& record) {
    const Plan& plan = fw.plan();
    Problem problem;
    Fields f(record, "expectation", problem);
    SavedExpectation out;
    ExpectRequest& r = out.request;
    out.master = f.text("master");
    const auto protocol = parse_protocol(f.text("proto"));
    if (!protocol) f.wrong("proto", "expected a protocol");
    r.protocol = protocol.value_or(0);
    r.dst = f.address("dst");
    r.dport = Be16::from_host(static_cast<std::uint16_t>(f.number("dport", 65535)));
    if (!f.at("src").is_null()) {
        r.src = f.address("src");
        r.src_prefix = static_cast<std::uint8_t>(f.number("src_prefix", 128));
        if (r.src.family != r.dst.family) f.wrong("src", "is of another family than dst");
    }
    if (!f.at("sport").is_null()) {
        r.sport = Be16::from_host(static_cast<std::uint16_t>(f.number("sport", 65535)));
        r.sport_mask = Be16::from_raw(0xffff);
    }
    f.read("ct_zone", r.zone);
    r.class_index = static_cast<std::uint8_t>(f.number("class", kExpectClasses - 1));
    r.flags = f.flags("flags", kExpectFlags);
    f.read("tag", r.tag);
    f.read("left_ms", r.timeout_ms);
    f.read("mark", r.mark);
    f.read("label", r.label);
    r.rule = rule_of(plan, f.text("rule"));
    r.child_helper = helper_of(plan, f.text("child_helper"));
    const std::string helper = f.text("helper");
    r.helper = helper_of(plan, helper);
    if (r.helper == kNoHelper && !helper.empty())
        f.wrong("helper", "there is no helper \"" + helper + "\"");
    if (r.helper != kNoHelper) {
        const auto& classes = plan.helpers[r.helper - 1u].classes;
        if (r.class_index < classes.size()) r.class_max = classes[r.class_index].max_expected;
    }
    r.beside = true;
    if (!problem.text.empty()) return Error{problem.text};
    return out;
}

}  // namespace postern
