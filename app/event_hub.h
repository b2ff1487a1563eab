// SPDX-License-Identifier: BSD-3-Clause
// EventHub: distributes the events of the workers' rings to all listening clients. EventSource: one
// client's `events` command. Control thread only.
//
// No thread waits: events that do not fit into a ring, or that a client does not read in time, are
// lost, and the client gets their number.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "base/wall_clock.h"
#include "control/command.h"
#include "table/event_ring.h"
#include "value_text.h"

namespace postern {

template <class Event>
class EventHub {
  public:
    static constexpr std::size_t kMaxWaiting = 65536;  ///< for a client that does not read

    struct Listener {
        std::function<bool(const Event&)> wanted;
        std::deque<Event> waiting;
        std::uint64_t lost = 0;
    };
    /// Calls `on_listeners` when the first listener comes and when the last one goes. Without
    /// listeners nothing is read.
    EventHub(std::vector<EventRing<Event>*> rings, std::function<void(bool)> on_listeners)
        : rings_(std::move(rings)), on_listeners_(std::move(on_listeners)) {}

    void add(Listener& l) {
        drain();  // discards old events
        if (listeners_.empty()) on_listeners_(true);
        listeners_.insert(&l);
    }
    void remove(Listener& l) {
        listeners_.erase(&l);
        if (listeners_.empty()) on_listeners_(false);
    }

    void drain() {
        std::uint64_t lost = 0;
        for (EventRing<Event>* ring : rings_) {
            lost += ring->lost();
            while (ring->pop(event_))
                for (Listener* l : listeners_) {
                    if (!l->wanted(event_)) continue;
                    if (l->waiting.size() < kMaxWaiting)
                        l->waiting.push_back(event_);
                    else
                        ++l->lost;
                }
        }
        for (Listener* l : listeners_)
            l->lost += lost - lost_;
        lost_ = lost;
    }

  private:
    std::vector<EventRing<Event>*> rings_;
    std::function<void(bool)> on_listeners_;
    std::set<Listener*> listeners_;
    std::uint64_t lost_ = 0;  ///< of all rings, at the last check
    Event event_;
};

/// Rows: one that says "listening", then events, and {"event": "lost", "events": N} in between;
/// ends after `count` events if that is given. Of an event its time of day, type and cause, and
/// what `to_row` adds.
template <class Event>
class EventSource : public RowSource {
  public:
    using ToRow = std::function<void(const Event&, Json& row)>;
    /// `now`: the clock of the events.
    EventSource(std::shared_ptr<EventHub<Event>> hub, std::function<bool(const Event&)> wanted,
                std::optional<std::uint32_t> count, std::function<Tick()> now, ToRow to_row)
        : hub_(std::move(hub)), left_(count), now_(std::move(now)), to_row_(std::move(to_row)) {
        listener_.wanted = std::move(wanted);
        hub_->add(listener_);
    }
    ~EventSource() override { hub_->remove(listener_); }
    EventSource(const EventSource&) = delete;
    EventSource& operator=(const EventSource&) = delete;

    Pull next(Json& row) override {
        if (!greeted_) {  // so that a script knows from which moment on it misses nothing
            greeted_ = true;
            row["time"] = local_time(wall_ms());
            row["event"] = "listening";
            return Pull::row;
        }
        if (left_ == 0u) return Pull::done;
        if (listener_.waiting.empty()) hub_->drain();
        if (listener_.waiting.empty()) {
            if (listener_.lost == 0) return Pull::pending;
            row["time"] = local_time(wall_ms());
            row["event"] = "lost";
            row["events"] = listener_.lost;
            listener_.lost = 0;
            return Pull::row;
        }
        const Event& event = listener_.waiting.front();
        const bool ended = event.type == decltype(Event::type)::destroy;
        // The clock counts from the start of the workers, in steps of a millisecond.
        row["time"] = local_time(wall_ms() - (now_() - event.at));
        row["event"] = to_string(event.type);
        row["cause"] = ended ? Json(to_string(event.end)) : Json(nullptr);
        row["at_ms"] = event.at.ms;
        to_row_(event, row);
        listener_.waiting.pop_front();
        if (left_) --*left_;
        return Pull::row;
    }

  private:
    std::shared_ptr<EventHub<Event>> hub_;
    std::optional<std::uint32_t> left_;
    std::function<Tick()> now_;
    ToRow to_row_;
    typename EventHub<Event>::Listener listener_;
    bool greeted_ = false;
};

}  // namespace postern
