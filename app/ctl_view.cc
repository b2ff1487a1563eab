// SPDX-License-Identifier: BSD-3-Clause
#include "ctl_view.h"

#include <algorithm>
#include <cerrno>

#include <unistd.h>

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

std::vector<std::string> split(const std::string& path) {
    std::vector<std::string> parts;
    for (std::size_t at = 0;;) {
        const std::size_t dot = path.find('.', at);
        parts.push_back(path.substr(at, dot - at));
        if (dot == std::string::npos) return parts;
        at = dot + 1;
    }
}

std::string upper(std::string text) {
    for (char& c : text)
        if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
    return text;
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
      right_(column.value("right", false)) {
    for (const std::string& path : column.value("fields", std::vector<std::string>{}))
        fields_.push_back(split(path));
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
    // Forms of a newer daemon: shown unchanged.
    return value(field(row, 0));
}

Table::Table(const Json& columns, Output& out) : out_(out) {
    for (const Json& column : columns)
        columns_.emplace_back(column);
}

void Table::add(const Json& row) {
    if (columns_.empty())
        for (const auto& [key, value] : row.items())
            columns_.emplace_back(Json{{"title", upper(key)}, {"fields", Json::array({key})}});
    std::vector<std::string> cells;
    for (const CellReader& column : columns_)
        cells.push_back(column.cell(row));
    if (printing_) return print(cells);
    held_.push_back(std::move(cells));
    if (held_.size() == kSample) start();
}

void Table::start() {
    printing_ = true;
    std::vector<std::string> titles;
    for (const CellReader& column : columns_)
        titles.push_back(column.title());
    widths_.resize(titles.size());
    held_.insert(held_.begin(), std::move(titles));
    for (const auto& cells : held_)
        for (std::size_t i = 0; i < cells.size(); ++i)
            widths_[i] = std::max(widths_[i], cells[i].size());
    for (const auto& cells : held_)
        print(cells);
    held_.clear();
}

void Table::print(const std::vector<std::string>& cells) {
    std::string line;
    for (std::size_t i = 0; i < cells.size(); ++i) {
        const std::size_t pad = widths_[i] - std::min(widths_[i], cells[i].size());
        const bool right = columns_[i].right();
        if (right) line.append(pad, ' ');
        line += cells[i];
        if (i + 1 == cells.size()) break;
        if (!right) line.append(pad, ' ');
        line += "  ";
    }
    out_.line(line);
}

}  // namespace postern
