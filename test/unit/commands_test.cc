// SPDX-License-Identifier: BSD-3-Clause
// The daemon's commands as they describe themselves: each is run, its columns are compared with its
// rows, and what writes is refused on the reading socket. Every metric has unit and help.
#include <algorithm>
#include <fstream>
#include <initializer_list>
#include <map>
#include <set>
#include <tuple>
#include <utility>

#include "base/base64.h"
#include "commands/context.h"
#include "control_fixture.h"
#include "log/record_log.h"
#include "loop_stats.h"
#include "metric_sources.h"
#include "state/record_reader.h"
#include "support/eal.h"
#include "world.h"

namespace postern {
namespace {

using frames::flow;

const auto* const kEal = ::testing::AddGlobalTestEnvironment(new EalEnvironment);

const std::string kPolicy =
    "helpers: [{name: ftp}]\n"
    "sets: [{name: some, max: 4, timeout: 5m, entries: [192.0.2.9]}, {name: other}]\n"
    "policy:\n"
    "  rules:\n"
    "    - {name: control, proto: tcp, dport: 21, ct: [new], action: accept, helper: ftp}\n"
    "    - {name: data, ct: [related], related: [ftp], action: accept}\n"
    "    - {name: dns, proto: udp, ct: [new], action: accept}\n";

class CommandsTest : public ::testing::Test {
  protected:
    CommandsTest()
        : world_(kPolicy, 2, {}, World::kLimits, {}, 64),
          context_(
              world_.fw(), [this] { return world_.now; }, metrics_) {
        ControlOptions options;
        options.path = dir_ / "control.sock";
        options.read_path = dir_ / "read.sock";
        auto server = ControlServer::open(options);
        if (!server) std::abort();
        server_ = std::move(*server);
        context_.log = &log_;
        add_metrics(metrics_, {.firewall = &world_.fw(), .control = server_.get()});
        context_.loops = &loops_;
        for (Command& command : all_commands(context_))
            server_->register_command(std::move(command));
    }

    /// The lines of an answer; of a stream the first ones, after `enough` rows.
    std::vector<Json> ask(const std::string& path, std::string_view command,
                          const Json& args = Json::object(), std::size_t enough = SIZE_MAX) {
        auto fd = connect_unix(path);
        if (!fd) return {};
        ::fcntl(fd->get(), F_SETFL, O_NONBLOCK);
        const std::string line = Json{{"v", 1}, {"command", command}, {"args", args}}.dump() + "\n";
        EXPECT_EQ(::send(fd->get(), line.data(), line.size(), MSG_NOSIGNAL),
                  static_cast<ssize_t>(line.size()));
        std::string text;
        std::vector<Json> lines;
        for (int turn = 0; turn < 10'000; ++turn) {
            server_->poll(turn < 1000 ? 0 : 1);  // some answers take time
            // Control and workers share this thread.
            for (unsigned i = 0; i <= world_.fw().workers(); ++i)
                rte_rcu_qsbr_thread_online(world_.fw().rcu(), i);
            world_.turn();
            char buffer[65536];
            const ssize_t n = ::recv(fd->get(), buffer, sizeof buffer, 0);
            if (n <= 0) continue;
            text.append(buffer, static_cast<std::size_t>(n));
            for (std::size_t end; (end = text.find('\n')) != std::string::npos;) {
                lines.push_back(Json::parse(text.substr(0, end)));
                text.erase(0, end + 1);
                if (!lines.back().contains("row") || lines.size() == enough) return lines;
            }
        }
        ADD_FAILURE() << command << ": no answer";
        return lines;
    }
    std::vector<Json> rows(std::string_view command, const Json& args = Json::object(),
                           std::size_t enough = SIZE_MAX) {
        std::vector<Json> all;
        for (const Json& line : ask(server_->path(), command, args, enough)) {
            EXPECT_FALSE(line.contains("error")) << command << ": " << line;
            if (line.contains("row")) all.push_back(line["row"]);
        }
        return all;
    }
    static bool has(const Json& row, const std::string& path) {
        const Json* at = &row;
        for (std::size_t from = 0;;) {
            const std::size_t dot = path.find('.', from);
            const std::string key = path.substr(from, dot - from);
            if (!at->is_object() || !at->contains(key)) return false;
            at = &(*at)[key];
            if (dot == std::string::npos) return true;
            from = dot + 1;
        }
    }
    /// A connection with a helper, one without, an expectation.
    void fill() {
        world_.from_inside(frames::udp(flow("10.0.0.1", 1000, "20.0.0.1", 53), "q"));
        rows("expect create", {{"proto", "tcp"},
                               {"dst", "20.0.0.1"},
                               {"dport", 5000},
                               {"no_master", true},
                               {"zone", 0},
                               {"timeout", 60}});
    }

    TempDir dir_;
    World world_;
    MetricRegistry metrics_;
    std::vector<LoopStats> loops_ = std::vector<LoopStats>(2);
    RecordLog log_{world_.fw(), make_conn_hub(world_.fw()), [this] { return world_.now; }};
    CommandContext context_;
    std::unique_ptr<ControlServer> server_;
};

/// Arguments with which each command that needs some can be run.
Json arguments_of(const std::string& command) {
    if (command == "expect create")
        return {{"proto", "tcp"},    {"dst", "20.0.0.1"}, {"dport", 5001},
                {"no_master", true}, {"zone", 0},         {"timeout", 60}};
    if (command == "conntrack restore") return {{"data", ""}};
    if (command == "conntrack delete") return {{"proto", "udp"}};
    if (command == "expect delete") return {{"dport", 5001}};
    if (command == "helper remove") return {{"name", "ftp"}};
    if (command == "top") return {{"period", 0}};
    if (command == "port show") return {{"name", "in0"}};
    if (command == "set add") return {{"set", "some"}, {"entry", "192.0.2.9"}};
    if (command == "set delete") return {{"set", "some"}, {"entry", "192.0.2.8"}};
    if (command == "set flush") return {{"set", "other"}};
    if (command == "set load") return {{"set", "some"}, {"entries", "192.0.2.9"}};
    if (command == "complete") return {{"command", "helper remove"}, {"argument", "name"}};
    return Json::object();
}

TEST_F(CommandsTest, SavesBytesOrLines) {
    fill();
    const auto binary = rows("conntrack save", {{"form", "binary"}});
    ASSERT_GE(binary.size(), 2u);
    std::string file;
    for (std::size_t i = 0; i + 1 < binary.size(); ++i)
        ASSERT_TRUE(append_from_base64(file, binary[i]["block"].get<std::string>()));
    RecordReader reader(world_.fw().plan(), world_.fw().helpers());
    reader.feed(file);
    reader.feed_end();
    SavedRecord record;
    while (reader.next(record) != RecordReader::Next::end) {
    }
    EXPECT_TRUE(reader.is_whole()) << reader.problem();
    EXPECT_EQ(reader.counts().connections, 1u);
    EXPECT_EQ(reader.counts().expectations, 1u);
    const Json& end = binary.back()["end"];
    EXPECT_EQ(end["connections"], 1);
    EXPECT_EQ(end["expectations"], 1);

    const auto lines = rows("conntrack save", {{"form", "json"}});
    ASSERT_EQ(lines.size(), 4u);
    EXPECT_EQ(lines[0]["postern_state"]["version"], 1);
    EXPECT_EQ(lines[1]["connection"]["dport"], 53);
    EXPECT_EQ(lines[2]["expectation"]["dport"], 5000);
    EXPECT_EQ(lines[3]["end"]["connections"], 1);
    // With a condition only the expectations of what is saved.
    const auto some = rows("conntrack save", {{"form", "json"}, {"proto", "tcp"}});
    ASSERT_EQ(some.size(), 2u);
    EXPECT_EQ(some[1]["end"]["filtered"], 1);
    EXPECT_EQ(some[1]["end"]["expectations_filtered"], 1);
    const auto wrong = ask(server_->path(), "conntrack save", {{"form", "xml"}});
    ASSERT_EQ(wrong.size(), 1u);
    EXPECT_TRUE(wrong[0].contains("error"));
}

/// Fields that only some rows have: of events the first one, "listening", has none.
const std::set<std::string> kOptionalFields{"src_prefix", "process.state"};

TEST_F(CommandsTest, EachDescribedCommandRunsAndFillsItsColumns) {
    std::size_t run = 0;
    for (const auto& [name, command] : server_->commands()) {
        fill();
        SCOPED_TRACE(name);
        EXPECT_FALSE(command.help.empty());
        // They need a daemon that was started from a file: the end-to-end cases have one.
        if (name.starts_with("config ")) {
            EXPECT_FALSE(command.columns.empty());
            ++run;
            continue;
        }
        if (command.endless) {
            // What happens is told after "listening".
            const auto first = rows(name, arguments_of(name), 1);
            ASSERT_EQ(first.size(), 1u);
            EXPECT_EQ(first[0]["event"], "listening");
            ++run;
            continue;
        }
        const auto all = rows(name, arguments_of(name));
        ++run;
        // Nothing to restore, no device.
        if (name == "conntrack restore" || name.starts_with("port ")) continue;
        EXPECT_FALSE(all.empty());
        if (command.file == FileUse::none) {
            EXPECT_FALSE(command.columns.empty());
        }
        for (const Json& row : all)
            for (const Column& column : command.columns)
                for (const std::string& field : column.fields)
                    EXPECT_TRUE(has(row, field) || kOptionalFields.contains(field))
                        << column.title << " shows " << field << " of " << row;
    }
    EXPECT_EQ(run, server_->commands().size());
    EXPECT_GE(run, 20u);
}

TEST_F(CommandsTest, ConditionsAreRead) {
    fill();  // udp 10.0.0.1:1000 > 20.0.0.1:53, rule dns
    const auto count = [this](const char* name, const char* value) {
        const auto all = rows("conntrack count", {{name, value}});
        const auto listed = rows("conntrack list", {{name, value}}).size();
        EXPECT_EQ(all.at(0)["connections"], listed) << name << "=" << value;
        return listed;
    };
    const std::string id = rows("conntrack list").at(0)["id"], not_id = "!" + id;
    for (const auto& [name, value] :
         std::initializer_list<std::pair<const char*, const char*>>{{"dport", "53"},
                                                                    {"dport", "50-60"},
                                                                    {"dport", "-53"},
                                                                    {"dport", "53-"},
                                                                    {"dport", "domain"},
                                                                    {"dport", "DOMAIN"},
                                                                    {"dport", "ssh-domain"},
                                                                    {"dport", "!54"},
                                                                    {"dport", "!54-60"},
                                                                    {"sport", "1000"},
                                                                    {"proto", "UDP"},
                                                                    {"proto", "!tcp"},
                                                                    {"src", "10.0.0.0/8"},
                                                                    {"src", "!10.0.0.2"},
                                                                    {"dst", "!10.0.0.0/8"},
                                                                    {"rule", "DNS"},
                                                                    {"rule", "!data"},
                                                                    {"state", "NEW"},
                                                                    {"state", "!established"},
                                                                    {"from", "INSIDE"},
                                                                    {"from", "!outside"},
                                                                    {"to", "outside"},
                                                                    {"family", "IPv4"},
                                                                    {"family", "!ipv6"},
                                                                    {"zone", "0"},
                                                                    {"zone", "!1"},
                                                                    {"mark", "!1"},
                                                                    {"helper", "!ftp"},
                                                                    {"id", id.c_str()},
                                                                    {"age", "-1m"},
                                                                    {"idle", "0-30s"},
                                                                    {"timeout", "1s-1h30m"},
                                                                    {"timeout", "!2h-"},
                                                                    {"packets", "1"},
                                                                    {"bytes", "1-10K"},
                                                                    {"bytes", "-1G"}})
        EXPECT_EQ(count(name, value), 1u) << name << "=" << value;
    for (const auto& [name, value] :
         std::initializer_list<std::pair<const char*, const char*>>{{"dport", "!53"},
                                                                    {"dport", "54-60"},
                                                                    {"dport", "-52"},
                                                                    {"dport", "!domain"},
                                                                    {"proto", "!udp"},
                                                                    {"src", "!10.0.0.0/8"},
                                                                    {"rule", "!dns"},
                                                                    {"from", "!inside"},
                                                                    {"state", "!new"},
                                                                    {"id", not_id.c_str()},
                                                                    {"age", "1h-"},
                                                                    {"idle", "!0-30s"},
                                                                    {"packets", "2-"},
                                                                    {"bytes", "1M-"},
                                                                    {"timeout", "-1s"}})
        EXPECT_EQ(count(name, value), 0u) << name << "=" << value;
    for (const auto& [name, value] :
         std::initializer_list<std::pair<const char*, const char*>>{{"dport", "60-50"},
                                                                    {"dport", "65536"},
                                                                    {"dport", "no-such-service"},
                                                                    {"dport", "-"},
                                                                    {"dport", ""},
                                                                    {"timeout", "5x"},
                                                                    {"timeout", "30m1h"},
                                                                    {"bytes", "1Q"},
                                                                    {"rule", "dsn"},
                                                                    {"zone", "!x"},
                                                                    {"state", "neww"},
                                                                    {"packets", "1-2-3"}}) {
        const auto answer = ask(server_->path(), "conntrack list", {{name, value}});
        ASSERT_EQ(answer.size(), 1u) << name << "=" << value;
        EXPECT_EQ(answer[0]["error"]["code"], "bad_args");
        EXPECT_TRUE(answer[0]["error"]["message"].get<std::string>().starts_with(name))
            << answer[0];
    }
    EXPECT_EQ(rows("expect count").at(0)["expectations"], 1);
    for (const auto& [name, value, n] :
         std::initializer_list<std::tuple<const char*, const char*, int>>{
             {"dport", "5000", 1},
             {"dport", "!5000", 0},
             {"dport", "4000-6000", 1},
             {"proto", "TCP", 1},
             {"proto", "!tcp", 0},
             {"timeout", "1m", 1},
             {"timeout", "-30s", 0},
             {"dst", "!20.0.0.0/8", 0}}) {
        EXPECT_EQ(rows("expect count", {{name, value}}).at(0)["expectations"], n) << name << value;
        EXPECT_EQ(rows("expect list", {{name, value}}).size(), static_cast<unsigned>(n));
    }
}

TEST_F(CommandsTest, ExpectCreateSaysWhatItMade) {
    const Json good{{"proto", "tcp"},    {"dst", "20.0.0.1"}, {"dport", "ftp"},
                    {"no_master", true}, {"zone", 0},         {"timeout", "2m"}};
    const Json made = rows("expect create", good).at(0);
    EXPECT_EQ(made["outcome"], "created");
    const Json listed = rows("expect list", {{"id", made["id"]}}).at(0);
    EXPECT_EQ(listed["dport"], 21);
    EXPECT_EQ(listed["timeout_s"], 120);
    EXPECT_EQ(listed["flags"], Json({"operator"}));
    EXPECT_EQ(rows("expect delete", {{"id", made["id"]}}).at(0)["deleted"], 1);
    const auto refused = [&](Json change, const char* words) {
        Json args = good;
        for (const auto& [key, value] : change.items()) {
            if (value.is_null())
                args.erase(key);
            else
                args[key] = value;
        }
        const auto answer = ask(server_->path(), "expect create", args);
        ASSERT_EQ(answer.size(), 1u);
        ASSERT_TRUE(answer[0].contains("error")) << args;
        EXPECT_NE(answer[0]["error"]["message"].get<std::string>().find(words), std::string::npos)
            << answer[0];
    };
    refused({{"dport", 0}}, "dport: 0 would never match");
    refused({{"sport", 0}}, "sport: 0 would never match");
    refused({{"dport", nullptr}}, "dport: expected the destination port");
    refused({{"proto", "icmp"}}, "dport: icmp has no ports");
    refused({{"proto", "icmp"}, {"dport", nullptr}, {"sport", 5}}, "sport: icmp has no ports");
    refused({{"proto", "icmp"}, {"dport", nullptr}}, "no connection of icmp is ever expected");
    refused({{"timeout", "0s"}}, "timeout");
    refused({{"timeout", "5 weeks"}}, "timeout");
    EXPECT_TRUE(rows("expect list").empty());
}

TEST_F(CommandsTest, WorkersTellHowBusyTheyAre) {
    loops_[1].turn(1000, 0);
    loops_[1].turn(3000, 6);
    loops_[1].turn(2000, 2);
    for (const unsigned n : {1u, 3u, 32u, 64u})
        loops_[1].burst(n);
    auto source = server_->commands().at("worker list").handler(Json::object());
    ASSERT_TRUE(source);
    loops_[1].turn(1000, 0);
    loops_[1].turn(3000, 30);
    std::vector<Json> all;
    for (Json row = Json::object();; row = Json::object()) {
        const Pull pull = (*source)->next(row);
        if (pull == Pull::done) break;
        if (pull == Pull::row) all.push_back(row);
    }
    ASSERT_EQ(all.size(), 2u);
    EXPECT_TRUE(all[0]["busy_percent"].is_null());
    EXPECT_EQ(all[1]["busy_percent"], 75.0);
    EXPECT_EQ(all[1]["cycles_per_packet"], 100.0);
    EXPECT_EQ(all[1]["packets_per_turn"], 30.0);
    EXPECT_EQ(all[1]["packets"], 38);
    EXPECT_GT(all[1]["longest_turn_us"], 0.0);
    EXPECT_EQ(all[1]["bursts"], Json::parse(R"({"1":1,"2-3":1,"4-7":0,"8-15":0,"16-31":0,)"
                                            R"("32-63":1,"64":1})"));
}

TEST_F(CommandsTest, LatenciesOfAllWorkersAreOneHistogram) {
    loops_[0].latency(0, 1);
    loops_[0].latency(1000, 30);  // below 1024
    loops_[1].latency(1023, 9);
    loops_[1].latency(1024, 60);
    loops_[1].latency(~std::uint64_t{0}, 1);  // beyond all limits
    const auto all = rows("latency");
    ASSERT_EQ(all.size(), LoopStats::kLatencies);
    std::map<unsigned, std::uint64_t> found;
    for (unsigned i = 0; i < all.size(); ++i)
        if (all[i]["packets"] != 0) found[i] = all[i]["packets"];
    EXPECT_EQ(found, (std::map<unsigned, std::uint64_t>{
                         {0, 1}, {10, 39}, {11, 60}, {LoopStats::kLatencies - 1, 1}}));
    EXPECT_EQ(all[10]["up_to_percent"], 39.6);
    EXPECT_EQ(all.back()["up_to_percent"], 100.0);
    EXPECT_LT(all[10]["below_us"], all[11]["below_us"]);
}

TEST_F(CommandsTest, EventsFillTheirColumns) {
    for (const char* name : {"conntrack events", "expect events"}) {
        SCOPED_TRACE(name);
        auto source = server_->commands().at(name).handler(Json::object());
        ASSERT_TRUE(source);
        Json row = Json::object();
        ASSERT_EQ((*source)->next(row), Pull::row);
        world_.turn();  // the workers notice that somebody listens
        fill();
        world_.turn();
        row = Json::object();
        ASSERT_EQ((*source)->next(row), Pull::row);
        for (const Column& column : server_->commands().at(name).columns)
            for (const std::string& field : column.fields)
                EXPECT_TRUE(has(row, field) || kOptionalFields.contains(field)) << field << row;
        rows("conntrack flush");
        rows("expect flush");
    }
}

TEST_F(CommandsTest, ArgumentsAreDescribed) {
    for (const auto& [name, command] : server_->commands()) {
        std::set<std::string> names;
        for (const ArgSpec& arg : command.args) {
            SCOPED_TRACE(name + " " + arg.name);
            EXPECT_TRUE(names.insert(arg.name).second) << "described twice";
            EXPECT_FALSE(arg.help.empty());
            // Whatever completion offers is taken.
            const auto offered = rows("complete", {{"command", name}, {"argument", arg.name}});
            if (!arg.values.empty()) {
                EXPECT_EQ(offered.size(), arg.values.size());
            }
            if (command.effect == Effect::write || command.endless) continue;
            for (const Json& value : offered) {
                if (value["value"].get<std::string>().empty() || name == "complete") continue;
                Json args = arguments_of(name);
                args[arg.name] = value["value"];
                EXPECT_TRUE(ask(server_->path(), name, args).back().contains("end")) << value;
            }
        }
    }
    EXPECT_EQ(rows("complete", {{"command", "helper remove"}, {"argument", "name"}})[0]["value"],
              "ftp");
    EXPECT_EQ(rows("complete", {{"command", "conntrack list"}, {"argument", "from"}}).size(), 2u);
}

TEST_F(CommandsTest, ReadingSocketRefusesWhatWrites) {
    fill();
    const std::string reading = dir_ / "read.sock";
    std::size_t writing = 0, read = 0;
    for (const auto& [name, command] : server_->commands()) {
        SCOPED_TRACE(name);
        if (command.effect == Effect::read && name.starts_with("config ")) {
            ++read;  // there is no configuration here
        } else if (command.effect == Effect::write) {
            const auto answer = ask(reading, name, arguments_of(name));
            ASSERT_EQ(answer.size(), 1u);
            EXPECT_EQ(answer[0]["error"]["code"], "read_only");
            EXPECT_NE(answer[0]["error"]["message"].get<std::string>().find(name),
                      std::string::npos);
            EXPECT_EQ(server_->counters().control_writes_refused.get(), ++writing);
        } else {
            ++read;
            EXPECT_FALSE(ask(reading, name, arguments_of(name), 1).back().contains("error"));
        }
    }
    EXPECT_EQ(rows("conntrack count")[0]["connections"], 1) << "nothing was flushed";
    // A new command has to be put into one of these on purpose.
    const std::set<std::string> kWriting{
        "capture",          "trace",           "config check",      "config confirm",
        "config diff",      "config load",     "config rollback",   "config show",
        "conntrack delete", "conntrack flush", "conntrack restore", "conntrack save",
        "expect create",    "expect delete",   "expect flush",      "helper remove",
        "set add",          "set delete",      "set flush",         "set load"};
    EXPECT_EQ(writing, kWriting.size());
    for (const std::string& name : kWriting)
        EXPECT_EQ(server_->commands().at(name).effect, Effect::write) << name;
    EXPECT_EQ(read + writing, server_->commands().size());
}

TEST_F(CommandsTest, SetsAreChangedAndListed) {
    const auto list = [&] {
        std::set<std::string> out;
        for (const Json& row : rows("set list", {{"set", "some"}}))
            out.insert(row["entry"].get<std::string>() + " " + row["timeout_s"].dump());
        return out;
    };
    using Entries = std::set<std::string>;
    EXPECT_EQ(list(), Entries{"192.0.2.9 300"});
    Json row =
        rows("set add", {{"set", "SOME"}, {"entry", "192.0.2.9,2001:db8::/32"}, {"timeout", "1h"}})
            .at(0);
    EXPECT_EQ(row["added"], 1);
    EXPECT_EQ(row["updated"], 1);
    EXPECT_EQ(row["entries"], 2);
    rows("set add", {{"set", "some"}, {"entry", "10.0.0.1 timeout 7"}, {"timeout", "never"}});
    rows("set add", {{"set", "some"}, {"entry", "10.0.0.0/8"}, {"timeout", "never"}});
    EXPECT_EQ(list(),
              (Entries{"192.0.2.9 3600", "2001:db8::/32 3600", "10.0.0.1 7", "10.0.0.0/8 null"}));
    const auto problem = [&](const char* command, const Json& args) {
        const auto answer = ask(server_->path(), command, args);
        return answer.back().contains("error")
                   ? answer.back()["error"]["message"].get<std::string>()
                   : std::string();
    };
    const auto says = [&](const char* words, const char* command, const Json& args) {
        const std::string found = problem(command, args);
        EXPECT_NE(found.find(words), std::string::npos) << command << " " << args << ": " << found;
    };
    // All or nothing.
    says("no room for 1 more", "set add", {{"set", "some"}, {"entry", "10.0.0.1,10.0.0.2"}});
    says("'x' is not an address", "set add", {{"set", "some"}, {"entry", "10.9.9.9,x"}});
    says("there is no set \"somme\", did you mean 'some'?", "set add",
         {{"set", "somme"}, {"entry", "::1"}});
    says("timeout", "set add", {{"set", "some"}, {"entry", "10.0.0.1"}, {"timeout", "0"}});
    says("expected no `timeout`", "set delete", {{"set", "some"}, {"entry", "::1 timeout 1"}});
    says("expected a file", "set load", {{"set", "some"}});
    says("cannot be opened", "set load", {{"set", "some"}, {"file", dir_ / "nothing"}});
    says("not a regular file", "set load", {{"set", "some"}, {"file", "/dev/null"}});
    const std::string file = dir_ / "entries";
    std::ofstream(file) << "192.0.2.1\nwrong\n";
    says("entries:2: ", "set load", {{"set", "some"}, {"file", file}});
    std::ofstream(file) << "10.0.0.1\n10.0.0.2\n10.0.0.3\n10.0.0.4\n10.0.0.5\n";
    says("more entries than the set may have (4", "set load", {{"set", "some"}, {"file", file}});
    EXPECT_EQ(list().size(), 4u);
    const Json counts = rows("set count", {{"set", "some"}}).at(0);
    EXPECT_EQ(counts["entries"], 4);
    EXPECT_EQ(counts["max"], 4);
    EXPECT_EQ(counts["added"], 4);

    row = rows("set delete", {{"set", "some"}, {"entry", "10.0.0.1,10.0.0.7"}}).at(0);
    EXPECT_EQ(row["deleted"], 1);
    EXPECT_EQ(row["missing"], 1);
    std::ofstream(file) << "10.0.0.1 timeout never\n# a comment\n10.0.0.2\n";
    row = rows("set load", {{"set", "some"}, {"file", file}}).at(0);
    EXPECT_EQ(row["entries"], 2);
    EXPECT_EQ(row["before"], 3);
    EXPECT_EQ(list(), (Entries{"10.0.0.1 null", "10.0.0.2 300"}));
    EXPECT_EQ(rows("set flush", {{"set", "some"}}).at(0)["deleted"], 2);
    EXPECT_TRUE(list().empty());
    EXPECT_EQ(rows("set count").size(), 2u);
    // A list goes on over lines and sets.
    std::string many = "10.1.0.0";
    for (unsigned i = 1; i < 3000; ++i)
        many += ",10.1." + std::to_string(i / 256) + "." + std::to_string(i % 256);
    rows("set load", {{"set", "other"}, {"entries", many}});
    rows("set add", {{"set", "some"}, {"entry", "::1"}});
    EXPECT_EQ(rows("set list").size(), 3001u);
}

TEST_F(CommandsTest, AListThatNobodyReadsKeepsNoContents) {
    std::weak_ptr<LiveSet> set = world_.fw().plan().find_set("other")->set;
    for (unsigned i = 0; i < 50'000; ++i)
        set.lock()->add({Prefix::exact(IpAddr::v4(10, 1, static_cast<std::uint8_t>(i / 256),
                                                  static_cast<std::uint8_t>(i))),
                         kForEver});
    auto fd = connect_unix(server_->path());
    ASSERT_TRUE(fd);
    const std::string line =
        Json{{"v", 1}, {"command", "set list"}, {"args", {{"set", "other"}}}}.dump() + "\n";
    ASSERT_EQ(::send(fd->get(), line.data(), line.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(line.size()));
    for (int turn = 0; turn < 200; ++turn)
        server_->poll(0);  // until its buffer is full
    // Another configuration, without the set.
    ASSERT_TRUE(world_.replace(World::with_two_ports("policy: {rules: []}\n")).ok());
    world_.fw().forget_former_sets();
    for (int turn = 0; turn < 3; ++turn)
        world_.turn();
    world_.fw().reclaim_plans();
    EXPECT_TRUE(set.expired()) << "an open list keeps the set in memory";
    // The rest of the answer: it ends in order, and before the end of the set.
    std::string text;
    for (int turn = 0; text.find("\"end\"") == std::string::npos; ++turn) {
        ASSERT_LT(turn, 10'000) << "no end";
        server_->poll(0);
        char buffer[65536];
        const ssize_t n = ::recv(fd->get(), buffer, sizeof buffer, MSG_DONTWAIT);
        ASSERT_NE(n, 0);
        if (n > 0) text.append(buffer, static_cast<std::size_t>(n));
    }
    const auto rows = std::count(text.begin(), text.end(), '\n') - 1;
    EXPECT_GT(rows, 100);
    EXPECT_LT(rows, 50'000);
}

TEST_F(CommandsTest, ARecheckEndsWhatASetDoesNotHaveAnyMore) {
    const auto text = [](const std::string& rest) {
        return World::with_two_ports(
            "sets: [{name: some, entries: [10.0.0.1]}]\npolicy:\n  rules:\n    - {name: r, src: "
            "some, action: accept" +
            rest + "}\n");
    };
    ASSERT_TRUE(world_.replace(text("")).ok());
    const auto running = [&] { return rows("conntrack count")[0]["connections"].get<int>(); };
    rows("set add", {{"set", "some"}, {"entry", "10.0.0.1"}});
    world_.from_inside(frames::udp(flow("10.0.0.1", 1000, "20.0.0.1", 53), "q"));
    EXPECT_EQ(running(), 1);
    rows("set delete", {{"set", "some"}, {"entry", "10.0.0.1"}});
    for (int turn = 0; turn < 50; ++turn)
        world_.turn();
    EXPECT_EQ(running(), 1);
    rows("set delete", {{"set", "some"}, {"entry", "10.0.0.1"}, {"recheck", true}});
    for (int turn = 0; turn < 50; ++turn)
        world_.turn();
    EXPECT_EQ(running(), 1) << "nothing was deleted";
    rows("set add", {{"set", "some"}, {"entry", "10.0.0.2"}, {"recheck", true}});
    for (int turn = 0; turn < 50; ++turn)
        world_.turn();
    EXPECT_EQ(running(), 0);
}

TEST_F(CommandsTest, EveryMetricHasUnitAndHelp) {
    std::map<std::string, std::string> seen;
    std::set<std::string> groups;
    metrics_.for_each([&](const MetricSample& s) {
        const std::string name(s.desc.name);
        SCOPED_TRACE(name);
        groups.insert(std::string(s.group));
        EXPECT_FALSE(name.empty());
        EXPECT_FALSE(s.desc.help.empty());
        EXPECT_FALSE(to_string(s.desc.unit).empty());
        EXPECT_EQ(s.desc.kind == MetricKind::histogram, s.histogram != nullptr);
        std::string key = std::string(s.group) + " " + name;
        for (const MetricLabel& l : s.labels)
            key += " " + std::string(l.name) + "=" + l.value;
        EXPECT_TRUE(seen.emplace(key, std::string(s.desc.help)).second) << key << " twice";
        // Who says "now" goes up and down.
        if (s.desc.help.ends_with(" now")) {
            EXPECT_EQ(s.desc.kind, MetricKind::gauge);
        }
    });
    EXPECT_EQ(groups, (std::set<std::string>{"control", "drops", "expect", "helper", "port", "rule",
                                             "set", "worker"}));
    EXPECT_EQ(rows("metrics").size(), seen.size());
}

TEST_F(CommandsTest, HelpersMetricsAreThoseOfThePlanInForce) {
    // By helper: how many connections got it, and the names of its metrics.
    std::map<std::string, std::uint64_t> attached;
    std::map<std::string, std::set<std::string>> names;
    const auto look = [&] {
        attached.clear();
        names.clear();
        metrics_.for_each([&](const MetricSample& s) {
            if (s.group != metric_group::helper) return;
            const std::string helper(s.label("helper"));
            names[helper].emplace(s.desc.name);
            if (s.desc.name == "attached") attached[helper] += s.value;
        });
    };
    using Attached = std::map<std::string, std::uint64_t>;
    ASSERT_TRUE(Talk(world_, flow("10.0.0.1", 40000, "20.0.0.1", 21)).open());
    look();
    EXPECT_EQ(attached, (Attached{{"ftp", 1}}));
    EXPECT_TRUE(names["ftp"].contains("pasv_replies"));

    const auto policy = [](const std::string& helpers, const std::string& rule) {
        return World::with_two_ports("helpers: [" + helpers + "]\npolicy:\n  rules:\n    - {" +
                                     rule + ", proto: tcp, action: accept}\n");
    };
    ASSERT_TRUE(world_.replace(policy("", "name: all")));
    look();
    EXPECT_EQ(attached, Attached{});
    EXPECT_TRUE(rows("helper list").empty());
    world_.turn();  // the connection loses its helper
    world_.turn();

    // Another helper gets the number.
    ASSERT_TRUE(world_.replace(policy("{name: rtsp}", "name: rtsp, helper: rtsp")));
    ASSERT_EQ(world_.fw().plan().helpers[0].name, "rtsp");
    look();
    EXPECT_EQ(attached, (Attached{{"rtsp", 0}})) << "before a worker knows of it";
    EXPECT_TRUE(names["rtsp"].contains("setups") && !names["rtsp"].contains("pasv_replies"));
    ASSERT_TRUE(Talk(world_, flow("10.0.0.1", 40001, "20.0.0.1", 554)).open());
    look();
    EXPECT_EQ(attached, (Attached{{"rtsp", 1}}));
    ASSERT_EQ(rows("helper list").size(), 1u);
    EXPECT_EQ(rows("helper list")[0]["attached"], 1u);

    // With other parameters it is the same helper, and goes on counting.
    ASSERT_TRUE(
        world_.replace(policy("{name: rtsp, params: {loose: true}}", "name: rtsp, helper: rtsp")));
    ASSERT_TRUE(Talk(world_, flow("10.0.0.1", 40002, "20.0.0.1", 554)).open());
    look();
    EXPECT_EQ(attached, (Attached{{"rtsp", 2}}));
}

TEST_F(CommandsTest, ViewsAgreeWithTheMetrics) {
    fill();
    world_.from_inside(frames::tcp(flow("10.0.0.1", 1001, "20.0.0.1", 99), {.flags = 0x02}));
    std::map<std::string, std::uint64_t> sums;
    metrics_.for_each([&](const MetricSample& s) {
        sums[std::string(s.group) + " " + std::string(s.desc.name) + " " +
             std::string(s.label("reason"))] += s.value;
    });
    EXPECT_EQ(sums["drops drops policy"], 1u);
    for (const Json& row : rows("drops"))
        EXPECT_EQ(row["packets"], sums["drops drops " + row["reason"].get<std::string>()]) << row;
    std::map<std::string, std::uint64_t> of_stats;
    for (const Json& row : rows("stats"))
        of_stats[row["name"]] += row["value"].get<std::uint64_t>();
    for (const char* name : {"rx_packets", "connections_created", "dropped"})
        EXPECT_GE(of_stats[name], 1u) << name;
    EXPECT_EQ(of_stats["connections"], sums["worker connections "]);
    EXPECT_EQ(of_stats["expectations_created"], sums["expect expectations_created "]);
}

TEST_F(CommandsTest, HistogramsAreCumulative) {
    rows("conntrack list");
    bool found = false;
    for (const Json& row : rows("metrics")) {
        if (row["kind"] != "histogram") continue;
        found = true;
        EXPECT_EQ(row["buckets"].back()["count"], row["value"]);
        EXPECT_TRUE(row["buckets"].back()["below"].is_null());
        EXPECT_EQ(row["buckets"][0]["below"], 1);
    }
    EXPECT_TRUE(found);
}

TEST(HistogramTest, CountsByPowersOfTwo) {
    Histogram h;
    for (const std::uint64_t v : {0u, 1u, 2u, 3u, 4u})
        h.add(v);
    h.add(~std::uint64_t{0});
    EXPECT_EQ(h.bucket(0), 1u);  // below 1
    EXPECT_EQ(h.bucket(1), 1u);  // below 2
    EXPECT_EQ(h.bucket(2), 2u);
    EXPECT_EQ(h.bucket(3), 1u);
    EXPECT_EQ(h.bucket(Histogram::kBuckets - 1), 1u);
    EXPECT_EQ(h.count(), 6u);
    EXPECT_EQ(h.sum(), 9u);  // 10 and the largest number there is
}

}  // namespace
}  // namespace postern
