// SPDX-License-Identifier: BSD-3-Clause
// Live sets: against a list that is searched entry by entry, with random changes, times and
// addresses; walks, replacement, expiry; and the text of entries.
#include "config/spec/sets.h"

#include <algorithm>
#include <array>
#include <map>
#include <random>
#include <string>
#include <tuple>
#include <vector>

#include <gtest/gtest.h>

#include "config/set_entries.h"
#include "net/address_set.h"
#include "sets/live_set.h"

namespace postern {
namespace {

Prefix prefix(const char* text) {
    return Prefix::parse(text).value();
}
IpAddr address(const char* text) {
    return IpAddr::parse(text).value();
}

class SetsTest : public ::testing::Test {
  protected:
    SetsTest() {
        shared_->secret = HashSecret::from_seed(3);
        shared_->clock.advance(now_);
    }
    void pass(std::uint32_t seconds) {
        now_ = now_ + seconds * 1000;
        shared_->clock.advance(now_);
    }
    std::vector<std::string> entries(const LiveSet& set) {
        std::vector<std::string> out;
        SetCursor at;
        while (set.list(at, [&](const SetEntry& e) {
            out.push_back(AddressRange::of(e.prefix).to_string());
        })) {
        }
        std::sort(out.begin(), out.end());
        return out;
    }

    Tick now_{UINT32_MAX - 5000};  // the clock goes round
    std::shared_ptr<SetShared> shared_ = std::make_shared<SetShared>();
};

/// The same, without any structure.
class Model {
  public:
    using Key = std::tuple<Family, std::array<std::uint8_t, 16>, unsigned>;
    static Key key(const Prefix& p) { return {p.address.family, p.address.bytes, p.length}; }

    std::map<Key, SetEntry> entries;

    bool contains(const IpAddr& a, SetTime now) const {
        for (const auto& [key, e] : entries)
            if (e.until > now && e.prefix.address.family == a.family && e.prefix.contains(a))
                return true;
        return false;
    }
    std::size_t alive(SetTime now) const {
        std::size_t n = 0;
        for (const auto& [key, e] : entries)
            n += e.until > now ? 1 : 0;
        return n;
    }
};

/// Few different addresses, so that entries meet and cover each other.
IpAddr random_address(std::mt19937& rng) {
    std::uint8_t bytes[16] = {0x20, 0x01, 0x0d, 0xb8};
    if (rng() % 2 != 0)
        return IpAddr::v4(10, static_cast<std::uint8_t>(rng() % 4),
                          static_cast<std::uint8_t>(rng() % 4), static_cast<std::uint8_t>(rng()));
    for (const unsigned at : {4, 7, 8, 15})
        bytes[at] = static_cast<std::uint8_t>(rng() % (at == 15 ? 256 : 3));
    return IpAddr::v6(bytes);
}
Prefix random_prefix(std::mt19937& rng) {
    Prefix p = Prefix::exact(random_address(rng));
    if (rng() % 2 != 0) return p;
    const unsigned bits = p.length;
    p.length = static_cast<std::uint8_t>(bits - rng() % (rng() % 8 == 0 ? bits + 1 : 20));
    for (unsigned bit = p.length; bit < bits; ++bit)
        p.address.bytes[bit / 8] &= static_cast<std::uint8_t>(~(0x80u >> bit % 8));
    return p;
}

TEST_F(SetsTest, AgreeWithAListOfEntries) {
    for (unsigned seed = 0; seed < 20; ++seed) {
        SCOPED_TRACE(seed);
        std::mt19937 rng(seed);
        LiveSet set(shared_);
        Model model;
        for (unsigned step = 0; step < 600; ++step) {
            const Prefix p = random_prefix(rng);
            const auto known = model.entries.find(Model::key(p));
            const bool alive = known != model.entries.end() && known->second.until > set.now();
            switch (rng() % 8) {
                case 0:
                case 1:
                case 2:
                case 3: {
                    const SetEntry e{
                        p,
                        set.until(rng() % 2 == 0 ? 0 : static_cast<std::uint32_t>(rng() % 40 + 1))};
                    EXPECT_EQ(set.add(e), alive ? LiveSet::Added::updated : LiveSet::Added::added);
                    model.entries[Model::key(p)] = e;
                    break;
                }
                case 4:
                case 5: {
                    // Mostly one that is there.
                    const auto any = model.entries.lower_bound(Model::key(p));
                    const Prefix q = any == model.entries.end() ? p : any->second.prefix;
                    const bool there = any != model.entries.end() && any->second.until > set.now();
                    EXPECT_EQ(set.has(q), there);
                    EXPECT_EQ(set.remove(q), there);
                    model.entries.erase(Model::key(q));
                    break;
                }
                case 6: pass(static_cast<std::uint32_t>(rng() % 3)); break;
                default: set.expire(rng() % 4); break;
            }
            for (unsigned n = 0; n < 4; ++n) {
                const IpAddr a = random_address(rng);
                ASSERT_EQ(set.contains(a), model.contains(a, set.now())) << a.to_string();
            }
        }
        EXPECT_EQ(entries(set).size(), model.alive(set.now()));
        set.expire();
        EXPECT_EQ(set.size(), model.alive(set.now()));
        const auto& c = set.counters();
        EXPECT_EQ(c.added, c.deleted + c.expired + set.size());
    }
}

TEST_F(SetsTest, OneLookUpIsForAllAddressesOfABurst) {
    LiveSet set(shared_);
    std::mt19937 rng(9);
    for (unsigned i = 0; i < 5000; ++i)
        set.add({random_prefix(rng), kForEver});
    set.remove(prefix("0.0.0.0/0"));
    set.remove(prefix("::/0"));
    std::uint32_t v4[kMaxBurst], found4[kMaxBurst] = {};
    Wide v6[kMaxBurst];
    std::uint32_t found6[kMaxBurst] = {};
    std::vector<IpAddr> all4, all6;
    while (all4.size() < kMaxBurst || all6.size() < kMaxBurst) {
        const IpAddr a = random_address(rng);
        auto& all = a.family == Family::ipv4 ? all4 : all6;
        if (all.size() < kMaxBurst) all.push_back(a);
    }
    for (unsigned i = 0; i < kMaxBurst; ++i) {
        v4[i] = number_of_v4(all4[i]);
        v6[i] = number_of_v6(all6[i]);
        found4[i] = 1;  // of another set
    }
    set.find(v4, kMaxBurst, 4, found4);
    set.find(v6, kMaxBurst, 4, found6);
    for (unsigned i = 0; i < kMaxBurst; ++i) {
        EXPECT_EQ(found4[i], set.contains(all4[i]) ? 5u : 1u);
        EXPECT_EQ(found6[i], set.contains(all6[i]) ? 4u : 0u);
    }
}

TEST_F(SetsTest, ManyHostsComeAndGo) {
    LiveSet set(shared_);
    const auto host = [](std::uint32_t n) {
        n = __builtin_bswap32(n * 2654435761u);
        return Prefix::exact(IpAddr::v4(&n));
    };
    for (std::uint32_t n = 0; n < 20'000; ++n)
        set.add({host(n), kForEver});
    const std::size_t full = set.bytes();
    // Dead slots do not add up.
    for (std::uint32_t n = 0; n < 200'000; ++n) {
        ASSERT_TRUE(set.remove(host(n)));
        set.add({host(n + 20'000), kForEver});
    }
    EXPECT_EQ(set.size(), 20'000u);
    EXPECT_LE(set.bytes(), full * 2);
    EXPECT_TRUE(set.contains(host(219'999).address));
    EXPECT_FALSE(set.contains(host(199'999).address));
    for (std::uint32_t n = 200'000; n < 220'000; ++n)
        set.remove(host(n));
    EXPECT_EQ(set.bytes(), 0u) << "a length without entries costs nothing";
}

TEST_F(SetsTest, ExpiredEntriesAreNotThereBeforeTheyAreRemoved) {
    LiveSet set(shared_);
    set.add({prefix("192.0.2.1"), set.until(10)});
    set.add({prefix("2001:db8::/32"), set.until(20)});
    pass(10);  // the second that it was added in does not count
    EXPECT_TRUE(set.contains(address("192.0.2.1")));
    pass(1);
    EXPECT_FALSE(set.contains(address("192.0.2.1")));
    EXPECT_TRUE(set.contains(address("2001:db8::1")));
    EXPECT_EQ(set.size(), 2u);
    EXPECT_EQ(entries(set), std::vector<std::string>{"2001:db8::/32"});
    EXPECT_EQ(set.expire(), 1u);
    EXPECT_EQ(set.size(), 1u);
    EXPECT_EQ(set.counters().expired, 1u);
    EXPECT_EQ(set.add({prefix("192.0.2.1"), set.until(0)}), LiveSet::Added::added);
    pass(400 * 24 * 3600 / 20);  // in steps that the clock can tell
    for (unsigned i = 0; i < 40; ++i)
        pass(20 * 24 * 3600);
    EXPECT_TRUE(set.contains(address("192.0.2.1")));
    EXPECT_FALSE(set.contains(address("2001:db8::1")));
}

TEST_F(SetsTest, AListSurvivesChanges) {
    for (unsigned seed = 0; seed < 10; ++seed) {
        SCOPED_TRACE(seed);
        std::mt19937 rng(seed);
        LiveSet set(shared_);
        std::map<Model::Key, unsigned> stay, seen;
        while (stay.size() < 3000) {
            const Prefix p = random_prefix(rng);
            set.add({p, kForEver});
            stay[Model::key(p)] = 1;
        }
        // Lengths come and go, and tables of other sizes take the place of the first.
        std::vector<Prefix> others;
        SetCursor at;
        while (set.list(at, [&](const SetEntry& e) { ++seen[Model::key(e.prefix)]; })) {
            for (unsigned i = 0; i < 3; ++i) {
                const Prefix p = random_prefix(rng);
                if (stay.contains(Model::key(p))) continue;
                set.add({p, kForEver});
                others.push_back(p);
            }
            if (rng() % 100 != 0) continue;
            for (const Prefix& p : others)
                set.remove(p);
            others.clear();
        }
        for (const auto& [key, once] : stay)
            ASSERT_EQ(seen[key], once);
        EXPECT_FALSE(set.list(at, [](const SetEntry&) { FAIL(); }));
    }
}

TEST_F(SetsTest, AListHoldsNoContents) {
    LiveSet set(shared_);
    for (unsigned i = 0; i < 200; ++i)
        set.add({Prefix::exact(IpAddr::v4(10, 0, 0, static_cast<std::uint8_t>(i))), kForEver});
    SetCursor at;
    std::size_t seen = 0;
    const auto count = [&](const SetEntry&) { ++seen; };
    while (seen == 0)
        ASSERT_TRUE(set.list(at, count));
    set.flush();
    EXPECT_FALSE(set.list(at, count));
    EXPECT_LT(seen, 200u);
}

TEST_F(SetsTest, OneSetTakesTheContentsOfAnother) {
    LiveSet set(shared_), next(shared_);
    set.add({prefix("192.0.2.1"), kForEver});
    next.add({prefix("192.0.2.2"), set.until(5)});
    next.add({prefix("::/0"), kForEver});
    set.take(std::move(next));
    EXPECT_EQ(set.size(), 2u);
    EXPECT_FALSE(set.contains(address("192.0.2.1")));
    EXPECT_TRUE(set.contains(address("192.0.2.2")));
    EXPECT_TRUE(set.contains(address("fe80::1")));
    pass(6);
    EXPECT_EQ(set.expire(), 1u);
}

TEST(SetEntries, AreReadAndWritten) {
    for (const char* text : {"192.0.2.1", "10.0.0.0/8", "0.0.0.0/0", "2001:db8::/32", "::/0",
                             "192.0.2.1 timeout 90", "::1 timeout never"}) {
        const auto entry = parse_set_entry(text);
        ASSERT_TRUE(entry.ok()) << text;
        EXPECT_EQ(to_string(entry.value()), text);
    }
    EXPECT_EQ(parse_set_entry(" 192.0.2.1\t timeout  2h ").value().timeout_s, 7200u);
    EXPECT_EQ(parse_set_timeout("3650d"), kMaxEntryTimeoutS);
    for (const char* text :
         {"", "0", "-1", "3651d", "1w", "5 m", "99999999999999999999", "s", "0s"})
        EXPECT_FALSE(parse_set_timeout(text)) << text;
    const std::pair<const char*, const char*> mistakes[] = {
        {"host.example", "not an address or a prefix"},
        {"192.0.2.1-192.0.2.9", "is a range"},
        {"192.0.2.1/24", "bits beyond its length"},
        {"192.0.2.0/33", "the length is wrong"},
        {"192.0.2.1 for 5m", "`timeout TIME` or nothing"},
        {"192.0.2.1 timeout", "not a time"},
        {"192.0.2.1 timeout 5x", "'5x' is not a time"},
        {"192.0.2.1 timeout 5m please", "nothing behind the time"},
        {"", "not an address"}};
    for (const auto& [text, why] : mistakes) {
        const auto entry = parse_set_entry(text);
        ASSERT_FALSE(entry.ok()) << text;
        EXPECT_NE(entry.error().message.find(why), std::string::npos) << entry.error().message;
    }
}

TEST(SetEntries, AreTheSameHoweverAFileIsCut) {
    const std::string text =
        "# a list\n192.0.2.1\n\n  10.0.0.0/8 timeout 1h # with a comment\r\nnonsense\n"
        "2001:db8::/32\n" +
        std::string(5000, '1') + "\n192.0.2.9/24\n198.51.100.1";
    const auto read = [&](std::size_t piece) {
        SetFileReader reader("list");
        std::vector<TimedPrefix> out;
        for (std::size_t at = 0; at < text.size(); at += piece)
            reader.feed(std::string_view(text).substr(at, piece), false, out);
        reader.feed("", true, out);
        std::string all;
        for (const TimedPrefix& e : out)
            all += to_string(e) + "\n";
        for (const std::string& e : reader.errors())
            all += e + "\n";
        return all;
    };
    const std::string whole = read(text.size());
    EXPECT_EQ(whole,
              "192.0.2.1\n10.0.0.0/8 timeout 3600\n2001:db8::/32\n198.51.100.1\n"
              "list:5: is not an address or a prefix such as 192.0.2.1 or 2001:db8::/32\n"
              "list:7: is too long (expected an entry a line, at most 4096 bytes)\n"
              "list:8: is not a prefix: bits beyond its length are set, or the length is wrong\n");
    for (const std::size_t piece : {1, 2, 3, 7, 64, 4096, 5000})
        EXPECT_EQ(read(piece), whole) << piece;
}

}  // namespace
}  // namespace postern
