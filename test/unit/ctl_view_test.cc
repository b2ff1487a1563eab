// SPDX-License-Identifier: BSD-3-Clause
// How posternctl shows rows: order, limits, columns, widths, zeros, times; and what its arguments
// may look like.
#include <algorithm>
#include <sstream>

#include "control_fixture.h"

namespace postern {
namespace {

class CtlViewTest : public PosternctlTest {
  protected:
    void SetUp() override {
        PosternctlTest::SetUp();
        if (IsSkipped()) return;
        Command list{.name = "flow list",
                     .help = "",
                     .args = {{"dport", ArgType::ports, false, "port"},
                              {"count", ArgType::integer, false, "how many"},
                              {"quick", ArgType::boolean, false, "or not"}},
                     .handler =
                         [this](const Json& args) {
                             asked_ = args;
                             return rows_of(
                                 {row("10.0.0.10", 9, 5, "ftp"), row("10.0.0.9", 80, 0, "web"),
                                  row("2001:db8::1", 8, 700, "ftp"), row("10.0.0.9", 9, 60, "x")});
                         },
                     .effect = Effect::read,
                     .columns = {{"SOURCE", {"src", "sport"}, CellForm::endpoint},
                                 {"BYTES", {"bytes", "more"}, CellForm::pair, true},
                                 {.title = "RULE", .fields = {"rule"}, .rank = 1},
                                 {"HELP", {"help"}}},
                     .zeros = "bytes"};
        list.args[0].negatable = true;
        server_->register_command(list);
        Command events = list;
        events.name = "flow events";
        events.endless = true;
        events.columns = {{"TIME", {"time"}, CellForm::clock}, {"EVENT", {"event"}}};
        events.handler = [](const Json&) {
            return rows_of({{{"time", "2026-11-30T01:23:43.123+0100"}, {"event", "listening"}},
                            {{"time", "2026-11-30T01:23:44.005+0100"}, {"event", "new"}}});
        };
        server_->register_command(events);
        Command write = list;
        write.name = "flow end";
        write.effect = Effect::write;
        server_->register_command(write);
    }
    static Json row(const char* src, int sport, int bytes, const char* rule) {
        return {{"src", src},
                {"sport", sport},
                {"bytes", bytes},
                {"more", 1},
                {"rule", rule},
                {"help", "some words that say what this flow is, at some length, to be broken"}};
    }
    /// The first cell of each line.
    std::string firsts(const std::string& options) {
        const Outcome outcome = shell("$P flow list --no-header --columns source,bytes " + options);
        EXPECT_EQ(outcome.status, 0) << outcome.out;
        std::istringstream lines(outcome.out);
        std::string all, line;
        while (std::getline(lines, line))
            all += (all.empty() ? "" : " ") + line.substr(0, line.find(' '));
        return all;
    }
    void fails(const std::string& line, const std::string& words) {
        const Outcome outcome = shell("$P " + line);
        EXPECT_EQ(outcome.status, 2) << line;
        EXPECT_NE(outcome.out.find(words), std::string::npos) << line << ": " << outcome.out;
    }
    Json asked_;
};

TEST_F(CtlViewTest, Sorts) {
    EXPECT_EQ(firsts("--sort source"), "10.0.0.9:9 10.0.0.10:9 [2001:db8::1]:8");
    EXPECT_EQ(firsts("--sort BYTES"), "10.0.0.10:9 10.0.0.9:9 [2001:db8::1]:8");
    EXPECT_EQ(firsts("--sort bytes --reverse"), "[2001:db8::1]:8 10.0.0.9:9 10.0.0.10:9");
    EXPECT_EQ(firsts("--sort rule"), "10.0.0.10:9 [2001:db8::1]:8 10.0.0.9:9");
    EXPECT_EQ(firsts("--sort sport"), "[2001:db8::1]:8 10.0.0.10:9 10.0.0.9:9");
    fails("flow list --sort soruce", "there is no column 'soruce', did you mean 'source'?");
    fails("flow events --sort time", "this command has no end");
}

TEST_F(CtlViewTest, LimitsTheRows) {
    EXPECT_EQ(firsts("--limit 1"), "10.0.0.10:9");
    EXPECT_EQ(firsts("--limit 2 --sort bytes --reverse"), "[2001:db8::1]:8 10.0.0.9:9");
    EXPECT_EQ(shell("$P --json --limit 2 flow list | wc -l").out, "2\n");
    // Of a list without an end, too; and of many rows only the first ones are kept.
    EXPECT_EQ(shell("$P --json --limit 3 stats | wc -l").out, "3\n");
    EXPECT_EQ(shell("$P --json --limit 3 --sort n --reverse --columns n many").out,
              "{\"n\":19999}\n{\"n\":19998}\n{\"n\":19997}\n");
}

TEST_F(CtlViewTest, ShowsTheColumnsAskedFor) {
    EXPECT_EQ(shell("$P flow list --limit 1 --columns rule,sport").out, "RULE  SPORT\nftp   9\n");
    EXPECT_EQ(shell("$P --json flow list --limit 1 --columns rule,source").out,
              "{\"rule\":\"ftp\",\"src\":\"10.0.0.10\",\"sport\":9}\n");
    fails("flow list --columns rule,nonsense", "there is no column 'nonsense'");
    fails("flow list --columns rule,nonsense", "source, bytes, rule, help, src");
}

TEST_F(CtlViewTest, HidesZeros) {
    EXPECT_EQ(firsts(""), "10.0.0.10:9 [2001:db8::1]:8 10.0.0.9:9");
    EXPECT_EQ(firsts("--all"), "10.0.0.10:9 10.0.0.9:80 [2001:db8::1]:8 10.0.0.9:9");
    EXPECT_EQ(shell("$P --json flow list | wc -l").out, "4\n");
    Command none{"nothing", "", {}, [](const Json&) { return rows_of({{{"n", 0}}}); }};
    none.zeros = "n";
    server_->register_command(none);
    EXPECT_EQ(shell("$P nothing").out, "posternctl: all 1 are zero; --all shows them\n");
    EXPECT_EQ(shell("$P nothing --all").out, "N\n0\n");
}

TEST_F(CtlViewTest, FitsIntoEightyColumns) {
    const auto longest = [](const std::string& text) {
        std::istringstream lines(text);
        std::size_t most = 0;
        for (std::string line; std::getline(lines, line);)
            most = std::max(most, line.size());
        return most;
    };
    const std::string out = shell("$P flow list").out;
    EXPECT_LE(longest(out), 80u) << out;
    EXPECT_NE(out.find("RULE"), std::string::npos) << "it has room: " << out;
    EXPECT_NE(out.find("\n                              "), std::string::npos) << "broken: " << out;
    EXPECT_GT(longest(shell("$P flow list --wide").out), 80u);
    // A wide column leaves no room for the one that may be left out.
    Command wide{
        .name = "wide",
        .help = "",
        .args = {},
        .handler =
            [](const Json&) {
                return rows_of(
                    {{{"a", std::string(60, 'a')}, {"b", std::string(30, 'b')}, {"c", 1}}});
            },
        .columns = {{"A", {"a"}},
                    {.title = "B", .fields = {"b"}, .right = true, .rank = 1},
                    {"C", {"c"}, CellForm::value, true}}};
    server_->register_command(wide);
    EXPECT_EQ(shell("$P wide --no-header").out, std::string(60, 'a') + "  1\n");
    EXPECT_LE(longest(shell("$P --help").out), 80u);
    EXPECT_LE(longest(shell("$P flow list --help").out), 80u) << shell("$P flow list --help").out;
}

TEST_F(CtlViewTest, ATextStaysAsItIs) {
    const std::string line = "    a: " + std::string(50, 'x') + " # " + std::string(50, 'y');
    server_->register_command({.name = "text",
                               .help = "",
                               .args = {},
                               .handler =
                                   [line](const Json&) {
                                       return rows_of({{{"line", "zones:"}}, {{"line", line}}});
                                   },
                               .columns = {{"LINE", {"line"}}}});
    EXPECT_EQ(shell("$P text --no-header").out, "zones:\n" + line + "\n");
}

TEST_F(CtlViewTest, TellsWhatIsWrongWithAnOption) {
    fails("drops --limit many", "posternctl: --limit: expected a number of rows, found 'many'");
    fails("drops --limit=-1", "posternctl: --limit: expected a number of rows, found '-1'");
    fails("drops --limit", "posternctl: --limit: expected a value");
    fails("drops --limit 0", "posternctl: --limit: expected a number of rows, found '0'");
    fails("drops --sort n --limit 9223372036854775807",
          "posternctl: --limit: expected a number of rows, found '9223372036854775807'");
    fails("drops --sort", "posternctl: --sort: expected a value");
    fails("drops --json=perhaps", "posternctl: ");
}

TEST_F(CtlViewTest, TellsTheTimeOfDay) {
    EXPECT_EQ(shell("$P flow events").out,
              "TIME          EVENT\n01:23:43.123  listening\n01:23:44.005  new\n");
}

TEST_F(CtlViewTest, Watches) {
    EXPECT_EQ(shell("$P --watch=0.05 flow list --columns rule --limit 1 | head -n 5").out,
              "RULE\nftp\n\nRULE\nftp\n");
    fails("--watch=often drops", "--watch: expected seconds");
    fails("--watch flow end", "--watch is for commands that read a state");
    fails("--watch flow events", "--watch is for commands that read a state");
}

TEST_F(CtlViewTest, NegatesAndTakesKeysInAnyCase) {
    shell("$P flow list 'dport!=21'");
    EXPECT_EQ(asked_, (Json{{"dport", "!21"}}));
    shell("$P flow list 'DPort=!21' Count=3 quick=YES");
    EXPECT_EQ(asked_, (Json{{"dport", "!21"}, {"count", 3}, {"quick", true}}));
    fails("flow list 'count!=1'", "'count' cannot be negated");
    fails("flow list quick=maybe", "must be of type boolean");
    const std::string help = shell("$P flow list --help").out;
    for (const char* words : {"dport=PORTS", "PORTS", "8000-8100", "KEY!=VALUE"})
        EXPECT_NE(help.find(words), std::string::npos) << words << ": " << help;
    EXPECT_EQ(shell("$P flow end --help").out.find("WORKER/INDEX"), std::string::npos);
}

TEST_F(CtlViewTest, CompletesOptions) {
    const auto complete = [this](const std::string& line) {
        return shell("${P/ -s/ --complete -s} " + line).out;
    };
    EXPECT_EQ(complete("flow list --re"), "--reverse\n");
    EXPECT_EQ(complete("--sort bytes flow l"), "list\n");
    EXPECT_EQ(complete("flow list --limit \"\""), "");
    fails("flow list --srot bytes", "there is no option '--srot', did you mean '--sort'?");
}

TEST_F(CtlViewTest, WritesOneArchiveForABugReport) {
    Command list{"conntrack list", "", {}, [](const Json&) {
                     return rows_of({{{"src", "192.0.2.77"}}});
                 }};
    list.effect = Effect::read;
    server_->register_command(list);
    const std::string file = dir_ / "report.tar";
    const Outcome done = shell("$P support " + file);
    EXPECT_EQ(done.status, 0) << done.out;
    const std::string names = shell("tar tf " + file).out;
    EXPECT_NE(names.find("postern-support/machine.txt\n"), std::string::npos) << names;
    EXPECT_NE(names.find("postern-support/flow-list.json\n"), std::string::npos) << names;
    EXPECT_EQ(names.find("flow-events"), std::string::npos) << "it has no end";
    EXPECT_EQ(names.find("flow-end"), std::string::npos) << "it writes";
    const std::string content = shell("tar xOf " + file).out;
    EXPECT_NE(content.find("\"src\":\"10.0.0.10\""), std::string::npos);
    EXPECT_EQ(content.find("192.0.2.77"), std::string::npos) << "an address of a user";
    EXPECT_EQ(shell("stat -c %a " + file).out, "600\n");
    EXPECT_EQ(shell("$P support " + file).status, 1) << "it exists";
    EXPECT_EQ(shell("$P support").status, 2);
}

}  // namespace
}  // namespace postern
