// SPDX-License-Identifier: BSD-3-Clause
// The reader's side of the description of keys (key.h): declares the keys to a Map, and reads those
// that are fields. Fields that others depend on come first in the description.
//
// Private to lib/config; called by the sections' readers.
#pragma once

#include <concepts>
#include <functional>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

#include "config/reader.h"

namespace postern::config {

template <class T>
void read_keys(Map& map, T& out);

inline void read_field(const Value& v, const About&, bool& out) {
    if (const auto on = v.flag()) out = *on;
}
template <std::unsigned_integral N>
void read_field(const Value& v, const About& about, N& out) {
    v.read(out, about.range);
}
template <std::unsigned_integral N>
void read_field(const Value& v, const About& about, std::optional<N>& out) {
    if (const auto n = v.number(about.range)) out = static_cast<N>(*n);
}
template <std::unsigned_integral N>
void read_field(const Value& v, const About& about, std::vector<N>& out) {
    for (const Value& item : v.one_or_more())
        if (const auto n = item.number(about.range)) out.push_back(static_cast<N>(*n));
}
inline void read_field(const Value& v, const About& about, std::string& out) {
    if (auto text = v.text(about.range.max)) out = std::move(*text);
}
template <class E>
requires std::is_enum_v<E>
void read_field(const Value& v, const About&, E& out) {
    constexpr const auto& kWords = kWordsOf<E>;
    if (const auto i = v.choice(kWords.texts, std::string(kWords.noun))) out = kWords.values[*i];
}
/// A mapping whose keys are all fields.
template <class T>
requires std::is_class_v<T>
void read_field(const Value& v, const About&, T& out) {
    Map map(v);
    read_keys(map, out);
    map.finish();
}

template <class T>
class KeyReader {
  public:
    KeyReader(Map& map, T& out) : map_(map), out_(out) {}

    template <class Field>
    void operator()(std::string_view name, Field field, const About& about) {
        map_.declare(name, about);
        if (const auto v = about.required ? map_.require(name) : map_.get(name))
            read_field(*v, about, std::invoke(field, out_));
    }
    void by_hand(std::string_view name, const About& about) { map_.declare(name, about); }
    template <class Inner>
    void mapping(std::string_view name, Of<Inner>, const About& about) {
        map_.declare(name, about);
    }
    template <class Fill>
    void group(std::string_view name, const About& about, Fill fill) {
        map_.declare(name, about);
        const auto v = map_.get(name);
        if (!v) return;
        Map inner(*v);
        KeyReader of(inner, out_);
        fill(of);
        inner.finish();
    }

  private:
    Map& map_;
    T& out_;
};

/// Declares all keys of `out`; reads its fields. The caller reads the others, then calls finish().
template <class T>
void read_keys(Map& map, T& out) {
    KeyReader<T> reader(map, out);
    T::describe(reader);
}

}  // namespace postern::config
