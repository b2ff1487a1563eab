// SPDX-License-Identifier: BSD-3-Clause
// postern: the daemon's command line.
#include <cstdio>

#include <CLI/CLI.hpp>

#include "check.h"
#include "config/description.h"
#include "config/load.h"
#include "config_history.h"
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
    return postern::run_daemon({std::move(*spec), path, std::move(*text), {}, std::move(included)},
                               options);
}

}  // namespace

int main(int argc, char** argv) {
    options.times.end_of("configuration");
    CLI::App app{"Postern: a stateful firewall for DPDK, with helpers and expectations"};
    app.require_subcommand(1);
    app.set_version_flag("--version", "postern " POSTERN_VERSION);
    std::string file;
    postern::RunOptions options;
    postern::ReplayOptions replay;

    auto* run = app.add_subcommand("run", "run the firewall until SIGINT, SIGTERM or SIGQUIT");
    run->add_option("FILE", file, "configuration (YAML)")->required();
    run->add_option("--restore", options.restore,
                    "begin with the connections of this file of `posternctl conntrack save`");
    run->add_flag("-v,--verbose", options.verbose, "show DPDK's own messages too");
    run->add_option("--clock", options.clock,
                    "for tests: schedules go by the number in this file, seconds after 1970");
    auto* check =
        app.add_subcommand("check", "check a configuration: report its errors, or explain it");
    check->add_option("FILE", file, "configuration (YAML); - for standard input")->required();
    auto* schema = app.add_subcommand(
        "schema", "print a JSON schema of the configuration, for editors and other checkers");
    auto* commands = app.add_subcommand(
        "commands", "print the descriptions of posternctl's commands as JSON, without a daemon");
    auto* play = app.add_subcommand("replay", "show the verdict on each packet of a capture");
    play->add_option("-c,--config", file, "configuration (YAML)")->required();
    play->add_option("IN", replay.inputs,
                     "capture (pcap or pcapng), or one a port: in0=FILE out0=FILE")
        ->required();
    play->add_option("--out", replay.output, "write accepted packets to this capture");
    play->add_option("--annotate", replay.annotated,
                     "write all packets to this capture (pcapng), each with its verdict as a "
                     "comment, which Wireshark shows");
    play->add_flag("--json", replay.json, "JSON lines instead of text");
    play->add_option("--workers", replay.workers, "simulated workers")
        ->check(CLI::Range(1u, postern::kMaxWorkers));
    play->add_flag(
        "--checksums", replay.checksums,
        "verify checksums as configured; helpers do not read packets with wrong ones. Without it "
        "all are taken as correct, since captures taken on the sender have unfinished ones");
    play->add_option("--inside", replay.inside_prefixes,
                     "packets from these prefixes come from inside")
        ->delimiter(',');
    play->add_option("--bridge", replay.bridge,
                     "all packets are of the bridge with this port; without it each is of the "
                     "bridge between the zones of its addresses (zones[].prefixes)");
    play->add_option("--in-port", replay.in_port, "all packets arrive on this port");
    play->add_option("--inside-mac", replay.inside_mac,
                     "frames with this source address come from inside");

    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& e) {
        const int code = app.exit(e);
        return code == 0 ? 0 : kBadConfiguration;
    }
    if (schema->parsed()) {
        const std::string text = postern::json_schema(postern::build_schema());
        return std::fputs(text.c_str(), stdout) < 0 || std::fflush(stdout) != 0 ? 1 : 0;
    }
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
