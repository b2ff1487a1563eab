// SPDX-License-Identifier: BSD-3-Clause
// postern-web: serves a running postern's metrics, states and a page over HTTP. It needs the socket
// that only reads, and no privilege.
//
// Exit codes: 0 ended by a signal, 1 it cannot run, 2 the command line is wrong.
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include <CLI/CLI.hpp>
#include <arpa/inet.h>
#include <grp.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "web/api.h"
#include "web/history.h"
#include "web/http.h"
#include "web/replay_box.h"

namespace postern {
namespace {

constexpr int kFailed = 1, kUsage = 2;
constexpr const char* kReadingSocket = "/run/postern-read/read.sock";

struct Options {
    std::string socket = kReadingSocket;
    std::string listen = "127.0.0.1:9810";
    std::string token_file, user;
    ReplayBox::Options replay;
    std::vector<std::string> hosts;
    HttpOptions http;
};

int complain(const std::string& message, int code) {
    std::fprintf(stderr, "postern-web: %s\n", message.c_str());
    return code;
}

/// ADDRESS:PORT, with an IPv6 address in brackets.
Result<void> read_listen(const std::string& text, HttpOptions& http) {
    const Error expected{"--listen " + text +
                         ": expected ADDRESS:PORT, such as 127.0.0.1:9810 or [::1]:9810"};
    const std::size_t colon = text.rfind(':');
    if (colon == std::string::npos) return expected;
    std::string address = text.substr(0, colon);
    const std::string port = text.substr(colon + 1);
    if (port.empty() || port.size() > 5 || port.find_first_not_of("0123456789") != port.npos)
        return expected;
    http.port = std::stoi(port);
    if (http.port > 65535) return expected;
    if (address == "localhost") address = "127.0.0.1";
    if (address.starts_with('[') && address.ends_with(']'))
        address = address.substr(1, address.size() - 2);
    else if (address.find(':') != std::string::npos)
        return expected;
    std::array<unsigned char, 16> bytes;
    if (::inet_pton(AF_INET, address.c_str(), bytes.data()) != 1 &&
        ::inet_pton(AF_INET6, address.c_str(), bytes.data()) != 1)
        return expected;
    http.address = address;
    return {};
}

bool is_loopback(const std::string& address) {
    std::array<unsigned char, 16> bytes{};
    if (::inet_pton(AF_INET, address.c_str(), bytes.data()) == 1) return bytes[0] == 127;
    return address == "::1";
}

/// The first line of the file.
Result<std::string> read_token(const std::string& file) {
    constexpr std::size_t kShortest = 16, kLongest = 512;
    std::ifstream in(file);
    std::string token;
    if (!in || !std::getline(in, token))
        return Error{"cannot read a token from " + file + ": " + std::strerror(errno)};
    const bool printable =
        token.find_first_not_of(
            "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~+/"
            "=") == token.npos;
    if (token.size() < kShortest || token.size() > kLongest || !printable)
        return Error{"the first line of " + file +
                     " is no token: expected 16 to 512 letters, digits or -._~+/="};
    return token;
}

Result<void> become(const std::string& user) {
    const passwd* const who = ::getpwnam(user.c_str());
    if (who == nullptr) return Error{"--user " + user + ": there is no such user"};
    const uid_t uid = who->pw_uid;
    const gid_t gid = who->pw_gid;
    // Its groups decide about the socket.
    if (::initgroups(user.c_str(), gid) != 0 || ::setgid(gid) != 0 || ::setuid(uid) != 0)
        return Error{"--user " + user + ": " + std::strerror(errno)};
    return {};
}

/// `postern` beside this program: where both are installed, or where they are built.
std::string program_beside() {
    std::error_code none;
    const auto here = std::filesystem::read_symlink("/proc/self/exe", none).parent_path();
    for (const auto& path : {here / "postern", here.parent_path() / "postern"})
        if (::access(path.c_str(), X_OK) == 0 && !std::filesystem::is_directory(path, none))
            return path;
    return {};
}

/// Without a configuration there are no replays.
Result<void> read_replay(ReplayBox::Options& replay) {
    if (replay.config.empty()) {
        if (!replay.program.empty()) return Error{"--postern needs --replay-config"};
        return {};
    }
    if (::access(replay.config.c_str(), R_OK) != 0)
        return Error{"cannot read " + replay.config + ": " + std::strerror(errno)};
    if (replay.program.empty()) replay.program = program_beside();
    if (::access(replay.program.c_str(), X_OK) != 0)
        return Error{"--replay-config needs the program postern: --postern PROGRAM"};
    return {};
}

int serve(Options options) {
    ApiOptions api_options{.hosts = std::move(options.hosts)};
    if (auto listen = read_listen(options.listen, options.http); !listen)
        return complain(listen.error().message, kUsage);
    if (options.http.certificate.empty() != options.http.key.empty())
        return complain("--tls-cert and --tls-key need each other", kUsage);
    if (!options.http.client_ca.empty() && options.http.certificate.empty())
        return complain("--client-ca needs --tls-cert and --tls-key", kUsage);
    if (!options.token_file.empty()) {
        auto token = read_token(options.token_file);
        if (!token) return complain(token.error().message, kUsage);
        api_options.token = std::move(*token);
    }
    if (auto r = read_replay(options.replay); !r) return complain(r.error().message, kUsage);
    const bool loopback = is_loopback(options.http.address),
               checks_clients = !api_options.token.empty() || !options.http.client_ca.empty();
    if (!loopback && !checks_clients)
        return complain("everybody who reaches " + options.http.address +
                            " could read this firewall's state: give --token-file, or "
                            "--client-ca with --tls-cert and --tls-key, or listen on 127.0.0.1",
                        kUsage);
    if (!loopback && options.http.certificate.empty())
        complain("without --tls-cert the token and all answers can be read on their way", 0);

    ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    // These live until the process ends, as the threads do.
    static Daemon daemon(Daemon::Options{.socket = options.socket});
    static History history(daemon);
    static ReplayBox replays(std::move(options.replay));
    static Api api(daemon, history, replays, std::move(api_options));
    static auto server = HttpServer::open(
        options.http, [](const HttpRequest& request) { return api.handle(request); });
    if (!server) return complain(server.error().message, kFailed);
    if (!options.user.empty()) {
        if (auto r = become(options.user); !r) return complain(r.error().message, kFailed);
    } else if (::geteuid() == 0) {
        complain("runs as root, which it does not need: --user NAME", 0);
    }
    // Before threads exist: they inherit it. A signal ends the process, which has nothing to save.
    sigset_t ends;
    sigemptyset(&ends);
    for (const int signal : {SIGINT, SIGTERM, SIGQUIT, SIGHUP})
        sigaddset(&ends, signal);
    pthread_sigmask(SIG_BLOCK, &ends, nullptr);
    std::signal(SIGPIPE, SIG_IGN);
    history.start();
    std::thread([] { (*server)->run(); }).detach();
    const std::string& address = options.http.address;
    const bool six = address.find(':') != std::string::npos;
    std::printf("postern-web: listening on %s://%s%s%s:%d/, asks %s\n",
                options.http.certificate.empty() ? "http" : "https", six ? "[" : "",
                address.c_str(), six ? "]" : "", (*server)->port(), options.socket.c_str());
    std::fflush(stdout);
    int signal = 0;
    while (sigwait(&ends, &signal) != 0) {
    }
    _exit(0);
}

}  // namespace
}  // namespace postern

int main(int argc, char** argv) {
    postern::Options options;
    bool openapi = false;
    CLI::App app{"postern-web: metrics, states and a page of a running postern, over HTTP"};
    app.set_version_flag("--version", "postern-web " POSTERN_VERSION);
    app.add_option("-s,--socket", options.socket,
                   "the daemon's socket that only reads (control.read_socket)")
        ->capture_default_str();
    app.add_option("--listen", options.listen,
                   "address and port; port 0: any free one, which it prints")
        ->capture_default_str();
    app.add_option("--token-file", options.token_file,
                   "clients have to give the first line of this file as bearer token");
    app.add_option("--tls-cert", options.http.certificate, "certificate (PEM): HTTPS");
    app.add_option("--tls-key", options.http.key, "its key (PEM)");
    app.add_option("--client-ca", options.http.client_ca,
                   "clients need a certificate of this authority (PEM)");
    app.add_option("--host", options.hosts,
                   "a name by which clients may call this server, besides localhost and addresses");
    app.add_option("--replay-config", options.replay.config,
                   "replay captures that clients send, with this configuration");
    app.add_option("--postern", options.replay.program,
                   "the program that replays them (default: beside this one)");
    app.add_option("--user", options.user, "become this user as soon as it listens");
    app.add_flag("--openapi", openapi, "print the description of the JSON API, and end");
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& e) {
        const int code = app.exit(e);
        return code == 0 ? 0 : postern::kUsage;
    }
    if (openapi) {
        std::printf("%s\n", postern::Api::openapi().c_str());
        return std::fflush(stdout) == 0 ? 0 : postern::kFailed;
    }
    return postern::serve(std::move(options));
}
