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
#include <iterator>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "control_fixture.h"

namespace postern {
namespace {

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
         {R"({})", R"({"word":1})", R"({"word":"x","times":"2x"})", R"({"word":"x","times":""})",
          R"({"word":"x","times":1.5})", R"({"word":"x","else":1})", R"({"word":"bad"})"})
        EXPECT_EQ(code(ask(std::string(R"({"v":1,"command":"echo","args":)") + args + "}\n")),
                  "bad_args")
            << args;
}

TEST_F(ControlTest, TextsTakeTheTypeOfTheirArgument) {
    start();
    const auto rows = ask(R"({"v":1,"command":"echo","args":{"word":"007","times":"2"}})"
                          "\n");
    ASSERT_EQ(rows.size(), 3u);
    EXPECT_EQ(rows[0]["row"]["word"], "007");
    EXPECT_EQ(rows[0]["row"]["times"], 2);
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
        serve_all();
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
    serve_all();
    const std::uint64_t stopped_at = watch_.pulled;
    EXPECT_GT(stopped_at, 0u);
    // Rows of some 120 bytes: the server's buffer plus what the kernel takes.
    EXPECT_LT(stopped_at, 20'000u);
    serve_all();
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
        serve_all();
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
        serve_all();
        EXPECT_TRUE(closed(fd));
        EXPECT_EQ(server_->clients(), 0u);
    }
    UniqueFd fd = dial();  // ... but half a request is none, also behind a whole one
    put(fd, request("many") + R"({"v":1,"command":"three"})");
    ::shutdown(fd.get(), SHUT_WR);
    EXPECT_EQ(code(answer(fd, 2)), "bad_request");
    serve_all();
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
        serve_all();
    }
    EXPECT_EQ(server_->clients(), 64u);
    EXPECT_EQ(code(answer(fds.back())), "busy");
    EXPECT_TRUE(closed(fds.back()));
    put(fds[0], request("three"));
    EXPECT_EQ(answer(fds[0]).size(), 4u);
    fds.clear();
    serve_all();
    EXPECT_EQ(ask(request("three")).size(), 4u);
}

TEST_F(ControlTest, StuckClientMakesPlaceWhenAllAreTaken) {
    ControlOptions options;
    options.max_clients = 2;
    options.stuck_after_ms = 0;
    start(options);
    UniqueFd first = dial();
    put(first, request("endless"));
    serve_all();
    UniqueFd second = dial();
    serve_all();
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

TEST_F(ControlTest, ErrorsSuggestAndList) {
    start();
    const auto message = [this](const std::string& line) {
        const auto lines = ask(line + "\n");
        return lines.back().contains("error") ? lines.back()["error"]["message"].get<std::string>()
                                              : "(no error)";
    };
    EXPECT_EQ(message(R"({"v":1,"command":"ehco"})"),
              "there is no command 'ehco', did you mean 'echo'?; 'help' lists them");
    EXPECT_EQ(message(R"({"v":1,"command":"echo","args":{"wrod":"x"}})"),
              "'echo' has no argument 'wrod', did you mean 'word'? (it has: word, times)");
    EXPECT_EQ(message(R"({"v":1,"command":"three","args":{"n":1}})"),
              "'three' has no argument 'n' (it has none)");
    EXPECT_EQ(message(R"({"v":1,"command":"echo","args":{"word":"a","times":1,"word":"b"}})"),
              "argument 'word' is given more than once");
    EXPECT_EQ(message(R"({"v":1,"command":"complete","args":{"command":"echo","argument":"x"}})"),
              "argument: the command has no such argument");
}

TEST_F(ControlTest, CountsWhatItDoes) {
    start();
    ask(request("three"));
    ask(request("nothing"));
    const ControlCounters& c = server_->counters();
    EXPECT_EQ(c.control_requests.get(), 2u);
    EXPECT_EQ(c.control_rows.get(), 3u);
    EXPECT_EQ(c.control_errors.get(), 1u);
    EXPECT_GT(c.control_turn.count(), 0u);
}

TEST_F(ControlTest, ReadersTakeNobodysPlaces) {
    ControlOptions options;
    options.max_clients = 2;
    options.read_path = dir_ / "read/read.sock";
    start(options);
    std::vector<UniqueFd> readers;
    for (int i = 0; i < 8; ++i) {
        auto fd = connect_unix(options.read_path);
        ASSERT_TRUE(fd);
        readers.push_back(std::move(*fd));
        serve_all();
    }
    EXPECT_EQ(server_->clients(), 2u);
    EXPECT_EQ(server_->counters().control_clients_refused.get(), 6u);
    EXPECT_EQ(ask(request("three")).size(), 4u);
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

TEST_F(ControlTest, AStoppedDaemonWithAFullBacklogHoldsUpNoClient) {
    const std::string path = dir_ / "full.sock";
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    const UniqueFd listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    ASSERT_EQ(::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address),
              0);
    ASSERT_EQ(::listen(listener.get(), 0), 0);
    std::vector<UniqueFd> waiting;
    std::string why;
    while (why.empty() && waiting.size() < 8) {
        auto fd = connect_unix(path, 1);
        if (fd)
            waiting.push_back(std::move(*fd));
        else
            why = fd.error().message;
    }
    EXPECT_NE(why.find("accepted no connection within 1 s"), std::string::npos) << why;
}

TEST_F(ControlTest, DirectoriesAreMadeForUsOnly) {
    const mode_t before = ::umask(0);
    const auto listener = ListeningSocket::claim(dir_ / "a/b/sock");
    ::umask(before);
    ASSERT_TRUE(listener) << listener.error().message;
    for (const char* made : {"a", "a/b"}) {
        struct stat st {};
        ASSERT_EQ(::stat((dir_ / made).c_str(), &st), 0);
        EXPECT_EQ(st.st_mode & 07777, 0700u) << made;
    }
}

TEST_F(ControlTest, DirectoriesThatOthersMayWriteToAreRefused) {
    fs::create_directory(dir_ / "d");
    const auto claim = [&](mode_t mode) {
        EXPECT_EQ(::chmod((dir_ / "d").c_str(), mode), 0);
        const auto listener = ListeningSocket::claim(dir_ / "d/sock");
        return listener ? std::string("(claimed)") : listener.error().message;
    };
    for (const mode_t mode : {0777u, 01777u, 0722u, 0720u, 0702u})
        EXPECT_NE(claim(mode).find("can be written to by others"), std::string::npos) << mode;
    for (const mode_t mode : {0700u, 0711u, 0755u, 0750u})
        EXPECT_EQ(claim(mode), "(claimed)") << mode;
    if (::geteuid() == 0) {
        ASSERT_EQ(::chown((dir_ / "d").c_str(), 65534, 65534), 0);
        EXPECT_NE(claim(0700).find("belongs to another user (uid 65534)"), std::string::npos);
    }
}

TEST_F(ControlTest, LockedDirectoryKeepsNobodyWaiting) {
    // As everyone can who may read the directory.
    const UniqueFd held(::open((dir_ / "").c_str(), O_RDONLY | O_DIRECTORY));
    ASSERT_EQ(::flock(held.get(), LOCK_EX), 0);
    start();
    EXPECT_EQ(ask(request("three")).size(), 4u);
    const std::string path = server_->path();
    server_.reset();
    EXPECT_FALSE(fs::exists(path));
    EXPECT_FALSE(fs::exists(path + ".lock"));
}

TEST_F(ControlTest, LockFilesAreOursOrRefused) {
    const std::string path = dir_ / "sock", lock = path + ".lock";
    const auto claim = [&] {
        const auto listener = ListeningSocket::claim(path);
        return listener ? std::string("(claimed)") : listener.error().message;
    };
    {  // a daemon died while it held the lock
        const UniqueFd left(::open(lock.c_str(), O_RDWR | O_CREAT, 0600));
        ASSERT_TRUE(left);
    }
    EXPECT_EQ(claim(), "(claimed)");
    EXPECT_FALSE(fs::exists(lock));
    {  // and one that hangs while it holds it
        const UniqueFd held(::open(lock.c_str(), O_RDWR | O_CREAT, 0600));
        ASSERT_EQ(::flock(held.get(), LOCK_EX), 0);
        EXPECT_NE(claim().find("another process has held the lock"), std::string::npos);
    }
    ASSERT_EQ(::chmod(lock.c_str(), 0644), 0);
    EXPECT_NE(claim().find("is not a file of ours"), std::string::npos);
    fs::remove(lock);
    std::ofstream(dir_ / "target") << "x";
    fs::create_symlink(dir_ / "target", lock);
    EXPECT_NE(claim().find("cannot make the lock"), std::string::npos);
    EXPECT_TRUE(fs::exists(dir_ / "target"));
    fs::remove(lock);
    ASSERT_EQ(::mkfifo(lock.c_str(), 0600), 0);
    EXPECT_NE(claim().find("is not a file of ours"), std::string::npos);
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

}  // namespace
}  // namespace postern
