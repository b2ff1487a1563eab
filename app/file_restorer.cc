// SPDX-License-Identifier: BSD-3-Clause
#include "file_restorer.h"

#include <utility>
#include <variant>

namespace postern {

FileRestorer::FileRestorer(Firewall& firewall, WorkerRequests& requests, std::function<Tick()> now)
    : firewall_(firewall),
      requests_(requests),
      now_(std::move(now)),
      version_(firewall.plan().version),
      reader_(firewall.plan(), firewall.helpers()) {}

FileRestorer::Step FileRestorer::step() {
    if (version_ != firewall_.plan().version) {
        version_ = firewall_.plan().version;
        reader_.set_plan(firewall_.plan(), firewall_.helpers());
    }
    if (restorer_) restorer_->step();
    while (!over_) {
        if (restorer_ && !restorer_->has_room()) {
            restorer_->step();
            if (!restorer_->has_room()) return Step::busy;
        }
        SavedRecord record;
        const RecordReader::Next next = reader_.next(record);
        if (next == RecordReader::Next::more) return Step::hungry;
        if (!restorer_ && reader_.has_header()) {
            elapsed_ms_ = elapsed_between(reader_.header(), present_times());
            restorer_.emplace(firewall_, requests_, elapsed_ms_, now_);
        }
        switch (next) {
            case RecordReader::Next::record:
                if (const auto* connection = std::get_if<SavedConnection>(&record))
                    restorer_->add(*connection);
                else
                    restorer_->add(std::get<SavedExpectation>(record));
                break;
            case RecordReader::Next::bad:
                if (bad_records_.size() < kBadRecords) bad_records_.push_back(reader_.problem());
                break;
            case RecordReader::Next::more:
            case RecordReader::Next::end:
                over_ = true;
                problem_ = reader_.problem();
                if (restorer_) restorer_->finish();
                break;
        }
    }
    if (!restorer_) return Step::done;
    restorer_->step();
    return restorer_->done() ? Step::done : Step::busy;
}

RestoreSummary FileRestorer::summary() const {
    RestoreSummary out;
    if (restorer_) out = restorer_->summary();
    const RecordReader::Counts& counts = reader_.counts();
    for (unsigned f = 0; f < kRecordFaults; ++f) {
        if (counts.bad[f] == 0) continue;
        out.unusable[to_string(static_cast<RecordFault>(f))] += counts.bad[f];
        out.records += counts.bad[f];
    }
    return out;
}

}  // namespace postern
