// SPDX-License-Identifier: BSD-3-Clause
// What the bytes of one stream cost, at two lengths of it: is the work per byte flat?
//
//   byte_count              prints the rows
//   byte_count ROW...       runs them: for each length prints "ROW BYTES", and counted_bytes() does
//                           nothing but show that many bytes to the engine
//
// Run by bytes.py, under callgrind. A row is the worst that is known of one kind: what a sender
// repeats, or makes longer, to have it read again with each byte. A new helper gets a row here.
#include <array>
#include <cstdio>
#include <cstdlib>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "helper/engine.h"
#include "helper/registry.h"

namespace postern {
namespace {

constexpr Direction kClient = Direction::original, kServer = Direction::reply;
constexpr std::array<std::size_t, 2> kLengths{1000, 30000};

using Words = std::vector<std::pair<Direction, std::string>>;

/// How the bytes come.
enum class Manner : std::uint8_t {
    bytes,     ///< a segment each
    answered,  ///< the same, and the other side says Row::answer after each
    early,     ///< the same, while a byte waits whose turn comes long after the last of them
    packets,   ///< 1400 a segment
    datagram   ///< all at once
};

struct Row {
    std::string_view name;
    std::string_view helper;  ///< kLines, kStream: one in another process
    Manner manner;
    Direction by;
    std::string (*text)(std::size_t bytes);  ///< about so many
    Words opening{};
    std::string answer{};
    std::uint8_t protocol = proto::tcp;
};

[[noreturn]] void die(std::string_view row, const char* why) {
    std::fprintf(stderr, "byte_count: %.*s: %s\n", static_cast<int>(row.size()), row.data(), why);
    std::exit(1);
}

std::string repeated(std::string_view part, std::size_t bytes) {
    std::string out;
    while (out.size() < bytes)
        out += part;
    return out;
}
/// `head`, so much of `part` that it is about `bytes` long, `tail`.
std::string filled(std::string_view head, std::string_view part, std::size_t bytes,
                   std::string_view tail) {
    const std::size_t rest = head.size() + tail.size();
    return std::string(head) + repeated(part, bytes > rest ? bytes - rest : 0) + std::string(tail);
}
std::string number(std::size_t value, unsigned bytes) {
    std::string out;
    while (bytes-- != 0)
        out += static_cast<char>(value >> 8 * bytes & 0xff);
    return out;
}
std::string words(std::initializer_list<unsigned> values) {
    std::string out;
    for (const unsigned v : values)
        out += number(v, 4);
    return out;
}

// Openings: what proves the protocol.
const Words kFtp{
    {kServer, "220 ready\r\n"}, {kClient, "USER anonymous\r\n"}, {kServer, "331 password\r\n"}};
const Words kIrc{{kClient, "NICK me\r\n"},
                 {kClient, "USER me 0 * :me\r\n"},
                 {kServer, ":irc.example 001 me :hi\r\n"}};
const Words kRtsp{{kClient, "OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n"},
                  {kServer, "RTSP/1.0 200 OK\r\nCSeq: 1\r\n\r\n"}};
const Words kSane{{kClient, words({0, 0x01000003, 0})}, {kServer, words({0, 0x01000003})}};

#define SIP_FIELDS                                           \
    "Via: SIP/2.0/TCP 192.0.2.1:5060;branch=z9hG4bK776\r\n"  \
    "From: <sip:a@example.org>;tag=1\r\n"                    \
    "To: <sip:b@example.org>\r\nCall-ID: a84b@192.0.2.1\r\n" \
    "Max-Forwards: 70\r\n"
#define SIP_INVITE "INVITE sip:b@192.0.2.9 SIP/2.0\r\n" SIP_FIELDS "CSeq: 1 INVITE\r\n"
#define SIP_REGISTER "REGISTER sip:192.0.2.9 SIP/2.0\r\n" SIP_FIELDS "CSeq: 1 REGISTER\r\n"
/// As short as a message can be that wakes the parser.
const std::string kSipAnswer = "ACK a SIP/2.0\r\n\r\n";

std::string sip_with_body(std::string_view type, const std::string& body) {
    return SIP_INVITE "Content-Type: " + std::string(type) +
           "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}
std::string sip_session(std::size_t n) {
    return sip_with_body("application/sdp", filled("v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\n"
                                                   "c=IN IP4 192.0.2.1\r\nt=0 0\r\n",
                                                   "m=audio 5000 RTP/AVP 0\r\n", n - 350, ""));
}
std::string tpkt(std::string_view head, std::size_t n) {
    const std::size_t length = n < 30000 ? n : 16384;  // no message is longer
    return filled(std::string("\3\0", 2) + number(length, 2) + std::string(head),
                  std::string_view("\0", 1), length, "");
}

// clang-format off
const std::vector<Row>& rows() {
    static const std::vector<Row> all{
    {"ftp-line", "ftp", Manner::bytes, kClient,
     [](std::size_t n) { return filled("XXXX ", "2", n, "\r\n"); }, kFtp},
    {"ftp-lines", "ftp", Manner::bytes, kClient,
     [](std::size_t n) { return repeated("NOOP\r\n", n); }, kFtp},
    {"ftp-many-lines-of-a-reply", "ftp", Manner::bytes, kServer,
     [](std::size_t n) { return filled("211-\r\n", "211-x\r\n", n, "211 end\r\n"); }, kFtp},
    {"ftp-greeting", "ftp", Manner::bytes, kServer,
     [](std::size_t n) { return filled("220-\r\n", "220-x\r\n", n, "220 end\r\n"); }},
    {"ftp-ports", "ftp", Manner::packets, kClient,
     [](std::size_t n) { return repeated("PORT 192,0,2,1,195,80\r\n", n); }, kFtp},
    {"ftp-empty-lines", "ftp", Manner::packets, kServer,
     [](std::size_t n) { return filled("220-\r\n", "\n", n, "220 end\r\n"); }},
    {"ftp-early", "ftp", Manner::early, kClient,
     [](std::size_t n) { return repeated("A\n", n); }, kFtp},
    {"irc-line", "irc", Manner::bytes, kClient,
     [](std::size_t n) { return filled("PRIVMSG #a :", "x", n, "\r\n"); }, kIrc},
    {"irc-tags", "irc", Manner::bytes, kServer,
     [](std::size_t n) { return filled("@", "a=b;", n, "c :you!u@h PRIVMSG me :hi\r\n"); }, kIrc},
    {"irc-lines", "irc", Manner::bytes, kClient,
     [](std::size_t n) { return repeated("PING x\r\n", n); }, kIrc},
    {"irc-offers", "irc", Manner::packets, kClient,
     [](std::size_t n) {
         return repeated("PRIVMSG you :\x01" "DCC SEND f 3221225985 5000 1\x01\r\n", n);
     }, kIrc},
    {"sip-folded", "sip", Manner::bytes, kClient,
     [](std::size_t n) { return filled(SIP_INVITE "Subject: a\r\n", " b\r\n", n, "\r\n"); }},
    {"sip-fields", "sip", Manner::bytes, kClient,
     [](std::size_t n) { return filled(SIP_INVITE, "a:b\r\n", n, "\r\n"); }},
    {"sip-start-line", "sip", Manner::bytes, kClient,
     [](std::size_t n) {
         return filled("INVITE sip:", "b", n, " SIP/2.0\r\n" SIP_FIELDS "CSeq: 1 INVITE\r\n\r\n");
     }},
    {"sip-name", "sip", Manner::bytes, kClient,
     [](std::size_t n) { return filled(SIP_INVITE, "n", n, ": x\r\n\r\n"); }},
    {"sip-line-ends", "sip", Manner::bytes, kClient,
     [](std::size_t n) { return repeated("\r\n", n); }},
    {"sip-session", "sip", Manner::bytes, kClient, sip_session},
    {"sip-session-answered", "sip", Manner::answered, kClient, sip_session, {}, kSipAnswer},
    {"sip-short-requests", "sip", Manner::packets, kClient,
     [](std::size_t n) { return filled("", "ACK a SIP/2.0\r\n\r\n", n, ""); }},
    {"sip-early", "sip", Manner::early, kClient, [](std::size_t n) { return repeated("\r\n", n); }},
    {"sip-contacts", "sip", Manner::bytes, kClient,
     [](std::size_t n) {
         return filled(SIP_REGISTER "Contact: <sip:a@h>", ",<sip:a@h>", n, "\r\n\r\n");
     }},
    {"sip-multipart", "sip", Manner::bytes, kClient,
     [](std::size_t n) {
         return sip_with_body("multipart/mixed;boundary=bbbbbbbb",
                              filled("", "--bbbbbbbb\r\n\r\n--bbbbbbbx\r\n", n - 350,
                                     "--bbbbbbbb--\r\n"));
     }},
    {"sip-other-body", "sip", Manner::bytes, kClient,
     [](std::size_t n) { return sip_with_body("image/png", repeated("x", n - 350)); }},
    {"sip-datagram", "sip", Manner::datagram, kClient, sip_session, {}, {}, proto::udp},
    {"rtsp-headers", "rtsp", Manner::bytes, kClient,
     [](std::size_t n) {
         return filled("SETUP rtsp://h/ RTSP/1.0\r\nCSeq: 2\r\n", "a:b\r\n", n, "\r\n");
     }, kRtsp},
    {"rtsp-headers-answered", "rtsp", Manner::answered, kClient,
     [](std::size_t n) {
         return filled("SETUP rtsp://h/ RTSP/1.0\r\nCSeq: 2\r\n", "a:b\r\n", n, "\r\n");
     }, kRtsp, "RTSP/1.0 200 \r\n\r\n"},
    {"rtsp-line", "rtsp", Manner::bytes, kClient,
     [](std::size_t n) {
         return filled("SETUP rtsp://h/", "x", n, " RTSP/1.0\r\nCSeq: 2\r\n\r\n");
     }, kRtsp},
    {"rtsp-transports", "rtsp", Manner::bytes, kClient,
     [](std::size_t n) {
         return filled("SETUP rtsp://h/ RTSP/1.0\r\nCSeq: 2\r\nTransport: RTP/AVP", ",RTP/AVP;x", n,
                       "\r\n\r\n");
     }, kRtsp},
    {"rtsp-short-answers", "rtsp", Manner::packets, kServer,
     [](std::size_t n) { return repeated("RTSP/1.0 2\n\n", n); }, kRtsp},
    {"rtsp-frames", "rtsp", Manner::bytes, kServer,
     [](std::size_t n) { return repeated(std::string_view("$\0\0\1x", 5), n); }, kRtsp},
    {"h323-call", "q931", Manner::bytes, kClient,
     [](std::size_t n) {
         std::string message = tpkt("\x08", n);
         message.pop_back();  // whole, it would not be of the protocol
         return message;
     }},
    {"h323-keep-alives", "q931", Manner::bytes, kClient,
     [](std::size_t n) { return repeated(std::string_view("\3\0\0\4", 4), n); }},
    {"h245-message", "h245", Manner::bytes, kClient,
     [](std::size_t n) { return tpkt("\x02\x00\x01", n); }},
    {"sane-string", "sane", Manner::bytes, kClient,
     [](std::size_t n) {
         return words({0, 0x01000003, static_cast<unsigned>(n - 12)}) + std::string(n - 12, 'u');
     }},
    {"sane-option", "sane", Manner::bytes, kServer,
     [](std::size_t n) {
         const auto third = static_cast<unsigned>((n - 48) / 3);
         std::string out = words({2, 0});
         for (int i = 0; i < 3; ++i)
             out += words({third}) + std::string(third, 't');
         return out + words({1, 1, 4, 5, 0});
     }, {{kClient, words({0, 0x01000003, 0})}, {kServer, words({0, 0x01000003})},
         {kClient, words({4, 0})}}},
    {"sane-data", "sane", Manner::bytes, kClient,
     [](std::size_t n) { return words({5, 0, 1, 1, 3, 0, static_cast<unsigned>(n)}) + std::string(n, 'x'); },
     kSane},
    {"pptp-messages", "pptp", Manner::bytes, kClient,
     [](std::size_t n) {
         return repeated(number(16, 2) + number(1, 2) + number(0x1a2b3c4d, 4) + number(5, 2) +
                             number(0, 2) + number(7, 4), n);
     }},
    {"amanda", "amanda", Manner::datagram, kServer,
     [](std::size_t n) {
         return filled("Amanda 3.5 REP HANDLE 0-0 SEQ 1\n", "CONNECT\n", n, "");
     }, {{kClient, "Amanda 3.5 REQ HANDLE 0-0 SEQ 1\nSERVICE sendbackup\n"}}, {}, proto::udp},
    {"h323-ras", "ras", Manner::datagram, kClient,
     [](std::size_t n) { return filled("\x0c", std::string_view("\xff\0", 2), n, ""); },
     {}, {}, proto::udp},
    {"netbios", "netbios", Manner::datagram, kClient,
     [](std::size_t n) { return filled(std::string_view("\x12\x34\x01\x10\0\1", 6), "\x20", n, ""); },
     {}, {}, proto::udp},
    {"snmp", "snmp", Manner::datagram, kClient,
     [](std::size_t n) { return filled("\x30\x82", "\x30\x80", n, ""); }, {}, {}, proto::udp},
    {"tftp", "tftp", Manner::datagram, kClient,
     [](std::size_t n) { return filled(std::string_view("\0\1f\0octet\0", 10), std::string_view("a\0", 2), n, ""); },
     {}, {}, proto::udp},
    {"process-lines", "lines", Manner::bytes, kClient,
     [](std::size_t n) { return filled("", "x", n, "\n"); }},
    {"process-stream", "stream", Manner::bytes, kClient,
     [](std::size_t n) { return repeated("x", n); }},
    };
    return all;
}
// clang-format on

constexpr HelperDesc kLines{
    .name = "lines", .transports = transport::tcp, .framing = Framing::line, .remote = true};
constexpr HelperDesc kStream{
    .name = "stream", .transports = transport::tcp, .framing = Framing::stream, .remote = true};

const HelperDesc& descriptor(std::string_view name) {
    return name == kLines.name ? kLines : name == kStream.name ? kStream : *find_helper(name);
}

/// One connection, as its rows want it.
class Connection {
  public:
    explicit Connection(const Row& row) : row_(row) {
        std::vector<HelperConfig> configs{{1, "", &descriptor(row.helper), {}}};
        if (!add_children(configs, find_helper).ok()) die(row.name, "a helper is missing");
        auto set = HelperSet::create(configs);
        if (!set.ok()) die(row.name, set.error().message.c_str());
        set_ = std::move(set).value();
        // Every helper may have messages as long as that.
        auto engine = HelperEngine::create(*set_, {2, 8, Assembler::kMaxBufferBytes, 8});
        if (!engine.ok()) die(row.name, engine.error().message.c_str());
        engine_ = std::move(engine).value();
        engine_->ask_by([](void*, Direction, Bytes) noexcept {}, nullptr);
        const bool to_all = row.helper == "netbios" || row.helper == "snmp";
        conn_ = engine_->attach(1,
                                {IpAddr::v4(192, 0, 2, 1),
                                 to_all ? IpAddr::v4(255, 255, 255, 255) : IpAddr::v4(192, 0, 2, 9),
                                 Be16::from_host(40000), Be16::from_host(2000), row.protocol},
                                1);
        engine_->on_syn(conn_, kClient, 0);
        engine_->on_syn(conn_, kServer, 0);
        for (const auto& [by, text] : row.opening)
            say(by, text);
    }
    void say(Direction by, std::string_view text) noexcept {
        std::uint32_t& next = next_[index(by)];
        const Bytes bytes{reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
        if (row_.protocol == proto::udp)
            engine_->on_datagram(conn_, by, bytes, emit_);
        else
            engine_->on_segment(conn_, by, next, 0, bytes, emit_);
        next += static_cast<std::uint32_t>(text.size());
    }
    /// A byte that cannot be in order before `after` others were.
    void say_early(Direction by, std::size_t after) noexcept {
        static constexpr std::uint8_t kByte[]{'x'};
        engine_->on_segment(conn_, by, next_[index(by)] + static_cast<std::uint32_t>(after), 0,
                            kByte, emit_);
    }
    bool blind(Direction by) const noexcept { return conn_->blind(by); }

  private:
    const Row& row_;
    std::unique_ptr<const HelperSet> set_;
    std::unique_ptr<HelperEngine> engine_;
    HelperConn* conn_ = nullptr;
    std::array<std::uint32_t, 2> next_{1, 1};
    Emit emit_;
};

/// What is counted: callgrind is told its name.
[[gnu::noinline]] void counted_bytes(const Row& row, Connection& connection,
                                     std::string_view text) noexcept {
    const std::size_t each = row.manner == Manner::datagram  ? text.size()
                             : row.manner == Manner::packets ? 1400
                                                             : 1;
    for (; !text.empty(); text.remove_prefix(std::min(each, text.size()))) {
        connection.say(row.by, text.substr(0, each));
        if (row.manner == Manner::answered)
            connection.say(row.by == kClient ? kServer : kClient, row.answer);
    }
}

void run(const Row& row) {
    for (const std::size_t length : kLengths) {
        Connection connection(row);
        if (connection.blind(row.by)) die(row.name, "its opening is not of the protocol");
        const std::string text = row.text(length);
        if (row.manner == Manner::early) connection.say_early(row.by, text.size() + 1);
        counted_bytes(row, connection, text);
        // Of a blind stream nothing is read: nothing was measured.
        if (connection.blind(row.by)) die(row.name, "the stream went blind");
        std::printf("%.*s %zu\n", static_cast<int>(row.name.size()), row.name.data(), text.size());
    }
}

}  // namespace
}  // namespace postern

int main(int argc, char** argv) {
    using namespace postern;
    for (const Row& row : rows()) {
        bool wanted = false;
        for (int i = 1; i < argc; ++i)
            wanted |= row.name == argv[i] || std::string_view(argv[i]) == "all";
        if (argc == 1)
            std::printf("%.*s\n", static_cast<int>(row.name.size()), row.name.data());
        else if (wanted)
            run(row);
    }
}
