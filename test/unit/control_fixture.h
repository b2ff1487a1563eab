// SPDX-License-Identifier: BSD-3-Clause
// The control server in one process with its clients: everything runs on this thread, so each test
// decides who acts when. Only posternctl, a program, runs beside it.
#pragma once

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "control/client.h"
#include "control/server.h"

namespace postern {

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

inline constexpr std::uint64_t kEndless = ~0ull;

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
    void serve_all() {
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
        register_rows("conntrack list",
                      {{{"proto", "tcp"},
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
                        {"generation", 2},
                        {"id", "1/3.2"}}},
                      {{"SOURCE", {"src", "sport"}, CellForm::endpoint},
                       {"DESTINATION", {"dst", "dport"}, CellForm::endpoint},
                       {"PACKETS", {"packets_original", "packets_reply"}, CellForm::pair, true},
                       {"ID", {"id"}}});
        register_rows("conntrack count", {{{"worker", 0}, {"connections", 12}}});
        register_rows("expect list", {});
        register_rows("drops",
                      {{{"reason", "policy"}, {"help", "dropped"}, {"packets", 5}},
                       {{"reason", "x"}, {"help", "else"}, {"packets", 12345}}},
                      {{"REASON", {"reason"}},
                       {"PACKETS", {"packets"}, CellForm::value, true},
                       {"HELP", {"help"}}});
        server_->register_command({"stats", "", {}, [this](const Json&) {
                                       return std::unique_ptr<RowSource>(
                                           new Numbers(watch_, kEndless, 0));
                                   }});
    }
    void register_rows(const char* name, std::vector<Json> rows, std::vector<Column> columns = {}) {
        Command command{name, "", {}, [rows](const Json&) { return rows_of(rows); }};
        command.columns = std::move(columns);
        server_->register_command(std::move(command));
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

}  // namespace postern
