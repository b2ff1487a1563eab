// SPDX-License-Identifier: BSD-3-Clause
// Writes docs/helpers/*.md: for each folder of helpers its descriptors, then its NOTES.md; and a
// table of contents. Run by scripts/helper-docs.sh; a test runs it with --check.
//
//   helper_pages [--check] DOCS HELPERS FOLDER:NAME[,NAME...] ...
//
// DOCS and HELPERS are folders. --check writes nothing and fails, naming them, if pages differ from
// what it would write.
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "helper/registry.h"

namespace postern {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kMade =
    "<!-- Made by scripts/helper-docs.sh from helpers/: make changes there. -->\n\n";

std::string read(const fs::path& path) {
    std::ifstream in(path);
    return {std::istreambuf_iterator<char>(in), {}};
}

/// Escaped for a cell of a table.
std::string cell(std::string_view text) {
    std::string out;
    for (const char c : text)
        out += c == '|' ? std::string("\\|") : std::string(1, c);
    return out;
}

/// A pattern with its bytes visible, as code in a cell.
std::string code(std::string_view text) {
    const bool ticks = text.find('`') != std::string_view::npos;
    return (ticks ? "`` " : "`") + cell(text) + (ticks ? " ``" : "`");
}

std::string transports(const HelperDesc& d) {
    switch (d.transports) {
        case transport::tcp: return "TCP";
        case transport::udp: return "UDP";
        default: return "TCP and UDP";
    }
}

std::string ports(const HelperDesc& d) {
    std::string out;
    for (const std::uint16_t p : d.default_ports)
        out += (out.empty() ? "" : ", ") + std::to_string(p);
    return out.empty() ? "none: its connections are expected" : out;
}

void counters(std::ostream& out, std::span<const CounterDesc> all) {
    out << "| counter | counts |\n|---|---|\n";
    for (const CounterDesc& c : all)
        out << "| `" << c.name << "` | " << cell(c.help) << " |\n";
}

void describe(std::ostream& out, const HelperDesc& d, std::string_view heading) {
    out << d.help << ".\n\n"
        << "* Over " << transports(d) << ", usual ports: " << ports(d) << "\n"
        << (d.needs_proof ? "* Opens nothing before proof of protocol from both sides\n" : "");
    if (!d.children.empty()) {
        out << "* Expected connections may get a helper of their own:";
        for (const std::string_view child : d.children)
            out << (child == d.children.front() ? " `" : ", `") << child << '`';
        out << '\n';
    }
    out << '\n'
        << heading << " Expectations\n\n"
        << "| class | connections | pending at once | seconds |\n|---|---|---|---|\n";
    const auto most = [](const ExpectClass& c) {
        const std::string n = std::to_string(c.max_expected);
        return c.per_call == 0 ? n : n + " a message, " + std::to_string(c.per_call) + " a call";
    };
    for (const ExpectClass& c : d.classes)
        out << "| `" << c.name << "` | " << cell(c.help) << (c.foreign ? "; of any host" : "")
            << " | " << most(c) << " | " << c.timeout_s << " |\n";
    if (!d.params.empty()) {
        out << '\n'
            << heading << " Parameters\n\n"
            << "| parameter | default | meaning |\n|---|---|---|\n";
        for (const ParamDesc& p : d.params) {
            out << "| `" << p.name << "` | "
                << (p.default_text.empty() ? "\"\"" : std::string(p.default_text)) << " | "
                << cell(p.help);
            if (p.type == ParamType::uint && p.max != UINT64_MAX) out << "; at most " << p.max;
            out << " |\n";
        }
    }
    if (!d.counters.empty()) {
        out << '\n' << heading << " Counters of its own\n\n";
        counters(out, d.counters);
    }
    if (!d.patterns.empty()) {
        out << '\n'
            << heading << " Patterns that wake the parser\n\n"
            << "| pattern | sender |\n|---|---|\n";
        for (const PatternDesc& p : d.patterns)
            out << "| " << code(p.expression) << (p.caseless ? ", in any case" : "") << " | "
                << (!p.said_by                          ? "either"
                    : *p.said_by == Direction::original ? "client"
                                                        : "server")
                << " |\n";
    }
}

/// Headings one level down: the page has its own title.
std::string demoted(const std::string& text) {
    std::istringstream in(text);
    std::string out;
    bool in_code = false;
    for (std::string line; std::getline(in, line); out += line + "\n") {
        if (line.starts_with("```")) in_code = !in_code;
        if (!in_code && line.starts_with("#")) line.insert(0, "#");
    }
    return out;
}

std::vector<std::string> split(const std::string& text, char at) {
    std::istringstream in(text);
    std::vector<std::string> out;
    for (std::string item; std::getline(in, item, at);)
        out.push_back(item);
    return out;
}

int run(std::vector<std::string> args) {
    const bool check = !args.empty() && args.front() == "--check";
    if (check) args.erase(args.begin());
    if (args.size() < 3) {
        std::fprintf(stderr, "usage: helper_pages [--check] DOCS HELPERS FOLDER:NAME[,NAME] ...\n");
        return 2;
    }
    const fs::path docs = args[0], helpers = args[1];
    std::map<std::string, std::string> pages;
    std::ostringstream contents;
    contents << "# Helpers\n\n"
             << kMade << "| helper | transport | usual ports | reads |\n|---|---|---|---|\n";
    for (std::size_t i = 2; i < args.size(); ++i) {
        const auto parts = split(args[i], ':');
        const std::string& folder = parts.at(0);
        const auto names = split(parts.at(1), ',');
        std::ostringstream page;
        page << "# " << folder << "\n\n" << kMade;
        for (const std::string& name : names) {
            const HelperDesc* desc = find_helper(name);
            if (desc == nullptr) {
                std::fprintf(stderr, "no helper %s\n", name.c_str());
                return 1;
            }
            const bool one = names.size() == 1;
            if (!one) page << "## Helper " << name << "\n\n";
            describe(page, *desc, one ? "##" : "###");
            page << '\n';
            contents << "| [" << name << "](" << folder << ".md) | " << transports(*desc) << " | "
                     << (desc->default_ports.empty() ? "" : ports(*desc)) << " | "
                     << cell(desc->help) << " |\n";
        }
        page << demoted(read(helpers / folder / "NOTES.md"));
        pages[folder + ".md"] = page.str();
    }
    contents << "\n## Counters of all helpers\n\n";
    counters(contents, kHelperCounterTable);
    pages["README.md"] = contents.str();

    if (!check) fs::create_directories(docs);
    bool same = true;
    for (const auto& [name, text] : pages) {
        if (read(docs / name) == text) continue;
        if (check) {
            std::fprintf(stderr, "%s is not up to date: run scripts/helper-docs.sh\n",
                         (docs / name).c_str());
            same = false;
        } else {
            std::ofstream(docs / name) << text;
        }
    }
    for (const auto& entry : fs::directory_iterator(docs)) {
        if (pages.contains(entry.path().filename())) continue;
        std::fprintf(stderr, "%s belongs to no helper\n", entry.path().c_str());
        same = false;
    }
    return same ? 0 : 1;
}

}  // namespace
}  // namespace postern

int main(int argc, char** argv) {
    return postern::run({argv + 1, argv + argc});
}
