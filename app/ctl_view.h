// SPDX-License-Identifier: BSD-3-Clause
// Rows of the daemon as columns for operators, at posternctl's side. The daemon describes the
// columns, and how fields become a cell.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "control/command.h"

namespace postern {

/// Standard output with a buffer. After an error, further output is discarded.
class Output {
  public:
    void line(std::string_view text) {
        buffer_ += text;
        buffer_ += '\n';
        if (buffer_.size() >= 64 * 1024) flush();
    }
    void flush();
    /// errno of the first failure, or 0.
    int error() const noexcept { return error_; }

  private:
    std::string buffer_;
    int error_ = 0;
};

/// One column as the daemon describes it.
class CellReader {
  public:
    explicit CellReader(const Json& column);

    std::string cell(const Json& row) const;
    const std::string& title() const noexcept { return title_; }
    bool right() const noexcept { return right_; }

  private:
    using Path = std::vector<std::string>;

    const Json& field(const Json& row, std::size_t i) const;
    std::string endpoint(const Json& host, const Json& port, const Json& bits) const;
    std::string ends(const Json& tuple) const;
    std::string value(const Json& of) const;

    std::string title_, form_, absent_;
    std::vector<Path> fields_;
    std::vector<std::string> except_;
    bool right_ = false;
};

/// Aligns cells. The first rows are buffered to learn the widths. A later, wider cell shifts its
/// own line only, so that lists of any length stream in constant memory. Without rows it prints
/// nothing, not even titles.
class Table {
  public:
    /// `columns` as the daemon describes them; empty: the keys of the first row.
    Table(const Json& columns, Output& out);

    void add(const Json& row);
    /// Call after the last row, or to print buffered rows.
    void finish() {
        if (!printing_ && !held_.empty()) start();
    }

  private:
    static constexpr std::size_t kSample = 200;

    void start();
    void print(const std::vector<std::string>& cells);

    std::vector<CellReader> columns_;
    Output& out_;
    bool printing_ = false;
    std::vector<std::vector<std::string>> held_;
    std::vector<std::size_t> widths_;
};

}  // namespace postern
