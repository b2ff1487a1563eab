// SPDX-License-Identifier: BSD-3-Clause
// Worker's part for helpers in other processes: a packet that completes a message waits until the
// process has answered or its time is over, and those of its connection that carry payload wait
// behind it. See userspace_desk.h.
//
// Asking reads the packet and takes that back; going on reads it again, and files nothing then:
// what the process asked for was filed when its answer came. So a packet that is dropped in the end
// was never read, and its retransmission is asked about anew.
#include <cstring>

#include <rte_mbuf.h>

#include "pipeline/worker.h"

namespace postern {
namespace {

constexpr unsigned kAnswerBudget = 64;  ///< a turn

}  // namespace

void Worker::let_go() noexcept {
    reassembly_->clear(counters_);
    if (desk_ == nullptr) return;
    for (std::uint32_t slot = 1; slot <= helpers_->capacity(); ++slot) {
        const HelperConn* hc = helpers_->at(slot);
        if (desk_->serves(hc->helper)) drop_waiting(slot, hc->helper);
    }
}

void Worker::run_remote_helper(unsigned i, Conn& conn, HelperConn* hc, bool front) noexcept {
    Batch& b = batch_;
    const HelperId helper = conn.helper;
    const UserspaceHelper& set = desk_->settings(helper);
    UserspaceDesk::Waiting& w = desk_->waiting(conn.helper_slot);
    UserspaceDesk::Asking& a = desk_->asking();
    a = {};
    // What carries nothing can say nothing: it need not wait.
    if (b.info[i].pay_len == 0) return read_payload(i, hc);
    const bool room = desk_->has_room(helper);
    const auto drop = [&] {
        count(helper, UserspaceCounter::userspace_absent);
        b.drop(i, DropReason::helper_absent);
    };
    if (w.first != 0 && !front) {
        if (room) return hold(i, conn, false);
        if (!set.bypass) return drop();
        count(helper, UserspaceCounter::userspace_bypassed);
        return read_payload(i, hc);
    }

    const bool present = desk_->present(helper);
    const bool wait = set.bypass ? present && !desk_->late(helper) : desk_->served();
    const std::uint32_t first = desk_->next_number();
    const Tick deadline = b.now + set.wait_ms;
    if ((present || wait) && (room || !wait)) {
        a.mode = UserspaceDesk::Mode::ask;
        a.helper = helper;
        a.conn = conns_->id_of(hc->owner);
        a.zone = conn.zone();
        a.original = &hc->original;
        a.state = hc->state.data();
        a.deadline = deadline;
    }
    read_payload(i, hc);
    if (a.messages == 0) return;
    count(helper, UserspaceCounter::userspace_asked, a.asked);
    helpers_->counters(helper)[HelperCounter::messages].add(a.messages);
    const bool all = a.asked == a.messages;
    if (a.mode == UserspaceDesk::Mode::ask && !all)
        count(helper, a.too_long ? UserspaceCounter::userspace_too_long
                                 : UserspaceCounter::userspace_no_slot);
    if (!wait || a.asked == 0 || !(all || set.bypass)) {
        if (set.bypass) return count(helper, UserspaceCounter::userspace_bypassed);
        helpers_->rewind(hc);
        return drop();
    }
    w.consumed = !helpers_->rewind(hc);
    w.next = first;
    w.end = first + a.asked;
    w.fate = DropReason::none;
    w.decided = false;
    desk_->await(conn.helper_slot, deadline);
    hold(i, conn, true);
}

void Worker::hold(unsigned i, const Conn& conn, bool front) noexcept {
    batch_[MaskId::accept] &= ~bit(i);
    batch_[MaskId::held] |= bit(i);
    desk_->hold(conn.helper_slot, conn.helper, batch_.pkt[i], batch_.info[i], front);
    counters_.helper_waits.set(desk_->held());
}

void Worker::hear_answer(const Answer& answer) noexcept {
    desk_->set_late(answer.helper, false);
    const Conn* conn = conns_->find(answer.conn);
    if (conn == nullptr || conn->helper != answer.helper)
        return count(answer.helper, UserspaceCounter::userspace_stale);
    const std::uint32_t slot = conn->helper_slot;
    UserspaceDesk::Waiting& w = desk_->waiting(slot);
    if (!w.asked || answer.number != w.next)
        return count(answer.helper, UserspaceCounter::userspace_stale);
    ++w.next;
    count(answer.helper, UserspaceCounter::userspace_answered);
    HelperConn* hc = helpers_->at(slot);
    const RemoteAnswer said{desk_->direction(slot),
                            {answer.requests.data(), answer.count},
                            answer.proven,
                            answer.give_up};
    helpers_->on_answer(hc, said, emit_);
    bool filed = true;
    for (const PinHole& hole : emit_.requests()) {
        if (ok(file(hole, *conn, hc->owner))) continue;
        counters_.expectations_failed.add();
        filed = false;
    }
    if (!filed && !w.consumed)
        w.fate = DropReason::helper;  // as with any helper: the sender shall say it again
    else if (answer.has_state)
        hc->state = answer.state;
    if (answer.drop) w.fate = DropReason::helper_verdict;
    if (w.next != w.end) return;
    w.decided = true;
    desk_->stop_awaiting(slot);
    desk_->make_ready(slot);
}

void Worker::look_for_late_answers() noexcept {
    desk_->look_through([this](std::uint32_t slot) {
        const HelperId helper = helpers_->at(slot)->helper;
        const bool bypass = desk_->settings(helper).bypass;
        UserspaceDesk::Waiting& w = desk_->waiting(slot);
        const bool late = reached(w.deadline, batch_.now), present = desk_->present(helper);
        if (!late && (present || !bypass)) return;
        if (late && present) desk_->set_late(helper, true);
        count(helper, UserspaceCounter::userspace_late);
        count(helper,
              bypass ? UserspaceCounter::userspace_bypassed : UserspaceCounter::userspace_absent);
        if (!bypass) w.fate = DropReason::helper_absent;
        w.decided = true;
        desk_->stop_awaiting(slot);
        desk_->make_ready(slot);
    });
}

bool Worker::resume_waiting(Tick now, std::uint64_t cookie) noexcept {
    Batch& b = batch_;
    b.now = now;
    b.cookie = cookie;
    desk_->look_who_is_there();
    auto& answers = desk_->lane().answers;
    for (unsigned n = 0; n < kAnswerBudget; ++n) {
        const Answer* answer = answers.front();
        if (answer == nullptr) break;
        hear_answer(*answer);
        answers.drop_front();
    }
    if (desk_->awaits() && looked_ != now) {
        looked_ = now;
        look_for_late_answers();
    }
    if (!desk_->any_ready()) return false;
    b.n = 0;
    b.chains = false;
    b.masks = {};
    while (desk_->any_ready() && b.n < kMaxBurst)
        go_on(desk_->next_ready());
    counters_.helper_waits.set(desk_->held());
    for (std::size_t s = after_helpers_; s < plan_->stages.size(); ++s)
        if (b[plan_->stages[s]->on] != 0) plan_->stages[s]->run(*this, b);
    return true;
}

unsigned Worker::put_back(const UserspaceDesk::Held& held) noexcept {
    Batch& b = batch_;
    const unsigned i = b.n++;
    b.pkt[i] = held.packet;
    b.data[i] = rte_pktmbuf_mtod(held.packet, std::uint8_t*);
    b.info[i] = held.info;
    b.chains |= reassembly_->is_chain(held.packet);
    b[MaskId::accept] |= bit(i);
    return i;
}

void Worker::go_on(std::uint32_t slot) noexcept {
    Batch& b = batch_;
    HelperConn* hc = helpers_->at(slot);
    Conn& conn = conns_->at(hc->owner);
    UserspaceDesk::Waiting& w = desk_->waiting(slot);
    if (w.decided) {
        w.decided = false;
        const unsigned i = put_back(desk_->take(slot, conn.helper));
        desk_->asking() = {};
        if (w.fate == DropReason::none) {
            if (!w.consumed) read_payload(i, hc);
        } else {
            if (w.fate == DropReason::helper_verdict)
                count(conn.helper, UserspaceCounter::userspace_refused);
            b.drop(i, w.fate);
        }
    }
    while (w.first != 0 && !w.asked && b.n < kMaxBurst)
        run_remote_helper(put_back(desk_->take(slot, conn.helper)), conn, hc, true);
    if (w.first != 0 && !w.asked) desk_->make_ready(slot);
}

void Worker::drop_waiting(std::uint32_t slot, HelperId helper) noexcept {
    UserspaceDesk::Waiting& w = desk_->waiting(slot);
    while (w.first != 0) {
        rte_mbuf* m = desk_->take(slot, helper).packet;
        const unsigned frames = reassembly_->frames_of(m);
        counters_.drops[static_cast<unsigned>(DropReason::helper_gone)].add(frames);
        counters_.dropped.add(frames);
        rte_pktmbuf_free(m);
    }
    counters_.helper_waits.set(desk_->held());
    desk_->stop_awaiting(slot);
    desk_->forget_ready(slot);
    w = {};
    const HelperConn* hc = helpers_->at(slot);
    if (!desk_->present(helper)) return;
    const Conn& conn = conns_->at(hc->owner);
    if (!desk_->tell_ended(helper, conns_->id_of(hc->owner), conn.zone(), hc->original,
                           hc->state.data()))
        count(helper, UserspaceCounter::userspace_ends_untold);
}

}  // namespace postern
