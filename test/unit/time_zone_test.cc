// SPDX-License-Identifier: BSD-3-Clause
// Local time by the system's files, compared with the C library's.
#include "base/time_zone.h"

#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>

#include <gtest/gtest.h>

namespace postern {
namespace {

std::vector<std::uint8_t> bytes_of(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

class AsInTheLibrary : public ::testing::Test {
  protected:
    void TearDown() override {
        unsetenv("TZ");
        tzset();
    }
    static std::int32_t by_library(std::int64_t t) {
        const auto when = static_cast<std::time_t>(t);
        std::tm local{};
        localtime_r(&when, &local);
        return static_cast<std::int32_t>(local.tm_gmtoff);
    }
};

TEST_F(AsInTheLibrary, EachZone) {
    std::mt19937_64 random(3);
    unsigned zones = 0;
    const std::filesystem::path folder = "/usr/share/zoneinfo";
    if (!std::filesystem::exists(folder)) GTEST_SKIP() << "no tzdata";
    for (const char* name :
         {"UTC", "Europe/Berlin", "Europe/London", "Europe/Dublin", "America/New_York",
          "America/Sao_Paulo", "Australia/Sydney", "Australia/Lord_Howe", "Asia/Kolkata",
          "Asia/Kathmandu", "Africa/Casablanca", "Pacific/Apia", "Pacific/Chatham", "America/Nuuk",
          "Asia/Gaza", "Antarctica/Troll", "Etc/GMT+12", "Pacific/Kiritimati"}) {
        const auto zone = TimeZone::load(name);
        if (!std::filesystem::exists(folder / name)) continue;
        ASSERT_TRUE(zone.ok()) << name << ": " << zone.error().message;
        ++zones;
        setenv("TZ", name, 1);
        tzset();
        for (unsigned i = 0; i < 20'000; ++i) {
            // 1950 to 2110: transitions in the file, and its rule after them.
            const std::int64_t t =
                static_cast<std::int64_t>(random() % 5'050'000'000u) - 631'152'000;
            ASSERT_EQ(zone.value().offset_at(t), by_library(t)) << name << " at " << t;
        }
        // Around the changes of a year, to the second.
        for (std::int64_t t = 1'767'225'600; t < 1'767'225'600 + 366 * 86'400; t += 1799)
            ASSERT_EQ(zone.value().offset_at(t), by_library(t)) << name << " at " << t;
    }
    EXPECT_GT(zones, 10u);
}

TEST(TimeZoneFile, RulesOfTheLastLine) {
    // A file without transitions: header, one type, and the line.
    const auto zone_of = [](const std::string& line) {
        std::string part = "TZif2" + std::string(15, '\0');
        for (const char n :
             {'\0', '\0', '\0', '\0', '\1', '\1'})  // one type, one character of a name
            part += std::string(3, '\0') + n;
        const std::string body(6 + 1, '\0');
        const std::string all = part + body + part + body + "\n" + line + "\n";
        return TimeZone::parse({reinterpret_cast<const std::uint8_t*>(all.data()), all.size()});
    };
    constexpr std::int64_t kJanuary = 1'767'225'600, kDay = 86'400;  // 2026
    const auto berlin = zone_of("CET-1CEST,M3.5.0,M10.5.0/3");
    ASSERT_TRUE(berlin.ok());
    EXPECT_EQ(berlin.value().offset_at(kJanuary), 3600);
    EXPECT_EQ(berlin.value().offset_at(kJanuary + 87 * kDay + 3599), 3600);  // 29 March, 01:00 UTC
    EXPECT_EQ(berlin.value().offset_at(kJanuary + 87 * kDay + 3600), 7200);
    EXPECT_EQ(berlin.value().offset_at(kJanuary + 297 * kDay + 3599), 7200);  // 25 October
    EXPECT_EQ(berlin.value().offset_at(kJanuary + 297 * kDay + 3600), 3600);
    const auto south = zone_of("<+1030>-10:30<+11>-11,J100,300/-1:30");
    ASSERT_TRUE(south.ok());
    EXPECT_EQ(south.value().offset_at(kJanuary), 37'800);
    EXPECT_EQ(south.value().offset_at(kJanuary + 200 * kDay), 39'600);
    EXPECT_EQ(zone_of("EST5").value().offset_at(0), -18'000);
    EXPECT_EQ(zone_of("").value().offset_at(0), 0);
    for (const char* wrong :
         {"X", "CET", "CET-1CEST", "CET-1CEST,M13.1.0,M10.5.0", "CET-1CEST,M3.0.0,M10.5.0",
          "CET-1CEST,M3.5.7,M10.5.0", "CET-25", "CET-1CEST,J0,J5", "<CET-1",
          "CET-1CEST,M3.5.0,M10.5.0x", "CET-1CEST,M3.5.0"})
        EXPECT_FALSE(zone_of(wrong).ok()) << wrong;
}

TEST(TimeZoneFile, WhatIsNone) {
    for (const char* name : {"Europe/Berlim", "../../../etc/passwd", "/etc/localtime", "Europe",
                             ".", "Europe/Ber lin"}) {
        const auto zone = TimeZone::load(name);
        ASSERT_FALSE(zone.ok()) << name;
        EXPECT_NE(zone.error().message.find("is not a time zone"), std::string::npos);
    }
    std::vector<std::uint8_t> file = bytes_of("/usr/share/zoneinfo/Europe/Berlin");
    if (file.empty()) GTEST_SKIP() << "no tzdata";
    ASSERT_TRUE(TimeZone::parse(file).ok());
    for (std::size_t n = 0; n < file.size(); ++n)
        EXPECT_FALSE(TimeZone::parse(std::span(file).first(n)).ok()) << n << " bytes";
    std::mt19937 random(9);
    for (unsigned i = 0; i < 20'000; ++i) {
        auto other = file;
        for (unsigned k = random() % 8; k-- > 0;)
            other[random() % other.size()] = static_cast<std::uint8_t>(random());
        if (const auto zone = TimeZone::parse(other); zone.ok())
            for (const std::int64_t t : {INT64_MIN, std::int64_t{0}, INT64_MAX}) {
                const std::int32_t offset = zone.value().offset_at(t);
                ASSERT_LE(std::abs(offset), 26 * 3600 + 3600);
            }
    }
}

}  // namespace
}  // namespace postern
