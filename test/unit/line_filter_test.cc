// SPDX-License-Identifier: BSD-3-Clause
// LineFilter: what it rules out Hyperscan does not match, whatever the patterns and the text.
#include "helper/line_filter.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "helper/registry.h"
#include "helper/scanner.h"

namespace postern {
namespace {

namespace fs = std::filesystem;
using namespace std::string_literals;

Bytes bytes(std::string_view text) {
    return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

/// The patterns of one helper, with Hyperscan and with the filter.
struct Both {
    HelperDesc desc{};
    Scratch scratch;
    Scanner scanner;
    std::unique_ptr<const LineFilter> filter;
    unsigned matched = 0, ruled_out = 0;

    explicit Both(std::span<const PatternDesc> patterns) {
        desc.name = "tested";
        desc.patterns = patterns;
        const HelperDesc* owner = &desc;
        auto compiled = Scanner::compile({&owner, 1}, scratch);
        EXPECT_TRUE(compiled) << (compiled ? "" : compiled.error().message);
        scanner = std::move(compiled).value();
        filter = LineFilter::make(patterns);
    }

    void look_at(std::string_view text) {
        Matches found;
        scanner.scan(scratch, bytes(text), 0, found);
        const bool may = filter->may_match(bytes(text));
        matched += found.count != 0;
        ruled_out += !may;
        EXPECT_TRUE(may || found.count == 0) << ::testing::PrintToString(std::string(text));
    }
};

/// Text of pieces: such as patterns have, line ends, and any bytes; some of it damaged.
class Writer {
  public:
    explicit Writer(std::vector<std::string> pieces) : pieces_(std::move(pieces)) {}
    std::string text() {
        std::string out;
        for (unsigned n = below(6) + 1; n != 0; --n) {
            if (below(3) == 0) out += below(2) == 0 ? "\n" : "\r\n";
            std::string piece = pieces_[below(static_cast<unsigned>(pieces_.size()))];
            if (!piece.empty() && below(4) == 0)
                piece[below(static_cast<unsigned>(piece.size()))] = static_cast<char>(below(256));
            if (below(8) == 0) piece.resize(piece.size() / 2);
            out += piece;
        }
        return out;
    }

  private:
    unsigned below(unsigned n) { return static_cast<unsigned>(random_() % n); }
    std::mt19937 random_{1};
    std::vector<std::string> pieces_;
};

TEST(LineFilter, RulesOutNothingThatTheHelpersPatternsMatch) {
    const std::vector<std::string> pieces = {"PORT ",
                                             "port ",
                                             "EPRT ",
                                             "LPRT 6",
                                             "AUTH TLS",
                                             "EPSV ALL",
                                             "EPSV\r\n",
                                             "200 ok",
                                             "220 ",
                                             "227 Entering",
                                             "228 ",
                                             "229 ",
                                             "226 done",
                                             "234 ",
                                             "150-",
                                             "1a0-",
                                             "99",
                                             "NOOP\r\n",
                                             "\xff\xf4\xff\xf2",
                                             "\xff\xfb\x01",
                                             "\xff",
                                             "PRIVMSG you :\x01"
                                             "DCC ",
                                             ":a!b@c ",
                                             "@time=1 ",
                                             "privmsg  a  :\x01"
                                             "dcc ",
                                             "STARTTLS",
                                             "starttls",
                                             "670 ",
                                             "PING :x\r\n",
                                             "SETUP rtsp://",
                                             "PLAY ",
                                             "RECORD ",
                                             "TEARDOWN ",
                                             "RTSP/1.0 200 OK",
                                             "OPTIONS ",
                                             "INVITE sip:",
                                             "UPDATE ",
                                             "ACK ",
                                             "BYE ",
                                             "CANCEL ",
                                             "REGISTER ",
                                             "PRACK ",
                                             "MESSAGE ",
                                             "CSeq: 1 INVITE",
                                             "cseq :\r\n 22 register",
                                             "SIP/2.0 200 OK\r\n",
                                             "Via: x\r\n",
                                             "OPEN ",
                                             "",
                                             "\n",
                                             "\r\n\r\n",
                                             " ",
                                             std::string(300, 'x'),
                                             "\0\0\0\0"s};
    unsigned with_patterns = 0;
    for (const HelperDesc* helper : all_helpers()) {
        if (helper->patterns.empty()) continue;
        SCOPED_TRACE(std::string(helper->name));
        ++with_patterns;
        Both both(helper->patterns);
        ASSERT_NE(both.filter, nullptr) << "its patterns are not understood: it is slow";
        Writer writer(pieces);
        for (unsigned n = 0; n < 100'000; ++n)
            both.look_at(writer.text());
        EXPECT_GT(both.matched, 1000u);
        EXPECT_GT(both.ruled_out, 1000u);
        for (const auto& entry : fs::recursive_directory_iterator(POSTERN_HELPERS_DIR)) {
            if (!entry.is_regular_file()) continue;
            std::ifstream in(entry.path(), std::ios::binary);
            const std::string all{std::istreambuf_iterator<char>(in), {}};
            for (std::size_t at = 0; at < all.size(); at = all.find('\n', at) + 1) {
                both.look_at(std::string_view(all).substr(at, 100));
                if (all.find('\n', at) == std::string::npos) break;
            }
        }
    }
    EXPECT_GE(with_patterns, 4u);
}

TEST(LineFilter, RulesOutWhatAnFtpSessionMostlySays) {
    const auto filter = LineFilter::make(find_helper("ftp")->patterns);
    ASSERT_NE(filter, nullptr);
    for (const char* line : {"NOOP\r\n", "226 Transfer complete.\r\n", "TYPE I\r\n", "PASV\r\n",
                             "RETR a\r\nSTOR b\r\n", "PASS x\r\n", "LIST\r\n", "\n", "",
                             "drwxr-xr-x 2 ftp\r\n -rw-r--r-- 227 x\r\n", "200 ok\r\n"})
        EXPECT_FALSE(filter->may_match(bytes(line))) << line;
    for (const char* line : {"port 1", "x\r\nPORT ", "227 ", "150-x", "\xff\xf4PORT 1",
                             "\xff\xfb\x01\xff\xf4"
                             "EPSV ALL",
                             "x\n\n229 "})
        EXPECT_TRUE(filter->may_match(bytes(line))) << line;
}

// In memory that ends where the text does, with the end of the first line at each place.
TEST(LineFilter, LooksAtTextOfAnyLengthAndAtNothingElse) {
    const auto filter = LineFilter::make(find_helper("ftp")->patterns);
    ASSERT_NE(filter, nullptr);
    for (std::size_t size = 1; size <= 80; ++size) {
        const auto text = std::make_unique<std::uint8_t[]>(size);
        std::fill_n(text.get(), size, std::uint8_t{'x'});
        EXPECT_FALSE(filter->may_match({text.get(), size})) << size;
        for (std::size_t lf = 0; lf + 6 <= size; ++lf) {
            text[lf] = '\n';
            std::memcpy(&text[lf + 1], "PORT ", 5);
            EXPECT_TRUE(filter->may_match({text.get(), size})) << size << ' ' << lf;
            std::fill_n(&text[lf], 6, std::uint8_t{'x'});
        }
    }
}

// Each part of the syntax, in text of the few letters that the patterns have.
TEST(LineFilter, ReadsExpressionsAsHyperscanDoes) {
    const std::vector<std::string> pieces = {"a",  "b",  "c",    "A",  "B", "-", "1",
                                             " ",  "\t", "\xff", "]",  "^", "x", "abc",
                                             "^.", "[1", ".",    "\v", "_"};
    for (const char* expression :
         {"^a",
          "^abcab",
          "^a[^b-c]+x",
          "^(?:ab|c.)*1x",
          "^(?:a|b)?c",
          "^a*b*c",
          "^[a-c]+[A-B]-",
          "^[^a]b",
          "^\\x61\\x2D?b",
          "^\\s+a",
          "^\\d\\s*\\xff",
          "^a.b",
          "^[\\]^_-]x",
          "^\\^\\.a",
          "^(?:(?:a|bb)+c|x)1",

          "^[\\x61-\\x63]1",
          "^\\na",
          "^(?:a|)b",
          "^.*x1",
          "^(?:aaa|aab|aac|aba|abb|abc|aca|acb|acc|baa|bab|bac|bba|bbb|bbc|bca|bcb|bcc)a"}) {
        for (const bool caseless : {false, true}) {
            SCOPED_TRACE(std::string(expression) + (caseless ? " caseless" : ""));
            const PatternDesc pattern{1, expression, std::nullopt, caseless};
            Both both({&pattern, 1});
            ASSERT_NE(both.filter, nullptr);
            Writer writer(pieces);
            for (unsigned n = 0; n < 30'000; ++n)
                both.look_at(writer.text());
            EXPECT_GT(both.matched, 0u);
        }
    }
}

TEST(LineFilter, IsNotMadeOfWhatIsNotUnderstood) {
    for (const char* expression : {"a",
                                   "^a|b",
                                   "^(a)",
                                   "^(?=a)b",
                                   "^a{2}",
                                   "^a$",
                                   "^a^",
                                   "^\\bx",
                                   "^\\w",
                                   "^[[:digit:]]",
                                   "^[a-\\d]",
                                   "^\\x{61}",
                                   "(?i)^a",
                                   "^(?i)a",
                                   "^a+?b",
                                   "^(?:a",
                                   "^a)",
                                   "^[a",
                                   "^a\\",
                                   "^*",
                                   "^[]a]",
                                   "^\\Qa\\E",
                                   "^(?:a|b|c|d)(?:e|f|g|h)(?:i|j|k|l)(?:m|n|o|p|q|r)"}) {
        const PatternDesc patterns[] = {{1, "^fine", std::nullopt}, {2, expression, std::nullopt}};
        EXPECT_EQ(LineFilter::make(patterns), nullptr) << expression;
    }
    EXPECT_EQ(LineFilter::make({}), nullptr);
    // Each of them could be read; all of them together are too many.
    std::vector<std::string> texts;
    for (unsigned n = 0; n < 400; ++n)
        texts.push_back(
            {'^', static_cast<char>('a' + n % 26), static_cast<char>('a' + n / 26), 'x', 'y'});
    std::vector<PatternDesc> many;
    for (const std::string& text : texts)
        many.push_back({1, text.c_str(), std::nullopt});
    EXPECT_NE(LineFilter::make(std::span(many).first(20)), nullptr);
    EXPECT_EQ(LineFilter::make(many), nullptr);
}

}  // namespace
}  // namespace postern
