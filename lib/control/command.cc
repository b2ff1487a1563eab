// SPDX-License-Identifier: BSD-3-Clause
#include "control/command.h"

namespace postern {
namespace {

const char* to_string(CellForm form) {
    constexpr const char* kNames[] = {"value", "endpoint", "pair", "ends", "clock"};
    return kNames[static_cast<unsigned>(form)];
}
const char* to_string(FileUse use) {
    constexpr const char* kNames[] = {"none", "write", "read", "packets"};
    return kNames[static_cast<unsigned>(use)];
}

Json describe(const ArgSpec& a) {
    Json out{{"name", a.name},
             {"type", type_name(a.type)},
             {"required", a.required},
             {"positional", a.positional},
             {"help", a.help}};
    if (!a.values.empty()) out["values"] = a.values;
    if (a.candidates) out["completed"] = true;
    if (a.negatable) out["negatable"] = true;
    if (a.repeated) out["repeated"] = true;
    if (const std::string form = type_help(a.type); !form.empty()) out["form"] = form;
    return out;
}

Json describe(const Column& c) {
    Json out{{"title", c.title},
             {"form", to_string(c.form)},
             {"fields", c.fields},
             {"right", c.right},
             {"absent", c.absent}};
    if (!c.except.empty()) out["except"] = c.except;
    if (c.rank != 0) out["rank"] = c.rank;
    return out;
}

class ReadyRows : public RowSource {
  public:
    explicit ReadyRows(std::vector<Json> rows) : rows_(std::move(rows)) {}
    Pull next(Json& row) override {
        if (at_ == rows_.size()) return Pull::done;
        row = std::move(rows_[at_++]);
        return Pull::row;
    }

  private:
    std::vector<Json> rows_;
    std::size_t at_ = 0;
};

}  // namespace

const char* type_name(ArgType type) {
    switch (type) {
        case ArgType::string: return "string";
        case ArgType::integer: return "integer";
        case ArgType::boolean: return "boolean";
        case ArgType::scalar: return "string or integer";
        case ArgType::address: return "address";
        case ArgType::prefix: return "address or prefix";
        case ArgType::path: return "file";
        case ArgType::id: return "id";
        case ArgType::filter: return "filter";
        case ArgType::port: return "port";
        case ArgType::ports: return "ports";
        case ArgType::time: return "time";
        case ArgType::times: return "times";
        case ArgType::numbers: return "numbers";
    }
    return "?";
}

const char* type_help(ArgType type) {
    switch (type) {
        case ArgType::prefix: return "192.0.2.1, 192.0.2.0/24, 2001:db8::/32";
        case ArgType::id: return "WORKER/INDEX.GENERATION, as lists show it";
        case ArgType::filter:
            return "tcpdump's language (pcap-filter(7)): host 192.0.2.1 and tcp port 21";
        case ArgType::port: return "21, or a service's name: ftp";
        case ArgType::ports: return "21, ftp, 8000-8100, 1024- (at least), -1023 (at most)";
        case ArgType::time: return "30 (seconds), 30s, 5m, 2h, 1d, 1h30m";
        case ArgType::times: return "30s, 5m, 1m-1h, 2h- (at least), -30s (at most)";
        case ArgType::numbers: return "1500, 10K, 1M-10M, 1G- (at least), -10 (at most)";
        default: return "";
    }
}

const char* to_string(Effect effect) {
    return effect == Effect::read ? "read" : "write";
}

Json describe(const Command& command) {
    Json args = Json::array(), columns = Json::array();
    for (const ArgSpec& a : command.args)
        args.push_back(describe(a));
    for (const Column& c : command.columns)
        columns.push_back(describe(c));
    return {{"command", command.name},
            {"help", command.help},
            {"effect", to_string(command.effect)},
            {"args", args},
            {"columns", columns},
            {"endless", command.endless},
            {"file", to_string(command.file)},
            {"zeros", command.zeros},
            {"exit_codes",
             {{"0", "answered"},
              {"1", "no daemon, or no answer"},
              {"2", "wrong command line, or a command that this socket refuses"}}}};
}

std::unique_ptr<RowSource> rows_of(std::vector<Json> rows) {
    return std::make_unique<ReadyRows>(std::move(rows));
}

}  // namespace postern
