// SPDX-License-Identifier: BSD-3-Clause
// Mailbox: how control asks a worker about its connections, which nobody but the worker may touch.
//
// Control writes a question and raises `state`; the worker copies a bounded number of slots into
// `rows` each turn until the page is full or the table is at its end, then hands it back. Neither
// ever waits for the other. One question at a time a worker.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "conntrack/conn.h"
#include "expect/types.h"

namespace postern {

class Mailbox {
  public:
    enum State : std::uint32_t {
        idle,     ///< control's: it may write a question
        asked,    ///< the worker's
        answered  ///< control's: it may read the page, then sets idle
    };
    struct Row {
        std::uint32_t slot;
        Conn conn;
    };
    static constexpr std::uint32_t kPageRows = 256;
    static constexpr std::uint32_t kSlotsATurn = 512;

    /// Handed back and forth. Release by who gives it away, acquire by who takes it: the fields
    /// below belong to whom `state` says.
    std::atomic<std::uint32_t> state{idle};
    std::uint32_t cursor = 1;  ///< in: first slot to look at; out: where to go on
    bool end = false;          ///< out: there is nothing after this page
    std::uint32_t now_ms = 0;  ///< out: the worker's clock
    std::uint32_t n = 0;       ///< out: rows
    std::array<Row, kPageRows> rows;
};

/// How control files an expectation for a live connection: its worker does it. The same hand-over.
struct ExpectMail {
    std::atomic<std::uint32_t> state{Mailbox::idle};
    ConnId master;          ///< in
    ExpectRequest request;  ///< in; what is the master's to say is filled in by the worker
    bool found = false;     ///< out: the master is there, and has a helper
    InsertResult result;    ///< out
};

}  // namespace postern
