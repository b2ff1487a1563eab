// SPDX-License-Identifier: BSD-3-Clause
// posternctl, the program, against a server in this process: columns, arguments, help, files.
#include <csignal>
#include <fstream>
#include <iterator>
#include <set>

#include <sys/stat.h>

#include "base/base64.h"
#include "control_fixture.h"

namespace postern {
namespace {

/// And its files of saved connections.
class StateFileTest : public PosternctlTest {
  protected:
    void SetUp() override {
        PosternctlTest::SetUp();
        if (IsSkipped()) return;
        register_save({{{"postern_state", {{"version", 1}, {"saved_ms", 5}}}},
                       {{"end", {{"connections", 0}, {"expectations", 0}, {"cut", 0}}}}});
        server_->register_command({.name = "conntrack restore",
                                   .help = "",
                                   .args = {{"data", ArgType::string, true, ""},
                                            {"session", ArgType::integer, false, ""},
                                            {"last", ArgType::boolean, false, ""}},
                                   .handler =
                                       [this](const Json& args) {
                                           if (!args.contains("session")) sent_.clear();
                                           append_from_base64(
                                               sent_, args["data"].get_ref<const std::string&>());
                                           if (!args["last"].get<bool>())
                                               return rows_of({{{"session", 7}}});
                                           return rows_of({{{"restored", 1},
                                                            {"records", 1},
                                                            {"connections", {{"restored", 1}}},
                                                            {"expectations", Json::object()},
                                                            {"unusable", Json::object()},
                                                            {"bad_records", Json::array()},
                                                            {"elapsed_ms", 5}}});
                                       },
                                   .file = FileUse::read});
    }
    void register_save(std::vector<Json> rows) {
        server_->register_command(
            {.name = "conntrack save",
             .help = "",
             .args = {{"form", ArgType::string, false, ""}, {"proto", ArgType::string, false, ""}},
             .handler =
                 [this, rows](const Json& args) {
                     save_args_ = args;
                     return rows_of(rows);
                 },
             .file = FileUse::write});
    }
    std::string path(const char* name) { return dir_ / name; }
    Outcome save(const std::string& to) { return shell("$P conntrack save " + to); }
    Outcome restore(const std::string& from) { return shell("$P conntrack restore " + from); }
    std::string content(const std::string& of) {
        std::ifstream in(of);
        return {std::istreambuf_iterator<char>(in), {}};
    }
    /// Everything in the directory but the socket's.
    std::set<std::string> files() {
        std::set<std::string> names;
        for (const auto& entry : fs::directory_iterator(dir_ / ""))
            if (entry.path().filename() != "run") names.insert(entry.path().filename());
        return names;
    }
    static mode_t mode(const std::string& of) {
        struct stat st {};
        return ::lstat(of.c_str(), &st) == 0 ? st.st_mode & 07777 : 0;
    }
    std::string sent_;  ///< the bytes of the last file to be restored
    Json save_args_;
};

TEST_F(StateFileTest, SavesIntoANewFileForUsOnly) {
    const std::string file = path("state");
    // What was there before, even if somebody keeps it open, is not written to.
    std::ofstream(file) << "before";
    fs::permissions(file, fs::perms(0666));
    const UniqueFd kept(::open(file.c_str(), O_RDWR));
    const Outcome saved = shell("umask 0; $P conntrack save " + file);
    EXPECT_EQ(saved.status, 0) << saved.out;
    EXPECT_EQ(mode(file), 0600u);
    EXPECT_NE(content(file).find("postern_state"), std::string::npos);
    char byte = 0;
    EXPECT_EQ(::pread(kept.get(), &byte, 1, 0), 1);
    EXPECT_EQ(byte, 'b');
    EXPECT_EQ(files(), std::set<std::string>{"state"});
}

TEST_F(StateFileTest, SavesThroughNoLinkAndOntoNothingButAFile) {
    std::ofstream(path("target")) << "mine";
    // The name of the unfinished file, as it was once.
    fs::create_symlink(path("target"), path("state.part"));
    EXPECT_EQ(save(path("state")).status, 0);
    EXPECT_EQ(content(path("target")), "mine");

    fs::create_symlink(path("target"), path("link"));
    ASSERT_EQ(::mkfifo(path("pipe").c_str(), 0600), 0);
    fs::create_directory(path("folder"));
    const auto before = files();
    for (const std::string& to : {path("link"), path("pipe"), path("folder"),
                                  std::string("/dev/null"), path("folder/none/state")}) {
        const Outcome refused = save(to);
        EXPECT_EQ(refused.status, 1) << to;
        EXPECT_NE(refused.out.find(to), std::string::npos) << refused.out;
    }
    EXPECT_EQ(files(), before) << "no unfinished file is left";
    EXPECT_EQ(content(path("target")), "mine");
    EXPECT_TRUE(fs::is_character_file("/dev/null"));
}

TEST_F(StateFileTest, TellsJson) {
    const Json saved = Json::parse(shell("$P --json conntrack save " + path("state")).out);
    EXPECT_EQ(saved["connections"], 0);
    EXPECT_EQ(saved["file"], path("state"));
    const Json restored = Json::parse(shell("$P --json conntrack restore " + path("state")).out);
    EXPECT_EQ(restored["restored"], 1);
    EXPECT_EQ(sent_, content(path("state")));
    EXPECT_EQ(shell("$P conntrack save " + path("state") + " >/dev/full").status, 1);
    EXPECT_EQ(shell("$P conntrack save").status, 2);
    EXPECT_EQ(shell("$P conntrack save a b").status, 2);
}

TEST_F(StateFileTest, WritesTheBytesOfBlocks) {
    // "file" and zeros, in two rows.
    const Json end{{"connections", 7},      {"expectations", 1}, {"cut", 2},
                   {"filtered", 3},         {"zone_gone", 4},    {"expectations_filtered", 5},
                   {"expectations_gone", 6}};
    register_save({{{"saved", 3}, {"block", "ZmlsZQ=="}},
                   {{"saved", 7}, {"block", "AAAA"}},
                   {{"saved", 7}, {"block", ""}},
                   {{"end", end}}});
    const Outcome saved = shell("$P conntrack save " + path("state") + " proto=udp");
    EXPECT_EQ(saved.status, 0);
    EXPECT_EQ(content(path("state")), std::string("file\0\0\0", 7));
    EXPECT_EQ(save_args_, (Json{{"proto", "udp"}}));
    EXPECT_EQ(saved.out,
              "saved 7 connections and 1 expectations to " + path("state") +
                  "\n"
                  "2 control connections have bytes under way that are not in it: their helpers "
                  "may read no further\n"
                  "3 connections left out: they do not match the conditions\n"
                  "4 connections left out: a reload has removed their zone\n"
                  "5 expectations left out: their master connection is not in it\n"
                  "6 expectations left out: a reload has removed their zone or helper\n");
    const Json told = Json::parse(shell("$P --json conntrack save " + path("state")).out);
    EXPECT_EQ(told["filtered"], 3);
    EXPECT_EQ(told["bytes"], 7);
    EXPECT_EQ(save_args_, (Json{{"form", "json"}}));
    for (const char* wrong : {"ZmlsZQ=", "Zm\"sZ", "====", "Zml!"}) {
        register_save({{{"saved", 3}, {"block", wrong}}, {{"end", end}}});
        fs::remove(path("state"));
        EXPECT_EQ(save(path("state")).status, 1) << wrong;
        EXPECT_EQ(files(), std::set<std::string>{});
    }
}

TEST_F(StateFileTest, LeavesNothingOfAnUnfinishedSave) {
    register_save({{{"postern_state", {{"version", 1}, {"saved_ms", 5}}}}});
    EXPECT_EQ(save(path("state")).status, 1);
    EXPECT_EQ(files(), std::set<std::string>{});
}

TEST_F(StateFileTest, NamesTheErrorOfAFullDisk) {
    // More than one write, of which the last ones fail: a limit of the file's size stands for a
    // full disk.
    std::vector<Json> rows{{{"postern_state", {{"version", 1}, {"saved_ms", 5}}}}};
    for (int i = 0; i < 2000; ++i)
        rows.push_back({{"connection", {{"id", std::string(100, 'x')}}}});
    rows.push_back({{"end", {{"connections", 2000}, {"expectations", 0}, {"cut", 0}}}});
    register_save(rows);
    for (const char* blocks : {"1", "7", "100", "200"}) {
        const Outcome refused = shell("trap \"\" XFSZ; ulimit -f " + std::string(blocks) +
                                      "; $P conntrack save " + path("state"));
        EXPECT_EQ(refused.status, 1) << blocks;
        EXPECT_NE(refused.out.find("File too large"), std::string::npos)
            << blocks << ": " << refused.out;
        EXPECT_EQ(files(), std::set<std::string>{}) << blocks;
    }
}

TEST_F(StateFileTest, RestoresOnlyWhatNobodyElseCanHaveWritten) {
    const std::string file = path("state");
    std::ofstream(file) << R"({"postern_state": {"version": 1, "saved_ms": 5}})"
                           "\n"
                           R"({"connection": {"id": "0/1.1"}})"
                           "\n"
                           R"({"end": {}})"
                           "\n";
    const auto refused = [&](const std::string& why) {
        const Outcome outcome = restore(file);
        EXPECT_EQ(outcome.status, 2) << outcome.out;
        EXPECT_NE(outcome.out.find(why), std::string::npos) << outcome.out;
    };
    for (const unsigned bits : {0600u, 0644u, 0400u}) {
        fs::permissions(file, fs::perms(bits));
        const Outcome outcome = restore(file);
        EXPECT_EQ(outcome.status, 0) << outcome.out;
        EXPECT_NE(outcome.out.find("1 of 1 restored"), std::string::npos) << outcome.out;
    }
    EXPECT_EQ(sent_, content(file));
    for (const unsigned bits : {0660u, 0606u, 0620u}) {
        fs::permissions(file, fs::perms(bits));
        refused("can be written to by others");
    }
    fs::permissions(file, fs::perms(0600));
    if (::geteuid() == 0) {
        ASSERT_EQ(::chown(file.c_str(), 65534, 65534), 0);
        refused("belongs to another user (uid 65534)");
    }
    fs::remove(file);
    ASSERT_EQ(::mkfifo(file.c_str(), 0600), 0);  // nobody waits for a writer
    refused("is not a regular file");
}

TEST_F(PosternctlTest, PrintsColumns) {
    auto [status, out] = shell("$P drops");
    EXPECT_EQ(status, 0);
    EXPECT_EQ(out,
              "REASON  PACKETS  HELP\n"
              "policy        5  dropped\n"
              "x         12345  else\n");
    out = shell("$P conntrack list").out;
    EXPECT_NE(out.find("192.0.2.1:1024"), std::string::npos) << out;
    EXPECT_NE(out.find("[2001:db8::9]:21"), std::string::npos) << out;
    EXPECT_NE(out.find("7/5"), std::string::npos) << out;
    EXPECT_NE(out.find("1/3.2"), std::string::npos) << out;
    out = shell("$P conntrack count").out;
    EXPECT_EQ(out, "WORKER  CONNECTIONS\n0       12\n");
    EXPECT_EQ(shell("$P expect list").out, "") << "no titles without a row";
}

TEST_F(PosternctlTest, PrintsJsonLines) {
    EXPECT_EQ(shell("$P --json drops").out,
              "{\"reason\":\"policy\",\"help\":\"dropped\",\"packets\":5}\n"
              "{\"reason\":\"x\",\"help\":\"else\",\"packets\":12345}\n");
    EXPECT_EQ(shell("$P drops --json | wc -l").out, "2\n");
    EXPECT_EQ(shell("$P expect list --json").out, "");
}

TEST_F(PosternctlTest, NamesMayLookLikeNumbers) {
    const auto echo = [this](const char* word) {
        return shell("$P --json conntrack delete times=1 word=" + std::string(word)).out;
    };
    server_->register_command(
        {"conntrack delete",
         "",
         {{"word", ArgType::string, true, ""}, {"times", ArgType::integer, true, ""}},
         [](const Json& args) { return rows_of(std::vector<Json>{args}); }});
    for (const char* word : {"0", "123", "007", "true", "0x10"})
        EXPECT_EQ(echo(word), "{\"times\":1,\"word\":\"" + std::string(word) + "\"}\n");
}

TEST_F(PosternctlTest, ExitCodes) {
    EXPECT_EQ(shell("$P helper list").status, 2);  // this daemon does not know it
    EXPECT_EQ(shell("$P nonsense").status, 2);
    EXPECT_EQ(shell("$P conntrack").status, 2);
    EXPECT_EQ(shell("$P").status, 2);
    EXPECT_EQ(shell("$P help").status, 0);
    EXPECT_EQ(shell("$P -h").status, 0);
    const auto [status, out] = shell("$P -s /nonexistent/sock drops");
    EXPECT_EQ(status, 1);
    EXPECT_NE(out.find("no daemon answers on '/nonexistent/sock'"), std::string::npos) << out;
    EXPECT_EQ(shell("$P drops >/dev/full").status, 1);
}

/// Asks for what a command says of itself.
class DescribedTest : public PosternctlTest {
  protected:
    void SetUp() override {
        PosternctlTest::SetUp();
        if (IsSkipped()) return;
        server_->register_command(
            {.name = "helper remove",
             .help = "Take it away",
             .args = {{.name = "name",
                       .required = true,
                       .help = "which one",
                       .positional = true,
                       .candidates =
                           [] {
                               return std::vector<std::string>{"ftp", "tftp"};
                           }},
                      {.name = "state", .help = "of it", .values = {"new", "old"}},
                      {"count", ArgType::integer, false, "how many"}},
             .handler = [](const Json& args) { return rows_of(std::vector<Json>{args}); },
             .effect = Effect::write,
             .columns = {{"NAME", {"name"}}}});
    }
    void fails(const std::string& line, const std::string& words) {
        const Outcome outcome = shell("$P " + line);
        EXPECT_EQ(outcome.status, 2) << line;
        EXPECT_NE(outcome.out.find(words), std::string::npos) << line << ": " << outcome.out;
    }
};

TEST_F(DescribedTest, ArgumentsAreCheckedWithSuggestions) {
    fails("helper remove nmae=ftp", "there is no argument 'nmae', did you mean 'name'?");
    fails("helper remove nmae=ftp", "it takes name=, state=, count=");
    fails("helper remove x=1", "there is no argument 'x'; it takes");
    fails("helper remove ftp count=1 count=2", "'count' is given more than once");
    fails("helper remove ftp name=sip", "'name' is given more than once");
    fails("helper remove ftp sip", "'sip' is not KEY=VALUE");
    fails("helper remove", "argument 'name' is missing");
    fails("helper remove ftp count=many", "must be of type integer");
    fails("drops all", "'all' is not KEY=VALUE; it takes none");
    fails("helper remvoe ftp", "did you mean 'remove'?");
    fails("dorps", "there is no command 'dorps', did you mean 'drops'?");
    fails("Drops", "there is no command 'Drops', did you mean 'drops'?");
    fails("helper REMOVE ftp", "did you mean 'remove'?");
    fails("conntrack", "conntrack: expected one of count, list");
    fails("drops --jsno", "there is no option '--jsno', did you mean '--json'?");
}

TEST_F(DescribedTest, ValuesMayGoWithoutTheirName) {
    EXPECT_EQ(shell("$P helper remove ftp").out, "NAME\nftp\n");
    EXPECT_EQ(shell("$P helper remove name=ftp").out, "NAME\nftp\n");
    EXPECT_EQ(shell("$P --json helper remove count=3 ftp").out, "{\"count\":3,\"name\":\"ftp\"}\n");
}

TEST_F(DescribedTest, ARepeatedArgumentTakesAllFurtherWords) {
    server_->register_command(
        {.name = "set add",
         .help = "Add",
         .args = {{.name = "set", .required = true, .help = "it", .positional = true},
                  {.name = "entry",
                   .required = true,
                   .help = "some",
                   .positional = true,
                   .repeated = true},
                  {"timeout", ArgType::time, false, "its time"}},
         .handler = [](const Json& args) { return rows_of(std::vector<Json>{args}); }});
    EXPECT_EQ(shell("$P --json set add a ::1 '::2 timeout 1h' timeout=2h ::3").out,
              "{\"set\":\"a\",\"entry\":\"::1,::2 timeout 1h,::3\",\"timeout\":\"2h\"}\n");
    EXPECT_NE(shell("$P set add --help").out.find("set add set entry..."), std::string::npos);
    fails("set add a ::1 set=b", "'set' is given more than once");
}

TEST_F(DescribedTest, HelpNamesArgumentsTypesAndValues) {
    for (const char* line : {"helper remove --help", "help helper remove", "-h helper remove"}) {
        const auto [status, out] = shell("$P " + std::string(line));
        EXPECT_EQ(status, 0) << line;
        for (const char* words :
             {"helper remove name [KEY=VALUE...]", "Take it away", "name=STRING", "which one",
              "state=new|old", "count=INTEGER", "how many", "Columns: NAME", "Effect: write",
              "0 answered", "2 wrong command line"})
            EXPECT_NE(out.find(words), std::string::npos) << words << " is not in: " << out;
    }
    const Json row = Json::parse(shell("$P --json helper remove --help").out);
    EXPECT_EQ(row["command"], "helper remove");
    EXPECT_EQ(row["args"][1]["values"], Json({"new", "old"}));
    const std::string list = shell("$P help").out;
    EXPECT_NE(list.find("helper remove"), std::string::npos) << list;
    EXPECT_NE(shell("$P conntrack --help").out.find("conntrack list"), std::string::npos);
    EXPECT_NE(shell("$P help --json | wc -l").out, "0\n");
}

TEST_F(DescribedTest, TellsItsVersion) {
    const auto [status, out] = shell("$P --version");
    EXPECT_EQ(status, 0);
    EXPECT_TRUE(out.starts_with("posternctl 0.")) << out;
}

TEST_F(DescribedTest, CompletesFromTheDescription) {
    const auto complete = [this](const std::string& line) {
        return shell("${P/ -s/ --complete -s} " + line).out;
    };
    EXPECT_EQ(complete("hel\"\""), "help\nhelper\n");
    EXPECT_EQ(complete("helper \"\""), "remove\n");
    EXPECT_EQ(complete("helper remove \"\""), "ftp\ntftp\nname=\nstate=\ncount=\n");
    EXPECT_EQ(complete("helper remove t"), "tftp\n");
    EXPECT_EQ(complete("helper remove state=n"), "state=new\n");
    EXPECT_EQ(complete("helper remove count=1 c"), "");
    EXPECT_EQ(complete("drops \"\""), "");
    EXPECT_EQ(shell("bash -n <($P --bash-completion) && echo good").out, "good\n");
}

TEST_F(DescribedTest, CompletesInZsh) {
    if (shell("command -v zsh").status != 0) GTEST_SKIP() << "zsh is not installed";
    // What completion would offer, by a compadd that prints.
    const auto [status, out] =
        shell("$P --zsh-completion > " + (dir_ / "_posternctl") + "; " +
              "zsh -fc 'compdef() { :; }; compadd() { print -- \"$@\"; }; source " +
              (dir_ / "_posternctl") + "; words=(" + program() + " -s " + server_->path() +
              " helper remove t); CURRENT=6; _posternctl; words[6]=st; _posternctl'");
    EXPECT_EQ(status, 0);
    EXPECT_EQ(out, "-Q -- tftp\n-Q -S  -- state=\n");
}

TEST_F(DescribedTest, KnowsTheCommandsOfItsVersionWithoutADaemon) {
    const auto [status, out] = shell("$P -s /nonexistent/sock conntrack list --help");
    EXPECT_EQ(status, 0);
    EXPECT_NE(out.find("dport=PORTS"), std::string::npos) << out;
    EXPECT_NE(shell("$P -s /nonexistent/sock help").out.find("\n  worker list"), std::string::npos);
    EXPECT_EQ(shell("$P -s /nonexistent/sock conntrack list").status, 1);
    const auto complete = [this](const std::string& line) {
        return shell(std::string(program()) + " --complete -s /nonexistent/sock " + line).out;
    };
    EXPECT_EQ(complete("conntrack l"), "list\n");
    EXPECT_EQ(complete("conntrack list state=n"), "state=new\n");
    EXPECT_EQ(complete("conntrack list dp"), "dport=\n");
}

TEST_F(DescribedTest, WithoutADaemonItSaysSo) {
    for (const char* line : {"help", "--help"}) {
        const auto [status, out] = shell("$P -s /nonexistent/sock " + std::string(line));
        EXPECT_EQ(status, 0) << line;
        EXPECT_NE(out.find("Usage: posternctl"), std::string::npos) << out;
        EXPECT_NE(out.find("no daemon answers"), std::string::npos) << out;
    }
}

TEST_F(DescribedTest, ReadingSocketRefusesToWrite) {
    ControlOptions options;
    options.path = dir_ / "second/control.sock";
    options.read_path = dir_ / "reading/read.sock";
    options.read_access.mode = 0666;
    auto opened = ControlServer::open(options);
    ASSERT_TRUE(opened) << opened.error().message;
    server_ = std::move(*opened);
    register_rows("drops", {});
    Command read{"look", "", {}, [](const Json&) { return rows_of({{{"seen", 1}}}); }};
    read.effect = Effect::read;
    server_->register_command(read);
    const std::string reading = " -s " + options.read_path + " ";
    EXPECT_EQ(shell("$P" + reading + "look").out, "SEEN\n1\n");
    const auto [status, out] = shell("$P" + reading + "drops");
    EXPECT_EQ(status, 2);
    EXPECT_NE(out.find("'drops' changes something or shows payload, and this socket only reads"),
              std::string::npos)
        << out;
    EXPECT_EQ(server_->counters().control_writes_refused.get(), 1u);
    EXPECT_EQ(shell("$P drops").status, 0);
    struct stat st {};
    ASSERT_EQ(::lstat(options.read_path.c_str(), &st), 0);
    EXPECT_EQ(st.st_mode & 07777, 0666u);
    ASSERT_EQ(::lstat((dir_ / "reading").c_str(), &st), 0);
    EXPECT_EQ(st.st_mode & 07777, 0711u);
    ASSERT_EQ(::lstat(options.path.c_str(), &st), 0);
    EXPECT_EQ(st.st_mode & 07777, 0600u);
    server_.reset();
    EXPECT_FALSE(fs::exists(options.read_path));
}

TEST_F(PosternctlTest, ClosedPipeEndsQuietly) {
    for (const char* format : {"", "--json"}) {
        const auto [status, out] =
            shell(std::string("set -o pipefail; $P stats ") + format + " | head -n 2 | wc -l");
        EXPECT_EQ(status, 0) << format;
        EXPECT_EQ(out, "2\n") << format;
    }
}

TEST_F(PosternctlTest, KilledInMidListHarmsNobody) {
    for (const char* signal : {"KILL", "INT"}) {
        // The second reader proves that the list is under way before the kill.
        const auto outcome =
            shell("coproc $P --json stats; read -r line <&${COPROC[0]}; kill -" +
                  std::string(signal) + " $COPROC_PID; wait $COPROC_PID; echo ended");
        EXPECT_NE(outcome.out.find("ended"), std::string::npos) << outcome.out;
        for (int i = 0; i < 1000 && server_->clients() != 0; ++i)
            server_->poll(1);
        EXPECT_EQ(server_->clients(), 0u);
        EXPECT_EQ(watch_.alive, 0);
        EXPECT_EQ(shell("$P drops").status, 0);
    }
}

}  // namespace
}  // namespace postern
