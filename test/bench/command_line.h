// SPDX-License-Identifier: BSD-3-Clause
// Options of the benchmarks. CLI11 and JSON are compiled once, not with each of them.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace postern::bench {

inline constexpr const char* kQuickHelp = "small and short: only whether it works";

/// Names the options of a program, then reads them. The variables have to outlive parse().
class CommandLine {
  public:
    explicit CommandLine(const std::string& about);
    ~CommandLine();

    void flag(const char* option, bool& value, const char* help);
    void text(const char* option, std::string& value, const char* help);
    void required_text(const char* option, std::string& value, const char* help);
    /// One of these words.
    void word(const char* option, std::string& value, const std::vector<std::string>& words,
              const char* help);
    void number(const char* option, int& value, const char* help);
    void number(const char* option, std::uint32_t& value, const char* help, std::uint32_t least = 0,
                std::uint32_t most = ~0u);
    /// Numbers with commas between them.
    void numbers(const char* option, std::vector<std::uint32_t>& values, const char* help);

    /// Ends the program after `--help`, or after a mistake, which it prints.
    void parse(int argc, char** argv);

  private:
    std::unique_ptr<CLI::App> app_;
};

/// A row of a benchmark's table, and what each of its runs took.
struct Row {
    std::string name;
    std::uint32_t flows = 0;  ///< 0: does not depend on it
    std::string unit;
    std::vector<double> values;
};

/// Writes rows to a file as JSON, for scripts: {"ghz", "hugepages", "rows"}.
void save_rows(const std::string& path, double ghz, const std::vector<Row>& rows);

}  // namespace postern::bench
