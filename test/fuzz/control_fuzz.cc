// SPDX-License-Identifier: BSD-3-Clause
// Requests on the reading socket, which others than the operator may write to: every answer is
// JSON, one end or error a request, and nothing that writes is ever run.
//
// Input: what a client sends, before it shuts its sending side.
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <sys/socket.h>

#include "control/server.h"
#include "require.h"

namespace postern {
namespace {

struct Bench {
    ~Bench() {
        server.reset();
        if (!folder.empty()) std::filesystem::remove_all(folder);
    }
    std::string folder;
    std::unique_ptr<ControlServer> server;
    std::string reading;
    unsigned written = 0;  ///< times that the writing command was run
};

Bench& bench() {
    static Bench b;
    return b;
}

std::unique_ptr<RowSource> some_rows(const Json& args) {
    return rows_of({args, {{"n", 1}}});
}

/// Until nothing comes any more.
std::string exchange(const std::uint8_t* data, std::size_t size) {
    auto fd = connect_unix(bench().reading);
    require(static_cast<bool>(fd), "the socket is gone");
    bench().server->poll(0);
    std::string answer;
    std::size_t sent = 0;
    for (bool open = true; open;) {
        if (sent < size) {
            const ssize_t n =
                ::send(fd->get(), data + sent, size - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
            sent = n > 0 ? sent + static_cast<std::size_t>(n) : n < 0 ? size : sent;
            if (sent == size) ::shutdown(fd->get(), SHUT_WR);
        } else if (size == 0) {
            ::shutdown(fd->get(), SHUT_WR);
        }
        bench().server->poll(0);
        char buffer[65536];
        for (ssize_t n; (n = ::recv(fd->get(), buffer, sizeof buffer, MSG_DONTWAIT)) >= 0;) {
            if (n == 0) {
                open = false;
                break;
            }
            answer.append(buffer, static_cast<std::size_t>(n));
        }
    }
    return answer;
}

}  // namespace
}  // namespace postern

extern "C" int LLVMFuzzerInitialize(int*, char***) {
    using namespace postern;
    std::string folder = "/tmp/postern-control-fuzz-XXXXXX";
    require(::mkdtemp(folder.data()) != nullptr, "no folder");
    bench().folder = folder;
    ControlOptions options;
    options.path = folder + "/control.sock";
    options.read_path = folder + "/read.sock";
    options.max_line_bytes = 1024;
    auto opened = ControlServer::open(options);
    require(static_cast<bool>(opened), "no server");
    bench().server = std::move(*opened);
    bench().reading = options.read_path;
    bench().server->register_command(
        {.name = "look",
         .help = "rows",
         .args = {{.name = "word", .help = "one of two", .values = {"new", "old"}},
                  {"count", ArgType::integer, false, "a number"},
                  {"flag", ArgType::boolean, false, "a truth"},
                  {"address", ArgType::address, false, "an address"},
                  {"any", ArgType::scalar, false, "a text or a number"}},
         .handler = [](const Json& args) { return some_rows(args); },
         .effect = Effect::read});
    bench().server->register_command(
        {.name = "end", .help = "writes", .args = {}, .handler = [](const Json& args) {
             ++bench().written;
             return some_rows(args);
         }});
    return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace postern;
    const ControlCounters& counters = bench().server->counters();
    const std::uint64_t requests = counters.control_requests.get();
    const std::string answer = exchange(data, size);
    require(bench().written == 0, "a command that writes was run on the reading socket");
    std::uint64_t ends = 0, own_errors = 0;
    for (std::size_t at = 0; at < answer.size();) {
        const std::size_t end = answer.find('\n', at);
        require(end != std::string::npos, "an answer without its end");
        const Json line = Json::parse(answer.substr(at, end - at), nullptr, false);
        require(line.is_object() && line.size() == 1, "an answer that is no object");
        if (!line.contains("row")) ++ends;
        // Said of the input as such, not of a request.
        if (line.contains("error") &&
            (line["error"]["code"] == "line_too_long" ||
             line["error"]["message"] == "the last request does not end with a newline"))
            ++own_errors;
        at = end + 1;
    }
    require(ends - own_errors == counters.control_requests.get() - requests,
            "not one end for each request");
    return 0;
}
