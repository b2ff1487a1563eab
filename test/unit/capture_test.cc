// SPDX-License-Identifier: BSD-3-Clause
// Files are built byte by byte here, so that each can be cut and damaged at will.
#include "capture/capture.h"

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <unistd.h>

#include "capture/filter.h"
#include "capture/pcapng.h"

namespace postern {
namespace {

using Buffer = std::vector<std::uint8_t>;

void u16(Buffer& b, unsigned v, bool big = false) {
    for (unsigned i = 0; i < 2; ++i)
        b.push_back(static_cast<std::uint8_t>(v >> (big ? 8 - 8 * i : 8 * i)));
}
void u32(Buffer& b, std::uint32_t v, bool big = false) {
    for (unsigned i = 0; i < 4; ++i)
        b.push_back(static_cast<std::uint8_t>(v >> (big ? 24 - 8 * i : 8 * i)));
}
void bytes(Buffer& b, const Buffer& more) {
    b.insert(b.end(), more.begin(), more.end());
}

constexpr std::uint32_t kMicro = 0xa1b2c3d4, kNano = 0xa1b23c4d;
constexpr unsigned kEthernet = 1, kRaw = 101, kCooked1 = 113, kCooked2 = 276, kWifi = 105;

Buffer pcap_file(unsigned link, std::uint32_t magic = kMicro, bool big = false) {
    Buffer b;
    u32(b, magic, big);
    u16(b, 2, big);
    u16(b, 4, big);
    u32(b, 0, big);
    u32(b, 0, big);
    u32(b, 65535, big);
    u32(b, link, big);
    return b;
}
void pcap_record(Buffer& b, std::uint32_t s, std::uint32_t fraction, const Buffer& data,
                 std::uint32_t len = 0, bool big = false) {
    const auto caplen = static_cast<std::uint32_t>(data.size());
    u32(b, s, big);
    u32(b, fraction, big);
    u32(b, caplen, big);
    u32(b, len != 0 ? len : caplen, big);
    bytes(b, data);
}

void block(Buffer& b, std::uint32_t type, Buffer body) {
    while (body.size() % 4 != 0)
        body.push_back(0);
    const auto total = static_cast<std::uint32_t>(body.size() + 12);
    u32(b, type);
    u32(b, total);
    bytes(b, body);
    u32(b, total);
}
Buffer pcapng_file(unsigned link, int resolution_digits) {
    Buffer b;
    Buffer section;
    u32(section, 0x1a2b3c4d);
    u16(section, 1);
    u16(section, 0);
    u32(section, 0xffffffff);
    u32(section, 0xffffffff);
    block(b, 0x0a0d0d0a, section);
    Buffer interface;
    u16(interface, link);
    u16(interface, 0);
    u32(interface, 65535);
    u16(interface, 9);  // if_tsresol
    u16(interface, 1);
    u32(interface, static_cast<std::uint32_t>(resolution_digits));
    u32(interface, 0);  // end of options
    block(b, 1, interface);
    return b;
}
void pcapng_packet(Buffer& b, std::uint64_t time, const Buffer& data, std::uint32_t len) {
    Buffer body;
    u32(body, 0);
    u32(body, static_cast<std::uint32_t>(time >> 32));
    u32(body, static_cast<std::uint32_t>(time));
    u32(body, static_cast<std::uint32_t>(data.size()));
    u32(body, len);
    bytes(body, data);
    block(b, 6, body);
}

class CaptureTest : public ::testing::Test {
  protected:
    CaptureTest() {
        std::string name =
            (std::filesystem::temp_directory_path() / "postern-capture-XXXXXX").string();
        dir_ = ::mkdtemp(name.data());
    }
    ~CaptureTest() override { std::filesystem::remove_all(dir_); }

    std::string path(const char* name = "in.pcap") const { return (dir_ / name).string(); }
    std::string store(const Buffer& b) const {
        std::ofstream(path(), std::ios::binary)
            .write(reinterpret_cast<const char*>(b.data()), static_cast<std::streamsize>(b.size()));
        return path();
    }

    struct Frame {
        std::uint64_t n;
        std::int64_t time_ns;
        Buffer frame;
        std::uint32_t length;
        bool truncated;
    };
    struct Content {
        std::vector<Frame> frames;
        std::string error;  ///< empty: read to the end
    };
    static Content read(const std::string& path) {
        Content content;
        auto reader = CaptureReader::open(path);
        if (!reader) {
            content.error = reader.error().message;
            return content;
        }
        for (;;) {
            auto next = reader->next();
            if (!next) {
                content.error = next.error().message;
                const auto after = reader->next();
                EXPECT_TRUE(after && !after.value());
                return content;
            }
            if (!*next) return content;
            const CapturedFrame& f = **next;
            EXPECT_LE(f.frame.size(), f.length);
            content.frames.push_back(
                {f.n, f.time_ns, Buffer(f.frame.begin(), f.frame.end()), f.length, f.truncated});
        }
    }

    std::filesystem::path dir_;
};

const Buffer kFrame{2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, 0x45, 1, 2, 3};

TEST_F(CaptureTest, PcapOfEveryByteOrderAndResolution) {
    for (const bool big : {false, true})
        for (const bool nano : {false, true}) {
            Buffer b = pcap_file(kEthernet, nano ? kNano : kMicro, big);
            pcap_record(b, 1'700'000'000, 123'456, kFrame, 0, big);
            pcap_record(b, 1'700'000'001, 7, kFrame, 1500, big);
            const Content c = read(store(b));
            EXPECT_EQ(c.error, "");
            ASSERT_EQ(c.frames.size(), 2u);
            const std::int64_t unit_ns = nano ? 1 : 1000;
            EXPECT_EQ(c.frames[0].time_ns, 1'700'000'000'000'000'000 + 123'456 * unit_ns);
            EXPECT_EQ(c.frames[0].frame, kFrame);
            EXPECT_EQ(c.frames[0].length, kFrame.size());
            EXPECT_FALSE(c.frames[0].truncated);
            EXPECT_EQ(c.frames[1].n, 1u);
            EXPECT_EQ(c.frames[1].length, 1500u);
            EXPECT_TRUE(c.frames[1].truncated);
        }
}

TEST_F(CaptureTest, PcapngOfBothResolutions) {
    for (const int digits : {6, 9}) {
        Buffer b = pcapng_file(kEthernet, digits);
        const std::uint64_t unit_ns = digits == 6 ? 1000 : 1;
        pcapng_packet(b, 1'700'000'000'123'456'000 / unit_ns, kFrame, 64);
        const Content c = read(store(b));
        EXPECT_EQ(c.error, "");
        ASSERT_EQ(c.frames.size(), 1u);
        EXPECT_EQ(c.frames[0].time_ns, 1'700'000'000'123'456'000);
        EXPECT_EQ(c.frames[0].frame, kFrame);
        EXPECT_TRUE(c.frames[0].truncated);
    }
}

TEST_F(CaptureTest, RawIpGetsAnEthernetHeader) {
    Buffer b = pcap_file(kRaw);
    pcap_record(b, 0, 0, {0x45, 1, 2}, 40);
    pcap_record(b, 0, 0, {0x60, 1, 2});
    pcap_record(b, 0, 0, {0x70});
    pcap_record(b, 0, 0, {});
    const Content c = read(store(b));
    ASSERT_EQ(c.frames.size(), 4u) << c.error;
    EXPECT_EQ(c.frames[0].frame, (Buffer{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0x45, 1, 2}));
    EXPECT_EQ(c.frames[0].length, 54u);
    EXPECT_TRUE(c.frames[0].truncated);
    EXPECT_EQ(c.frames[1].frame[12], 0x86);
    EXPECT_EQ(c.frames[1].frame[13], 0xdd);
    EXPECT_EQ(c.frames[2].frame[12], 8);
    EXPECT_EQ(c.frames[3].frame.size(), 14u);
}

TEST_F(CaptureTest, CookedFramesKeepSenderAndProtocol) {
    const Buffer v1{0, 4, 0, 1, 0, 6, 2, 0, 0, 0, 0, 9, 0, 0, 0x86, 0xdd, 0x60, 7};
    const Buffer v2{0x81, 0, 0, 0, 0, 0, 0, 1, 0, 1, 4, 6,   2,
                    0,    0, 0, 0, 9, 0, 0, 0, 5, 8, 0, 0x45};
    for (const bool first : {true, false}) {
        Buffer b = pcap_file(first ? kCooked1 : kCooked2);
        pcap_record(b, 0, 0, first ? v1 : v2, 100);
        pcap_record(b, 0, 0, Buffer((first ? v1 : v2).begin(), (first ? v1 : v2).begin() + 10),
                    100);
        const Content c = read(store(b));
        ASSERT_EQ(c.frames.size(), 2u) << c.error;
        EXPECT_EQ(c.frames[0].frame,
                  first ? (Buffer{0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 9, 0x86, 0xdd, 0x60, 7})
                        : (Buffer{0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 9, 0x81, 0, 0, 5, 8, 0, 0x45}));
        EXPECT_EQ(c.frames[0].length, first ? 98u : 94u);
        EXPECT_TRUE(c.frames[1].frame.empty()) << "cut inside the link header";
        EXPECT_TRUE(c.frames[1].truncated);
    }
}

TEST_F(CaptureTest, FilesThatAreNoCaptureSayWhy) {
    EXPECT_NE(read(path("absent")).error.find("No such file"), std::string::npos);
    EXPECT_NE(read(dir_.string()).error, "");
    EXPECT_NE(read(store({})).error, "");
    EXPECT_NE(read(store(Buffer(100, 'x'))).error.find("cannot read the capture"),
              std::string::npos);
    const std::string wifi = read(store(pcap_file(kWifi))).error;
    EXPECT_NE(wifi.find("link type is IEEE802_11, expected Ethernet"), std::string::npos) << wifi;
    EXPECT_EQ(read(store(pcap_file(kEthernet))).error, "") << "no packet is no error";
}

TEST_F(CaptureTest, CutAnywhereGivesWhatIsWholeThenNamesTheRecord) {
    Buffer plain = pcap_file(kCooked1);
    Buffer ng = pcapng_file(kRaw, 9);
    for (std::uint32_t i = 0; i < 3; ++i) {
        pcap_record(plain, i, i, Buffer(20 + i, 0x45));
        pcapng_packet(ng, i, Buffer(20 + i, 0x45), 20 + i);
    }
    for (const Buffer* whole : {&plain, &ng}) {
        ASSERT_EQ(read(store(*whole)).frames.size(), 3u);
        for (std::size_t cut = 0; cut < whole->size(); ++cut) {
            const Content c = read(
                store(Buffer(whole->begin(), whole->begin() + static_cast<std::ptrdiff_t>(cut))));
            ASSERT_LT(c.frames.size(), 3u) << cut;
            if (!c.frames.empty() && !c.error.empty()) {
                EXPECT_NE(c.error.find("record " + std::to_string(c.frames.size()) + ": "),
                          std::string::npos)
                    << c.error;
            }
        }
    }
}

TEST_F(CaptureTest, DamagedFilesEndWithoutHarm) {
    std::mt19937 rng(1);
    Buffer plain[2] = {pcap_file(kEthernet), pcap_file(kCooked2)};
    Buffer ng = pcapng_file(kCooked1, 9);
    for (std::uint32_t i = 0; i < 4; ++i) {
        for (Buffer& b : plain)
            pcap_record(b, i, i, Buffer(30, 0x45), 60);
        pcapng_packet(ng, i, Buffer(30, 0x45), 60);
    }
    for (int round = 0; round < 600; ++round) {
        Buffer b = round % 3 == 2 ? ng : plain[round % 3];
        for (unsigned k = 0; k <= rng() % 4; ++k)
            b[rng() % b.size()] = static_cast<std::uint8_t>(rng() % 3 == 0 ? 0xff : rng());
        read(store(b));  // every frame's limits are checked in there; sanitizers see the rest
    }
}

TEST_F(CaptureTest, WrittenFramesAreReadBack) {
    auto writer = CaptureWriter::create(path("out.pcap"));
    ASSERT_TRUE(writer) << writer.error().message;
    writer->write(1'700'000'000'123'456'789, Bytes(kFrame), 18);
    writer->write(1'700'000'000'123'456'790, Bytes(kFrame).first(14), 1514);
    writer->write(5, {}, 0);
    ASSERT_TRUE(writer->close());
    ASSERT_TRUE(writer->close());
    const Content c = read(path("out.pcap"));
    EXPECT_EQ(c.error, "");
    ASSERT_EQ(c.frames.size(), 3u);
    EXPECT_EQ(c.frames[0].time_ns, 1'700'000'000'123'456'789);
    EXPECT_EQ(c.frames[0].frame, kFrame);
    EXPECT_EQ(c.frames[1].frame.size(), 14u);
    EXPECT_EQ(c.frames[1].length, 1514u);
    EXPECT_TRUE(c.frames[1].truncated);
    EXPECT_EQ(c.frames[2].time_ns, 5);
}

TEST_F(CaptureTest, PcapngIsReadBack) {
    const std::string file = path("out.pcapng");
    auto writer = PcapngWriter::create(file, {"in0", "out0"});
    ASSERT_TRUE(writer) << writer.error().message;
    // Each remainder of the padding, with and without options.
    for (unsigned n = 0; n < 8; ++n)
        writer->write(
            {.interface = n % 2,
             .time_ns = 1'700'000'000'123'456'780 + n,
             .frame = Bytes(kFrame).first(kFrame.size() - n % 4),
             .length = n == 7 ? 1514u : 0u,
             .direction = n < 4 ? PcapngDirection::inbound : PcapngDirection::unknown,
             .comment = std::string_view("drop [default]").substr(0, n == 5 ? 0 : 7 + n)});
    ASSERT_TRUE(writer->close());
    ASSERT_TRUE(writer->close());
    const Content c = read(file);
    EXPECT_EQ(c.error, "");
    ASSERT_EQ(c.frames.size(), 8u);
    for (unsigned n = 0; n < 8; ++n) {
        EXPECT_EQ(c.frames[n].time_ns, 1'700'000'000'123'456'780 + n);
        EXPECT_EQ(c.frames[n].frame.size(), kFrame.size() - n % 4);
        EXPECT_EQ(c.frames[n].length, n == 7 ? 1514u : kFrame.size() - n % 4);
    }
    // Every block's length is at both ends: 4 bytes after its type, and its last 4.
    std::ifstream in(file, std::ios::binary);
    const std::string all(std::istreambuf_iterator<char>(in), {});
    const auto length_at = [&](std::size_t at) {
        std::uint32_t n = 0;
        std::memcpy(&n, all.data() + at, sizeof n);
        return n;
    };
    unsigned blocks = 0;
    for (std::size_t at = 0; at < all.size(); ++blocks) {
        const std::uint32_t n = length_at(at + 4);
        ASSERT_EQ(n % 4, 0u);
        ASSERT_LE(at + n, all.size());
        EXPECT_EQ(length_at(at + n - 4), n);
        at += n;
    }
    EXPECT_EQ(blocks, 1u + 2 + 8);
}

TEST_F(CaptureTest, PcapngWriterSaysWhenItCannotWrite) {
    EXPECT_FALSE(PcapngWriter::create(path("no/such/dir/out.pcapng"), {"in0"}));
    if (!std::filesystem::exists("/dev/full")) GTEST_SKIP() << "no /dev/full here";
    auto writer = PcapngWriter::create("/dev/full", {"in0"});
    ASSERT_TRUE(writer);
    EXPECT_FALSE(writer->close());
}

bool matches(const char* text, const Buffer& frame, std::uint32_t length = 0) {
    const auto program = compile_filter(text);
    EXPECT_TRUE(program) << text;
    const auto filter = PacketFilter::from_program(program.value());
    EXPECT_TRUE(filter) << text << ": " << (filter ? "" : filter.error().message);
    return filter && filter.value().matches(
                         Bytes(frame), std::max(length, static_cast<std::uint32_t>(frame.size())));
}

TEST(FilterTest, MatchesAsTcpdumpDoes) {
    Buffer syn(54, 0);
    syn[12] = 0x08;
    syn[14] = 0x45;
    syn[23] = 6;
    syn[26] = 192, syn[28] = 2, syn[29] = 1;  // 192.0.2.1
    syn[37] = 21;                             // to port 21
    syn[47] = 0x02;
    for (const char* yes : {"", "tcp port 21", "dst port 21 and src host 192.0.2.1", "not udp",
                            "tcp[tcpflags] & tcp-syn != 0", "len = 54", "ether[12:2] = 0x800"})
        EXPECT_TRUE(matches(yes, syn)) << yes;
    for (const char* no : {"udp", "src port 21", "host 192.0.2.9", "arp", "vlan", "greater 100"})
        EXPECT_FALSE(matches(no, syn)) << no;
    EXPECT_TRUE(matches("greater 100", syn, 1000)) << "the length on the wire";
    // A condition on bytes that are not there does not hold.
    EXPECT_FALSE(matches("tcp port 21", Buffer(syn.begin(), syn.begin() + 30)));
    EXPECT_TRUE(PacketFilter().matches({}, 0));
}

TEST(FilterTest, SaysWhatIsWrong) {
    const auto wrong = compile_filter("tcp prot 21");
    ASSERT_FALSE(wrong);
    EXPECT_NE(wrong.error().message.find("filter 'tcp prot 21': "), std::string::npos);
    EXPECT_TRUE(PacketFilter::from_program("1,6 0 0 1"));
    for (const char* bad : {"",
                            "x",
                            "0",
                            "0,",
                            "4097,6 0 0 1",
                            "1",
                            "1,",
                            "1,6 0 0",
                            "1,6 0 0 x",
                            "1,6 0 0 1,6 0 0 1",
                            "2,6 0 0 1",
                            "1,6 0 0 -1",
                            "1,6 256 0 1",
                            "1,65536 0 0 1",
                            "1,6 0 0 4294967296",
                            "1,9999 0 0 0",                // no such instruction
                            "1,0 0 0 1",                   // it does not end
                            "2,5 0 0 4294967295,6 0 0 1",  // it jumps back
                            "2,5 0 0 9,6 0 0 1",           // and away
                            "2,2 0 0 99,6 0 0 1"}) {       // no such memory
        const auto program = PacketFilter::from_program(bad);
        ASSERT_FALSE(program) << bad;
        EXPECT_NE(program.error().message.find("wrong program of a filter"), std::string::npos);
    }
}

TEST_F(CaptureTest, WriterSaysWhenItCannotWrite) {
    EXPECT_FALSE(CaptureWriter::create(path("no/such/dir/out.pcap")));
    if (!std::filesystem::exists("/dev/full")) GTEST_SKIP() << "no /dev/full here";
    auto writer = CaptureWriter::create("/dev/full");
    if (!writer) return;  // it noticed at once
    const Buffer big(60'000, 1);
    for (int i = 0; i < 4; ++i)
        writer->write(0, Bytes(big), 60'000);
    EXPECT_FALSE(writer->close());
}

}  // namespace
}  // namespace postern
