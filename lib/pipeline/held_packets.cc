// SPDX-License-Identifier: BSD-3-Clause
#include "pipeline/held_packets.h"

#include <algorithm>

namespace postern {

HeldPackets::HeldPackets(const UserspaceLink& link, std::uint32_t slots)
    : waiting_(new Waiting[std::size_t{slots} + 1]) {
    std::size_t packets = 0;
    for (const UserspaceHelper& h : link.helpers()) {
        queue_[h.id] = h.queue;
        packets += h.queue;
    }
    pool_.resize(packets + 1);
    for (std::uint32_t i = 1; i <= packets; ++i)
        pool_[i].next = i < packets ? i + 1 : 0;
    free_ = packets != 0 ? 1 : 0;
    awaiting_.reserve(packets);
    ready_.reserve(packets);
}

void HeldPackets::hold(std::uint32_t slot, HelperId helper, const Held& packet,
                       bool front) noexcept {
    const std::uint32_t id = free_;
    Held& h = pool_[id];
    free_ = h.next;
    h = packet;
    frames_ += packet.frames;
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

HeldPackets::Held HeldPackets::take(std::uint32_t slot, HelperId helper) noexcept {
    Waiting& w = waiting_[slot];
    const std::uint32_t id = w.first;
    const Held held = pool_[id];
    w.first = held.next;
    if (w.first == 0) w.last = 0;
    pool_[id].next = free_;
    free_ = id;
    frames_ -= held.frames;
    --held_by_[helper];
    return held;
}

void HeldPackets::await(std::uint32_t slot, Tick deadline) noexcept {
    Waiting& w = waiting_[slot];
    w.asked = true;
    w.deadline = deadline;
    awaiting_.push_back(slot);
    w.at = static_cast<std::uint32_t>(awaiting_.size());
}

void HeldPackets::stop_awaiting(std::uint32_t slot) noexcept {
    Waiting& w = waiting_[slot];
    w.asked = false;
    if (w.at == 0) return;
    const std::uint32_t moved = awaiting_.back();
    awaiting_[w.at - 1] = moved;
    waiting_[moved].at = w.at;
    awaiting_.pop_back();
    w.at = 0;
}

void HeldPackets::make_ready(std::uint32_t slot) noexcept {
    if (waiting_[slot].ready) return;
    waiting_[slot].ready = true;
    ready_.push_back(slot);
}

std::uint32_t HeldPackets::next_ready() noexcept {
    const std::uint32_t slot = ready_.back();
    ready_.pop_back();
    waiting_[slot].ready = false;
    return slot;
}

void HeldPackets::forget_ready(std::uint32_t slot) noexcept {
    if (!waiting_[slot].ready) return;
    waiting_[slot].ready = false;
    ready_.erase(std::find(ready_.begin(), ready_.end(), slot));
}

}  // namespace postern
