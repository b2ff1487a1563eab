// SPDX-License-Identifier: BSD-3-Clause
// posternctl: sends a command to a running postern and prints the answer, as columns for operators
// or as JSON lines for scripts. The daemon describes the commands, their arguments and columns. It
// holds no state: it may be killed at any moment.
//
// Exit codes: 0 answered (also if the reader of the output went away), 1 no daemon, or it failed to
// answer, 2 the command line is wrong, or the socket refuses the command.
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <CLI/CLI.hpp>

#include "control/client.h"
#include "control/suggest.h"
#include "ctl_commands.h"
#include "ctl_view.h"
#include "state_file.h"

namespace postern {
namespace {

constexpr int kOk = 0;
constexpr int kFailed = 1;
constexpr int kUsage = 2;

constexpr const char* kHelp =
    R"(Usage: posternctl [OPTIONS] COMMAND [VALUE...] [KEY=VALUE...]
Asks a running postern firewall about its state.

Options:
  -s, --socket PATH   the daemon's control socket, or the one that only reads
                      (default: /run/postern/control.sock)
  --json              one JSON object a line instead of columns
  -h, --help          this help; after a command, its own
  --version           the version of this program
  --bash-completion   a script that completes commands in bash
Exit codes: 0 answered, 1 no daemon or no answer, 2 wrong command line, or a command that this
socket does not take.
)";

constexpr const char* kCompletion = R"(# For bash: source <(posternctl --bash-completion)
_posternctl() {
    local words last
    read -ra words <<< "${COMP_LINE:0:COMP_POINT}"
    [[ ${COMP_LINE:0:COMP_POINT} == *' ' ]] && words+=('')
    last=${words[-1]}
    mapfile -t COMPREPLY < <("${words[0]}" --complete "${words[@]:1}" 2>/dev/null)
    # Bash completes what follows the equals sign.
    [[ $last == *=* ]] && COMPREPLY=("${COMPREPLY[@]#"${last%%=*}="}")
    [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *= ]] && compopt -o nospace
}
complete -o default -F _posternctl posternctl
)";

int complain(const std::string& message, int code) {
    std::fprintf(stderr, "posternctl: %s\n", message.c_str());
    return code;
}

int print(const std::string& text) {
    Output out;
    if (!text.empty()) out.line(text.ends_with('\n') ? text.substr(0, text.size() - 1) : text);
    out.flush();
    if (out.error() == 0 || out.error() == EPIPE) return kOk;
    return complain("cannot write: " + std::generic_category().message(out.error()), kFailed);
}

int ask(ControlClient& client, const Json& command, const Json& args, bool json) {
    const bool endless = command.value("endless", false);
    client.ask(command.value("command", ""), args);
    Output out;
    Table table(command.value("columns", Json::array()), out);
    Reply reply;
    while ((reply = client.next()).kind == Reply::Kind::row) {
        if (json)
            out.line(reply.text);
        else
            table.add(Json::parse(reply.text));
        if (endless) {
            if (!json) table.finish();
            out.flush();
        }
        if (out.error() != 0) break;
    }
    if (!json) table.finish();
    out.flush();
    if (out.error() == EPIPE) return kOk;  // `| head` has read enough
    if (out.error() != 0)
        return complain("cannot write: " + std::generic_category().message(out.error()), kFailed);
    if (reply.kind == Reply::Kind::end) return kOk;
    const bool our_fault =
        reply.code == "unknown_command" || reply.code == "bad_args" || reply.code == "read_only";
    return complain(reply.text, our_fault ? kUsage : kFailed);
}

/// The command line without the command.
struct Options {
    std::string socket = kDefaultControlSocket;
    bool json = false;
    bool help = false;
};

std::string describe(const Json& command, bool json) {
    return json ? command.dump() : help_of(command);
}

/// `words` is not empty.
int run_command(const Options& options, const Words& words) {
    auto client = ControlClient::connect(options.socket);
    if (!client) return complain(client.error().message, kFailed);
    auto commands = CtlCommands::ask(*client);
    if (!commands) return complain(commands.error().message, kFailed);
    const auto found = commands->match(words);
    if (found.command == nullptr) {
        const std::string group = commands->list({words[0]});
        if (options.help && words.size() == 1 && !group.empty()) return print(group);
        return complain(commands->no_match(words), kUsage);
    }
    const Json& command = *found.command;
    if (options.help) return print(describe(command, options.json));
    const Words rest(words.begin() + static_cast<std::ptrdiff_t>(found.words), words.end());
    if (const std::string file = command.value("file", "none"); file != "none") {
        auto path = read_file_argument(command, rest);
        if (!path) return complain(path.error().message, kUsage);
        if (file == "read") return restore_state(options.socket, *path, options.json);
        auto args = read_arguments(command, Words(rest.begin() + 1, rest.end()));
        if (!args) return complain(args.error().message, kUsage);
        if (options.json && !args->contains("form")) (*args)["form"] = "json";
        return save_state(options.socket, *path, *args, options.json);
    }
    auto args = read_arguments(command, rest);
    if (!args) return complain(args.error().message, kUsage);
    if (!command.value("endless", false)) return ask(*client, command, *args, options.json);
    // There may be no event for a long time.
    auto listener = ControlClient::connect(options.socket, 0);
    if (!listener) return complain(listener.error().message, kFailed);
    return ask(*listener, command, *args, options.json);
}

/// The options and the list of commands, or the help of one.
int run_help(const Options& options, const Words& words) {
    if (!words.empty()) return run_command({options.socket, options.json, true}, words);
    auto client = ControlClient::connect(options.socket);
    auto commands = client ? CtlCommands::ask(*client) : Result<CtlCommands>(client.error());
    if (!commands) {
        complain(commands.error().message + "; its commands are not known", kOk);
        return options.json ? kFailed : print(kHelp);
    }
    if (!options.json)
        return print(std::string(kHelp) + "\nCommands (posternctl COMMAND --help says more):\n" +
                     commands->list());
    std::string all;
    for (const Json& command : commands->all())
        all += command.dump() + "\n";
    return print(all);
}

/// For shells: completions of the last word. Prints nothing if nothing is known.
int run_complete(Words words) {
    Options options;
    Words rest;
    for (std::size_t i = 0; i < words.size(); ++i) {
        if (words[i] == "--json" && i + 1 < words.size()) continue;
        if ((words[i] == "-s" || words[i] == "--socket") && i + 2 < words.size())
            options.socket = words[++i];
        else
            rest.push_back(words[i]);
    }
    auto client = ControlClient::connect(options.socket, 2);
    if (!client) return kFailed;
    auto commands = CtlCommands::ask(*client);
    if (!commands) return kFailed;
    for (const std::string& candidate : commands->complete(rest, *client))
        std::printf("%s\n", candidate.c_str());
    return kOk;
}

int run(int argc, char** argv) {
    if (argc > 1 && std::string_view(argv[1]) == "--complete")
        return run_complete(Words(argv + 2, argv + argc));
    CLI::App app;
    Options options;
    bool version = false, completion = false;
    app.add_option("-s,--socket", options.socket)->take_last();
    app.add_flag("--json", options.json);
    app.set_help_flag("");
    app.add_flag("-h,--help", options.help);
    app.add_flag("--version", version);
    app.add_flag("--bash-completion", completion);
    app.allow_extras();  // reported below, in better words

    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& e) {
        return app.exit(e) == 0 ? kOk : kUsage;
    }
    if (version) return print("posternctl " POSTERN_VERSION);
    if (completion) return print(kCompletion);
    Words words = app.remaining();
    for (const std::string& word : words)
        if (word.starts_with('-'))
            return complain("there is no option '" + word + "'" +
                                suggestion(word, {"--socket", "--json", "--help", "--version",
                                                  "--bash-completion"}) +
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
