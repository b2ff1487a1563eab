// SPDX-License-Identifier: BSD-3-Clause
#include "pipeline/userspace_desk.h"

#include <algorithm>
#include <cstring>

namespace postern {

UserspaceDesk::UserspaceDesk(UserspaceLink& link, WorkerId worker, std::uint32_t slots)
    : link_(link), lane_(link.lane(worker)), waiting_(new Waiting[std::size_t{slots} + 1]) {
    std::size_t packets = 0;
    for (const UserspaceHelper& h : link.helpers()) {
        settings_[h.id] = &h;
        packets += h.queue;
    }
    pool_.resize(packets + 1);
    for (std::uint32_t i = 1; i <= packets; ++i)
        pool_[i].next = i < packets ? i + 1 : 0;
    free_ = packets != 0 ? 1 : 0;
    awaiting_.reserve(packets);
    ready_.reserve(packets);
}

void UserspaceDesk::message(Direction direction, Bytes bytes) noexcept {
    Asking& a = asking_;
    ++a.messages;
    if (a.mode != Mode::ask) return;
    if (bytes.size() > link_.message_bytes()) {
        a.too_long = true;
        return;
    }
    Question* q = lane_.questions.reserve();
    if (q == nullptr) return;
    q->kind = Question::Kind::message;
    q->helper = a.helper;
    q->direction = direction;
    q->continues = a.asked != 0;
    q->zone = a.zone;
    q->length = static_cast<std::uint16_t>(bytes.size());
    q->number = number_++;
    q->deadline = a.deadline;
    q->conn = a.conn;
    q->original = *a.original;
    std::memcpy(q->state.data(), a.state, q->state.size());
    std::memcpy(q->bytes, bytes.data(), bytes.size());
    lane_.questions.publish();
    ++a.asked;
}

bool UserspaceDesk::tell_ended(HelperId helper, ConnId conn, CtZone zone, const Tuple& original,
                               const std::uint8_t* state) noexcept {
    Question* q = lane_.questions.reserve();
    if (q == nullptr) return false;
    q->kind = Question::Kind::ended;
    q->helper = helper;
    q->direction = Direction::original;
    q->continues = false;
    q->zone = zone;
    q->length = 0;
    q->number = number_++;
    q->conn = conn;
    q->original = original;
    std::memcpy(q->state.data(), state, q->state.size());
    lane_.questions.publish();
    return true;
}

void UserspaceDesk::hold(std::uint32_t slot, HelperId helper, rte_mbuf* packet,
                         const PacketInfo& info, bool front) noexcept {
    const std::uint32_t id = free_;
    Held& h = pool_[id];
    free_ = h.next;
    h.packet = packet;
    h.info = info;
    ++held_;
    ++held_by_[helper];
    Waiting& w = waiting_[slot];
    if (front) {
        h.next = w.first;
        w.first = id;
        if (w.last == 0) w.last = id;
    } else {
        h.next = 0;
        (w.last == 0 ? w.first : pool_[w.last].next) = id;
        w.last = id;
    }
}

UserspaceDesk::Held UserspaceDesk::take(std::uint32_t slot, HelperId helper) noexcept {
    Waiting& w = waiting_[slot];
    const std::uint32_t id = w.first;
    const Held held = pool_[id];
    w.first = held.next;
    if (w.first == 0) w.last = 0;
    pool_[id].next = free_;
    free_ = id;
    --held_;
    --held_by_[helper];
    return held;
}

void UserspaceDesk::await(std::uint32_t slot, Tick deadline) noexcept {
    Waiting& w = waiting_[slot];
    w.asked = true;
    w.deadline = deadline;
    awaiting_.push_back(slot);
    w.place = static_cast<std::uint32_t>(awaiting_.size());
}

void UserspaceDesk::stop_awaiting(std::uint32_t slot) noexcept {
    Waiting& w = waiting_[slot];
    w.asked = false;
    if (w.place == 0) return;
    const std::uint32_t moved = awaiting_.back();
    awaiting_[w.place - 1] = moved;
    waiting_[moved].place = w.place;
    awaiting_.pop_back();
    w.place = 0;
}

void UserspaceDesk::make_ready(std::uint32_t slot) noexcept {
    if (waiting_[slot].ready) return;
    waiting_[slot].ready = true;
    ready_.push_back(slot);
}

std::uint32_t UserspaceDesk::next_ready() noexcept {
    const std::uint32_t slot = ready_.back();
    ready_.pop_back();
    waiting_[slot].ready = false;
    return slot;
}

void UserspaceDesk::forget_ready(std::uint32_t slot) noexcept {
    if (!waiting_[slot].ready) return;
    waiting_[slot].ready = false;
    ready_.erase(std::find(ready_.begin(), ready_.end(), slot));
}

}  // namespace postern
