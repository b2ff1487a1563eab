// SPDX-License-Identifier: BSD-3-Clause
// Capture files: reads packets as Ethernet frames, writes Ethernet frames.
//
// Used by: `postern replay` and tests, on one thread. Files come from any source: a damaged one is
// an Error that names the record.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "net/cursor.h"

struct pcap;
struct pcap_dumper;

namespace postern {

struct CapturedFrame {
    std::uint64_t n = 0;       ///< the record's index in the file
    std::int64_t time_ns = 0;  ///< since 1970, by the file: may run backwards
    Bytes frame;               ///< Ethernet; valid until the next call of next()
    std::uint32_t length = 0;  ///< bytes it had on the wire, as Ethernet; >= frame.size()
    bool truncated = false;    ///< the capture has less than the packet on the wire
};

class CaptureReader {
  public:
    /// pcap or pcapng; link types Ethernet, raw IP, Linux cooked (both versions). "-" reads
    /// standard input.
    static Result<CaptureReader> open(const std::string& path);

    /// Nothing at the end of the file. After an Error there are no more.
    Result<std::optional<CapturedFrame>> next();

  private:
    enum class Link {
        ethernet,
        raw_ip,
        cooked_v1,
        cooked_v2
    };
    struct Close {
        void operator()(pcap* p) const noexcept;
    };

    CaptureReader(std::string path, pcap* p, Link link)
        : path_(std::move(path)), pcap_(p), link_(link) {}
    /// Gives the packet an Ethernet header in place of its own link header.
    Bytes reframe(Bytes packet);
    std::uint32_t link_header_bytes() const noexcept;

    std::string path_;
    std::unique_ptr<pcap, Close> pcap_;
    Link link_;
    std::uint64_t n_ = 0;
    std::vector<std::uint8_t> reframed_;
};

/// Writes nanosecond pcap of Ethernet frames.
class CaptureWriter {
  public:
    static Result<CaptureWriter> create(const std::string& path);

    /// `length` is what the frame had on the wire; at least frame.size().
    void write(std::int64_t time_ns, Bytes frame, std::uint32_t length);

    /// Says whether all was written; without it the file ends well all the same, but unchecked.
    Result<void> close();

  private:
    struct Close {
        void operator()(pcap* p) const noexcept;
        void operator()(pcap_dumper* d) const noexcept;
    };
    CaptureWriter(std::string path, pcap* p, pcap_dumper* d)
        : path_(std::move(path)), pcap_(p), dumper_(d) {}

    std::string path_;
    std::unique_ptr<pcap, Close> pcap_;
    std::unique_ptr<pcap_dumper, Close> dumper_;
};

}  // namespace postern
