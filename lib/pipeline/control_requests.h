// SPDX-License-Identifier: BSD-3-Clause
// Requests from control to a worker, whose tables no other thread may touch.
//
// ConnQuery lists, saves, counts or ends connections. Control fills it in and sets `state`. In each
// turn the worker visits a bounded number of slots: it copies matching connections into the ring,
// counts them or ends them. While the ring is full it visits none. At the end of its table it
// answers. Meanwhile control takes rows out. Neither waits for the other. A worker has one
// ConnQuery at a time.
//
// All other requests go through a ring in batches (ControlRequest), and their replies come back
// through another one, in the same order. Each turn the worker takes a bounded number of them.
#pragma once

#include <atomic>
#include <cstdint>
#include <variant>

#include "conntrack/filter.h"
#include "expect/types.h"
#include "helper/engine.h"
#include "table/event_ring.h"

namespace postern {

/// A connection with its helper's state, as it is saved and restored.
struct ConnImage {
    Conn conn;
    HelperImage helper;
};

class ConnQuery {
  public:
    enum State : std::uint32_t {
        idle,     ///< control's: it may fill in a query
        asked,    ///< the worker's; control takes rows out of the ring
        answered  ///< control's: it reads the rest of the ring and `matched`, then sets idle
    };
    enum class Action : std::uint8_t {
        list,
        end,
        count,
        save  ///< as list, with the helpers' states in `helpers`
    };
    /// Small, because most connections have no helper's state.
    struct Row {
        Conn conn;
        std::uint32_t slot = 0;
        Tick now;                       ///< the worker's clock when it copied the row
        std::uint32_t passed_over = 0;  ///< connections since the last row that did not match
        bool has_helper = false;        ///< the next element of `helpers` is its helper's state
    };
    static constexpr std::uint32_t kRows = 2048;
    static constexpr std::uint32_t kHelpers = 512;
    /// Slots a turn. A copy is 4 lines read and 4 written, so all of them take a few microseconds.
    static constexpr std::uint32_t kSlotsATurn = 64;

    /// Handed back and forth. Released by the side that gives it away, acquired by the other: the
    /// plain fields below belong to the side that `state` names.
    std::atomic<std::uint32_t> state{idle};
    /// Control: w, worker: r, relaxed: the answer is no longer needed.
    std::atomic<bool> cancelled{false};
    Action action = Action::list;  ///< in
    ConnFilter filter;             ///< in
    std::uint32_t cursor = 1;      ///< next slot; in: 1
    std::uint64_t matched = 0;     ///< out, with Action::end and Action::count
    /// Connections since the last row that did not match. In: 0; out: those after the last row.
    std::uint32_t passed_over = 0;
    SpscRing<Row> rows{kRows};                ///< worker to control
    SpscRing<HelperImage> helpers{kHelpers};  ///< worker to control, each before its row
};

/// A request to file an expectation for a live connection; its worker files it.
struct CreateExpectRequest {
    ConnId master;
    ExpectRequest request;  ///< the worker fills in the fields of the master
};
struct CreateExpectReply {
    bool found = false;  ///< the master exists, and has a helper
    InsertResult result;
};

/// A request to restore a saved connection in the table of its home worker.
struct RestoreRequest {
    enum class Outcome : std::uint8_t {
        restored,
        without_helper,  ///< no helper slot is left
        exists,          ///< a connection with its tuple exists
        expired,         ///< its timeout has passed
        zone_gone,       ///< the plan has no zone of one of its ends any more
        full             ///< the table is full
    };
    static constexpr unsigned kOutcomes = static_cast<unsigned>(Outcome::full) + 1;
    Conn conn;
    /// Its helper's state; null: none. Control keeps it until the reply has arrived. Most
    /// connections have none, and an image is three times as long as the connection.
    const HelperImage* helper = nullptr;
    std::uint32_t idle_ms = 0;  ///< since its last packet
    std::uint32_t age_ms = 0;
};
struct RestoreReply {
    RestoreRequest::Outcome outcome = RestoreRequest::Outcome::full;
    ConnId id;  ///< if restored
};

/// An element of the ring from control to a worker. The worker answers them in their order, each by
/// one ControlReply of the same alternative.
using ControlRequest = std::variant<RestoreRequest, CreateExpectRequest>;
using ControlReply = std::variant<RestoreReply, CreateExpectReply>;

}  // namespace postern
