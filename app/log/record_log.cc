// SPDX-License-Identifier: BSD-3-Clause
#include "log/record_log.h"

#include <algorithm>
#include <utility>

#include <spdlog/spdlog.h>

#include "base/wall_clock.h"
#include "log/flow_rows.h"

namespace postern {
namespace {

// Of each worker, in one turn: a few milliseconds of control's time.
constexpr unsigned kRecordsATurn = 1024;
constexpr unsigned kTurnsBefore = 64;
static_assert(kTurnsBefore * kRecordsATurn > std::max(kConnEvents, kPacketRecords));

}  // namespace

RecordLog::RecordLog(Firewall& firewall, std::shared_ptr<ConnHub> hub, std::function<Tick()> now)
    : fw_(firewall), hub_(std::move(hub)), now_(std::move(now)) {
    listener_.take = [this](const ConnEvent& event) { take(event); };
}

RecordLog::~RecordLog() {
    if (listens_) hub_->remove(listener_);
}

Result<RecordLog::Outputs> RecordLog::open(const LogSpec& spec) {
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
    if (spec.ipfix.port != 0) {
        auto exporter = IpfixExporter::open(spec.ipfix, counters_);
        if (!exporter) return exporter.error();
        out.ipfix = std::move(*exporter);
    }
    out.flows = spec.flows;
    return out;
}

void RecordLog::use(Outputs outputs) {
    // More than the rings hold.
    for (unsigned n = 0; n < kTurnsBefore && turn(); ++n) {
    }
    outputs_ = std::move(outputs);
    reported_.clear();
    listen(outputs_.flows);
}

void RecordLog::listen(FlowRecords flows) {
    const ConnEvents which = flows == FlowRecords::none  ? ConnEvents::none
                             : flows == FlowRecords::end ? ConnEvents::ends
                                                         : ConnEvents::ends_and_begins;
    if (listens_ && which != ConnEvents::none) return hub_->change(listener_, which);
    if (listens_) hub_->remove(listener_);
    listens_ = which != ConnEvents::none;
    if (!listens_) return;
    listener_.which = which;
    listener_.lost = 0;
    hub_->add(listener_);
}

Result<void> RecordLog::can_open(const LogSpec& spec) {
    if (spec.ipfix.port != 0)
        if (auto can = IpfixExporter::can_open(spec.ipfix); !can) return can;
    return spec.file.path.empty() ? Result<void>() : LogFile::can_open(spec.file);
}

void RecordLog::add(Follower& follower) {
    turn();  // earlier records are not for it
    followers_.insert(&follower);
}

bool RecordLog::turn() {
    bool more = take_packets();
    if (listens_) {
        more = hub_->drain() || more;
        counters_.flow_lost.add(std::exchange(listener_.lost, 0));
    }
    if (outputs_.ipfix) outputs_.ipfix->flush();
    if (outputs_.file) {
        outputs_.file->flush();
        report_problem();
    }
    return more;
}

bool RecordLog::take_packets() {
    std::optional<TscWall> clock;
    bool more = false;
    for (unsigned w = 0; w < fw_.workers(); ++w) {
        SpscRing<PacketRecord>& ring = fw_.worker(w).recording().ring();
        unsigned n = 0;
        for (; n < kRecordsATurn; ++n) {
            const PacketRecord* record = ring.front();
            if (record == nullptr) break;
            if (!clock) clock = TscWall::now();
            take(*record, *clock);
            ring.drop_front();
        }
        more = more || n == kRecordsATurn;
    }
    return more;
}

void RecordLog::take(const ConnEvent& event) {
    // Other listeners may want more.
    if (!is_among(event.type, listener_.which)) return;
    counters_.flow_records.add();
    const TickWall clock(now_(), wall_us());
    if (outputs_.ipfix) outputs_.ipfix->add(fw_.plan(), event, clock);
    if (!outputs_.file && outputs_.sockets.empty()) return;
    const Json row = flow_row(fw_.plan(), event, clock);
    if (outputs_.file) outputs_.file->add(row.dump());
    for (LogSocket& socket : outputs_.sockets)
        socket.send(row);
}

void RecordLog::take(const PacketRecord& record, const TscWall& clock) {
    std::optional<Json> row;
    const auto made = [&]() -> const Json& {
        if (!row) row = record_row(fw_.plan(), record, clock);
        return *row;
    };
    if (outputs_.file) outputs_.file->add(made().dump());
    for (LogSocket& socket : outputs_.sockets)
        socket.send(made());
    if (outputs_.ipfix) outputs_.ipfix->add(fw_.plan(), record, clock);
    for (Follower* f : followers_) {
        if (!f->wanted(record)) continue;
        if (f->waiting.size() < Follower::kMaxWaiting)
            f->waiting.push_back(made());
        else
            ++f->lost;
    }
}

/// Once a minute while it lasts.
void RecordLog::report_problem() {
    const auto now = std::chrono::steady_clock::now();
    const std::string& problem = outputs_.file->problem();
    if (problem.empty()) {
        reported_.clear();
        return;
    }
    if (problem == reported_ && now < report_again_) return;
    reported_ = problem;
    report_again_ = now + std::chrono::minutes(1);
    spdlog::error("records are lost: {}", reported_);
}

}  // namespace postern
