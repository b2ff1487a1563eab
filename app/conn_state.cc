// SPDX-License-Identifier: BSD-3-Clause
#include "conn_state.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <optional>
#include <span>
#include <vector>

#include "conntrack/saved_fields.h"
#include "id_text.h"

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

std::optional<std::vector<std::uint8_t>> from_hex(const std::string& hex) {
    if (hex.size() % 2 != 0) return std::nullopt;
    std::vector<std::uint8_t> out(hex.size() / 2);
    for (std::size_t i = 0; i < out.size(); ++i) {
        const char* at = hex.data() + 2 * i;
        if (const auto [end, ec] = std::from_chars(at, at + 2, out[i], 16); end != at + 2)
            return std::nullopt;
    }
    return out;
}

struct FlagName {
    std::uint8_t bit;
    const char* name;
};
constexpr FlagName kConnFlags[] = {{conn_flag::seen_reply, "seen_reply"},
                                   {conn_flag::assured, "assured"},
                                   {conn_flag::expected, "expected"},
                                   {conn_flag::liberal, "liberal"}};
constexpr FlagName kExpectFlags[] = {{expect_flag::permanent, "permanent"},
                                     {expect_flag::inactive, "inactive"},
                                     {expect_flag::userspace, "userspace"}};
constexpr std::string_view kStreamStates[] = {"unseen", "open", "ended", "blind"};

std::string flag_names(std::span<const FlagName> names) {
    std::string out;
    for (const FlagName& f : names)
        out += (out.empty() ? "" : ", ") + std::string(f.name);
    return out;
}
Json flags_json(std::uint8_t flags, std::span<const FlagName> names) {
    Json out = Json::array();
    for (const FlagName& f : names)
        if ((flags & f.bit) != 0) out.push_back(f.name);
    return out;
}

/// A struct as its table says: a number a field, or a list of them.
Json struct_json(std::span<const std::uint8_t> object, std::span<const Field> fields) {
    Json out = Json::object();
    for (const Field& f : fields) {
        Json& value = out[std::string(f.name)];
        if (f.count == 1) value = f.get(object);
        for (unsigned i = 0; f.count != 1 && i < f.count; ++i)
            value.push_back(f.get(object, i));
    }
    return out;
}

/// Changes with what a helper's private state means, as far as can be told.
std::string version_of(const HelperDesc& desc) {
    std::uint64_t h = 0xcbf29ce484222325u;
    const auto add = [&h](std::string_view text) {
        for (const char c : text)
            h = (h ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
        h = (h ^ 0xff) * 0x100000001b3u;
    };
    add(desc.name);
    add(std::to_string(desc.state.bytes));
    for (const Field& f : desc.state.fields) {
        add(f.name);
        for (const std::uint64_t v : {std::uint64_t{f.offset}, std::uint64_t{f.bytes},
                                      std::uint64_t{f.count}, f.max, std::uint64_t{f.low_bit}})
            add(std::to_string(v));
    }
    if (desc.remote)
        for (const ExpectClass& c : desc.classes)
            add(c.name);
    return hex_of(bytes_of(h));
}

Json text_or_null(const std::string& text) {
    return text.empty() ? Json(nullptr) : Json(text);
}
Json helper_or_null(const Plan& plan, HelperId id) {
    return text_or_null(plan.helper_name(id));
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
    bool has(const char* key) const { return object_.is_object() && object_.contains(key); }
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
    template <class Kind, class Number>
    void read(const char* key, StrongId<Kind, Number>& out) {
        out = StrongId<Kind, Number>::from(number(key, std::numeric_limits<Number>::max()));
    }
    void read(const char* key, Be16& out) {
        out = Be16::from_host(static_cast<std::uint16_t>(number(key, UINT16_MAX)));
    }
    /// Milliseconds, no more than can be compared with a Tick.
    std::uint32_t duration_ms(const char* key) {
        return static_cast<std::uint32_t>(number(key, INT32_MAX));
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
        if (!list.is_array()) {
            wrong(key, "expected a list");
            return out;
        }
        for (const Json& item : list) {
            const auto found = std::find_if(names.begin(), names.end(), [&](const FlagName& f) {
                return item.is_string() && item.get<std::string>() == f.name;
            });
            if (found == names.end())
                wrong(key, "expected a list of " + flag_names(names));
            else
                out |= found->bit;
        }
        return out;
    }
    std::vector<std::uint8_t> bytes(const char* key, std::size_t max) {
        const auto out = from_hex(text(key));
        if (!out || out->size() > max)
            wrong(key, "expected at most " + std::to_string(max) + " bytes in hexadecimal");
        return out && out->size() <= max ? *out : std::vector<std::uint8_t>();
    }
    /// A struct from an object with just these fields.
    void read_struct(std::span<const Field> fields, std::span<std::uint8_t> out) {
        for (const Field& f : fields) {
            const std::string key(f.name);
            const Json& v = at(key.c_str());
            if (f.count == 1) {
                f.put(out, number(v, key, f.max));
            } else if (!v.is_array() || v.size() != f.count) {
                wrong(key, "expected a list of " + std::to_string(f.count) + " numbers");
            } else {
                for (unsigned i = 0; i < f.count; ++i)
                    f.put(out, number(v[i], key, f.max), i);
            }
        }
        if (object_.is_object() && object_.size() > fields.size())
            wrong("", "has fields that are not known");
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
    Fields inner(const char* key) { return inner(key, problem_); }
    Fields inner(const char* key, Problem& problem) {
        return Fields(at(key), where_ + "." + key, problem);
    }

  private:
    const Json& object_;
    std::string where_;
    Problem& problem_;
};

/// The ends of a connection or expectation. `any`: null is any, for src and sport.
Tuple read_tuple(Fields& f, bool any) {
    Tuple t;
    const auto protocol = parse_protocol(f.text("proto"));
    if (!protocol) f.wrong("proto", "expected a protocol");
    t.protocol = protocol.value_or(0);
    t.dst = f.address("dst");
    f.read("dport", t.dport);
    if (!any || !f.at("src").is_null()) {
        t.src = f.address("src");
        if (t.src.family != t.dst.family) f.wrong("dst", "is of another family than src");
    }
    if (!any || !f.at("sport").is_null()) f.read("sport", t.sport);
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

/// What connections and expectations have alike beside their ends.
template <class T>
void read_common(Fields& f, const Plan& plan, CtZone& ct_zone, T& out) {
    f.read("ct_zone", ct_zone);
    f.read("mark", out.mark);
    f.read("label", out.label);
    out.rule = rule_of(plan, f.text("rule"));
}
Json common_into(Json out, const Plan& plan, CtZone ct_zone, RuleId rule, std::uint32_t mark,
                 std::uint32_t label) {
    out["ct_zone"] = ct_zone.number();
    out["rule"] = text_or_null(plan.rule_name(rule));
    out["mark"] = mark;
    out["label"] = label;
    return out;
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
                           {"has_data", s.has_data != 0},
                           {"read_all", s.read_all != 0},
                           {"skip", h.skip[d]},
                           {"waiting", hex_of(Bytes{image.waiting[d]}.first(s.fill))}});
    }
    const Json state =
        desc.remote ? Json(hex_of(h.state)) : struct_json(h.state, desc.state.fields);
    return {{"proven", h.proven},
            {"min_timeout_s", h.min_timeout_s},
            {"streams", streams},
            {"of", version_of(desc)},
            {"state", state}};
}

/// False: it is another build's, and means nothing to this one.
bool read_state(Fields& f, const HelperDesc& desc, HelperConn& h, Problem& problem) {
    const bool same = f.text("of") == version_of(desc);
    if (desc.remote) {
        const auto bytes = f.bytes("state", kPrivateBytes);
        if (same && bytes.size() != kPrivateBytes)
            f.wrong("state", "expected " + std::to_string(kPrivateBytes) + " bytes");
        std::copy(bytes.begin(), bytes.end(), h.state.begin());
        return same;
    }
    // The same names in the same ranges mean the same, whoever wrote them.
    Problem foreign;
    f.inner("state", same ? problem : foreign).read_struct(desc.state.fields, h.state);
    return foreign.text.empty();
}

bool read_helper(Fields f, const HelperDesc& desc, HelperImage& image, Problem& problem) {
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
    return read_state(f, desc, h, problem);
}

/// The states of a protocol with a state machine of its own; 0: it has none.
unsigned states_of(std::uint8_t protocol) {
    switch (protocol) {
        case proto::tcp: return kTcpStates;
        case proto::sctp: return kSctpStates;
        case proto::dccp: return kDccpStates;
        default: return 0;
    }
}

/// Which part of the key is not in the ends: the kind of an ICMP query, whether GRE is a call's.
/// Ends that no packet of the protocol has are wrong.
void read_key_class(Fields& f, const Tuple& t, Conn& c) {
    const bool icmp = t.protocol == proto::icmp || t.protocol == proto::icmpv6;
    const bool call = t.protocol == proto::gre;
    c.key_class = f.number("key_class", icmp ? kIcmpQueries : call ? kGreCall : 0) & 0x0f;
    if (icmp && (c.key_class == 0 || t.sport != t.dport))
        f.wrong("key_class", "expected a query's, with one id");
    else if (!icmp && c.key_class == 0 && !has_ports(t.protocol) &&
             (t.sport.raw() != 0 || t.dport.raw() != 0))
        f.wrong("dport", "this protocol has no ports");
    if (!call) return;
    c.gre = {f.flag("both_calls_known") ? 1u : 0u};
    if (c.gre.second_key != 0 && c.key_class != kGreCall) f.wrong("both_calls_known", "is no call");
}

/// No packet has said anything that a later one depends on.
bool is_silent(const Conn& c) {
    return c.protocol() != proto::tcp || c.tcp_state() == TcpState::syn_sent ||
           c.tcp_state() == TcpState::syn_recv;
}

SavedConnection read_connection(Fields& f, const Plan& plan, const HelperSet& helpers,
                                Problem& problem) {
    SavedConnection out;
    Conn& c = out.image.conn;
    const Tuple t = read_tuple(f, false);
    std::copy(t.src.bytes.begin(), t.src.bytes.end(), c.src);
    std::copy(t.dst.bytes.begin(), t.dst.bytes.end(), c.dst);
    c.sport = t.sport;
    c.dport = t.dport;
    c.key.protocol = t.protocol;
    c.key.family = static_cast<std::uint8_t>(t.src.family);
    read_common(f, plan, c.key.ct_zone, c);
    read_key_class(f, t, c);
    out.id = f.text("id");
    out.master = f.text("master");
    const auto edge = [&](const char* key) {
        const auto id = plan.edges.find(f.text(key));
        if (!id) f.wrong(key, "there is no zone of this name");
        return id.value_or(EdgeId{});
    };
    const EdgeId came_in = edge("from"), went_out = edge("to");
    if (!plan.edges.joined(came_in, went_out))
        f.wrong("to", "no bridge leads there from where it comes in");
    c.set_edges(plan.edges.pair(came_in, went_out));
    const auto profile =
        place(plan.timeout_names, f.text("timeouts"), [](const std::string& n) { return n; });
    c.set_timeouts(profile ? static_cast<unsigned>(*profile) + 1 : 0);
    c.expected_by = helper_of(plan, f.text("expected_by"));
    c.flags = f.flags("flags", kConnFlags);
    c.timeout_ms = f.duration_ms("timeout_ms");
    out.idle_ms = f.duration_ms("idle_ms");
    f.read("age_ms", out.age_ms);
    std::uint64_t packets[2] = {}, bytes[2] = {};
    for (const auto& [key, to, most] : {std::tuple("packets", packets, Conn::kMaxPackets),
                                        std::tuple("bytes", bytes, Conn::kMaxBytes)}) {
        const Json& two = f.at(key);
        if (!two.is_array() || two.size() != 2) {
            f.wrong(key, "expected a list of two numbers");
            continue;
        }
        for (unsigned d = 0; d < 2; ++d)
            to[d] = f.number(two[d], key, most);
    }
    for (const Direction d : {Direction::original, Direction::reply})
        c.set_counts(d, packets[index(d)], bytes[index(d)]);
    if (const unsigned states = states_of(t.protocol); states == 0) {
        c.set_state(f.number("state", 1));
    } else {
        const std::string wanted = f.text("state");
        unsigned state = 0;
        for (; state < states; ++state) {
            c.set_state(state);
            if (wanted == c.state_name()) break;
        }
        if (state == states) f.wrong("state", "this protocol has no such state");
    }
    if (const TrackerPart part = tracker_part(c); !part.fields.empty()) {
        std::fill(part.bytes.begin(), part.bytes.end(), std::uint8_t{0});
        f.inner("tracker").read_struct(part.fields, part.bytes);
    }
    if (t.protocol == proto::tcp) {
        for (unsigned d = 0; d < 2; ++d) {
            TcpSideImage side;
            f.of("tcp", d).read_struct(kTcpSideFields, bytes_of(side));
            put_image(c.tcp_side(d), side);
        }
        c.mark_latest();
    }
    HelperImage& helper = out.image.helper;
    const std::string name = f.text("helper");
    const HelperId id = helper_of(plan, name);
    if (id != kNoHelper && !plan.helpers[id - 1u].speaks(t.protocol))
        f.wrong("helper", "does not read this protocol");
    // Its helper waits for the first packet that says something.
    const bool waits = id != kNoHelper && !f.has("private") && is_silent(c);
    if (waits) {
        c.helper = id;
    } else if (id != kNoHelper) {
        helper.conn.helper = id;
        helper.there = read_helper(f.inner("private"), *helpers.find(id)->desc, helper, problem);
    } else {
        helper.there = f.flag("expects_by_rule");
    }
    out.forgets = !name.empty() && !helper.there && !waits;
    return out;
}

SavedExpectation read_expectation(Fields& f, const Plan& plan) {
    SavedExpectation out;
    ExpectRequest& r = out.request;
    out.master = f.text("master");
    const Tuple t = read_tuple(f, true);
    r.protocol = t.protocol;
    r.dst = t.dst;
    r.dport = t.dport;
    if (t.src.family != Family::none)
        r.src = {t.src, static_cast<std::uint8_t>(f.number(
                            "src_prefix", std::uint64_t{8} * address_bytes(t.src.family)))};
    if (!f.at("sport").is_null()) r.set_sport(t.sport);
    read_common(f, plan, r.ct_zone, r);
    const auto side = [&](const char* key) {
        const std::string name = f.text(key);
        if (name.empty()) return kAnyEdge;
        const auto id = plan.edges.find(name);
        if (!id) f.wrong(key, "there is no zone of this name");
        return id ? plan.edges.side_of(*id) : kAnyEdge;
    };
    r.from_side = side("from");
    r.to_side = side("to");
    r.class_index = static_cast<std::uint8_t>(f.number("class", kExpectClasses - 1));
    r.flags = f.flags("flags", kExpectFlags);
    f.read("tag", r.tag);
    f.read("call", r.call);
    r.timeout_ms = f.duration_ms("left_ms");
    r.child_helper = helper_of(plan, f.text("child_helper"));
    const std::string helper = f.text("helper");
    r.helper = helper_of(plan, helper);
    if (r.helper == kNoHelper && !helper.empty())
        f.wrong("helper", "there is no helper of this name");
    if (r.helper != kNoHelper) {
        const auto& classes = plan.helpers[r.helper - 1u].classes;
        if (r.class_index < classes.size())
            r.class_max = r.call != 0 ? classes[r.class_index].max_per_call
                                      : classes[r.class_index].max_expected;
        r.master_max = plan.helpers[r.helper - 1u].max_pending;
    }
    r.flags |= expect_flag::beside;
    return out;
}

}  // namespace

Json id_or_null(ConnId id) {
    return id ? Json(id_text(id)) : Json(nullptr);
}

Json edge_or_null(const Plan& plan, EdgeId edge) {
    return edge == kAnyEdge ? Json(nullptr) : Json(plan.edges[edge].name);
}

WorkerId home_of(const Steering& steering, const Conn& conn) noexcept {
    return steering.home_of(conn.tuple(), conn.ct_zone(), conn.key_class);
}

Json connection_record(const Plan& plan, const HelperSet& helpers, WorkerId worker,
                       const ConnQuery::Row& row) {
    Conn c = row.conn;
    Json out = tuple_into(
        {{"id", id_text({row.slot, c.generation, worker})}, {"master", id_or_null(c.master)}},
        c.tuple());
    out["key_class"] = std::uint8_t{c.key_class};
    if (c.protocol() == proto::gre) out["both_calls_known"] = c.gre.second_key != 0;
    out = common_into(std::move(out), plan, c.ct_zone(), c.rule, c.mark, c.label);
    out["from"] = plan.edges[c.edge(Direction::original)].name;
    out["to"] = plan.edges[c.edge(Direction::reply)].name;
    out["timeouts"] = text_or_null(plan.timeouts_name(c.timeouts()));
    out["expected_by"] = helper_or_null(plan, c.expected_by);
    out["flags"] = flags_json(c.flags, kConnFlags);
    out["state"] = c.state_name() != nullptr ? Json(c.state_name()) : Json(std::uint8_t{c.state});
    out["timeout_ms"] = c.timeout_ms;
    out["idle_ms"] = row.now.ms - c.last_seen_ms;
    out["age_ms"] = row.now.ms - c.start_ms;
    out["packets"] = {c.packets(Direction::original), c.packets(Direction::reply)};
    out["bytes"] = {c.bytes(Direction::original), c.bytes(Direction::reply)};
    if (c.protocol() == proto::tcp) {
        c.recall_last();
        for (unsigned d = 0; d < 2; ++d) {
            TcpSideImage side = image_of(c.tcp_side(d));
            out["tcp"].push_back(struct_json(bytes_of(side), kTcpSideFields));
        }
    }
    if (const TrackerPart part = tracker_part(c); !part.fields.empty())
        out["tracker"] = struct_json(part.bytes, part.fields);
    out["helper"] = helper_or_null(plan, c.helper);
    if (row.helper.there && c.helper != kNoHelper)
        out["private"] = helper_json(row.helper, *helpers.find(c.helper)->desc);
    out["expects_by_rule"] = row.helper.there && c.helper == kNoHelper;
    return {{"connection", out}};
}

Json expectation_record(const Plan& plan, const ExpectInfo& e, Tick now) {
    Json out{{"master", id_or_null(e.master)},
             {"proto", protocol_name(e.protocol)},
             {"src", e.any_src() ? Json(nullptr) : Json(e.src.address.to_string())},
             {"src_prefix", e.src.length},
             {"sport", e.any_sport() ? Json(nullptr) : Json(e.sport.host())},
             {"dst", e.dst.to_string()},
             {"dport", e.dport.host()},
             {"class", e.class_index},
             {"flags", flags_json(e.flags, kExpectFlags)},
             {"tag", e.tag},
             {"call", e.call},
             {"left_ms", std::max(e.deadline - now, 0)},
             {"helper", helper_or_null(plan, e.helper)},
             {"child_helper", helper_or_null(plan, e.child_helper)}};
    out["from"] = edge_or_null(plan, e.from_side);
    out["to"] = edge_or_null(plan, e.to_side);
    return {{"expectation", common_into(std::move(out), plan, e.ct_zone, e.rule, e.mark, e.label)}};
}

Result<SavedRecord> read_record(const Plan& plan, const HelperSet& helpers, const Json& record) {
    if (!record.is_object() || record.size() != 1)
        return Error{"expected an object with one key, connection or expectation"};
    const std::string kind = record.begin().key();
    if (kind != "connection" && kind != "expectation")
        return Error{"expected a connection or an expectation"};
    Problem problem;
    Fields f(record.front(), kind, problem);
    SavedRecord out;
    if (kind == "connection")
        out = read_connection(f, plan, helpers, problem);
    else
        out = read_expectation(f, plan);
    if (!problem.text.empty()) return Error{problem.text};
    return out;
}

}  // namespace postern
