// SPDX-License-Identifier: BSD-3-Clause
// Groups: the named lists of a file, and the lists of its rules, as sets.
//
// A group is read when something names it first, so the order in the file does not matter. A group
// that contains itself is an error. The sets of groups are shared by all that name them.
//
// Private to lib/config; used while one file is loaded.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "config/list_items.h"
#include "config/reader.h"
#include "config/spec/sets.h"

namespace postern::config {

class Groups {
  public:
    /// `file`: the configuration; included files are relative to its folder.
    explicit Groups(const std::string& file);

    /// A set of `sets`, which lists may name like a group. Before read(). Reports a name that no
    /// list could mean; returns whether it is one.
    bool add_set(const Value& at, const std::string& name);
    /// The section `groups`. Reports its errors, also of groups that no rule names.
    void read(const Value& v);

    /// The set of a list's items: all of its items without those behind `not`; null after an error,
    /// which is reported. Only with `not`: everything else. `files`: the list may include files.
    /// `sets`: takes the live sets that a list of addresses names; null: it may name none.
    template <class Kind>
    std::shared_ptr<const typename Kind::Set> set_of_list(const std::vector<Value>& items,
                                                          bool files = false,
                                                          SetCondition* sets = nullptr);

    /// A path in the configuration, from the daemon's folder.
    std::string path_of(const std::string& name) const {
        return name.front() == '/' ? name : folder_ + name;
    }
    /// Once for each group or set is enough; further ones of the same name are left out.
    void add_included(IncludedFile file);
    /// The files that were read, each once.
    std::vector<IncludedFile> take_included() { return std::move(included_); }

  private:
    template <class Kind>
    struct Group {
        Value key, value;
        std::shared_ptr<const typename Kind::Set> set;
        bool begun = false;
    };
    template <class Kind>
    using Table = std::map<std::string, Group<Kind>, std::less<>>;
    template <class Kind>
    struct List;

    template <class Kind>
    void define(Map& map);
    template <class Kind>
    void resolve_all();
    template <class Kind>
    std::shared_ptr<const typename Kind::Set> resolve(std::string_view name, const Value& at);
    template <class Kind>
    void add(List<Kind>& list, std::string_view text, const Value& at, const std::string& line);
    /// The error of a name that means something else in a list, or has a dot; empty: none.
    template <class Kind>
    static std::string bad_name(const std::string& name, const std::string& of);
    template <class Kind>
    void add_file(List<Kind>& list, const Value& item);
    template <class Kind>
    void unknown(std::string_view text, const Value& at, const std::string& line);
    /// The kind of another table's group of this name; empty if there is none.
    std::string_view other_kind(std::string_view name) const;
    template <class Kind>
    Table<Kind>& table() {
        return std::get<Table<Kind>>(tables_);
    }

    std::string folder_;
    /// Those of VLANs and code points stay empty.
    std::tuple<Table<AddressKind>, Table<PortKind>, Table<ServiceKind>, Table<VlanKind>,
               Table<DscpKind>>
        tables_;
    std::vector<std::string> sets_;   ///< names; the index is the bit in a SetCondition
    std::vector<std::string> chain_;  ///< names of the groups being read
    std::vector<IncludedFile> included_;
};

}  // namespace postern::config
