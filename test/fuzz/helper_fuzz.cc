// SPDX-License-Identifier: BSD-3-Clause
// One helper (-DHELPER_NAME) through the whole engine: the input is a conversation and the way in
// which TCP carries it. Seeds are in helpers/NAME/fuzz_seeds/; a seed may be plain text, since
// every byte that is no control byte is payload.
//
// Input: payload bytes are collected; 0x01..0x08 send what was collected and set how:
//   1 as the client, in order    2 as the server, in order
//   3, 4 the same, then again with other bytes
//   5, 6 the same, held back until the next segment of that side was sent
//   7, 8 the same, the sequence number moved by the next byte (signed)
//   0x11 the next byte is payload, whatever it is
//   0x0e, 0x0f FIN of the client, of the server          0x10 RST of the client
// 0x14 as first byte: to all of the network (IPv4). 0x00: IPv6. 0x12 after that: with the helper's
// own switches on. 0x13 after that: over UDP, for a helper that has both.
//
// Oracle: never more requests from a packet than messages in it times the class's limit, and never
// one that the guards forbid: foreign address, other family, port below 1024 or denied, a service
// of the client (but for call ids, and answers to where the client asked from).
#include <cstdint>
#include <memory>
#include <vector>

#include "helper/engine.h"
#include "helper/registry.h"
#include "require.h"

namespace postern {
namespace {

constexpr std::uint16_t kDenied = 3306;
constexpr std::uint16_t kService = 3389;

struct Fixture {
    const HelperDesc& desc;
    std::unique_ptr<const HelperSet> set;
    std::unique_ptr<HelperEngine> engine;
    std::uint32_t buffers = 0;  ///< when none is taken

    Fixture() : desc(*find_helper(HELPER_NAME)) {
        std::vector<HelperConfig> configs{{1, "plain", &desc, {}}, {2, "switched", &desc, {}}};
        for (const ParamDesc& p : desc.params) {
            if (p.name == kDenyPortsParam.name)
                for (HelperConfig& c : configs)
                    c.params.emplace_back(p.name, std::to_string(kDenied));
            else if (p.type == ParamType::ports)
                configs[1].params.emplace_back(p.name, "50000-50100");
            else if (p.type == ParamType::boolean && p.name != kLooseParam.name)
                configs[1].params.emplace_back(p.name, "true");
        }
        require(add_children(configs, find_helper).ok(), "a child is not built in");
        set = std::move(HelperSet::create(configs)).value();
        engine = std::move(HelperEngine::create(*set, {1, 3, 512, 1})).value();
        buffers = engine->buffers_free();
    }
    std::uint64_t messages() const {
        return engine->counters(1)[HelperCounter::messages].get() +
               engine->counters(2)[HelperCounter::messages].get();
    }
};

class Conversation {
  public:
    Conversation(Fixture& f, bool v6, bool to_all, bool switched, bool datagrams)
        : f_(f), datagrams_(datagrams) {
        const Tuple tuple{*IpAddr::parse(v6 ? "2001:db8::1" : "192.0.2.1"),
                          *IpAddr::parse(to_all ? "255.255.255.255"
                                         : v6   ? "2001:db8:1::2"
                                                : "198.51.100.2"),
                          Be16::from_host(40000), Be16::from_host(21),
                          datagrams ? proto::udp : proto::tcp};
        conn_ = f.engine->attach(switched ? 2 : 1, tuple, 0);
        require(conn_ != nullptr, "a slot was lost");
        if (datagrams) return;
        f.engine->on_syn(conn_, Direction::original, next_[0] - 1);
        f.engine->on_syn(conn_, Direction::reply, next_[1] - 1);
    }
    ~Conversation() {
        f_.engine->detach(conn_, emit_);
        require(f_.engine->buffers_free() == f_.buffers && f_.engine->conns_free() == 1,
                "a buffer or a slot was lost");
    }

    void say(Direction by, std::vector<std::uint8_t> text, unsigned how, std::int8_t jitter) {
        std::uint32_t& next = next_[index(by)];
        const std::uint32_t seq = next + static_cast<std::uint32_t>(int{jitter});
        next += static_cast<std::uint32_t>(text.size());
        auto& held = held_[index(by)];
        const auto held_seq = held_seq_[index(by)];
        if (how == 2 && held.empty()) {
            held = std::move(text);
            held_seq_[index(by)] = seq;
            return;
        }
        segment(by, seq, 0, text);
        if (how == 1) segment(by, seq, 0, std::vector<std::uint8_t>(text.size(), '\n'));
        if (!held.empty()) segment(by, held_seq, 0, held);
        held.clear();
    }
    void end(Direction by, std::uint8_t flags) {
        if (!datagrams_) segment(by, next_[index(by)], flags, {});
    }

  private:
    void segment(Direction by, std::uint32_t seq, std::uint8_t flags,
                 const std::vector<std::uint8_t>& payload) {
        const std::uint64_t before = f_.messages();
        if (datagrams_)
            f_.engine->on_datagram(conn_, by, payload, emit_);
        else
            f_.engine->on_segment(conn_, by, seq, flags, payload, emit_);
        check(before);
        // Now and then the caller cannot file it and drops the packet.
        if (!emit_.empty() && payload.size() % 2 != 0 && f_.engine->undo(conn_)) {
            const std::uint64_t again = f_.messages();
            if (datagrams_)
                f_.engine->on_datagram(conn_, by, payload, emit_);
            else
                f_.engine->on_segment(conn_, by, seq, flags, payload, emit_);
            require(!emit_.empty(), "an undone packet asks for nothing when it is read again");
            check(again);
        }
    }
    void check(std::uint64_t messages_before) {
        std::uint64_t allowed = 0;
        for (const ExpectClass& c : f_.desc.classes)
            allowed += c.max_expected * (f_.messages() - messages_before);
        require(emit_.requests().size() <= allowed, "more than the classes allow");
        for (const PinHole& p : emit_.requests()) {
            require(p.class_index < f_.desc.classes.size(), "a class that does not exist");
            require(p.timeout_ms != 0, "no timeout");
            require(p.family() == conn_->original.src.family, "another family");
            if (p.protocol != proto::gre) {
                const bool own_socket =
                    p.dst == conn_->original.src && p.dport == conn_->original.sport && datagrams_;
                require(p.dport.host() >= 1024 || own_socket, "a privileged port");
                require(p.dport.host() > kDenied || p.dport.host() + p.more_ports < kDenied,
                        "a denied port");
                require(p.protocol != proto::tcp || p.dst != conn_->original.src ||
                            p.dport.host() > kService || p.dport.host() + p.more_ports < kService,
                        "a service of the client");
                require(p.dport.host() + p.more_ports <= UINT16_MAX, "a port that does not exist");
            }
            require(p.child == PinHole::kNoChild || p.child_helper != kNoHelper, "a lost child");
            require(f_.desc.classes[p.class_index].foreign || p.dst == conn_->original.src ||
                        p.dst == conn_->original.dst,
                    "a third party's address");
            require(conn_->proven, "before the proof of protocol");
        }
    }

    Fixture& f_;
    const bool datagrams_;
    HelperConn* conn_;
    std::array<std::uint32_t, 2> next_{0xffffff00u, 1000u};
    std::array<std::vector<std::uint8_t>, 2> held_;
    std::array<std::uint32_t, 2> held_seq_{};
    Emit emit_;
};

}  // namespace
}  // namespace postern

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace postern;
    static Fixture fixture;
    Cursor in{Bytes{data, size}};
    const bool to_all = in.peek() == 0x14 && in.skip(1);
    const bool v6 = !to_all && in.peek() == 0 && in.skip(1);
    const bool switched = in.peek() == 0x12 && in.skip(1);
    const bool udp = in.peek() == 0x13 && in.skip(1);
    const std::uint8_t transports = fixture.desc.transports;
    Conversation conversation(
        fixture, v6, to_all, switched,
        transports == transport::udp || (udp && (transports & transport::udp) != 0));
    std::vector<std::uint8_t> text;
    while (const auto b = in.u8()) {
        if (*b >= 1 && *b <= 8) {
            const auto by = *b % 2 != 0 ? Direction::original : Direction::reply;
            std::int8_t jitter = 0;
            if (*b >= 7) jitter = static_cast<std::int8_t>(in.u8().value_or(0));
            conversation.say(by, text, (*b - 1u) / 2, jitter);
            text.clear();
        } else if (*b >= 0x0e && *b <= 0x10) {
            conversation.end(*b == 0x0f ? Direction::reply : Direction::original,
                             *b == 0x10 ? stream_flag::rst : stream_flag::fin);
        } else if (*b == 0x11) {
            if (const auto plain = in.u8()) text.push_back(*plain);
        } else {
            text.push_back(*b);
        }
    }
    return 0;
}
