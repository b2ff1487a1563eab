// SPDX-License-Identifier: BSD-3-Clause
// Requests from control to a worker, whose tables nobody else may touch.
//
// ConnQuery lists, saves or ends connections. Control fills it in and raises `state`. In each turn
// the worker visits a bounded number of slots: it copies matching connections into the ring, or
// ends them; while the ring is full it visits none. At the end of its table it answers. Control
// takes rows out meanwhile. Neither waits for the other; a worker has one ConnQuery at a time.
#pragma once

#include <atomic>
#include <cstdint>

#include "conntrack/filter.h"
#include "expect/types.h"
#include "helper/engine.h"
#include "table/event_ring.h"

namespace postern {

/// A connection with what its helper knows of it, as it is saved and restored.
struct ConnImage {
    Conn conn;
    HelperImage helper;
};

class ConnQuery {
  public:
    enum State : std::uint32_t {
        idle,     ///< control's: it may fill in a query
        asked,    ///< the worker's; control takes rows out of the ring
        answered  ///< control's: it reads what is left in the ring and `ended`, then sets idle
    };
    enum class Action : std::uint8_t {
        list,
        end,
        save  ///< list, and Row::helper is filled in
    };
    struct Row : ConnImage {
        std::uint32_t slot = 0;
        Tick now;  ///< the worker's clock when it copied the row
    };
    static constexpr std::uint32_t kRows = 1024;
    /// Slots a turn. A copy is 4 lines read and 4 written, so all of them are a few microseconds.
    static constexpr std::uint32_t kSlotsATurn = 64;

    /// Handed back and forth. Release by who gives it away, acquire by who takes it: the plain
    /// fields below belong to whom `state` says.
    std::atomic<std::uint32_t> state{idle};
    /// Control: w, worker: r, relaxed: nobody wants the answer any more.
    std::atomic<bool> cancelled{false};
    Action action = Action::list;  ///< in
    ConnFilter filter;             ///< in
    std::uint32_t cursor = 1;      ///< next slot; in: 1
    std::uint64_t ended = 0;       ///< out, with Action::end
    SpscRing<Row> rows{kRows};     ///< worker to control
};

/// How control files an expectation for a live connection: its worker does it. The same hand-over.
struct CreateExpectRequest {
    std::atomic<std::uint32_t> state{ConnQuery::idle};
    ConnId master;          ///< in
    ExpectRequest request;  ///< in; what is the master's to say is filled in by the worker
    bool found = false;     ///< out: the master is there, and has a helper
    InsertResult result;    ///< out
};

/// How control puts a saved connection into the table of its home worker.
struct RestoreRequest {
    enum class Outcome : std::uint8_t {
        restored,
        without_helper,  ///< no slot for its helper is left
        exists,          ///< there is one with its tuple
        expired,         ///< its time is over
        full             ///< the table is
    };
    std::atomic<std::uint32_t> state{ConnQuery::idle};
    ConnImage image;                  ///< in
    std::uint32_t idle_ms = 0;        ///< in: since its last packet
    std::uint32_t age_ms = 0;         ///< in
    Outcome outcome = Outcome::full;  ///< out
    ConnId id;                        ///< out
};

}  // namespace postern
