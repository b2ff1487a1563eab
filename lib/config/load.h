// SPDX-License-Identifier: BSD-3-Clause
// From a YAML file to a Spec, or to the complete list of what is wrong with it.
//
// Called by: app (run, check, replay), control thread, before anything is started; needs no EAL, no
// root and no other part of Postern: what helpers and stages exist is handed in as a Schema. No
// exception leaves these functions.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "config/spec.h"

namespace postern {

/// A parameter of a helper kind: its type is that of its default.
struct ParamSchema {
    std::string name;
    ParamValue fallback;
    std::uint64_t min = 0;  ///< numbers only
    std::uint64_t max = UINT64_MAX;
    std::string help = {};  ///< what it means: Markdown, one line
    std::string type = {};  ///< in the documentation; empty: as of `fallback`
    /// What is wrong with a text; empty: nothing. Unset: all are right.
    std::function<std::string(const std::string&)> problem = {};
};

struct HelperSchema {
    std::string name;
    std::vector<std::uint8_t> protocols;  ///< proto::tcp, proto::udp
    std::vector<std::uint16_t> ports;     ///< usual control ports, host order
    std::vector<ParamSchema> params;
    std::vector<std::string> children;  ///< kinds that connections expected by it may get
};

/// What this build of Postern has; a file may name nothing else.
struct Schema {
    std::vector<HelperSchema> helpers;
    std::vector<ParamSchema> userspace_params;  ///< of helpers in other processes
    std::vector<std::string> stages;            ///< all that exist
    std::vector<std::string> default_pipeline;  ///< used when the file says nothing
    /// Which of these stages cannot be where it is (their number: something lacks at the end), and
    /// why; nothing: none. Unset: every order is right.
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

struct LoadResult {
    std::optional<Spec> spec;          ///< present if and only if there are no errors
    std::vector<Diagnostic> errors;    ///< all that were found, in the file's order
    std::vector<Diagnostic> warnings;  ///< legal, but perhaps not meant

    bool ok() const noexcept { return spec.has_value(); }
};

LoadResult load_spec(const std::string& path, const Schema& schema);
/// `name` stands for the file in diagnostics.
LoadResult load_spec_text(std::string_view text, const std::string& name, const Schema& schema);

}  // namespace postern
