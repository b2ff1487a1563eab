// SPDX-License-Identifier: BSD-3-Clause
// `sets`, and rules that name them: what is read, and what is wrong.
#include <filesystem>
#include <fstream>

#include <unistd.h>

#include "config/describe_rules.h"
#include "config_files.h"

namespace postern {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

/// `sets` begin on line 7; the rule is on line 6.
std::string file(const std::string& rule, const std::string& more) {
    return with_rules("  {action: accept, " + rule + "}") + more;
}
const std::string kSets =
    "sets:\n"
    "  - {name: blocked, max: 1K, timeout: 1h, entries: [192.0.2.1, 2001:db8::/32 timeout 5m]}\n"
    "  - {name: office}\n";

TEST(ConfigSets, AreReadWithTheirContents) {
    const Spec s = good(file("src: blocked", kSets));
    ASSERT_EQ(s.sets.size(), 2u);
    EXPECT_EQ(s.sets[0].name, "blocked");
    EXPECT_EQ(s.sets[0].max, 1024u);
    EXPECT_EQ(s.sets[0].timeout_s, 3600u);
    ASSERT_EQ(s.sets[0].entries->size(), 2u);
    EXPECT_EQ(to_string(s.sets[0].entries->at(1)), "2001:db8::/32 timeout 300");
    EXPECT_EQ(s.sets[1].max, kMaxSetEntries);
    EXPECT_EQ(s.sets[1].timeout_s, 0u);
    EXPECT_THAT(*s.sets[1].entries, IsEmpty());
}

TEST(ConfigSets, AreNamedByRulesLikeGroups) {
    const auto rule = [](const std::string& conditions) {
        return good(file(conditions, kSets + "groups: {addresses: {lan: 10.0.0.0/8}}\n"))
            .policy.rules.at(0);
    };
    RuleSpec r = rule("src: blocked, dst: not office");
    EXPECT_EQ(r.src_sets, (SetCondition{1, 0, {}}));
    EXPECT_FALSE(r.src.has(Family::ipv4)) << "no address beside the set's";
    EXPECT_EQ(r.dst_sets, (SetCondition{0, 2, {}}));
    EXPECT_TRUE(r.dst.is_any());
    r = rule("src: [lan, blocked, office, not 10.1.0.0/16, not 192.0.2.9]");
    EXPECT_EQ(r.src_sets.any, 3u);
    EXPECT_TRUE(r.src.contains(IpAddr::v4(10, 2, 0, 1)));
    EXPECT_FALSE(r.src.contains(IpAddr::v4(10, 1, 0, 1)));
    EXPECT_FALSE(r.src.contains(IpAddr::v4(192, 0, 2, 1)));
    EXPECT_TRUE(r.src_sets.within.contains(IpAddr::v4(192, 0, 2, 1)));
    EXPECT_FALSE(r.src_sets.within.contains(IpAddr::v4(192, 0, 2, 9)));
    r = rule("src: [lan, not blocked]");
    EXPECT_EQ(r.src_sets, (SetCondition{0, 1, {}}));
    EXPECT_FALSE(r.src.contains(IpAddr::v4(192, 0, 2, 1)));
    const Spec s = good(file("src: [blocked, 10.0.0.1], dst: not office", kSets));
    EXPECT_THAT(describe_rules(s), HasSubstr("src set blocked, 10.0.0.1, dst not set office"));
}

TEST(ConfigSets, FamiliesOfSetsAreNotKnown) {
    EXPECT_THAT(errors(file("src: blocked, dst: 2001:db8::1", kSets)), IsEmpty());
    EXPECT_THAT(errors(file("src: [blocked, 192.0.2.1], dst: 2001:db8::1, proto: icmpv6", kSets)),
                IsEmpty());
    EXPECT_THAT(warnings(file("src: blocked", kSets)), IsEmpty());
}

TEST(ConfigSets, MistakesAreNamedWithTheirPlace) {
    const auto only = [](const std::string& text) {
        const auto all = errors(text);
        EXPECT_EQ(all.size(), 1u) << text;
        return all.empty() ? std::string() : all.front();
    };
    EXPECT_THAT(only(file("src: blokced", kSets)),
                HasSubstr("x.yaml:6:25: policy.rules[0].src: \"blokced\" is not an address, prefix "
                          "or range of addresses, nor a set (did you mean \"blocked\"?)"));
    EXPECT_THAT(only(file("src: a", "groups: {addresses: {a: blocked}}\n" + kSets)),
                HasSubstr("x.yaml:7:25: groups.addresses.a: \"blocked\" is a set: only `src` and "
                          "`dst` of rules may name one"));
    for (const char* kind :
         {"addresses: {office: 10.0.0.1}", "ports: {office: 1}", "services: {office: tcp/1}"})
        EXPECT_THAT(
            only(file("src: any", kSets + "groups: {" + kind + "}\n")),
            AllOf(HasSubstr("x.yaml:10:"), HasSubstr("\"office\" is the name of a set already")));
    EXPECT_THAT(only(file("proto: tcp, dport: office", kSets)),
                HasSubstr("\"office\" is a set: only `src` and `dst` of rules may name one"));
    EXPECT_THAT(only(file("src: any", "sets: [{name: a}, {name: a}]\n")),
                HasSubstr("x.yaml:7:26: sets[1].name: \"a\" is given twice"));
    EXPECT_THAT(only(file("src: any", "sets: [{name: a.b}]\n")), HasSubstr("has a dot"));
    EXPECT_THAT(only(file("src: any", "sets: [{name: any}]\n")), HasSubstr("something else"));
    EXPECT_THAT(only(file("src: any", "sets: [{max: 3}]\n")), HasSubstr("name"));
    EXPECT_THAT(only(file("src: any", "sets: [{name: a, max: 0}]\n")), HasSubstr("sets[0].max"));
    EXPECT_THAT(only(file("src: any", "sets: [{name: a, entries: [10.0.0.1-10.0.0.9]}]\n")),
                HasSubstr("x.yaml:7:28: sets[0].entries[0]: '10.0.0.1-10.0.0.9' is a range"));
    EXPECT_THAT(only(file("src: any", "sets: [{name: a, max: 1, entries: [::1, ::2]}]\n")),
                HasSubstr("2 entries at the start (expected at most `max`, 1)"));
    EXPECT_THAT(only(file("src: any", "sets: [{name: a, file: nowhere.txt}]\n")),
                HasSubstr("nowhere.txt: cannot be opened"));
    EXPECT_THAT(only(file("src: [blocked, not blocked]", kSets)), HasSubstr("leaves nothing"));
    EXPECT_THAT(errors(file("src: [blocked, office, not blocked]", kSets)), IsEmpty());
    std::string many = "sets:\n";
    for (unsigned i = 0; i <= kMaxSets; ++i)
        many += "  - {name: s" + std::to_string(i) + "}\n";
    EXPECT_THAT(only(file("src: any", many)), HasSubstr("33 sets (expected at most 32)"));
}

TEST(ConfigSets, AFileHasFurtherEntries) {
    const auto folder =
        std::filesystem::temp_directory_path() / ("postern-sets-" + std::to_string(::getpid()));
    std::filesystem::create_directories(folder);
    const auto write = [&](const char* text) { std::ofstream(folder / "bad.txt") << text; };
    const auto read = [&] {
        return load_spec_text(file("src: a", "sets: [{name: a, entries: [::1], file: bad.txt}]\n"),
                              folder / "x.yaml", schema());
    };
    write("# ours\n10.0.0.0/8\n192.0.2.1 timeout 1m  # one\n");
    const auto good = read();
    ASSERT_TRUE(good.ok());
    EXPECT_EQ(good.spec->sets.at(0).entries->size(), 3u);
    write("10.0.0.0/8\nsecret\n");
    const auto bad = read();
    ASSERT_EQ(bad.errors.size(), 1u);
    EXPECT_THAT(bad.errors[0].message, HasSubstr("bad.txt:2: "));
    EXPECT_THAT(bad.errors[0].message, Not(HasSubstr("secret")));
    std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace postern
