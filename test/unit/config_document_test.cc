// SPDX-License-Identifier: BSD-3-Clause
// docs/configuration.md, the README's example and conf/ against the program: the same keys in the
// same mappings, the same stages and helper kinds, and a default pipeline in the document's order.
// The program's side is asked of the loader itself: an unknown key in a mapping makes it list the
// known ones.
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "config/description.h"
#include "config/load.h"
#include "firewall.h"

namespace postern {
namespace {

constexpr const char* kUnknown = "qqqqqqqqqqqqqqqqqqqqqqqq";  // near no key, so no guess is made

struct Document {
    std::map<std::string, std::set<std::string>> keys;  ///< by path, "" = the file itself
    std::vector<std::string> stages;
    std::set<std::string> kinds;
};

/// Tables under "## `path`…" whose first column is "key" list a mapping's keys; the one whose first
/// column is "stage" lists stages. "### `helpers[].params` of `NAME`" describes a kind of helper.
Document read_document() {
    std::ifstream in(POSTERN_DOCUMENT);
    EXPECT_TRUE(in) << POSTERN_DOCUMENT;
    const std::regex heading("#+ .*"), quoted("`([^`]+)`(?: of `([^`]+)`)?"),
        row("\\| `([^`]+)` \\|.*");
    Document doc;
    std::string path, table;
    for (std::string line; std::getline(in, line);) {
        std::smatch m;
        if (std::regex_match(line, heading)) {
            path = std::regex_search(line, m, quoted) ? m.str(1) : "";
            if (!path.empty() && m[2].matched) {
                doc.kinds.insert(m.str(2));
                path += " of " + m.str(2);
                doc.keys[path];
            }
            table.clear();
        } else if (line.rfind("| key |", 0) == 0 || line.rfind("| stage |", 0) == 0) {
            table = line.substr(2, line.find(' ', 2) - 2);
        } else if (std::regex_match(line, m, row)) {
            if (table == "stage") doc.stages.push_back(m.str(1));
            const bool twice = table == "key" && !doc.keys[path].insert(m.str(1)).second;
            EXPECT_FALSE(twice) << line;
        }
    }
    return doc;
}

/// A file with `u` in each mapping that the loader reads.
std::string file_with(const std::string& kind, const std::string& u) {
    const std::string timeouts = u + ", tcp: {" + u + "}, sctp: {" + u + "}, dccp: {" + u +
                                 "}, udp: {" + u + "}, gre: {" + u + "}, icmp: {" + u +
                                 "}, icmpv6: {" + u + "}, generic: {" + u + "}";
    return u + "\neal: {" + u + "}\nworkers: {" + u + ", idle: {" + u + "}}\nzones: [{name: a, " +
           u + "}, b]\n" + "ports: [{name: p, device: net_x, zone: a, " + u + "}]\nbridges: [{" +
           u + "}]\n" + "helpers: [{name: " + kind + ", " + u + ", params: {" + u +
           "}}, {name: mine, userspace: {transports: tcp, classes: [{name: a, proto: tcp, " + u +
           "}], " + u + "}}]\n" + "groups: {" + u + "}\nsets: [{name: s, " + u + "}]\ntimeouts: {" +
           timeouts + "}\nlimits: {" + u + ", per_source: {" + u + "}, answers: {" + u +
           "}, per_worker: {" + u + "}, expectations_per: {" + u + "}}\npolicy: {" + u +
           ", rules: [{action: accept, " + u + ", set: {" + u + "}, expect: {" + u + "}, limit: {" +
           u + "}, schedule: {" + u + "}}]}\ncontrol: {" + u + "}\nstate: {" + u + "}\nlog: {" + u +
           ", file: {" + u + "}, ipfix: {" + u + "}}\n";
}

std::map<std::string, std::set<std::string>> keys_of_loader() {
    const Schema schema = build_schema();
    const std::regex message("(.*?)(?:: )?unknown key \"" + std::string(kUnknown) +
                             "\"(?: \\(expected one of: (.*)\\))?");
    const std::regex index("\\[[0-9]+\\]");
    std::map<std::string, std::set<std::string>> keys;
    for (const auto& helper : schema.helpers) {
        const auto result =
            load_spec_text(file_with(helper.name, std::string(kUnknown) + ": 1"), "f", schema);
        for (const auto& e : result.errors) {
            std::smatch m;
            if (!std::regex_match(e.message, m, message)) continue;
            std::string path = std::regex_replace(m.str(1), index, "[]");
            if (path == "helpers[].params") path += " of " + helper.name;
            auto& known = keys[path];
            std::istringstream list(m.str(2));
            for (std::string key; std::getline(list >> std::ws, key, ',');)
                known.insert(key);
        }
    }
    return keys;
}

TEST(ConfigDocument, NamesTheKeysThatTheLoaderTakes) {
    const auto documented = read_document().keys;
    const auto taken = keys_of_loader();
    ASSERT_FALSE(taken.empty());
    EXPECT_EQ(documented, taken);
}

void add_keys(const MappingDescription& mapping, std::set<std::string>& out) {
    for (const KeyDescription& key : mapping.keys) {
        out.insert(key.name);
        if (key.mapping) add_keys(*key.mapping, out);
    }
}

TEST(ConfigDocument, EveryDescribedKeyIsRead) {
    std::set<std::string> keys;
    add_keys(describe_file(), keys);
    EXPECT_GT(keys.size(), 100u);
    for (const std::string& key : keys) {
        const auto result = load_spec_text(file_with("ftp", key + ": 1"), "f", build_schema());
        for (const auto& e : result.errors)
            EXPECT_EQ(e.message.find("cannot be read"), std::string::npos) << e.to_string();
    }
}

TEST(ConfigDocument, EveryKeyHasAMeaningATypeAndADefault) {
    std::vector<MappingDescription> all{describe_file()};
    for (std::size_t i = 0; i < all.size(); ++i)
        for (const KeyDescription& key : std::vector(all[i].keys)) {
            const std::string path = all[i].path + " " + key.name;
            EXPECT_FALSE(key.help.empty()) << path;
            EXPECT_FALSE(key.type.empty()) << path;
            EXPECT_TRUE(key.form == Form::mapping || !key.default_text.empty()) << path;
            EXPECT_TRUE(!key.about.required || !key.about.expected.empty()) << path;
            if (key.mapping) all.push_back(*key.mapping);
        }
    EXPECT_GT(all.size(), 25u);
}

TEST(ConfigDocument, NamesStagesAndHelpersOfThisBuild) {
    const Document doc = read_document();
    const Schema schema = build_schema();
    EXPECT_EQ(doc.stages, schema.default_pipeline);
    std::set<std::string> kinds;
    for (const auto& h : schema.helpers)
        kinds.insert(h.name);
    EXPECT_EQ(doc.kinds, kinds);
}

TEST(ConfigDocument, WrongParametersHaveAPlace) {
    const auto errors = [](const std::string& params) {
        const auto result = load_spec_text(
            "zones: [a, b]\npolicy: {}\nports: [{name: p, device: net_x, zone: a}]\n"
            "helpers:\n  - {name: ftp, params: {" +
                params + "}}\n",
            "f", build_schema());
        return result.errors.empty() ? std::string() : result.errors[0].to_string();
    };
    EXPECT_EQ(errors("deny_ports: 3306-3300"),
              "f:5:38: helpers[0].params.deny_ports: expected a port or a range of ports, not "
              "\"3306-3300\"");
    EXPECT_EQ(errors("encrypted_passive: 80-90"),
              "f:5:45: helpers[0].params.encrypted_passive: expected a range of at most 128 ports "
              "from 1024 on, such as 50000-50100, not \"80-90\"");
    EXPECT_EQ(errors("encrypted_passive: 50000-50100"), "");
}

TEST(ConfigDocument, StagesInAnOrderThatCannotWorkHaveAPlace) {
    const auto errors = [](const std::string& stages) {
        const auto result = load_spec_text(
            "zones: [a, b]\npolicy: {}\nports: [{name: p, device: net_x, zone: a}]\n"
            "pipeline: [" +
                stages + "]\n",
            "f", build_schema());
        return result.errors.empty() ? std::string() : result.errors[0].to_string();
    };
    EXPECT_EQ(errors("parse, steer, policy, conntrack, expect, commit, helper, forward"),
              "f:4:26: pipeline[2]: stage \"policy\" needs a connection look-up, which "
              "\"conntrack\" provides: that has to be before it");
    EXPECT_EQ(errors("parse, steer, helper, conntrack, expect, policy, commit, forward"),
              "f:4:26: pipeline[2]: stage \"helper\" needs a connection look-up, which "
              "\"conntrack\" provides: that has to be before it");
    EXPECT_EQ(errors("parse, steer, conntrack, expect, policy, helper, commit, forward"),
              "f:4:53: pipeline[5]: stage \"helper\" needs committed connections, which "
              "\"commit\" provides: that has to be before it");
    EXPECT_EQ(errors("parse, conntrack, forward"),
              "f:4:19: pipeline[1]: stage \"conntrack\" needs packets on their home worker, which "
              "no stage before it provides");
    EXPECT_EQ(errors("parse, steer, reassemble, conntrack, forward"),
              "f:4:26: pipeline[2]: stage \"reassemble\" comes too late: it has to be before "
              "\"steer\"");
    EXPECT_EQ(errors("parse, steer, conntrack, expect, policy, commit, helper"),
              "f:4:11: pipeline: no stage decides where packets go; expected \"forward\" at the "
              "end");
    EXPECT_EQ(errors("parse, steer, conntrack, expect, policy, commit, forward"), "");
}

TEST(ConfigDocument, EveryFileInConfLoadsWithoutComplaint) {
    unsigned files = 0;
    for (const auto& entry : std::filesystem::directory_iterator(POSTERN_CONF_DIR)) {
        if (entry.path().extension() != ".yaml") continue;
        ++files;
        const auto result = load_spec(entry.path(), build_schema());
        for (const auto& list : {result.errors, result.warnings})
            for (const auto& each : list)
                ADD_FAILURE() << entry.path() << ": " << each.to_string();
    }
    EXPECT_GE(files, 5u);
}

TEST(ConfigDocument, ReadmeShowsAConfigurationThatWorks) {
    std::ifstream in(POSTERN_README);
    std::ostringstream all;
    all << in.rdbuf();
    const std::string text = all.str(), fence = "```yaml\n";
    const auto begin = text.find(fence);
    ASSERT_NE(begin, std::string::npos);
    const auto first = begin + fence.size();
    const auto result =
        load_spec_text(text.substr(first, text.find("```", first) - first), "f", build_schema());
    EXPECT_TRUE(result.ok()) << (result.errors.empty() ? "" : result.errors[0].to_string());
    EXPECT_TRUE(result.warnings.empty()) << result.warnings[0].to_string();
}

}  // namespace
}  // namespace postern
