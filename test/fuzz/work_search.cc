// SPDX-License-Identifier: BSD-3-Clause
// Searches the streams that cost a worker the most for what they cost their sender.
//
//   work_search                          a short search for every helper, as a test
//   work_search HELPER RUNS SEEDS [OUT]  a search from the files in folder SEEDS; the worst are
//                                        written to folder OUT, as seeds for the helper's fuzz
//                                        target
//
// A candidate is the beginning of a seed, which brings the connection into some state, and a piece
// of text that one side repeats from there on, cut in some way. It is tried with 3 KB and with
// 30 KB of the piece. Candidates that cost more are kept and changed further (hill climbing). Two
// things are wrong: a byte on the wire that costs more than kMost, and one of 30 KB that costs more
// than kMostGrowth times what one of 3 KB costs (something is read again with each segment).
//
// Cost is the number of basic blocks that run in the helpers and their framework, which are
// compiled with -fsanitize-coverage=trace-pc for this program. Of libraries it is estimated from
// the length of what they read or move. So it is the same at every run and on every machine.
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "helper/engine.h"
#include "helper/registry.h"

namespace {
std::uint64_t work = 0;
void add_work(std::size_t bytes) noexcept {
    work += 4 + bytes / 8;
}
}  // namespace

// What the compiler calls at each basic block, and what the linker calls in place of some functions
// of libraries (-Wl,--wrap).
extern "C" {
void __sanitizer_cov_trace_pc();
void* __real_memchr(const void*, int, std::size_t);
void* __real_memrchr(const void*, int, std::size_t);
void* __real_memmove(void*, const void*, std::size_t);
void* __real_memcpy(void*, const void*, std::size_t);
int __real_hs_scan(const void*, const char*, unsigned, unsigned, void*, void*, void*);
void* __wrap_memchr(const void*, int, std::size_t);
void* __wrap_memrchr(const void*, int, std::size_t);
void* __wrap_memmove(void*, const void*, std::size_t);
void* __wrap_memcpy(void*, const void*, std::size_t);
int __wrap_hs_scan(const void*, const char*, unsigned, unsigned, void*, void*, void*);

void __sanitizer_cov_trace_pc() {
    ++work;
}
void* __wrap_memchr(const void* in, int byte, std::size_t n) {
    void* found = __real_memchr(in, byte, n);
    add_work(found == nullptr ? n
                              : static_cast<std::size_t>(static_cast<const char*>(found) -
                                                         static_cast<const char*>(in)));
    return found;
}
void* __wrap_memrchr(const void* in, int byte, std::size_t n) {
    void* found = __real_memrchr(in, byte, n);
    add_work(found == nullptr ? n
                              : n - static_cast<std::size_t>(static_cast<const char*>(found) -
                                                             static_cast<const char*>(in)));
    return found;
}
void* __wrap_memmove(void* to, const void* from, std::size_t n) {
    add_work(n);
    return __real_memmove(to, from, n);
}
void* __wrap_memcpy(void* to, const void* from, std::size_t n) {
    add_work(n);
    return __real_memcpy(to, from, n);
}
int __wrap_hs_scan(const void* database, const char* text, unsigned n, unsigned flags,
                   void* scratch, void* on_match, void* context) {
    work += 60 + n / 4;
    return __real_hs_scan(database, text, n, flags, scratch, on_match, context);
}
}

namespace postern {
namespace {

constexpr std::size_t kShort = 2 * 1400, kLong = 30000;
constexpr double kMostGrowth = 3.0;
/// Costs below it are not compared: a piece may cost nothing at first, where it is passed over, and
/// what is usual later.
constexpr double kUsual = 8;
constexpr double kMost = 60;              ///< basic blocks a byte on the wire
constexpr std::size_t kSegmentHead = 54;  ///< Ethernet, IPv4 and TCP: a sender pays for them too
constexpr std::size_t kSegment = kShort / 2;
constexpr unsigned kTestRuns = 150;

enum class Cut : std::uint8_t {
    bytes,
    pairs,
    segments,
    early,     ///< bytes, while one waits that came too early
    answered,  ///< bytes, and the other side says something after each
};
constexpr unsigned kCuts = 5;

struct Candidate {
    std::string before;  ///< in the notation of helper_fuzz.cc
    std::string piece;
    std::string answer;
    bool by_server = false;
    Cut cut = Cut::bytes;
};

/// A helper and one connection after the other.
class Target {
  public:
    explicit Target(const HelperDesc& desc) : desc_(desc) {
        std::vector<HelperConfig> configs{{1, "", &desc, {}}};
        if (!add_children(configs, find_helper).ok()) std::exit(2);
        set_ = std::move(HelperSet::create(configs)).value();
        engine_ =
            std::move(HelperEngine::create(*set_, {1, 4, Assembler::kMaxBufferBytes, 4})).value();
    }
    const HelperDesc& desc() const noexcept { return desc_; }

    struct Cost {
        std::uint64_t work = 0;
        std::size_t wire = 0;
        double per_wire_byte() const noexcept {
            return static_cast<double>(work) / static_cast<double>(wire);
        }
    };
    /// What `bytes` of the candidate's piece cost.
    Cost cost(const Candidate& c, std::size_t bytes) {
        open(c);
        std::string text;
        while (text.size() < bytes)
            text += c.piece;
        const Direction by = c.by_server ? Direction::reply : Direction::original;
        const Direction other = c.by_server ? Direction::original : Direction::reply;
        if (c.cut == Cut::early && !udp_) segment(by, text.size() + 1, "x");
        Cost cost;
        const std::size_t each = udp_                     ? text.size()
                                 : c.cut == Cut::segments ? kSegment
                                 : c.cut == Cut::pairs    ? 2
                                                          : 1;
        work = 0;
        for (std::size_t at = 0; at < text.size(); at += each) {
            const std::string_view part = std::string_view(text).substr(at, each);
            say(by, part);
            cost.wire += kSegmentHead + part.size();
            if (c.cut != Cut::answered) continue;
            say(other, c.answer);
            cost.wire += kSegmentHead + c.answer.size();
        }
        cost.work = work;
        engine_->detach(conn_, emit_);
        return cost;
    }

  private:
    void segment(Direction by, std::size_t ahead, std::string_view text) noexcept {
        const Bytes bytes{reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
        if (udp_)
            engine_->on_datagram(conn_, by, bytes, emit_);
        else
            engine_->on_segment(conn_, by, next_[index(by)] + static_cast<std::uint32_t>(ahead), 0,
                                bytes, emit_);
    }
    void say(Direction by, std::string_view text) noexcept {
        segment(by, 0, text);
        next_[index(by)] += static_cast<std::uint32_t>(text.size());
    }
    /// A new connection in which all that was said, in order. A message that the seed was cut in is
    /// the beginning of what is repeated.
    void open(const Candidate& c) {
        std::string_view conversation = c.before;
        const auto starts = [&](char with) {
            if (conversation.empty() || conversation.front() != with) return false;
            conversation.remove_prefix(1);
            return true;
        };
        const bool to_all = starts('\x14'), v6 = !to_all && starts('\0');
        starts('\x12');
        const bool udp = starts('\x13');
        udp_ =
            desc_.transports == transport::udp || (udp && (desc_.transports & transport::udp) != 0);
        conn_ = engine_->attach(
            1,
            {*IpAddr::parse(v6 ? "2001:db8::1" : "192.0.2.1"),
             *IpAddr::parse(to_all ? "255.255.255.255"
                            : v6   ? "2001:db8:1::2"
                                   : "198.51.100.2"),
             Be16::from_host(40000), Be16::from_host(21), udp_ ? proto::udp : proto::tcp},
            0);
        next_ = {1, 1};
        engine_->on_syn(conn_, Direction::original, 0);
        engine_->on_syn(conn_, Direction::reply, 0);
        std::string text;
        for (std::size_t i = 0; i < conversation.size(); ++i) {
            const char b = conversation[i];
            if (b >= 1 && b <= 8) {
                if (b >= 7) ++i;
                say(b % 2 != 0 ? Direction::original : Direction::reply, text);
                text.clear();
            } else if (b == 0x11) {
                if (++i < conversation.size()) text += conversation[i];
            } else if (b < 0x0e || b > 0x10) {
                text += b;
            }
        }
        if (!udp_ && !text.empty()) say(c.by_server ? Direction::reply : Direction::original, text);
    }

    const HelperDesc& desc_;
    std::unique_ptr<const HelperSet> set_;
    std::unique_ptr<HelperEngine> engine_;
    HelperConn* conn_ = nullptr;
    bool udp_ = false;
    std::array<std::uint32_t, 2> next_{1, 1};
    Emit emit_;
};

/// Makes candidates, and others of them.
class Breeder {
  public:
    Breeder(std::vector<std::string> seeds, unsigned number)
        : seeds_(std::move(seeds)), random_(number) {
        if (seeds_.empty()) seeds_.emplace_back();
    }
    Candidate make() {
        Candidate c;
        const std::string& seed = pick(seeds_);
        // Most often after a whole message: a control byte.
        std::size_t end = below(seed.size() + 1);
        if (below(4) != 0)
            while (end < seed.size() && (end == 0 || !is_control(seed[end - 1])))
                ++end;
        c.before = seed.substr(0, end);
        c.piece = below(3) == 0 ? pick(kPieces) : piece_of(seed);
        c.answer = piece_of(pick(seeds_));
        c.by_server = below(2) != 0;
        c.cut = static_cast<Cut>(below(kCuts));
        return c;
    }
    Candidate change(Candidate c) {
        std::string& p = c.piece;
        switch (below(8)) {
            case 0: c.cut = static_cast<Cut>(below(kCuts)); break;
            case 1: c.before = make().before; break;
            case 2: p += pick(kPieces); break;
            case 3: p = pick(kPieces) + p; break;
            case 4: p[below(p.size())] = static_cast<char>(below(256)); break;
            case 5: p.erase(below(p.size()), 1 + below(p.size())); break;
            case 6: c.answer = make().answer; break;
            default: p = p.substr(0, 1 + below(p.size())) + make().piece; break;
        }
        if (p.empty()) p = pick(kPieces);
        if (p.size() > 200) p.resize(200);
        return c;
    }
    bool once_in(unsigned n) { return below(n) == 0; }

  private:
    inline static const std::vector<std::string> kPieces{"\r\n",
                                                         "\n",
                                                         " a\r\n",
                                                         "\ta\n",
                                                         "a:b\r\n",
                                                         "a",
                                                         " ",
                                                         ";",
                                                         ",",
                                                         "=b;",
                                                         "\"",
                                                         "<",
                                                         "--",
                                                         "a,",
                                                         "Content-Length: 5\r\n",
                                                         "Via: a\r\n",
                                                         "CSeq: 1 INVITE\r\n",
                                                         "Contact: <sip:a@b>,",
                                                         "220-\r\n",
                                                         "PORT 1,1,1,1,9,9\r\n",
                                                         "NICK a\r\n",
                                                         "$",
                                                         std::string(4, '\0'),
                                                         std::string("\3\0\0\4", 4),
                                                         "\x80",
                                                         "\xff",
                                                         "\x30\x80",
                                                         "CONNECT ",
                                                         "DCC SEND "};

    static bool is_control(char c) noexcept { return c >= 1 && c <= 8; }
    std::size_t below(std::size_t n) { return n == 0 ? 0 : random_() % n; }
    const std::string& pick(const std::vector<std::string>& from) {
        return from[below(from.size())];
    }
    /// Some of what is said in a seed.
    std::string piece_of(const std::string& seed) {
        std::string said;
        for (const char c : seed.substr(below(seed.size()), 1 + below(60)))
            if (!is_control(c)) said += c;
        return said.empty() ? pick(kPieces) : said;
    }

    std::vector<std::string> seeds_;
    std::mt19937 random_;
};

std::string shown(std::string_view text) {
    std::string out;
    for (const char c : text) {
        char byte[5];
        std::snprintf(byte, sizeof byte, c >= ' ' && c <= '~' ? "%c" : "\\x%02x",
                      static_cast<unsigned>(static_cast<unsigned char>(c)));
        out += byte;
    }
    return out;
}

/// In the notation of helper_fuzz.cc, short enough for its runs.
std::string as_seed(const Candidate& c) {
    const char by = c.by_server ? '\2' : '\1', other = c.by_server ? '\1' : '\2';
    std::string out = c.before;
    const auto say = [&](std::string_view text, char who) {
        for (const char b : text) {
            if (b >= 0 && b <= 0x14 && b != '\n' && b != '\r' && b != '\t') out += '\x11';
            out += b;
        }
        out += who;
    };
    std::string text;
    while (text.size() < 300)
        text += c.piece;
    const std::size_t each = c.cut == Cut::segments ? 300 : c.cut == Cut::pairs ? 2 : 1;
    for (std::size_t at = 0; at < text.size() && out.size() < 1900; at += each) {
        say(std::string_view(text).substr(at, each), by);
        if (c.cut == Cut::answered) say(c.answer, other);
    }
    return out;
}

struct Worst {
    Candidate candidate;
    double cost = 0, growth = 0;
};

struct Found {
    Worst costliest;  ///< by cost
    Worst steepest;   ///< by growth
};

Found search(Target& target, const std::vector<std::string>& seeds, unsigned runs) {
    Breeder breeder(seeds, 1);
    Found found;
    for (unsigned i = 0; i < runs; ++i) {
        Candidate c;
        if (found.costliest.cost == 0 || breeder.once_in(2))
            c = breeder.make();
        else
            c = breeder.change(breeder.once_in(2) ? found.costliest.candidate
                                                  : found.steepest.candidate);
        const Target::Cost few = target.cost(c, kShort), many = target.cost(c, kLong);
        const Worst now{c, many.per_wire_byte(),
                        many.per_wire_byte() / std::max(few.per_wire_byte(), kUsual)};
        if (now.cost > found.costliest.cost) found.costliest = now;
        if (now.growth > found.steepest.growth) found.steepest = now;
    }
    return found;
}

std::vector<std::string> read_seeds(const std::string& folder) {
    std::vector<std::string> paths, seeds;
    for (const auto& entry : std::filesystem::directory_iterator(folder))
        if (entry.is_regular_file()) paths.push_back(entry.path());
    std::sort(paths.begin(), paths.end());
    for (const std::string& path : paths) {
        std::ifstream file(path, std::ios::binary);
        seeds.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
    }
    return seeds;
}

/// A line of results; false when something is wrong.
bool report(const HelperDesc& desc, const Found& found) {
    const auto row = [&](const char* what, const Worst& w) {
        std::printf(
            "#   %s: %.1f blocks a byte on the wire, 30 KB against 3 KB: %.2f; %s repeats "
            "\"%s\", cut %u\n#     after \"%s\"\n",
            what, w.cost, w.growth, w.candidate.by_server ? "the server" : "the client",
            shown(w.candidate.piece).c_str(), static_cast<unsigned>(w.candidate.cut),
            shown(w.candidate.before).c_str());
    };
    const bool fine = found.costliest.cost <= kMost && found.steepest.growth <= kMostGrowth;
    std::printf("%s work/%.*s\n", fine ? "ok" : "not ok", static_cast<int>(desc.name.size()),
                desc.name.data());
    row("costliest", found.costliest);
    row("steepest", found.steepest);
    return fine;
}

int run(int argc, char** argv) {
    if (argc >= 4) {
        const HelperDesc* desc = find_helper(argv[1]);
        if (desc == nullptr) return 2;
        Target target(*desc);
        const Found found = search(target, read_seeds(argv[3]),
                                   static_cast<unsigned>(std::strtoul(argv[2], nullptr, 10)));
        if (argc > 4) {
            const std::filesystem::path out(argv[4]);
            std::ofstream(out / "costliest", std::ios::binary)
                << as_seed(found.costliest.candidate);
            std::ofstream(out / "steepest", std::ios::binary) << as_seed(found.steepest.candidate);
        }
        return report(*desc, found) ? 0 : 1;
    }
    bool fine = true;
    for (const HelperDesc* desc : all_helpers()) {
        // helpers/NAME/fuzz_seeds, or helpers/FOLDER/fuzz_seeds/NAME.
        std::vector<std::string> seeds;
        for (const auto& folder : std::filesystem::directory_iterator(SEED_ROOT)) {
            const std::filesystem::path of = folder.path() / "fuzz_seeds";
            if (folder.path().filename() == desc->name)
                seeds = read_seeds(of);
            else if (std::filesystem::is_directory(of / desc->name))
                seeds = read_seeds(of / desc->name);
        }
        if (seeds.empty()) {
            std::printf("not ok work/%.*s has no seeds\n", static_cast<int>(desc->name.size()),
                        desc->name.data());
            fine = false;
            continue;
        }
        Target target(*desc);
        fine &= report(*desc, search(target, seeds, kTestRuns));
    }
    return fine ? 0 : 1;
}

}  // namespace
}  // namespace postern

int main(int argc, char** argv) {
    return postern::run(argc, argv);
}
