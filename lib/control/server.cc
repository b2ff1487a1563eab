// SPDX-License-Identifier: BSD-3-Clause
#include "control/server.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <exception>
#include <optional>
#include <set>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "control/suggest.h"

namespace postern {
namespace {

/// The process at the other end, as the kernel knows it.
std::string peer_of(int fd) {
    ucred who{};
    socklen_t bytes = sizeof who;
    if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &bytes) != 0) return "an unknown process";
    return "uid " + std::to_string(who.uid) + ", pid " + std::to_string(who.pid);
}

constexpr std::uint64_t kListenerId = 0, kReadingId = 1;
constexpr int kPendingRetryMs = 2;
// In one turn of poll() for one client: enough to keep a fast reader busy, and with all clients
// reading at once still a few milliseconds for the whole turn.
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

/// A decimal number; nothing for any other text.
std::optional<std::int64_t> integer_of(const std::string& text) {
    std::int64_t n = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
    if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
    return n;
}

/// true, false, yes or no, in any case.
std::optional<bool> boolean_of(std::string word) {
    for (char& c : word)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    if (word == "true" || word == "yes") return true;
    if (word == "false" || word == "no") return false;
    return std::nullopt;
}

/// Converts the value to its argument's type: a command line has only texts. Only the command knows
/// whether 0 is a number or a name. False: the value has another type.
bool fit_type(Json& value, ArgType type) {
    switch (type) {
        case ArgType::string:
        case ArgType::address:
        case ArgType::prefix:
        case ArgType::path:
        case ArgType::id:
        case ArgType::filter: return value.is_string();
        case ArgType::integer:
            if (value.is_string())
                if (const auto n = integer_of(value.get_ref<const std::string&>())) value = *n;
            return value.is_number_integer();
        case ArgType::boolean:
            if (value.is_string())
                if (const auto b = boolean_of(value.get_ref<const std::string&>())) value = *b;
            return value.is_boolean();
        case ArgType::scalar:
        case ArgType::port:
        case ArgType::ports:
        case ArgType::time:
        case ArgType::times:
        case ArgType::numbers: return value.is_string() || value.is_number_integer();
    }
    return false;
}

std::string no_argument(const Command& command, const std::string& name) {
    std::vector<std::string> names;
    std::string all;
    for (const ArgSpec& a : command.args) {
        names.push_back(a.name);
        all += (all.empty() ? "" : ", ") + a.name;
    }
    return "'" + command.name + "' has no argument '" + name + "'" + suggestion(name, names) +
           (all.empty() ? " (it has none)" : " (it has: " + all + ")");
}

/// A request; not an object if the line is invalid. `twice`: a repeated argument.
Json parse_request(std::string_view line, std::string& twice) {
    constexpr int kArgumentDepth = 2;
    std::set<std::string> seen;
    return Json::parse(
        line,
        [&](int depth, Json::parse_event_t event, Json& parsed) {
            if (event == Json::parse_event_t::key && depth == kArgumentDepth)
                if (const auto key = parsed.get<std::string>(); !seen.insert(key).second)
                    twice = key;
            return true;
        },
        false);
}

/// Returns an empty string if `args` matches the command, after converting types; else the error.
std::string fit_args(const Command& command, Json& args) {
    for (auto& [name, value] : args.items()) {
        const auto spec = std::find_if(command.args.begin(), command.args.end(),
                                       [&arg = name](const ArgSpec& a) { return a.name == arg; });
        if (spec == command.args.end()) return no_argument(command, name);
        if (!fit_type(value, spec->type))
            return "argument '" + spec->name + "' must be of type " + type_name(spec->type);
    }
    for (const ArgSpec& spec : command.args)
        if (spec.required && !args.contains(spec.name))
            return "argument '" + spec.name + "' is missing";
    return {};
}

}  // namespace

Result<std::unique_ptr<ControlServer>> ControlServer::open(ControlOptions options) {
    UniqueFd epoll(::epoll_create1(EPOLL_CLOEXEC));
    UniqueFd spare(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    if (!epoll || !spare)
        return Error{"cannot set up the control server: " + std::generic_category().message(errno)};
    const auto wait_on = [&epoll](const ListeningSocket& listener, Id id) -> Result<void> {
        epoll_event event{};
        event.events = EPOLLIN;
        event.data.u64 = id;
        if (::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, listener.fd(), &event) == 0) return {};
        return Error{"cannot wait on the control socket: " +
                     std::generic_category().message(errno)};
    };
    auto listener = ListeningSocket::claim(options.path);
    if (!listener) return listener.error();
    if (auto r = wait_on(*listener, kListenerId); !r) return r.error();
    std::optional<ListeningSocket> reading;
    if (!options.read_path.empty()) {
        auto claimed = ListeningSocket::claim(options.read_path, SOCK_STREAM, "reading socket",
                                              options.read_access);
        if (!claimed) return claimed.error();
        if (auto r = wait_on(*claimed, kReadingId); !r) return r.error();
        reading.emplace(std::move(*claimed));
    }
    return std::unique_ptr<ControlServer>(
        new ControlServer(std::move(options), std::move(*listener), std::move(reading),
                          std::move(epoll), std::move(spare)));
}

ControlServer::ControlServer(ControlOptions options, ListeningSocket listener,
                             std::optional<ListeningSocket> reading, UniqueFd epoll, UniqueFd spare)
    : options_(std::move(options)),
      listener_(std::move(listener)),
      reading_(std::move(reading)),
      epoll_(std::move(epoll)),
      spare_(std::move(spare)) {
    register_own_commands();
}

void ControlServer::register_own_commands() {
    register_command(
        {.name = "help",
         .help = "List this daemon's commands with their descriptions",
         .args = {},
         .handler =
             [this](const Json&) {
                 std::vector<Json> rows;
                 for (const auto& [name, command] : commands_)
                     rows.push_back(describe(command));
                 return rows_of(std::move(rows));
             },
         .effect = Effect::read,
         .columns = {{"COMMAND", {"command"}}, {"EFFECT", {"effect"}}, {"HELP", {"help"}}}});
    register_command(
        {.name = "complete",
         .help = "List the values that an argument of a command may have now",
         .args = {{"command", ArgType::string, true, "its words, with one blank between"},
                  {"argument", ArgType::string, true, "name of the argument"}},
         .handler = [this](const Json& args) -> Result<std::unique_ptr<RowSource>> {
             const auto command = commands_.find(args["command"].get_ref<const std::string&>());
             if (command == commands_.end()) return Error{"command: there is no such command"};
             std::vector<Json> rows;
             for (const ArgSpec& a : command->second.args) {
                 if (a.name != args["argument"]) continue;
                 for (const std::string& value : a.candidates ? a.candidates() : a.values)
                     rows.push_back({{"value", value}});
                 return rows_of(std::move(rows));
             }
             return Error{"argument: the command has no such argument"};
         },
         .effect = Effect::read,
         .columns = {{"VALUE", {"value"}}}});
}

void ControlServer::disconnect_all() noexcept {
    clients_.clear();
    counters_.control_clients.set(0);
}

std::size_t ControlServer::clients_who(Effect may) const noexcept {
    return static_cast<std::size_t>(
        std::count_if(clients_.begin(), clients_.end(),
                      [may](const auto& entry) { return entry.second.may == may; }));
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

    const auto began = Clock::now();
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
        serve_ready(event.data.u64, event.events);
    }
    counters_.control_clients.set(clients_.size());
    if (n <= 0 && !any_pending) return false;
    counters_.control_turn.add(static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - began).count()));
    return true;
}

void ControlServer::serve_ready(Id id, std::uint32_t events) {
    if (id == kListenerId) return accept_clients(listener_, Effect::write);
    if (id == kReadingId) return accept_clients(*reading_, Effect::read);
    if (const auto client = clients_.find(id); client != clients_.end()) {
        if (!serve(client->second, events) || !update_interest(id, client->second))
            clients_.erase(client);
    } else if (const auto watch = watches_.find(id); watch != watches_.end()) {
        watch->second();
    }
}

void ControlServer::accept_clients(const ListeningSocket& listener, Effect may) {
    // A bounded number: a flood of connections must not keep the thread here.
    for (unsigned i = 0; i < 64; ++i) {
        UniqueFd fd(::accept4(listener.fd(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
        if (!fd) {
            if ((errno == EMFILE || errno == ENFILE) && spare_) {
                // Without this the listener would stay readable, and poll() would spin.
                spare_.reset();
                UniqueFd refused(::accept4(listener.fd(), nullptr, nullptr, SOCK_CLOEXEC));
                refused.reset();
                spare_ = UniqueFd(::open("/dev/null", O_RDONLY | O_CLOEXEC));
                counters_.control_clients_refused.add();
                continue;
            }
            return;
        }
        if (clients_who(may) >= options_.max_clients && !displace_stuck(may)) {
            std::string line;
            append_line(line, error_line("busy", "too many clients (the limit is " +
                                                     std::to_string(options_.max_clients) +
                                                     "), try again"));
            // One try: a fresh socket's buffer is empty; otherwise the newcomer gets no message.
            (void)::send(fd.get(), line.data(), line.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
            counters_.control_clients_refused.add();
            continue;
        }
        const Id id = next_id_++;
        epoll_event event{};
        event.events = EPOLLIN;
        event.data.u64 = id;
        if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd.get(), &event) != 0) continue;
        Client& c = clients_[id];
        c.fd = std::move(fd);
        c.may = may;
        c.events = event.events;
        c.moved = Clock::now();
    }
}

bool ControlServer::displace_stuck(Effect may) {
    auto longest = clients_.end();
    for (auto it = clients_.begin(); it != clients_.end(); ++it)
        if (it->second.may == may &&
            (longest == clients_.end() || it->second.moved < longest->second.moved))
            longest = it;
    if (longest == clients_.end() ||
        Clock::now() - longest->second.moved < std::chrono::milliseconds(options_.stuck_after_ms))
        return false;
    clients_.erase(longest);
    counters_.control_clients_displaced.add();
    return true;
}

bool ControlServer::serve(Client& c, std::uint32_t events) {
    // EPOLLHUP: the peer has closed, or both sides are shut; no client reads the answer any more. A
    // client that only shut its sending side (`echo ... | socat`) still gets its answer.
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
    // Moving the rest to the front at half-way bounds the buffer at a constant cost a byte.
    if (c.out_sent * 2 >= c.out.size()) {
        c.out.erase(0, c.out_sent);
        c.out_sent = 0;
    }
    return true;
}

bool ControlServer::update_interest(Id id, Client& c) {
    std::uint32_t events = 0;
    const bool wants_input = !c.source && !c.hang_up && has_room(c);
    // take_requests() has work on the received bytes, or an error to report.
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
    counters_.control_requests.add();
    std::string twice;
    Json request = parse_request(line, twice);
    if (!request.is_object())
        return answer_error(c, "bad_request",
                            R"(expected one JSON object a line: {"v":1,"command":"help"})");
    if (const auto v = request.find("v"); v == request.end() || *v != 1)
        return answer_error(c, "bad_version", R"(expected "v":1, the only protocol there is)");
    const auto name = request.find("command");
    if (name == request.end() || !name->is_string())
        return answer_error(c, "bad_request", R"(expected "command" to be a string)");
    Json none = Json::object();
    Json* args = &none;  // not a copy, which takes stack for each level of a deep one
    for (auto& [key, value] : request.items()) {
        if (key == "args" && value.is_object())
            args = &value;
        else if (key == "args")
            return answer_error(c, "bad_request", R"(expected "args" to be an object)");
        else if (key != "v" && key != "command")
            return answer_error(c, "bad_request", "unknown key '" + key + "'");
    }
    const auto& words = name->get_ref<const std::string&>();
    const auto found = commands_.find(words);
    if (found == commands_.end()) {
        std::vector<std::string> names;
        for (const auto& [known, command] : commands_)
            names.push_back(known);
        return answer_error(c, "unknown_command",
                            "there is no command '" + words + "'" + suggestion(words, names) +
                                "; 'help' lists them");
    }
    if (!twice.empty())
        return answer_error(c, "bad_args", "argument '" + twice + "' is given more than once");
    run_command(c, found->second, *args);
}

void ControlServer::run_command(Client& c, const Command& command, Json& args) {
    if (command.effect == Effect::write && c.may == Effect::read) {
        counters_.control_writes_refused.add();
        return answer_error(c, "read_only",
                            "'" + command.name +
                                "' changes something or shows payload, and this socket only "
                                "reads; the control socket is '" +
                                path() + "'");
    }
    if (const std::string wrong = fit_args(command, args); !wrong.empty())
        return answer_error(c, "bad_args", wrong);
    asked_by_ = peer_of(c.fd.get());
    if (command.effect == Effect::write && options_.audit) options_.audit(command.name, asked_by_);
    try {
        auto source = command.handler(args);
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
            counters_.control_rows.add();
            // Wrapped by hand: no second tree for each of millions of rows.
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
    counters_.control_errors.add();
    append_line(c.out, error_line(code, message));
}

void ControlServer::answer_end(Client& c) {
    c.source.reset();
    append_line(c.out, Json{{"end", {{"ok", true}, {"rows", c.rows}}}});
}

}  // namespace postern
