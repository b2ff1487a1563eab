// SPDX-License-Identifier: BSD-3-Clause
// PacketFilter: conditions on packets in tcpdump's language, as a program of the BPF machine.
//
// What: libpcap compiles the text (pcap-filter(7)) and runs the program. The compiler may ask name
// servers, which takes seconds; so posternctl compiles, and the daemon gets the program as text:
// "4,40 0 0 12,21 0 1 2048,6 0 0 262144,6 0 0 0", the number of instructions, then of each `code
// jt jf k`. `tcpdump -ddd` prints the same with other separators.
//
// Used by: posternctl compiles; control reads programs; workers match packets. Synchronisation:
// none; a filter does not change. Cost of matches(): some nanoseconds an instruction. A program
// has at most kMaxInstructions, and no loops.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "net/cursor.h"

struct bpf_insn;

namespace postern {

class PacketFilter {
  public:
    static constexpr std::size_t kMaxInstructions = 4096;

    /// Matches everything.
    PacketFilter() = default;
    /// Reads a program. The Error states what is wrong with it: the machine would not run it.
    static Result<PacketFilter> from_program(std::string_view text);

    bool matches_all() const noexcept { return code_.empty(); }
    /// `head`: the frame's first bytes; a condition on bytes beyond them does not hold. `length`:
    /// bytes of the frame.
    bool matches(Bytes head, std::uint32_t length) const noexcept;

  private:
    struct Instruction {
        std::uint16_t code;
        std::uint8_t jump_if_true, jump_if_false;
        std::uint32_t k;
    };
    std::vector<Instruction> code_;  ///< as bpf_insn
    friend struct InstructionLayout;
};

/// Compiles conditions in tcpdump's language on Ethernet frames; empty: all match. Returns the
/// program as text. The Error is libpcap's. May wait for name servers.
Result<std::string> compile_filter(const std::string& text);

}  // namespace postern
