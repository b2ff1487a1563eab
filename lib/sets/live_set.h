// SPDX-License-Identifier: BSD-3-Clause
// LiveSet: a set of addresses that changes while workers look addresses up.
//
// An entry is a prefix of either family, perhaps with a time at which it expires. An address is in
// the set if any entry contains it, so entries may overlap, and deleting one never uncovers or
// hides another. The set has a hash table for each length that occurs: hosts, the common case, are
// one table and one look-up. Where three or more of eight neighbouring lengths occur, a filter
// (set_filter.h) tells which of them an address needs.
//
// Synchronisation: control writes, workers read without locks. Control changes tables in place; it
// replaces a table or a filter, and their list, by publishing a new list (`contents_`). What was
// replaced is freed after a grace period, by collect(). A look-up that began with the old list may
// miss what is added after the new one, although both have the table: the old filter lacks its bit.
// That is a look-up before the addition. An expired entry is in no look-up any more, whether or not
// expire() has removed it.
//
// Life-cycle: shared by the plans whose configuration has it (shared_ptr); control frees it with
// the last one, when no worker can read it. Cost of a look-up: one line of memory for each length,
// with a filter one byte and the lines of the lengths that it leaves; those of a burst overlap.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "base/types.h"
#include "net/addr.h"
#include "net/keyed_hash.h"
#include "sets/set_table.h"

struct rte_rcu_qsbr;

namespace postern {

struct SetContents;

/// Seconds for the timeouts of entries. One for all sets of a firewall.
class SetClock {
  public:
    SetTime now() const noexcept { return now_.load(std::memory_order_relaxed); }
    /// Control, at least once in 24 days.
    void advance(Tick now) noexcept;

  private:
    std::optional<Tick> last_;
    std::uint64_t passed_ms_ = 0;
    std::atomic<SetTime> now_{1};  // control: w, workers: r; relaxed: a number by itself
};

/// What all sets of a firewall share.
struct SetShared {
    rte_rcu_qsbr* rcu = nullptr;  ///< its readers are the workers; null: nobody else reads
    HashSecret secret{};
    SetClock clock;
};

struct SetEntry {
    Prefix prefix;
    SetTime until = kForEver;
};

/// What has been listed of a set: the longer prefixes, and those of this length with a lesser hash.
/// It holds nothing of the set, so a list that nobody reads on costs no memory.
struct SetCursor {
    Family family = Family::ipv4;
    int length = 32;
    std::uint64_t hash = 0;
};

class LiveSet {
  public:
    explicit LiveSet(std::shared_ptr<const SetShared> shared);
    /// An empty set beside `other`, with the same clock.
    struct Empty {};
    LiveSet(const LiveSet& other, Empty) : LiveSet(other.shared_) {}
    ~LiveSet();
    LiveSet(const LiveSet&) = delete;
    LiveSet& operator=(const LiveSet&) = delete;

    // --- workers ---
    /// Sets `bit` in out[k] if addresses[k] is in the set; at most kMaxBurst addresses.
    void find(const std::uint32_t* addresses, unsigned n, std::uint32_t bit,
              std::uint32_t* out) const noexcept;
    void find(const Wide* addresses, unsigned n, std::uint32_t bit,
              std::uint32_t* out) const noexcept;

    // --- control ---
    enum class Added : std::uint8_t {
        added,
        updated  ///< it was there, and has another time now
    };
    /// The caller keeps to its limit, see has().
    Added add(const SetEntry& entry);
    /// False: it is not there.
    bool remove(const Prefix& prefix);
    /// Whether exactly this entry is there.
    bool has(const Prefix& prefix) const;
    void flush();
    /// Takes the contents of `other`, which nobody else reads, at once: a reader sees either all
    /// of the old or all of the new ones.
    void take(LiveSet&& other);
    /// Removes expired entries among the next `lines` lines of the tables. Returns their number.
    std::size_t expire(std::size_t lines);
    /// The same for all of them.
    std::size_t expire() { return expire(SIZE_MAX); }
    /// Frees what no reader holds any more.
    void collect();

    /// Of control's thread.
    struct Counters {
        std::uint64_t added = 0, deleted = 0, expired = 0;
        std::uint64_t refused = 0;  ///< for lack of room; the caller counts them
    };
    Counters& counters() noexcept { return counters_; }
    const Counters& counters() const noexcept { return counters_; }

    /// Entries, perhaps with some that have just expired.
    std::size_t size() const noexcept { return size_; }
    std::size_t bytes() const noexcept;
    bool contains(const IpAddr& address) const;
    SetTime now() const noexcept { return shared_->clock.now(); }
    /// The time that an entry added now expires; 0: never. The clock's second has begun already:
    /// an entry lasts at least so long, and up to a second longer.
    SetTime until(std::uint32_t timeout_s) const noexcept {
        return timeout_s == 0 ? kForEver : now() + timeout_s + 1;
    }

    /// Calls fn(entry) for the next few entries of a list, in no order, and moves `at` on. Each
    /// entry that is there from the beginning to the end of the list comes exactly once, whatever
    /// changes meanwhile. False: there was no further entry.
    bool list(SetCursor& at, const std::function<void(const SetEntry&)>& fn) const;

  private:
    template <class Key>
    void find_in(const Key* addresses, unsigned n, std::uint32_t bit,
                 std::uint32_t* out) const noexcept;
    template <class Key>
    Added add_key(unsigned length, const Key& key, SetTime until);
    template <class Key>
    bool remove_key(unsigned length, const Key& key);
    template <class Key>
    std::size_t expire_part(std::size_t part, std::size_t from, std::size_t to);
    void publish(std::shared_ptr<const SetContents> next);

    struct Retired {
        std::shared_ptr<const SetContents> contents;
        std::uint64_t token;
    };
    std::shared_ptr<const SetShared> shared_;
    std::shared_ptr<const SetContents> held_;            // the current contents
    std::atomic<const SetContents*> contents_{nullptr};  // control: w, workers: r
    std::deque<Retired> retired_;                        // oldest first
    std::size_t size_ = 0;
    Counters counters_;
    bool timed_ = false;  ///< an entry may expire
    std::size_t expire_part_ = 0, expire_line_ = 0;
};

}  // namespace postern
