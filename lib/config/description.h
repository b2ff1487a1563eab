// SPDX-License-Identifier: BSD-3-Clause
// The keys of a configuration file as data: for the documentation's tables and the JSON schema.
// Both are made from the descriptions that the reader uses (key.h), with the helpers and stages of
// a Schema.
//
// Called by: app (`postern schema`), the program that keeps docs/configuration.md, tests. Control
// thread; may throw std::bad_alloc.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "config/key.h"
#include "config/load.h"

namespace postern {

struct MappingDescription;

struct KeyDescription {
    std::string name;
    About about;
    Form form = Form::text;          ///< never by_field
    std::vector<std::string> words;  ///< of Form::choice and other forms with words
    // As the documentation has them: Markdown.
    std::string type;
    std::string default_text;  ///< empty: none worth a word
    std::string range;
    std::string help;
    std::shared_ptr<const MappingDescription> mapping;  ///< its keys, if it has any
};

struct MappingDescription {
    std::string path;  ///< "limits.per_source", "policy.rules[]"; empty: the file itself
    std::vector<KeyDescription> keys;
};

/// The file as a whole, without the parameters of helpers.
MappingDescription describe_file();
/// The parameters of a helper; `path` is "helpers[].params of NAME".
MappingDescription describe_params(const std::string& path, const std::vector<ParamSchema>& params);

/// A JSON schema (draft 7) of the file, indented, ended by a newline. It accepts what the loader
/// accepts, as far as YAML readers agree, and refuses unknown keys, wrong types, words and ranges.
/// It does not cover dependencies on other parts of the file (names, orders).
std::string json_schema(const Schema& schema);

/// Returns `document` with the table of each mapping written anew. A table belongs to the heading
/// that names its mapping: "## `limits.per_source`: ...", "### `helpers[].params` of `ftp`". An
/// error names a mapping without a heading or table.
Result<std::string> with_key_tables(const Schema& schema, const std::string& document);

}  // namespace postern
