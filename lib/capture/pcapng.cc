// SPDX-License-Identifier: BSD-3-Clause
#include "capture/pcapng.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace postern {
namespace {

constexpr std::uint32_t kSectionHeader = 0x0a0d0d0a, kInterface = 1, kEnhancedPacket = 6;
constexpr std::uint32_t kByteOrderMagic = 0x1a2b3c4d;
constexpr std::uint16_t kEndOfOptions = 0, kComment = 1, kName = 2, kPacketFlags = 2,
                        kTimeResolution = 9, kEthernet = 1;
constexpr std::uint32_t kSnapLength = 262'144;
constexpr char kNanoseconds = 9;  // 10^-9 s

template <class Number>
void number(std::string& out, Number value) {
    for (unsigned i = 0; i < sizeof value; ++i)
        out += static_cast<char>(value >> (8 * i) & 0xff);
}

/// Every field begins at a multiple of four bytes.
void pad(std::string& out) {
    while (out.size() % 4 != 0)
        out += '\0';
}

void option(std::string& out, std::uint16_t code, std::string_view value) {
    value = value.substr(0, UINT16_MAX);
    number(out, code);
    number(out, static_cast<std::uint16_t>(value.size()));
    out += value;
    pad(out);
}

/// Its length is at both ends, so that it can be read backwards.
void block(std::string& out, std::uint32_t type, const std::string& body) {
    const auto total = static_cast<std::uint32_t>(body.size() + 12);
    number(out, type);
    number(out, total);
    out += body;
    number(out, total);
}

}  // namespace

std::string pcapng_header(const std::vector<std::string>& interfaces) {
    std::string out, body;
    number(body, kByteOrderMagic);
    number(body, std::uint16_t{1});  // version 1.0
    number(body, std::uint16_t{0});
    number(body, ~std::uint64_t{0});  // the section's length is not known
    block(out, kSectionHeader, body);
    for (const std::string& name : interfaces) {
        body.clear();
        number(body, kEthernet);
        number(body, std::uint16_t{0});
        number(body, kSnapLength);
        option(body, kName, name);
        option(body, kTimeResolution, std::string_view(&kNanoseconds, 1));
        option(body, kEndOfOptions, {});
        block(out, kInterface, body);
    }
    return out;
}

void add_pcapng_packet(std::string& out, const PcapngPacket& packet) {
    std::string body;
    const auto time = static_cast<std::uint64_t>(packet.time_ns);
    number(body, packet.interface);
    number(body, static_cast<std::uint32_t>(time >> 32));
    number(body, static_cast<std::uint32_t>(time));
    const auto kept = static_cast<std::uint32_t>(packet.frame.size());
    number(body, kept);
    number(body, std::max(kept, packet.length));
    body.append(reinterpret_cast<const char*>(packet.frame.data()), kept);
    pad(body);
    const bool directed = packet.direction != PcapngDirection::unknown;
    if (!packet.comment.empty()) option(body, kComment, packet.comment);
    if (directed) {
        std::string flags;
        number(flags, static_cast<std::uint32_t>(packet.direction));
        option(body, kPacketFlags, flags);
    }
    if (directed || !packet.comment.empty()) option(body, kEndOfOptions, {});
    block(out, kEnhancedPacket, body);
}

Result<PcapngWriter> PcapngWriter::create(const std::string& path,
                                          const std::vector<std::string>& interfaces) {
    std::FILE* const file = path == "-" ? stdout : std::fopen(path.c_str(), "wbe");
    if (file == nullptr)
        return Error{"cannot write the capture '" + path + "': " + std::strerror(errno)};
    PcapngWriter writer(path, file);
    const std::string header = pcapng_header(interfaces);
    std::fwrite(header.data(), 1, header.size(), file);
    return writer;
}

void PcapngWriter::write(const PcapngPacket& packet) {
    block_.clear();
    add_pcapng_packet(block_, packet);
    std::fwrite(block_.data(), 1, block_.size(), file_.get());
}

Result<void> PcapngWriter::flush() {
    const bool failed = std::fflush(file_.get()) != 0 || std::ferror(file_.get()) != 0;
    if (!failed) return {};
    const int error = errno;
    reader_is_gone_ = reader_is_gone_ || error == EPIPE;
    return Error{"cannot write the capture '" + path_ +
                 "': " + std::strerror(error != 0 ? error : EIO)};
}

Result<void> PcapngWriter::close() {
    if (!file_) return {};
    auto flushed = flush();
    file_.reset();
    return flushed;
}

}  // namespace postern
