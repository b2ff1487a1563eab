// SPDX-License-Identifier: BSD-3-Clause
// Whole files that are restored: from their bytes, and at the start of a daemon.
#include "file_restorer.h"

#include <filesystem>
#include <fstream>
#include <sstream>

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "save_stream.h"
#include "state_start.h"
#include "world.h"

namespace postern {
namespace {

namespace fs = std::filesystem;

constexpr const char* kLimits = "connections: 4096, expectations: 256, helped_connections: 64";
std::string config(const std::string& names, const std::string& rule) {
    return "zones: " + names +
           "\nports:\n"
           "  - {name: a, device: net_null0, zone: inside}\n"
           "  - {name: b, device: net_null1, zone: outside}\n"
           "bridges: [{ports: [a, b]}]\n"
           "limits: {" +
           kLimits +
           "}\nhelpers: [{name: ftp}]\n"
           "policy: {rules: [{name: ftp, from: inside, proto: tcp, dport: 21, ct: [new], action: "
           "accept, helper: ftp}, {name: data, ct: [related], action: accept}, {name: " +
           rule + ", from: inside, ct: [new], action: accept}]}\n";
}
const std::string kZones = "[inside, outside]";

class Files : public ::testing::Test {
  protected:
    Files() {
        std::string name = (fs::temp_directory_path() / "postern-state-XXXXXX").string();
        folder_ = ::mkdtemp(name.data());
    }
    ~Files() override { fs::remove_all(folder_); }
    std::string path(const char* name) const { return folder_ / name; }
    static std::string bytes_of(const std::string& path) {
        std::ifstream in(path, std::ios::binary);
        std::ostringstream out;
        out << in.rdbuf();
        return out.str();
    }
    void write(const char* name, const std::string& bytes) const {
        std::ofstream(path(name), std::ios::binary) << bytes;
        ::chmod(path(name).c_str(), 0600);
    }
    /// An FTP session that has announced a port, a transfer, and `plain` other connections.
    void fill(World& world, unsigned plain) {
        Talk control(world, frames::flow("192.0.2.1", 40000, "198.51.100.2", 21));
        ASSERT_TRUE(control.open());
        ASSERT_TRUE(control.server("220 hello\r\n"));
        ASSERT_TRUE(control.client("USER anonymous\r\n"));
        ASSERT_TRUE(control.server("331 password\r\n"));
        ASSERT_TRUE(control.client("PASS x\r\n"));
        ASSERT_TRUE(control.server("230 in\r\n"));
        for (const char* reply : {"229 Extended (|||50000|)\r\n", "229 Extended (|||50001|)\r\n"}) {
            ASSERT_TRUE(control.client("EPSV\r\n"));
            ASSERT_TRUE(control.server(reply));
            if (world.connection(50000)) break;
            Talk data(world, frames::flow("192.0.2.1", 40001, "198.51.100.2", 50000));
            ASSERT_TRUE(data.open());
        }
        for (unsigned i = 0; i < plain; ++i)
            ASSERT_TRUE(world.from_inside(frames::udp(
                frames::flow("192.0.2.7", static_cast<std::uint16_t>(2000 + i), "198.51.100.3", 53),
                "x")));
    }
    static StartFile start_of(const std::string& path, bool required = false) {
        StateSpec spec;
        if (!required) spec.file = path;
        auto start = open_start_file(required ? path : std::string(), spec);
        EXPECT_TRUE(start);
        return std::move(start).value();
    }
    fs::path folder_;
};

unsigned count(World& world) {
    unsigned n = 0;
    for (unsigned w = 0; w < world.fw().workers(); ++w)
        n += static_cast<unsigned>(world.fw().worker(w).conns().count().get());
    return n;
}

TEST_F(Files, SavedAtTheStopAndRestoredAtTheStartWithOtherWorkers) {
    for (const auto& [before, after] : {std::pair(1u, 3u), std::pair(3u, 2u), std::pair(2u, 1u)}) {
        {
            World first(World::Whole{config(kZones, "all")}, before);
            fill(first, 100);
            const auto totals = save_stopped(first.fw(), first.now, path("state"));
            ASSERT_TRUE(totals) << totals.error().message;
        }
        World second(World::Whole{config(kZones, "all")}, after);
        WorkerRequests requests(second.fw());
        RestoreSummary totals;
        StartFile start = start_of(path("state"));
        ASSERT_TRUE(start.file);
        ASSERT_TRUE(restore_at_start(second.fw(), requests, start, totals));
        EXPECT_EQ(totals.connections, (Outcomes{{"restored", 102}}));
        EXPECT_EQ(totals.expectations, (Outcomes{{"restored", 1}}));
        EXPECT_EQ(count(second), 102u);
        EXPECT_EQ(second.connection(50000)->conn.master, second.connection(21)->id);
        second.now = Tick{1000};
        second.turn();
        EXPECT_EQ(count(second), 102u);
        // Not expected by anybody else, so it is the saved expectation that lets it in.
        EXPECT_EQ(second.fw().expectations().live(), 1u);
        EXPECT_TRUE(fs::exists(path("state")));
    }
}

TEST_F(Files, ASampleTellsHowLongARestoreTakes) {
    constexpr unsigned kPlain = 3000;
    {
        World first(World::Whole{config(kZones, "all")}, 1);
        fill(first, kPlain);
        ASSERT_TRUE(save_stopped(first.fw(), first.now, path("state")));
    }
    World whole(World::Whole{config(kZones, "all")}, 1);
    auto all = estimate_restore(whole.fw(), path("state"), std::chrono::minutes(10));
    ASSERT_TRUE(all) << all.error().message;
    EXPECT_GT(*all, 0);
    EXPECT_EQ(count(whole), kPlain + 2);
    World part(World::Whole{config(kZones, "all")}, 2);
    auto some = estimate_restore(part.fw(), path("state"), std::chrono::milliseconds(0));
    ASSERT_TRUE(some);
    EXPECT_GT(*some, 0);
    EXPECT_GT(count(part), 0u);
    EXPECT_LT(count(part), kPlain);
    EXPECT_FALSE(estimate_restore(part.fw(), path("none")));
    write("state", "nonsense");
    EXPECT_TRUE(estimate_restore(part.fw(), path("state")));
    EXPECT_TRUE(fs::exists(path("state"))) << "a check moves no file";
}

TEST_F(Files, WhatTheConfigurationHasNoMoreIsCountedOrForgotten) {
    {
        World first(World::Whole{config(kZones, "old")}, 1);
        fill(first, 5);
        ASSERT_TRUE(save_stopped(first.fw(), first.now, path("state")));
    }
    {
        World second(World::Whole{config(kZones, "new")}, 1);
        WorkerRequests requests(second.fw());
        RestoreSummary totals;
        StartFile start = start_of(path("state"));
        ASSERT_TRUE(restore_at_start(second.fw(), requests, start, totals));
        EXPECT_EQ(totals.restored, 8u);
        EXPECT_EQ(second.connection(53)->conn.rule, kNoRule);
    }
    std::string other = config("[inside, outside]", "new");
    for (std::size_t at; (at = other.find("outside")) != std::string::npos;)
        other.replace(at, 7, "beyond");
    World third(World::Whole{other}, 1);
    WorkerRequests requests(third.fw());
    RestoreSummary totals;
    StartFile start = start_of(path("state"));
    ASSERT_TRUE(restore_at_start(third.fw(), requests, start, totals));
    EXPECT_EQ(totals.restored, 0u);
    EXPECT_EQ(totals.unusable["no_zone"], 8u);
    EXPECT_TRUE(fs::exists(path("state"))) << "it is not damaged";
}

TEST_F(Files, ADamagedFileIsKeptAsideAndItsSoundPartRestored) {
    std::string bytes;
    {
        World first(World::Whole{config(kZones, "all")}, 2);
        fill(first, 1500);
        ASSERT_TRUE(save_stopped(first.fw(), first.now, path("state")));
        bytes = bytes_of(path("state"));
    }
    bytes.resize(bytes.size() - bytes.size() / 8);
    write("state", bytes);
    World second(World::Whole{config(kZones, "all")}, 1);
    WorkerRequests requests(second.fw());
    RestoreSummary totals;
    StartFile start = start_of(path("state"));
    ASSERT_TRUE(restore_at_start(second.fw(), requests, start, totals));
    EXPECT_GT(totals.restored, 500u);
    EXPECT_LT(totals.restored, 1503u);
    EXPECT_FALSE(fs::exists(path("state")));
    EXPECT_EQ(bytes_of(path("state.damaged")), bytes);
    // Named on the command line it is an error, and it stays where it is.
    write("named", bytes);
    World third(World::Whole{config(kZones, "all")}, 1);
    WorkerRequests others(third.fw());
    StartFile named = start_of(path("named"), true);
    const auto refused = restore_at_start(third.fw(), others, named, totals);
    ASSERT_FALSE(refused);
    EXPECT_TRUE(refused.error().message.starts_with(path("named") + ": "))
        << refused.error().message;
    EXPECT_TRUE(fs::exists(path("named")));
}

TEST_F(Files, AMissingFileIsNoErrorUnlessItIsNamed) {
    EXPECT_FALSE(start_of(path("nowhere")).file);
    const auto named = open_start_file(path("nowhere"), {});
    ASSERT_FALSE(named);
    EXPECT_NE(named.error().message.find("nowhere: cannot be opened"), std::string::npos);
    // The one on the command line replaces the configured one.
    write("state", "x");
    write("other", "y");
    StateSpec spec;
    spec.file = path("state");
    EXPECT_EQ(open_start_file(path("other"), spec)->path, path("other"));
}

TEST_F(Files, OfAnyUserIsNotUsed) {
    write("state", "x");
    ::chmod(path("state").c_str(), 0666);
    EXPECT_FALSE(start_of(path("state")).file);
    EXPECT_TRUE(fs::exists(path("state.damaged")));
}

TEST_F(Files, PiecesOfAnySizeAreTheSameFileWhileWorkersRun) {
    {
        World first(World::Whole{config(kZones, "all")}, 2);
        fill(first, 300);
        ASSERT_TRUE(save_stopped(first.fw(), first.now, path("state")));
    }
    const std::string bytes = bytes_of(path("state"));
    for (const std::size_t size : {std::size_t{7}, std::size_t{1000}, bytes.size()}) {
        World second(World::Whole{config(kZones, "all")}, 3);
        WorkerRequests requests(second.fw());
        FileRestorer file(second.fw(), requests, [&] { return second.now; });
        std::size_t at = 0;
        for (auto step = file.step(); step != FileRestorer::Step::done; step = file.step()) {
            if (step == FileRestorer::Step::busy) {
                second.turn();
            } else if (at < bytes.size()) {
                file.feed(std::string_view(bytes).substr(at, size));
                at += size;
            } else {
                file.feed_end();
            }
        }
        EXPECT_TRUE(file.is_whole());
        EXPECT_EQ(file.summary().restored, 303u);
        EXPECT_EQ(count(second), 302u);
    }
}

TEST_F(Files, AnotherPlanMayComeBetweenTwoPieces) {
    {
        World first(World::Whole{config(kZones, "all")}, 1);
        fill(first, 300);
        ASSERT_TRUE(save_stopped(first.fw(), first.now, path("state")));
    }
    const std::string bytes = bytes_of(path("state"));
    World second(World::Whole{config(kZones, "all")}, 2);
    WorkerRequests requests(second.fw());
    FileRestorer file(second.fw(), requests, [&] { return second.now; });
    bool replaced = false;
    std::size_t at = 0;
    for (auto step = file.step(); step != FileRestorer::Step::done; step = file.step()) {
        if (step == FileRestorer::Step::busy) {
            second.turn();
            continue;
        }
        if (at > bytes.size() / 2 && !replaced) {
            ASSERT_TRUE(second.replace(config(kZones, "other")));
            second.turn();
            second.fw().reclaim_plans();
            replaced = true;
        }
        if (at >= bytes.size())
            file.feed_end();
        else
            file.feed(std::string_view(bytes).substr(at, 500));
        at += 500;
    }
    EXPECT_TRUE(replaced);
    EXPECT_EQ(file.summary().restored, 303u);
    for (unsigned i = 0; i < 1000; ++i)
        second.turn();
    EXPECT_EQ(second.connection(53)->conn.rule, kNoRule);
}

}  // namespace
}  // namespace postern
