// SPDX-License-Identifier: BSD-3-Clause
#include "worker_requests.h"

#include <utility>

namespace postern {

void WorkerRequests::send(WorkerId worker, const ControlRequest& request, ReplyReader& reader,
                          std::uint32_t tag, std::unique_ptr<HelperImage> image) {
    SpscRing<ControlRequest>& ring = firewall_.worker(worker).requests().requests();
    // First, so that a failure to allocate leaves no reply without its entry.
    pending_[worker.number()].push_back({&reader, tag, std::move(image)});
    *ring.reserve() = request;
    ring.publish();
}

void WorkerRequests::poll() {
    for (unsigned w = 0; w < pending_.size(); ++w) {
        ControlReply reply;
        while (firewall_.worker(w).requests().replies().pop(reply)) {
            const Pending of = std::move(pending_[w].front());
            pending_[w].pop_front();
            if (of.reader != nullptr) of.reader->on_reply(of.tag, reply);
        }
    }
}

void WorkerRequests::forget(const ReplyReader& reader) noexcept {
    for (auto& worker : pending_)
        for (Pending& pending : worker)
            if (pending.reader == &reader) pending.reader = nullptr;
}

void WorkerRequests::answer_here(Tick now) {
    for (unsigned w = 0; w < pending_.size(); ++w) {
        Worker& worker = firewall_.worker(w);
        worker.begin_turn(now);
        while (worker.requests().requests().front() != nullptr)
            worker.answer_requests();
    }
    poll();
}

}  // namespace postern
