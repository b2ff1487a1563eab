// SPDX-License-Identifier: BSD-3-Clause
// ControlServer: answers posternctl and scripts on a UNIX socket.
//
// What: a client sends one JSON object a line, {"v":1,"command":"conntrack list","args":{...}}; the
// server answers with any number of {"row":{...}} lines, then one {"end":{"ok":true,"rows":N}} or
// {"error":{"message":...,"code":...}}. Requests of one client are answered one after the other.
//
// Used by: the daemon's main thread only, by poll() in its loop; no worker ever waits for it. Only
// the epoll_wait in poll() blocks.
//
// Life-cycle: open() claims the path (before ports are touched, so that a second daemon does no
// harm); from then on clients may connect, and are answered once poll() runs. The destructor
// disconnects the clients, ends their row sources and removes the socket file.
//
// Two sockets: the second one, if there is one, accepts only commands whose effect is `read`. Each
// socket has its own limit of clients.
//
// Bad clients: rows are pulled only while a client's output buffer has room, so one that does not
// read costs that buffer and no time. Input is read only while no answer is in progress, and never
// more than one line's limit. In one poll() a client gets a bounded number of rows and requests.
// Beyond max_clients the one that has been stuck longest is disconnected; if none is stuck, the
// newcomer is refused with `busy`.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/unique_fd.h"
#include "control/command.h"
#include "control/unix_socket.h"
#include "metrics/metric.h"

namespace postern {

struct ControlOptions {
    std::string path = kDefaultControlSocket;
    /// A second socket, for commands that only read; empty: none.
    std::string read_path{};
    SocketAccess read_access{.mode = 0660, .directory_mode = 0711};
    std::size_t max_clients = 64;  ///< of each socket
    std::size_t max_line_bytes = 64 * 1024;
    std::size_t output_buffer_bytes = 256 * 1024;  ///< a client; one row may exceed it
    std::uint32_t stuck_after_ms = 10'000;  ///< no byte moved for this time: may be disconnected
    /// Called with each accepted command that writes, and who asked: an audit. May be empty.
    std::function<void(const std::string& command, const std::string& who)> audit{};
};

// X(name, kind, unit, help)
#define POSTERN_CONTROL_METRICS(X)                                                         \
    X(control_requests, counter, requests, "requests from clients of the control sockets") \
    X(control_errors, counter, requests, "of these, answered with an error")               \
    X(control_writes_refused, counter, requests,                                           \
      "of these, writing commands refused on the reading socket")                          \
    X(control_rows, counter, rows, "rows sent to clients")                                 \
    X(control_clients, gauge, clients, "clients connected now")                            \
    X(control_clients_refused, counter, clients,                                           \
      "clients refused: the limit of clients was reached")                                 \
    X(control_clients_displaced, counter, clients,                                         \
      "clients disconnected: stuck while others waited")                                   \
    X(control_turn, histogram, microseconds, "time spent serving clients in one turn")

struct ControlCounters {
    POSTERN_METRICS(POSTERN_CONTROL_METRICS)
};

class ControlServer {
  public:
    static Result<std::unique_ptr<ControlServer>> open(ControlOptions options);
    ~ControlServer();

    /// The last one wins if a name is registered twice.
    void register_command(Command command);

    /// Also calls `on_readable` from poll() when `fd` is readable (a signalfd, an eventfd). The
    /// caller owns the descriptor, and keeps it open as long as the server exists.
    Result<void> watch(int fd, std::function<void()> on_readable);

    /// Serves pending input; without any, waits at most timeout_ms (-1: without limit). Returns
    /// false if there was none.
    bool poll(int timeout_ms);
    /// Ends all answers, and the connections of all clients.
    void disconnect_all() noexcept;
    /// The registered commands, by name.
    const std::map<std::string, Command, std::less<>>& commands() const noexcept {
        return commands_;
    }
    const ControlCounters& counters() const noexcept { return counters_; }
    /// Who asked for the command whose handler runs: "uid 0, pid 4711" (SO_PEERCRED).
    const std::string& asked_by() const noexcept { return asked_by_; }

    std::size_t clients() const noexcept { return clients_.size(); }
    const std::string& path() const noexcept { return listener_.path(); }

  private:
    using Clock = std::chrono::steady_clock;
    using Id = std::uint64_t;  ///< of a client or a watch; never reused, so that a stale event of
                               ///< the same epoll_wait matches nothing

    struct Client {
        UniqueFd fd;
        Effect may = Effect::write;  ///< the effects that its socket allows
        std::string in;              ///< received, not yet taken as a request
        std::string out;             ///< to be sent from out_sent on
        std::size_t out_sent = 0;
        std::unique_ptr<RowSource> source;  ///< the answer in progress
        std::uint64_t rows = 0;             ///< of that answer
        bool pending = false;               ///< its source has nothing ready
        bool input_over = false;            ///< the client has shut its sending side
        bool hang_up = false;               ///< close as soon as `out` is sent
        std::uint32_t events = 0;           ///< registered with epoll
        Clock::time_point moved;            ///< when a byte last went either way
    };

    ControlServer(ControlOptions options, ListeningSocket listener,
                  std::optional<ListeningSocket> reading, UniqueFd epoll, UniqueFd spare);

    void register_own_commands();
    void accept_clients(const ListeningSocket& listener, Effect may);
    /// Disconnects a stuck client of the same socket.
    bool displace_stuck(Effect may);
    std::size_t clients_who(Effect may) const noexcept;
    void serve_ready(Id id, std::uint32_t events);
    /// The steps of serving one client; false: it has disconnected, or must be.
    bool serve(Client& c, std::uint32_t events);
    bool receive(Client& c);
    bool flush(Client& c);
    bool update_interest(Id id, Client& c);

    void take_requests(Client& c);
    void handle_request(Client& c, std::string_view line);
    void run_command(Client& c, const Command& command, Json& args);
    void pull_rows(Client& c);
    void answer_error(Client& c, std::string_view code, std::string_view message);
    static void answer_end(Client& c);
    bool has_room(const Client& c) const noexcept {
        return c.out.size() - c.out_sent < options_.output_buffer_bytes;
    }

    ControlOptions options_;
    ListeningSocket listener_;
    std::optional<ListeningSocket> reading_;
    UniqueFd epoll_;
    UniqueFd spare_;  ///< released briefly to refuse clients when descriptors run out
    Id next_id_ = 2;  ///< 0 and 1 are the listeners
    std::map<std::string, Command, std::less<>> commands_;
    std::map<Id, std::function<void()>> watches_;
    std::map<Id, Client> clients_;
    ControlCounters counters_;
    std::string asked_by_;
};

}  // namespace postern
