// SPDX-License-Identifier: BSD-3-Clause
#include "state_file.h"

#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <optional>
#include <string_view>
#include <vector>

#include <unistd.h>

#include "base/base64.h"
#include "control/client.h"
#include "state/file.h"

namespace postern {
namespace {

constexpr int kOk = 0, kFailed = 1, kUsage = 2;
constexpr std::size_t kRequestBytes = 45'000;  ///< as base64 a third more; the daemon takes 64 KiB

int complain(const std::string& message, int code) {
    std::fprintf(stderr, "posternctl: %s\n", message.c_str());
    return code;
}

/// Prints it; an exit code.
int write_out(const std::string& text) {
    if (std::fputs(text.c_str(), stdout) >= 0 && std::fflush(stdout) == 0) return kOk;
    return complain("cannot write: " + std::string(std::strerror(errno)), kFailed);
}

/// The number of connections so far, on a terminal.
class Progress {
  public:
    Progress() : on_(::isatty(STDERR_FILENO) == 1) {}
    Progress(const Progress&) = delete;
    Progress& operator=(const Progress&) = delete;
    ~Progress() {
        if (shown_) std::fputs("\r\033[K", stderr);  // the line is empty again
    }

    void show(std::uint64_t connections) {
        if (!on_) return;
        const auto now = Clock::now();
        if (now < next_) return;
        next_ = now + std::chrono::milliseconds(200);
        std::fprintf(stderr, "\r%llu connections ...",
                     static_cast<unsigned long long>(connections));
        std::fflush(stderr);
        shown_ = true;
    }

  private:
    using Clock = std::chrono::steady_clock;
    bool on_, shown_ = false;
    Clock::time_point next_ = Clock::now() + std::chrono::milliseconds(500);
};

/// What a row of `conntrack save` contains. Rows are many: they are not parsed.
struct SaveRow {
    enum class Kind {
        line,   ///< a line of the JSON form
        block,  ///< bytes of the binary form
        end,    ///< the totals
        wrong
    } kind = Kind::line;
    std::uint64_t saved = 0;  ///< connections so far, with a block
    std::string bytes;        ///< of a block
};
SaveRow read_row(const std::string& row) {
    constexpr std::string_view kSaved = "{\"saved\":", kBlock = ",\"block\":\"", kEnd = "\"}";
    SaveRow out;
    if (row.starts_with("{\"end\":")) out.kind = SaveRow::Kind::end;
    if (!row.starts_with(kSaved)) return out;
    out.kind = SaveRow::Kind::wrong;
    const char* const end = row.data() + row.size();
    const auto [stop, error] = std::from_chars(row.data() + kSaved.size(), end, out.saved);
    std::string_view rest(stop, static_cast<std::size_t>(end - stop));
    if (error != std::errc{} || !rest.starts_with(kBlock) || !rest.ends_with(kEnd)) return out;
    rest.remove_prefix(kBlock.size());
    if (rest.size() < kEnd.size()) return out;
    rest.remove_suffix(kEnd.size());
    if (append_from_base64(out.bytes, rest)) out.kind = SaveRow::Kind::block;
    return out;
}

std::string summary_of(const Json& totals, const std::string& path) {
    const auto number = [&totals](const char* key) {
        return totals.contains(key) && totals[key].is_number_unsigned()
                   ? totals[key].get<std::uint64_t>()
                   : 0;
    };
    std::string text = "saved " + std::to_string(number("connections")) + " connections and " +
                       std::to_string(number("expectations")) + " expectations to " + path + "\n";
    const auto add = [&](const char* key, const char* what) {
        if (number(key) != 0) text += std::to_string(number(key)) + what + "\n";
    };
    add("cut",
        " control connections have bytes under way that are not in it: their helpers may "
        "read no further");
    add("filtered", " connections left out: they do not match the conditions");
    add("zone_gone", " connections left out: a reload has removed their zone");
    add("expectations_filtered", " expectations left out: their master connection is not in it");
    add("expectations_gone", " expectations left out: a reload has removed their zone or helper");
    return text;
}

}  // namespace

int save_state(const std::string& socket, const std::string& path, const Json& args, bool json) {
    auto client = ControlClient::connect(socket);
    if (!client) return complain(client.error().message, kFailed);
    auto file = StateFileWriter::beside(path);
    if (!file) return complain(file.error().message, kFailed);
    client->ask("conntrack save", args);
    Reply reply;
    Json end;
    {
        Progress progress;
        bool blocks = false;
        std::uint64_t lines = 0;
        while (file->ok() && (reply = client->next()).kind == Reply::Kind::row) {
            const SaveRow row = read_row(reply.text);
            if (row.kind == SaveRow::Kind::wrong)
                return complain("the daemon's answer makes no sense; nothing is kept", kFailed);
            if (row.kind == SaveRow::Kind::end) end = Json::parse(reply.text, nullptr, false);
            blocks |= row.kind == SaveRow::Kind::block;
            if (blocks) {
                file->write(row.bytes);
                if (row.saved != 0) progress.show(row.saved);
            } else {
                file->write(reply.text);
                file->write("\n");
                progress.show(++lines);
            }
        }
    }
    // The daemon is not told: it notices that nobody reads.
    if (!file->ok()) return complain(file->error().message, kFailed);
    if (reply.kind != Reply::Kind::end)
        return complain(reply.text,
                        reply.code == "read_only" || reply.code == "bad_args" ? kUsage : kFailed);
    if (!end.is_object() || !end["end"].is_object())
        return complain("the daemon's records have no end; nothing is kept", kFailed);
    if (auto kept = file->commit(); !kept) return complain(kept.error().message, kFailed);
    if (!json) return write_out(summary_of(end["end"], path));
    Json all = end["end"];
    all["file"] = path;
    all["bytes"] = file->bytes();
    return write_out(all.dump() + "\n");
}

namespace {

int report_restored(const std::string& path, const Json& summary, bool json) {
    if (json) {
        const int code = write_out(summary.dump() + "\n");
        return summary.contains("problem") ? kUsage : code;
    }
    std::string text;
    for (const char* kind : {"connections", "expectations"})
        for (const auto& [outcome, n] : summary[kind].items())
            text += n.dump() + " " + kind + ": " + outcome + "\n";
    for (const auto& [cause, n] : summary["unusable"].items())
        text += n.dump() + " records: " + cause + "\n";
    for (const Json& bad : summary["bad_records"])
        text += "  " + bad.get<std::string>() + "\n";
    char end[64];
    std::snprintf(end, sizeof end, "%.1f s after they were saved\n",
                  summary["elapsed_ms"].get<double>() / 1000);
    const int code = write_out(text + summary["restored"].dump() + " of " +
                               summary["records"].dump() + " restored, " + end);
    if (summary.contains("problem"))
        return complain(path + ": " + summary["problem"].get<std::string>(), kUsage);
    return code;
}

}  // namespace

int restore_state(const std::string& socket, const std::string& path, bool json) {
    auto file = StateFileReader::open(path);
    if (!file) return complain(file.error().message, kUsage);
    auto client = ControlClient::connect(socket);
    if (!client) return complain(client.error().message, kFailed);
    std::optional<std::uint64_t> session;
    std::vector<std::uint8_t> piece(kRequestBytes);
    for (bool last = false; !last;) {
        auto n = file->read(piece);
        if (!n) return complain(n.error().message, kFailed);
        last = *n == 0;
        Json args{{"data", ""}, {"last", last}};
        append_base64(args["data"].get_ref<std::string&>(),
                      {reinterpret_cast<const char*>(piece.data()), *n});
        if (session) args["session"] = *session;
        client->ask("conntrack restore", args);
        Reply reply;
        Json row;
        while ((reply = client->next()).kind == Reply::Kind::row)
            row = Json::parse(reply.text);
        if (reply.kind != Reply::Kind::end)
            return complain(reply.text, reply.code == "read_only" ? kUsage : kFailed);
        if (last) return report_restored(path, row, json);
        session = row["session"].get<std::uint64_t>();
    }
    return kFailed;
}

}  // namespace postern
