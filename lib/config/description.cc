// SPDX-License-Identifier: BSD-3-Clause
#include "config/description.h"

#include <algorithm>
#include <concepts>
#include <functional>
#include <map>
#include <optional>
#include <regex>
#include <sstream>
#include <type_traits>

#include "config/reader.h"
#include "config/spec.h"

namespace postern {
namespace {

std::string code(std::string_view text) {
    return "`" + std::string(text) + "`";
}

// --- the type and default of a field -----------------------------------------------------------

template <class T>
concept Described = std::is_class_v<T> && requires {
    &T::template describe<int>;
};

struct FieldType {
    Form form = Form::text;
    Shape shape = Shape::one;
    std::vector<std::string> words;
    std::string default_text;
};

FieldType type_of(bool value, const About&) {
    return {Form::boolean, Shape::one, {}, value ? "true" : "false"};
}
template <std::unsigned_integral N>
FieldType type_of(N value, const About& about) {
    return {Form::number, Shape::one, {}, config::show(value, about.range.unit)};
}
template <std::unsigned_integral N>
FieldType type_of(const std::optional<N>&, const About&) {
    return {Form::number, Shape::one, {}, "none"};
}
template <std::unsigned_integral N>
FieldType type_of(const std::vector<N>&, const About&) {
    return {Form::number, Shape::one_or_more, {}, "none"};
}
FieldType type_of(const std::string& value, const About&) {
    return {Form::text, Shape::one, {}, value.empty() ? "none" : code(value)};
}
template <class E>
requires std::is_enum_v<E> FieldType type_of(E value, const About&) {
    constexpr const auto& kWords = kWordsOf<E>;
    return {Form::choice,
            Shape::one,
            {kWords.texts.begin(), kWords.texts.end()},
            code(kWords.text_of(value))};
}
template <Described T>
FieldType type_of(const T&, const About&) {
    return {Form::mapping, Shape::one, {}, ""};
}

// --- words of the documentation ----------------------------------------------------------------

std::string list_of(const std::vector<std::string>& words) {
    std::string out;
    for (const std::string& w : words)
        out += (out.empty() ? "" : ", ") + code(w);
    return out;
}

std::string type_text(const KeyDescription& key) {
    const About& about = key.about;
    if (!about.type.empty()) return std::string(about.type);
    const bool many = about.shape != Shape::one;
    const std::string s = many ? "s" : "";
    std::string one;
    switch (key.form) {
        case Form::mapping: one = "mapping" + s; break;
        case Form::boolean: one = "boolean" + s; break;
        case Form::number:
            one = (about.range.unit == KeyUnit::seconds ? "time"
                   : about.range.unit == KeyUnit::size  ? "count"
                                                        : "number") +
                  s;
            break;
        case Form::choice: one = (many ? "of " : "") + list_of(key.words); break;
        case Form::prefix: one = many ? "addresses or prefixes" : "address or prefix"; break;
        case Form::masked: one = "number, or number/mask"; break;
        case Form::name: one = "name" + s; break;
        default: one = "text" + s; break;
    }
    switch (about.shape) {
        case Shape::one: return one;
        case Shape::list: return "list of " + one;
        case Shape::one_or_more:
        case Shape::any_number: return "one or more " + one;
        default: return "mapping to " + one;
    }
}

std::string range_text(const KeyDescription& key) {
    const About& about = key.about;
    if (!about.range_text.empty()) return std::string(about.range_text);
    if (key.form != Form::number) return "";
    return config::show(about.range.min, about.range.unit) + " to " +
           config::show(about.range.max, about.range.unit);
}

void complete(KeyDescription& key) {
    if (key.about.required)
        key.default_text = "required";
    else if (!key.about.default_text.empty())
        key.default_text = key.about.default_text;
    key.type = type_text(key);
    key.range = range_text(key);
    key.help = key.about.help;
}

// --- the visitor -------------------------------------------------------------------------------

std::string path_of(const std::string& parent, std::string_view name, Shape shape) {
    return (parent.empty() ? "" : parent + ".") + std::string(name) +
           (shape == Shape::list      ? "[]"
            : shape == Shape::by_name ? ".*"
                                      : "");
}

template <class T>
class Describer {
  public:
    explicit Describer(MappingDescription& out) : out_(out) {}

    template <class Field>
    void operator()(std::string_view name, Field field, const About& about) {
        T object;
        const auto& value = std::invoke(field, object);
        FieldType type = type_of(value, about);
        KeyDescription& key = add(name, about, type.form);
        if (about.shape == Shape::one) key.about.shape = type.shape;
        key.words = std::move(type.words);
        key.default_text = std::move(type.default_text);
        using Value = std::remove_cvref_t<decltype(value)>;
        if constexpr (Described<Value>) describe<Value>(key);
        complete(key);
    }
    void by_hand(std::string_view name, const About& about) {
        complete(add(name, about, about.form));
    }
    template <class Inner>
    void mapping(std::string_view name, Of<Inner>, const About& about) {
        KeyDescription& key = add(name, about, Form::mapping);
        describe<Inner>(key);
        complete(key);
    }
    template <class Fill>
    void group(std::string_view name, const About& about, Fill fill) {
        KeyDescription& key = add(name, about, Form::mapping);
        auto inner = std::make_shared<MappingDescription>();
        inner->path = path_of(out_.path, name, about.shape);
        Describer of(*inner);
        fill(of);
        key.mapping = std::move(inner);
        complete(key);
    }

  private:
    KeyDescription& add(std::string_view name, const About& about, Form form) {
        KeyDescription& key = out_.keys.emplace_back();
        key.name = name;
        key.about = about;
        key.form = form;
        key.words.assign(about.words.begin(), about.words.end());
        return key;
    }
    template <class Inner>
    void describe(KeyDescription& key) {
        auto inner = std::make_shared<MappingDescription>();
        inner->path = path_of(out_.path, key.name, key.about.shape);
        Describer<Inner> of(*inner);
        Inner::describe(of);
        key.mapping = std::move(inner);
    }

    MappingDescription& out_;
};

// --- tables ------------------------------------------------------------------------------------

std::string cell(std::string_view text) {
    std::string out;
    for (const char c : text)
        out += c == '|' ? std::string("\\|") : std::string(1, c);
    return out;
}

std::string table_of(const MappingDescription& mapping) {
    const bool ranges =
        std::ranges::any_of(mapping.keys, [](const auto& k) { return !k.range.empty(); });
    std::string out = std::string("| key | type | default | ") + (ranges ? "range | " : "") +
                      "meaning |\n|---|---|---|---|" + (ranges ? "---|" : "") + "\n";
    const auto column = [&](const std::string& text) {
        out += text.empty() ? " |" : " " + cell(text) + " |";
    };
    for (const KeyDescription& key : mapping.keys) {
        out += "|";
        column(code(key.name));
        column(key.type);
        column(key.default_text);
        if (ranges) column(key.range);
        column(key.help);
        out += "\n";
    }
    return out;
}

void add_tables(const MappingDescription& mapping, std::map<std::string, std::string>& out) {
    out[mapping.path] = table_of(mapping);
    for (const KeyDescription& key : mapping.keys)
        if (key.mapping && key.about.own_table) add_tables(*key.mapping, out);
}

/// The parameters of `ftp` are described there; identical ones of other helpers refer to it.
constexpr std::string_view kReference = "ftp";

std::map<std::string, std::string> all_tables(const Schema& schema) {
    std::map<std::string, std::string> out;
    add_tables(describe_file(), out);
    const auto path = [](const std::string& name) { return "helpers[].params of " + name; };
    MappingDescription reference;
    for (const HelperSchema& h : schema.helpers)
        if (h.name == kReference) reference = describe_params(path(h.name), h.params);
    for (const HelperSchema& h : schema.helpers) {
        MappingDescription params = describe_params(path(h.name), h.params);
        for (KeyDescription& key : params.keys) {
            const auto same = std::ranges::find_if(reference.keys, [&](const auto& other) {
                return other.name == key.name && other.help == key.help &&
                       other.default_text == key.default_text;
            });
            if (h.name == kReference || same == reference.keys.end()) continue;
            key.help = "as of " + code(kReference);
            if (key.default_text.size() > 40) key.default_text = key.help;
        }
        out[params.path] = params.keys.empty() ? "" : table_of(params);
    }
    return out;
}

}  // namespace

MappingDescription describe_file() {
    MappingDescription out;
    Describer<Spec> describer(out);
    Spec::describe(describer);
    return out;
}

MappingDescription describe_params(const std::string& path,
                                   const std::vector<ParamSchema>& params) {
    MappingDescription out{path, {}};
    for (const ParamSchema& p : params) {
        KeyDescription& key = out.keys.emplace_back();
        key.name = p.name;
        key.help = p.help;
        key.type = p.type;
        key.about.range = {p.min, p.max};
        if (const auto* on = std::get_if<bool>(&p.fallback)) {
            key.form = Form::boolean;
            key.default_text = *on ? "true" : "false";
        } else if (const auto* n = std::get_if<std::uint64_t>(&p.fallback)) {
            key.form = Form::number;
            key.default_text = std::to_string(*n);
            key.range = range_text(key);
        } else {
            const std::string& text = std::get<std::string>(p.fallback);
            key.form = Form::text;
            key.default_text = text.empty() ? "none" : code("\"" + text + "\"");
        }
        if (key.type.empty()) key.type = type_text(key);
    }
    return out;
}

Result<std::string> with_key_tables(const Schema& schema, const std::string& document) {
    std::map<std::string, std::string> tables = all_tables(schema);
    const std::regex in_quotes("`([^`]+)`(?: of `([^`]+)`)?");
    std::istringstream in(document);
    std::string out, path;
    bool replacing = false;
    for (std::string line; std::getline(in, line);) {
        const bool in_table = line.starts_with("|");
        if (replacing && in_table) continue;
        replacing = false;
        if (line.starts_with("#")) {
            std::smatch m;
            path = std::regex_search(line, m, in_quotes) ? m.str(1) : "";
            if (m.size() > 2 && m[2].matched) path += " of " + m.str(2);
            // A mapping without keys has no table.
            if (const auto at = tables.find(path); at != tables.end() && at->second.empty())
                tables.erase(at);
        } else if (line.starts_with("| key |")) {
            const auto at = tables.find(path);
            if (at == tables.end())
                return Error{"a table under a heading of no mapping, or a second one: " + path};
            out += at->second;
            tables.erase(at);
            replacing = true;
            continue;
        }
        out += line + "\n";
    }
    if (!tables.empty()) return Error{"no table of the keys of `" + tables.begin()->first + "`"};
    return out;
}

}  // namespace postern
