// SPDX-License-Identifier: BSD-3-Clause
#include "web/metric_text.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <map>

#include "control/command.h"

namespace postern {
namespace {

bool is_time(const MetricRow& row) {
    return row.unit == "microseconds";
}
/// As it is written: the base unit; empty: none.
std::string unit_of(const MetricRow& row) {
    if (row.unit == "events") return {};
    return is_time(row) ? "seconds" : row.unit;
}

std::string number(double value) {
    std::array<char, 32> text;
    const auto end = std::to_chars(text.data(), text.data() + text.size(), value).ptr;
    return {text.data(), end};
}
/// Of a value in the row's unit.
std::string value_text(const MetricRow& row, std::uint64_t value) {
    return is_time(row) ? number(static_cast<double>(value) / 1e6) : std::to_string(value);
}

/// Letters, digits and underscores, the first one no digit.
std::string clean(std::string_view name) {
    std::string out;
    for (const char c : name) {
        const bool good =
            (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
        out += good ? c : '_';
    }
    if (out.empty() || (out[0] >= '0' && out[0] <= '9')) out.insert(0, 1, '_');
    return out;
}

/// `with_quotes`: in a label's value; OpenMetrics has them escaped in help, too.
std::string escaped(std::string_view text, bool with_quotes) {
    std::string out;
    for (const char c : text) {
        if (c == '\\') {
            out += "\\\\";
        } else if (c == '\n') {
            out += "\\n";
        } else if (c == '"' && with_quotes) {
            out += "\\\"";
        } else {
            out += c;
        }
    }
    return out;
}

std::string label_text(const MetricRow::Labels& labels, std::string_view le = {}) {
    std::string out;
    for (const auto& [name, value] : labels)
        out += (out.empty() ? "{" : ",") + clean(name) + "=\"" + escaped(value, true) + '"';
    if (!le.empty())
        out += (out.empty() ? "{" : ",") + std::string("le=\"") + std::string(le) + '"';
    return out.empty() ? out : out + '}';
}

/// Whether `word` stands in `name` between underscores or at an end.
std::size_t find_word(std::string_view name, std::string_view word) {
    for (std::size_t at = 0; (at = name.find(word, at)) != std::string_view::npos; ++at) {
        const bool begins = at == 0 || name[at - 1] == '_';
        const std::size_t end = at + word.size();
        if (begins && (end == name.size() || name[end] == '_')) return at;
    }
    return std::string_view::npos;
}

struct Family {
    std::string name;
    std::vector<const MetricRow*> rows;
};

std::vector<Family> families_of(const std::vector<MetricRow>& rows, std::size_t& left_out) {
    std::vector<Family> families;
    std::map<std::string, std::size_t, std::less<>> by_name;
    for (const MetricRow& row : rows) {
        std::string name = family_name(row);
        auto found = by_name.find(name);
        // Counters and gauges of one name (two helpers' own) cannot share a family.
        if (found != by_name.end() && families[found->second].rows[0]->kind != row.kind) {
            name = clean("postern_" + row.group + "_" + row.kind + "_" + row.name);
            found = by_name.find(name);
        }
        if (found == by_name.end()) {
            found = by_name.emplace(name, families.size()).first;
            families.push_back({name, {}});
        }
        Family& family = families[found->second];
        if (family.rows.size() < kMaxSeries)
            family.rows.push_back(&row);
        else
            ++left_out;
    }
    return families;
}

void append_histogram(std::string& out, const std::string& name, const MetricRow& row) {
    for (const MetricRow::Bucket& bucket : row.buckets) {
        // A time is the whole part of its microseconds, so it is below the limit. Other values are
        // whole numbers, and the largest of a bucket is one less.
        const std::string le = !bucket.below  ? "+Inf"
                               : is_time(row) ? value_text(row, *bucket.below)
                                              : std::to_string(*bucket.below - 1) + ".0";
        out += name + "_bucket" + label_text(row.labels, le) + ' ' + std::to_string(bucket.count) +
               '\n';
    }
    const std::string labels = label_text(row.labels);
    // One reading of the buckets: the count is that of the last one.
    const std::uint64_t count = row.buckets.empty() ? row.value : row.buckets.back().count;
    out += name + "_sum" + labels + ' ' + value_text(row, row.sum) + '\n';
    out += name + "_count" + labels + ' ' + std::to_string(count) + '\n';
}

void append_family(std::string& out, const Family& family, MetricFormat format) {
    const MetricRow& first = *family.rows[0];
    const bool open = format == MetricFormat::open_metrics;
    const bool counter = first.kind == "counter";
    const std::string sample = family.name + (counter ? "_total" : "");
    // In the older format the name of a counter is that of its sample.
    const std::string& head = open ? family.name : sample;
    out += "# HELP " + head + ' ' + escaped(first.help, open) + '\n';
    out += "# TYPE " + head + ' ' + first.kind + '\n';
    if (const std::string unit = unit_of(first); open && !unit.empty())
        out += "# UNIT " + head + ' ' + unit + '\n';
    for (const MetricRow* row : family.rows) {
        if (row->kind == "histogram") {
            append_histogram(out, family.name, *row);
            continue;
        }
        out += sample + label_text(row->labels) + ' ' +
               (row->real ? number(*row->real) : value_text(*row, row->value)) + '\n';
    }
}

}  // namespace

const char* content_type(MetricFormat format) {
    return format == MetricFormat::open_metrics
               ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
               : "text/plain; version=0.0.4; charset=utf-8";
}

MetricFormat preferred_format(std::string_view accept) {
    // Prometheus names the formats that it can read, the best first.
    const std::size_t open = accept.find("application/openmetrics-text"),
                      plain = accept.find("text/plain");
    return open != std::string_view::npos && (plain == std::string_view::npos || open < plain)
               ? MetricFormat::open_metrics
               : MetricFormat::prometheus;
}

Result<MetricRow> read_metric(std::string_view text) {
    const Json json = Json::parse(text, nullptr, false);
    const auto word = [&json](const char* key) {
        const auto found = json.find(key);
        return found != json.end() && found->is_string() ? found->get<std::string>() : "";
    };
    const auto whole = [](const Json& from, const char* key) {
        const auto found = from.find(key);
        return found != from.end() && found->is_number_unsigned() ? found->get<std::uint64_t>() : 0;
    };
    if (!json.is_object()) return Error{"a metric is not a JSON object"};
    MetricRow row;
    row.group = word("group");
    row.name = word("name");
    row.kind = word("kind");
    row.unit = word("unit");
    row.help = word("help");
    row.value = whole(json, "value");
    row.sum = whole(json, "sum");
    if (row.name.empty() || row.group.empty() ||
        (row.kind != "counter" && row.kind != "gauge" && row.kind != "histogram"))
        return Error{"a metric has no name, group or known kind"};
    if (const auto labels = json.find("labels"); labels != json.end() && labels->is_object())
        for (const auto& [name, value] : labels->items())
            if (value.is_string()) row.labels.emplace_back(name, value.get<std::string>());
    if (const auto buckets = json.find("buckets"); buckets != json.end() && buckets->is_array())
        for (const Json& b : *buckets) {
            if (!b.is_object()) continue;
            MetricRow::Bucket bucket;
            if (b.contains("below") && b["below"].is_number_unsigned())
                bucket.below = b["below"].get<std::uint64_t>();
            bucket.count = whole(b, "count");
            row.buckets.push_back(bucket);
        }
    return row;
}

std::string family_name(const MetricRow& row) {
    std::string name = row.name;
    if (name != row.group && !name.starts_with(row.group + '_')) name = row.group + '_' + name;
    if (const std::string unit = unit_of(row); !unit.empty()) {
        // connections_max of unit connections: max_connections.
        if (const std::size_t at = find_word(name, unit); at != std::string::npos) {
            name.erase(at, std::min(unit.size() + 1, name.size() - at));
            if (name.ends_with('_')) name.pop_back();
        }
        name += (name.empty() ? "" : "_") + unit;
    }
    return clean("postern_" + name);
}

std::string metrics_text(const std::vector<MetricRow>& rows, MetricFormat format) {
    std::size_t left_out = 0;
    const std::vector<Family> families = families_of(rows, left_out);
    std::string out;
    for (const Family& family : families)
        append_family(out, family, format);
    MetricRow row{.group = "web",
                  .name = "series_left_out",
                  .kind = "gauge",
                  .unit = "events",
                  .help = "label sets beyond the limit of a metric, which are not shown",
                  .labels = {},
                  .value = left_out,
                  .buckets = {}};
    append_family(out, {family_name(row), {&row}}, format);
    if (format == MetricFormat::open_metrics) out += "# EOF\n";
    return out;
}

}  // namespace postern
