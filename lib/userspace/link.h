// SPDX-License-Identifier: BSD-3-Clause
// UserspaceLink: the rings between workers and the thread of helper processes.
//
// What: a helper whose parser is another process gets questions about messages. Each worker has two
// rings: questions to the server (server.h), and answers back. Neither side ever waits for the
// other: a full ring is counted by its writer. Life-cycle: the constructor allocates all memory,
// before workers and server start; outlives both. Synchronisation: each ring has one writer and one
// reader; `connected` is a hint. Cost: an element is filled in place; a question copies the message
// once.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/types.h"
#include "helper/descriptor.h"
#include "helper/emit.h"
#include "net/addr.h"
#include "table/event_ring.h"

namespace postern {

/// The declaration of one helper in another process.
struct UserspaceHelper {
    HelperId id = kNoHelper;
    std::string name;
    std::string socket;           ///< path where its process connects
    std::uint8_t data_bytes = 0;  ///< of private state, at most kPrivateBytes
    bool bypass = true;           ///< traffic passes when the process is absent or late
    std::uint32_t wait_ms = 200;  ///< for an answer
    std::uint32_t queue = 256;    ///< packets that wait at once, a worker
    std::vector<std::uint8_t> class_protocols;  ///< protocols of each class's expected connections
};

struct Question {
    enum class Kind : std::uint8_t {
        message,
        ended  ///< the connection has ended; no answer is needed
    };
    Kind kind = Kind::message;
    HelperId helper = kNoHelper;
    Direction direction = Direction::original;  ///< sender of the message
    /// Not the first message of its packet: `state` is older than the answer to the one before.
    bool continues = false;
    CtZone ct_zone;
    std::uint16_t length = 0;  ///< of the message
    std::uint32_t number = 0;  ///< of this worker's questions
    Tick deadline;             ///< the answer is no longer needed after this
    ConnId conn;
    Tuple original;
    std::array<std::uint8_t, kPrivateBytes> state{};
    std::uint8_t* bytes = nullptr;  ///< the slot's buffer for the message
};

struct Answer {
    static constexpr unsigned kMaxRequests = Emit::kPerMessage;
    HelperId helper = kNoHelper;
    bool drop = false;
    bool proven = false;
    bool give_up = false;
    bool has_state = false;
    std::uint8_t count = 0;
    std::uint32_t number = 0;
    ConnId conn;
    std::array<std::uint8_t, kPrivateBytes> state{};
    std::array<PinHole, kMaxRequests> requests{};
};

class UserspaceLink {
  public:
    struct WorkerRings {
        WorkerRings(std::uint32_t slots, std::uint32_t message_bytes)
            : questions(slots),
              answers(slots),
              bytes(new std::uint8_t[std::size_t{questions.capacity()} * message_bytes]) {
            questions.prepare([&](Question& q, std::uint32_t place) {
                q.bytes = bytes.get() + std::size_t{place} * message_bytes;
            });
        }
        SpscRing<Question> questions;  // worker: w, server: r
        SpscRing<Answer> answers;      // server: w, worker: r
        std::unique_ptr<std::uint8_t[]> bytes;
    };

    /// `message_bytes`: the longest message of a question, at most 65535.
    UserspaceLink(std::vector<UserspaceHelper> helpers, unsigned workers,
                  std::uint32_t message_bytes)
        : helpers_(std::move(helpers)), message_bytes_(message_bytes) {
        std::uint32_t slots = 64;
        for (const UserspaceHelper& h : helpers_)
            slots += 2 * h.queue;
        for (unsigned w = 0; w < workers; ++w)
            rings_.push_back(std::make_unique<WorkerRings>(slots, message_bytes));
    }

    const std::vector<UserspaceHelper>& helpers() const noexcept { return helpers_; }
    std::uint32_t message_bytes() const noexcept { return message_bytes_; }
    unsigned workers() const noexcept { return static_cast<unsigned>(rings_.size()); }
    WorkerRings& rings(WorkerId worker) noexcept { return *rings_[worker.number()]; }

    /// There is a server. Call before the workers start. Without one (replay) all processes are
    /// absent, and no packet is held for them.
    void serve() noexcept { served_ = true; }
    bool served() const noexcept { return served_; }
    /// Bit h: the process of helper h is connected. Relaxed: with an old value a worker sends a
    /// question in vain, which then times out, or omits one that could have been answered.
    bool connected(HelperId helper) const noexcept {
        return (connected_.load(std::memory_order_relaxed) >> helper & 1) != 0;
    }
    /// All of them.
    std::uint64_t connected() const noexcept { return connected_.load(std::memory_order_relaxed); }
    /// Server only.
    void set_connected(HelperId helper, bool on) noexcept {
        const std::uint64_t b = std::uint64_t{1} << helper;
        const std::uint64_t old = connected_.load(std::memory_order_relaxed);
        connected_.store(on ? old | b : old & ~b, std::memory_order_relaxed);
    }

  private:
    std::vector<UserspaceHelper> helpers_;
    std::uint32_t message_bytes_;
    std::vector<std::unique_ptr<WorkerRings>> rings_;
    bool served_ = false;
    std::atomic<std::uint64_t> connected_{0};  // server: w, workers: r
};

}  // namespace postern
