// SPDX-License-Identifier: BSD-3-Clause
#include "config_history.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

namespace postern {
namespace {

class ConfigHistoryTest : public ::testing::Test {
  protected:
    void SetUp() override {
        std::string name = (std::filesystem::temp_directory_path() / "postern-XXXXXX").string();
        ASSERT_NE(::mkdtemp(name.data()), nullptr);
        top_ = name;
        folder_ = name + "/history";
    }
    void TearDown() override { std::filesystem::remove_all(top_); }

    ConfigHistory open() {
        auto history = ConfigHistory::open(folder_);
        EXPECT_TRUE(history) << (history ? "" : history.error().message);
        return std::move(*history);
    }
    static void add(ConfigHistory& history, const std::string& text, bool confirmed = true) {
        ASSERT_TRUE(history.add({0, 1'000, "uid 0, pid 1", "/etc/x.yaml", confirmed, text}));
    }

    std::string top_, folder_;
};

TEST_F(ConfigHistoryTest, OutlivesItsProcess) {
    {
        ConfigHistory history = open();
        add(history, "one\n");
        add(history, "two\n", false);
    }
    const ConfigHistory history = open();
    ASSERT_EQ(history.entries().size(), 2u);
    EXPECT_EQ(history.entries()[0].text, "one\n");
    EXPECT_EQ(history.entries()[0].by, "uid 0, pid 1");
    EXPECT_FALSE(history.entries()[1].confirmed);
    EXPECT_EQ(history.next_number(), 3u);
    ASSERT_NE(history.find(2), nullptr);
    EXPECT_EQ(history.find(2)->text, "two\n");
    EXPECT_EQ(history.find(3), nullptr);
}

TEST_F(ConfigHistoryTest, KeepsTheLastTen) {
    ConfigHistory history = open();
    for (unsigned i = 1; i <= 12; ++i)
        add(history, std::to_string(i));
    EXPECT_EQ(history.entries().size(), ConfigHistory::kMost);
    EXPECT_EQ(history.entries().front().number, 3u);
    EXPECT_FALSE(std::filesystem::exists(folder_ + "/2.yaml"));
    EXPECT_TRUE(std::filesystem::exists(folder_ + "/3.yaml"));
}

TEST_F(ConfigHistoryTest, KeepsTheLastConfirmedOne) {
    ConfigHistory history = open();
    add(history, "older\n");
    add(history, "good\n");
    for (unsigned i = 1; i <= 12; ++i)
        add(history, "trial\n", false);
    EXPECT_EQ(history.entries().size(), ConfigHistory::kMost);
    EXPECT_EQ(history.entries().front().text, "good\n");
    ASSERT_TRUE(history.mark_unconfirmed("trial\n"));
    EXPECT_EQ(ConfigHistory::replacement_of(folder_, "trial\n"), "good\n");
}

TEST_F(ConfigHistoryTest, ATrialIsReplacedByWhatWasConfirmed) {
    ConfigHistory history = open();
    add(history, "good\n");
    ASSERT_TRUE(history.mark_unconfirmed("trial\n"));
    add(history, "trial\n", false);
    EXPECT_EQ(ConfigHistory::replacement_of(folder_, "trial\n"), "good\n");
    EXPECT_EQ(ConfigHistory::replacement_of(folder_, "edited since\n"), std::nullopt);
    ASSERT_TRUE(history.confirm_newest());
    ASSERT_TRUE(history.clear_unconfirmed());
    EXPECT_EQ(ConfigHistory::replacement_of(folder_, "trial\n"), std::nullopt);
    EXPECT_EQ(ConfigHistory::replacement_of("", "trial\n"), std::nullopt);
}

TEST_F(ConfigHistoryTest, OneDaemonAFolder) {
    const ConfigHistory first = open();
    auto second = ConfigHistory::open(folder_);
    ASSERT_FALSE(second);
    EXPECT_NE(second.error().message.find("another daemon"), std::string::npos);
}

TEST_F(ConfigHistoryTest, ADamagedIndexBeginsAnew) {
    for (const char* text : {"", "{", "[]", "{\"configurations\":[{\"number\":\"x\"}]}"}) {
        std::filesystem::create_directory(folder_);
        std::ofstream(folder_ + "/index.json") << text;
        ConfigHistory history = open();
        EXPECT_TRUE(history.entries().empty()) << text;
        add(history, "one\n");
    }
}

TEST_F(ConfigHistoryTest, WithoutAFolderItIsInMemory) {
    auto history = ConfigHistory::open("");
    ASSERT_TRUE(history);
    EXPECT_FALSE(history->is_on_disk());
    ASSERT_TRUE(history->add({0, 1, "start", "x", true, "text"}));
    EXPECT_EQ(history->entries().size(), 1u);
}

}  // namespace
}  // namespace postern
