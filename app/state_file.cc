// SPDX-License-Identifier: BSD-3-Clause
#include "state_file.h"

#include <algorithm>
#include <cerrno>
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

int save_state(const std::string& socket, const std::string& path, bool json) {
    auto client = ControlClient::connect(socket);
    if (!client) return complain(client.error().message, kFailed);
    auto file = StateFileWriter::beside(path);
    if (!file) return complain(file.error().message, kFailed);
    client->ask("conntrack save");
    Reply reply;
    std::string last;
    while ((reply = client->next()).kind == Reply::Kind::row) {
        last = reply.text;
        file->write(last);
        file->write("\n");
    }
    if (reply.kind != Reply::Kind::end)
        return complain(reply.text, reply.code == "read_only" ? kUsage : kFailed);
    const Json end = Json::parse(last, nullptr, false);
    if (!end.is_object() || !end.contains("end"))
        return complain("the daemon's records have no end; nothing is kept", kFailed);
    if (auto kept = file->commit(); !kept) return complain(kept.error().message, kFailed);
    Json all = end["end"];
    if (json) {
        all["file"] = path;
        return write_out(all.dump() + "\n");
    }
    const auto of = [&all](const char* key) { return all[key].dump(); };
    std::string text = "saved " + of("connections") + " connections and " + of("expectations") +
                       " expectations to " + path + "\n";
    if (of("cut") != "0")
        text += of("cut") +
                " control connections have bytes under way that are not in it: their helpers may "
                "read no further\n";
    return write_out(text);
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
