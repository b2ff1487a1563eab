// SPDX-License-Identifier: BSD-3-Clause
#include "ctl_support.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <fstream>
#include <iterator>
#include <system_error>

#include <fcntl.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/unique_fd.h"
#include "ctl_exit.h"

namespace postern {
namespace {

constexpr std::size_t kBlock = 512;
// Addresses of users and of their peers are not for a bug report; descriptions are known.
const Words kLeftOut{"help", "complete", "conntrack list", "expect list", "set list", "top"};

/// A tar archive (POSIX.1-1988, ustar) in memory.
class Tar {
  public:
    void add(const std::string& name, const std::string& content) {
        std::array<char, kBlock> head{};
        put(head, 0, 100, "postern-support/" + name);
        put(head, 100, 8, "0000600");
        put(head, 108, 8, "0000000");
        put(head, 116, 8, "0000000");
        put(head, 124, 12, octal(content.size()));
        put(head, 136, 12, octal(static_cast<std::uint64_t>(std::time(nullptr))));
        put(head, 148, 8, "        ");
        head[156] = '0';
        put(head, 257, 6, "ustar");
        put(head, 263, 2, "00");
        unsigned sum = 0;
        for (const char c : head)
            sum += static_cast<unsigned char>(c);
        std::snprintf(head.data() + 148, 8, "%06o", sum);
        bytes_.append(head.data(), head.size());
        bytes_ += content;
        bytes_.append((kBlock - content.size() % kBlock) % kBlock, '\0');
    }
    std::string take() {
        bytes_.append(2 * kBlock, '\0');
        return std::move(bytes_);
    }

  private:
    static void put(std::array<char, kBlock>& head, std::size_t at, std::size_t room,
                    const std::string& text) {
        text.copy(head.data() + at, room);
    }
    static std::string octal(std::uint64_t n) {
        std::array<char, 12> text{};
        std::snprintf(text.data(), text.size(), "%011lo", n);
        return text.data();
    }

    std::string bytes_;
};

std::string content_of(const char* path) {
    std::ifstream in(path);
    return {std::istreambuf_iterator<char>(in), {}};
}

std::string about_the_machine() {
    utsname name{};
    ::uname(&name);
    return "posternctl " POSTERN_VERSION "\n" + std::string(name.sysname) + " " + name.release +
           " " + name.version + " " + name.machine + "\n\n" + content_of("/proc/meminfo") + "\n" +
           content_of("/proc/cpuinfo");
}

/// The rows of a command as JSON lines; an error is a line, too.
std::string answer_of(const std::string& socket, const std::string& command) {
    auto client = ControlClient::connect(socket);
    if (!client) return Json{{"error", client.error().message}}.dump() + "\n";
    client->ask(command);
    std::string lines;
    Reply reply;
    while ((reply = client->next()).kind == Reply::Kind::row)
        lines += reply.text + "\n";
    if (reply.kind != Reply::Kind::end) lines += Json{{"error", reply.text}}.dump() + "\n";
    return lines;
}

bool belongs(const Json& command) {
    const auto args = command.value("args", Json::array());
    const std::string name = command.value("command", "");
    if (name == "config show") return true;
    return command.value("effect", "write") == "read" && !command.value("endless", false) &&
           command.value("file", "none") == "none" &&
           std::ranges::find(kLeftOut, name) == kLeftOut.end() &&
           std::ranges::none_of(args, [](const Json& a) { return a.value("required", false); });
}

int cannot_write(const std::string& file) {
    return complain("cannot write " + file + ": " + std::generic_category().message(errno),
                    kFailed);
}

}  // namespace

int write_support(const std::string& socket, const CtlCommands& commands, const Words& words) {
    if (words.size() != 1 || words[0].empty()) {
        std::fputs("posternctl: support: expected one file, which must not exist\n", stderr);
        return kUsage;
    }
    Tar tar;
    tar.add("machine.txt", about_the_machine());
    for (const Json& command : commands.all()) {
        if (!belongs(command)) continue;
        std::string name = command.value("command", "");
        const std::string rows = answer_of(socket, name);
        std::ranges::replace(name, ' ', '-');
        tar.add(name + ".json", rows);
    }
    const std::string bytes = tar.take();
    const UniqueFd fd(
        ::open(words[0].c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!fd) return cannot_write(words[0]);
    for (std::size_t at = 0; at < bytes.size();) {
        const ssize_t n = ::write(fd.get(), bytes.data() + at, bytes.size() - at);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) {
            const int code = cannot_write(words[0]);
            ::unlink(words[0].c_str());
            return code;
        }
        at += static_cast<std::size_t>(n);
    }
    std::printf(
        "wrote %s (%zu KiB): counters, states, names and the configuration; no payload "
        "and no connections\n",
        words[0].c_str(), bytes.size() / 1024);
    return std::fflush(stdout) == 0 ? kOk : kFailed;
}

}  // namespace postern
