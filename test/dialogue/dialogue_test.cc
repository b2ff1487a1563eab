// SPDX-License-Identifier: BSD-3-Clause
// Runs the conversations in helpers/*/dialogues/*.txt through the engine, cut, joined, repeated and
// shuffled in every way that TCP may do it; the answers must not change.
//
// A file holds lines of these kinds:
//   # comment
//   helper NAME [PARAM=VALUE ...]      first; the helper under test
//   families ipv4 ipv6                 the conversation is run once for each; default: both
//   to ADDRESS [PORT]                  the server's address, and the client's port, where they are
//                                      not the usual ones
//   midstream client|server            the SYN of that side is not seen
//   over tcp|udp                       for a helper that has both; default: tcp. `over tcp udp`:
//   the
//                                      conversation is run over each, and `expect` means udp
//   in order                           only the ways without reordering (when that is the point)
//   every N                            of the splits in two, those at each Nth byte (long messages)
//   once                               datagrams are not said twice (when the second says nothing)
//   C: text    S: text                 client, server says a line; CR LF is added
//   C| text    S| text                 as it stands, nothing is added
//   C= hex     S= hex                  bytes, in groups of pairs; {client#} and the like may stand
//                                      between the groups
//   C- text    S- text                 lost: never seen, never repeated
//   + text                             one more line of the words before it; CR LF is added
//   = hex                              more bytes of the words before it
// What the words just before ask for, in this order, and no more:
//   expect SRC -> DST:PORT CLASS [TIMEOUT] [WORD ...]
//                                      SRC and DST: client, server, any, or an address; TIMEOUT: if
//                                      it is not the class's. Words: permanent, inactive,
//                                      skip_master, beside, tag=TAG, child=NAME, and the protocol
//                                      if it is
//                                      neither the helper's own nor, if it has both, udp
//   activate CLASS TAG TIMEOUT
//   remove CLASS TAG [mask=HEX]        CLASS may be `any`
//                                      a TAG is a number, or $NAME: the same number each time
//   end PROTO SRC:PORT -> DST:PORT     a running connection
//   master_timeout N                   from here on, in seconds; in any place
// At the end:
//   destroy                            what follows (`end`) is asked for when the connection ends
//   count COUNTER N                    refusals, blind streams and parse errors that are not named
//                                      must be 0
// Over UDP each of the words is one datagram, never cut; said twice, it asks twice.
// In text: \r \n \t \\ \xHH, {client} {server} (addresses), {client,} {server,} (as in PORT),
// {client#} {server#} (their bytes), {client_number} {server_number} (as in DCC), {af} (1 or 2, as
// in EPRT), {N*c} (N times the character c), {N*HH} (N times the byte HH), {[client]} {[server]}
// (in brackets if IPv6), {ip} (IP4 or IP6), {length} (bytes after the first empty line, as in
// Content-Length).
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

#include <gtest/gtest.h>
#include <sanitizer/asan_interface.h>

#include "helper/engine.h"
#include "helper/registry.h"

namespace postern {
namespace {

constexpr HelperId kHelper = 1;

struct Words {
    Direction by = Direction::original;
    bool lost = false;
    std::string text;
    std::vector<std::string> expect;  ///< as print() writes them
    std::optional<std::uint16_t> master_timeout_s;
};

struct Dialogue {
    std::string file;
    HelperConfig config;
    std::vector<Family> families{Family::ipv4, Family::ipv6};
    std::optional<IpAddr> server;
    std::uint16_t client_port = 40000;
    std::array<bool, 2> syn_seen{true, true};
    bool in_order = false;
    bool once = false;
    std::size_t every = 1;
    std::vector<std::uint8_t> over{proto::tcp};  ///< IP protocols: it is run over each
    std::uint8_t usual = proto::tcp;             ///< of an expectation that names none
    std::vector<Words> words;
    std::vector<std::string> parting;  ///< what is asked for when it ends
    std::map<std::string, std::uint64_t> counts;
};

struct Addresses {
    IpAddr client, server;
    explicit Addresses(Family f)
        : client(*IpAddr::parse(f == Family::ipv4 ? "192.0.2.1" : "2001:db8::1")),
          server(*IpAddr::parse(f == Family::ipv4 ? "198.51.100.2" : "2001:db8:1::2")) {}

    std::string name(const IpAddr& a) const {
        return a == client ? "client" : a == server ? "server" : a.to_string();
    }
};

std::string with_commas(const IpAddr& a) {
    std::string s = a.family == Family::ipv4 ? a.to_string() : "0.0.0.0";
    std::replace(s.begin(), s.end(), '.', ',');
    return s;
}

std::string in_brackets(const IpAddr& a) {
    return a.family == Family::ipv4 ? a.to_string() : "[" + a.to_string() + "]";
}

std::string raw_bytes(const IpAddr& a) {
    return {reinterpret_cast<const char*>(a.bytes.data()), address_bytes(a.family)};
}

/// Stands where {length} was until the length is known.
constexpr std::string_view kLengthHere = "\001length\001";

/// As DCC writes addresses: one decimal number, or IPv6's text.
std::string as_number(const IpAddr& a) {
    if (a.family != Family::ipv4) return a.to_string();
    std::uint32_t n = 0;
    for (unsigned i = 0; i < 4; ++i)
        n = n << 8 | a.bytes[i];
    return std::to_string(n);
}

std::string expand(std::string_view in, const Addresses& addresses) {
    std::string out;
    for (std::size_t i = 0; i < in.size(); ++i) {
        if (in[i] == '\\' && i + 1 < in.size()) {
            const char c = in[++i];
            if (c == 'x') {
                out += static_cast<char>(std::stoi(std::string(in.substr(i + 1, 2)), nullptr, 16));
                i += 2;
            } else {
                out += c == 'r' ? '\r' : c == 'n' ? '\n' : c == 't' ? '\t' : c;
            }
        } else if (in[i] == '{') {
            const auto end = in.find('}', i);
            const std::string name(in.substr(i + 1, end - i - 1));
            i = end;
            const auto star = name.find('*');
            if (star != std::string::npos)
                out.append(std::stoul(name.substr(0, star)),
                           name.size() == star + 2
                               ? name[star + 1]
                               : static_cast<char>(std::stoi(name.substr(star + 1), nullptr, 16)));
            else if (name == "af")
                out += addresses.client.family == Family::ipv4 ? '1' : '2';
            else if (name == "client" || name == "server")
                out += (name == "client" ? addresses.client : addresses.server).to_string();
            else if (name == "[client]" || name == "[server]")
                out += in_brackets(name == "[client]" ? addresses.client : addresses.server);
            else if (name == "ip")
                out += addresses.client.family == Family::ipv4 ? "IP4" : "IP6";
            else if (name == "client," || name == "server,")
                out += with_commas(name == "client," ? addresses.client : addresses.server);
            else if (name == "client#" || name == "server#")
                out += raw_bytes(name == "client#" ? addresses.client : addresses.server);
            else if (name == "length")
                out += kLengthHere;
            else if (name == "client_number" || name == "server_number")
                out += as_number(name == "client_number" ? addresses.client : addresses.server);
            else
                throw std::runtime_error("unknown {" + name + "}");
        } else {
            out += in[i];
        }
    }
    if (const auto at = out.find(kLengthHere); at != std::string::npos) {
        const auto head = out.find("\r\n\r\n");
        const std::size_t body = head == std::string::npos ? 0 : out.size() - head - 4;
        out.replace(at, kLengthHere.size(), std::to_string(body));
    }
    return out;
}

/// "00 9c1a {client#}" in the notation of text.
std::string hex_as_text(const std::string& in) {
    std::istringstream words(in);
    std::string out;
    for (std::string word; words >> word;) {
        if (word[0] == '{') {
            out += word;
            continue;
        }
        if (word.size() % 2 != 0 ||
            word.find_first_not_of("0123456789abcdefABCDEF") != std::string::npos)
            throw std::runtime_error("not pairs of hexadecimal digits: " + word);
        for (std::size_t i = 0; i < word.size(); i += 2)
            out += "\\x" + word.substr(i, 2);
    }
    return out;
}

/// The words after CLASS in the order in which print() writes them; the class's own timeout when
/// there is none.
std::string expect_words(std::istringstream& in, const ExpectClass& cls) {
    std::string timeout = std::to_string(cls.timeout_s), word;
    std::vector<std::string> words;
    while (in >> word) {
        if (word.find_first_not_of("0123456789") == std::string::npos)
            timeout = word;
        else
            words.push_back(word);
    }
    std::sort(words.begin(), words.end());
    for (const std::string& w : words)
        timeout += " " + w;
    return timeout;
}

const ExpectClass* find_class(const Dialogue& d, std::string_view name) {
    for (const ExpectClass& c : d.config.desc->classes)
        if (c.name == name) return &c;
    return nullptr;
}

Dialogue parse(const std::filesystem::path& path) {
    Dialogue d;
    d.file = path.string();
    std::ifstream in(path);
    std::string line;
    bool parting = false;
    for (int n = 1; std::getline(in, line); ++n) {
        const auto first = line.find_first_not_of(' ');
        if (first == std::string::npos || line[first] == '#') continue;
        const auto wrong = [&](const char* what) {
            throw std::runtime_error(d.file + ":" + std::to_string(n) + ": " + what);
        };
        line.erase(0, first);
        if ((line[0] == 'C' || line[0] == 'S') && line.size() > 1 &&
            std::string_view(":|-=").find(line[1]) != std::string_view::npos) {
            Words w;
            w.by = line[0] == 'C' ? Direction::original : Direction::reply;
            w.lost = line[1] == '-';
            w.text = line.size() > 3 ? line.substr(3) : "";
            if (line[1] == '=')
                w.text = hex_as_text(w.text);
            else if (line[1] != '|')
                w.text += "\\r\\n";
            d.words.push_back(std::move(w));
            continue;
        }
        if (line[0] == '+' || line[0] == '=') {
            if (d.words.empty()) wrong("there are no words to go on with");
            const std::string text = line.size() > 2 ? line.substr(2) : "";
            d.words.back().text += line[0] == '=' ? hex_as_text(text) : text + "\\r\\n";
            continue;
        }
        std::istringstream rest(line);
        std::string key, word;
        rest >> key;
        if (key == "helper") {
            rest >> word;
            d.config.id = kHelper;
            d.config.desc = find_helper(word);
            if (d.config.desc == nullptr) wrong("no such helper");
            if ((d.config.desc->transports & transport::tcp) == 0) d.over = {proto::udp};
            if ((d.config.desc->transports & transport::udp) != 0) d.usual = proto::udp;
            while (rest >> word) {
                const auto eq = word.find('=');
                d.config.params.emplace_back(word.substr(0, eq), word.substr(eq + 1));
            }
        } else if (key == "families") {
            d.families.clear();
            while (rest >> word)
                d.families.push_back(word == "ipv4" ? Family::ipv4 : Family::ipv6);
        } else if (key == "to") {
            if (!(rest >> word >> d.client_port)) d.client_port = 40000;
            d.server = IpAddr::parse(word);
            if (!d.server) wrong("bad address");
            d.families = {d.server->family};
        } else if (key == "midstream") {
            rest >> word;
            d.syn_seen[word == "server"] = false;
        } else if (key == "in") {
            d.in_order = true;
        } else if (key == "once") {
            d.once = true;
        } else if (key == "every") {
            if (!(rest >> d.every) || d.every == 0) wrong("bad every");
        } else if (key == "over") {
            d.over.clear();
            while (rest >> word)
                d.over.push_back(word == "udp" ? proto::udp : proto::tcp);
        } else if (key == "expect") {
            std::string src, arrow, dst, cls;
            rest >> src >> arrow >> dst >> cls;
            const ExpectClass* known = d.config.desc == nullptr ? nullptr : find_class(d, cls);
            if (arrow != "->" || d.words.empty() || known == nullptr) wrong("bad expect");
            d.words.back().expect.push_back(src + " -> " + dst + " " + cls + " " +
                                            expect_words(rest, *known));
        } else if (key == "activate" || key == "remove" || key == "end") {
            std::string all = key;
            while (rest >> word)
                all += " " + word;
            if (d.words.empty()) wrong("nobody has said anything");
            (parting ? d.parting : d.words.back().expect).push_back(all);
        } else if (key == "master_timeout") {
            unsigned v = 0;
            if (!(rest >> v) || d.words.empty()) wrong("bad master_timeout");
            d.words.back().master_timeout_s = static_cast<std::uint16_t>(v);
        } else if (key == "destroy") {
            parting = true;
        } else if (key == "count") {
            std::uint64_t v = 0;
            if (!(rest >> word >> v)) wrong("bad count");
            d.counts[word] = v;
        } else {
            wrong("neither words nor a directive");
        }
    }
    if (d.config.desc == nullptr) throw std::runtime_error(d.file + ": no helper line");
    return d;
}

std::string print(const PinHole& p, const HelperDesc& desc, const Addresses& a,
                  std::uint8_t usual) {
    std::string src = p.any_src() ? "any" : a.name(p.src.address);
    if (!p.any_src() && p.src.length != address_bytes(p.src.address.family) * 8)
        src += "/" + std::to_string(p.src.length);
    if (!p.any_sport) src += ":" + std::to_string(p.sport.host());
    std::vector<std::string> words;
    if ((p.flags & PinHole::kPermanent) != 0) words.emplace_back("permanent");
    if ((p.flags & PinHole::kInactive) != 0) words.emplace_back("inactive");
    if ((p.flags & PinHole::kSkipMaster) != 0) words.emplace_back("skip_master");
    if ((p.flags & PinHole::kBeside) != 0) words.emplace_back("beside");
    if (p.tag != 0) words.push_back("tag=" + std::to_string(p.tag));
    if (p.child != PinHole::kNoChild)
        words.push_back("child=" + std::string(desc.children[p.child]));
    if (p.protocol != usual) words.push_back(protocol_name(p.protocol));
    std::sort(words.begin(), words.end());
    std::string out = src + " -> " + a.name(p.dst) + ":" + std::to_string(p.dport.host());
    if (p.more_ports != 0) out += "-" + std::to_string(p.dport.host() + p.more_ports);
    out += " " + std::string(desc.classes[p.class_index].name) + " " + std::to_string(p.timeout_s);
    for (const std::string& w : words)
        out += " " + w;
    return out;
}

std::string print(const EmitAction& act, const HelperDesc& desc, const Addresses& a) {
    const auto cls = [&] {
        return std::string(act.class_index == Emit::kAnyClass
                               ? "any"
                               : desc.classes[act.class_index].name) +
               " " + std::to_string(act.tag);
    };
    const auto end = [&](const IpAddr& address, Be16 port) {
        return a.name(address) + ":" + std::to_string(port.host());
    };
    switch (act.kind) {
        case EmitAction::Kind::activate:
            return "activate " + cls() + " " + std::to_string(act.timeout_s);
        case EmitAction::Kind::remove: {
            std::ostringstream mask;
            if (act.mask != ~0u) mask << " mask=" << std::hex << act.mask;
            return "remove " + cls() + mask.str();
        }
        case EmitAction::Kind::end_child: break;
    }
    return "end " + protocol_name(act.child.protocol) + " " + end(act.child.src, act.child.sport) +
           " -> " + end(act.child.dst, act.child.dport);
}

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
        engine_->for_each_counter(kHelper, [&](const CounterValue& c) {
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
        for (unsigned d = 0; d < 2; ++d)
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
        std::uint16_t patience = 0;  ///< the connection's after it
    };

    std::vector<Turn> make_turns(bool join) const {
        std::vector<Turn> out;
        std::uint16_t patience = 0;
        bool last_lost = false;
        for (const Words& w : dialogue_.words) {
            if (!join || out.empty() || w.lost || last_lost || out.back().by != w.by)
                out.push_back({w.by, w.lost, {}, {}, 0});
            last_lost = w.lost;
            Turn& turn = out.back();
            turn.text += expand(w.text, addresses_);
            for (const std::string& e : w.expect)
                turn.expect.push_back(expand(e, addresses_));
            patience = w.master_timeout_s.value_or(patience);
            turn.patience = patience;
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
        if (conn_->min_timeout_s != turn.patience)
            return "after \"" + turn.text + "\": master_timeout is " +
                   std::to_string(conn_->min_timeout_s) + ", expected " +
                   std::to_string(turn.patience);
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

void pieces_of(std::size_t length, std::size_t size, std::vector<Piece>& out) {
    for (std::size_t at = 0; at < length; at += size)
        out.push_back({at, std::min(length, at + size)});
    if (out.empty()) out.push_back({0, 0});
}

Cut in_pieces(std::size_t size, bool backwards) {
    return [=](std::size_t, std::size_t length, std::vector<Piece>& out) {
        pieces_of(length, size, out);
        if (backwards) std::reverse(out.begin(), out.end());
    };
}

/// As many holes as a stream may have, then they are filled.
void every_other_first(std::size_t, std::size_t length, std::vector<Piece>& out) {
    std::vector<Piece> all;
    pieces_of(length, length / 17 + 1, all);
    for (const std::size_t start : {std::size_t{1}, std::size_t{0}})
        for (std::size_t i = start; i < all.size(); i += 2)
            out.push_back(all[i]);
}

class DialogueTest : public ::testing::Test {
  public:
    DialogueTest(const Dialogue& d, Family family, std::uint8_t protocol)
        : dialogue_(d), family_(family), protocol_(protocol) {}

    void TestBody() override {
        Talk talk(dialogue_, family_, protocol_);
        const auto check = [&](const char* what, const Way& way) {
            const std::string problem = talk.run(way);
            EXPECT_EQ(problem, "") << what << ", first sequence number " << way.isn;
            return problem.empty();
        };
        for (const std::uint32_t isn : {1000u, 0xffffffffu, 0xffffffc0u, 0x7fffffe0u}) {
            Way plain;
            plain.isn = isn;
            if (!check("whole lines", plain)) return;
            Way way = plain;
            way.twice = true;
            if (!talk.once()) check("each segment twice", way);
            way = plain;
            way.undo = true;
            check("undone and sent again", way);
            if (talk.datagrams()) return;
            for (const bool join : {false, true}) {
                way = plain;
                way.join = join;
                check("joined", way);
                way.cut = in_pieces(1, false);
                check("single bytes", way);
                way.undo = true;
                check("single bytes, undone", way);
                way.undo = false;
                way.twice = true;
                check("single bytes twice", way);
                way.cut = in_pieces(7, false);
                way.liar = true;
                check("sevens, with lies", way);
                way.twice = way.liar = false;
                if (!dialogue_.in_order) {
                    way.cut = in_pieces(1, true);
                    check("single bytes backwards", way);
                    way.cut = in_pieces(5, true);
                    check("fives backwards", way);
                    way.cut = every_other_first;
                    check("every other piece first", way);
                }
                // The longest part: once as it is, once over the wrap.
                if (isn != 1000u && isn != 0xffffffc0u) continue;
                if (!every_split(talk, way)) return;
            }
        }
    }

  private:
    /// Each turn cut in two at each of its bytes.
    bool every_split(Talk& talk, Way way) {
        const auto turns = talk.turns(way.join);
        for (std::size_t t = 0; t < turns.size(); ++t) {
            for (std::size_t at = 1; at < turns[t]; at += dialogue_.every) {
                for (int kind = 0; kind < (dialogue_.in_order ? 3 : 4); ++kind) {
                    way.liar = kind == 1;
                    way.undo = kind == 2;
                    way.cut = [=](std::size_t turn, std::size_t n, std::vector<Piece>& out) {
                        if (turn != t)
                            out = {{0, n}};
                        else if (kind == 3)
                            out = {{at, n}, {0, at}};
                        else
                            out = {{0, at}, {at, n}};
                    };
                    const std::string problem = talk.run(way);
                    EXPECT_EQ(problem, "") << "turn " << t << " cut at " << at << ", kind " << kind
                                           << ", joined " << way.join;
                    if (!problem.empty()) return false;
                }
            }
        }
        return true;
    }

    const Dialogue& dialogue_;
    Family family_;
    std::uint8_t protocol_;
};

}  // namespace
}  // namespace postern

int main(int argc, char** argv) {
    using namespace postern;
    ::testing::InitGoogleTest(&argc, argv);
    static std::vector<std::unique_ptr<Dialogue>> dialogues;
    for (int i = 1; i < argc; ++i) {
        const std::filesystem::path helper(argv[i]);
        std::vector<std::filesystem::path> files;
        for (const auto& entry : std::filesystem::directory_iterator(helper / "dialogues"))
            if (entry.path().extension() == ".txt") files.push_back(entry.path());
        std::sort(files.begin(), files.end());
        for (const auto& file : files) {
            try {
                dialogues.push_back(std::make_unique<Dialogue>(parse(file)));
            } catch (const std::exception& e) {
                std::fprintf(stderr, "%s\n", e.what());
                return 1;
            }
            const Dialogue& d = *dialogues.back();
            for (const Family family : d.families) {
                for (const std::uint8_t protocol : d.over) {
                    std::string name = file.stem().string() + "." + to_string(family);
                    if (d.over.size() > 1) name += "." + protocol_name(protocol);
                    ::testing::RegisterTest(helper.filename().c_str(), name.c_str(), nullptr,
                                            nullptr, __FILE__, __LINE__,
                                            [&d, family, protocol]() -> ::testing::Test* {
                                                return new DialogueTest(d, family, protocol);
                                            });
                }
            }
        }
    }
    if (dialogues.empty()) {
        std::fprintf(stderr, "no dialogues; give the folders of helpers as arguments\n");
        return 1;
    }
    const int result = RUN_ALL_TESTS();
    std::printf("%llu runs of conversations\n", static_cast<unsigned long long>(Talk::runs));
    return result;
}
