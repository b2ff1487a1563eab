// SPDX-License-Identifier: BSD-3-Clause
#include "helper/scanner.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include <hs/hs.h>

#include "helper/scanner_cache.h"

namespace postern {
namespace {

// A Hyperscan id contains the owner and the index of the pattern in its descriptor.
constexpr unsigned make_id(std::size_t owner, std::size_t pattern) noexcept {
    return static_cast<unsigned>(owner << 8 | pattern);
}

// Hyperscan 5.4.0 reads up to 16 bytes beyond the end of short texts on processors with
// AVX512-VBMI. Within a page that is harmless; the next page may not be mapped.
constexpr std::size_t kOverread = 64, kPage = 4096;
constexpr std::size_t kLongest = 65536;  ///< a payload, or a stream's buffer

bool ends_at_page_end(Bytes bytes) noexcept {
    const auto end = reinterpret_cast<std::uintptr_t>(bytes.data() + bytes.size());
    return (end - 1) % kPage >= kPage - kOverread;
}

/// All patterns of some helpers, in Hyperscan's form.
struct Patterns {
    std::vector<const char*> expressions;
    std::vector<unsigned> flags, ids;

    explicit Patterns(std::span<const HelperDesc* const> owners) {
        for (std::size_t owner = 0; owner < owners.size(); ++owner) {
            const auto& patterns = owners[owner]->patterns;
            for (std::size_t i = 0; i < patterns.size(); ++i) {
                expressions.push_back(patterns[i].expression);
                flags.push_back(HS_FLAG_MULTILINE | HS_FLAG_DOTALL |
                                (patterns[i].caseless ? unsigned{HS_FLAG_CASELESS} : 0u));
                ids.push_back(make_id(owner, i));
            }
        }
    }

    /// Everything that the compiled form depends on: Hyperscan, the processor, the patterns.
    std::string cache_key() const {
        hs_platform_info_t platform{};
        hs_populate_platform(&platform);
        std::string key = "hyperscan " + std::string(hs_version()) + "\ntune " +
                          std::to_string(platform.tune) + " features " +
                          std::to_string(platform.cpu_features) + "\nblock\n";
        for (std::size_t i = 0; i < ids.size(); ++i)
            key += std::to_string(ids[i]) + " " + std::to_string(flags[i]) + " " + expressions[i] +
                   "\n";
        return key;
    }
};

/// Null if it has no usable one.
hs_database* from_cache(ScannerCache& cache, const std::string& key) {
    const std::vector<char> bytes = cache.load(key);
    if (bytes.empty()) return nullptr;
    hs_database* database = nullptr;
    if (hs_deserialize_database(bytes.data(), bytes.size(), &database) == HS_SUCCESS)
        return database;
    cache.reject(key, "is not taken by this Hyperscan");
    return nullptr;
}

void to_cache(ScannerCache& cache, const std::string& key, const hs_database* database) {
    char* bytes = nullptr;
    std::size_t length = 0;
    if (hs_serialize_database(database, &bytes, &length) != HS_SUCCESS) return;
    cache.store(key, {bytes, bytes + length});
    std::free(bytes);
}

struct Context {
    unsigned owner;
    Matches* out;
};

int on_match(unsigned id, unsigned long long, unsigned long long to, unsigned,
             void* opaque) noexcept {
    auto* context = static_cast<Context*>(opaque);
    if (id >> 8 != context->owner) return 0;
    Matches& m = *context->out;
    if (m.count == Matches::kMax) {
        m.overflow = true;
        return 1;
    }
    m.at[m.count++] = {static_cast<std::uint32_t>(to), static_cast<std::uint8_t>(id & 0xff)};
    return 0;
}

}  // namespace

Scratch::Scratch(Scratch&& other) noexcept
    : scratch_(std::exchange(other.scratch_, nullptr)), padded_(std::move(other.padded_)) {}

Scratch& Scratch::operator=(Scratch&& other) noexcept {
    std::swap(scratch_, other.scratch_);
    std::swap(padded_, other.padded_);
    return *this;
}

Scratch::~Scratch() {
    hs_free_scratch(scratch_);
}

Result<Scratch> Scratch::clone() const {
    Scratch copy;
    if (scratch_ != nullptr && hs_clone_scratch(scratch_, &copy.scratch_) != HS_SUCCESS)
        return Error{"no memory for a worker's pattern scanner"};
    if (scratch_ != nullptr) copy.padded_ = std::make_unique<std::uint8_t[]>(kLongest + kOverread);
    return copy;
}

Scanner::Scanner(Scanner&& other) noexcept : database_(std::exchange(other.database_, nullptr)) {}

Scanner& Scanner::operator=(Scanner&& other) noexcept {
    std::swap(database_, other.database_);
    return *this;
}

Scanner::~Scanner() {
    hs_free_database(database_);
}

Result<Scanner> Scanner::compile(std::span<const HelperDesc* const> owners, Scratch& scratch,
                                 ScannerCache* cache) {
    const Patterns patterns(owners);
    Scanner scanner;
    if (patterns.ids.empty()) return scanner;
    if (hs_valid_platform() != HS_SUCCESS)
        return Error{"this processor lacks SSSE3, which the pattern scanner needs"};
    const std::string key = cache == nullptr ? std::string() : patterns.cache_key();
    if (cache != nullptr) scanner.database_ = from_cache(*cache, key);
    if (scanner.database_ == nullptr) {
        hs_compile_error_t* why = nullptr;
        if (hs_compile_multi(patterns.expressions.data(), patterns.flags.data(),
                             patterns.ids.data(), static_cast<unsigned>(patterns.ids.size()),
                             HS_MODE_BLOCK, nullptr, &scanner.database_, &why) != HS_SUCCESS) {
            std::string text = "pattern";
            if (why->expression >= 0) {
                const auto at = static_cast<std::size_t>(why->expression);
                text += " \"" + std::string(patterns.expressions[at]) + "\" of helper " +
                        std::string(owners[patterns.ids[at] >> 8]->name);
            }
            text += ": " + std::string(why->message);
            hs_free_compile_error(why);
            return Error{text};
        }
        if (cache != nullptr) to_cache(*cache, key, scanner.database_);
    }
    if (hs_alloc_scratch(scanner.database_, &scratch.scratch_) != HS_SUCCESS)
        return Error{"no memory for the pattern scanner"};
    scratch.padded_ = std::make_unique<std::uint8_t[]>(kLongest + kOverread);
    return scanner;
}

void Scanner::scan(const Scratch& scratch, Bytes bytes, std::uint8_t owner,
                   Matches& out) const noexcept {
    out.clear();
    if (database_ == nullptr || bytes.empty()) return;
    if (ends_at_page_end(bytes) && bytes.size() <= kLongest) {
        std::memcpy(scratch.padded_.get(), bytes.data(), bytes.size());
        bytes = {scratch.padded_.get(), bytes.size()};
    }
    Context context{owner, &out};
    hs_scan(database_, reinterpret_cast<const char*>(bytes.data()),
            static_cast<unsigned>(bytes.size()), 0, scratch.scratch_, on_match, &context);
    // Hyperscan guarantees no order between different expressions.
    if (out.count > 1) {
        std::sort(out.at.begin(), out.at.begin() + out.count, [](const auto& a, const auto& b) {
            return a.end != b.end ? a.end < b.end : a.pattern < b.pattern;
        });
    }
}

}  // namespace postern
