// SPDX-License-Identifier: BSD-3-Clause
#include "command_line.h"

#include <cstdlib>
#include <fstream>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <rte_eal.h>

#include "die.h"

namespace postern::bench {

CommandLine::CommandLine(const std::string& about) : app_(std::make_unique<CLI::App>(about)) {}
CommandLine::~CommandLine() = default;

void CommandLine::flag(const char* option, bool& value, const char* help) {
    app_->add_flag(option, value, help);
}
void CommandLine::text(const char* option, std::string& value, const char* help) {
    app_->add_option(option, value, help);
}
void CommandLine::required_text(const char* option, std::string& value, const char* help) {
    app_->add_option(option, value, help)->required();
}
void CommandLine::word(const char* option, std::string& value,
                       const std::vector<std::string>& words, const char* help) {
    app_->add_option(option, value, help)->check(CLI::IsMember(words));
}
void CommandLine::number(const char* option, int& value, const char* help) {
    app_->add_option(option, value, help);
}
void CommandLine::number(const char* option, std::uint32_t& value, const char* help,
                         std::uint32_t least, std::uint32_t most) {
    app_->add_option(option, value, help)->check(CLI::Range(least, most));
}
void CommandLine::numbers(const char* option, std::vector<std::uint32_t>& values,
                          const char* help) {
    app_->add_option(option, values, help)->delimiter(',');
}

void CommandLine::parse(int argc, char** argv) {
    try {
        app_->parse(argc, argv);
    } catch (const CLI::ParseError& e) {
        std::exit(app_->exit(e));
    }
}

void save_rows(const std::string& path, double ghz, const std::vector<Row>& rows) {
    nlohmann::json list = nlohmann::json::array();
    for (const Row& row : rows) {
        list.push_back({{"name", row.name}, {"unit", row.unit}, {"values", row.values}});
        if (row.flows != 0) list.back()["flows"] = row.flows;
    }
    std::ofstream out(path);
    out << nlohmann::json{{"ghz", ghz},
                          {"hugepages", rte_eal_has_hugepages() != 0},
                          {"rows", std::move(list)}}
               .dump(1)
        << '\n';
    if (!out.flush()) die("cannot write " + path);
}

}  // namespace postern::bench
