// SPDX-License-Identifier: BSD-3-Clause
#include "net/keyed_hash.h"

#include <cstdlib>

#include <sys/random.h>

namespace postern {

HashSecret HashSecret::random() {
    HashSecret s;
    if (getrandom(s.words.data(), sizeof s.words, 0) != sizeof s.words) std::abort();
    return s;
}

HashSecret HashSecret::from_seed(std::uint64_t seed) noexcept {
    HashSecret s;
    for (auto& word : s.words) {  // splitmix64
        seed += 0x9e3779b97f4a7c15u;
        std::uint64_t z = seed;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        word = z ^ (z >> 31);
    }
    return s;
}

}  // namespace postern
