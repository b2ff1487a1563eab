// SPDX-License-Identifier: BSD-3-Clause
#include "capture/filter.h"

#include <charconv>
#include <memory>
#include <optional>

#include <pcap/pcap.h>

namespace postern {

/// The header does not include libpcap's.
struct InstructionLayout {
    using Ours = PacketFilter::Instruction;
    static_assert(sizeof(Ours) == sizeof(bpf_insn) && alignof(Ours) == alignof(bpf_insn) &&
                  offsetof(Ours, code) == offsetof(bpf_insn, code) &&
                  offsetof(Ours, jump_if_true) == offsetof(bpf_insn, jt) &&
                  offsetof(Ours, jump_if_false) == offsetof(bpf_insn, jf) &&
                  offsetof(Ours, k) == offsetof(bpf_insn, k));
    static const bpf_insn* of(const std::vector<Ours>& code) noexcept {
        return reinterpret_cast<const bpf_insn*>(code.data());
    }
};

namespace {

constexpr int kSnapLength = 262'144;

/// The next number of `text`, which it shortens; `end` follows it, or the end of the text.
template <class Number>
std::optional<Number> take_number(std::string_view& text, char end) {
    Number n{};
    const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), n);
    if (error != std::errc{}) return std::nullopt;
    text.remove_prefix(static_cast<std::size_t>(stop - text.data()));
    if (text.empty()) return n;
    if (text.front() != end) return std::nullopt;
    text.remove_prefix(1);
    return n;
}

/// Whether the machine knows the instruction. bpf_validate() looks at its class only, and the
/// machine ends the program at one that it does not know.
bool is_known(std::uint16_t code) noexcept {
    switch (code) {
        case BPF_LD | BPF_W | BPF_ABS:
        case BPF_LD | BPF_H | BPF_ABS:
        case BPF_LD | BPF_B | BPF_ABS:
        case BPF_LD | BPF_W | BPF_IND:
        case BPF_LD | BPF_H | BPF_IND:
        case BPF_LD | BPF_B | BPF_IND:
        case BPF_LD | BPF_W | BPF_LEN:
        case BPF_LD | BPF_IMM:
        case BPF_LD | BPF_MEM:
        case BPF_LDX | BPF_MSH | BPF_B:
        case BPF_LDX | BPF_IMM:
        case BPF_LDX | BPF_MEM:
        case BPF_ST:
        case BPF_STX:
        case BPF_JMP | BPF_JA:
        case BPF_ALU | BPF_NEG:
        case BPF_RET | BPF_K:
        case BPF_RET | BPF_A:
        case BPF_MISC | BPF_TAX:
        case BPF_MISC | BPF_TXA: return true;
        default: break;
    }
    switch (code & ~BPF_X) {  // the other operand is a constant, or X
        case BPF_JMP | BPF_JEQ:
        case BPF_JMP | BPF_JGT:
        case BPF_JMP | BPF_JGE:
        case BPF_JMP | BPF_JSET:
        case BPF_ALU | BPF_ADD:
        case BPF_ALU | BPF_SUB:
        case BPF_ALU | BPF_MUL:
        case BPF_ALU | BPF_DIV:
        case BPF_ALU | BPF_MOD:
        case BPF_ALU | BPF_AND:
        case BPF_ALU | BPF_OR:
        case BPF_ALU | BPF_XOR:
        case BPF_ALU | BPF_LSH:
        case BPF_ALU | BPF_RSH: return true;
        default: return false;
    }
}

}  // namespace

Result<PacketFilter> PacketFilter::from_program(std::string_view text) {
    const auto wrong = [](const std::string& what) {
        return Error{"wrong program of a filter: " + what +
                     "; expected \"NUMBER,CODE JT JF K,...\", as posternctl compiles it"};
    };
    const auto count = take_number<std::uint32_t>(text, ',');
    if (!count || *count == 0 || *count > kMaxInstructions)
        return wrong("the number of instructions is not 1 to " + std::to_string(kMaxInstructions));
    PacketFilter filter;
    filter.code_.reserve(*count);
    for (std::uint32_t n = 0; n < *count; ++n) {
        const auto code = take_number<std::uint16_t>(text, ' ');
        const auto yes = code ? take_number<std::uint8_t>(text, ' ') : std::nullopt;
        const auto no = yes ? take_number<std::uint8_t>(text, ' ') : std::nullopt;
        const auto k = no ? take_number<std::uint32_t>(text, ',') : std::nullopt;
        if (!k) return wrong("instruction " + std::to_string(n) + " is not four numbers");
        if (!is_known(*code)) return wrong("instruction " + std::to_string(n) + " is unknown");
        // Nor does bpf_validate() find jumps back, which `protochain` needs: a program has no
        // loops.
        if (*code == (BPF_JMP | BPF_JA) && *k >= *count - n - 1)
            return wrong("instruction " + std::to_string(n) + " jumps back, or out of it");
        filter.code_.push_back({*code, *yes, *no, *k});
    }
    if (!text.empty()) return wrong("text after the last instruction");
    // Jumps within the program and forward only, an end: it is safe to run.
    if (::bpf_validate(InstructionLayout::of(filter.code_), static_cast<int>(*count)) == 0)
        return wrong("the machine does not accept it");
    return filter;
}

bool PacketFilter::matches(Bytes head, std::uint32_t length) const noexcept {
    return code_.empty() || ::bpf_filter(InstructionLayout::of(code_), head.data(), length,
                                         static_cast<std::uint32_t>(head.size())) != 0;
}

Result<std::string> compile_filter(const std::string& text) {
    const std::unique_ptr<pcap_t, decltype(&::pcap_close)> pcap(
        ::pcap_open_dead(DLT_EN10MB, kSnapLength), &::pcap_close);
    if (!pcap) return Error{"no memory for the filter"};
    bpf_program program{};
    if (::pcap_compile(pcap.get(), &program, text.c_str(), 1, PCAP_NETMASK_UNKNOWN) != 0)
        return Error{"filter '" + text + "': " + ::pcap_geterr(pcap.get())};
    std::string out = std::to_string(program.bf_len);
    for (unsigned n = 0; n < program.bf_len; ++n) {
        const bpf_insn& i = program.bf_insns[n];
        out += ',' + std::to_string(i.code) + ' ' + std::to_string(i.jt) + ' ' +
               std::to_string(i.jf) + ' ' + std::to_string(i.k);
    }
    ::pcap_freecode(&program);
    return out;
}

}  // namespace postern
