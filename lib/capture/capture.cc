// SPDX-License-Identifier: BSD-3-Clause
#include "capture/capture.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <system_error>

#include <pcap/pcap.h>

namespace postern {
namespace {

constexpr std::size_t kEthernetBytes = 14;
constexpr std::int64_t kNsPerS = 1'000'000'000;

std::int64_t to_ns(const timeval& ts) {
    // Opened for nanoseconds, tv_usec holds those. A damaged file may have any value: wrap, do not
    // overflow.
    return static_cast<std::int64_t>(static_cast<std::uint64_t>(ts.tv_sec) * kNsPerS +
                                     static_cast<std::uint64_t>(ts.tv_usec));
}

}  // namespace

void CaptureReader::Close::operator()(pcap* p) const noexcept {
    ::pcap_close(p);
}

Result<CaptureReader> CaptureReader::open(const std::string& path) {
    char why[PCAP_ERRBUF_SIZE] = "";
    pcap_t* const p =
        ::pcap_open_offline_with_tstamp_precision(path.c_str(), PCAP_TSTAMP_PRECISION_NANO, why);
    if (p == nullptr) {
        std::string text = why;  // libpcap puts the path before some of its texts
        if (text.rfind(path + ": ", 0) == 0) text.erase(0, path.size() + 2);
        return Error{"cannot read the capture '" + path + "': " + text};
    }
    switch (const int type = ::pcap_datalink(p)) {
        case DLT_EN10MB: return CaptureReader(path, p, Link::ethernet);
        case DLT_RAW:
        case DLT_IPV4:
        case DLT_IPV6: return CaptureReader(path, p, Link::raw_ip);
        case DLT_LINUX_SLL: return CaptureReader(path, p, Link::cooked_v1);
        case DLT_LINUX_SLL2: return CaptureReader(path, p, Link::cooked_v2);
        default: {
            const char* const name = ::pcap_datalink_val_to_name(type);
            ::pcap_close(p);
            return Error{"cannot read the capture '" + path + "': its link type is " +
                         (name != nullptr ? name : std::to_string(type)) +
                         ", expected Ethernet, raw IP or Linux cooked"};
        }
    }
}

Result<std::optional<CapturedFrame>> CaptureReader::next() {
    if (!pcap_) return std::optional<CapturedFrame>();
    pcap_pkthdr* header = nullptr;
    const u_char* data = nullptr;
    const int rc = ::pcap_next_ex(pcap_.get(), &header, &data);
    if (rc == PCAP_ERROR_BREAK) {
        pcap_.reset();
        return std::optional<CapturedFrame>();
    }
    if (rc != 1) {
        Error error{path_ + ": record " + std::to_string(n_) + ": " + ::pcap_geterr(pcap_.get())};
        pcap_.reset();
        return error;
    }
    CapturedFrame f;
    f.n = n_++;
    f.time_ns = to_ns(header->ts);
    f.frame = reframe(Bytes(data, header->caplen));
    f.truncated = header->caplen < header->len;
    const std::uint64_t wire = std::uint64_t{std::max(header->len, header->caplen)} +
                               (link_ == Link::ethernet ? 0 : kEthernetBytes) - link_header_bytes();
    f.length =
        static_cast<std::uint32_t>(std::clamp<std::uint64_t>(wire, f.frame.size(), UINT32_MAX));
    return std::optional<CapturedFrame>(f);
}

std::uint32_t CaptureReader::link_header_bytes() const noexcept {
    switch (link_) {
        case Link::cooked_v1: return 16;
        case Link::cooked_v2: return 20;
        default: return 0;
    }
}

Bytes CaptureReader::reframe(Bytes packet) {
    if (link_ == Link::ethernet) return packet;
    const std::size_t skip = link_header_bytes();
    // Cut inside its link header: not even the protocol is known.
    if (packet.size() < skip) return {};

    std::uint8_t ethernet[kEthernetBytes] = {};
    std::uint8_t* const source = ethernet + 6;
    std::uint8_t* const type = ethernet + 12;
    if (link_ == Link::raw_ip) {
        const bool v6 = !packet.empty() && packet[0] >> 4 == 6;
        type[0] = v6 ? 0x86 : 0x08;
        type[1] = v6 ? 0xdd : 0x00;
    } else {
        const bool v1 = link_ == Link::cooked_v1;
        const bool six_bytes = v1 ? packet[4] == 0 && packet[5] == 6 : packet[11] == 6;
        if (six_bytes) std::memcpy(source, packet.data() + (v1 ? 6 : 12), 6);
        std::memcpy(type, packet.data() + (v1 ? 14 : 0), 2);
    }
    reframed_.assign(ethernet, ethernet + kEthernetBytes);
    reframed_.insert(reframed_.end(), packet.begin() + static_cast<std::ptrdiff_t>(skip),
                     packet.end());
    return reframed_;
}

void CaptureWriter::Close::operator()(pcap* p) const noexcept {
    ::pcap_close(p);
}
void CaptureWriter::Close::operator()(pcap_dumper* d) const noexcept {
    ::pcap_dump_close(d);
}

Result<CaptureWriter> CaptureWriter::create(const std::string& path) {
    constexpr int kSnapLen = 262'144;
    std::unique_ptr<pcap, Close> p(
        ::pcap_open_dead_with_tstamp_precision(DLT_EN10MB, kSnapLen, PCAP_TSTAMP_PRECISION_NANO));
    if (!p) return Error{"no memory to write the capture '" + path + "'"};
    pcap_dumper_t* const dumper = ::pcap_dump_open(p.get(), path.c_str());
    if (dumper == nullptr) {
        std::string text = ::pcap_geterr(p.get());
        if (text.rfind(path + ": ", 0) == 0) text.erase(0, path.size() + 2);
        return Error{"cannot write the capture '" + path + "': " + text};
    }
    return CaptureWriter(path, p.release(), dumper);
}

void CaptureWriter::write(std::int64_t time_ns, Bytes frame, std::uint32_t length) {
    pcap_pkthdr header{};
    header.ts.tv_sec = time_ns / kNsPerS;
    header.ts.tv_usec = time_ns % kNsPerS;
    header.caplen = static_cast<std::uint32_t>(frame.size());
    header.len = std::max(length, header.caplen);
    ::pcap_dump(reinterpret_cast<u_char*>(dumper_.get()), &header, frame.data());
}

Result<void> CaptureWriter::close() {
    if (!dumper_) return {};
    const int flushed = ::pcap_dump_flush(dumper_.get());
    const int error = errno;
    const bool failed = flushed != 0 || std::ferror(::pcap_dump_file(dumper_.get())) != 0;
    dumper_.reset();
    if (!failed) return {};
    return Error{"cannot write the capture '" + path_ +
                 "': " + std::generic_category().message(flushed != 0 ? error : EIO)};
}

}  // namespace postern
