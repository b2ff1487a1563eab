// SPDX-License-Identifier: BSD-3-Clause
// RecordWriter: connections and expectations in the binary form (NOTES.md describes it), as blocks
// of bytes.
//
// Who calls: control, while workers run or after them. Memory: the blocks that were not taken, and
// the names. Cost: well under a microsecond a connection.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/field.h"
#include "helper/helper_set.h"
#include "state/saved.h"
#include "state/wire.h"

namespace postern {

class RecordWriter {
  public:
    /// Begins a file with its magic number and header.
    explicit RecordWriter(const StateHeader& header);
    RecordWriter(const RecordWriter&) = delete;
    RecordWriter& operator=(const RecordWriter&) = delete;

    /// Numbers in later records are of this plan; nothing may be written before. Call it again for
    /// another version, before the earlier plan is freed.
    void set_plan(const Plan& plan, const HelperSet& helpers);
    /// `helper`: null if the connection has no helper's state. `now`: its worker's time. False: its
    /// zone is gone, which is counted, and nothing was written.
    bool connection(ConnId id, const Conn& conn, const HelperImage* helper, Tick now);
    /// False: its zone or its helper is gone, which is counted, and nothing was written.
    bool expectation(const ExpectInfo& info, Tick now);
    /// Counts one that the caller has left out by its conditions.
    void pass_over_expectation() noexcept { ++totals_.expectations_filtered; }
    /// Writes the last record, with the totals. `filtered`: connections that the caller left out by
    /// its conditions.
    void finish(std::uint64_t filtered = 0);

    const StateTotals& totals() const noexcept { return totals_; }
    /// Bytes that take() would append.
    std::size_t ready_bytes() const noexcept { return done_.size(); }
    /// Appends all whole blocks to `out`, and forgets them. After finish() these are all.
    void take(std::string& out);

  private:
    /// The number of a text, written before its first use; 0 stands for no text.
    std::uint32_t name(std::string_view text);
    /// The same, looked up by the plan's number first.
    template <class TextOf>
    std::uint32_t name(std::vector<std::uint32_t>& known, std::size_t number, TextOf&& text_of);
    std::uint32_t rule(RuleId id);
    std::uint32_t helper(HelperId id);
    std::uint32_t edge(EdgeId id);
    /// `number`: FirstLink::in_port.
    std::uint32_t port(std::uint32_t number);
    std::uint32_t layout(std::span<const Field> table, std::string_view version);
    void put_struct(state_wire::FieldWriter& into, std::uint32_t field,
                    std::span<const std::uint8_t> object, std::span<const Field> table,
                    std::string_view version);
    void put_tracker(Conn& conn);
    void put_helper(const HelperImage& image, const HelperDesc& desc);
    /// Appends a record to the block that is being filled.
    void append(state_wire::Kind kind, std::string_view fields);
    void seal();

    struct KnownLayout {
        const Field* table = nullptr;
        std::string version;
        std::uint32_t number = 0;
    };

    const Plan* plan_ = nullptr;
    const HelperSet* helpers_ = nullptr;
    StateTotals totals_;
    std::string done_;   ///< whole blocks
    std::string block_;  ///< records of the block that is being filled
    std::uint32_t next_block_ = 0;
    state_wire::FieldWriter record_, inner_, innermost_, aside_;
    std::unordered_map<std::string, std::uint32_t> names_;
    std::vector<KnownLayout> layouts_;
    std::uint32_t next_layout_ = 1;
    // Numbers of names by the plan's numbers; kUnknown: not looked up yet.
    std::vector<std::uint32_t> rules_, helper_names_, edges_, ports_, timeouts_;
    std::vector<std::string> helper_versions_;
    std::vector<std::uint32_t> states_;  ///< by protocol and state
};

}  // namespace postern
