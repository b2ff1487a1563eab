// SPDX-License-Identifier: BSD-3-Clause
#include "state_file.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <iterator>
#include <map>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <ext/stdio_filebuf.h>
#include <unistd.h>

#include "base/base64.h"
#include "control/client.h"
#include "state/file.h"

namespace postern {
namespace {

constexpr int kOk = 0, kFailed = 1, kUsage = 2;
constexpr std::size_t kRequestBytes = 32 * 1024;  ///< quoted text grows; the daemon takes 64 KiB
constexpr std::uint64_t kMaxTimeMs = 1ull << 52;  ///< differences cannot overflow

int complain(const std::string& message, int code) {
    std::fprintf(stderr, "posternctl: %s\n", message.c_str());
    return code;
}

/// Prints it; an exit code.
int write_out(const std::string& text) {
    if (std::fputs(text.c_str(), stdout) >= 0 && std::fflush(stdout) == 0) return kOk;
    return complain("cannot write: " + std::string(std::strerror(errno)), kFailed);
}

std::int64_t now_ms() {
    using namespace std::chrono;
    return duration_cast<milliseconds>(system_clock::now().time_since_epoch()).count();
}

std::string text(const Json& body, const char* key) {
    return body.contains(key) && body[key].is_string() ? body[key].get<std::string>() : "";
}

}  // namespace

Result<StateFile> read_state_file(std::istream& in, const std::string& name) {
    StateFile out;
    std::size_t number = 0;
    bool ended = false;
    for (std::string line; std::getline(in, line);) {
        const auto wrong = [&](const std::string& what) {
            return Error{name + ":" + std::to_string(number) + ": " + what};
        };
        ++number;
        const Json record = Json::parse(line, nullptr, false);
        if (ended) return wrong("there is more after the end");
        if (!record.is_object() || record.size() != 1)
            return wrong("expected an object with one key");
        const std::string kind = record.begin().key();
        const Json& body = record.front();
        if (number == 1) {
            if (kind != "postern_state" || !body.is_object() || !body.contains("version") ||
                !body["version"].is_number_unsigned() || !body.contains("saved_ms") ||
                !body["saved_ms"].is_number_unsigned())
                return wrong("this is no file of `posternctl conntrack save`");
            if (body["version"] != kStateVersion)
                return wrong("version " + body["version"].dump() + " of the file (expected " +
                             std::to_string(kStateVersion) + ")");
            const auto saved_ms = body["saved_ms"].get<std::uint64_t>();
            if (saved_ms > kMaxTimeMs)
                return wrong("saved_ms is " + std::to_string(saved_ms) +
                             " (expected milliseconds since 1970)");
            out.saved_ms = static_cast<std::int64_t>(saved_ms);
        } else if ((kind == "connection" || kind == "expectation") && body.is_object()) {
            auto& list = kind == "connection" ? out.connections : out.expectations;
            list.push_back({std::move(line), text(body, "id"), text(body, "master")});
        } else if (kind == "end") {
            ended = true;
        } else {
            return wrong("expected a connection, an expectation or the end");
        }
    }
    if (number == 0) return Error{name + ": is empty"};
    if (!ended) return Error{name + ": is cut short"};
    return out;
}

std::vector<StateFile::Record> masters_first(std::vector<StateFile::Record> records) {
    // The order by masters' ids. Linear: a file may hold one chain of a million.
    std::unordered_map<std::string_view, std::vector<std::size_t>> children;
    for (const StateFile::Record& c : records)
        if (!c.id.empty()) children.try_emplace(c.id);
    std::vector<std::size_t> order;
    order.reserve(records.size());
    for (std::size_t i = 0; i < records.size(); ++i) {
        const auto master = children.find(records[i].master);
        if (records[i].master.empty() || master == children.end())
            order.push_back(i);
        else
            master->second.push_back(i);
    }
    std::vector<bool> placed(records.size());
    for (std::size_t at = 0; at < order.size(); ++at) {
        placed[order[at]] = true;
        // Of several records of one id the first frees the children.
        if (const auto own = children.find(records[order[at]].id); own != children.end()) {
            order.insert(order.end(), own->second.begin(), own->second.end());
            own->second.clear();
        }
    }
    for (std::size_t i = 0; i < records.size(); ++i)  // cycles, which are never saved
        if (!placed[i]) order.push_back(i);
    std::vector<StateFile::Record> out;
    out.reserve(records.size());
    for (const std::size_t i : order)
        out.push_back(std::move(records[i]));
    return out;
}

namespace {

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

/// Results of the records of one kind, by outcome.
using Outcomes = std::map<std::string, std::size_t>;

int report_restored(const Outcomes& connections, const Outcomes& expectations, std::size_t good,
                    std::size_t all, std::int64_t elapsed_ms, bool json) {
    if (json)
        return write_out(Json{{"restored", good},
                              {"records", all},
                              {"elapsed_ms", elapsed_ms},
                              {"connections", connections},
                              {"expectations", expectations}}
                             .dump() +
                         "\n");
    std::string text;
    for (const auto& [outcome, n] : connections)
        text += std::to_string(n) + " connections: " + outcome + "\n";
    for (const auto& [outcome, n] : expectations)
        text += std::to_string(n) + " expectations: " + outcome + "\n";
    char end[128];
    std::snprintf(end, sizeof end, "%zu of %zu restored, %.1f s after they were saved\n", good, all,
                  static_cast<double>(elapsed_ms) / 1000);
    return write_out(text + end);
}

}  // namespace

int restore_state(const std::string& socket, const std::string& path, bool json) {
    auto opened = StateFileReader::open(path);
    if (!opened) return complain(opened.error().message, kUsage);
    __gnu_cxx::stdio_filebuf<char> buffer(::dup(opened->fd()), std::ios::in);
    std::istream in(&buffer);
    auto file = read_state_file(in, path);
    if (!file) return complain(file.error().message, kUsage);
    auto client = ControlClient::connect(socket);
    if (!client) return complain(client.error().message, kFailed);
    const std::int64_t elapsed_ms =
        std::clamp<std::int64_t>(now_ms() - file->saved_ms, 0, INT32_MAX);
    std::vector<StateFile::Record> records = masters_first(std::move(file->connections));
    const std::size_t connections = records.size();
    std::move(file->expectations.begin(), file->expectations.end(), std::back_inserter(records));

    Outcomes outcomes[2];  // of connections, of expectations
    std::size_t answered = 0, good = 0;
    for (std::size_t at = 0; at < records.size();) {
        std::string some = "[";
        const bool first = at == 0;
        for (; at < records.size() && some.size() < kRequestBytes; ++at)
            some += (some.size() == 1 ? "" : ",") + records[at].line;
        client->ask("conntrack restore",
                    {{"records", some + "]"}, {"elapsed_ms", elapsed_ms}, {"first", first}});
        Reply reply;
        while ((reply = client->next()).kind == Reply::Kind::row) {
            const Json row = Json::parse(reply.text);
            ++outcomes[answered++ >= connections][row["outcome"].get<std::string>()];
            if (row["good"].get<bool>()) ++good;
        }
        if (reply.kind != Reply::Kind::end)
            return complain(reply.text, reply.code == "read_only" ? kUsage : kFailed);
    }
    return report_restored(outcomes[0], outcomes[1], good, records.size(), elapsed_ms, json);
}

}  // namespace postern
