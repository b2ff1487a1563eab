// SPDX-License-Identifier: BSD-3-Clause
#include "packet_log.h"

#include <spdlog/spdlog.h>

namespace postern {
namespace {

// Of each worker, in one turn: a few milliseconds of control's time.
constexpr unsigned kRecordsATurn = 1024;

}  // namespace

Result<void> PacketLog::open(const LogSpec& spec) {
    if (!spec.file.path.empty()) {
        auto file = LogFile::open(spec.file, counters_);
        if (!file) return file.error();
        file_ = std::move(*file);
    }
    if (!spec.syslog.empty())
        sockets_.emplace_back(spec.syslog, LogSocket::Form::syslog, counters_);
    if (!spec.journal.empty())
        sockets_.emplace_back(spec.journal, LogSocket::Form::journal, counters_);
    return {};
}

void PacketLog::add(Follower& follower) {
    turn();  // earlier records are not for it
    followers_.insert(&follower);
}

void PacketLog::turn() {
    std::optional<TscWall> clock;
    for (unsigned w = 0; w < fw_.workers(); ++w) {
        SpscRing<PacketRecord>& ring = fw_.worker(w).recording().ring();
        for (unsigned n = 0; n < kRecordsATurn; ++n) {
            const PacketRecord* record = ring.front();
            if (record == nullptr) break;
            if (!clock) clock = TscWall::now();
            take(*record, *clock);
            ring.drop_front();
        }
    }
    if (!file_) return;
    file_->flush();
    report_problem();
}

void PacketLog::take(const PacketRecord& record, const TscWall& clock) {
    std::optional<Json> row;
    const auto made = [&]() -> const Json& {
        if (!row) row = record_row(fw_.plan(), record, clock);
        return *row;
    };
    if (file_) file_->add(made().dump());
    for (LogSocket& socket : sockets_)
        socket.send(made());
    for (Follower* f : followers_) {
        if (!f->wanted(record)) continue;
        if (f->waiting.size() < Follower::kMaxWaiting)
            f->waiting.push_back(made());
        else
            ++f->lost;
    }
}

/// Once a minute while it lasts.
void PacketLog::report_problem() {
    const auto now = std::chrono::steady_clock::now();
    if (file_->problem().empty()) {
        reported_.clear();
        return;
    }
    if (file_->problem() == reported_ && now < report_again_) return;
    reported_ = file_->problem();
    report_again_ = now + std::chrono::minutes(1);
    spdlog::error("records of packets are lost: {}", reported_);
}

}  // namespace postern
