// SPDX-License-Identifier: BSD-3-Clause
// From a YAML file to a Spec, or to the complete list of its errors.
//
// Called by: app (run, check, replay), control thread, before anything is started; needs no EAL, no
// root and no other part of Postern: the caller passes the helpers and stages of this build as a
// Schema. No exception leaves these functions.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "config/spec.h"

namespace postern {

/// A parameter of a helper kind: its type is that of its default.
struct ParamSchema {
    std::string name;
    ParamValue fallback;
    std::uint64_t min = 0;  ///< numbers only
    std::uint64_t max = UINT64_MAX;
    std::string help = {};  ///< its meaning: Markdown, one line
    std::string type = {};  ///< in the documentation; empty: as of `fallback`
    /// Returns the error of a text; empty: none. Unset: all are valid.
    std::function<std::string(const std::string&)> problem = {};
};

struct HelperSchema {
    std::string name;
    std::vector<std::uint8_t> protocols;  ///< proto::tcp, proto::udp
    std::vector<std::uint16_t> ports;     ///< usual control ports, host order
    std::vector<ParamSchema> params;
    std::vector<std::string> children;  ///< kinds for connections expected by it
};

/// The helpers and stages of this build; a file may name no others.
struct Schema {
    std::vector<HelperSchema> helpers;
    std::vector<ParamSchema> userspace_params;  ///< of helpers in other processes
    std::vector<std::string> stages;            ///< all that exist
    std::vector<std::string> default_pipeline;  ///< used if the file has none
    /// Returns the first of these stages in an impossible position (their number: something is
    /// missing at the end), and the reason; nothing: none. Unset: every order is valid.
    using OrderAnswer = std::optional<std::pair<std::size_t, std::string>>;
    std::function<OrderAnswer(const std::vector<std::string>&)> order_problem;
};

struct Diagnostic {
    std::string file;
    unsigned line = 0;    ///< from 1; 0 = the file as a whole
    unsigned column = 0;  ///< from 1
    std::string message;

    /// "conf/x.yaml:12:7: policy.rules[3].helper: …"
    std::string to_string() const;
};

/// A file of entries that a group or a set of the configuration names.
struct IncludedFile {
    std::string name;          ///< as the configuration has it
    std::string problem = {};  ///< why it could not be read; empty: it was
    std::string of_set = {};   ///< the set that begins with its entries; empty: groups name it
    std::size_t entries = 0;   ///< lines that are neither empty nor a comment
    std::uint64_t digest = 0xcbf29ce484222325;  ///< FNV-1a of the entries

    void add_entry(std::string_view text) noexcept {
        const auto add = [this](char c) {
            digest = (digest ^ static_cast<unsigned char>(c)) * 0x100000001b3;
        };
        for (const char c : text)
            add(c);
        add('\n');
        ++entries;
    }
};

struct LoadResult {
    std::optional<Spec> spec;            ///< present if and only if there are no errors
    std::vector<Diagnostic> errors;      ///< all that were found, in the file's order
    std::vector<Diagnostic> warnings;    ///< legal, but probably not intended
    std::vector<IncludedFile> included;  ///< each once, also if there are errors

    bool ok() const noexcept { return spec.has_value(); }
};

/// `path` "-": standard input.
LoadResult load_spec(const std::string& path, const Schema& schema);
/// The contents of a file of at most 64 MiB, "-" for standard input; an error has no path in it.
Result<std::string> read_config_file(const std::string& path);
/// `name` stands for the file in diagnostics.
LoadResult load_spec_text(std::string_view text, const std::string& name, const Schema& schema);

}  // namespace postern
