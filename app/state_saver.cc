// SPDX-License-Identifier: BSD-3-Clause
#include "state_saver.h"

#include <utility>

namespace postern {

StateSaver::StateSaver(Firewall& fw, std::shared_ptr<QueryOwners> owners, std::function<Tick()> now,
                       std::string path)
    : fw_(fw), owners_(std::move(owners)), now_(std::move(now)), path_(std::move(path)) {}

void StateSaver::begin() {
    if (in_progress()) return;
    begun_ = Clock::now();
    stream_ = std::make_unique<SaveStream>(fw_, owners_, ConnFilter{}, /*all=*/true, now_);
}

void StateSaver::cancel() {
    committed_ = {};  // waits
    stream_.reset();
    file_.reset();
    bytes_.clear();
}

StateSaver::Step StateSaver::fail(std::string why) {
    cancel();
    error_ = std::move(why);
    return Step::failed;
}

StateSaver::Step StateSaver::step() {
    if (!in_progress()) return Step::idle;
    if (committed_.valid()) return finish();
    if (!file_) {
        auto file = StateFileWriter::beside(path_);
        if (!file) return fail(file.error().message);
        file_.emplace(std::move(*file));
    }
    const Pull pull = stream_->step(bytes_, kRecordsAStep);
    file_->write(bytes_);
    bytes_.clear();
    if (!file_->ok()) return fail(file_->error().message);
    if (pull == Pull::pending) return Step::waiting;
    if (pull == Pull::row) return Step::working;
    committed_ = std::async(std::launch::async, [this] { return file_->commit(); });
    return Step::waiting;
}

StateSaver::Step StateSaver::finish() {
    if (committed_.wait_for(std::chrono::seconds(0)) != std::future_status::ready)
        return Step::waiting;
    if (auto kept = committed_.get(); !kept) return fail(kept.error().message);
    totals_ = stream_->totals();
    duration_ = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - begun_);
    cancel();
    return Step::saved;
}

}  // namespace postern
