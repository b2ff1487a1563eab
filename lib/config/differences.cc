// SPDX-License-Identifier: BSD-3-Clause
#include "config/differences.h"

#include <algorithm>
#include <map>
#include <set>

#include <yaml-cpp/yaml.h>

namespace postern {
namespace {

constexpr std::size_t kMostText = 160;
constexpr int kMostDepth = 32;  ///< far below what the configuration has

std::string text_of(const YAML::Node& node) {
    YAML::Emitter out;
    out.SetMapFormat(YAML::Flow);
    out.SetSeqFormat(YAML::Flow);
    out << node;
    std::string text = out.c_str();
    std::ranges::replace(text, '\n', ' ');  // the emitter breaks long lines
    return text;
}

std::string shortened(std::string text) {
    if (text.size() > kMostText) text = text.substr(0, kMostText) + "...";
    return text;
}

/// An item of a list is known by its name; one without by all of its text.
struct Item {
    std::string key;
    std::string label;
    YAML::Node node;
};
std::vector<Item> items_of(const YAML::Node& list) {
    std::vector<Item> out;
    std::map<std::string, unsigned> seen;
    for (const YAML::Node& node : list) {
        const bool named = node.IsMap() && node["name"] && node["name"].IsScalar();
        std::string key = named ? "name " + node["name"].Scalar() : text_of(node);
        const std::string label = named ? node["name"].Scalar() : shortened(key);
        // Of equal ones each has its own place.
        if (const unsigned n = seen[key]++; n != 0) key += " #" + std::to_string(n);
        out.push_back({std::move(key), label, node});
    }
    return out;
}

/// The positions of a longest ascending run among `places`: what need not have moved.
std::set<std::size_t> unmoved(const std::vector<std::size_t>& places) {
    std::vector<std::size_t> ends, before(places.size(), places.size());
    for (std::size_t i = 0; i < places.size(); ++i) {
        const auto at = std::ranges::lower_bound(ends, places[i], {},
                                                 [&](std::size_t end) { return places[end]; });
        if (at != ends.begin()) before[i] = *(at - 1);
        if (at == ends.end())
            ends.push_back(i);
        else
            *at = i;
    }
    std::set<std::size_t> out;
    for (std::size_t i = ends.empty() ? places.size() : ends.back(); i < places.size();
         i = before[i])
        out.insert(i);
    return out;
}

class Comparison {
  public:
    void compare(const std::string& path, const YAML::Node& a, const YAML::Node& b, int depth) {
        if (a.IsMap() && b.IsMap() && depth < kMostDepth) return maps(path, a, b, depth);
        if (a.IsSequence() && b.IsSequence() && depth < kMostDepth) {
            const auto is_map = [](const YAML::Node& node) { return node.IsMap(); };
            // A list of plain values is a value: [80, 443].
            if (std::any_of(a.begin(), a.end(), is_map) || std::any_of(b.begin(), b.end(), is_map))
                return lists(path, a, b, depth);
        }
        const std::string before = text_of(a), after = text_of(b);
        if (before != after) add(path, Difference::Change::changed, before, after);
    }
    std::vector<Difference> take() { return std::move(found_); }

  private:
    void add(const std::string& path, Difference::Change change, const std::string& before,
             const std::string& after) {
        found_.push_back({path, change, shortened(before), shortened(after)});
    }
    void maps(const std::string& path, const YAML::Node& a, const YAML::Node& b, int depth) {
        const auto below = [&path](const YAML::Node& key) {
            const std::string name = key.IsScalar() ? key.Scalar() : text_of(key);
            return path.empty() ? name : path + "." + name;
        };
        const auto find = [](const YAML::Node& map, const YAML::Node& key) {
            for (const auto& entry : map)
                if (entry.first.IsScalar() && key.IsScalar() ? entry.first.Scalar() == key.Scalar()
                                                             : text_of(entry.first) == text_of(key))
                    return YAML::Node(entry.second);
            return YAML::Node(YAML::NodeType::Undefined);
        };
        for (const auto& entry : a)
            if (!find(b, entry.first).IsDefined())
                add(below(entry.first), Difference::Change::removed, text_of(entry.second), "");
        for (const auto& entry : b) {
            const YAML::Node other = find(a, entry.first);
            if (other.IsDefined())
                compare(below(entry.first), other, entry.second, depth + 1);
            else
                add(below(entry.first), Difference::Change::added, "", text_of(entry.second));
        }
    }
    void lists(const std::string& path, const YAML::Node& a, const YAML::Node& b, int depth) {
        const std::vector<Item> before = items_of(a), after = items_of(b);
        std::map<std::string, std::size_t> old_place, new_place;
        for (std::size_t i = 0; i < before.size(); ++i)
            old_place[before[i].key] = i;
        for (std::size_t i = 0; i < after.size(); ++i)
            new_place[after[i].key] = i;
        const auto path_of = [&path](const Item& item) { return path + "[" + item.label + "]"; };
        for (const Item& item : before)
            if (!new_place.contains(item.key))
                add(path_of(item), Difference::Change::removed, text_of(item.node), "");
        std::vector<std::size_t> places;  // of those that stayed
        for (const Item& item : after)
            if (const auto old = old_place.find(item.key); old != old_place.end())
                places.push_back(old->second);
        const std::set<std::size_t> in_place = unmoved(places);
        std::size_t stayed = 0;
        for (const Item& item : after) {
            const auto old = old_place.find(item.key);
            if (old == old_place.end()) {
                add(path_of(item), Difference::Change::added, "", text_of(item.node));
                continue;
            }
            if (!in_place.contains(stayed++)) add(path_of(item), Difference::Change::moved, "", "");
            compare(path_of(item), before[old->second].node, item.node, depth + 1);
        }
    }

    std::vector<Difference> found_;
};

}  // namespace

const char* to_string(Difference::Change change) noexcept {
    constexpr const char* kNames[] = {"added", "removed", "changed", "moved"};
    return kNames[static_cast<unsigned>(change)];
}

Result<std::vector<Difference>> differences(std::string_view before, std::string_view after) {
    try {
        Comparison comparison;
        const YAML::Node a = YAML::Load(std::string(before)), b = YAML::Load(std::string(after));
        comparison.compare("", a, b, 0);
        return comparison.take();
    } catch (const YAML::Exception& e) {
        return Error{std::string("not valid YAML: ") + e.what()};
    }
}

void add_differences(const std::vector<IncludedFile>& before,
                     const std::vector<IncludedFile>& after, std::vector<Difference>& out) {
    const auto entries = [](const IncludedFile& file) {
        return file.problem.empty() ? std::to_string(file.entries) + " entries" : file.problem;
    };
    for (const IncludedFile& now : after) {
        const auto old = std::ranges::find_if(before, [&](const IncludedFile& file) {
            return file.name == now.name && file.of_set == now.of_set;
        });
        if (old == before.end()) continue;
        const std::string a = entries(*old);
        std::string b = entries(now);
        if (a == b && old->digest == now.digest) continue;
        if (a == b) b += ", others";
        if (!now.of_set.empty())
            b += " at the next start; now set " + now.of_set + " keeps its own (`set load`)";
        out.push_back({"file " + now.name, Difference::Change::changed, a, b});
    }
}

}  // namespace postern
