// SPDX-License-Identifier: BSD-3-Clause
// Requests for another configuration: their answers, one at a time, and what comes between the
// order and the plan.
#include "live_config.h"

#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "control_fixture.h"
#include "log/record_log.h"
#include "support/eal.h"
#include "world.h"

namespace postern {
namespace {

using ::testing::HasSubstr;

const auto* const kEal = ::testing::AddGlobalTestEnvironment(new EalEnvironment);

const std::string kWeb = "{name: web, proto: tcp, dport: 80, action: accept}";
const std::string kMail = "{name: mail, proto: tcp, dport: 25, action: accept}";
const std::string kNews = "{name: news, proto: tcp, dport: 119, action: accept}";

std::string text_of(const std::string& rules, const std::string& more = {}) {
    return World::with_two_ports("policy: {rules: [" + rules + "]}\n", more);
}

class LiveConfigTest : public ::testing::Test {
  protected:
    std::string path(const std::string& name) const { return dir_ / name.c_str(); }
    std::string write(const std::string& name, const std::string& text) const {
        std::filesystem::create_directories(std::filesystem::path(path(name)).parent_path());
        std::ofstream(path(name)) << text;
        return path(name);
    }
    static std::string contents(const std::string& path) {
        std::ifstream in(path);
        return {std::istreambuf_iterator<char>(in), {}};
    }
    /// Begins with this configuration.
    LiveConfig& begin(const std::string& text) {
        entries_.reset();
        world_.emplace(World::Whole{text_of(kWeb)}, 2);
        log_.emplace(world_->fw(), make_conn_hub(world_->fw()), [this] { return world_->now; });
        auto source = read_config(write("start.yaml", text));  // beside the files that it includes
        EXPECT_TRUE(source && fw().replace_plan(source.value().spec));
        if (!source->spec.sets.empty()) entries_ = source->spec.sets[0].entries;
        auto history = ConfigHistory::open(path("history"));
        config_.emplace(world_->fw(), std::move(*source), std::move(*history), &*log_);
        return *config_;
    }
    Firewall& fw() { return world_->fw(); }
    /// Waits for the thread; then its result has been used.
    void finish(LiveConfig::Clock::time_point now = LiveConfig::Clock::now()) {
        while (config_->is_busy()) {
            config_->turn(now);
            std::this_thread::yield();
        }
    }
    Result<LiveConfig::Change> answer(const Result<LiveConfig::Ticket>& ticket) {
        if (!ticket) return ticket.error();
        finish();
        return *ticket.value()->answer;
    }
    static std::string message(const Result<LiveConfig::Change>& result) {
        return result ? "no error" : result.error().message;
    }
    std::optional<NameTable::Number> number_of(const std::string& rule) {
        const NameTable& names = fw().plan().names.rules;
        for (NameTable::Number n = 0; n < names.end(); ++n)
            if (names.name(n) == rule) return n;
        return std::nullopt;
    }
    bool has(const std::string& rule) {
        const auto number = number_of(rule);
        return number && fw().plan().names.rules.is_used(*number);
    }

    TempDir dir_;
    std::weak_ptr<const std::vector<TimedPrefix>> entries_;  ///< of the first set at the start
    std::optional<World> world_;
    std::optional<RecordLog> log_;
    std::optional<LiveConfig> config_;
};

TEST_F(LiveConfigTest, IsInForceWhenItsRequestIsAnswered) {
    LiveConfig& config = begin(text_of(kWeb));
    const auto ticket = config.load(write("next.yaml", text_of(kWeb + "," + kMail)), "tester");
    ASSERT_TRUE(ticket) << ticket.error().message;
    EXPECT_FALSE(ticket.value()->answer);
    EXPECT_FALSE(has("mail"));
    const auto change = answer(ticket);
    ASSERT_TRUE(change) << message(change);
    EXPECT_TRUE(has("mail"));
    EXPECT_EQ(change.value().number, 2u);
    ASSERT_EQ(change.value().differences.size(), 1u);
    EXPECT_EQ(change.value().differences[0].path, "policy.rules[mail]");
    EXPECT_EQ(contents(path("start.yaml")), contents(path("next.yaml")));
    EXPECT_EQ(config.history().entries().size(), 2u);
}

TEST_F(LiveConfigTest, OneRequestAtATime) {
    LiveConfig& config = begin(text_of(kWeb));
    const std::string next = write("next.yaml", text_of(kMail));
    const auto first = config.load(next, "uid 1, pid 2");
    for (const auto& second : {config.load(next, "another"), config.check(next, "another"),
                               config.diff(next, "another"), config.rollback(1, "another")}) {
        ASSERT_FALSE(second);
        EXPECT_EQ(second.error().message,
                  "another request is in progress: config load by uid 1, pid 2; try again when it "
                  "is done");
    }
    EXPECT_TRUE(answer(first));
    EXPECT_TRUE(answer(config.check(next, "another")));
}

TEST_F(LiveConfigTest, NothingChangesForAClientThatIsGone) {
    LiveConfig& config = begin(text_of(kWeb));
    const std::string next = write("next.yaml", text_of(kMail));
    const auto version = fw().plan().version;
    ASSERT_TRUE(config.load(next, "tester"));  // the ticket ends here
    config.turn();
    if (config.is_busy()) {
        EXPECT_THAT(config.load(next, "another").error().message, HasSubstr("was cancelled"));
    }
    finish();
    EXPECT_EQ(fw().plan().version, version);
    EXPECT_TRUE(has("web"));
    EXPECT_EQ(config.history().entries().size(), 1u);
    EXPECT_TRUE(answer(config.load(next, "tester")));
    EXPECT_TRUE(has("mail"));
}

TEST_F(LiveConfigTest, AHelperThatIsRemovedMeanwhileStaysRemoved) {
    const std::string helpers = "helpers: [{name: ftp}]\n";
    LiveConfig& config = begin(text_of(kWeb, helpers));
    const std::string next = write("next.yaml", text_of(kMail, helpers));
    const HelperId ftp = 1;
    const auto ticket = config.load(next, "tester");
    fw().remove_helper(ftp);
    ASSERT_TRUE(answer(ticket));
    EXPECT_TRUE(has("mail"));
    EXPECT_TRUE(fw().is_removed(ftp));
    for (unsigned i = 0; i < 64; ++i)
        world_->turn();
    EXPECT_TRUE(fw().is_gone(ftp));
    // The next load that has it brings it back.
    EXPECT_TRUE(answer(config.load(write("next.yaml", text_of(kWeb, helpers)), "tester")));
    EXPECT_FALSE(fw().is_removed(ftp));
}

TEST_F(LiveConfigTest, APlanPublishedMeanwhileKeepsItsNumbers) {
    LiveConfig& config = begin(text_of(kWeb));
    const auto ticket = config.load(write("next.yaml", text_of(kWeb + "," + kMail)), "tester");
    ASSERT_TRUE(world_->replace(text_of(kWeb + "," + kNews)));
    const auto news = number_of("news");
    ASSERT_TRUE(answer(ticket));
    EXPECT_TRUE(has("mail"));
    EXPECT_EQ(number_of("news"), news);  // gone, and still its name's
    EXPECT_NE(number_of("mail"), news);
}

TEST_F(LiveConfigTest, GoesBackUnlessConfirmedInTime) {
    const std::string before = text_of(kWeb);
    LiveConfig& config = begin(before);
    const std::string next = write("next.yaml", text_of(kMail));
    const auto ticket = config.load(next, "tester", std::chrono::seconds(10));
    const auto t0 = LiveConfig::Clock::now();
    finish(t0);
    ASSERT_TRUE(*ticket.value()->answer);
    EXPECT_EQ(config.awaits(t0 + std::chrono::seconds(4))->count(), 6);
    EXPECT_EQ(contents(path("start.yaml")), before);
    config.turn(t0 + std::chrono::milliseconds(9999));
    EXPECT_FALSE(config.is_busy());
    const auto over = t0 + std::chrono::seconds(10);
    config.turn(over);
    ASSERT_TRUE(config.is_busy());
    const auto late = config.confirm("tester");
    ASSERT_FALSE(late);
    EXPECT_THAT(late.error().message, HasSubstr("too late"));
    finish(over);
    EXPECT_TRUE(has("web"));
    EXPECT_FALSE(has("mail"));
    EXPECT_FALSE(config.awaits());
    EXPECT_EQ(config.history().entries().back().text, before);
    EXPECT_TRUE(config.history().entries().back().confirmed);
}

TEST_F(LiveConfigTest, GoesBackWithoutItsFiles) {
    const std::string groups = "groups: {addresses: {bad: [{file: bad.txt}]}}\n";
    write("bad.txt", "203.0.113.1\n");
    LiveConfig& config = begin(text_of("{name: bad, src: bad, action: drop}," + kWeb, groups));
    const auto t0 = LiveConfig::Clock::now();
    const auto ticket =
        config.load(write("next.yaml", text_of(kMail)), "tester", std::chrono::seconds(1));
    finish(t0);
    ASSERT_TRUE(*ticket.value()->answer);
    std::filesystem::remove(path("bad.txt"));
    config.turn(t0 + std::chrono::seconds(1));
    finish(t0 + std::chrono::seconds(1));
    EXPECT_TRUE(has("bad"));
}

TEST_F(LiveConfigTest, ConfirmedBeforeItsTimeIsOver) {
    LiveConfig& config = begin(text_of(kWeb));
    const std::string next = write("next.yaml", text_of(kMail));
    const auto t0 = LiveConfig::Clock::now();
    const auto ticket = config.load(next, "tester", std::chrono::seconds(10));
    finish(t0);
    ASSERT_TRUE(config.confirm("tester"));
    EXPECT_EQ(contents(path("start.yaml")), contents(next));
    config.turn(t0 + std::chrono::seconds(11));
    EXPECT_FALSE(config.is_busy());
    EXPECT_TRUE(has("mail"));
}

TEST_F(LiveConfigTest, AConfirmationThatFailsConfirmsNothing) {
    const std::string before = text_of(kWeb);
    LiveConfig& config = begin(before);
    const auto t0 = LiveConfig::Clock::now();
    const auto ticket =
        config.load(write("next.yaml", text_of(kMail)), "tester", std::chrono::seconds(10));
    finish(t0);
    std::filesystem::remove(path("start.yaml"));
    std::filesystem::create_directory(path("start.yaml"));  // it cannot be written
    const auto confirmed = config.confirm("tester");
    ASSERT_FALSE(confirmed);
    EXPECT_THAT(confirmed.error().message, HasSubstr("not confirmed"));
    std::filesystem::remove(path("start.yaml"));
    const auto over = t0 + std::chrono::seconds(10);
    config.turn(over);
    finish(over);
    EXPECT_TRUE(has("web"));
    EXPECT_FALSE(has("mail"));
    EXPECT_EQ(contents(path("start.yaml")), before);
}

TEST_F(LiveConfigTest, ATrialOfTheStartsFileDoesNotOutliveTheNextStart) {
    const std::string before = text_of(kWeb);
    LiveConfig& config = begin(before);
    const std::string start = write("start.yaml", text_of(kMail));
    const auto ticket = config.load(start, "tester", std::chrono::seconds(10));
    finish();
    ASSERT_TRUE(*ticket.value()->answer);
    config_.reset();  // it is killed
    ASSERT_EQ(ConfigHistory::replacement_of(path("history"), contents(start)), before);
    auto source = read_config(write("confirmed.yaml", before));
    source->path = start;
    auto history = ConfigHistory::open(path("history"));
    config_.emplace(fw(), std::move(*source), std::move(*history), nullptr);
    EXPECT_EQ(contents(start), before) << "the start after this one reads it";
    EXPECT_FALSE(config_->history().has_unconfirmed());
}

TEST_F(LiveConfigTest, AReloadDoesNotConfirmATrial) {
    LiveConfig& config = begin(text_of(kWeb));
    const auto t0 = LiveConfig::Clock::now();
    const auto ticket =
        config.load(write("start.yaml", text_of(kMail)), "tester", std::chrono::seconds(10));
    finish(t0);
    ASSERT_TRUE(*ticket.value()->answer);
    config.reload("SIGHUP");
    EXPECT_FALSE(config.is_busy());
    EXPECT_TRUE(config.awaits(t0));
    write("start.yaml", text_of(kNews));  // another text
    config.reload("SIGHUP");
    finish(t0);
    EXPECT_TRUE(has("news"));
    EXPECT_FALSE(config.awaits(t0));
}

TEST_F(LiveConfigTest, AReloadWaitsForThePresentRequest) {
    LiveConfig& config = begin(text_of(kWeb));
    const auto ticket = config.check(write("next.yaml", text_of(kMail)), "tester");
    write("start.yaml", text_of(kNews));
    config.reload("SIGHUP");
    finish();
    ASSERT_TRUE(*ticket.value()->answer);
    EXPECT_EQ(ticket.value()->answer->value().differences.size(), 2u);
    config.turn();
    finish();
    EXPECT_TRUE(has("news"));
    EXPECT_EQ(config.history().entries().back().by, "SIGHUP");
}

std::string warnings_of(const Result<LiveConfig::Change>& change) {
    std::string out;
    for (const std::string& warning : change ? change.value().warnings : std::vector<std::string>{})
        out += warning + "\n";
    return out;
}

// The clock of these tests is at midnight of a Thursday.
TEST_F(LiveConfigTest, WarnsOfTheRightRuleWhileAnotherIsOutOfForce) {
    LiveConfig& config = begin(text_of(kWeb));
    const std::string friday = ", schedule: {days: fri, timezone: UTC}}";
    const std::string night = "{name: night, proto: udp, action: drop" + friday;
    const std::string evening = "{name: evening, proto: gre, action: drop" + friday;
    const std::string all = "{name: all, action: accept, from: inside}";
    const std::string late = "{name: late, proto: tcp, from: inside, action: drop" + friday;
    const std::string never = "{name: never, proto: tcp, from: inside, action: drop}";
    const std::string next = text_of(night + "," + evening + "," + all + "," + late + "," + never);
    const auto change = answer(config.load(write("next.yaml", next), "tester"));
    ASSERT_TRUE(change) << message(change);
    EXPECT_EQ(fw().plan().rule_lines.size(), 5u);
    EXPECT_FALSE(fw().plan().rule_lines[0].in_force);
    const std::string warnings = warnings_of(change);
    EXPECT_THAT(warnings, HasSubstr("policy.rules[4]: can never match: \"all\""));
    EXPECT_THAT(warnings, HasSubstr("policy.rules[3]: can never match: \"all\""));
    EXPECT_EQ(change.value().warnings.size(), 2u) << warnings;
}

TEST_F(LiveConfigTest, WarnsAlsoWhereZonesAndHelpersHaveOtherNumbers) {
    LiveConfig& config = begin(text_of(kWeb, "helpers: [{name: ftp}]\n"));
    std::string next = text_of(
        "{name: out, action: accept, from: inside, to: outside, related: [ftp], ct: [related]},"
        "{name: never, action: drop, from: inside, to: outside, related: [ftp], ct: [related], "
        "proto: "
        "tcp}",
        "helpers: [{name: tftp}, {name: ftp}]\n");
    next.replace(next.find("[inside, outside]"), 17, "[outside, inside]");
    const auto change = answer(config.load(write("next.yaml", next), "tester"));
    ASSERT_TRUE(change) << message(change);
    EXPECT_THAT(warnings_of(change), HasSubstr("policy.rules[1]: can never match: \"out\""));
}

TEST_F(LiveConfigTest, SaysThatAnIncludedFileHasOtherEntries) {
    const std::string text = text_of("{name: bad, src: bad, action: drop}," + kWeb,
                                     "groups: {addresses: {bad: [{file: lists/bad.txt}]}}\n");
    write("lists/bad.txt", "203.0.113.1\n203.0.113.2\n");
    LiveConfig& config = begin(text);
    const std::string start = path("start.yaml");
    const auto of = [&] {
        const auto change = answer(config.diff(start, "tester"));
        EXPECT_TRUE(change) << message(change);
        std::string out;
        for (const Difference& d : change.value().differences)
            out += d.path + ": " + d.before + " -> " + d.after + "\n";
        return out;
    };
    EXPECT_EQ(of(), "");
    write("lists/bad.txt", "# more comments\n203.0.113.1\n\n203.0.113.2\n");
    EXPECT_EQ(of(), "");
    write("lists/bad.txt", "203.0.113.1\n203.0.113.3\n");
    EXPECT_EQ(of(), "file lists/bad.txt: 2 entries -> 2 entries, others\n");
    write("lists/bad.txt", "203.0.113.1\n");
    EXPECT_EQ(of(), "file lists/bad.txt: 2 entries -> 1 entries\n");
    const auto loaded = answer(config.load(start, "tester"));
    ASSERT_TRUE(loaded) << message(loaded);
    EXPECT_EQ(loaded.value().differences.size(), 1u);
    EXPECT_EQ(of(), "");
    std::filesystem::remove(path("lists/bad.txt"));
    EXPECT_THAT(of(), HasSubstr("1 entries -> cannot be opened"));
}

TEST_F(LiveConfigTest, SaysThatTheFileOfASetHasOtherEntries) {
    write("bad.txt", "203.0.113.1 timeout 1h\n203.0.113.2\n");
    const std::string text = text_of("{name: bad, src: [bad, more], action: drop}," + kWeb,
                                     "sets: [{name: bad, file: bad.txt}]\n"
                                     "groups: {addresses: {more: [{file: more.txt}]}}\n");
    write("more.txt", "203.0.113.9\n");
    LiveConfig& config = begin(text);
    const auto of = [&] {
        const auto change = answer(config.diff(path("start.yaml"), "tester"));
        EXPECT_TRUE(change) << message(change);
        std::string out;
        for (const Difference& d : change.value().differences)
            out += d.path + ": " + d.before + " -> " + d.after + "\n";
        return out;
    };
    EXPECT_EQ(of(), "");
    const std::string keeps = " at the next start; now set bad keeps its own (`set load`)\n";
    write("bad.txt", "203.0.113.1 timeout 2h # longer\n203.0.113.2\n");
    EXPECT_EQ(of(), "file bad.txt: 2 entries -> 2 entries, others" + keeps);
    write("bad.txt", "203.0.113.2\n");
    EXPECT_EQ(of(), "file bad.txt: 2 entries -> 1 entries" + keeps);
    ASSERT_TRUE(answer(config.load(path("start.yaml"), "tester")));
    EXPECT_EQ(fw().plan().find_set("bad")->set->size(), 2u);
    EXPECT_EQ(of(), "");
    std::filesystem::remove(path("bad.txt"));
    EXPECT_THAT(of(), HasSubstr("1 entries -> " + path("bad.txt") + ": cannot be opened"));
}

TEST_F(LiveConfigTest, AnIncludedFileOfAnotherFolderNeedsItsWholePath) {
    LiveConfig& config = begin(text_of(kWeb));
    const auto text = [&](const std::string& file) {
        return text_of("{name: bad, src: bad, action: drop}," + kWeb,
                       "groups: {addresses: {bad: [{file: " + file + "}]}}\n");
    };
    write("elsewhere/bad.txt", "203.0.113.1\n");
    const auto refused =
        answer(config.load(write("elsewhere/next.yaml", text("bad.txt")), "tester"));
    ASSERT_FALSE(refused);
    EXPECT_THAT(message(refused), HasSubstr("give the whole path"));
    EXPECT_FALSE(has("bad"));
    const auto loaded = answer(
        config.load(write("elsewhere/next.yaml", text(path("elsewhere/bad.txt"))), "tester"));
    EXPECT_TRUE(loaded) << message(loaded);
    EXPECT_TRUE(has("bad"));
}

TEST_F(LiveConfigTest, SoDoesTheFileOfASet) {
    LiveConfig& config = begin(text_of(kWeb));
    const auto text = [&](const std::string& file) {
        return text_of(kWeb, "sets: [{name: bad, file: " + file + "}]\n");
    };
    write("elsewhere/bad.txt", "203.0.113.1\n");
    const auto refused =
        answer(config.load(write("elsewhere/next.yaml", text("bad.txt")), "tester"));
    ASSERT_FALSE(refused);
    EXPECT_THAT(message(refused), HasSubstr("give the whole path"));
    const auto loaded = answer(
        config.load(write("elsewhere/next.yaml", text(path("elsewhere/bad.txt"))), "tester"));
    EXPECT_TRUE(loaded) << message(loaded);
    ASSERT_NE(fw().plan().find_set("bad"), nullptr);
    EXPECT_EQ(fw().plan().find_set("bad")->set->size(), 1u);
}

TEST_F(LiveConfigTest, EntriesAreInTheirSetsOnly) {
    const auto text = [&](const char* sets) { return text_of(kWeb, sets); };
    const char* const some = "sets: [{name: some, entries: [192.0.2.1, 192.0.2.2]}]\n";
    LiveConfig& config = begin(text(some));
    EXPECT_TRUE(entries_.expired()) << "they are in memory twice";
    const auto size = [&](const char* name) {
        const SetPlan* const set = fw().plan().find_set(name);
        return set == nullptr ? -1 : static_cast<int>(set->set->size());
    };
    EXPECT_EQ(size("some"), 2);
    // A new set has those of its file, one that comes back by the timer has its own.
    const std::string other =
        write("other.yaml", text("sets: [{name: other, entries: [192.0.2.9]}]\n"));
    ASSERT_TRUE(answer(config.load(other, "tester", std::chrono::seconds(10))));
    EXPECT_EQ(size("some"), -1);
    EXPECT_EQ(size("other"), 1);
    config.turn(LiveConfig::Clock::now() + std::chrono::seconds(11));
    finish();
    EXPECT_EQ(size("some"), 2);
    // And one that was forgotten those of the text.
    ASSERT_TRUE(answer(config.load(other, "tester")));
    ASSERT_TRUE(answer(config.rollback(std::nullopt, "tester")));
    EXPECT_EQ(size("some"), 2);
}

TEST_F(LiveConfigTest, SaysThatItIsInForceIfTheStartsFileCannotBeWritten) {
    LiveConfig& config = begin(text_of(kWeb));
    const std::string next = write("elsewhere/next.yaml", text_of(kMail));
    const auto ticket = config.load(next, "tester");
    // Nothing can be written beside it, even by root.
    std::filesystem::remove(path("start.yaml"));
    std::filesystem::create_directory(path("start.yaml"));
    const auto change = answer(ticket);
    ASSERT_FALSE(change);
    EXPECT_THAT(message(change), HasSubstr("configuration 2 is in force, but the next start would "
                                           "run another one: "));
    EXPECT_THAT(message(change), HasSubstr("start.yaml"));
    EXPECT_TRUE(has("mail"));
    EXPECT_EQ(config.history().entries().back().number, 2u);
}

TEST_F(LiveConfigTest, WarnsOfItsOwnHistoryAndOfRulesThatNeverMatch) {
    LiveConfig& config = begin(text_of(kWeb));
    std::filesystem::remove_all(path("history"));
    const auto change = answer(
        config.load(write("next.yaml", text_of("{name: all, action: accept}," + kWeb)), "tester"));
    ASSERT_TRUE(change) << message(change);
    const std::string warnings = warnings_of(change);
    EXPECT_THAT(warnings, HasSubstr("can never match: \"all\""));
    EXPECT_THAT(warnings, HasSubstr("could not be kept for `config rollback`"));
    // In memory it is kept.
    EXPECT_EQ(config.history().entries().back().number, change.value().number);
    EXPECT_TRUE(answer(config.rollback(1, "tester")));
    EXPECT_FALSE(has("all"));
}

TEST_F(LiveConfigTest, OutputsOfTheLogFollowTheConfiguration) {
    const auto with_log = [&](const std::string& file) {
        return text_of(kWeb, "log: {default: yes, file: {path: " + path(file) + "}}\n");
    };
    LiveConfig& config = begin(text_of(kWeb));
    const auto send = [&](std::uint16_t port) {
        world_->from_inside(frames::udp(frames::flow("192.0.2.1", 1000, "192.0.2.2", port), "x"));
        log_->turn();
    };
    ASSERT_TRUE(answer(config.load(write("next.yaml", with_log("one.jsonl")), "tester")));
    send(1001);
    ASSERT_TRUE(answer(config.load(write("next.yaml", with_log("two.jsonl")), "tester")));
    send(1002);
    EXPECT_THAT(contents(path("one.jsonl")), HasSubstr("1001"));
    EXPECT_THAT(contents(path("two.jsonl")), HasSubstr("1002"));
    EXPECT_EQ(contents(path("one.jsonl")).find("1002"), std::string::npos);
    EXPECT_EQ(contents(path("two.jsonl")).find("1001"), std::string::npos);
    const auto version = fw().plan().version;
    const std::string bad = write("next.yaml", with_log("missing/three.jsonl"));
    EXPECT_THAT(message(answer(config.check(bad, "tester"))), HasSubstr("log.file: "));
    EXPECT_THAT(message(answer(config.load(bad, "tester"))), HasSubstr("log.file: "));
    EXPECT_EQ(fw().plan().version, version);
    // A check makes no file.
    ASSERT_TRUE(answer(config.check(write("next.yaml", with_log("four.jsonl")), "tester")));
    EXPECT_FALSE(std::filesystem::exists(path("four.jsonl")));
}

}  // namespace
}  // namespace postern
