// SPDX-License-Identifier: BSD-3-Clause
#include "ctl_text.h"

#include <algorithm>

#include <sys/ioctl.h>
#include <unistd.h>

namespace postern {
namespace {

constexpr std::size_t kUsualWidth = 80;

}  // namespace

std::size_t width_of(std::string_view text) {
    return static_cast<std::size_t>(std::ranges::count_if(
        text, [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

std::vector<std::string> wrapped(std::string_view text, std::size_t width) {
    std::vector<std::string> lines;
    std::string line;
    for (std::size_t at = 0; at <= text.size();) {
        const std::size_t end = std::min(text.find(' ', at), text.size());
        const auto word = text.substr(at, end - at);
        at = end + 1;
        if (!line.empty() && width_of(line) + 1 + width_of(word) > width) {
            lines.push_back(std::move(line));
            line.clear();
        }
        line += line.empty() ? "" : " ";
        line += word;
    }
    lines.push_back(std::move(line));
    return lines;
}

std::string help_row(const std::string& left, std::string_view right, std::size_t left_width) {
    const std::size_t indent = 2 + left_width + 2;
    const std::size_t room = indent + 20 < kUsualWidth ? kUsualWidth - indent : 20;
    std::string out = "  " + left;
    if (width_of(left) > left_width) out += "\n";
    std::size_t filled = width_of(left) > left_width ? 0 : 2 + width_of(left);
    for (const std::string& line : wrapped(right, room)) {
        out += std::string(line.empty() ? 0 : indent - filled, ' ') + line + "\n";
        filled = 0;
    }
    return out;
}

std::size_t output_width() {
    winsize size{};
    if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col != 0) return size.ws_col;
    return kUsualWidth;
}

std::string lower(std::string text) {
    for (char& c : text)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    return text;
}

std::vector<std::string> split(const std::string& text, char between) {
    std::vector<std::string> parts;
    for (std::size_t at = 0;;) {
        const std::size_t end = text.find(between, at);
        parts.push_back(text.substr(at, end - at));
        if (end == std::string::npos) return parts;
        at = end + 1;
    }
}

}  // namespace postern
