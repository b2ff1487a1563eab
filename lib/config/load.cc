// SPDX-License-Identifier: BSD-3-Clause
// The entry points, and the file as a whole: its sections, in an order in which names are defined
// before their use.
#include "config/load.h"

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <exception>
#include <memory>

#include "config/loader.h"
#include "config/read_keys.h"

namespace postern {
namespace config {
namespace {

constexpr std::size_t kMaxFileBytes = std::size_t{64} << 20;

}  // namespace

void Names::add(const Value& at, const std::string& name) {
    if (!index_.try_emplace(name, order_.size()).second)
        at.error(in_quotes(name) + " is given twice");
    order_.push_back(name);
}

std::optional<std::size_t> Names::find(const Value& at, std::string_view name) const {
    if (const auto it = index_.find(std::string(name)); it != index_.end()) return it->second;
    if (at.scalar() == name) return find(at);
    const std::vector<std::string_view> views(order_.begin(), order_.end());
    if (!order_.empty() || !quiet_when_empty)
        at.error(in_quotes(name) + " is not " + what_ + suggestion(name, views));
    return std::nullopt;
}

std::optional<std::size_t> Names::find(const Value& v) const {
    if (const auto s = v.scalar())
        if (const auto it = index_.find(*s); it != index_.end()) return it->second;
    if (order_.empty()) {
        if (!quiet_when_empty) v.error(v.found() + " is not " + what_ + ", for there is none");
        return std::nullopt;
    }
    const std::vector<std::string_view> views(order_.begin(), order_.end());
    return v.choice(views, what_);
}

Spec Loader::load(const YAML::Node& root) {
    const Value top(report_, root, "");
    Map map(top);
    read_keys(map, spec_);
    const auto section = [&](std::string_view key, void (Loader::*read)(const Value&)) {
        if (auto v = map.about(key).required ? map.require(key) : map.get(key)) (this->*read)(*v);
    };
    section("eal", &Loader::eal);
    section("workers", &Loader::workers);
    section("zones", &Loader::zones);
    section("ports", &Loader::ports);
    section("bridges", &Loader::bridges);
    section("helpers", &Loader::helpers);
    section("sets", &Loader::sets);  // before groups, which must not have their names
    if (auto v = map.get("groups")) groups_.read(*v);
    section("timeouts", &Loader::timeouts);
    section("limits", &Loader::limits);
    section("policy", &Loader::policy);
    spec_.pipeline = schema_.default_pipeline;
    section("pipeline", &Loader::pipeline);
    section("control", &Loader::control);
    section("state", &Loader::state);
    section("log", &Loader::log);
    section("scanner_cache", &Loader::scanner_cache);
    map.finish();
    if (report_.clean()) advise();
    return std::move(spec_);
}

}  // namespace config

// --- entry points ------------------------------------------------------------------------------

std::string Diagnostic::to_string() const {
    std::string out = file;
    if (line != 0) out += ":" + std::to_string(line) + ":" + std::to_string(column);
    return out + ": " + message;
}

namespace {

/// A sentence if a line is indented with a tab: the parser's own message names another cause.
std::string about_tabs(std::string_view text) {
    unsigned number = 0;
    for (std::size_t at = 0; at < text.size(); ++number) {
        const std::size_t end = std::min(text.find('\n', at), text.size());
        const std::string_view line = text.substr(at, end - at);
        const std::string_view indent = line.substr(0, line.find_first_not_of(" \t"));
        if (indent.find('\t') != std::string_view::npos && indent.size() < line.size())
            return "; line " + std::to_string(number + 1) +
                   " is indented with a tab, and YAML allows only blanks there";
        at = end + 1;
    }
    return "";
}

}  // namespace

LoadResult load_spec_text(std::string_view text, const std::string& name, const Schema& schema) {
    LoadResult result;
    const auto fail = [&](unsigned line, unsigned column, std::string message) {
        result.spec.reset();
        result.errors.push_back({name, line, column, std::move(message)});
        return std::move(result);
    };
    try {
        const auto documents = YAML::LoadAll(std::string(text));
        if (documents.empty() || (documents.size() == 1 && documents[0].IsNull()))
            return fail(0, 0, "the file is empty (expected at least zones, ports and policy)");
        config::Report report(name);
        if (documents.size() > 1)
            return fail(static_cast<unsigned>(documents[1].Mark().line + 1), 1,
                        "a second document begins (expected one document a file)");
        config::Loader loader(report, schema);
        Spec spec = loader.load(documents[0]);
        result.included = loader.take_included();
        if (report.clean()) result.spec = std::move(spec);
        report.move_to(result);
        return result;
    } catch (const YAML::Exception& e) {
        const std::string message = "not valid YAML: " + e.msg + about_tabs(text);
        return e.mark.is_null() ? fail(0, 0, message)
                                : fail(static_cast<unsigned>(e.mark.line) + 1,
                                       static_cast<unsigned>(e.mark.column) + 1, message);
    } catch (const std::exception& e) {
        return fail(0, 0, std::string("cannot be read: ") + e.what());
    }
}

Result<std::string> read_config_file(const std::string& path) {
    const bool standard_input = path == "-";
    const auto close = [](std::FILE* file) { return file == stdin ? 0 : std::fclose(file); };
    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(
        standard_input ? stdin : std::fopen(path.c_str(), "rb"), close);
    if (!file) return Error{std::string("cannot be opened: ") + std::strerror(errno)};
    std::string text;
    std::array<char, 65536> block;
    while (const std::size_t n = std::fread(block.data(), 1, block.size(), file.get())) {
        text.append(block.data(), n);
        if (text.size() > config::kMaxFileBytes)
            return Error{"too large (expected at most 64 MiB)"};
    }
    if (std::ferror(file.get()))
        return Error{std::string("cannot be read: ") + std::strerror(errno)};
    return text;
}

LoadResult load_spec(const std::string& path, const Schema& schema) {
    const std::string name = path == "-" ? "standard input" : path;
    auto text = read_config_file(path);
    if (text) return load_spec_text(*text, name, schema);
    LoadResult result;
    result.errors.push_back({name, 0, 0, text.error().message});
    return result;
}

}  // namespace postern
