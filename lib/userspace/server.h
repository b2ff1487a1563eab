// SPDX-License-Identifier: BSD-3-Clause
// UserspaceServer: the sockets of helper processes, and their end of the rings.
//
// What: one listening SOCK_SEQPACKET socket a helper; one process at a time connects to it, says
// hello, gets questions and sends answers. The server moves questions from the workers' rings to
// the sockets, and answers back. It decides nothing, but passes on well-formed records only. Used
// by: one thread of its own, by run(). status() is for any thread. Life-cycle: open() claims the
// sockets, so that a second daemon gets an error; the destructor removes them.
//
// Bad processes: an invalid record closes the connection with an error that states the reason; a
// second process is refused while the first is connected; one that sends no hello is disconnected
// after two seconds. One that does not read costs a bounded list of questions, which time out
// there. Only the wait for events blocks.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/types.h"
#include "base/unique_fd.h"
#include "control/unix_socket.h"
#include "metrics/metric.h"
#include "userspace/link.h"

namespace postern {

// X(name, kind, unit, help)
#define POSTERN_PROCESS_METRICS(X)                                                               \
    X(connects, counter, clients, "processes that connected and said hello")                     \
    X(clients_refused, counter, clients, "processes refused: another one serves this helper")    \
    X(bad_records, counter, events, "connections closed because of an invalid record")           \
    X(questions_sent, counter, requests, "questions written to its socket")                      \
    X(questions_expired, counter, requests, "questions not written: the packet no longer waits") \
    X(questions_lost, counter, requests,                                                         \
      "questions not written: it does not read, and too many wait")                              \
    X(answers, counter, requests, "answers read from its socket")                                \
    X(answers_lost, counter, requests, "answers lost: the ring to their worker was full")

struct ProcessCounters {
    POSTERN_METRICS(POSTERN_PROCESS_METRICS)
};

class UserspaceServer {
  public:
    struct Options {
        std::function<Tick()> now;                    ///< the workers' clock
        std::function<void(const std::string&)> log;  ///< a line about processes; called by run()
        std::uint32_t hello_ms = 2000;
    };
    /// `link` outlives it.
    static Result<std::unique_ptr<UserspaceServer>> open(UserspaceLink& link, Options options);
    ~UserspaceServer();

    /// Runs one round; waits at most this long for an event. True if there was one.
    bool poll(std::chrono::microseconds timeout);
    /// Rounds until `stop`, which it notices within 50 ms.
    void run(const std::atomic<bool>& stop);

    /// Of a helper in another process. Any thread.
    struct Status {
        bool connected;
        std::int64_t pid;  ///< of the last connected one; 0: none yet
        const ProcessCounters& counters;
        const std::string& socket;
    };
    /// Nothing for helpers without a process.
    std::optional<Status> status(HelperId helper) const;

  private:
    struct Record {
        std::vector<std::uint8_t> bytes;
        Tick deadline;
        bool expires;
    };
    struct Seat {
        Seat(const UserspaceHelper& h, ListeningSocket l) : helper(h), listener(std::move(l)) {}
        const UserspaceHelper& helper;
        ListeningSocket listener;
        UniqueFd client;
        bool greeted = false;
        Tick since;                        ///< when it connected
        std::deque<Record> waiting;        ///< questions that could not be sent yet
        std::atomic<std::int64_t> pid{0};  // server: w, any: r
        ProcessCounters counters;
    };

    UserspaceServer(UserspaceLink& link, Options options, std::vector<std::unique_ptr<Seat>> seats);
    void accept_process(Seat& seat);
    /// False if there was none.
    bool receive(Seat& seat);
    void take_answer(Seat& seat, Bytes record);
    bool take_questions();
    void give(Seat& seat, const Question& question);
    void flush(Seat& seat, Tick now);
    enum class Sent : std::uint8_t {
        yes,
        later,
        never
    };
    Sent send_record(Seat& seat, Bytes record);
    void say_why(int fd, std::string_view why);
    void hang_up(Seat& seat, const std::string& why, bool tell);

    UserspaceLink& link_;
    Options options_;
    std::vector<std::unique_ptr<Seat>> seats_;
    std::array<Seat*, kMaxHelpers> by_helper_{};
    std::vector<std::uint8_t> out_;  ///< a record being made
    Answer answer_;                  ///< being read
};

}  // namespace postern
