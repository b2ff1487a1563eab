// SPDX-License-Identifier: BSD-3-Clause
#include "log/ipfix.h"

#include <array>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <stdexcept>
#include <string>
#include <utility>

#include <arpa/inet.h>
#include <fixbuf/public.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "base/unique_fd.h"

namespace postern {
namespace {

// A datagram that passes where IPv6 does (RFC 8200 section 5: 1280 bytes), without its headers.
constexpr std::size_t kMessageBytes = 1232;

/// All fields of all templates, in the order of kElements, without gaps: libfixbuf goes by sizes.
struct IpfixFields {
    std::uint64_t start_ms, end_ms;
    std::uint64_t octets, packets, reply_octets, reply_packets;
    std::uint64_t flow_id;
    fbVarfield_t rule, helper;
    std::uint8_t src6[16], dst6[16];
    std::uint32_t src4, dst4;
    std::uint16_t sport, dport, vlan, icmp4, icmp6, tcp_flags;
    std::uint8_t protocol, event, end_reason, forwarding;
};
static_assert(sizeof(IpfixFields) == 7 * 8 + 2 * sizeof(fbVarfield_t) + 32 + 8 + 12 + 4);

// The templates that have an element: kFlow or kPacket, of one family.
constexpr std::uint32_t kFlow = 1, kPacket = 2, kV4 = 4, kV6 = 8;
constexpr std::uint32_t kTemplates[] = {kFlow | kV4, kFlow | kV6, kPacket | kV4, kPacket | kV6};
constexpr std::uint16_t kFirstTemplate = 256, kInternal = 400;

struct Element {
    const char* name;  ///< in IANA's registry; "reverse…" as in RFC 5103
    std::uint16_t bytes;
    std::uint32_t templates;  ///< 0: all
};
constexpr Element kElements[] = {{"flowStartMilliseconds", 8, 0},
                                 {"flowEndMilliseconds", 8, 0},
                                 {"octetDeltaCount", 8, 0},
                                 {"packetDeltaCount", 8, 0},
                                 {"reverseOctetDeltaCount", 8, kFlow},
                                 {"reversePacketDeltaCount", 8, kFlow},
                                 {"flowId", 8, 0},
                                 {"selectorName", FB_IE_VARLEN, 0},
                                 {"applicationName", FB_IE_VARLEN, kFlow},
                                 {"sourceIPv6Address", 16, kV6},
                                 {"destinationIPv6Address", 16, kV6},
                                 {"sourceIPv4Address", 4, kV4},
                                 {"destinationIPv4Address", 4, kV4},
                                 {"sourceTransportPort", 2, 0},
                                 {"destinationTransportPort", 2, 0},
                                 {"vlanId", 2, kPacket},
                                 {"icmpTypeCodeIPv4", 2, kPacket | kV4},
                                 {"icmpTypeCodeIPv6", 2, kPacket | kV6},
                                 {"tcpControlBits", 2, kPacket},
                                 {"protocolIdentifier", 1, 0},
                                 {"firewallEvent", 1, 0},
                                 {"flowEndReason", 1, kFlow},
                                 {"forwardingStatus", 1, kPacket}};

// Values of firewallEvent and forwardingStatus in IANA's registry.
constexpr std::uint8_t kCreated = 1, kDeleted = 2, kDenied = 3;
constexpr std::uint8_t kForwarded = 64, kDropped = 128, kDroppedByRule = 129;

[[noreturn]] void give_up(const char* what, GError* error) {
    const std::string why = error != nullptr ? error->message : "unknown";
    g_clear_error(&error);
    throw std::runtime_error(std::string(what) + ": " + why);
}

/// The elements of the templates in `which`.
fbTemplate_t* make_template(fbInfoModel_t* model, std::uint32_t which) {
    std::array<fbInfoElementSpec_t, std::size(kElements) + 1> specs{};
    for (std::size_t i = 0; i < std::size(kElements); ++i)
        // libfixbuf copies the name.
        specs[i] = {const_cast<char*>(kElements[i].name),
                    kElements[i].bytes == FB_IE_VARLEN ? std::uint16_t{0} : kElements[i].bytes,
                    kElements[i].templates};
    fbTemplate_t* made = fbTemplateAlloc(model);
    GError* error = nullptr;
    if (fbTemplateAppendSpecArray(made, specs.data(), which, &error) == FALSE)
        give_up("a template", error);
    return made;
}

void set_text(fbVarfield_t& field, const std::string& text) {
    // libfixbuf only reads it.
    field.buf = reinterpret_cast<std::uint8_t*>(const_cast<char*>(text.data()));
    field.len = text.size();
}

void set_address(std::uint32_t& v4, std::uint8_t (&v6)[16], const IpAddr& address) {
    if (address.family == Family::ipv4) {
        std::memcpy(&v4, address.bytes.data(), sizeof v4);
        v4 = ntohl(v4);
    } else {
        std::memcpy(v6, address.bytes.data(), sizeof v6);
    }
}

Result<UniqueFd> connected(const IpfixSpec& spec) {
    sockaddr_storage address{};
    socklen_t length = 0;
    if (spec.collector.family == Family::ipv4) {
        auto& in = reinterpret_cast<sockaddr_in&>(address);
        in.sin_family = AF_INET;
        in.sin_port = htons(spec.port);
        std::memcpy(&in.sin_addr, spec.collector.bytes.data(), sizeof in.sin_addr);
        length = sizeof in;
    } else {
        auto& in = reinterpret_cast<sockaddr_in6&>(address);
        in.sin6_family = AF_INET6;
        in.sin6_port = htons(spec.port);
        std::memcpy(&in.sin6_addr, spec.collector.bytes.data(), sizeof in.sin6_addr);
        length = sizeof in;
    }
    UniqueFd fd(::socket(address.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd || ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), length) != 0)
        return Error{"log.ipfix: " + spec.collector.to_string() + ": " + std::strerror(errno)};
    return fd;
}

bool is_over(const Conn& conn) noexcept {
    return conn.protocol() == proto::tcp && conn.tcp_state() >= TcpState::last_ack &&
           conn.tcp_state() <= TcpState::close;
}

}  // namespace

std::uint8_t flow_end_reason(const Conn& conn, ConnEnd why) noexcept {
    constexpr std::uint8_t kIdle = 1, kEndDetected = 3, kForced = 4, kLackOfResources = 5;
    switch (why) {
        case ConnEnd::expired: return is_over(conn) ? kEndDetected : kIdle;
        case ConnEnd::closed:
        case ConnEnd::reopened: return kEndDetected;
        case ConnEnd::early_drop: return kLackOfResources;
        default: return kForced;
    }
}

/// One transport session (RFC 7011 section 2), and the message that is being filled.
struct IpfixExporter::Session {
    Session(const IpfixSpec& s, UniqueFd socket, LogOutputCounters& c)
        : spec(s), fd(std::move(socket)), counters(c), model(fbInfoModelAlloc()) {
        fbSession_t* session = fbSessionAlloc(model);
        fbSessionSetDomain(session, spec.domain);
        add_template(session, TRUE, kInternal, UINT32_MAX);
        for (std::size_t i = 0; i < std::size(kTemplates); ++i)
            add_template(session, FALSE, static_cast<std::uint16_t>(kFirstTemplate + i),
                         kTemplates[i]);
        exporter = fbExporterAllocBuffer(message.data(), kMessageBytes);
        // Owns both from here on.
        buffer = fBufAllocForExport(session, exporter);
        fBufSetAutomaticMode(buffer, FALSE);
        GError* error = nullptr;
        if (fBufSetInternalTemplate(buffer, kInternal, &error) == FALSE)
            give_up("the internal template", error);
    }
    ~Session() {
        fBufFree(buffer);
        fbInfoModelFree(model);
    }
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;

    void add_template(fbSession_t* session, gboolean internal, std::uint16_t id,
                      std::uint32_t which) {
        GError* error = nullptr;
        if (fbSessionAddTemplate(session, internal, id, make_template(model, which), &error) == 0)
            give_up("a template of the session", error);
    }

    void put(std::uint32_t which, IpfixFields& fields) {
        if (templates_due) send_templates();
        for (int attempt = 0; attempt < 2; ++attempt) {
            if (append(which, fields)) {
                ++records;
                return;
            }
            emit();  // the message was full
        }
        counters.log_unwritten.add();
    }

    bool append(std::uint32_t which, IpfixFields& fields) {
        GError* error = nullptr;
        const bool done = fBufSetExportTemplate(buffer, template_of(which), &error) != FALSE &&
                          fBufAppend(buffer, reinterpret_cast<std::uint8_t*>(&fields),
                                     sizeof fields, &error) != FALSE;
        g_clear_error(&error);
        return done;
    }

    /// In a message of their own: it has room for all.
    void send_templates() {
        emit();
        GError* error = nullptr;
        // libfixbuf begins no message for templates in the other mode.
        fBufSetAutomaticMode(buffer, TRUE);
        if (fbSessionExportTemplates(fBufGetSession(buffer), &error) != FALSE &&
            fBufEmit(buffer, &error) != FALSE && send())
            templates_due = false;
        fBufSetAutomaticMode(buffer, FALSE);
        g_clear_error(&error);
    }

    static std::uint16_t template_of(std::uint32_t which) noexcept {
        std::uint16_t id = kFirstTemplate;
        while (kTemplates[id - kFirstTemplate] != which)
            ++id;
        return id;
    }

    void flush(Clock::time_point now) {
        emit();
        if (now < templates_at) return;
        templates_due = true;
        templates_at = now + std::chrono::seconds(spec.templates_s);
    }

    /// Sends the message, if it has records.
    void emit() {
        if (records == 0) return;
        GError* error = nullptr;
        const bool sent = fBufEmit(buffer, &error) != FALSE && send();
        g_clear_error(&error);
        (sent ? counters.log_sent : counters.log_unwritten).add(records);
        records = 0;
    }

    bool send() {
        const std::size_t bytes = fbExporterGetMsgLen(exporter);
        // The first attempt may return an error of an earlier message: nobody listened then, and
        // who listens now has no templates.
        for (int attempt = 0; attempt < 2; ++attempt) {
            if (::send(fd.get(), message.data(), bytes, MSG_NOSIGNAL) >= 0) return true;
            if (errno != ECONNREFUSED) return false;
            templates_due = true;
        }
        return false;
    }

    IpfixSpec spec;
    UniqueFd fd;
    LogOutputCounters& counters;
    std::array<std::uint8_t, kMessageBytes> message{};
    fbInfoModel_t* model;
    fbExporter_t* exporter = nullptr;
    fBuf_t* buffer = nullptr;
    std::uint64_t records = 0;  ///< in the message
    bool templates_due = true;
    Clock::time_point templates_at = Clock::now() + std::chrono::seconds(spec.templates_s);
};

IpfixExporter::IpfixExporter(std::unique_ptr<Session> session) : session_(std::move(session)) {}
IpfixExporter::IpfixExporter(IpfixExporter&&) noexcept = default;
IpfixExporter& IpfixExporter::operator=(IpfixExporter&&) noexcept = default;
IpfixExporter::~IpfixExporter() = default;

Result<IpfixExporter> IpfixExporter::open(const IpfixSpec& spec, LogOutputCounters& counters) {
    auto fd = connected(spec);
    if (!fd) return fd.error();
    try {
        return IpfixExporter(std::make_unique<Session>(spec, std::move(*fd), counters));
    } catch (const std::runtime_error& refused) {  // another libfixbuf
        return Error{std::string("log.ipfix: ") + refused.what()};
    }
}

Result<void> IpfixExporter::can_open(const IpfixSpec& spec) {
    auto fd = connected(spec);
    if (!fd) return fd.error();
    return {};
}

void IpfixExporter::add(const Plan& plan, const ConnEvent& event, const TickWall& clock) {
    const Conn& c = event.conn;
    const bool ended = event.type == ConnEventType::destroy;
    const Tuple t = c.tuple();
    IpfixFields f{};
    f.start_ms = static_cast<std::uint64_t>(clock.ms(Tick{c.start_ms}));
    f.end_ms = f.start_ms + duration_ms(c);
    f.octets = c.bytes(Direction::original);
    f.packets = c.packets(Direction::original);
    f.reply_octets = c.bytes(Direction::reply);
    f.reply_packets = c.packets(Direction::reply);
    f.flow_id =
        std::uint64_t{event.worker.number()} << 48 | std::uint64_t{c.generation} << 32 | event.slot;
    const std::string rule = plan.rule_name(c.rule);
    const std::string helper = c.helper == kNoHelper ? "" : plan.helpers[c.helper - 1u].name;
    set_text(f.rule, rule);
    set_text(f.helper, helper);
    set_address(f.src4, f.src6, t.src);
    set_address(f.dst4, f.dst6, t.dst);
    f.sport = t.sport.host();
    f.dport = t.dport.host();
    f.protocol = c.protocol();
    f.event = ended ? kDeleted : kCreated;
    f.end_reason = ended ? flow_end_reason(c, event.end) : 0;
    session_->put(kFlow | (c.family() == Family::ipv4 ? kV4 : kV6), f);
}

void IpfixExporter::add(const Plan& plan, const PacketRecord& r, const TscWall& clock) {
    if (r.family == Family::none) return;
    IpfixFields f{};
    f.start_ms = f.end_ms = static_cast<std::uint64_t>(clock.us(r.tsc) / 1000);
    f.octets = r.ip_bytes;
    f.packets = 1;
    if (r.conn)
        f.flow_id = std::uint64_t{r.conn.worker.number()} << 48 |
                    std::uint64_t{r.conn.generation} << 32 | r.conn.index;
    const std::string rule = rule_of(plan, r).value_or("");
    set_text(f.rule, rule);
    set_address(f.src4, f.src6, source_of(r));
    set_address(f.dst4, f.dst6, destination_of(r));
    f.sport = r.sport.host();
    f.dport = r.dport.host();
    f.vlan = vlan_id(r.vlan);
    f.icmp4 = f.icmp6 =
        r.has_icmp ? static_cast<std::uint16_t>(r.icmp_type << 8 | r.icmp_code) : std::uint16_t{0};
    f.tcp_flags = r.tcp_flags;
    f.protocol = r.protocol;
    f.event = r.fate == Fate::accept ? kCreated : kDenied;
    f.forwarding = r.fate == Fate::accept ? kForwarded : r.judged ? kDroppedByRule : kDropped;
    session_->put(kPacket | (r.family == Family::ipv4 ? kV4 : kV6), f);
}

void IpfixExporter::flush(Clock::time_point now) {
    session_->flush(now);
}

}  // namespace postern
