// SPDX-License-Identifier: BSD-3-Clause
#include "control/server.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <exception>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>

namespace postern {
namespace {

constexpr std::uint64_t kListenerId = 0;
constexpr int kPendingRetryMs = 2;
// In one turn of poll() for one client: enough to keep a fast reader busy, and with all clients
// greedy at once still a few milliseconds for the whole turn.
constexpr unsigned kRowsPerTurn = 128;
constexpr unsigned kRequestsPerTurn = 16;
constexpr std::size_t kReceiveBytesPerTurn = 16 * 1024;

void append_line(std::string& out, const Json& line) {
    // Names may come from configuration files in any encoding: replace, never throw.
    out += line.dump(-1, ' ', false, Json::error_handler_t::replace);
    out += '\n';
}

Json error_line(std::string_view code, std::string_view message) {
    return Json{{"error", {{"message", message}, {"code", code}}}};
}

const char* type_name(ArgType type) {
    switch (type) {
        case ArgType::string: return "string";
        case ArgType::integer: return "integer";
        case ArgType::boolean: return "boolean";
        case ArgType::scalar: return "string or integer";
    }
    return "?";
}

bool has_type(const Json& value, ArgType type) {
    switch (type) {
        case ArgType::string: return value.is_string();
        case ArgType::integer: return value.is_number_integer();
        case ArgType::boolean: return value.is_boolean();
        case ArgType::scalar: return value.is_string() || value.is_number_integer();
    }
    return false;
}

/// Empty when `args` fits the command, else what is wrong.
std::string check_args(const Command& command, const Json& args) {
    for (const auto& [name, value] : args.items()) {
        const auto spec = std::find_if(command.args.begin(), command.args.end(),
                                       [&arg = name](const ArgSpec& a) { return a.name == arg; });
        if (spec == command.args.end())
            return "'" + command.name + "' has no argument '" + name + "'";
        if (!has_type(value, spec->type))
            return "argument '" + name + "' must be of type " + type_name(spec->type);
    }
    for (const ArgSpec& spec : command.args)
        if (spec.required && !args.contains(spec.name))
            return "argument '" + spec.name + "' is missing";
    return {};
}

class ReadyRows : public RowSource {
  public:
    explicit ReadyRows(std::vector<Json> rows) : rows_(std::move(rows)) {}
    Pull next(Json& row) override {
        if (at_ == rows_.size()) return Pull::done;
        row = std::move(rows_[at_++]);
        return Pull::row;
    }

  private:
    std::vector<Json> rows_;
    std::size_t at_ = 0;
};

}  // namespace

std::unique_ptr<RowSource> rows_of(std::vector<Json> rows) {
    return std::make_unique<ReadyRows>(std::move(rows));
}

Result<std::unique_ptr<ControlServer>> ControlServer::open(ControlOptions options) {
    UniqueFd epoll(::epoll_create1(EPOLL_CLOEXEC));
    UniqueFd spare(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    if (!epoll || !spare)
        return Error{"cannot set up the control server: " + std::generic_category().message(errno)};
    auto listener = ListeningSocket::claim(options.path);
    if (!listener) return listener.error();
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = kListenerId;
    if (::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, listener->fd(), &event) != 0)
        return Error{"cannot wait on the control socket: " +
                     std::generic_category().message(errno)};
    return std::unique_ptr<ControlServer>(new ControlServer(
        std::move(options), std::move(*listener), std::move(epoll), std::move(spare)));
}

ControlServer::ControlServer(ControlOptions options, ListeningSocket listener, UniqueFd epoll,
                             UniqueFd spare)
    : options_(std::move(options)),
      listener_(std::move(listener)),
      epoll_(std::move(epoll)),
      spare_(std::move(spare)) {
    register_command(
        {"help", "the commands there are", {}, [this](const Json&) {
             std::vector<Json> rows;
             for (const auto& [name, command] : commands_) {
                 Json args = Json::array();
                 for (const ArgSpec& a : command.args)
                     args.push_back({{"name", a.name},
                                     {"type", type_name(a.type)},
                                     {"required", a.required},
                                     {"help", a.help}});
                 rows.push_back({{"command", name}, {"help", command.help}, {"args", args}});
             }
             return rows_of(std::move(rows));
         }});
}

ControlServer::~ControlServer() = default;

void ControlServer::register_command(Command command) {
    std::string name = command.name;
    commands_.insert_or_assign(std::move(name), std::move(command));
}

Result<void> ControlServer::watch(int fd, std::function<void()> on_readable) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = next_id_;
    if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0)
        return Error{"cannot wait on a descriptor: " + std::generic_category().message(errno)};
    watches_.emplace(next_id_++, std::move(on_readable));
    return {};
}

bool ControlServer::poll(int timeout_ms) {
    const bool any_pending = std::any_of(clients_.begin(), clients_.end(),
                                         [](const auto& entry) { return entry.second.pending; });
    if (any_pending && (timeout_ms < 0 || timeout_ms > kPendingRetryMs))
        timeout_ms = kPendingRetryMs;

    std::array<epoll_event, 64> events;
    const int n =
        ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), timeout_ms);

    if (any_pending) {
        for (auto it = clients_.begin(); it != clients_.end();) {
            const auto here = it++;
            Client& c = here->second;
            if (!c.pending) continue;
            c.pending = false;
            if (!serve(c, 0) || !update_interest(here->first, c)) clients_.erase(here);
        }
    }
    for (int i = 0; i < n; ++i) {
        const epoll_event& event = events[static_cast<std::size_t>(i)];
        const Id id = event.data.u64;
        if (id == kListenerId) {
            accept_clients();
        } else if (const auto client = clients_.find(id); client != clients_.end()) {
            if (!serve(client->second, event.events) || !update_interest(id, client->second))
                clients_.erase(client);
        } else if (const auto watch = watches_.find(id); watch != watches_.end()) {
            watch->second();
        }
    }
    return n > 0 || any_pending;
}

void ControlServer::accept_clients() {
    // A bounded number: who floods us with connections shall not keep us in here.
    for (unsigned i = 0; i < 64; ++i) {
        UniqueFd fd(::accept4(listener_.fd(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
        if (!fd) {
            if ((errno == EMFILE || errno == ENFILE) && spare_) {
                // Without this the listener would stay readable, and poll() would spin.
                spare_.reset();
                UniqueFd refused(::accept4(listener_.fd(), nullptr, nullptr, SOCK_CLOEXEC));
                refused.reset();
                spare_ = UniqueFd(::open("/dev/null", O_RDONLY | O_CLOEXEC));
                continue;
            }
            return;
        }
        if (clients_.size() >= options_.max_clients && !displace_stuck()) {
            std::string line;
            append_line(line, error_line("busy", "too many clients (the limit is " +
                                                     std::to_string(options_.max_clients) +
                                                     "), try again"));
            // One try: a fresh socket's buffer is empty, and if not, the newcomer's loss.
            (void)::send(fd.get(), line.data(), line.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
            continue;
        }
        const Id id = next_id_++;
        epoll_event event{};
        event.events = EPOLLIN;
        event.data.u64 = id;
        if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd.get(), &event) != 0) continue;
        Client& c = clients_[id];
        c.fd = std::move(fd);
        c.events = event.events;
        c.moved = Clock::now();
    }
}

bool ControlServer::displace_stuck() {
    const auto longest = std::min_element(
        clients_.begin(), clients_.end(),
        [](const auto& a, const auto& b) { return a.second.moved < b.second.moved; });
    if (longest == clients_.end() ||
        Clock::now() - longest->second.moved < std::chrono::milliseconds(options_.stuck_after_ms))
        return false;
    clients_.erase(longest);
    return true;
}

bool ControlServer::serve(Client& c, std::uint32_t events) {
    // EPOLLHUP: the peer has closed, or both sides are shut; nobody can read an answer any more.
    // A client that only shut its sending side (`echo ... | socat`) still gets its answer.
    if ((events & (EPOLLERR | EPOLLHUP)) != 0) return false;
    if ((events & c.events & EPOLLIN) != 0 && !receive(c)) return false;
    if (!c.source && !c.hang_up) take_requests(c);
    if (c.source) pull_rows(c);
    if (!flush(c)) return false;
    const bool all_sent = c.out.empty();
    if (c.hang_up) return !all_sent;
    return !(c.input_over && all_sent && !c.source && c.in.empty());
}

bool ControlServer::receive(Client& c) {
    const std::size_t had = c.in.size();
    const std::size_t room = std::min(options_.max_line_bytes + 1 - had, kReceiveBytesPerTurn);
    c.in.resize(had + room);
    const ssize_t got = ::recv(c.fd.get(), c.in.data() + had, room, MSG_DONTWAIT);
    c.in.resize(had + static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
    if (got > 0) c.moved = Clock::now();
    if (got == 0) c.input_over = true;
    return got >= 0 || errno == EAGAIN || errno == EINTR;
}

bool ControlServer::flush(Client& c) {
    while (c.out_sent < c.out.size()) {
        const ssize_t sent = ::send(c.fd.get(), c.out.data() + c.out_sent,
                                    c.out.size() - c.out_sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0) {
            if (errno == EINTR) continue;
            if (errno == EAGAIN) break;
            return false;
        }
        c.out_sent += static_cast<std::size_t>(sent);
        c.moved = Clock::now();
    }
    // Moving the rest to the front at half-way keeps the buffer bounded at a constant cost a byte.
    if (c.out_sent * 2 >= c.out.size()) {
        c.out.erase(0, c.out_sent);
        c.out_sent = 0;
    }
    return true;
}

bool ControlServer::update_interest(Id id, Client& c) {
    std::uint32_t events = 0;
    const bool wants_input = !c.source && !c.hang_up && has_room(c);
    // take_requests() has something to do or to say about what is there already.
    const bool has_request = c.in.size() > options_.max_line_bytes ||
                             (c.input_over && !c.in.empty()) ||
                             c.in.find('\n') != std::string::npos;
    if (wants_input && !c.input_over && !has_request) events |= EPOLLIN;
    if (!c.out.empty() || (c.source && !c.pending) || (wants_input && has_request))
        events |= EPOLLOUT;
    if (events == c.events) return true;
    epoll_event event{};
    event.events = events;
    event.data.u64 = id;
    c.events = events;
    return ::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, c.fd.get(), &event) == 0;
}

void ControlServer::take_requests(Client& c) {
    std::size_t taken = 0;
    for (unsigned n = 0; n < kRequestsPerTurn && !c.source && has_room(c); ++n) {
        const std::size_t end = c.in.find('\n', taken);
        if (end == std::string::npos) {
            const std::size_t rest = c.in.size() - taken;
            if (rest > options_.max_line_bytes) {
                answer_error(
                    c, "line_too_long",
                    "a request has at most " + std::to_string(options_.max_line_bytes) + " bytes");
                c.hang_up = true;
            } else if (c.input_over && rest > 0) {
                answer_error(c, "bad_request", "the last request does not end with a newline");
                c.hang_up = true;
            }
            break;
        }
        const std::string_view line = std::string_view(c.in).substr(taken, end - taken);
        if (line.find_first_not_of(" \t\r") != std::string_view::npos) handle_request(c, line);
        taken = end + 1;
    }
    c.in.erase(0, taken);
}

void ControlServer::handle_request(Client& c, std::string_view line) {
    const Json request = Json::parse(line, nullptr, false);
    if (!request.is_object())
        return answer_error(c, "bad_request",
                            R"(expected one JSON object a line: {"v":1,"command":"help"})");
    if (const auto v = request.find("v"); v == request.end() || *v != 1)
        return answer_error(c, "bad_version", R"(expected "v":1, the only protocol there is)");
    const auto name = request.find("command");
    if (name == request.end() || !name->is_string())
        return answer_error(c, "bad_request", R"(expected "command" to be a string)");
    const Json none = Json::object();
    const Json* args = &none;  // not a copy, which takes stack for each level of a deep one
    for (const auto& [key, value] : request.items()) {
        if (key == "args" && value.is_object())
            args = &value;
        else if (key == "args")
            return answer_error(c, "bad_request", R"(expected "args" to be an object)");
        else if (key != "v" && key != "command")
            return answer_error(c, "bad_request", "unknown key '" + key + "'");
    }
    const auto found = commands_.find(name->get_ref<const std::string&>());
    if (found == commands_.end())
        return answer_error(
            c, "unknown_command",
            "there is no command '" + name->get_ref<const std::string&>() + "'; 'help' lists them");
    if (const std::string wrong = check_args(found->second, *args); !wrong.empty())
        return answer_error(c, "bad_args", wrong);
    try {
        auto source = found->second.handler(*args);
        if (!source) return answer_error(c, "bad_args", source.error().message);
        c.source = std::move(*source);
        c.rows = 0;
    } catch (const std::exception& e) {
        answer_error(c, "internal", e.what());
    }
}

void ControlServer::pull_rows(Client& c) {
    try {
        for (unsigned n = 0; n < kRowsPerTurn && has_room(c); ++n) {
            Json row = Json::object();
            const Pull pull = c.source->next(row);
            if (pull == Pull::pending) {
                c.pending = true;
                return;
            }
            if (pull == Pull::done) return answer_end(c);
            ++c.rows;
            // Put around by hand: no second tree for each of millions of rows.
            c.out += "{\"row\":";
            append_line(c.out, row);
            c.out.back() = '}';
            c.out += '\n';
        }
    } catch (const std::exception& e) {
        answer_error(c, "internal", e.what());
    }
}

void ControlServer::answer_error(Client& c, std::string_view code, std::string_view message) {
    c.source.reset();
    append_line(c.out, error_line(code, message));
}

void ControlServer::answer_end(Client& c) {
    c.source.reset();
    append_line(c.out, Json{{"end", {{"ok", true}, {"rows", c.rows}}}});
}

}  // namespace postern
