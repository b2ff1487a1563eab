// SPDX-License-Identifier: BSD-3-Clause
// Requests of control to a worker that runs on the test's thread.
#pragma once

#include <cstdlib>
#include <variant>

#include "pipeline/worker.h"

namespace postern {

/// Sends one request and has the worker answer it within its turn.
inline ControlReply ask(Worker& worker, const ControlRequest& request) {
    *worker.requests().requests().reserve() = request;
    worker.requests().requests().publish();
    worker.answer_requests();
    ControlReply reply;
    if (!worker.requests().replies().pop(reply)) std::abort();
    return reply;
}
/// The same for a saved connection.
inline RestoreReply restore_into(Worker& worker, const ConnImage& image, std::uint32_t idle_ms,
                                 std::uint32_t age_ms) {
    RestoreRequest r;
    r.conn = image.conn;
    r.helper = image.helper.there ? &image.helper : nullptr;
    r.idle_ms = idle_ms;
    r.age_ms = age_ms;
    return std::get<RestoreReply>(ask(worker, r));
}

}  // namespace postern
