// SPDX-License-Identifier: BSD-3-Clause
// posternctl: sends a command to a running postern and prints the answer, as columns for operators
// or as JSON lines for scripts. The daemon describes the commands, their arguments and columns. It
// holds no state: it may be killed at any moment.
//
// Exit codes: 0 answered (also if the reader of the output went away), 1 no daemon, or it failed to
// answer, 2 the command line is wrong, or the socket refuses the command.
#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <vector>

#include <CLI/CLI.hpp>
#include <unistd.h>

#include "completion.h"
#include "control/client.h"
#include "control/suggest.h"
#include "ctl_capture.h"
#include "ctl_commands.h"
#include "ctl_exit.h"
#include "ctl_support.h"
#include "ctl_view.h"
#include "state_file.h"

namespace postern {
namespace {

constexpr const char* kHelp =
    R"(Usage: posternctl [OPTIONS] COMMAND [VALUE...] [KEY=VALUE...]
Asks a running postern firewall about its state.

Options:
  -s, --socket PATH   the daemon's control socket, or the one that only reads
                      (default: /run/postern/control.sock)
  --json              one JSON object a line instead of columns
  --columns A,B,...   these columns only, or fields of the JSON rows
  --wide              all columns; without it those that fit into the terminal
  --no-header         no titles
  --sort COLUMN       in this order; --reverse: from the highest
  --limit N           the first N rows only
  --all               rows of zeros, too (--json always has them)
  --watch[=SECONDS]   again every 2 seconds, or as often as given
  -w, --write FILE    packets of a capture into this pcapng file; - is standard
                      output
  -h, --help          this help; after a command, its own
  --version           the version of this program
  --bash-completion, --zsh-completion
                      a script that completes commands in this shell
A command of posternctl itself:
  support FILE        one archive (tar) for a bug report: counters, states,
                      names and the configuration; no payload, no connections
Exit codes: 0 answered, 1 no daemon or no answer, 2 wrong command line, or a
command that this socket does not take.
)";

const Words kOptions{"--socket",        "--json",
                     "--columns",       "--wide",
                     "--no-header",     "--sort",
                     "--reverse",       "--limit",
                     "--all",           "--watch",
                     "--write",         "--help",
                     "--version",       "--bash-completion",
                     "--zsh-completion"};
/// Those with a value.
const Words kValued{"-s", "--socket", "--columns", "--sort", "--limit", "-w", "--write"};

int print(const std::string& text) {
    Output out;
    if (!text.empty()) out.line(text.ends_with('\n') ? text.substr(0, text.size() - 1) : text);
    out.flush();
    if (out.error() == 0 || out.error() == EPIPE) return kOk;
    return complain("cannot write: " + std::generic_category().message(out.error()), kFailed);
}

/// The command line without the command.
struct Options {
    std::string socket = kDefaultControlSocket;
    ViewOptions view;
    double watch_s = 0;  ///< 0: once
    std::string write;   ///< a file for packets; empty: none
    bool help = false;
};

/// What the daemon's last line means for the exit code.
int end_of(const Reply& reply) {
    if (reply.kind == Reply::Kind::end) return kOk;
    const bool our_fault =
        reply.code == "unknown_command" || reply.code == "bad_args" || reply.code == "read_only";
    return complain(reply.text, our_fault ? kUsage : kFailed);
}

/// Prints the rows of one answer. `enough`: no more of them are wanted.
int show_rows(ControlClient& client, const Json& command, const Json& args,
              const ViewOptions& options, bool& enough) {
    const bool endless = command.value("endless", false);
    Output out;
    auto view = RowView::make(command, options, out);
    if (!view) return complain(view.error().message, kUsage);
    client.ask(command.value("command", ""), args);
    Reply reply;
    while (!view->is_full() && (reply = client.next()).kind == Reply::Kind::row) {
        if (auto added = view->add(reply.text); !added)
            return complain(added.error().message, kUsage);
        if (endless) view->flush();
        if (out.error() != 0) break;
    }
    view->finish();
    enough = out.error() != 0;
    if (out.error() == EPIPE) return kOk;  // `| head` has read enough
    if (out.error() != 0)
        return complain("cannot write: " + std::generic_category().message(out.error()), kFailed);
    if (view->shown() == 0 && view->hidden() != 0)
        std::fprintf(stderr, "posternctl: all %s are zero; --all shows them\n",
                     std::to_string(view->hidden()).c_str());
    return view->is_full() ? kOk : end_of(reply);
}

/// Rows are printed again and again, by a connection of its own each time: a list that was not
/// read to its end needs no more of the daemon.
int watch(const Options& options, const Json& command, const Json& args) {
    const bool terminal = ::isatty(STDOUT_FILENO) == 1;
    for (bool first = true;; first = false) {
        auto client = ControlClient::connect(options.socket);
        if (!client) return complain(client.error().message, kFailed);
        if (terminal)
            std::fputs("\033[H\033[2J", stdout);
        else if (!first)
            std::fputs("\n", stdout);
        if (std::fflush(stdout) != 0) return kOk;
        bool enough = false;
        const int code = show_rows(*client, command, args, options.view, enough);
        if (code != kOk || enough) return code;
        std::this_thread::sleep_for(std::chrono::duration<double>(options.watch_s));
    }
}

int ask(ControlClient& client, const Options& options, const Json& command, const Json& args) {
    bool enough = false;
    if (options.watch_s == 0) return show_rows(client, command, args, options.view, enough);
    if (command.value("endless", false) || command.value("effect", "write") != "read")
        return complain(
            command.value("command", "") + ": --watch is for commands that read a state", kUsage);
    return watch(options, command, args);
}

std::string describe(const Json& command, bool json) {
    return json ? command.dump() : help_of(command);
}

/// `words` is not empty.
int run_command(const Options& options, const Words& words) {
    auto client = ControlClient::connect(options.socket);
    if (!client) {
        const CtlCommands known = CtlCommands::known();
        const auto found = known.match(words);
        if (options.help && found.command != nullptr)
            return print(describe(*found.command, options.view.json));
        return complain(client.error().message, kFailed);
    }
    auto commands = CtlCommands::ask(*client);
    if (!commands) return complain(commands.error().message, kFailed);
    if (words[0] == "support" && !options.help)
        return write_support(options.socket, *commands, Words(words.begin() + 1, words.end()));
    const auto found = commands->match(words);
    if (found.command == nullptr) {
        const std::string group = commands->list({words[0]});
        if (options.help && words.size() == 1 && !group.empty()) return print(group);
        if (options.help && words[0] == "support") return print(kHelp);
        return complain(commands->no_match(words), kUsage);
    }
    const Json& command = *found.command;
    if (options.help) return print(describe(command, options.view.json));
    const Words rest(words.begin() + static_cast<std::ptrdiff_t>(found.words), words.end());
    const std::string file = command.value("file", "none");
    if (!options.write.empty() && file != "packets")
        return complain(command.value("command", "") + ": -w is for commands that capture packets",
                        kUsage);
    if (file == "read" || file == "write") {
        auto path = read_file_argument(command, rest);
        if (!path) return complain(path.error().message, kUsage);
        if (file == "read") return restore_state(options.socket, *path, options.view.json);
        auto args = read_arguments(command, Words(rest.begin() + 1, rest.end()));
        if (!args) return complain(args.error().message, kUsage);
        if (options.view.json && !args->contains("form")) (*args)["form"] = "json";
        return save_state(options.socket, *path, *args, options.view.json);
    }
    auto args = read_arguments(command, rest);
    if (!args) return complain(args.error().message, kUsage);
    if (auto compiled = compile_filters(command, *args); !compiled)
        return complain(compiled.error().message, kUsage);
    if (!options.write.empty())
        return write_packets(options.socket, options.write, command.value("command", ""), *args,
                             options.view.json);
    if (!command.value("endless", false)) return ask(*client, options, command, *args);
    // There may be no event for a long time.
    auto listener = ControlClient::connect(options.socket, 0);
    if (!listener) return complain(listener.error().message, kFailed);
    return ask(*listener, options, command, *args);
}

/// The options and the list of commands, or the help of one.
int run_help(const Options& options, const Words& words) {
    if (!words.empty()) {
        Options of_command = options;
        of_command.help = true;
        return run_command(of_command, words);
    }
    auto client = ControlClient::connect(options.socket);
    auto commands = client ? CtlCommands::ask(*client) : Result<CtlCommands>(client.error());
    if (!commands) {
        complain(commands.error().message + "; these are the commands of this version", kOk);
        commands = CtlCommands::known();
    }
    if (!options.view.json)
        return print(std::string(kHelp) + "\nCommands (posternctl COMMAND --help says more):\n" +
                     commands->list());
    std::string all;
    for (const Json& command : commands->all())
        all += command.dump() + "\n";
    return print(all);
}

/// For shells: completions of the last word. Prints nothing if nothing is known.
int run_complete(const Words& words) {
    Options options;
    Words rest;
    for (std::size_t i = 0; i < words.size(); ++i) {
        const bool last = i + 1 == words.size();
        const bool valued = std::ranges::find(kValued, words[i]) != kValued.end();
        if (valued && i + 2 == words.size()) return kOk;  // its value is not known here
        if ((words[i] == "-s" || words[i] == "--socket") && !last)
            options.socket = words[++i];
        else if (valued && !last)
            ++i;
        else if (last || !words[i].starts_with('-'))
            rest.push_back(words[i]);
    }
    if (!rest.empty() && rest.back().starts_with('-')) {
        for (const std::string& option : kOptions)
            if (option.starts_with(rest.back())) std::printf("%s\n", option.c_str());
        return kOk;
    }
    auto client = ControlClient::connect(options.socket, 2);
    auto commands = client ? CtlCommands::ask(*client) : Result<CtlCommands>(client.error());
    const bool asked = static_cast<bool>(commands);
    const CtlCommands all = asked ? std::move(*commands) : CtlCommands::known();
    for (const std::string& candidate : all.complete(rest, asked ? &*client : nullptr))
        std::printf("%s\n", candidate.c_str());
    return kOk;
}

/// Seconds between two answers. False: it is no such number.
bool read_period(const std::string& text, double& seconds) {
    std::istringstream in(text);
    return (in >> seconds) && in.eof() && seconds >= 0.05 && seconds <= 86400;
}

constexpr std::uint64_t kMostRows = 1'000'000'000'000;

/// Rows. False: it is no such number.
bool read_limit(const std::string& text, std::optional<std::uint64_t>& limit) {
    std::uint64_t n = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
    limit = n;
    return error == std::errc{} && end == text.data() + text.size() && n >= 1 && n <= kMostRows;
}

int run(int argc, char** argv) {
    if (argc > 1 && std::string_view(argv[1]) == "--complete")
        return run_complete(Words(argv + 2, argv + argc));
    CLI::App app;
    Options options;
    ViewOptions& view = options.view;
    std::string columns, watch, limit;
    bool version = false, bash = false, zsh = false, no_header = false;
    app.add_option("-s,--socket", options.socket)->take_last();
    app.add_flag("--json", view.json);
    app.add_option("--columns", columns)->take_last();
    app.add_flag("--wide", view.wide);
    app.add_flag("--no-header", no_header);
    app.add_option("--sort", view.sort)->take_last();
    app.add_flag("--reverse", view.reverse);
    app.add_option("--limit", limit)->take_last();
    app.add_flag("--all", view.all);
    // The value only after '=', so that a command may follow.
    app.add_flag("--watch{2}", watch);
    app.add_option("-w,--write", options.write)->take_last();
    app.set_help_flag("");
    app.add_flag("-h,--help", options.help);
    app.add_flag("--version", version);
    app.add_flag("--bash-completion", bash);
    app.add_flag("--zsh-completion", zsh);
    app.allow_extras();  // reported below, in better words

    try {
        app.parse(argc, argv);
    } catch (const CLI::ArgumentMismatch& e) {
        const std::string text = e.what();
        return complain(text.substr(0, text.find(':')) + ": expected a value", kUsage);
    } catch (const CLI::ParseError& e) {
        return complain(e.what(), kUsage);
    }
    if (version) return print("posternctl " POSTERN_VERSION);
    if (bash) return print(bash_completion("posternctl"));
    if (zsh) return print(zsh_completion("posternctl"));
    view.header = !no_header;
    for (std::istringstream names(columns); std::getline(names, columns, ',');)
        view.columns.push_back(columns);
    if (!limit.empty() && !read_limit(limit, view.limit))
        return complain("--limit: expected a number of rows, found '" + limit + "'", kUsage);
    if (!watch.empty() && !read_period(watch, options.watch_s))
        return complain("--watch: expected seconds (0.05 to 86400), found '" + watch + "'", kUsage);
    Words words = app.remaining();
    for (const std::string& word : words)
        if (word.starts_with('-'))
            return complain("there is no option '" + word + "'" + suggestion(word, kOptions) +
                                "; 'posternctl --help' lists them",
                            kUsage);
    const bool help = !words.empty() && words[0] == "help";
    if (help) words.erase(words.begin());
    if (help || (options.help && words.empty())) return run_help(options, words);
    if (words.empty()) {
        std::fputs(kHelp, stderr);
        return kUsage;
    }
    return run_command(options, words);
}

}  // namespace
}  // namespace postern

int main(int argc, char** argv) {
    std::signal(SIGPIPE, SIG_IGN);  // a closed pipe is an error of write(), see Output
    try {
        return postern::run(argc, argv);
    } catch (const std::exception& e) {
        std::fprintf(stderr, "posternctl: %s\n", e.what());
        return postern::kFailed;
    }
}
