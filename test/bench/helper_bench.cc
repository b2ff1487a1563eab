// SPDX-License-Identifier: BSD-3-Clause
// What a helped connection costs: control messages of each helper, FTP lines through stream,
// scanner and parser, and payload that does not matter. One worker, all in its caches;
// `items_per_second` are lines, or segments where the name says so.
#include <array>
#include <cstdlib>
#include <filesystem>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <benchmark/benchmark.h>

#include "helper/engine.h"
#include "helper/registry.h"
#include "helper/scanner_cache.h"

namespace postern {
namespace {

using Words = std::vector<std::pair<Direction, std::string>>;
constexpr Direction kClient = Direction::original, kServer = Direction::reply;

class Control {
  public:
    explicit Control(std::string_view helper = "ftp",
                     const Words& opening = {{kServer, "220 ready\r\n"},
                                             {kClient, "USER anonymous\r\n"},
                                             {kServer, "331 password\r\n"},
                                             {kClient, "PASS guest\r\n"}},
                     std::uint8_t protocol = proto::tcp,
                     std::span<const HelperDesc* const> others = {},
                     const IpAddr& server = tuple().dst)
        : protocol_(protocol) {
        std::vector<HelperConfig> configs{{1, "", find_helper(helper), {}}};
        for (const HelperDesc* other : others)
            if (other != configs[0].desc)
                configs.push_back({static_cast<HelperId>(configs.size() + 1), "", other, {}});
        (void)add_children(configs, find_helper);
        set_ = std::move(HelperSet::create(configs)).value();
        engine_ = std::move(HelperEngine::create(*set_, {16, 16, 4096})).value();
        Tuple original = tuple();
        original.protocol = protocol;
        original.dst = server;
        conn_ = engine_->attach(1, original, 1);
        engine_->on_syn(conn_, kClient, 0);
        engine_->on_syn(conn_, kServer, 0);
        for (const auto& [who, text] : opening)
            say(who, text);
    }
    static Tuple tuple() {
        return {IpAddr::v4(192, 0, 2, 1), IpAddr::v4(198, 51, 100, 2), Be16::from_host(40000),
                Be16::from_host(21), proto::tcp};
    }
    void say(Direction d, const std::string& text) {
        const Bytes bytes{reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
        if (protocol_ == proto::udp)
            engine_->on_datagram(conn_, d, bytes, emit_);
        else
            engine_->on_segment(conn_, d, next_[index(d)], 0, bytes, emit_);
        benchmark::DoNotOptimize(emit_.requests().data());
        next_[index(d)] += static_cast<std::uint32_t>(text.size());
    }
    std::size_t asked() const { return emit_.requests().size(); }

  private:
    std::uint8_t protocol_;
    std::unique_ptr<const HelperSet> set_;
    std::unique_ptr<HelperEngine> engine_;
    HelperConn* conn_ = nullptr;
    std::array<std::uint32_t, 2> next_{1, 1};
    Emit emit_;
};

/// One round after the other of the same words, a segment (or datagram) each; `wanted` pin-holes
/// a round.
void rounds_of(benchmark::State& state, Control& control, const Words& round, std::size_t wanted) {
    std::size_t asked = 0, rounds = 0;
    for (auto _ : state) {
        ++rounds;
        for (const auto& [who, text] : round) {
            control.say(who, text);
            asked += control.asked();
        }
    }
    if (asked != wanted * rounds) state.SkipWithError("the announcements were not all found");
    state.SetItemsProcessed(static_cast<std::int64_t>(rounds * round.size()));
}

/// A session as clients and servers hold it: 14 lines, a segment each, of which two open.
void session(benchmark::State& state) {
    Control control;
    rounds_of(state, control,
              {
                  {kClient, "CWD /pub/debian/pool/main/v/vsftpd\r\n"},
                  {kServer, "250 Directory successfully changed.\r\n"},
                  {kClient, "TYPE I\r\n"},
                  {kServer, "200 Switching to Binary mode.\r\n"},
                  {kClient, "SIZE vsftpd_3.0.3-13.dsc\r\n"},
                  {kServer, "213 1970\r\n"},
                  {kClient, "EPSV\r\n"},
                  {kServer, "229 Entering Extended Passive Mode (|||50001|)\r\n"},
                  {kClient, "RETR vsftpd_3.0.3-13.dsc\r\n"},
                  {kServer, "150 Opening BINARY mode data connection (1970 bytes).\r\n"},
                  {kServer, "226 Transfer complete.\r\n"},
                  {kClient, "PORT 192,0,2,1,195,80\r\n"},
                  {kServer, "200 PORT command successful.\r\n"},
                  {kClient, "NOOP\r\n"},
              },
              2);
}
BENCHMARK(session);

/// A call and a registration as phones and proxies hold them: 9 messages, of which four announce
/// and two (OPTIONS and its answer) do not matter.
void sip(benchmark::State& state, std::uint8_t protocol) {
    const auto message = [](const std::string& start, const std::string& cseq,
                            const std::string& more, const std::string& body) {
        return start +
               "\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK776asdhds;rport\r\n"
               "Max-Forwards: 70\r\nFrom: \"Alice\" <sip:alice@example.org>;tag=1928301774\r\n"
               "To: <sip:bob@example.org>;tag=a6c85cf\r\nCall-ID: a84b4c76e66710@192.0.2.1\r\n"
               "CSeq: " +
               cseq +
               "\r\nUser-Agent: bench/1.0\r\n"
               "Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE, PRACK\r\n" +
               more + "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
    };
    const auto media = [](const std::string& host, const std::string& port) {
        return "v=0\r\no=- 1 1 IN IP4 " + host + "\r\ns=-\r\nc=IN IP4 " + host +
               "\r\nt=0 0\r\nm=audio " + port +
               " RTP/AVP 8 0 101\r\na=rtpmap:8 PCMA/8000\r\n"
               "a=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\n"
               "a=sendrecv\r\n";
    };
    const std::string described = "Content-Type: application/sdp\r\n";
    const std::string contact = "Contact: <sip:alice@192.0.2.1:5062>;expires=600\r\n";
    const Words round{
        {kClient, message("REGISTER sip:example.org SIP/2.0", "1 REGISTER", contact, "")},
        {kServer, message("SIP/2.0 200 OK", "1 REGISTER", contact, "")},
        {kServer, message("OPTIONS sip:alice@192.0.2.1 SIP/2.0", "1 OPTIONS", "", "")},
        {kClient, message("SIP/2.0 200 OK", "1 OPTIONS", "", "")},
        {kClient, message("INVITE sip:bob@example.org SIP/2.0", "2 INVITE", described,
                          media("192.0.2.1", "16384"))},
        {kServer, message("SIP/2.0 180 Ringing", "2 INVITE", "", "")},
        {kServer, message("SIP/2.0 200 OK", "2 INVITE", described, media("198.51.100.2", "20000"))},
        {kClient, message("ACK sip:bob@198.51.100.2 SIP/2.0", "2 ACK", "", "")},
        {kClient, message("BYE sip:bob@198.51.100.2 SIP/2.0", "3 BYE", "", "")},
    };
    Control control("sip", round, protocol);
    rounds_of(state, control, round, 5);
}
BENCHMARK_CAPTURE(sip, udp, proto::udp);
BENCHMARK_CAPTURE(sip, tcp, proto::tcp);
/// A request, its acknowledgement, and the reply with three streams: three messages.
void amanda(benchmark::State& state) {
    const std::string id = " HANDLE 000-00000000 SEQ 1700000000\n";
    Control control("amanda", {}, proto::udp);
    rounds_of(state, control,
              {{kClient, "Amanda 3.5 REQ" + id + "SECURITY USER backup\nSERVICE sendbackup\n"},
               {kServer, "Amanda 3.5 ACK" + id},
               {kServer, "Amanda 3.5 REP" + id + "CONNECT DATA 50085 MESG 50086 INDEX 50087\n"}},
              3);
}
BENCHMARK(amanda);

/// Text to a channel, an offer, and somebody else's offer: three lines.
void irc(benchmark::State& state) {
    Control control("irc", {{kClient, "NICK me\r\n"}, {kServer, ":irc.example 001 me :hi\r\n"}});
    rounds_of(state, control,
              {{kServer, ":you!u@h PRIVMSG #debian :has anybody seen the new release yet?\r\n"},
               {kClient,
                "PRIVMSG you :\x01"
                "DCC SEND f.bin 3221225985 5000 1000\x01\r\n"},
               {kServer,
                ":you!u@h PRIVMSG me :\x01"
                "DCC CHAT chat 3405803785 5000\x01\r\n"}},
              1);
}
BENCHMARK(irc);

const Words kRtspOpening{{kClient, "OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n"},
                         {kServer, "RTSP/1.0 200 OK\r\nCSeq: 1\r\n\r\n"}};

/// SETUP and its answer, and a question that keeps the session alive and its answer: four messages.
void rtsp(benchmark::State& state) {
    Control control("rtsp", kRtspOpening);
    rounds_of(state, control,
              {{kClient,
                "SETUP rtsp://camera/stream/1 RTSP/1.0\r\nCSeq: 3\r\nUser-Agent: x\r\n"
                "Transport: RTP/AVP;unicast;client_port=5000-5001\r\n\r\n"},
               {kServer,
                "RTSP/1.0 200 OK\r\nCSeq: 3\r\nSession: 12345678;timeout=60\r\n"
                "Transport: RTP/AVP;unicast;client_port=5000-5001;server_port=6000-6001"
                "\r\n\r\n"},
               {kClient,
                "GET_PARAMETER rtsp://camera/stream RTSP/1.0\r\nCSeq: 4\r\n"
                "Session: 12345678\r\n\r\n"},
               {kServer, "RTSP/1.0 200 OK\r\nCSeq: 4\r\nSession: 12345678\r\n\r\n"}},
              4);
}
BENCHMARK(rtsp);

/// A segment with media in the control connection: what passing over a byte costs.
void rtsp_interleaved(benchmark::State& state) {
    Control control("rtsp", kRtspOpening);
    std::string frame(1400, 'x');
    frame[0] = '$';
    frame[1] = 0;
    frame[2] = static_cast<char>((frame.size() - 4) >> 8);
    frame[3] = static_cast<char>((frame.size() - 4) & 0xff);
    for (auto _ : state)
        control.say(kServer, frame);
    state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(frame.size()));
}
BENCHMARK(rtsp_interleaved);

/// A request for an image and its answer: two messages.
void sane(benchmark::State& state) {
    const auto text = [](std::initializer_list<unsigned> words) {
        std::string out;
        for (const unsigned w : words)
            for (unsigned shift = 32; shift != 0; shift -= 8)
                out += static_cast<char>(w >> (shift - 8) & 0xff);
        return out;
    };
    Control control("sane",
                    {{kClient, text({0, 0x01000003, 0})}, {kServer, text({0, 0x01000003})}});
    rounds_of(state, control, {{kClient, text({7, 0})}, {kServer, text({0, 22001, 0x1234, 0})}}, 1);
}
BENCHMARK(sane);

std::string octets(std::string_view hex) {
    std::string out;
    for (std::size_t i = 0; i + 1 < hex.size(); i += 2)
        out += static_cast<char>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16));
    return out;
}

// What H.323 endpoints say; test/e2e/h323_messages.py writes such.
const std::string
    kCapabilities = octets("0300000e0200010600088175000d"),
    kOpenChannel = octets("03000017030000000c2013800a04000100c0000201138d"),
    kOpenChannelAck = octets("0300001b22c000000280101c0000c6336402177000c63364021771"),
    kSetup = octets(
        "0300003d08020011057e0031050000060008914a000722c0b50000120b506f737465726e207465"
        "7374003100000102030405060708090a0b0c0d0e0f00"),
    kFastConnect = octets(
        "0300007a08028011077e006e050280060008914a000722c0b50000120b506f737465726e207465"
        "7374003100000102030405060708090a0b0c0d0e0f08103b02190000000c2013801114000100c6"
        "336402177000c633640217711f4000010600030000014c2013801114000100c6336402177000c6"
        "3364021771"),
    kRegistration = octets(
        "0c000001060008914a0007800100c000020106b80100c00002019c4022c0b50000120b506f7374"
        "65726e2074657374003106b50000120b506f737465726e20746573740031"),
    kConfirmation = octets(
        "12000001060008914a000700120065006e00640070006f0069006e0074002000370280"
        "02003b");

/// A channel and its answer: four pin-holes.
void h323_channel(benchmark::State& state) {
    Control control("h245", {{kServer, kCapabilities}, {kClient, kCapabilities}});
    rounds_of(state, control, {{kClient, kOpenChannel}, {kServer, kOpenChannelAck}}, 4);
}
BENCHMARK(h323_channel);

/// H.245 that announces nothing.
void h323_capabilities(benchmark::State& state) {
    Control control("h245", {{kServer, kCapabilities}, {kClient, kCapabilities}});
    rounds_of(state, control, {{kClient, kCapabilities}, {kServer, kCapabilities}}, 0);
}
BENCHMARK(h323_capabilities);

/// A call whose media are in Setup's answer: two pin-holes.
void h323_fast_start(benchmark::State& state) {
    Control control("q931", {});
    rounds_of(state, control, {{kClient, kSetup}, {kServer, kFastConnect}}, 2);
}
BENCHMARK(h323_fast_start);

/// A registration and its confirmation: one pin-hole.
void h323_registration(benchmark::State& state) {
    Control control("ras", {}, proto::udp);
    rounds_of(state, control, {{kClient, kRegistration}, {kServer, kConfirmation}}, 1);
}
BENCHMARK(h323_registration);

/// A call, from its request to its end: four messages, of which one opens two directions.
void pptp(benchmark::State& state) {
    const auto message = [](unsigned type, unsigned size, unsigned first, unsigned second,
                            unsigned third) {
        std::string out(size, '\0');
        const auto put = [&](std::size_t at, unsigned value) {
            out[at] = static_cast<char>(value >> 8);
            out[at + 1] = static_cast<char>(value & 0xff);
        };
        put(0, size);
        put(2, 1);
        put(4, 0x1a2b);
        put(6, 0x3c4d);
        put(8, type);
        put(12, first);
        put(14, second);
        out[16] = static_cast<char>(third);
        return out;
    };
    Control control("pptp", {{kClient, message(1, 156, 0x100, 0, 0)},
                             {kServer, message(2, 156, 0x100, 0x100, 0)}});
    rounds_of(state, control,
              {{kClient, message(7, 168, 1, 0, 0)},
               {kServer, message(8, 32, 2, 1, 1)},
               {kClient, message(12, 16, 1, 0, 0)},
               {kServer, message(13, 148, 2, 0, 0)}},
              2);
}
BENCHMARK(pptp);

/// A name that is asked of the whole subnet.
void netbios(benchmark::State& state) {
    std::string query("\x12\x34\x01\x10\0\x01\0\0\0\0\0\0\x20", 13);
    query.append(32, 'C').append("\0\0\x20\0\x01", 5);
    Control control("netbios", {}, proto::udp, {}, IpAddr::v4(255, 255, 255, 255));
    rounds_of(state, control, {{kClient, query}}, 1);
}
BENCHMARK(netbios);

/// A file that is asked for.
void tftp(benchmark::State& state) {
    Control control("tftp", {}, proto::udp);
    rounds_of(state, control, {{kClient, std::string("\0\1boot/grub.cfg\0octet\0", 22)}}, 1);
}
BENCHMARK(tftp);

/// The agents of the whole subnet.
void snmp(benchmark::State& state) {
    const std::string get("\x30\x12\x02\x01\x01\x04\x06public\xa0\x05\x02\x01\x01\x30\0", 20);
    Control control("snmp", {}, proto::udp, {}, IpAddr::v4(255, 255, 255, 255));
    rounds_of(state, control, {{kClient, get}}, 1);
}
BENCHMARK(snmp);

/// One kind of line, a segment each.
void line(benchmark::State& state, Direction who, const char* text, std::size_t wanted) {
    Control control;
    const std::string s(text);
    for (auto _ : state) {
        control.say(who, s);
        if (control.asked() != wanted) state.SkipWithError("wrong answer");
    }
    state.SetItemsProcessed(state.iterations());
}
BENCHMARK_CAPTURE(line, noop, Direction::original, "NOOP\r\n", 0);
BENCHMARK_CAPTURE(line, reply, Direction::reply, "200 Switching to Binary mode.\r\n", 0);
BENCHMARK_CAPTURE(line, port, Direction::original, "PORT 192,0,2,1,195,80\r\n", 1);
BENCHMARK_CAPTURE(line, pasv, Direction::reply,
                  "227 Entering Passive Mode (198,51,100,2,195,80).\r\n", 1);
BENCHMARK_CAPTURE(line, epsv, Direction::reply,
                  "229 Entering Extended Passive Mode (|||50001|)\r\n", 1);

/// Many lines in a segment, none of which matters: what scanning a byte costs, for the patterns of
/// one helper, or of all of them.
void lines_without_match(benchmark::State& state, bool all) {
    Control control(
        "ftp",
        {{kServer, "220 ready\r\n"}, {kClient, "USER anonymous\r\n"}, {kServer, "230 in\r\n"}},
        proto::tcp, all ? all_helpers() : std::span<const HelperDesc* const>{});
    std::string text;
    while (text.size() < static_cast<std::size_t>(state.range(0)))
        text += " drwxr-xr-x    2 ftp      ftp          4096 Jan 01 00:00 pub\r\n";
    for (auto _ : state)
        control.say(Direction::reply, text);
    state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(text.size()));
}
BENCHMARK_CAPTURE(lines_without_match, ftp, false)->Arg(60)->Arg(1400)->Arg(9000);
BENCHMARK_CAPTURE(lines_without_match, all, true)->Arg(60)->Arg(1400)->Arg(9000);

/// A line in two segments: the tail waits in a buffer.
void split_line(benchmark::State& state) {
    Control control;
    const std::string first = "PORT 192,0,2,1", second = ",195,80\r\n";
    for (auto _ : state) {
        control.say(Direction::original, first);
        control.say(Direction::original, second);
        if (control.asked() != 1) state.SkipWithError("wrong answer");
    }
    state.SetItemsProcessed(state.iterations());
}
BENCHMARK(split_line);

/// A segment without payload (an ACK).
void bare_ack(benchmark::State& state) {
    Control control;
    const std::string nothing;
    for (auto _ : state)
        control.say(Direction::original, nothing);
    state.SetItemsProcessed(state.iterations());
}
BENCHMARK(bare_ack);

void attach_and_detach(benchmark::State& state) {
    const HelperConfig config{1, "", find_helper("ftp"), {}};
    const auto set = std::move(HelperSet::create({&config, 1})).value();
    const auto engine = std::move(HelperEngine::create(*set, {16, 16, 4096})).value();
    Emit emit;
    for (auto _ : state) {
        HelperConn* conn = engine->attach(1, Control::tuple(), 1);
        benchmark::DoNotOptimize(conn);
        engine->detach(conn, emit);
    }
}
BENCHMARK(attach_and_detach);

/// A set of all helpers, as a start makes it: their patterns compiled, or loaded from the cache.
void make_set(benchmark::State& state, bool cached) {
    std::string directory = "/tmp/postern-bench-XXXXXX";
    if (mkdtemp(directory.data()) == nullptr) return state.SkipWithError("no place for a cache");
    std::vector<HelperConfig> configs;
    for (const HelperDesc* helper : all_helpers())
        configs.push_back({static_cast<HelperId>(configs.size() + 1), "", helper, {}});
    ScannerCache cache(directory);
    if (cached) (void)HelperSet::create(configs, &cache);
    for (auto _ : state)
        benchmark::DoNotOptimize(HelperSet::create(configs, cached ? &cache : nullptr));
    state.counters["loaded"] = cache.hits();
    std::filesystem::remove_all(directory);
}
BENCHMARK_CAPTURE(make_set, compiled, false)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(make_set, loaded, true)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace postern
