// SPDX-License-Identifier: BSD-3-Clause
// Talk: a conversation said to the helper engine, cut, joined, repeated and shuffled.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <sanitizer/asan_interface.h>

#include "dialogue.h"
#include "helper/engine.h"
#include "helper/registry.h"

namespace postern {

/// One piece of a segment train: bytes [begin, end) of the words so far said by that side.
struct Piece {
    std::size_t begin;
    std::size_t end;
};
/// How one turn (the words that go out together) is cut and ordered, into `out`, which is empty;
/// `length` is the turn's.
using Cut = std::function<void(std::size_t turn, std::size_t length, std::vector<Piece>& out)>;

struct Way {
    bool join = false;   ///< words of one side that follow each other go out together
    bool twice = false;  ///< each segment is sent again at once, with other bytes
    bool liar = false;   ///< pieces begin three bytes early, with other bytes
    bool undo = false;   ///< packets that ask for something are dropped once
    std::uint32_t isn = 1000;
    Cut cut = [](std::size_t, std::size_t n, std::vector<Piece>& out) { out.push_back({0, n}); };
};

/// A packet's memory: the payload lies at its end, and a sanitizer sees each read of anything else,
/// and of the payload itself once it is gone.
class PacketMemory {
  public:
    PacketMemory() { ASAN_POISON_MEMORY_REGION(bytes_.get(), kSize); }
    ~PacketMemory() { ASAN_UNPOISON_MEMORY_REGION(bytes_.get(), kSize); }
    PacketMemory(const PacketMemory&) = delete;
    PacketMemory& operator=(const PacketMemory&) = delete;

    std::span<std::uint8_t> take(std::size_t n) {
        if (n > kSize) throw std::runtime_error("words of more than 256 KiB");
        std::uint8_t* const at = bytes_.get() + (kSize - n);
        ASAN_UNPOISON_MEMORY_REGION(at, n);
        return {at, n};
    }
    void drop(std::span<const std::uint8_t> taken) {
        ASAN_POISON_MEMORY_REGION(taken.data(), taken.size());
    }

  private:
    static constexpr std::size_t kSize = 1 << 18;
    std::unique_ptr<std::uint8_t[]> bytes_ = std::make_unique<std::uint8_t[]>(kSize);
};

/// One dialogue over one protocol and family. What does not change between its runs, of which there
/// are thousands, is made once: the engine, too.
class Talk {
  public:
    Talk(const Dialogue& dialogue, Family family, std::uint8_t protocol)
        : dialogue_(dialogue), addresses_(family), protocol_(protocol) {
        if (dialogue.server) addresses_.server = *dialogue.server;
        std::vector<HelperConfig> configs{dialogue_.config};
        if (auto added = add_children(configs, find_helper); !added)
            throw std::runtime_error(dialogue.file + ": " + added.error().message);
        auto set = HelperSet::create(configs);
        if (!set) throw std::runtime_error(dialogue.file + ": " + set.error().message);
        set_ = std::move(set).value();
        engine_ = std::move(HelperEngine::create(*set_, {2, 4, 4096, 4})).value();
        buffers_ = engine_->buffers_free();
        for (const std::string& each : dialogue.parting)
            parting_.push_back(expand(each, addresses_));
        for (const bool join : {false, true})
            turns_[join] = make_turns(join);
        engine_->for_each_counter(engine_->set(), kHelper, [&](const CounterValue& c) {
            const auto named = dialogue.counts.find(std::string(c.name));
            std::optional<std::uint64_t> wanted;
            if (named != dialogue.counts.end())
                wanted = named->second;
            else if (must_be_named(c.name))
                wanted = 0;
            wanted_.push_back(wanted);
        });
        before_.resize(wanted_.size());
    }

    /// Lengths of the turns, in the order in which run() asks `cut` for them.
    std::vector<std::size_t> turns(bool join) const {
        std::vector<std::size_t> out;
        for (const Turn& t : turns_[join])
            out.push_back(t.text.size());
        return out;
    }

    bool datagrams() const { return protocol_ == proto::udp; }
    bool once() const { return dialogue_.once; }

    /// Empty when all went as the file says.
    std::string run(const Way& way) {
        ++runs;
        const HelperDesc& desc = *dialogue_.config.desc;
        const Tuple tuple{addresses_.client, addresses_.server,
                          Be16::from_host(dialogue_.client_port),
                          Be16::from_host(desc.default_ports.empty() ? std::uint16_t{40001}
                                                                     : desc.default_ports.front()),
                          protocol_};
        for (std::size_t i = 0; i < before_.size(); ++i)
            before_[i] = counter(i);
        conn_ = engine_->attach(kHelper, tuple, 0);
        next_ = {way.isn + 1, way.isn + 7001};
        tags_.clear();
        if (dialogue_.picked_up) engine_->pick_up(conn_, next_[0], next_[1]);
        for (unsigned d = 0; d < 2 && !dialogue_.picked_up; ++d)
            if (dialogue_.syn_seen[d] && !datagrams())
                engine_->on_syn(conn_, static_cast<Direction>(d), next_[d] - 1);
        const auto& turns = turns_[way.join];
        std::string problem;
        for (std::size_t i = 0; i < turns.size() && problem.empty(); ++i)
            problem = take_turn(turns[i], i, way);
        const bool to_the_end = problem.empty();
        if (to_the_end) problem = compare_counters(way);
        engine_->detach(conn_, emit_);
        got_.clear();
        asked(got_);
        if (!to_the_end) return problem;
        if (got_ != parting_)
            problem += "at the end: got " + list(got_) + ", expected " + list(parting_) + "; ";
        if (engine_->buffers_free() != buffers_) problem += "a stream buffer was lost; ";
        return problem;
    }

    static inline std::uint64_t runs = 0;  ///< of all

  private:
    /// Words that go out together.
    struct Turn {
        Direction by = Direction::original;
        bool lost = false;
        std::string text;
        std::vector<std::string> expect;
        std::uint16_t min_timeout_s = 0;  ///< the connection's after it
    };

    std::vector<Turn> make_turns(bool join) const {
        std::vector<Turn> out;
        std::uint16_t min_timeout_s = 0;
        bool last_lost = false;
        for (const Words& w : dialogue_.words) {
            if (!join || out.empty() || w.lost || last_lost || out.back().by != w.by)
                out.push_back({w.by, w.lost, {}, {}, 0});
            last_lost = w.lost;
            Turn& turn = out.back();
            turn.text += expand(w.text, addresses_);
            for (const std::string& e : w.expect)
                turn.expect.push_back(expand(e, addresses_));
            min_timeout_s = w.min_timeout_s.value_or(min_timeout_s);
            turn.min_timeout_s = min_timeout_s;
        }
        return out;
    }

    std::string take_turn(const Turn& turn, std::size_t number, const Way& way) {
        got_.clear();
        pieces_.clear();
        if (!turn.lost) way.cut(number, turn.text.size(), pieces_);
        for (const Piece& p : pieces_)
            send(turn.by, turn.text, p, way);
        next_[index(turn.by)] += static_cast<std::uint32_t>(turn.text.size());
        if (!same(got_, turn.expect))
            return "after \"" + turn.text + "\": got " + list(got_) + ", expected " +
                   list(turn.expect);
        if (conn_->min_timeout_s != turn.min_timeout_s)
            return "after \"" + turn.text + "\": min_timeout is " +
                   std::to_string(conn_->min_timeout_s) + ", expected " +
                   std::to_string(turn.min_timeout_s);
        return {};
    }

    std::uint64_t counter(std::size_t i) const { return engine_->counters(kHelper).at[i].get(); }

    std::string compare_counters(const Way& way) const {
        std::string problem;
        for (std::size_t i = 0; i < wanted_.size(); ++i) {
            if (!wanted_[i]) continue;
            const std::uint64_t wanted = *wanted_[i], got = counter(i) - before_[i];
            if (got == wanted || (datagrams() && way.twice && got == 2 * wanted)) continue;
            if (way.undo && got >= wanted && wanted != 0) continue;
            const auto& own = dialogue_.config.desc->counters;
            problem += std::string(i < kHelperCounters ? kHelperCounterTable[i].name
                                                       : own[i - kHelperCounters].name) +
                       " is " + std::to_string(got) + ", expected " + std::to_string(wanted) + "; ";
        }
        return problem;
    }

    static bool must_be_named(std::string_view counter) {
        for (const char* free : {"attached", "scanned_bytes", "messages", "expectations", "undone"})
            if (counter == free) return false;
        for (const CounterDesc& c : kHelperCounterTable)
            if (c.name == counter) return true;
        return false;
    }
    /// Takes a word and the blank behind it.
    static std::string_view first_word(std::string_view& text) {
        const auto n = text.find(' ');
        const std::string_view word = text.substr(0, n);
        text.remove_prefix(n == std::string_view::npos ? text.size() : n + 1);
        return word;
    }
    /// As strings, but that a tag may be a name in what was expected.
    bool same(const std::vector<std::string>& got, const std::vector<std::string>& expected) {
        if (got.size() != expected.size()) return false;
        for (std::size_t i = 0; i < got.size(); ++i) {
            if (got[i] == expected[i]) continue;
            std::string_view g = got[i], e = expected[i];
            while (!e.empty()) {
                const std::string_view a = first_word(g), b = first_word(e);
                const auto name = b.find('$');
                if (name == std::string_view::npos) {
                    if (a != b) return false;
                    continue;
                }
                if (a.substr(0, name) != b.substr(0, name)) return false;
                const std::string_view number = a.substr(name);
                const auto at = tags_.find(b.substr(name));
                if (at != tags_.end() && at->second != number) return false;
                if (at != tags_.end()) continue;
                for (const auto& [other, taken] : tags_)
                    if (taken == number) return false;
                tags_.emplace(b.substr(name), number);
            }
            if (!g.empty()) return false;
        }
        return true;
    }
    static std::string list(const std::vector<std::string>& v) {
        std::string s = "[";
        for (const std::string& each : v)
            s += each + ", ";
        return s + "]";
    }
    void send(Direction by, std::string_view text, Piece p, const Way& way) {
        const std::size_t early = way.liar ? std::min<std::size_t>(p.begin, 3) : 0;
        const std::size_t n = early + p.end - p.begin;
        const std::uint32_t seq = next_[index(by)] + static_cast<std::uint32_t>(p.begin - early);
        const auto say = [&](bool again) {
            const std::span<std::uint8_t> payload = packet_.take(n);
            std::fill_n(payload.begin(), again ? n : early, static_cast<std::uint8_t>('\n'));
            if (!again) std::memcpy(payload.data() + early, text.data() + p.begin, p.end - p.begin);
            if (datagrams())
                engine_->on_datagram(conn_, by, payload, emit_);
            else
                engine_->on_segment(conn_, by, seq, 0, payload, emit_);
            packet_.drop(payload);
        };
        say(false);
        if (way.undo && !emit_.empty()) {
            if (engine_->undo(conn_))
                say(false);
            else if (p.end <= 4096)  // else what was waiting may have been moved
                got_.push_back("(undo was not possible)");
        }
        const std::size_t before = got_.size();
        asked(got_);
        if (way.twice) {
            const std::size_t after = got_.size();
            say(!datagrams());
            asked(got_);
            if (datagrams() &&
                std::equal(got_.begin() + static_cast<std::ptrdiff_t>(before),
                           got_.begin() + static_cast<std::ptrdiff_t>(after),
                           got_.begin() + static_cast<std::ptrdiff_t>(after), got_.end())) {
                got_.resize(after);
                return;
            }
            for (std::size_t i = after; i < got_.size(); ++i)
                got_[i] = "again: " + got_[i];
        }
    }

    /// Adds all that the last packet asked for, in its order.
    void asked(std::vector<std::string>& out) const {
        if (emit_.empty()) return;
        const HelperDesc& desc = *dialogue_.config.desc;
        const auto actions = emit_.actions();
        std::size_t acted = 0, filed = 0;
        const auto act_now = [&] {
            for (; acted < actions.size() && actions[acted].after <= filed; ++acted)
                out.push_back(print(actions[acted], desc, addresses_));
        };
        for (const PinHole& hole : emit_.requests()) {
            act_now();
            ++filed;
            out.push_back(print(hole, desc, addresses_, dialogue_.usual));
        }
        act_now();
    }

    const Dialogue& dialogue_;
    Addresses addresses_;
    std::uint8_t protocol_;
    std::map<std::string, std::string, std::less<>>
        tags_;                                ///< what the names of tags have turned out to be
    std::array<std::vector<Turn>, 2> turns_;  ///< as they stand, and joined
    std::vector<std::string> parting_;
    std::vector<std::optional<std::uint64_t>> wanted_;  ///< of each counter; none: anything
    std::vector<std::uint64_t> before_;                 ///< each counter as the run began
    std::unique_ptr<const HelperSet> set_;
    std::unique_ptr<HelperEngine> engine_;
    std::uint32_t buffers_ = 0;  ///< of the engine, when none is taken
    HelperConn* conn_ = nullptr;
    std::array<std::uint32_t, 2> next_{};
    std::vector<std::string> got_;
    std::vector<Piece> pieces_;
    PacketMemory packet_;
    Emit emit_;
};

}  // namespace postern
