// SPDX-License-Identifier: BSD-3-Clause
// Helping's part for helpers in other processes. A packet that completes a message is held until
// the process has answered or its time has passed, and later packets of its connection with payload
// are held behind it. See held_packets.h.
//
// A question reads the packet and rolls that back. Resuming reads it again, and files nothing: the
// expectations were filed when the answer arrived. So a packet that is dropped in the end was never
// read, and its retransmission causes the question again.
#include <cstring>

#include <rte_mbuf.h>

#include "pipeline/helping.h"

namespace postern {
namespace {

constexpr unsigned kAnswerBudget = 64;  ///< a turn

}  // namespace

void Helping::release_held() noexcept {
    if (questions_ == nullptr) return;
    for (std::uint32_t slot = 1; slot <= engine_->capacity(); ++slot) {
        const HelperConn* hc = engine_->at(slot);
        if (questions_->serves(hc->helper)) drop_waiting(slot, hc->helper);
    }
}

void Helping::run_remote(unsigned i, Conn& conn, HelperConn* hc, bool front) noexcept {
    Batch& b = batch_;
    const HelperId helper = conn.helper;
    const UserspaceHelper& set = questions_->settings(helper);
    HeldPackets::Waiting& w = held_->waiting(conn.helper_slot);
    HelperQuestions::Asking& a = questions_->asking();
    a = {};
    // A packet without payload has no message: it need not wait.
    if (b.info[i].pay_len == 0) return read_payload(i, hc);
    const bool room = held_->has_room(helper);
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

    const bool present = questions_->present(helper);
    const bool wait = set.bypass ? present && !questions_->late(helper) : questions_->served();
    const std::uint32_t first = questions_->next_number();
    const Tick deadline = b.now + set.wait_ms;
    if ((present || wait) && (room || !wait)) {
        a.mode = HelperQuestions::Mode::ask;
        a.helper = helper;
        a.conn = conns_.id_of(hc->owner);
        a.ct_zone = conn.ct_zone();
        a.original = &hc->original;
        a.state = hc->state.data();
        a.deadline = deadline;
    }
    read_payload(i, hc);
    if (a.messages == 0) return;
    count(helper, UserspaceCounter::userspace_asked, a.asked);
    engine_->counters(helper)[HelperCounter::messages].add(a.messages);
    const bool all = a.asked == a.messages;
    if (a.mode == HelperQuestions::Mode::ask && !all)
        count(helper, a.too_long ? UserspaceCounter::userspace_too_long
                                 : UserspaceCounter::userspace_no_slot);
    if (!wait || a.asked == 0 || !(all || set.bypass)) {
        if (set.bypass) return count(helper, UserspaceCounter::userspace_bypassed);
        engine_->rewind(hc);
        return drop();
    }
    w.consumed = !engine_->rewind(hc);
    w.next = first;
    w.end = first + a.asked;
    w.fate = DropReason::none;
    w.decided = false;
    held_->await(conn.helper_slot, deadline);
    hold(i, conn, true);
}

void Helping::hold(unsigned i, const Conn& conn, bool front) noexcept {
    batch_.hold(i);
    rte_mbuf* const m = batch_.pkt[i];
    const unsigned frames = batch_.chains ? reassembly_.frames_of(m) : 1;
    held_->hold(conn.helper_slot, conn.helper, {m, frames, batch_.info[i]}, front);
    counters_.helper_waits.set(held_->frames());
}

void Helping::handle_reply(const Answer& answer) noexcept {
    questions_->set_late(answer.helper, false);
    const Conn* conn = conns_.find(answer.conn);
    if (conn == nullptr || conn->helper != answer.helper)
        return count(answer.helper, UserspaceCounter::userspace_stale);
    const std::uint32_t slot = conn->helper_slot;
    HeldPackets::Waiting& w = held_->waiting(slot);
    if (!w.asked || answer.number != w.next)
        return count(answer.helper, UserspaceCounter::userspace_stale);
    ++w.next;
    count(answer.helper, UserspaceCounter::userspace_answered);
    HelperConn* hc = engine_->at(slot);
    const RemoteAnswer said{held_->oldest(slot).info.dir,
                            {answer.requests.data(), answer.count},
                            answer.proven,
                            answer.give_up};
    engine_->on_answer(hc, said, emit_);
    bool filed = true;
    for (const PinHole& hole : emit_.requests()) {
        if (!ok(file(hole, *conn))) filed = false;
    }
    const HeldPackets::Held& said_in = held_->oldest(slot);
    const auto* data = rte_pktmbuf_mtod(said_in.packet, const std::uint8_t*);
    if (!filed && !w.consumed && may_refuse(said_in.info, data, hc)) {
        note_refused(said_in.info, data, hc);
        w.fate = DropReason::helper;  // as with any helper: the sender shall repeat it
    } else {
        if (!filed) count_unexpected(hc);
        if (answer.has_state) hc->state = answer.state;
    }
    if (answer.drop) w.fate = DropReason::helper_verdict;
    if (w.next != w.end) return;
    w.decided = true;
    held_->stop_awaiting(slot);
    held_->make_ready(slot);
}

void Helping::expire_overdue() noexcept {
    held_->for_each_awaiting([this](std::uint32_t slot) {
        const HelperId helper = engine_->at(slot)->helper;
        const bool bypass = questions_->settings(helper).bypass;
        HeldPackets::Waiting& w = held_->waiting(slot);
        const bool late = reached(w.deadline, batch_.now), present = questions_->present(helper);
        if (!late && (present || !bypass)) return;
        if (late && present) questions_->set_late(helper, true);
        count(helper, UserspaceCounter::userspace_late);
        count(helper,
              bypass ? UserspaceCounter::userspace_bypassed : UserspaceCounter::userspace_absent);
        if (!bypass) w.fate = DropReason::helper_absent;
        w.decided = true;
        held_->stop_awaiting(slot);
        held_->make_ready(slot);
    });
}

bool Helping::resume_waiting() noexcept {
    Batch& b = batch_;
    questions_->refresh_peers();
    auto& answers = questions_->answers();
    for (unsigned n = 0; n < kAnswerBudget; ++n) {
        const Answer* answer = answers.front();
        if (answer == nullptr) break;
        handle_reply(*answer);
        answers.drop_front();
    }
    if (looked_ != b.now) {
        looked_ = b.now;
        expire_overdue();
    }
    if (!held_->any_ready()) return false;
    b.n = 0;
    b.chains = false;
    b.masks = {};
    b.judged = 0;
    while (held_->any_ready() && b.n < kMaxBurst)
        resume_one(held_->next_ready());
    counters_.helper_waits.set(held_->frames());
    return true;
}

unsigned Helping::put_back(const HeldPackets::Held& held) noexcept {
    Batch& b = batch_;
    const unsigned i = b.n++;
    b.pkt[i] = held.packet;
    b.data[i] = rte_pktmbuf_mtod(held.packet, std::uint8_t*);
    b.info[i] = held.info;
    b.chains |= reassembly_.is_chain(held.packet);
    b[MaskId::accept] |= bit(i);
    return i;
}

void Helping::resume_one(std::uint32_t slot) noexcept {
    Batch& b = batch_;
    HelperConn* hc = engine_->at(slot);
    Conn& conn = conns_.at(hc->owner);
    HeldPackets::Waiting& w = held_->waiting(slot);
    if (w.decided) {
        w.decided = false;
        const unsigned i = put_back(held_->take(slot, conn.helper));
        questions_->asking() = {};
        if (w.fate == DropReason::none) {
            if (!w.consumed) read_payload(i, hc);
        } else {
            if (w.fate == DropReason::helper_verdict)
                count(conn.helper, UserspaceCounter::userspace_refused);
            b.drop(i, w.fate);
        }
    }
    while (w.first != 0 && !w.asked && b.n < kMaxBurst)
        run_remote(put_back(held_->take(slot, conn.helper)), conn, hc, true);
    if (w.first != 0 && !w.asked) held_->make_ready(slot);
}

void Helping::drop_waiting(std::uint32_t slot, HelperId helper) noexcept {
    HeldPackets::Waiting& w = held_->waiting(slot);
    while (w.first != 0) {
        const HeldPackets::Held held = held_->take(slot, helper);
        drops_.count_dropped(held.frames, DropReason::helper_gone, PortId::from(held.packet->port));
        rte_pktmbuf_free(held.packet);
    }
    counters_.helper_waits.set(held_->frames());
    held_->stop_awaiting(slot);
    held_->forget_ready(slot);
    w = {};
    const HelperConn* hc = engine_->at(slot);
    if (!questions_->present(helper)) return;
    const Conn& conn = conns_.at(hc->owner);
    if (!questions_->report_ended(helper, conns_.id_of(hc->owner), conn.ct_zone(), hc->original,
                                  hc->state.data()))
        count(helper, UserspaceCounter::userspace_ends_untold);
}

}  // namespace postern
