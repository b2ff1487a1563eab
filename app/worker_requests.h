// SPDX-License-Identifier: BSD-3-Clause
// WorkerRequests: control's end of the rings of requests to workers (pipeline/requests.h).
//
// What: sends requests of several clients to workers, and hands each reply to its client. Replies
// of one worker come in the order of its requests. The state of helpers that requests refer to is
// kept here until their replies have come, also when their client has gone.
// Life-cycle: destroyed after the last worker has ended. Control's thread only.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "firewall.h"
#include "pipeline/control_requests.h"

namespace postern {

/// A client of WorkerRequests.
class ReplyReader {
  public:
    /// `tag`: as given to send().
    virtual void on_reply(std::uint32_t tag, const ControlReply& reply) = 0;

  protected:
    ~ReplyReader() = default;
};

class WorkerRequests {
  public:
    explicit WorkerRequests(Firewall& firewall)
        : firewall_(firewall), pending_(firewall.workers()) {}
    WorkerRequests(const WorkerRequests&) = delete;
    WorkerRequests& operator=(const WorkerRequests&) = delete;

    bool has_room(WorkerId worker) const noexcept {
        return pending_[worker.number()].size() < Requests::kRing;
    }
    /// Requires room. `image`: what a RestoreRequest refers to.
    void send(WorkerId worker, const ControlRequest& request, ReplyReader& reader,
              std::uint32_t tag = 0, std::unique_ptr<HelperImage> image = {});
    /// Hands out the replies that have come. Control, regularly while there are requests.
    void poll();
    /// The reader goes: its replies are no longer needed.
    void forget(const ReplyReader& reader) noexcept;
    /// Answers all requests on this thread, in place of the workers. Only while none of them runs;
    /// `now` is their time.
    void answer_here(Tick now);

  private:
    struct Pending {
        ReplyReader* reader;  ///< null: it has gone
        std::uint32_t tag;
        std::unique_ptr<HelperImage> image;
    };
    Firewall& firewall_;
    std::vector<std::deque<Pending>> pending_;  ///< by worker, oldest first
};

}  // namespace postern
