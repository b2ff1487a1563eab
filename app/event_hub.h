// SPDX-License-Identifier: BSD-3-Clause
// EventHub: distributes the events of the workers' rings to all who listen. EventSource: one
// client's `events` command. Control thread only.
//
// No thread waits: events that do not fit into a ring, or that a client does not read in time, are
// lost, and the client gets their number.
#pragma once

#include <algorithm>
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

/// `Which`: which events are made; its values are ordered, each has the events of those before.
template <class Event, class Which>
class EventHub {
  public:
    struct Listener {
        Which which;
        std::function<void(const Event&)> take;
        std::uint64_t lost = 0;  ///< events of all kinds that the rings had no room for
    };
    /// Calls `on_listeners` with what they listen for, all together, when that changes. Without
    /// listeners nothing is read.
    EventHub(std::vector<EventRing<Event>*> rings, std::function<void(Which)> on_listeners)
        : rings_(std::move(rings)), on_listeners_(std::move(on_listeners)) {}

    void add(Listener& l) {
        // Earlier events are not for it.
        for (unsigned n = 0; n < kMostBefore && drain(); ++n) {
        }
        listeners_.insert(&l);
        tell();
    }
    void remove(Listener& l) {
        listeners_.erase(&l);
        tell();
    }
    /// Of one that was added, and stays.
    void change(Listener& l, Which which) {
        l.which = which;
        tell();
    }

    /// Gives a bounded number of events to the listeners. Returns whether there are more.
    bool drain() {
        std::uint64_t lost = 0;
        bool more = false;
        for (EventRing<Event>* ring : rings_) {
            lost += ring->lost();
            unsigned n = 0;
            for (; n < kMostAtOnce && ring->pop(event_); ++n)
                for (Listener* l : listeners_)
                    l->take(event_);
            more = more || n == kMostAtOnce;
        }
        for (Listener* l : listeners_)
            l->lost += lost - lost_;
        lost_ = lost;
        return more;
    }

  private:
    static constexpr unsigned kMostAtOnce = 1024;  ///< of a ring: milliseconds of control's time
    static constexpr unsigned kMostBefore = 64;    ///< rings are smaller than as many times that

    void tell() {
        Which which{};
        for (const Listener* l : listeners_)
            which = std::max(which, l->which);
        if (which != told_) on_listeners_(which);
        told_ = which;
    }

    std::vector<EventRing<Event>*> rings_;
    std::function<void(Which)> on_listeners_;
    std::set<Listener*> listeners_;
    Which told_{};
    std::uint64_t lost_ = 0;  ///< of all rings, at the last check
    Event event_;
};

/// Rows: one that says "listening", then events, and {"event": "lost", "events": N} in between;
/// ends after `count` events if that is given. Of an event its time of day, type and cause, and
/// what `to_row` adds.
template <class Event, class Which>
class EventSource : public RowSource {
  public:
    using ToRow = std::function<void(const Event&, Json& row)>;
    static constexpr std::size_t kMaxWaiting = 65536;  ///< for a client that does not read

    /// `now`: the clock of the events.
    EventSource(std::shared_ptr<EventHub<Event, Which>> hub, Which which,
                std::function<bool(const Event&)> wanted, std::optional<std::uint32_t> count,
                std::function<Tick()> now, ToRow to_row)
        : hub_(std::move(hub)), left_(count), now_(std::move(now)), to_row_(std::move(to_row)) {
        listener_.which = which;
        listener_.take = [this, wanted = std::move(wanted)](const Event& event) {
            if (!wanted(event)) return;
            if (waiting_.size() < kMaxWaiting)
                waiting_.push_back(event);
            else
                ++listener_.lost;
        };
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
        if (waiting_.empty()) hub_->drain();
        if (waiting_.empty()) {
            if (listener_.lost == 0) return Pull::pending;
            row["time"] = local_time(wall_ms());
            row["event"] = "lost";
            row["events"] = listener_.lost;
            listener_.lost = 0;
            return Pull::row;
        }
        const Event& event = waiting_.front();
        const bool ended = event.type == decltype(Event::type)::destroy;
        // The clock counts from the start of the workers, in steps of a millisecond.
        row["time"] = local_time(wall_ms() - (now_() - event.at));
        row["event"] = to_string(event.type);
        row["cause"] = ended ? Json(to_string(event.end)) : Json(nullptr);
        row["at_ms"] = event.at.ms;
        to_row_(event, row);
        waiting_.pop_front();
        if (left_) --*left_;
        return Pull::row;
    }

  private:
    std::shared_ptr<EventHub<Event, Which>> hub_;
    std::optional<std::uint32_t> left_;
    std::function<Tick()> now_;
    ToRow to_row_;
    typename EventHub<Event, Which>::Listener listener_;
    std::deque<Event> waiting_;
    bool greeted_ = false;
};

}  // namespace postern
