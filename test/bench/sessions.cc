// SPDX-License-Identifier: BSD-3-Clause
#include "sessions.h"

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "wire.h"

namespace postern::bench {
namespace {

constexpr std::uint8_t kFin = 0x01, kSyn = 0x02, kPsh = 0x08, kAck = 0x10;
constexpr unsigned kHeaders = 14 + 20 + 20, kSegment = 1400;
constexpr unsigned kMaxRepeats = 6;
constexpr std::uint32_t kLookAtOnce = 16;
constexpr std::uint32_t kFirstSeq = 1000;

constexpr unsigned side_index(Sessions::Side side) {
    return side == Sessions::Side::client ? 0 : 1;
}
constexpr std::uint32_t client_address(std::uint32_t slot) {
    return 10u << 24 | slot;
}
/// 256 servers.
constexpr std::uint32_t server_address(std::uint32_t slot) {
    return 198u << 24 | 18u << 16 | (slot & 0xff);
}

}  // namespace

Sessions::Sessions(const SessionConfig& config)
    : config_(config), slots_(config.slots), due_(config.slots) {
    make_script(config);
    for (std::uint32_t s = 0; s < config.slots; ++s)
        begin(s);
}

void Sessions::add(std::uint8_t conn, Side from, std::uint8_t flags, std::string_view text) {
    script_.push_back({conn, from, flags, text.empty() ? Text::none : Text::line, text,
                       static_cast<std::uint16_t>(text.size())});
}

void Sessions::add_connection(std::uint8_t conn) {
    add(conn, Side::client, kSyn);
    add(conn, Side::server, kSyn | kAck);
    add(conn, Side::client, kAck);
}

void Sessions::add_bytes(std::uint8_t conn, unsigned bytes) {
    for (unsigned left = bytes; left != 0;) {
        const unsigned n = std::min(left, kSegment);
        script_.push_back(
            {conn, Side::server, kPsh | kAck, Text::bytes, {}, static_cast<std::uint16_t>(n)});
        left -= n;
    }
    add(conn, Side::client, kAck);
}

void Sessions::add_close(std::uint8_t conn, Side first) {
    const Side second = first == Side::client ? Side::server : Side::client;
    add(conn, first, kFin | kAck);
    add(conn, second, kFin | kAck);
    add(conn, first, kAck);
}

void Sessions::make_script(const SessionConfig& config) {
    constexpr std::uint8_t kSays = kPsh | kAck;
    const auto client = [&](std::string_view text) { add(0, Side::client, kSays, text); };
    const auto server = [&](std::string_view text) { add(0, Side::server, kSays, text); };
    add_connection(0);
    if (!config.ftp) {
        client("GET / HTTP/1.0\r\nHost: server.example.net\r\n\r\n");
        add_bytes(0, config.data_bytes);
        add_close(0, Side::server);
        return;
    }
    server("220 (vsFTPd 3.0.3)\r\n");
    client("USER anonymous\r\n");
    server("331 Please specify the password.\r\n");
    client("PASS guest@\r\n");
    server("230 Login successful.\r\n");
    client("TYPE I\r\n");
    server("200 Switching to Binary mode.\r\n");
    for (unsigned t = 0; t < config.transfers; ++t) {
        client("PASV\r\n");
        script_.push_back({0, Side::server, kSays, Text::passive, {}, 0});
        add_connection(1);
        client("RETR file.bin\r\n");
        server("150 Opening BINARY mode data connection for file.bin.\r\n");
        add_bytes(1, config.data_bytes);
        add_close(1, Side::server);
        server("226 Transfer complete.\r\n");
    }
    client("QUIT\r\n");
    server("221 Goodbye.\r\n");
    add_close(0, Side::server);
}

void Sessions::begin(std::uint32_t slot) {
    Slot& s = slots_[slot];
    s.step = 0;
    s.repeats = 0;
    for (auto& conn : s.seq)
        conn = {kFirstSeq + s.session, kFirstSeq + 7 * s.session};
    push(slot);
}

void Sessions::push(std::uint32_t slot) {
    due_[(due_head_ + due_count_++) % due_.size()] = slot;
}

Sessions::Ports Sessions::ports(const Slot& slot, std::uint8_t conn) const {
    if (conn == 0)
        return {static_cast<std::uint16_t>(1024 + slot.session % 60'000),
                static_cast<std::uint16_t>(config_.ftp ? 21 : 80)};
    // Clients take the next port for the next connection; the server announces one that is free.
    return {static_cast<std::uint16_t>(1024 + (30'000 + slot.transfer) % 60'000),
            static_cast<std::uint16_t>(20'000 + slot.transfer % 39'989)};
}

unsigned Sessions::payload(std::uint32_t slot, const Step& step, std::uint8_t* out) const {
    switch (step.kind) {
        case Text::none: return 0;
        case Text::line: std::memcpy(out, step.text.data(), step.text.size()); return step.length;
        case Text::bytes: std::memset(out, 'x', step.length); return step.length;
        case Text::passive: break;
    }
    const std::uint32_t a = server_address(slot);
    const unsigned port = ports(slots_[slot], 1).server;
    char text[80];
    const int n =
        std::snprintf(text, sizeof text, "227 Entering Passive Mode (%u,%u,%u,%u,%u,%u).\r\n",
                      a >> 24, a >> 16 & 255, a >> 8 & 255, a & 255, port >> 8, port & 255);
    std::memcpy(out, text, static_cast<std::size_t>(n));
    return static_cast<unsigned>(n);
}

unsigned Sessions::next(std::uint8_t* frame, Side& from, std::uint64_t now) {
    if (due_count_ == 0) return 0;
    const std::uint32_t slot = due_[due_head_];
    due_head_ = (due_head_ + 1) % static_cast<std::uint32_t>(due_.size());
    --due_count_;
    Slot& s = slots_[slot];
    const Step& step = script_[s.step];
    from = step.from;
    const bool client = from == Side::client;
    const unsigned me = side_index(from);
    const unsigned length = payload(slot, step, frame + kHeaders);
    const Ports p = ports(s, step.conn);

    write_ethernet(frame, client ? config_.to_server_mac : config_.to_client_mac);
    std::uint8_t* tcp =
        write_ipv4(frame + 14, 6, client ? client_address(slot) : server_address(slot),
                   client ? server_address(slot) : client_address(slot), 20 + length);
    put16(tcp, client ? p.client : p.server);
    put16(tcp + 2, client ? p.server : p.client);
    put32(tcp + 4, s.seq[step.conn][me]);
    put32(tcp + 8, (step.flags & kAck) != 0 ? s.seq[step.conn][1 - me] : 0);
    tcp[12] = 5 << 4;
    tcp[13] = step.flags;
    put16(tcp + 14, 0xffff);
    put16(tcp + 18, 0);
    set_l4_checksum(frame + 14, tcp, 20 + length, tcp + 16);

    s.waiting = true;
    s.sent_at = now;
    // An Ethernet frame without its check sequence has 60 bytes at least.
    if (length < 6) std::memset(frame + kHeaders + length, 0, 6 - length);
    return kHeaders + std::max(length, 6u);
}

void Sessions::arrived(const std::uint8_t* frame, unsigned len, Side at) {
    const std::uint8_t* ip = frame + 14;
    const std::uint8_t* tcp = ip + 20;
    const bool to_server = at == Side::server;
    const std::uint32_t slot =
        len < kHeaders ? ~0u : get32(ip + (to_server ? 12 : 16)) - client_address(0);
    if (slot >= slots_.size() || ip[9] != 6 || get16(frame + 12) != 0x0800) {
        ++counts_.strays;
        return;
    }
    Slot& s = slots_[slot];
    const Step& step = script_[s.step];
    const Ports p = ports(s, step.conn);
    const unsigned sender = side_index(step.from);
    std::uint32_t& seq = s.seq[step.conn][sender];
    const bool client = step.from == Side::client;
    if (!s.waiting || client != to_server || tcp[13] != step.flags ||
        get16(tcp) != (client ? p.client : p.server) ||
        get16(tcp + 2) != (client ? p.server : p.client) || get32(tcp + 4) != seq) {
        ++counts_.strays;
        return;
    }
    s.waiting = false;
    s.repeats = 0;
    ++counts_.packets;
    const unsigned length = get16(ip + 2) - 40u;
    seq += length + ((step.flags & (kSyn | kFin)) != 0 ? 1 : 0);
    const bool opened =
        step.flags == kAck && s.step >= 2 && script_[s.step - 1u].flags == (kSyn | kAck);
    counts_.connections += opened;
    counts_.announced += opened && step.conn == 1;
    // The data connection's own part is over with the line on the control connection after it.
    const bool transferred = step.conn == 0 && s.step != 0 && script_[s.step - 1u].conn == 1 &&
                             script_[s.step - 1u].flags == kAck &&
                             script_[s.step - 2u].flags == (kFin | kAck);
    if (transferred) {
        ++s.transfer;
        s.seq[1] = {kFirstSeq + s.transfer, kFirstSeq + 7 * s.transfer};
    }
    if (++s.step == script_.size()) {
        ++counts_.sessions;
        ++s.session;
        begin(slot);
    } else {
        push(slot);
    }
}

void Sessions::look_for_lost(std::uint64_t now) {
    for (std::uint32_t i = 0; i < kLookAtOnce; ++i) {
        const std::uint32_t slot = looked_at_;
        looked_at_ = (looked_at_ + 1) % static_cast<std::uint32_t>(slots_.size());
        Slot& s = slots_[slot];
        if (!s.waiting || now - s.sent_at < config_.repeat_after) continue;
        s.waiting = false;
        if (++s.repeats <= kMaxRepeats) {
            ++counts_.repeated;
            push(slot);
            continue;
        }
        ++counts_.failed;
        ++s.session;
        ++s.transfer;
        begin(slot);
    }
}

}  // namespace postern::bench
