// SPDX-License-Identifier: BSD-3-Clause
// The cache of compiled patterns: what it has is taken, what is not exactly it is not.
#include "helper/scanner_cache.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "helper/helper_set.h"
#include "helper/registry.h"

namespace postern {
namespace {

namespace fs = std::filesystem;

struct ScannerCacheTest : ::testing::Test {
    std::string directory;

    ScannerCacheTest() {
        std::string name = ::testing::TempDir() + "scanner-cache-XXXXXX";
        EXPECT_NE(mkdtemp(name.data()), nullptr);
        directory = name + "/made-by-it";
    }
    ~ScannerCacheTest() override { fs::remove_all(fs::path(directory).parent_path()); }

    /// The one file that is there.
    std::string file() const {
        std::vector<std::string> all;
        for (const auto& entry : fs::directory_iterator(directory))
            all.push_back(entry.path());
        EXPECT_EQ(all.size(), 1u);
        return all.empty() ? std::string() : all[0];
    }
    static std::string read(const std::string& path) {
        std::ifstream in(path, std::ios::binary);
        return {std::istreambuf_iterator<char>(in), {}};
    }
    static void write(const std::string& path, const std::string& text) {
        std::ofstream(path, std::ios::binary) << text;
    }
    /// A set of one helper, which must work.
    void build(ScannerCache& cache, const char* helper = "ftp") {
        const HelperConfig config{1, "", find_helper(helper), {}};
        const auto set = HelperSet::create({&config, 1}, &cache);
        ASSERT_TRUE(set.ok()) << set.error().message;
        const std::string_view text = "PORT 192,0,2,1,4,5\r\n";
        Matches matches;
        set.value()
            ->scanner(proto::tcp)
            .scan(set.value()->scratch(),
                  {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()}, 0, matches);
        EXPECT_EQ(matches.count, std::string_view(helper) == "ftp" ? 1u : 0u);
    }
};

TEST_F(ScannerCacheTest, CompilesOnceAndLoadsThen) {
    ScannerCache first(directory);
    build(first);
    EXPECT_EQ(first.misses(), 1u);
    EXPECT_EQ(first.hits(), 0u);
    const std::string before = read(file());
    ScannerCache second(directory);
    build(second);
    EXPECT_EQ(second.misses(), 0u);
    EXPECT_EQ(second.hits(), 1u);
    EXPECT_EQ(read(file()), before);
    EXPECT_TRUE(first.warnings().empty());
    EXPECT_TRUE(second.warnings().empty());
}

TEST_F(ScannerCacheTest, AReaderWritesNothing) {
    ScannerCache reader(directory, ScannerCache::Use::read);
    build(reader);
    EXPECT_EQ(reader.misses(), 1u);
    EXPECT_FALSE(fs::exists(directory));
    ScannerCache writer(directory);
    build(writer);
    build(reader);
    EXPECT_EQ(reader.hits(), 1u);
    EXPECT_TRUE(reader.warnings().empty());
}

TEST_F(ScannerCacheTest, OtherPatternsAreAnotherFile) {
    ScannerCache cache(directory);
    build(cache, "ftp");
    build(cache, "irc");
    EXPECT_EQ(cache.misses(), 2u);
    build(cache, "ftp");
    build(cache, "irc");
    EXPECT_EQ(cache.hits(), 2u);
    EXPECT_TRUE(cache.warnings().empty());
}

TEST_F(ScannerCacheTest, DamageAnywhereIsNoticedAndMended) {
    ScannerCache maker(directory);
    build(maker);
    const std::string path = file(), good = read(path);
    ASSERT_GT(good.size(), 1000u);
    std::vector<std::pair<std::string, std::string>> bad;  // what was done, the file
    // Magic, both lengths, the key, the compiled form from its head to its end, the checksum.
    for (std::size_t at = 0; at < good.size(); at += at < 40 ? 1 : 499) {
        std::string text = good;
        text[at] = static_cast<char>(text[at] ^ 0x20);
        bad.emplace_back("changed at " + std::to_string(at), text);
    }
    for (std::size_t i = 1; i <= 8; ++i) {
        std::string text = good;
        text[good.size() - i] = static_cast<char>(~text[good.size() - i]);
        bad.emplace_back("checksum " + std::to_string(i), text);
    }
    for (const std::size_t length : {std::size_t{0}, std::size_t{1}, std::size_t{24},
                                     std::size_t{40}, good.size() / 2, good.size() - 1})
        bad.emplace_back("cut to " + std::to_string(length), good.substr(0, length));
    bad.emplace_back("longer", good + "x");
    bad.emplace_back("twice", good + good);
    bad.emplace_back("zeros", std::string(good.size(), 0));
    for (const auto& [what, text] : bad) {
        write(path, text);
        ScannerCache cache(directory);
        build(cache);
        EXPECT_EQ(cache.hits(), 0u) << what;
        EXPECT_EQ(cache.misses(), 1u) << what;
        EXPECT_EQ(cache.warnings().size(), 1u) << what;
        EXPECT_EQ(read(path), good) << what;
    }
}

TEST_F(ScannerCacheTest, AnothersFileIsNotTaken) {
    ScannerCache maker(directory);
    build(maker, "irc");
    const std::string irc = file(), text = read(irc);
    fs::remove(irc);
    build(maker, "ftp");
    write(file(), text);  // as if another version's key had the same hash
    ScannerCache cache(directory);
    build(cache, "ftp");
    ASSERT_EQ(cache.warnings().size(), 1u);
    EXPECT_NE(cache.warnings()[0].find("another processor or version"), std::string::npos);
    EXPECT_EQ(cache.hits(), 0u);
}

TEST_F(ScannerCacheTest, WhatHyperscanRefusesIsCompiledAnew) {
    ScannerCache maker(directory);
    build(maker);
    const std::string path = file(), good = read(path);
    std::uint64_t key_bytes = 0;
    std::copy_n(good.data() + 8, 8, reinterpret_cast<char*>(&key_bytes));
    const std::string key = good.substr(24, key_bytes);
    // A Hyperscan database of another version, stored with all that the cache itself looks at.
    std::vector<char> database(good.begin() + 24 + static_cast<std::ptrdiff_t>(key_bytes),
                               good.end() - 8);
    database[4] = static_cast<char>(database[4] ^ 1);
    ScannerCache(directory).store(key, database);
    ASSERT_NE(read(path), good);
    ScannerCache cache(directory);
    build(cache);
    ASSERT_EQ(cache.warnings().size(), 1u);
    EXPECT_NE(cache.warnings()[0].find("Hyperscan"), std::string::npos);
    EXPECT_EQ(cache.hits(), 0u);
    EXPECT_EQ(read(path), good);
}

TEST_F(ScannerCacheTest, WhatOthersMayWriteToIsNotTaken) {
    ScannerCache maker(directory);
    build(maker);
    const std::string path = file();
    ASSERT_EQ(chmod(path.c_str(), 0666), 0);
    ScannerCache cache(directory);
    build(cache);
    ASSERT_EQ(cache.warnings().size(), 1u);
    EXPECT_NE(cache.warnings()[0].find("others may write"), std::string::npos);
    struct stat info {};
    ASSERT_EQ(stat(path.c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777u, 0600u);  // a new one

    fs::rename(path, directory + "/elsewhere");
    fs::create_symlink(directory + "/elsewhere", path);
    ScannerCache linked(directory);
    build(linked);
    EXPECT_EQ(linked.hits(), 0u);
    EXPECT_EQ(linked.warnings().size(), 1u);
}

TEST_F(ScannerCacheTest, UnusableDirectoryIsOneWarning) {
    ScannerCache missing(directory + "/of/none");
    build(missing, "ftp");
    build(missing, "irc");
    EXPECT_EQ(missing.warnings().size(), 1u);

    write(directory, "a file");
    ScannerCache blocked(directory);
    build(blocked, "ftp");
    EXPECT_EQ(blocked.hits(), 0u);
    EXPECT_EQ(blocked.warnings().size(), 1u);
}

}  // namespace
}  // namespace postern
