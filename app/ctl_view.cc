// SPDX-License-Identifier: BSD-3-Clause
#include "ctl_view.h"

#include <algorithm>
#include <array>
#include <cerrno>

#include <arpa/inet.h>
#include <unistd.h>

#include "control/suggest.h"
#include "ctl_text.h"

namespace postern {
namespace {

const Json& null() {
    static const Json kNull;
    return kNull;
}

const Json& member(const Json& object, const std::string& key) {
    const auto it = object.find(key);
    return it == object.end() ? null() : *it;
}

/// "-" for absent values; objects as "key=value ..." without the zeros.
std::string text_of(const Json& value) {
    switch (value.type()) {
        case Json::value_t::null:
        case Json::value_t::discarded: return "-";
        case Json::value_t::string: return value.get<std::string>();
        case Json::value_t::boolean: return value.get<bool>() ? "yes" : "no";
        case Json::value_t::array: {
            std::string all;
            for (const Json& item : value)
                all += (all.empty() ? "" : ",") + text_of(item);
            return all.empty() ? "-" : all;
        }
        case Json::value_t::object: {
            std::string all;
            for (const auto& [key, item] : value.items()) {
                if (item.is_number() && item == 0) continue;
                all += (all.empty() ? "" : " ") + key + "=" + text_of(item);
            }
            return all.empty() ? "-" : all;
        }
        default: return value.dump();
    }
}

std::string upper(std::string text) {
    for (char& c : text)
        if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
    return text;
}

/// "01:23:43.123" of "2026-11-30T01:23:43.123+0100".
std::string clock_of(const std::string& time) {
    const auto begin = time.find('T');
    if (begin == std::string::npos) return time;
    return time.substr(begin + 1, time.find_first_of("+-Z", begin) - begin - 1);
}

/// Bytes that compare as addresses do: IPv4 before IPv6. Other texts as they are.
std::string address_key(const std::string& text) {
    std::array<char, 16> bytes{};
    if (::inet_pton(AF_INET, text.c_str(), bytes.data()) == 1)
        return "4" + std::string(bytes.data(), 4);
    if (::inet_pton(AF_INET6, text.c_str(), bytes.data()) == 1)
        return "6" + std::string(bytes.data(), 16);
    return text;
}
std::string port_key(const Json& port) {
    const auto n = port.is_number() ? port.get<unsigned>() : 0u;
    return {static_cast<char>(n >> 8), static_cast<char>(n)};
}

double number_of(const Json& value) {
    return value.is_number() ? value.get<double>() : 0;
}

}  // namespace

void Output::flush() {
    for (std::string_view rest = buffer_; error_ == 0 && !rest.empty();) {
        const ssize_t n = ::write(STDOUT_FILENO, rest.data(), rest.size());
        if (n >= 0)
            rest.remove_prefix(static_cast<std::size_t>(n));
        else if (errno != EINTR)
            error_ = errno;
    }
    buffer_.clear();
}

CellReader::CellReader(const Json& column)
    : title_(column.value("title", "")),
      form_(column.value("form", "value")),
      absent_(column.value("absent", "-")),
      except_(column.value("except", std::vector<std::string>{})),
      right_(column.value("right", false)),
      rank_(column.value("rank", 0u)) {
    for (const std::string& path : column.value("fields", std::vector<std::string>{}))
        fields_.push_back(split(path, '.'));
}

CellReader CellReader::of_field(const std::string& field) {
    return CellReader(Json{{"title", upper(field)}, {"fields", Json::array({field})}});
}

const Json& CellReader::field(const Json& row, std::size_t i) const {
    const Json* at = &row;
    if (i >= fields_.size()) return null();
    for (const std::string& key : fields_[i]) {
        if (!at->is_object()) return null();
        at = &member(*at, key);
    }
    return *at;
}

/// "192.0.2.1:21", "[2001:db8::1]:21", "192.0.2.0:* /24".
std::string CellReader::endpoint(const Json& host, const Json& port, const Json& bits) const {
    std::string text = host.is_string() ? host.get<std::string>() : absent_;
    if (text.find(':') != std::string::npos) text = "[" + text + "]";
    if (port.is_null() && absent_ == "-") return text;
    text += ":" + (port.is_null() ? absent_ : text_of(port));
    return text + (bits.is_null() ? "" : " /" + text_of(bits));
}

std::string CellReader::ends(const Json& tuple) const {
    if (!tuple.is_object()) return value(tuple);
    return endpoint(member(tuple, "src"), member(tuple, "sport"), null()) + ">" +
           endpoint(member(tuple, "dst"), member(tuple, "dport"), null());
}

std::string CellReader::value(const Json& of) const {
    if (of.is_null()) return absent_;
    if (except_.empty() || !of.is_object()) return text_of(of);
    Json rest = of;
    for (const std::string& key : except_)
        rest.erase(key);
    return text_of(rest);
}

std::string CellReader::cell(const Json& row) const {
    if (form_ == "endpoint") return endpoint(field(row, 0), field(row, 1), field(row, 2));
    if (form_ == "pair") return value(field(row, 0)) + "/" + value(field(row, 1));
    if (form_ == "ends") return ends(field(row, 0));
    if (form_ == "clock") return clock_of(value(field(row, 0)));
    // Forms of a newer daemon: shown unchanged.
    return value(field(row, 0));
}

SortKey CellReader::sort_key(const Json& row) const {
    const Json& first = field(row, 0);
    if (form_ == "endpoint") return {0, address_key(value(first)) + port_key(field(row, 1))};
    if (form_ == "pair") return {number_of(first) + number_of(field(row, 1)), {}};
    if (first.is_number() || first.is_null()) return {number_of(first), {}};
    // A sign before it: an empty text is one, too.
    return {0, "t" + value(first)};
}

void CellReader::copy(const Json& row, Json& out) const {
    for (std::size_t i = 0; i < fields_.size(); ++i) {
        std::string name;
        for (const std::string& part : fields_[i])
            name += (name.empty() ? "" : ".") + part;
        out[name] = field(row, i);
    }
}

bool CellReader::is_in(const Json& row) const {
    const Json* at = &row;
    for (const std::string& key : fields_.at(0)) {
        if (!at->is_object() || !at->contains(key)) return false;
        at = &member(*at, key);
    }
    return true;
}

void Table::add(const Json& row) {
    if (columns_.empty())
        for (const auto& [key, value] : row.items())
            columns_.push_back(CellReader::of_field(key));
    std::vector<std::string> cells;
    for (const CellReader& column : columns_)
        cells.push_back(column.cell(row));
    if (printing_) return print(cells);
    held_.push_back(std::move(cells));
    if (held_.size() == kSample) start();
}

void Table::start() {
    printing_ = true;
    if (header_) {
        std::vector<std::string> titles;
        for (const CellReader& column : columns_)
            titles.push_back(column.title());
        held_.insert(held_.begin(), std::move(titles));
    }
    learn_widths();
    choose_columns();
    for (const auto& cells : held_)
        print(cells);
    held_.clear();
}

void Table::learn_widths() {
    widths_.resize(columns_.size());
    for (const auto& cells : held_)
        for (std::size_t i = 0; i < cells.size(); ++i)
            widths_[i] = std::max(widths_[i], width_of(cells[i]));
}

std::size_t Table::line_width() const {
    // Two blanks between columns. A long text at the end is broken, if it has this much room.
    constexpr std::size_t kBreakable = 30;
    std::size_t width = 0;
    for (const std::size_t i : shown_) {
        const bool breaks = i == shown_.back() && !columns_[i].right();
        width += (i == shown_.front() ? 0 : 2) +
                 (breaks ? std::min(widths_[i], kBreakable) : widths_[i]);
    }
    return width;
}

void Table::choose_columns() {
    for (std::size_t i = 0; i < columns_.size(); ++i)
        shown_.push_back(i);
    if (width_ == 0) return;
    const auto rank = [this](std::size_t i) { return columns_[i].rank(); };
    while (line_width() > width_) {
        const auto least = std::ranges::max_element(shown_, {}, rank);
        if (rank(*least) == 0) return;
        shown_.erase(least);
    }
}

void Table::print(const std::vector<std::string>& cells) {
    std::string line;
    for (const std::size_t i : shown_) {
        const bool right = columns_[i].right();
        if (i == shown_.back() && !right) {
            const std::size_t indent = width_of(line);
            const std::size_t room = width_ > indent ? width_ - indent : 0;
            // Lines of a text, such as a configuration, stay as they are.
            const bool is_text = columns_.size() == 1;
            const auto lines = width_ == 0 || room < 20 || is_text ? std::vector{cells[i]}
                                                                   : wrapped(cells[i], room);
            out_.line(line + lines[0]);
            for (std::size_t n = 1; n < lines.size(); ++n)
                out_.line(std::string(indent, ' ') + lines[n]);
            return;
        }
        const std::string pad(widths_[i] - std::min(widths_[i], width_of(cells[i])), ' ');
        line += right ? pad + cells[i] : cells[i] + pad;
        if (i != shown_.back()) line += "  ";
    }
    out_.line(line);
}

Result<RowView> RowView::make(const Json& command, const ViewOptions& options, Output& out) {
    RowView view(options, out);
    const Json described = command.value("columns", Json::array());
    std::vector<CellReader> columns;
    for (const Json& column : described) {
        columns.emplace_back(column);
        view.titles_.push_back(lower(column.value("title", "")));
    }
    const auto find = [&](const std::string& name) {
        for (const CellReader& column : columns)
            if (lower(column.title()) == lower(name)) return column;
        view.unchecked_.push_back(name);
        return CellReader::of_field(name);
    };
    view.endless_ = command.value("endless", false);
    if (!options.sort.empty() && view.endless_) return Error{"--sort: this command has no end"};
    if (!options.sort.empty()) view.sort_ = find(options.sort);
    for (const std::string& name : options.columns)
        view.columns_.push_back(find(name));
    const bool chosen = !view.columns_.empty();
    if (!chosen && !options.json) view.columns_ = columns;
    if (!options.all && !options.json) view.zeros_ = command.value("zeros", "");
    if (!options.json)
        view.table_ = std::make_unique<Table>(
            view.columns_, options.wide || chosen ? 0 : output_width(), options.header, out);
    return view;
}

Result<void> RowView::check_fields(const Json& row) {
    for (const std::string& name : unchecked_) {
        if (CellReader::of_field(name).is_in(row)) continue;
        std::vector<std::string> known = titles_;
        for (const auto& [key, value] : row.items())
            if (std::ranges::find(known, key) == known.end()) known.push_back(key);
        std::string all;
        for (const std::string& k : known)
            all += (all.empty() ? "" : ", ") + k;
        return Error{"there is no column '" + name + "'" + suggestion(lower(name), known) +
                     "; it has " + all};
    }
    unchecked_.clear();
    return {};
}

Result<void> RowView::add(const std::string& text) {
    if (is_full()) return {};
    if (options_.json && options_.columns.empty() && !sort_) {
        show({}, text);
        return {};
    }
    const Json row = Json::parse(text);
    // Of events the first one has no other fields.
    if (!unchecked_.empty() && (!endless_ || row.value("event", "") != "listening"))
        if (auto r = check_fields(row); !r) return r;
    if (!zeros_.empty() && number_of(member(row, zeros_)) == 0 && member(row, zeros_).is_number()) {
        ++hidden_;
        return {};
    }
    if (sort_)
        hold(row, text);
    else
        show(row, text);
    return {};
}

bool RowView::is_full() const noexcept {
    return options_.limit && !sort_ && shown_ >= *options_.limit;
}

bool RowView::in_front(const Held& a, const Held& b) const {
    if (a.key < b.key) return !options_.reverse;
    if (b.key < a.key) return options_.reverse;
    return a.number < b.number;
}

void RowView::hold(const Json& row, const std::string& text) {
    held_.push_back({sort_->sort_key(row), number_++, text});
    // Now and then the rows beyond the limit go, so that a long list takes little memory.
    if (!options_.limit || held_.size() < 2 * *options_.limit + 1000) return;
    const auto middle = held_.begin() + static_cast<std::ptrdiff_t>(*options_.limit);
    std::ranges::nth_element(held_, middle,
                             [this](const Held& a, const Held& b) { return in_front(a, b); });
    held_.erase(middle, held_.end());
}

void RowView::show(const Json& row, const std::string& text) {
    ++shown_;
    if (table_) return table_->add(row);
    if (options_.columns.empty()) return out_->line(text);
    Json chosen = Json::object();
    for (const CellReader& column : columns_)
        column.copy(row, chosen);
    out_->line(chosen.dump(-1, ' ', false, Json::error_handler_t::replace));
}

void RowView::flush() {
    if (table_) table_->finish();
    out_->flush();
}

void RowView::finish() {
    std::ranges::sort(held_, [this](const Held& a, const Held& b) { return in_front(a, b); });
    for (const Held& held : held_) {
        if (options_.limit && shown_ >= *options_.limit) break;
        show(Json::parse(held.text), held.text);
    }
    held_.clear();
    flush();
}

}  // namespace postern
