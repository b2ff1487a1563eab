// SPDX-License-Identifier: BSD-3-Clause
#include "config_build.h"

#include <algorithm>
#include <exception>
#include <filesystem>
#include <utility>

#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "plan/needs_restart.h"
#include "plan/policy_rules.h"

namespace postern {
namespace {

constexpr std::size_t kMostMistakes = 20;  ///< in one error
constexpr int kNiceness = 5;               ///< control, on the same CPU, comes first

Result<ConfigSource> parse(const std::string& path, std::string text) {
    LoadResult loaded = load_spec_text(text, path, build_schema());
    std::vector<std::string> mistakes, warnings;
    for (const Diagnostic& e : loaded.errors)
        mistakes.push_back(e.to_string());
    for (const Diagnostic& w : loaded.warnings)
        warnings.push_back(w.to_string());
    if (!loaded.ok()) return Error{message_of(mistakes)};
    return ConfigSource{std::move(*loaded.spec), path, std::move(text), std::move(warnings),
                        std::move(loaded.included)};
}

Result<std::string> read_text(const std::string& path) {
    struct stat st {};
    // A pipe or a device would keep the thread waiting.
    if (::stat(path.c_str(), &st) == 0 && !S_ISREG(st.st_mode))
        return Error{path + ": is not a regular file"};
    auto text = read_config_file(path);
    if (!text) return Error{path + ": " + text.error().message};
    return text;
}

std::filesystem::path folder_of(const std::string& path) {
    const auto folder = std::filesystem::path(path).parent_path();
    return folder.empty() ? "." : folder;
}

/// The next start reads the text as the start's file: from there the same name is another file.
Result<void> can_move(const ConfigSource& source, const std::string& start_path) {
    std::error_code ignored;
    const auto here = folder_of(source.path), there = folder_of(start_path);
    if (std::filesystem::equivalent(here, there, ignored)) return {};
    for (const IncludedFile& file : source.included)
        if (!file.name.starts_with('/'))
            return Error{source.path + ": includes " + file.name +
                         " of its folder. The next start reads this "
                         "text as " +
                         start_path + ", and would look for it in " + there.string() +
                         "; so give the whole path of it, or put the file there"};
    return {};
}

/// Differences only: of texts that may have mistakes.
Result<ConfigBuild::Built> compare(const ConfigBuild::Order& order) {
    auto text = read_text(order.path);
    if (!text) return text.error();
    auto found = differences(order.now->text, *text);
    if (!found) return found.error();
    ConfigBuild::Built out;
    out.differences = std::move(*found);
    const LoadResult loaded = load_spec_text(*text, order.path, build_schema());
    add_differences(order.now->included, loaded.included, out.differences);
    return out;
}

/// Of rules that can never match. `compiled` is what `plan` was made of. Rules that are out of
/// force now have numbers, but the plan's policy lacks them.
std::vector<Diagnostic> shadow_warnings_of(const ConfigSource& source, Spec compiled,
                                           const Plan& plan) {
    if (std::ranges::all_of(plan.rule_lines, &Plan::RuleLine::in_force))
        return shadow_warnings(compiled, *plan.policy, source.path);
    for (std::size_t i = 0; i < compiled.policy.rules.size(); ++i)
        compiled.policy.rules[i].enabled = source.spec.policy.rules[i].enabled;
    auto policy = build_policy(compiled);
    // Its warnings are no reason to refuse what has been compiled.
    return policy ? shadow_warnings(compiled, **policy, source.path) : std::vector<Diagnostic>{};
}

Error cancelled() {
    return Error{"nobody waits for the answer any more"};
}

Result<ConfigBuild::Built> build(const ConfigBuild::Order& order, const std::stop_token& stop) {
    if (!order.basis) return compare(order);
    ConfigBuild::Built out;
    out.source = order.source;
    if (!out.source) {
        auto text = order.text ? Result<std::string>(*order.text) : read_text(order.path);
        if (!text) return text.error();
        auto source = parse(order.path, std::move(*text));
        if (!source) return source.error();
        out.source = std::make_shared<ConfigSource>(std::move(*source));
    }
    const ConfigSource& next = *out.source;
    if (auto causes = needs_restart(order.now->spec, next.spec); !causes.empty()) {
        causes.insert(causes.begin(), "this needs a restart, so nothing has changed:");
        return Error{message_of(causes)};
    }
    if (auto can = can_move(next, order.start_path); !can) return can.error();
    if (stop.stop_requested()) return cancelled();
    auto found = differences(order.now->text, next.text);
    if (!found) return found.error();
    out.differences = std::move(*found);
    add_differences(order.now->included, next.included, out.differences);
    if (stop.stop_requested()) return cancelled();
    Spec compiled;
    auto plan = Firewall::compile_plan(next.spec, *order.basis, &compiled);
    if (!plan) return plan.error();
    out.plan = std::move(*plan);
    if (stop.stop_requested()) return cancelled();
    out.warnings = next.warnings;
    for (const Diagnostic& warning : shadow_warnings_of(next, std::move(compiled), *out.plan))
        out.warnings.push_back(warning.to_string());
    return out;
}

}  // namespace

std::string message_of(const std::vector<std::string>& lines) {
    std::string out;
    for (std::size_t i = 0; i < lines.size() && i < kMostMistakes; ++i)
        out += (i == 0 ? "" : "\n") + lines[i];
    if (lines.size() > kMostMistakes)
        out += "\n... and " + std::to_string(lines.size() - kMostMistakes) + " more";
    return out;
}

Result<ConfigSource> read_config(const std::string& path) {
    auto text = read_text(path);
    if (!text) return text.error();
    return parse(path, std::move(*text));
}

ConfigBuild::ConfigBuild(Order order)
    : order_(std::move(order)), thread_([this](const std::stop_token& stop) { run(stop); }) {}

void ConfigBuild::run(const std::stop_token& stop) {
    (void)::setpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()), kNiceness);
    try {
        result_ = build(order_, stop);
    } catch (const std::exception& e) {
        result_ = Error{std::string("it could not be compiled: ") + e.what()};
    }
    done_.store(true, std::memory_order_release);
}

}  // namespace postern
