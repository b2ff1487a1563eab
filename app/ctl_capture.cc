// SPDX-License-Identifier: BSD-3-Clause
#include "ctl_capture.h"

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <vector>

#include <sys/socket.h>
#include <sys/stat.h>

#include "base/base64.h"
#include "capture/filter.h"
#include "capture/pcapng.h"
#include "control/client.h"
#include "ctl_exit.h"

namespace postern {
namespace {

// Of the one capture of this process. A signal ends the connection, so that the rows which have
// come are read, and then the end: no signal comes too early or too late.
volatile std::sig_atomic_t stopped = 0;
volatile std::sig_atomic_t stop_fd = -1;

void stop(int) {
    stopped = 1;
    ::shutdown(stop_fd, SHUT_RDWR);
}

/// While it exists, a signal stops the capture; a second one ends the program.
class StopBySignal {
  public:
    explicit StopBySignal(int fd) {
        stop_fd = fd;
        struct sigaction action {};
        action.sa_handler = stop;
        action.sa_flags = static_cast<int>(SA_RESETHAND);
        for (std::size_t s = 0; s < kSignals.size(); ++s)
            ::sigaction(kSignals[s], &action, &before_[s]);
    }
    ~StopBySignal() {
        for (std::size_t s = 0; s < kSignals.size(); ++s)
            ::sigaction(kSignals[s], &before_[s], nullptr);
    }
    StopBySignal(const StopBySignal&) = delete;
    StopBySignal& operator=(const StopBySignal&) = delete;

  private:
    static constexpr std::array<int, 3> kSignals{SIGINT, SIGTERM, SIGHUP};
    std::array<struct sigaction, kSignals.size()> before_{};
};

struct Totals {
    std::uint64_t packets = 0, bytes = 0, lost = 0;
    std::string cause = "interrupted";
};

int report(const Totals& t, const std::string& path, bool json) {
    const std::string to = path == "-" ? "standard output" : path;
    if (json) {
        const Json all{{"packets", t.packets},
                       {"bytes", t.bytes},
                       {"lost", t.lost},
                       {"cause", t.cause},
                       {"file", path}};
        std::fprintf(stderr, "%s\n", all.dump().c_str());
        return kOk;
    }
    std::string text =
        std::to_string(t.packets) + " packets, " + std::to_string(t.bytes) + " bytes to " + to;
    if (t.cause != "interrupted") text += "; the bound of " + t.cause + " is reached";
    if (t.lost != 0)
        text += "; " + std::to_string(t.lost) + " packets lost: too fast for their reader";
    std::fprintf(stderr, "%s\n", text.c_str());
    return kOk;
}

std::uint64_t count_of(const Json& row, const char* key) {
    const auto it = row.find(key);
    return it != row.end() && it->is_number_unsigned() ? it->get<std::uint64_t>() : 0;
}

/// A row of a packet; false: it makes no sense. `bytes` and `comment` hold what `packet` refers to.
bool read_packet(const Json& row, std::string& bytes, std::string& comment, PcapngPacket& packet) {
    const auto frame = row.find("frame"), text = row.find("comment"), at = row.find("at"),
               time = row.find("time_ns");
    if (frame == row.end() || !frame->is_string() || text == row.end() || !text->is_string() ||
        at == row.end() || !at->is_string() || time == row.end() || !time->is_number_integer())
        return false;
    bytes.clear();
    if (!append_from_base64(bytes, frame->get_ref<const std::string&>())) return false;
    comment = text->get_ref<const std::string&>();
    packet.interface = static_cast<std::uint32_t>(count_of(row, "interface"));
    packet.time_ns = time->get<std::int64_t>();
    packet.frame = {reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()};
    packet.length = static_cast<std::uint32_t>(count_of(row, "length"));
    packet.direction = *at == "transmit" ? PcapngDirection::outbound : PcapngDirection::inbound;
    packet.comment = comment;
    return true;
}

}  // namespace

Result<void> compile_filters(const Json& command, Json& args) {
    const auto described = command.find("args");
    if (described == command.end()) return {};
    for (const Json& arg : *described) {
        const std::string name = arg.value("name", "");
        if (arg.value("type", "") != "filter" || !args.contains(name)) continue;
        auto program = compile_filter(args[name].get<std::string>());
        if (!program) return program.error();
        args[name] = std::move(*program);
    }
    return {};
}

int write_packets(const std::string& socket, const std::string& path, const std::string& command,
                  Json args, bool json) {
    // There may be no packet for a long time.
    auto client = ControlClient::connect(socket, 0);
    if (!client) return complain(client.error().message, kFailed);
    const StopBySignal stopping(client->fd());
    args["form"] = "frames";
    client->ask(command, args);
    // The file is made when the daemon has accepted: a mistake overwrites none.
    Reply reply = client->next();
    if (reply.kind != Reply::Kind::row)
        return complain(reply.text, reply.code == "read_only" || reply.code == "bad_args" ||
                                            reply.code == "unknown_command"
                                        ? kUsage
                                        : kFailed);
    const Json first = Json::parse(reply.text, nullptr, false);
    if (!first.is_object() || !first.contains("interfaces") || !first["interfaces"].is_array())
        return complain("the daemon's answer makes no sense", kFailed);
    std::vector<std::string> interfaces;
    for (const Json& name : first["interfaces"])
        interfaces.push_back(name.is_string() ? name.get<std::string>() : std::string());
    ::umask(077);  // packets are nobody else's business
    auto file = PcapngWriter::create(path, interfaces);
    if (!file) return complain(file.error().message, kFailed);
    struct stat status {};
    if (path != "-" && ::stat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode))
        ::chmod(path.c_str(), 0600);  // it may have existed
    // Who waits for it may begin to send.
    if (auto begun = file->flush(); !begun) return complain(begun.error().message, kFailed);
    std::fprintf(stderr, "capturing to %s\n", path == "-" ? "standard output" : path.c_str());
    Totals totals;
    std::string bytes, comment;
    while ((reply = client->next()).kind == Reply::Kind::row) {
        const Json row = Json::parse(reply.text, nullptr, false);
        const std::string event = row.is_object() ? row.value("event", "") : std::string();
        if (event == "packet") {
            PcapngPacket packet;
            if (!read_packet(row, bytes, comment, packet))
                return complain("the daemon's answer makes no sense", kFailed);
            file->write(packet);
            ++totals.packets;
            totals.bytes += packet.frame.size();
            // Its reader sees each packet at once, and may go away.
            if (path == "-")
                if (auto sent = file->flush(); !sent) break;
        } else if (event == "lost") {
            totals.lost += count_of(row, "events");
        } else if (event == "end") {
            totals.cause = row.value("cause", "");
        }
    }
    const bool enough = path == "-" && file->reader_is_gone();
    if (auto closed = file->close(); !closed && !enough)
        return complain(closed.error().message, kFailed);
    report(totals, path, json);
    if (reply.kind == Reply::Kind::end || stopped != 0 || enough) return kOk;
    return complain(reply.text, kFailed);
}

}  // namespace postern
