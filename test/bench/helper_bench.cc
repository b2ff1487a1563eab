// SPDX-License-Identifier: BSD-3-Clause
// What a helped connection costs: FTP control lines through stream, scanner and parser, and payload
// that does not matter. One worker, all in its caches; `items_per_second` are lines, or segments
// where the name says so.
#include <array>
#include <memory>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include "helper/engine.h"
#include "helper/registry.h"

namespace postern {
namespace {

class Control {
  public:
    Control() {
        const HelperConfig config{1, "", find_helper("ftp"), {}};
        set_ = std::move(HelperSet::create({&config, 1})).value();
        engine_ = std::move(HelperEngine::create(*set_, {16, 16, 4096})).value();
        conn_ = engine_->attach(1, tuple(), 1);
        engine_->on_syn(conn_, Direction::original, 0);
        engine_->on_syn(conn_, Direction::reply, 0);
        say(Direction::reply, "220 ready\r\n");
        say(Direction::original, "USER anonymous\r\n");
    }
    static Tuple tuple() {
        return {IpAddr::v4(192, 0, 2, 1), IpAddr::v4(198, 51, 100, 2), Be16::from_host(40000),
                Be16::from_host(21), proto::tcp};
    }
    void say(Direction d, const std::string& text) {
        engine_->on_segment(conn_, d, next_[index(d)], 0,
                            {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()},
                            emit_);
        benchmark::DoNotOptimize(emit_.requests().data());
        next_[index(d)] += static_cast<std::uint32_t>(text.size());
    }
    std::size_t asked() const { return emit_.requests().size(); }

  private:
    std::unique_ptr<const HelperSet> set_;
    std::unique_ptr<HelperEngine> engine_;
    HelperConn* conn_ = nullptr;
    std::array<std::uint32_t, 2> next_{1, 1};
    Emit emit_;
};

/// A session as clients and servers hold it: 14 lines, a segment each, of which two open.
void session(benchmark::State& state) {
    Control control;
    const std::vector<std::pair<Direction, std::string>> lines{
        {Direction::original, "CWD /pub/debian/pool/main/v/vsftpd\r\n"},
        {Direction::reply, "250 Directory successfully changed.\r\n"},
        {Direction::original, "TYPE I\r\n"},
        {Direction::reply, "200 Switching to Binary mode.\r\n"},
        {Direction::original, "SIZE vsftpd_3.0.3-13.dsc\r\n"},
        {Direction::reply, "213 1970\r\n"},
        {Direction::original, "EPSV\r\n"},
        {Direction::reply, "229 Entering Extended Passive Mode (|||50001|)\r\n"},
        {Direction::original, "RETR vsftpd_3.0.3-13.dsc\r\n"},
        {Direction::reply, "150 Opening BINARY mode data connection (1970 bytes).\r\n"},
        {Direction::reply, "226 Transfer complete.\r\n"},
        {Direction::original, "PORT 192,0,2,1,195,80\r\n"},
        {Direction::reply, "200 PORT command successful.\r\n"},
        {Direction::original, "NOOP\r\n"},
    };
    std::size_t asked = 0, rounds = 0;
    for (auto _ : state) {
        ++rounds;
        for (const auto& [who, line] : lines) {
            control.say(who, line);
            asked += control.asked();
        }
    }
    if (asked != 2 * rounds) state.SkipWithError("the announcements were not all found");
    state.SetItemsProcessed(static_cast<std::int64_t>(rounds * lines.size()));
}
BENCHMARK(session);

/// One kind of line, a segment each.
void line(benchmark::State& state, Direction who, const char* text, std::size_t wanted) {
    Control control;
    const std::string s(text);
    for (auto _ : state) {
        control.say(who, s);
        if (control.asked() != wanted) state.SkipWithError("wrong answer");
    }
    state.SetItemsProcessed(state.iterations());
}
BENCHMARK_CAPTURE(line, noop, Direction::original, "NOOP\r\n", 0);
BENCHMARK_CAPTURE(line, reply, Direction::reply, "200 Switching to Binary mode.\r\n", 0);
BENCHMARK_CAPTURE(line, port, Direction::original, "PORT 192,0,2,1,195,80\r\n", 1);
BENCHMARK_CAPTURE(line, pasv, Direction::reply,
                  "227 Entering Passive Mode (198,51,100,2,195,80).\r\n", 1);
BENCHMARK_CAPTURE(line, epsv, Direction::reply,
                  "229 Entering Extended Passive Mode (|||50001|)\r\n", 1);

/// Many lines in a segment, none of which matters: what scanning a byte costs.
void lines_without_match(benchmark::State& state) {
    Control control;
    std::string text;
    while (text.size() < static_cast<std::size_t>(state.range(0)))
        text += " drwxr-xr-x    2 ftp      ftp          4096 Jan 01 00:00 pub\r\n";
    for (auto _ : state)
        control.say(Direction::reply, text);
    state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(text.size()));
}
BENCHMARK(lines_without_match)->Arg(60)->Arg(1400)->Arg(9000);

/// A line in two segments: the tail waits in a buffer.
void split_line(benchmark::State& state) {
    Control control;
    const std::string first = "PORT 192,0,2,1", second = ",195,80\r\n";
    for (auto _ : state) {
        control.say(Direction::original, first);
        control.say(Direction::original, second);
        if (control.asked() != 1) state.SkipWithError("wrong answer");
    }
    state.SetItemsProcessed(state.iterations());
}
BENCHMARK(split_line);

/// A segment without payload (an ACK).
void bare_ack(benchmark::State& state) {
    Control control;
    const std::string nothing;
    for (auto _ : state)
        control.say(Direction::original, nothing);
    state.SetItemsProcessed(state.iterations());
}
BENCHMARK(bare_ack);

void attach_and_detach(benchmark::State& state) {
    const HelperConfig config{1, "", find_helper("ftp"), {}};
    const auto set = std::move(HelperSet::create({&config, 1})).value();
    const auto engine = std::move(HelperEngine::create(*set, {16, 16, 4096})).value();
    for (auto _ : state) {
        HelperConn* conn = engine->attach(1, Control::tuple(), 1);
        benchmark::DoNotOptimize(conn);
        engine->detach(conn);
    }
}
BENCHMARK(attach_and_detach);

}  // namespace
}  // namespace postern
