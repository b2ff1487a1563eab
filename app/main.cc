// SPDX-License-Identifier: BSD-3-Clause
// postern: the daemon's command line.
#include <cstdio>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include "check.h"
#include "completion.h"
#include "config/description.h"
#include "config/load.h"
#include "config_history.h"
#include "control/suggest.h"
#include "describe.h"
#include "firewall.h"
#include "replay.h"
#include "run.h"

namespace {

constexpr int kBadConfiguration = 2;

/// Prints its warnings and errors. Returns nothing if it cannot be used.
std::optional<postern::Spec> used(postern::LoadResult result,
                                  std::vector<postern::IncludedFile>* included = nullptr) {
    for (const auto& w : result.warnings)
        std::fprintf(stderr, "%s (warning)\n", w.to_string().c_str());
    for (const auto& e : result.errors)
        std::fprintf(stderr, "%s\n", e.to_string().c_str());
    if (included != nullptr) *included = std::move(result.included);
    return std::move(result.spec);
}

/// The daemon. A configuration that was loaded for a trial, and never confirmed, is not run.
int run_file(const std::string& path, postern::RunOptions options) {
    if (path == "-") {
        std::fprintf(stderr, "run needs a file: it reads it again on SIGHUP\n");
        return kBadConfiguration;
    }
    const auto schema = postern::build_schema();
    auto text = postern::read_config_file(path);
    if (!text) {
        std::fprintf(stderr, "%s: %s\n", path.c_str(), text.error().message.c_str());
        return kBadConfiguration;
    }
    std::vector<postern::IncludedFile> included;
    auto spec = used(postern::load_spec_text(*text, path, schema), &included);
    if (!spec) return kBadConfiguration;
    const auto confirmed = postern::ConfigHistory::replacement_of(spec->control.history, *text);
    if (confirmed) {
        std::fprintf(stderr,
                     "%s: was loaded for a trial and not confirmed; the last confirmed "
                     "configuration is run instead\n",
                     path.c_str());
        *text = *confirmed;
        spec = used(postern::load_spec_text(*text, path, schema), &included);
        if (!spec) return kBadConfiguration;
    }
    options.times.end_of("configuration");
    return postern::run_daemon({std::move(*spec), path, std::move(*text), {}, std::move(included)},
                               options);
}

/// What a command takes, by the names of its options, or the names of commands.
std::vector<std::string> words_of(const CLI::App& app, bool options) {
    std::vector<std::string> out;
    if (options) {
        for (const CLI::Option* option : app.get_options())
            for (const std::string& name : option->get_lnames())
                out.push_back("--" + name);
    } else {
        for (const CLI::App* command : app.get_subcommands({}))
            out.push_back(command->get_name());
    }
    return out;
}

/// For shells: what the last word may become. Nothing where it is a file or another value.
int print_completions(const CLI::App& app, const std::vector<std::string>& words) {
    const CLI::App* command = &app;
    bool is_value = false;
    for (std::size_t i = 0; i + 1 < words.size(); ++i) {
        if (std::exchange(is_value, false)) continue;
        if (words[i].starts_with('-')) {
            const CLI::Option* option = command->get_option_no_throw(words[i]);
            is_value = option != nullptr && option->get_items_expected_max() != 0;
        } else if (command == &app) {
            const auto found = app.get_subcommands(
                [&](const CLI::App* each) { return each->get_name() == words[i]; });
            if (found.empty()) return 0;
            command = found.front();
        }
    }
    if (words.empty() || is_value) return 0;
    for (const std::string& word : words_of(*command, words.back().starts_with('-')))
        if (word.starts_with(words.back())) std::puts(word.c_str());
    return 0;
}

/// A word that nothing takes. Returns the exit code.
int complain(const CLI::App& app) {
    const auto parsed = app.get_subcommands();
    const CLI::App& command = parsed.empty() ? app : *parsed.front();
    const std::string name = parsed.empty() ? "postern" : "postern " + command.get_name();
    const std::vector<std::string> left = app.remaining(true);
    const std::string word = left.empty() ? "" : left.front();
    const bool is_option = word.starts_with('-');
    const std::string kind = is_option        ? "there is no option"
                             : parsed.empty() ? "there is no command"
                                              : "it does not take";
    std::fprintf(stderr, "%s: %s '%s'%s; '%s --help' says what it takes\n", name.c_str(),
                 kind.c_str(), word.c_str(),
                 postern::suggestion(word, words_of(command, is_option)).c_str(), name.c_str());
    return kBadConfiguration;
}

int print(const std::string& text) {
    return std::fputs(text.c_str(), stdout) < 0 || std::fflush(stdout) != 0 ? 1 : 0;
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app{"Postern: a stateful firewall for DPDK, with helpers and expectations"};
    app.require_subcommand(0, 1);
    app.set_version_flag("--version", "postern " POSTERN_VERSION);
    bool bash = false, zsh = false;
    app.add_flag("--bash-completion", bash, "print a script that completes commands in bash");
    app.add_flag("--zsh-completion", zsh, "the same for zsh");
    std::string file;
    postern::RunOptions options;
    postern::ReplayOptions replay;

    auto* run = app.add_subcommand("run", "run the firewall until SIGINT, SIGTERM or SIGQUIT");
    run->add_option("FILE", file, "configuration (YAML)")->required()->type_name("");
    run->add_option("--restore", options.restore,
                    "begin with the connections of this file of `posternctl conntrack save`")
        ->type_name("FILE");
    run->add_flag("-v,--verbose", options.verbose, "show DPDK's own messages too");
    run->add_option("--clock", options.clock,
                    "for tests: schedules go by the number in this file, seconds after 1970")
        ->type_name("FILE");
    auto* check =
        app.add_subcommand("check", "check a configuration: report its errors, or explain it");
    check->add_option("FILE", file, "configuration (YAML); - for standard input")
        ->required()
        ->type_name("");
    auto* schema = app.add_subcommand(
        "schema", "print a JSON schema of the configuration, for editors and other checkers");
    auto* commands = app.add_subcommand(
        "commands", "print the descriptions of posternctl's commands as JSON, without a daemon");
    auto* play = app.add_subcommand("replay", "show the verdict on each packet of a capture");
    play->add_option("-c,--config", file, "configuration (YAML)")->required()->type_name("FILE");
    play->add_option("IN", replay.inputs,
                     "capture (pcap or pcapng), or one a port: in0=FILE out0=FILE")
        ->required()
        ->type_name("");
    play->add_option("--out", replay.output, "write accepted packets to this capture")
        ->type_name("FILE");
    play->add_option("--annotate", replay.annotated,
                     "write all packets to this capture (pcapng), each with its verdict as a "
                     "comment, which Wireshark shows")
        ->type_name("FILE");
    play->add_flag("--json", replay.json, "JSON lines instead of text");
    play->add_option("--workers", replay.workers, "simulated workers")
        ->check(CLI::Range(1u, postern::kMaxWorkers))
        ->type_name("N");
    play->add_flag(
        "--checksums", replay.checksums,
        "verify checksums as configured; helpers do not read packets with wrong ones. Without it "
        "all are taken as correct, since captures taken on the sender have unfinished ones");
    play->add_option("--inside", replay.inside_prefixes,
                     "packets from these prefixes come from inside")
        ->delimiter(',')
        ->type_name("PREFIX");
    play->add_option("--bridge", replay.bridge,
                     "all packets are of the bridge with this port; without it each is of the "
                     "bridge between the zones of its addresses (zones[].prefixes)")
        ->type_name("PORT");
    play->add_option("--in-port", replay.in_port, "all packets arrive on this port")
        ->type_name("PORT");
    play->add_option("--inside-mac", replay.inside_mac,
                     "frames with this source address come from inside")
        ->type_name("MAC");

    if (argc > 1 && std::string_view(argv[1]) == "--complete")
        return print_completions(app, {argv + 2, argv + argc});
    try {
        app.parse(argc, argv);
        if (bash) return print(postern::bash_completion("postern"));
        if (zsh) return print(postern::zsh_completion("postern"));
        if (app.get_subcommands().empty()) throw CLI::RequiredError("A command");
    } catch (const CLI::ExtrasError&) {
        return complain(app);
    } catch (const CLI::ParseError& e) {
        const int code = app.exit(e);
        return code == 0 ? 0 : kBadConfiguration;
    }
    if (schema->parsed()) return print(postern::json_schema(postern::build_schema()));
    if (commands->parsed()) return postern::run_describe();
    if (run->parsed()) return run_file(file, options);
    const auto spec = used(postern::load_spec(file, postern::build_schema()));
    if (!spec) return kBadConfiguration;
    if (check->parsed()) {
        options.times.end_of("configuration");
        return postern::run_check(*spec, file == "-" ? "standard input" : file, options.times);
    }
    return postern::run_replay(*spec, replay);
}
