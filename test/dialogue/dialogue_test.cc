// SPDX-License-Identifier: BSD-3-Clause
// Runs the conversations in helpers/*/dialogues/*.txt through the engine, cut, joined, repeated and
// shuffled in every way that TCP may do it; the answers must not change. The notation of the files
// is in dialogue.h.
#include <algorithm>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "talk.h"

namespace postern {
namespace {

void pieces_of(std::size_t length, std::size_t size, std::vector<Piece>& out) {
    for (std::size_t at = 0; at < length; at += size)
        out.push_back({at, std::min(length, at + size)});
    if (out.empty()) out.push_back({0, 0});
}

Cut in_pieces(std::size_t size, bool backwards) {
    return [=](std::size_t, std::size_t length, std::vector<Piece>& out) {
        pieces_of(length, size, out);
        if (backwards) std::reverse(out.begin(), out.end());
    };
}

/// As many holes as a stream may have, then they are filled.
void every_other_first(std::size_t, std::size_t length, std::vector<Piece>& out) {
    std::vector<Piece> all;
    pieces_of(length, length / 17 + 1, all);
    for (const std::size_t start : {std::size_t{1}, std::size_t{0}})
        for (std::size_t i = start; i < all.size(); i += 2)
            out.push_back(all[i]);
}

class DialogueTest : public ::testing::Test {
  public:
    DialogueTest(const Dialogue& d, Family family, std::uint8_t protocol)
        : dialogue_(d), family_(family), protocol_(protocol) {}

    void TestBody() override {
        Talk talk(dialogue_, family_, protocol_);
        const auto check = [&](const char* what, const Way& way) {
            const std::string problem = talk.run(way);
            EXPECT_EQ(problem, "") << what << ", first sequence number " << way.isn;
            return problem.empty();
        };
        for (const std::uint32_t isn : {1000u, 0xffffffffu, 0xffffffc0u, 0x7fffffe0u}) {
            Way plain;
            plain.isn = isn;
            if (!check("whole lines", plain)) return;
            Way way = plain;
            way.twice = true;
            if (!talk.once()) check("each segment twice", way);
            way = plain;
            way.undo = true;
            check("undone and sent again", way);
            if (talk.datagrams()) return;
            for (const bool join : {false, true}) {
                way = plain;
                way.join = join;
                check("joined", way);
                way.cut = in_pieces(1, false);
                check("single bytes", way);
                way.undo = true;
                check("single bytes, undone", way);
                way.undo = false;
                way.twice = true;
                check("single bytes twice", way);
                way.cut = in_pieces(7, false);
                way.liar = true;
                check("sevens, with lies", way);
                way.twice = way.liar = false;
                if (!dialogue_.in_order) {
                    way.cut = in_pieces(1, true);
                    check("single bytes backwards", way);
                    way.cut = in_pieces(5, true);
                    check("fives backwards", way);
                    way.cut = every_other_first;
                    check("every other piece first", way);
                }
                // The longest part: once as it is, once over the wrap.
                if (isn != 1000u && isn != 0xffffffc0u) continue;
                if (!every_split(talk, way)) return;
            }
        }
    }

  private:
    /// Each turn cut in two at each of its bytes.
    bool every_split(Talk& talk, Way way) {
        const auto turns = talk.turns(way.join);
        for (std::size_t t = 0; t < turns.size(); ++t) {
            for (std::size_t at = 1; at < turns[t]; at += dialogue_.every) {
                for (int kind = 0; kind < (dialogue_.in_order ? 3 : 4); ++kind) {
                    way.liar = kind == 1;
                    way.undo = kind == 2;
                    way.cut = [=](std::size_t turn, std::size_t n, std::vector<Piece>& out) {
                        if (turn != t)
                            out = {{0, n}};
                        else if (kind == 3)
                            out = {{at, n}, {0, at}};
                        else
                            out = {{0, at}, {at, n}};
                    };
                    const std::string problem = talk.run(way);
                    EXPECT_EQ(problem, "") << "turn " << t << " cut at " << at << ", kind " << kind
                                           << ", joined " << way.join;
                    if (!problem.empty()) return false;
                }
            }
        }
        return true;
    }

    const Dialogue& dialogue_;
    Family family_;
    std::uint8_t protocol_;
};

}  // namespace
}  // namespace postern

int main(int argc, char** argv) {
    using namespace postern;
    ::testing::InitGoogleTest(&argc, argv);
    static std::vector<std::unique_ptr<Dialogue>> dialogues;
    for (int i = 1; i < argc; ++i) {
        const std::filesystem::path helper(argv[i]);
        std::vector<std::filesystem::path> files;
        for (const auto& entry : std::filesystem::directory_iterator(helper / "dialogues"))
            if (entry.path().extension() == ".txt") files.push_back(entry.path());
        std::sort(files.begin(), files.end());
        for (const auto& file : files) {
            try {
                dialogues.push_back(std::make_unique<Dialogue>(parse(file)));
            } catch (const std::exception& e) {
                std::fprintf(stderr, "%s\n", e.what());
                return 1;
            }
            const Dialogue& d = *dialogues.back();
            for (const Family family : d.families) {
                for (const std::uint8_t protocol : d.over) {
                    std::string name = file.stem().string() + "." + to_string(family);
                    if (d.over.size() > 1) name += "." + protocol_name(protocol);
                    ::testing::RegisterTest(helper.filename().c_str(), name.c_str(), nullptr,
                                            nullptr, __FILE__, __LINE__,
                                            [&d, family, protocol]() -> ::testing::Test* {
                                                return new DialogueTest(d, family, protocol);
                                            });
                }
            }
        }
    }
    if (dialogues.empty()) {
        std::fprintf(stderr, "no dialogues; give the folders of helpers as arguments\n");
        return 1;
    }
    const int result = RUN_ALL_TESTS();
    std::printf("%llu runs of conversations\n", static_cast<unsigned long long>(Talk::runs));
    return result;
}
