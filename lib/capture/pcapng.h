// SPDX-License-Identifier: BSD-3-Clause
// pcapng: packets with comments, which Wireshark and tshark show (frame.comment). libpcap writes no
// pcapng, and rte_pcapng no comments of packets, so the blocks are written here
// (draft-ietf-opsawg-pcapng, sections 4.1 to 4.3).
//
// One section, little-endian; interfaces first, then packets, with times in nanoseconds. Plain
// functions from values to bytes; PcapngWriter puts them into a file.
#pragma once

#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "net/cursor.h"

namespace postern {

/// Directions of a packet at its interface.
enum class PcapngDirection : std::uint8_t {
    unknown = 0,
    inbound = 1,
    outbound = 2
};

struct PcapngPacket {
    std::uint32_t interface = 0;  ///< index of a name of pcapng_header()
    std::int64_t time_ns = 0;     ///< since 1970
    Bytes frame;                  ///< Ethernet
    std::uint32_t length = 0;     ///< bytes on the wire, at least frame.size()
    PcapngDirection direction = PcapngDirection::unknown;
    std::string_view comment;  ///< UTF-8; empty: none. At most 65535 bytes of it are kept
};

/// The section header, and an Ethernet interface for each name.
std::string pcapng_header(const std::vector<std::string>& interfaces);
/// Appends one packet.
void add_pcapng_packet(std::string& out, const PcapngPacket& packet);

class PcapngWriter {
  public:
    /// `path` "-": standard output, which stays open.
    static Result<PcapngWriter> create(const std::string& path,
                                       const std::vector<std::string>& interfaces);
    void write(const PcapngPacket& packet);
    /// Writes what is buffered. Says whether all has been written so far.
    Result<void> flush();
    /// Whether writing failed because nobody reads the pipe any more (EPIPE).
    bool reader_is_gone() const noexcept { return reader_is_gone_; }
    /// Says whether all was written.
    Result<void> close();

  private:
    struct Close {
        void operator()(std::FILE* file) const noexcept {
            if (file != stdout) std::fclose(file);
        }
    };
    PcapngWriter(std::string path, std::FILE* file) : path_(std::move(path)), file_(file) {}

    std::string path_;
    std::unique_ptr<std::FILE, Close> file_;
    std::string block_;
    bool reader_is_gone_ = false;
};

}  // namespace postern
