// SPDX-License-Identifier: BSD-3-Clause
#include "packet_log.h"

#include <spdlog/spdlog.h>

namespace postern {
namespace {

// Of each worker, in one turn: a few milliseconds of control's time.
constexpr unsigned kRecordsATurn = 1024;

}  // namespace

Result<PacketLog::Outputs> PacketLog::open(const LogSpec& spec) {
    Outputs out;
    if (!spec.file.path.empty()) {
        auto file = LogFile::open(spec.file, counters_);
        if (!file) return file.error();
        out.file = std::move(*file);
    }
    if (!spec.syslog.empty())
        out.sockets.emplace_back(spec.syslog, LogSocket::Form::syslog, counters_);
    if (!spec.journal.empty())
        out.sockets.emplace_back(spec.journal, LogSocket::Form::journal, counters_);
    return out;
}

void PacketLog::use(Outputs outputs) {
    turn();
    outputs_ = std::move(outputs);
    reported_.clear();
}

Result<void> PacketLog::can_open(const LogSpec& spec) {
    return spec.file.path.empty() ? Result<void>() : LogFile::can_open(spec.file);
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
    if (!outputs_.file) return;
    outputs_.file->flush();
    report_problem();
}

void PacketLog::take(const PacketRecord& record, const TscWall& clock) {
    std::optional<Json> row;
    const auto made = [&]() -> const Json& {
        if (!row) row = record_row(fw_.plan(), record, clock);
        return *row;
    };
    if (outputs_.file) outputs_.file->add(made().dump());
    for (LogSocket& socket : outputs_.sockets)
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
    const std::string& problem = outputs_.file->problem();
    if (problem.empty()) {
        reported_.clear();
        return;
    }
    if (problem == reported_ && now < report_again_) return;
    reported_ = problem;
    report_again_ = now + std::chrono::minutes(1);
    spdlog::error("records of packets are lost: {}", reported_);
}

}  // namespace postern
