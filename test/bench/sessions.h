// SPDX-License-Identifier: BSD-3-Clause
// Sessions: whole TCP sessions as frames, both ends of many of them at once, for generators.
//
// A session is a script of packets; each is sent when the one before it has come out at the other
// end, so one packet of each session is on its way, nothing is lost for want of room, and what the
// middle swallows is seen. A packet that does not arrive is repeated as TCP would; after some
// repetitions the session counts as failed and a new one begins in its place.
//
// Scripts: `tcp` opens a connection, asks, is answered, and closes. `ftp` opens a control
// connection, logs in, then for each transfer asks PASV, opens the data connection that was
// announced, gets the file over it, closes it; then quits. Frames have right lengths, sequence
// numbers and checksums, so the kernel and its helpers take them, too.
//
// One thread, no DPDK, no allocation after creation.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

namespace postern::bench {

using Mac = std::array<std::uint8_t, 6>;

struct SessionConfig {
    bool ftp = false;
    std::uint32_t slots = 1024;  ///< sessions at once
    unsigned transfers = 2;      ///< of an FTP session
    unsigned data_bytes = 1000;  ///< of a file, or of the answer
    Mac to_server_mac{2, 0, 0, 0, 0, 2}, to_client_mac{2, 0, 0, 0, 0, 1};
    std::uint64_t repeat_after = ~0ull;  ///< in the unit of `now`
};

class Sessions {
  public:
    static constexpr unsigned kMaxFrame = 1514;
    enum class Side : std::uint8_t {
        client,  ///< 10.0.0.0/8
        server   ///< 198.18.0.0/16
    };
    struct Counts {
        std::uint64_t sessions = 0;     ///< that came to their end
        std::uint64_t connections = 0;  ///< opened: all three packets of the handshake came through
        std::uint64_t announced = 0;    ///< data connections, of these
        std::uint64_t packets = 0;      ///< that came through
        std::uint64_t repeated = 0;
        std::uint64_t failed = 0;  ///< sessions given up
        std::uint64_t strays = 0;  ///< frames that nobody waits for
    };

    explicit Sessions(const SessionConfig& config);

    /// Writes the next frame that is due; returns its length, 0 when none is. `from`: who sends it.
    unsigned next(std::uint8_t* frame, Side& from, std::uint64_t now);
    /// A frame came out at `at`.
    void arrived(const std::uint8_t* frame, unsigned len, Side at);
    /// Looks whether packets have been on their way for too long. Some slots a call.
    void look_for_lost(std::uint64_t now);
    const Counts& counts() const { return counts_; }

  private:
    enum class Text : std::uint8_t {
        none,
        line,     ///< Step::text
        passive,  ///< the 227 reply
        bytes     ///< Step::length of a file
    };
    struct Step {
        std::uint8_t conn = 0;  ///< 0 control (or only), 1 data
        Side from = Side::client;
        std::uint8_t flags = 0;
        Text kind = Text::none;
        std::string_view text{};
        std::uint16_t length = 0;
    };
    struct Slot {
        std::uint32_t session = 0;   ///< how many before it
        std::uint32_t transfer = 0;  ///< over all of this slot's sessions
        std::uint16_t step = 0;
        std::uint8_t repeats = 0;
        bool waiting = false;  ///< a packet is on its way
        std::uint64_t sent_at = 0;
        std::array<std::array<std::uint32_t, 2>, 2> seq{};  ///< next, by connection and side
    };
    struct Ports {
        std::uint16_t client, server;
    };

    void make_script(const SessionConfig& config);
    void add(std::uint8_t conn, Side from, std::uint8_t flags, std::string_view text = {});
    void add_connection(std::uint8_t conn);
    void add_bytes(std::uint8_t conn, unsigned bytes);
    void add_close(std::uint8_t conn, Side first);
    Ports ports(const Slot& slot, std::uint8_t conn) const;
    unsigned payload(std::uint32_t slot, const Step& step, std::uint8_t* out) const;
    void begin(std::uint32_t slot);
    void push(std::uint32_t slot);

    SessionConfig config_;
    std::vector<Step> script_;
    std::vector<Slot> slots_;
    std::vector<std::uint32_t> due_;  ///< ring of slots
    std::uint32_t due_head_ = 0, due_count_ = 0;
    std::uint32_t looked_at_ = 0;
    Counts counts_;
};

}  // namespace postern::bench
