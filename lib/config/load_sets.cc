// SPDX-License-Identifier: BSD-3-Clause
// `sets`, with the contents that they have at the start.
#include <utility>

#include "config/loader.h"
#include "config/read_keys.h"

namespace postern::config {

void Loader::set_contents(Map& map, LiveSetSpec& set) {
    std::vector<TimedPrefix> out;
    if (const auto entries = map.get("entries")) {
        const auto items = entries->list();
        if (items.size() > kMaxGivenEntries) {
            entries->error(std::to_string(items.size()) + " entries (expected at most " +
                           std::to_string(kMaxGivenEntries) + "; `file` may have more)");
            return;
        }
        for (const Value& item : items) {
            const auto text = item.scalar();
            auto entry = text ? parse_set_entry(*text)
                              : Error{"expected an address or a prefix, found " + item.found()};
            if (entry)
                out.push_back(*entry);
            else
                item.error(entry.error().message);
        }
    }
    if (const auto file = map.get("file")) {
        if (const auto name = file->text(kMaxPath)) {
            set.file = *name;
            auto read = read_set_file(groups_.path_of(*name), set.max);
            IncludedFile included{*name, read ? std::string() : read.error().message, set.name};
            if (read)
                out.insert(out.end(), read->begin(), read->end());
            else
                file->error(read.error().message);
            for (std::size_t i = 0; read && i < read->size(); ++i)
                included.add_entry(to_string((*read)[i]));
            groups_.add_included(std::move(included));
        }
    }
    if (out.size() > set.max)
        map.get(map.get("entries") ? "entries" : "file")
            ->error(std::to_string(out.size()) + " entries at the start (expected at most `max`, " +
                    std::to_string(set.max) + ")");
    set.entries = std::make_shared<const std::vector<TimedPrefix>>(std::move(out));
}

void Loader::sets(const Value& v) {
    const auto items = v.list();
    if (items.size() > kMaxSets)
        return v.error(std::to_string(items.size()) + " sets (expected at most " +
                       std::to_string(kMaxSets) + ")");
    for (const Value& item : items) {
        LiveSetSpec set;
        set.where = item.mark();
        Map map(item);
        read_keys(map, set);
        const auto at = map.require("name");
        const auto name = at ? at->name() : std::nullopt;
        set.name = name.value_or("");
        set_contents(map, set);
        map.finish();
        if (!name || !groups_.add_set(*at, *name)) continue;
        spec_.sets.push_back(std::move(set));
    }
}

}  // namespace postern::config
