// SPDX-License-Identifier: BSD-3-Clause
// The description of the keys as a JSON schema, for editors and other checkers of YAML files.
#include <algorithm>
#include <sstream>

#include <nlohmann/json.hpp>

#include "config/description.h"

namespace postern {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kGroup = "[A-Za-z0-9][A-Za-z0-9_-]{0,30}";
constexpr const char* kName = "^[A-Za-z0-9][A-Za-z0-9_.-]{0,30}$";

class SchemaWriter {
  public:
    explicit SchemaWriter(const Schema& schema) : schema_(schema) {}

    Json file() {
        Json out{{"$schema", "http://json-schema.org/draft-07/schema#"},
                 {"title", "Configuration of Postern"}};
        out.update(mapping(describe_file()));
        out["type"] = "object";
        return out;
    }

  private:
    Json mapping(const MappingDescription& m) {
        // Nothing at all is an empty mapping.
        Json out{{"type", {"object", "null"}}, {"additionalProperties", false}};
        Json& properties = out["properties"] = Json::object();
        for (const KeyDescription& key : m.keys) {
            const std::string path = m.path.empty() ? key.name : m.path + "." + key.name;
            properties[key.name] = property(key, path);
            if (!key.about.formerly.empty()) {
                Json old = properties[key.name];
                old["deprecated"] = true;
                old["description"] = "old name of " + key.name;
                properties[std::string(key.about.formerly)] = std::move(old);
            }
            if (key.about.required) out["required"].push_back(key.name);
        }
        if (m.path == "helpers[]") out["allOf"] = params_by_kind();
        return out;
    }

    Json property(const KeyDescription& key, const std::string& path) {
        Json out = value(key);
        std::string help = key.help;
        if (!key.range.empty()) help += " (" + key.range + ")";
        if (!key.default_text.empty()) help += ". Default: " + key.default_text;
        if (key.about.required) help = key.help;
        out["description"] = path + ": " + help;
        return out;
    }

    Json value(const KeyDescription& key) {
        const About& about = key.about;
        std::vector<Json> choices;
        const Json one = item(key);
        const Json many{{"type", "array"}, {"items", one}};
        switch (about.shape) {
            case Shape::one: choices.push_back(one); break;
            case Shape::list:
                choices.push_back(many);
                choices.push_back({{"type", "null"}});
                break;
            case Shape::one_or_more:
                choices.push_back(one);
                choices.push_back(many);
                choices.back()["minItems"] = 1;
                break;
            case Shape::any_number:
                choices.push_back(one);
                choices.push_back(many);
                choices.push_back({{"type", "null"}});
                break;
            case Shape::lists_by_name: {
                const Json file{{"type", "object"},
                                {"properties", {{"file", {{"type", "string"}}}}},
                                {"required", {"file"}},
                                {"additionalProperties", false}};
                const Json entry = any_of(one, file);
                const Json list{{"type", "array"}, {"items", entry}, {"minItems", 1}};
                choices.push_back({{"type", {"object", "null"}},
                                   {"patternProperties",
                                    {{"^" + std::string(kGroup) + "$", any_of(entry, list)}}},
                                   {"additionalProperties", false}});
                break;
            }
            case Shape::one_or_by_number: choices.push_back(one); [[fallthrough]];
            case Shape::by_number:
            case Shape::by_name:
                choices.push_back(
                    {{"type", {"object", "null"}},
                     {"patternProperties",
                      {{about.shape == Shape::by_name ? kName : "^(0x[0-9A-Fa-f]+|[0-9]+)$", one}}},
                     {"additionalProperties", false}});
                break;
        }
        std::istringstream instead{std::string(about.instead)};
        std::vector<std::string> words;
        for (std::string word; instead >> word;)
            words.push_back(word);
        if (!words.empty()) choices.push_back(word_list(words));
        if (choices.size() == 1) return choices.front();
        return {{"anyOf", choices}};
    }

    Json item(const KeyDescription& key) {
        if (key.form == Form::mapping) {
            Json out = key.mapping ? mapping(*key.mapping) : Json{{"type", {"object", "null"}}};
            // A required key must have a value.
            if (key.about.form == Form::name) return {{"anyOf", {name(), out}}};
            return out;
        }
        return scalar(key.form, key.about.range, key.words);
    }

    Json scalar(Form form, const KeyRange& range, const std::vector<std::string>& words) {
        switch (form) {
            case Form::boolean: return word_list({"true", "false", "yes", "no", "on", "off"});
            case Form::number: return number(range);
            case Form::name: return name();
            case Form::choice: return word_list(words);
            case Form::prefix:
                return {{"type", "string"}, {"pattern", "^[0-9A-Fa-f:.]+(/[0-9]{1,3})?$"}};
            case Form::protocol:
                return any_of(words.empty() ? name() : word_list(words), integer(0, 255));
            case Form::port_range:
                return any_of({{"type", "string"}, {"pattern", "^[0-9]{1,5}(-[0-9]{1,5})?$"}},
                              integer(0, 65535));
            case Form::address:
                return {{"type", {"string", "number"}},
                        {"pattern", "^(not +)?([0-9A-Fa-f:.]+(/[0-9]{1,3}|-[0-9A-Fa-f:.]+)?|" +
                                        std::string(kGroup) + ")$"}};
            case Form::port:
                return any_of({{"type", "string"},
                               {"pattern", "^(not +)?([0-9]{1,5}(-[0-9]{1,5})?|" +
                                               std::string(kGroup) + ")$"}},
                              integer(0, 65535));
            case Form::service:
                return any_of({{"type", "string"},
                               {"pattern", "^(not +)?" + std::string(kGroup) +
                                               "(/[0-9]{1,5}(-[0-9]{1,5})?)?$"}},
                              integer(0, 255));
            case Form::icmp_type:
                return any_of({{"type", "string"}, {"pattern", "^[a-z][a-z-]+$"}}, integer(0, 255));
            case Form::vlan:
                return any_of(
                    {{"type", "string"}, {"pattern", "^(not +)?(none|[0-9]{1,4}(-[0-9]{1,4})?)$"}},
                    integer(1, 4094));
            case Form::dscp:
                return any_of({{"type", "string"},
                               {"pattern", "^(not +)?([a-z][a-z0-9-]*|[0-9]{1,2}(-[0-9]{1,2})?)$"}},
                              integer(0, 63));
            case Form::port_name:
                return {{"type", {"string", "number", "boolean"}},
                        {"pattern", "^(not +)?" + std::string(kName).substr(1)}};
            case Form::pass_word: return any_of(word_list(words), integer(range.min, range.max));
            case Form::masked:
                return any_of({{"type", "string"},
                               {"pattern", "^(0x[0-9A-Fa-f]+|[0-9]+)(/(0x[0-9A-Fa-f]+|[0-9]+))?$"}},
                              integer(0, UINT32_MAX));
            case Form::log_rate:
                return any_of(word_list({"true", "false", "yes", "no", "on", "off"}),
                              {{"type", "string"}, {"pattern", "^[1-9][0-9]{0,6}/s$"}});
            case Form::days:
                return {{"type", "string"},
                        {"pattern",
                         "^(mon|tue|wed|thu|fri|sat|sun)"
                         "(-(mon|tue|wed|thu|fri|sat|sun))?$"}};
            case Form::time_of_day:
                // Some readers take 18:00 for a number of minutes, in base 60.
                return any_of({{"type", "string"}, {"pattern", "^([01][0-9]|2[0-4]):[0-5][0-9]$"}},
                              integer(0, 24 * 60));
            case Form::rate: return {{"type", "string"}, {"pattern", "^[1-9][0-9]{0,6}/[smh]$"}};
            case Form::stage: return word_list(schema_.stages);
            case Form::helper_kind: return word_list(kinds());
            case Form::text:
            case Form::mapping:
            case Form::by_field: break;
        }
        // Readers convert text without quotes to the type that it resembles.
        return {{"type", {"string", "number", "boolean"}}};
    }

    static Json name() { return {{"type", {"string", "number", "boolean"}}, {"pattern", kName}}; }
    static Json any_of(Json a, Json b) { return {{"anyOf", {std::move(a), std::move(b)}}}; }
    static Json integer(std::uint64_t min, std::uint64_t max) {
        return {{"type", "integer"}, {"minimum", min}, {"maximum", max}};
    }
    static Json number(const KeyRange& range) {
        Json plain = integer(range.min, range.max);
        if (range.unit == KeyUnit::none) return plain;
        return any_of(
            std::move(plain),
            {{"type", "string"},
             {"pattern", range.unit == KeyUnit::seconds ? "^[0-9]+[smhd]?$" : "^[0-9]+[KMG]?$"}});
    }
    /// Some readers convert `yes` and similar words to truth values, some to text.
    static Json word_list(const std::vector<std::string>& words) {
        Json out = Json::array();
        for (const std::string& word : words)
            out.push_back(word);
        const auto has = [&](std::initializer_list<std::string_view> list) {
            return std::ranges::any_of(words, [&](const std::string& w) {
                return std::ranges::find(list, w) != list.end();
            });
        };
        if (has({"true", "yes", "on"})) out.push_back(true);
        if (has({"false", "no", "off"})) out.push_back(false);
        return {{"enum", out}};
    }

    std::vector<std::string> kinds() const {
        std::vector<std::string> out;
        for (const HelperSchema& h : schema_.helpers)
            out.push_back(h.name);
        return out;
    }

    /// The parameters depend on the kind, which is `helper`, or else `name`.
    Json params_by_kind() {
        Json out = Json::array();
        const auto add = [&](Json condition, const std::vector<ParamSchema>& params) {
            out.push_back(
                {{"if", std::move(condition)},
                 {"then",
                  {{"properties",
                    {{"params", mapping(describe_params("helpers[].params", params))}}}}}});
        };
        const auto is = [](const char* key, const std::string& kind) {
            return Json{{"required", {key}}, {"properties", {{key, {{"const", kind}}}}}};
        };
        for (const HelperSchema& h : schema_.helpers) {
            Json by_name = is("name", h.name);
            by_name["not"] = {{"required", {"helper"}}};
            add(any_of(is("helper", h.name), std::move(by_name)), h.params);
        }
        add({{"required", {"userspace"}}}, schema_.userspace_params);
        out.push_back(
            {{"if",
              {{"not", {{"anyOf", {{{"required", {"helper"}}}, {{"required", {"userspace"}}}}}}}}},
             {"then", {{"properties", {{"name", word_list(kinds())}}}}}});
        return out;
    }

    const Schema& schema_;
};

}  // namespace

std::string json_schema(const Schema& schema) {
    return SchemaWriter(schema).file().dump(2) + "\n";
}

}  // namespace postern
