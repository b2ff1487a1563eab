// SPDX-License-Identifier: BSD-3-Clause
#include "state_file.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
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
constexpr std::size_t kRequestBytes = 32 * 1024;  ///< quoted text grows; the daemon takes 64 KiB

int complain(const std::string& message, int code) {
    std::fprintf(stderr, "posternctl: %s\n", message.c_str());
    return code;
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
                !body["saved_ms"].is_number_integer())
                return wrong("this is no file of `posternctl conntrack save`");
            if (body["version"] != kStateVersion)
                return wrong("version " + body["version"].dump() + " of the file (expected " +
                             std::to_string(kStateVersion) + ")");
            out.saved_ms = body["saved_ms"].get<std::int64_t>();
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

std::vector<StateFile::Record> masters_first(std::vector<StateFile::Record> left) {
    std::set<std::string> waiting;
    for (const StateFile::Record& c : left)
        waiting.insert(c.id);
    std::vector<StateFile::Record> out;
    while (!left.empty()) {
        std::vector<StateFile::Record> later;
        const std::size_t before = out.size();
        for (StateFile::Record& c : left) {
            const bool waits = !c.master.empty() && waiting.count(c.master) != 0;
            (waits ? later : out).push_back(std::move(c));
        }
        for (std::size_t i = before; i < out.size(); ++i)
            waiting.erase(out[i].id);
        if (out.size() == before) {  // a circle, which nobody saved
            std::move(later.begin(), later.end(), std::back_inserter(out));
            break;
        }
        left = std::move(later);
    }
    return out;
}

int save_state(const std::string& socket, const std::string& path) {
    auto client = ControlClient::connect(socket);
    if (!client) return complain(client.error().message, kFailed);
    const std::string beside = path + ".part";
    const int opened = open(beside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(
        opened < 0 ? nullptr : fdopen(opened, "w"),
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
    const auto of = [&end](const char* key) { return end["end"][key].dump(); };
    std::printf("saved %s connections and %s expectations to %s\n", of("connections").c_str(),
                of("expectations").c_str(), path.c_str());
    if (of("cut") != "0")
        std::printf(
            "%s control connections have bytes under way that are not in it: their helpers may "
            "read no further\n",
            of("cut").c_str());
    return kOk;
}

int restore_state(const std::string& socket, const std::string& path) {
    std::ifstream in(path);
    if (!in) return complain(path + ": cannot be opened: " + std::strerror(errno), kUsage);
    auto file = read_state_file(in, path);
    if (!file) return complain(file.error().message, kUsage);
    auto client = ControlClient::connect(socket);
    if (!client) return complain(client.error().message, kFailed);
    const std::int64_t elapsed_ms =
        std::clamp<std::int64_t>(now_ms() - file->saved_ms, 0, INT32_MAX);
    std::vector<StateFile::Record> records = masters_first(std::move(file->connections));
    const std::size_t connections = records.size();
    std::move(file->expectations.begin(), file->expectations.end(), std::back_inserter(records));

    std::map<std::string, std::size_t> outcomes[2];  // of connections, of expectations
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
