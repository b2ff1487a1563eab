// SPDX-License-Identifier: BSD-3-Clause
// The control server in one process with its clients: everything runs on this thread, so each test
// decides who acts when. Only posternctl, a program, runs beside it.
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "control/client.h"
#include "control/server.h"

namespace postern {
namespace {

namespace fs = std::filesystem;

class TempDir {
  public:
    TempDir() {
        std::string name = (fs::temp_directory_path() / "postern-control-XXXXXX").string();
        path_ = ::mkdtemp(name.data());
    }
    ~TempDir() { fs::remove_all(path_); }
    std::string operator/(const char* name) const { return (path_ / name).string(); }

  private:
    fs::path path_;
};

/// Counts how many rows were asked for and how many sources live.
struct Watch {
    std::uint64_t pulled = 0;
    int alive = 0;
};

class Numbers : public RowSource {
  public:
    Numbers(Watch& watch, std::uint64_t n, std::uint64_t pending_before_each)
        : watch_(watch), n_(n), pending_(pending_before_each) {
        ++watch_.alive;
    }
    ~Numbers() override { --watch_.alive; }
    Pull next(Json& row) override {
        if (pending_ != 0 && waited_++ % (pending_ + 1) != pending_) return Pull::pending;
        if (at_ == n_) return Pull::done;
        ++watch_.pulled;
        row["n"] = at_++;
        row["text"] = std::string(100, 'x');
        return Pull::row;
    }

  private:
    Watch& watch_;
    std::uint64_t n_;
    std::uint64_t pending_;
    std::uint64_t waited_ = 0;
    std::uint64_t at_ = 0;
};

class Failing : public RowSource {
  public:
    Pull next(Json& row) override {
        if (++calls_ == 3) throw std::runtime_error("the worker is gone");
        row["n"] = calls_;
        return Pull::row;
    }

  private:
    int calls_ = 0;
};

constexpr std::uint64_t kEndless = ~0ull;

class ControlTest : public ::testing::Test {
  protected:
    void start(ControlOptions options = {}) {
        options.path = dir_ / "run/control.sock";
        auto server = ControlServer::open(options);
        ASSERT_TRUE(server) << server.error().message;
        server_ = std::move(*server);
        auto number_command = [this](const char* name, std::uint64_t n, std::uint64_t pending) {
            server_->register_command({name, "", {}, [=, this](const Json&) {
                                           return std::unique_ptr<RowSource>(
                                               new Numbers(watch_, n, pending));
                                       }});
        };
        number_command("three", 3, 0);
        number_command("late", 3, 2);
        number_command("many", 20'000, 0);
        number_command("endless", kEndless, 0);
        number_command("trickle", kEndless, 1);
        number_command("silent", kEndless, kEndless - 1);
        server_->register_command({"failing", "", {}, [](const Json&) {
                                       return std::unique_ptr<RowSource>(new Failing);
                                   }});
        server_->register_command(
            {"echo",
             "",
             {{"word", ArgType::string, true, ""}, {"times", ArgType::integer, false, ""}},
             [](const Json& args) -> Result<std::unique_ptr<RowSource>> {
                 if (args["word"] == "bad") return Error{"that word is not allowed"};
                 return rows_of(std::vector<Json>(args.value("times", 1u), args));
             }});
    }

    /// A raw, non-blocking client.
    UniqueFd dial() {
        auto fd = connect_unix(server_->path());
        EXPECT_TRUE(fd) << fd.error().message;
        ::fcntl(fd->get(), F_SETFL, O_NONBLOCK);
        return std::move(*fd);
    }
    static ssize_t put(const UniqueFd& fd, std::string_view text) {
        return ::send(fd.get(), text.data(), text.size(), MSG_NOSIGNAL);
    }
    static std::string request(std::string_view command) {
        return Json{{"v", 1}, {"command", command}}.dump() + "\n";
    }

    /// Serves until the client has an answer's last line, or the connection is closed.
    std::vector<Json> answer(const UniqueFd& fd, unsigned answers = 1) {
        std::string text;
        std::vector<Json> lines;
        for (int idle = 0; idle < 1000;) {
            if (!server_->poll(1)) ++idle;
            char buffer[65536];
            const ssize_t n = ::recv(fd.get(), buffer, sizeof buffer, 0);
            if (n == 0 || (n < 0 && errno != EAGAIN)) break;
            if (n < 0) continue;
            text.append(buffer, static_cast<std::size_t>(n));
            std::size_t end;
            while ((end = text.find('\n')) != std::string::npos) {
                lines.push_back(Json::parse(text.substr(0, end)));
                text.erase(0, end + 1);
                if (!lines.back().contains("row") && --answers == 0) return lines;
            }
        }
        return lines;
    }
    std::vector<Json> ask(std::string_view line) {
        UniqueFd fd = dial();
        EXPECT_EQ(put(fd, line), static_cast<ssize_t>(line.size()));
        return answer(fd);
    }
    static std::string code(const std::vector<Json>& lines) {
        if (lines.empty() || !lines.back().contains("error")) return "(no error)";
        EXPECT_FALSE(lines.back()["error"]["message"].get<std::string>().empty());
        return lines.back()["error"]["code"].get<std::string>();
    }
    /// Serves until nothing happens any more.
    void settle() {
        for (int i = 0; i < 100'000 && server_->poll(0); ++i) {
        }
    }
    static bool closed(const UniqueFd& fd) {
        char byte;
        const ssize_t n = ::recv(fd.get(), &byte, 1, MSG_PEEK);
        return n == 0 || (n < 0 && errno != EAGAIN);
    }

    TempDir dir_;
    Watch watch_;
    std::unique_ptr<ControlServer> server_;
};

TEST_F(ControlTest, RowsThenEnd) {
    start();
    const auto lines = ask(request("three"));
    ASSERT_EQ(lines.size(), 4u);
    EXPECT_EQ(lines[2]["row"]["n"], 2);
    EXPECT_EQ(lines[3].dump(), R"({"end":{"ok":true,"rows":3}})");
    EXPECT_EQ(watch_.alive, 0);
}

TEST_F(ControlTest, PendingSourceIsAskedAgain) {
    start();
    EXPECT_EQ(ask(request("late")).size(), 4u);
}

TEST_F(ControlTest, LongListArrivesWholeAndInOrder) {
    start();
    const auto lines = ask(request("many"));
    ASSERT_EQ(lines.size(), 20'001u);
    for (std::size_t i = 0; i < 20'000; ++i)
        ASSERT_EQ(lines[i]["row"]["n"], i);
}

TEST_F(ControlTest, SourceThatThrowsEndsItsAnswerOnly) {
    start();
    UniqueFd fd = dial();
    put(fd, request("failing") + request("three"));
    const auto lines = answer(fd, 2);
    ASSERT_EQ(lines.size(), 2u + 1 + 4);
    EXPECT_EQ(lines[2]["error"]["code"], "internal");
    EXPECT_EQ(lines[2]["error"]["message"], "the worker is gone");
}

TEST_F(ControlTest, ArgumentsAreCheckedBeforeTheHandler) {
    start();
    const auto good = ask(R"({"v":1,"command":"echo","args":{"word":"a\u00e4","times":2}})"
                          "\n");
    ASSERT_EQ(good.size(), 3u);
    EXPECT_EQ(good[0]["row"]["word"], "a\u00e4");
    for (const char* args :
         {R"({})", R"({"word":1})", R"({"word":"x","times":"2"})", R"({"word":"x","times":1.5})",
          R"({"word":"x","else":1})", R"({"word":"bad"})"})
        EXPECT_EQ(code(ask(std::string(R"({"v":1,"command":"echo","args":)") + args + "}\n")),
                  "bad_args")
            << args;
}

TEST_F(ControlTest, GarbageGetsAReasonAndTheConnectionLivesOn) {
    start();
    const std::pair<const char*, const char*> kBad[] = {
        {"hello", "bad_request"},
        {"[]", "bad_request"},
        {"{\"v\":1", "bad_request"},
        {"{\"v\":1,\"command\":\"three\"} x", "bad_request"},
        {"\xff\xfe\x80", "bad_request"},
        {"{\"command\":\"three\"}", "bad_version"},
        {"{\"v\":2,\"command\":\"three\"}", "bad_version"},
        {"{\"v\":\"1\",\"command\":\"three\"}", "bad_version"},
        {"{\"v\":1}", "bad_request"},
        {"{\"v\":1,\"command\":7}", "bad_request"},
        {"{\"v\":1,\"command\":\"three\",\"args\":[]}", "bad_request"},
        {"{\"v\":1,\"command\":\"three\",\"extra\":1}", "bad_request"},
        {"{\"v\":1,\"command\":\"thre\"}", "unknown_command"},
        {"{\"v\":1,\"command\":\"\"}", "unknown_command"},
    };
    UniqueFd fd = dial();
    for (const auto& [line, expected] : kBad) {
        put(fd, std::string(line) + "\n");
        EXPECT_EQ(code(answer(fd)), expected) << line;
    }
    put(fd, std::string("\0\n", 2));
    EXPECT_EQ(code(answer(fd)), "bad_request");
    put(fd, std::string(60'000, '[') + "\n");
    EXPECT_EQ(code(answer(fd)), "bad_request");
    const std::string open(30'000, '['), close(30'000, ']');
    put(fd, R"({"v":1,"command":"three","args":{"a":)" + open + close + "}}\n");
    EXPECT_EQ(code(answer(fd)), "bad_args");
    put(fd, "\n  \r\n" + request("three"));
    EXPECT_EQ(answer(fd).size(), 4u);
}

TEST_F(ControlTest, FloodOfSmallRequestsCostsBoundedMemory) {
    ControlOptions options;
    options.output_buffer_bytes = 4096;
    start(options);
    UniqueFd fd = dial();
    std::string garbage;
    for (int i = 0; i < 16 * 1024; ++i)
        garbage += "xyz\n";
    // Never reads: the server must stop reading too, after its buffers and the kernel's are full.
    std::size_t sent = 0;
    for (int i = 0; i < 2000; ++i) {
        const ssize_t n = put(fd, garbage);
        settle();
        if (n <= 0) break;
        sent += static_cast<std::size_t>(n);
    }
    EXPECT_LT(sent, 4u << 20);
    EXPECT_EQ(ask(request("three")).size(), 4u);
}

TEST_F(ControlTest, LineWithoutEndIsRefusedAndDropped) {
    start();
    UniqueFd fd = dial();
    const std::string chunk(100'000, 'a');
    std::size_t sent = 0;
    for (int i = 0; i < 10'000; ++i) {  // would be 1 GB
        const ssize_t n = put(fd, chunk);
        if (n > 0) sent += static_cast<std::size_t>(n);
        server_->poll(0);
        if (n < 0 && errno != EAGAIN) break;
    }
    EXPECT_LT(sent, 2u << 20);
    EXPECT_EQ(code(answer(fd)), "line_too_long");
    EXPECT_TRUE(closed(fd));
    EXPECT_EQ(server_->clients(), 0u);
}

TEST_F(ControlTest, LongestAllowedLineIsTaken) {
    ControlOptions options;
    options.max_line_bytes = 100;
    start(options);
    std::string line = request("three");
    line.insert(line.size() - 1, 100 - (line.size() - 1), ' ');
    EXPECT_EQ(ask(line).size(), 4u);
    line.insert(line.size() - 1, 1, ' ');
    EXPECT_EQ(code(ask(line)), "line_too_long");
}

TEST_F(ControlTest, ClientThatNeverReadsStopsItsSourceAndNobodyElse) {
    start();
    UniqueFd slow = dial();
    put(slow, request("endless"));
    settle();
    const std::uint64_t stopped_at = watch_.pulled;
    EXPECT_GT(stopped_at, 0u);
    // Rows of some 120 bytes: the server's buffer plus what the kernel takes.
    EXPECT_LT(stopped_at, 20'000u);
    settle();
    EXPECT_EQ(watch_.pulled, stopped_at);
    EXPECT_FALSE(server_->poll(0)) << "an idle server must sleep";
    for (int i = 0; i < 3; ++i)
        EXPECT_EQ(ask(request("many")).size(), 20'001u);
    // It wakes up, and finds its list where it left it.
    char buffer[65536];
    std::string text;
    while (watch_.pulled < stopped_at + 20'000u * 3 + 1000) {
        const ssize_t n = ::recv(slow.get(), buffer, sizeof buffer, 0);
        if (n > 0 && text.size() < 1'000'000) text.append(buffer, static_cast<std::size_t>(n));
        server_->poll(0);
    }
    for (std::uint64_t n = 0, at = 0; n < 1000; ++n) {
        const std::size_t end = text.find('\n', at);
        ASSERT_NE(end, std::string::npos);
        ASSERT_EQ(Json::parse(text.substr(at, end - at))["row"]["n"], n);
        at = end + 1;
    }
}

TEST_F(ControlTest, ClientThatNeverReadsStopsATricklingSourceToo) {
    start();
    UniqueFd slow = dial();
    put(slow, request("trickle"));
    for (int i = 0; i < 100'000; ++i)
        server_->poll(0);
    EXPECT_GT(watch_.pulled, 100u);
    EXPECT_LT(watch_.pulled, 20'000u);
}

TEST_F(ControlTest, ClientThatDiesInMidListFreesItsSource) {
    start();
    for (const char* command : {"endless", "silent"}) {
        UniqueFd fd = dial();
        put(fd, request(command));
        settle();
        server_->poll(5);
        EXPECT_EQ(watch_.alive, 1) << command;
        fd.reset();
        for (int i = 0; i < 1000 && server_->clients() != 0; ++i)
            server_->poll(1);
        EXPECT_EQ(watch_.alive, 0) << command;
        EXPECT_EQ(server_->clients(), 0u);
    }
}

TEST_F(ControlTest, ClientMayShutItsSendingSideBeforeTheAnswer) {
    start();
    for (const char* command : {"many", "late"}) {
        UniqueFd fd = dial();
        put(fd, request(command));
        ::shutdown(fd.get(), SHUT_WR);
        EXPECT_TRUE(answer(fd).back().contains("end")) << command;
        settle();
        EXPECT_TRUE(closed(fd));
        EXPECT_EQ(server_->clients(), 0u);
    }
    UniqueFd fd = dial();  // ... but half a request is none, also behind a whole one
    put(fd, request("many") + R"({"v":1,"command":"three"})");
    ::shutdown(fd.get(), SHUT_WR);
    EXPECT_EQ(code(answer(fd, 2)), "bad_request");
    settle();
    EXPECT_EQ(server_->clients(), 0u);
}

TEST_F(ControlTest, RequestsBackToBackAreAnsweredInOrder) {
    start();
    UniqueFd fd = dial();
    std::string all;
    for (int i = 0; i < 100; ++i)
        all += R"({"v":1,"command":"echo","args":{"word":")" + std::to_string(i) + "\"}}\n";
    for (const char c : all) {  // a byte at a time
        put(fd, std::string_view(&c, 1));
        if (c == '"') server_->poll(0);
    }
    const auto lines = answer(fd, 100);
    ASSERT_EQ(lines.size(), 200u);
    for (std::size_t i = 0; i < 100; ++i)
        EXPECT_EQ(lines[2 * i]["row"]["word"], std::to_string(i));
}

TEST_F(ControlTest, ThousandConnectionsCostOnlyTheLimit) {
    start();
    std::vector<UniqueFd> fds;
    for (int i = 0; i < 900; ++i) {
        fds.push_back(dial());
        settle();
    }
    EXPECT_EQ(server_->clients(), 64u);
    EXPECT_EQ(code(answer(fds.back())), "busy");
    EXPECT_TRUE(closed(fds.back()));
    put(fds[0], request("three"));
    EXPECT_EQ(answer(fds[0]).size(), 4u);
    fds.clear();
    settle();
    EXPECT_EQ(ask(request("three")).size(), 4u);
}

TEST_F(ControlTest, StuckClientMakesPlaceWhenAllAreTaken) {
    ControlOptions options;
    options.max_clients = 2;
    options.stuck_after_ms = 0;
    start(options);
    UniqueFd first = dial();
    put(first, request("endless"));
    settle();
    UniqueFd second = dial();
    settle();
    EXPECT_EQ(server_->clients(), 2u);
    EXPECT_EQ(ask(request("three")).size(), 4u);
    EXPECT_EQ(watch_.alive, 0) << "the one that has not moved for longest goes";
    EXPECT_FALSE(closed(second));
}

TEST_F(ControlTest, RunningOutOfDescriptorsDoesNotSpin) {
    start();
    std::vector<UniqueFd> clients;
    for (int i = 0; i < 3; ++i)
        clients.push_back(dial());
    std::vector<UniqueFd> hoard;
    rlimit old{};
    ::getrlimit(RLIMIT_NOFILE, &old);
    const rlimit small{256, old.rlim_max};
    ::setrlimit(RLIMIT_NOFILE, &small);
    for (;;) {
        UniqueFd fd(::open("/dev/null", O_RDONLY));
        if (!fd) break;
        hoard.push_back(std::move(fd));
    }
    server_->poll(0);
    EXPECT_FALSE(server_->poll(0));
    EXPECT_EQ(server_->clients(), 0u);
    EXPECT_TRUE(closed(clients[0]));
    hoard.clear();
    ::setrlimit(RLIMIT_NOFILE, &old);
    EXPECT_EQ(ask(request("three")).size(), 4u);
}

TEST_F(ControlTest, WatchedDescriptorIsCalled) {
    start();
    int ends[2];
    ASSERT_EQ(::pipe(ends), 0);
    const UniqueFd reader(ends[0]);
    const UniqueFd writer(ends[1]);
    int calls = 0;
    ASSERT_TRUE(server_->watch(reader.get(), [&] {
        char byte;
        EXPECT_EQ(::read(reader.get(), &byte, 1), 1);
        ++calls;
    }));
    EXPECT_FALSE(server_->poll(0));
    ASSERT_EQ(::write(writer.get(), "x", 1), 1);
    EXPECT_TRUE(server_->poll(-1));
    EXPECT_EQ(calls, 1);
}

TEST_F(ControlTest, HelpListsCommandsAndArguments) {
    start();
    bool found = false;
    for (const Json& line : ask(request("help")))
        if (line.contains("row") && line["row"]["command"] == "echo") {
            found = true;
            EXPECT_EQ(line["row"]["args"][1]["type"], "integer");
        }
    EXPECT_TRUE(found);
}

// ---- the client ----

TEST_F(ControlTest, ClientTellsRefusalFromLoss) {
    const auto listener = ListeningSocket::claim(dir_ / "sock");
    ASSERT_TRUE(listener);
    using Kind = Reply::Kind;
    const std::tuple<const char*, Kind, const char*> kEndings[] = {
        {"{\"end\":{\"ok\":true,\"rows\":1}}\n", Kind::end, ""},
        {"{\"error\":{\"message\":\"no\",\"code\":\"busy\"}}\n", Kind::error, "no"},
        {"{\"error\":{}}\n", Kind::error, "(no reason given)"},
        {"", Kind::lost, "the daemon closed the connection before the answer was complete"},
        {"{\"row\":{", Kind::lost,
         "the daemon closed the connection before the answer was complete"},
        {"HTTP/1.1 400\n", Kind::lost, "the daemon's answer makes no sense (another version?)"},
    };
    for (const auto& [ending, kind, text] : kEndings) {
        auto client = ControlClient::connect(listener.value().path());
        ASSERT_TRUE(client);
        {
            const UniqueFd daemon(::accept(listener.value().fd(), nullptr, nullptr));
            put(daemon, std::string("{\"row\":{\"a\":{}}}\n") + ending);
        }
        client->ask("x");  // the daemon is gone already: no signal, no error yet
        Reply reply = client->next();
        EXPECT_EQ(reply.kind, Kind::row);
        EXPECT_EQ(reply.text, "{\"a\":{}}");
        reply = client->next();
        EXPECT_EQ(reply.kind, kind) << ending;
        EXPECT_EQ(reply.text, text) << ending;
    }
}

// ---- the socket file ----

TEST_F(ControlTest, SocketIsPrivateAndRemovedAtTheEnd) {
    start();
    const std::string path = server_->path();
    struct stat st {};
    ASSERT_EQ(::stat(path.c_str(), &st), 0);
    EXPECT_EQ(st.st_mode & 07777, 0600u);
    server_.reset();
    EXPECT_FALSE(fs::exists(path));
}

TEST_F(ControlTest, LiveSocketIsLeftAlone) {
    start();
    ControlOptions options;
    options.path = server_->path();
    const auto second = ControlServer::open(options);
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().message, "another daemon answers on '" + server_->path() + "'");
    EXPECT_EQ(ask(request("three")).size(), 4u);
}

TEST_F(ControlTest, StaleSocketIsReplaced) {
    fs::create_directory(dir_ / "run");
    const std::string path = dir_ / "run/control.sock";
    {
        const UniqueFd dead(::socket(AF_UNIX, SOCK_STREAM, 0));
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        std::strcpy(address.sun_path, path.c_str());
        ASSERT_EQ(::bind(dead.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
        ASSERT_EQ(::listen(dead.get(), 1), 0);
    }
    ASSERT_TRUE(fs::exists(path));
    start();
    EXPECT_EQ(ask(request("three")).size(), 4u);
}

TEST_F(ControlTest, AnotherDaemonsSocketIsNotRemoved) {
    start();
    const std::string path = server_->path();
    fs::rename(path, path + ".old");  // someone moved ours away and made their own
    ControlOptions options;
    options.path = path;
    auto second = ControlServer::open(options);
    ASSERT_TRUE(second);
    server_.reset();
    EXPECT_TRUE(fs::exists(path));
    EXPECT_TRUE(connect_unix(path));
}

TEST_F(ControlTest, PathsThatCannotBeAreToldApart) {
    auto message = [](const std::string& path) {
        ControlOptions options;
        options.path = path;
        const auto server = ControlServer::open(options);
        return server ? std::string("(opened)") : server.error().message;
    };
    EXPECT_NE(message(dir_ / std::string(120, 'x').c_str()).find("too long"), std::string::npos);
    EXPECT_NE(message("").find("empty"), std::string::npos);
    std::ofstream(dir_ / "file") << "x";
    EXPECT_NE(message(dir_ / "file").find("not a socket"), std::string::npos);
    EXPECT_NE(message(dir_ / "file/x/sock").find("cannot create"), std::string::npos);
    EXPECT_TRUE(fs::exists(dir_ / "file"));
}

// ---- posternctl, the program ----

struct Outcome {
    int status;  ///< exit code, or 1000 + signal
    std::string out;
};

class PosternctlTest : public ControlTest {
  protected:
    static const char* program() { return std::getenv("POSTERNCTL"); }

    void SetUp() override {
        if (program() == nullptr) GTEST_SKIP() << "POSTERNCTL does not name the program";
        start();
        register_rows("conntrack list", {{{"proto", "tcp"},
                                          {"src", "192.0.2.1"},
                                          {"sport", 1024},
                                          {"dst", "2001:db8::9"},
                                          {"dport", 21},
                                          {"state", "established"},
                                          {"proto_state", nullptr},
                                          {"packets_original", 7},
                                          {"packets_reply", 5},
                                          {"worker", 1},
                                          {"index", 3},
                                          {"generation", 2}}});
        register_rows("conntrack count", {{{"worker", 0}, {"connections", 12}}});
        register_rows("expect list", {});
        register_rows("drops", {{{"reason", "policy"}, {"help", "dropped"}, {"packets", 5}},
                                {{"reason", "x"}, {"help", "else"}, {"packets", 12345}}});
        server_->register_command({"stats", "", {}, [this](const Json&) {
                                       return std::unique_ptr<RowSource>(
                                           new Numbers(watch_, kEndless, 0));
                                   }});
    }
    void register_rows(const char* command, std::vector<Json> rows) {
        server_->register_command({command, "", {}, [rows](const Json&) { return rows_of(rows); }});
    }
    /// Runs a shell line in which $P is the program with its socket, while the server serves.
    Outcome shell(const std::string& line) {
        Outcome outcome{};
        std::atomic<bool> over = false;
        std::thread runner([&] {
            const std::string full =
                "P='" + std::string(program()) + " -s " + server_->path() + "'; exec 2>&1; " + line;
            std::FILE* pipe = ::popen(("exec bash -c '" + quoted(full) + "'").c_str(), "r");
            char buffer[4096];
            std::size_t n;
            while ((n = std::fread(buffer, 1, sizeof buffer, pipe)) > 0)
                outcome.out.append(buffer, n);
            const int status = ::pclose(pipe);
            outcome.status = WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
            over = true;  // seq_cst: with the load below, orders `outcome`
        });
        while (!over)
            server_->poll(5);
        runner.join();
        return outcome;
    }
    static std::string quoted(const std::string& text) {
        std::string all;
        for (const char c : text)
            all += c == '\'' ? std::string("'\\''") : std::string(1, c);
        return all;
    }
};

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
    out = shell("$P expect list").out;
    EXPECT_EQ(out.substr(0, 6), "HELPER");
}

TEST_F(PosternctlTest, PrintsJsonLines) {
    EXPECT_EQ(shell("$P --json drops").out,
              "{\"reason\":\"policy\",\"help\":\"dropped\",\"packets\":5}\n"
              "{\"reason\":\"x\",\"help\":\"else\",\"packets\":12345}\n");
    EXPECT_EQ(shell("$P drops --json | wc -l").out, "2\n");
    EXPECT_EQ(shell("$P expect list --json").out, "");
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
