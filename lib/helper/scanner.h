// SPDX-License-Identifier: BSD-3-Clause
// Scanner: finds the interesting messages of all active helpers of one transport with Hyperscan.
//
// What: the patterns of all helpers compiled together into one block-mode database; one hs_scan a
// payload, over whole messages that are already in order. So Hyperscan's streaming mode is not
// needed, and a pattern never matches across a gap. Life-cycle: compiled when a configuration is
// loaded, or loaded from a ScannerCache; immutable then. Each worker has a Scratch.
// Synchronisation: the database is read-only; a Scratch belongs to one worker. Cost: some tens of
// nanoseconds and a fraction of a cycle a byte without a match.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>

#include "base/result.h"
#include "helper/descriptor.h"
#include "net/cursor.h"

struct hs_database;
struct hs_scratch;

namespace postern {

class ScannerCache;

/// Working memory of one worker, for every Scanner that it was prepared for.
class Scratch {
  public:
    Scratch() = default;
    Scratch(Scratch&& other) noexcept;
    Scratch& operator=(Scratch&& other) noexcept;
    ~Scratch();

    /// A copy for another worker.
    Result<Scratch> clone() const;

  private:
    friend class Scanner;
    hs_scratch* scratch_ = nullptr;
    /// Buffer for text at the end of a page; see Scanner::scan().
    std::unique_ptr<std::uint8_t[]> padded_;
};

/// The result of one scan, for one owner.
struct Matches {
    static constexpr unsigned kMax = 32;
    struct Match {
        std::uint32_t end;     ///< offset of the byte after the match's last one
        std::uint8_t pattern;  ///< index in the owner's HelperDesc::patterns
    };
    std::array<Match, kMax> at;
    unsigned count = 0;
    bool overflow = false;  ///< there were more; the list is then incomplete

    void clear() noexcept {
        count = 0;
        overflow = false;
    }
};

class Scanner {
  public:
    /// `owners`: at most 64, distinct; they may have no patterns. Prepares `scratch`. With a
    /// `cache`, compiles only what it lacks.
    static Result<Scanner> compile(std::span<const HelperDesc* const> owners, Scratch& scratch,
                                   ScannerCache* cache = nullptr);
    Scanner() = default;
    Scanner(Scanner&& other) noexcept;
    Scanner& operator=(Scanner&& other) noexcept;
    ~Scanner();

    /// Matches of the owner's patterns in `bytes`, sorted by their end. Other owners' are ignored.
    void scan(const Scratch& scratch, Bytes bytes, std::uint8_t owner, Matches& out) const noexcept;

  private:
    hs_database* database_ = nullptr;
};

}  // namespace postern
