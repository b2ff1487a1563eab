// SPDX-License-Identifier: BSD-3-Clause
#include "state_file.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <map>
#include <memory>
#include <set>
#include <vector>

#include <fcntl.h>
#include <unistd.h>

#include "control/client.h"

namespace postern {
namespace {

constexpr int kOk = 0, kFailed = 1, kUsage = 2;
constexpr unsigned kVersion = 1;
constexpr std::size_t kRequestBytes = 32 * 1024;  ///< quoted text grows; the daemon takes 64 KiB

int complain(const std::string& message, int code) {
    std::fprintf(stderr, "posternctl: %s\n", message.c_str());
    return code;
}

std::int64_t now_ms() {
    using namespace std::chrono;
    return duration_cast<milliseconds>(system_clock::now().time_since_epoch()).count();
}

struct StateFile {
    std::int64_t saved_ms = 0;
    std::vector<Json> connections, expectations;  ///< whole records
};

/// What is wrong with it; empty: nothing.
std::string read_file(const std::string& path, StateFile& out) {
    std::ifstream in(path);
    if (!in) return path + ": cannot be opened: " + std::strerror(errno);
    std::size_t number = 0;
    bool ended = false;
    for (std::string line; std::getline(in, line);) {
        const std::string where = path + ":" + std::to_string(++number) + ": ";
        const Json record = Json::parse(line, nullptr, false);
        if (ended) return where + "there is more after the end";
        if (!record.is_object() || record.size() != 1)
            return where + "expected an object with one key";
        const std::string kind = record.begin().key();
        const Json& body = record.front();
        if (number == 1) {
            if (kind != "postern_state" || !body.is_object() || !body.contains("version") ||
                !body.contains("saved_ms") || !body["saved_ms"].is_number_integer())
                return where + "this is no file of `posternctl conntrack save`";
            if (body["version"] != kVersion)
                return where + "version " + body["version"].dump() + " of the file (expected " +
                       std::to_string(kVersion) + ")";
            out.saved_ms = body["saved_ms"].get<std::int64_t>();
        } else if (kind == "connection" && body.is_object()) {
            out.connections.push_back(record);
        } else if (kind == "expectation" && body.is_object()) {
            out.expectations.push_back(record);
        } else if (kind == "end") {
            ended = true;
        } else {
            return where + "expected a connection, an expectation or the end";
        }
    }
    if (number == 0) return path + ": is empty";
    return ended ? "" : path + ": is cut short";
}

std::string text(const Json& record, const char* key) {
    const Json& body = record.front();
    return body.contains(key) && body[key].is_string() ? body[key].get<std::string>() : "";
}

/// Masters before their children; those whose master is not there first of all.
std::vector<Json> in_order(std::vector<Json> left) {
    std::set<std::string> waiting;
    for (const Json& c : left)
        waiting.insert(text(c, "id"));
    std::vector<Json> out;
    while (!left.empty()) {
        std::vector<Json> later;
        const std::size_t before = out.size();
        for (Json& c : left) {
            if (waiting.count(text(c, "master")) != 0)
                later.push_back(std::move(c));
            else
                out.push_back(std::move(c));
        }
        for (std::size_t i = before; i < out.size(); ++i)
            waiting.erase(text(out[i], "id"));
        if (out.size() == before) {  // a circle, which nobody saved
            out.insert(out.end(), later.begin(), later.end());
            break;
        }
        left = std::move(later);
    }
    return out;
}

}  // namespace

int save_state(const std::string& socket, const std::string& path) {
    auto client = ControlClient::connect(socket);
    if (!client) return complain(client.error().message, kFailed);
    const std::string beside = path + ".part";
    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(
        fdopen(open(beside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600), "w"),
        [](std::FILE* f) { return f == nullptr ? 0 : std::fclose(f); });
    if (!file) return complain(beside + ": cannot be written: " + std::strerror(errno), kFailed);
    client->ask("conntrack save");
    Reply reply;
    std::string last;
    bool good = true;
    while ((reply = client->next()).kind == Reply::Kind::row) {
        last = reply.text;
        good = good && std::fprintf(file.get(), "%s\n", last.c_str()) > 0;
    }
    const Json end = Json::parse(last, nullptr, false);
    good = good && std::fflush(file.get()) == 0;
    const int error = errno;
    const bool whole = reply.kind == Reply::Kind::end && end.is_object() && end.contains("end");
    if (!good || !whole) {
        unlink(beside.c_str());
        return complain(whole ? path + ": cannot be written: " + std::strerror(error) : reply.text,
                        kFailed);
    }
    if (std::rename(beside.c_str(), path.c_str()) != 0)
        return complain(path + ": cannot be written: " + std::strerror(errno), kFailed);
    std::printf("saved %s connections and %s expectations to %s; left out %s (GRE, ICMP)\n",
                end["end"]["connections"].dump().c_str(), end["end"]["expectations"].dump().c_str(),
                path.c_str(), end["end"]["left_out"].dump().c_str());
    return kOk;
}

int restore_state(const std::string& socket, const std::string& path) {
    StateFile file;
    if (const std::string wrong = read_file(path, file); !wrong.empty())
        return complain(wrong, kUsage);
    auto client = ControlClient::connect(socket);
    if (!client) return complain(client.error().message, kFailed);
    const std::int64_t elapsed_ms =
        std::clamp<std::int64_t>(now_ms() - file.saved_ms, 0, INT32_MAX);
    std::vector<Json> records = in_order(std::move(file.connections));
    const std::size_t connections = records.size();
    records.insert(records.end(), file.expectations.begin(), file.expectations.end());

    std::map<std::string, std::size_t> outcomes[2];  // of connections, of expectations
    std::size_t answered = 0, good = 0;
    for (std::size_t at = 0; at < records.size();) {
        std::string some = "[";
        const bool first = at == 0;
        for (; at < records.size() && some.size() < kRequestBytes; ++at)
            some += (some.size() == 1 ? "" : ",") + records[at].dump();
        client->ask("conntrack restore",
                    {{"records", some + "]"}, {"elapsed_ms", elapsed_ms}, {"first", first}});
        Reply reply;
        while ((reply = client->next()).kind == Reply::Kind::row) {
            const Json row = Json::parse(reply.text);
            ++outcomes[answered++ >= connections][row["outcome"].get<std::string>()];
            if (row["good"].get<bool>()) ++good;
        }
        if (reply.kind != Reply::Kind::end) return complain(reply.text, kFailed);
    }
    for (const unsigned kind : {0u, 1u})
        for (const auto& [outcome, n] : outcomes[kind])
            std::printf("%zu %s: %s\n", n, kind == 0 ? "connections" : "expectations",
                        outcome.c_str());
    std::printf("%zu of %zu restored, %.1f s after they were saved\n", good, records.size(),
                static_cast<double>(elapsed_ms) / 1000);
    return kOk;
}

}  // namespace postern
