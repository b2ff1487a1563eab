// SPDX-License-Identifier: BSD-3-Clause
// Configurations for tests: a small schema, files around one section or some rules, and what the
// loader says of them.
#pragma once

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "config/load.h"

namespace postern {

inline Schema schema() {
    return {
        .helpers = {{.name = "ftp",
                     .protocols = {proto::tcp},
                     .ports = {21},
                     .params = {{.name = "loose", .fallback = false},
                                {.name = "depth", .fallback = std::uint64_t{4}, .min = 1, .max = 8},
                                {.name = "banner", .fallback = std::string("hello")}}},
                    {.name = "tftp", .protocols = {proto::udp}, .ports = {69}, .params = {}}},
        .stages = {"parse", "steer", "conntrack", "expect", "policy", "commit", "helper", "forward",
                   "sample"},
        .default_pipeline = {"parse", "steer", "conntrack", "expect", "policy", "commit", "helper",
                             "forward"}};
}

/// A complete file around one or more sections. Line 1 of `extra` is line 8 of the file; `rules`
/// are flow mappings, one a line, the first on line 6.
inline std::string with_rules(const std::string& rules) {
    return "zones: [inside, outside]\n"
           "ports: [{name: in0, device: net_null0, zone: inside},\n"
           "        {name: out0, device: net_null1, zone: outside}]\n"
           "bridges: [{ports: [in0, out0]}]\n"
           "policy: {default: drop, rules: [\n" +
           rules + "]}\n";
}
/// … or around further sections, which begin on line 8.
inline std::string with(const std::string& extra) {
    return "zones: [inside, outside]\n"
           "ports:\n"
           "  - {name: in0, device: net_null0, zone: inside}\n"
           "  - {name: out0, device: net_null1, zone: outside}\n"
           "bridges: [{ports: [in0, out0]}]\n"
           "policy: {default: drop}\n"
           "\n" +
           extra;
}
inline LoadResult load(const std::string& text) {
    return load_spec_text(text, "x.yaml", schema());
}
inline std::vector<std::string> texts(const std::vector<Diagnostic>& list) {
    std::vector<std::string> out;
    for (const auto& d : list)
        out.push_back(d.to_string());
    return out;
}
/// Loads, and expects no errors.
inline Spec good(const std::string& text) {
    auto r = load(text);
    EXPECT_THAT(texts(r.errors), ::testing::IsEmpty());
    return r.ok() ? *r.spec : Spec{};
}
inline std::vector<std::string> errors(const std::string& text) {
    auto r = load(text);
    EXPECT_EQ(r.ok(), r.errors.empty());
    return texts(r.errors);
}
inline std::vector<std::string> warnings(const std::string& text) {
    auto r = load(text);
    EXPECT_THAT(texts(r.errors), ::testing::IsEmpty());
    return texts(r.warnings);
}

}  // namespace postern
