// SPDX-License-Identifier: BSD-3-Clause
#include "state/record_reader.h"

#include "state/reader_forms.h"

namespace postern {

RecordReader::RecordReader(const Plan& plan, const HelperSet& helpers)
    : shared_(std::make_unique<ReaderShared>()) {
    set_plan(plan, helpers);
}
RecordReader::~RecordReader() = default;

void RecordReader::set_plan(const Plan& plan, const HelperSet& helpers) {
    shared_->plan = &plan;
    shared_->helpers = &helpers;
    if (form_ != nullptr) form_->plan_changed();
}

void RecordReader::feed(std::span<const std::uint8_t> bytes) {
    shared_->add(bytes);
}
void RecordReader::feed(std::string_view bytes) {
    feed(std::span(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()));
}
void RecordReader::feed_end() {
    shared_->over = true;
}

RecordReader::Next RecordReader::next(SavedRecord& out) {
    ReaderShared& s = *shared_;
    if (s.ended) return Next::end;
    s.problem.clear();
    s.fault = RecordFault::none;
    if (form_ == nullptr) {
        if (s.rest().empty()) return s.over ? s.end("is empty") : Next::more;
        // The first byte of the magic number begins no JSON.
        if (s.rest()[0] == static_cast<std::uint8_t>(state_wire::kMagic[0]))
            form_ = binary_form(s);
        else
            form_ = lines_form(s);
        form_->plan_changed();
    }
    const Next next = form_->next(out);
    if (next == Next::record) {
        if (std::holds_alternative<SavedConnection>(out))
            ++s.counts.connections;
        else
            ++s.counts.expectations;
    } else if (next == Next::bad) {
        ++s.counts.bad[static_cast<unsigned>(s.fault)];
    }
    return next;
}

const std::string& RecordReader::problem() const noexcept {
    return shared_->problem;
}
RecordFault RecordReader::fault() const noexcept {
    return shared_->fault;
}
const StateHeader& RecordReader::header() const noexcept {
    return shared_->header;
}
bool RecordReader::has_header() const noexcept {
    return shared_->has_header;
}
bool RecordReader::is_whole() const noexcept {
    return shared_->whole;
}
const StateTotals& RecordReader::totals() const noexcept {
    return shared_->totals;
}
const RecordReader::Counts& RecordReader::counts() const noexcept {
    return shared_->counts;
}

}  // namespace postern
