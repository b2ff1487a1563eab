// SPDX-License-Identifier: BSD-3-Clause
#include "save_stream.h"

#include <utility>

#include "control_reader.h"
#include "state/file.h"

namespace postern {
namespace {

std::uint64_t number_of(ConnId id) noexcept {
    return std::uint64_t{id.index} << 24 | std::uint64_t{id.generation} << 8 | id.worker.number();
}

}  // namespace

SaveStream::SaveStream(Firewall& fw, std::shared_ptr<QueryOwners> owners, const ConnFilter& filter,
                       bool all, std::function<Tick()> now)
    : fw_(fw),
      queries_(fw, std::move(owners), ConnQuery::Action::save, filter),
      all_(all),
      now_(std::move(now)),
      writer_(header_now(fw.plan(), fw.helpers())) {}

void SaveStream::use_current_plan() {
    const Plan& plan = fw_.plan();
    if (version_ == plan.version) return;
    writer_.set_plan(plan, fw_.helpers());
    version_ = plan.version;
}

Pull SaveStream::step(std::string& out, std::uint32_t most) {
    use_current_plan();
    Pull result = Pull::row;
    switch (step_) {
        case Step::connections: result = connections(most); break;
        case Step::expectations:
            if (!expectations(most)) {
                writer_.finish(filtered_);
                step_ = Step::done;
                writer_.take(out);
                return Pull::done;
            }
            break;
        case Step::done: return Pull::done;
    }
    writer_.take(out);
    return result;
}

Pull SaveStream::connections(std::uint32_t most) {
    for (std::uint32_t n = 0; n < most; ++n) {
        const Pull pull = queries_.next(row_);
        if (pull == Pull::pending) return n == 0 ? Pull::pending : Pull::row;
        if (pull == Pull::done) {
            filtered_ = queries_.passed_over();
            step_ = Step::expectations;
            break;
        }
        if (row_.has_helper) queries_.take_helper(image_);
        const ConnId id{row_.slot, row_.conn.generation, queries_.worker()};
        const bool written =
            writer_.connection(id, row_.conn, row_.has_helper ? &image_ : nullptr, row_.now);
        if (!all_ && written && row_.has_helper) masters_.insert(number_of(id));
    }
    return Pull::row;
}

bool SaveStream::expectations(std::uint32_t most) {
    const Online online(fw_);
    const Tick now = now_();
    return fw_.expectations().walk(cursor_, most, [&](const ExpectInfo& e) {
        if (!all_ && (!e.master || !masters_.contains(number_of(e.master))))
            writer_.pass_over_expectation();
        else
            writer_.expectation(e, now);
    });
}

Result<StateTotals> save_stopped(Firewall& fw, Tick now, const std::string& path) {
    auto file = StateFileWriter::beside(path);
    if (!file) return file.error();
    RecordWriter writer(header_now(fw.plan(), fw.helpers()));
    writer.set_plan(fw.plan(), fw.helpers());
    std::string bytes;
    const auto flush = [&] {
        writer.take(bytes);
        file->write(bytes);
        bytes.clear();
        return file->ok();
    };
    HelperImage image;
    for (unsigned w = 0; w < fw.workers(); ++w) {
        Worker& worker = fw.worker(w);
        const ConnTable& conns = worker.conns();
        for (std::uint32_t slot = 1; slot <= conns.capacity(); ++slot) {
            const Conn& c = conns.at(slot);
            if (!c.alive()) continue;
            if (c.helper_slot != 0)
                worker.helpers().save(*worker.helpers().at(c.helper_slot), image);
            writer.connection({slot, c.generation, WorkerId::from(w)}, c,
                              c.helper_slot != 0 ? &image : nullptr, now);
            if (writer.ready_bytes() != 0 && !flush()) return file->error();
        }
    }
    std::uint32_t cursor = 0;
    for (bool more = true; more;) {
        const Online online(fw);
        more = fw.expectations().walk(cursor, 1024,
                                      [&](const ExpectInfo& e) { writer.expectation(e, now); });
        if (!flush()) return file->error();
    }
    writer.finish();
    if (!flush()) return file->error();
    if (auto kept = file->commit(); !kept) return kept.error();
    return writer.totals();
}

}  // namespace postern
