// SPDX-License-Identifier: BSD-3-Clause
// Rows of the daemon as columns for operators, at posternctl's side. The daemon describes the
// columns, and how fields become a cell.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
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

/// How the user wants to see rows.
struct ViewOptions {
    bool json = false;
    bool all = false;  ///< rows of zeros, too
    bool header = true;
    bool wide = false;                 ///< all columns, whatever the width of the terminal is
    bool reverse = false;              ///< with `sort`
    std::string sort;                  ///< a column
    std::vector<std::string> columns;  ///< empty: those that the command describes
    std::optional<std::uint64_t> limit;
};

/// Orders rows: numbers before texts, and addresses by their bytes.
struct SortKey {
    double number = 0;
    std::string text;  ///< empty: it is a number

    friend bool operator<(const SortKey& a, const SortKey& b) {
        if (a.text.empty() != b.text.empty()) return a.text.empty();
        return a.text.empty() ? a.number < b.number : a.text < b.text;
    }
};

/// One column as the daemon describes it.
class CellReader {
  public:
    explicit CellReader(const Json& column);
    /// A field that no column describes.
    static CellReader of_field(const std::string& field);

    std::string cell(const Json& row) const;
    SortKey sort_key(const Json& row) const;
    /// Adds its fields of `row` to `out`.
    void copy(const Json& row, Json& out) const;
    /// Whether `row` has its first field.
    bool is_in(const Json& row) const;
    const std::string& title() const noexcept { return title_; }
    bool right() const noexcept { return right_; }
    unsigned rank() const noexcept { return rank_; }

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
    unsigned rank_ = 0;
};

/// Aligns cells. The first rows are buffered to learn the widths. A later, wider cell shifts its
/// own line only, so that lists of any length stream in constant memory. Without rows it prints
/// nothing, not even titles.
class Table {
  public:
    /// Columns of the highest rank are left out until lines fit into `width`, and the last one is
    /// broken into lines, unless it is the only one. 0: any width.
    Table(std::vector<CellReader> columns, std::size_t width, bool header, Output& out)
        : columns_(std::move(columns)), width_(width), header_(header), out_(out) {}

    void add(const Json& row);
    /// Call after the last row, or to print buffered rows.
    void finish() {
        if (!printing_ && !held_.empty()) start();
    }

  private:
    static constexpr std::size_t kSample = 200;

    void start();
    void learn_widths();
    void choose_columns();
    std::size_t line_width() const;
    void print(const std::vector<std::string>& cells);

    std::vector<CellReader> columns_;
    std::size_t width_;
    bool header_;
    Output& out_;
    bool printing_ = false;
    std::vector<std::vector<std::string>> held_;
    std::vector<std::size_t> widths_, shown_;  ///< shown_: indices of columns
};

/// The rows of one answer, as the user wants them. With `sort` it keeps all rows, or the first
/// `limit` of them, until the end.
class RowView {
  public:
    /// An Error if a column does not exist.
    static Result<RowView> make(const Json& command, const ViewOptions& options, Output& out);

    /// `text`: the row as JSON. An Error if it lacks a wanted field that no column describes.
    Result<void> add(const std::string& text);
    /// Whether it needs no more rows.
    bool is_full() const noexcept;
    /// Prints what is buffered; more may come.
    void flush();
    /// Call after the last row.
    void finish();
    /// Rows that were not shown because they are zero.
    std::uint64_t hidden() const noexcept { return hidden_; }
    std::uint64_t shown() const noexcept { return shown_; }

  private:
    struct Held {
        SortKey key;
        std::uint64_t number;  ///< keeps the order of equal ones
        std::string text;
    };

    RowView(const ViewOptions& options, Output& out) : options_(options), out_(&out) {}
    bool in_front(const Held& a, const Held& b) const;
    void hold(const Json& row, const std::string& text);
    void show(const Json& row, const std::string& text);
    Result<void> check_fields(const Json& row);

    ViewOptions options_;
    Output* out_;
    std::vector<CellReader> columns_;  ///< described or wanted; empty: those of the first row
    std::optional<CellReader> sort_;
    std::vector<std::string> unchecked_;  ///< wanted fields that no column describes
    std::vector<std::string> titles_;
    std::string zeros_;
    bool endless_ = false;
    std::unique_ptr<Table> table_;
    std::vector<Held> held_;
    std::uint64_t hidden_ = 0, shown_ = 0, number_ = 0;
};

}  // namespace postern
