// SPDX-License-Identifier: BSD-3-Clause
// posternctl: asks a running postern and prints the answer, as columns for people or as JSON lines
// for scripts. It holds no state: it may be killed at any moment.
//
// Exit codes: 0 answered (also when the reader of our output went away), 1 no daemon, or it failed
// to answer, 2 the command line is wrong.
#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <map>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <CLI/CLI.hpp>
#include <unistd.h>

#include "control/client.h"
#include "state_file.h"

namespace postern {
namespace {

constexpr int kOk = 0;
constexpr int kFailed = 1;
constexpr int kUsage = 2;

// ---- one value as text ----

/// "-" for what is absent; objects as "key=value ..." without the zeros.
std::string text_of(const Json& value) {
    switch (value.type()) {
        case Json::value_t::null:
        case Json::value_t::discarded: return "-";
        case Json::value_t::string: return value.get<std::string>();
        case Json::value_t::boolean: return value.get<bool>() ? "yes" : "no";
        case Json::value_t::array: {
            std::string all;
            for (const Json& item : value)
                all += (all.empty() ? "" : ",") + text_of(item);
            return all.empty() ? "-" : all;
        }
        case Json::value_t::object: {
            std::string all;
            for (const auto& [key, item] : value.items()) {
                if (item.is_number() && item == 0) continue;
                all += (all.empty() ? "" : " ") + key + "=" + text_of(item);
            }
            return all.empty() ? "-" : all;
        }
        default: return value.dump();
    }
}

const Json& field(const Json& row, const char* key) {
    static const Json kNull;
    const auto it = row.find(key);
    return it == row.end() ? kNull : *it;
}

/// "192.0.2.1:21", "[2001:db8::1]:21"; `any` stands for an absent part.
std::string endpoint(const Json& row, const char* address, const char* port, const char* any) {
    const Json& host = field(row, address);
    std::string text = host.is_string() ? host.get<std::string>() : any;
    if (text.find(':') != std::string::npos) text = "[" + text + "]";
    const Json& number = field(row, port);
    if (number.is_null() && *any == '-') return text;
    return text + ":" + (number.is_null() ? any : text_of(number));
}

/// A connection id as a person quotes it: worker/index.generation.
std::string connection_id(const Json& row) {
    return text_of(field(row, "worker")) + "/" + text_of(field(row, "index")) + "." +
           text_of(field(row, "generation"));
}

std::string both_ways(const Json& row, const char* original, const char* reply) {
    return text_of(field(row, original)) + "/" + text_of(field(row, reply));
}

/// Of a connection: its master's id. Of an expectation: its master's two ends.
std::string master_of(const Json& row) {
    const Json& master = field(row, "master");
    if (master.is_object() && master.contains("index")) return connection_id(master);
    if (!master.is_object() || !master.contains("src")) return text_of(master);
    return endpoint(master, "src", "sport", "-") + ">" + endpoint(master, "dst", "dport", "-");
}

std::string expected_source(const Json& row) {
    const Json& bits = field(row, "src_prefix");
    std::string text = endpoint(row, "src", "sport", "*");
    return text + (bits.is_null() ? "" : " /" + text_of(bits));
}

/// A helper's counters that have no column of their own.
std::string further_counters(const Json& row) {
    Json counters = field(row, "counters");
    for (const char* shown : {"attached", "messages", "expectations"})
        if (counters.is_object()) counters.erase(shown);
    return text_of(counters);
}

/// Whether the process of a helper that lives in one is there.
std::string process_of(const Json& row) {
    const Json& process = field(row, "process");
    if (!process.is_object()) return "-";
    return field(process, "connected") == true ? "pid " + text_of(field(process, "pid")) : "absent";
}

// ---- the columns of each command ----

struct Column {
    const char* title;
    const char* key;                                 ///< the row's field, unless `text` is given
    std::string (*text)(const Json& row) = nullptr;  ///< for what is put together
    bool right = false;                              ///< numbers

    std::string cell(const Json& row) const { return text ? text(row) : text_of(field(row, key)); }
};
constexpr bool kRight = true;

struct View {
    std::string_view command;
    const char* help;
    std::vector<Column> columns;  ///< none: the keys of the first row are the columns
};

const std::vector<View>& views() {
    static const std::vector<View> kViews{
        {"conntrack list",
         "The connections: zone= proto= src= dst= sport= dport= state= mark= helper= master= …",
         {{"PROTO", "proto"},
          {"SOURCE", nullptr, [](const Json& r) { return endpoint(r, "src", "sport", "-"); }},
          {"DESTINATION", nullptr, [](const Json& r) { return endpoint(r, "dst", "dport", "-"); }},
          {"STATE", "state"},
          {"PROTO_STATE", "proto_state"},
          {"ZONE", "zone"},
          {"RULE", "rule"},
          {"HELPER", "helper"},
          {"TIMEOUT", "timeout_s", nullptr, kRight},
          {"PACKETS", nullptr,
           [](const Json& r) { return both_ways(r, "packets_original", "packets_reply"); }, kRight},
          {"BYTES", nullptr,
           [](const Json& r) { return both_ways(r, "bytes_original", "bytes_reply"); }, kRight},
          {"ID", nullptr, connection_id},
          {"MASTER", nullptr, master_of}}},
        {"conntrack delete", "End those that match: conditions as for the list", {}},
        {"conntrack flush", "End all connections, or those that match", {}},
        {"conntrack events",
         "What happens to connections, until interrupted (or count=N); event= and conditions",
         {{"EVENT", "event"},
          {"CAUSE", "cause"},
          {"PROTO", "proto"},
          {"SOURCE", nullptr, [](const Json& r) { return endpoint(r, "src", "sport", "-"); }},
          {"DESTINATION", nullptr, [](const Json& r) { return endpoint(r, "dst", "dport", "-"); }},
          {"STATE", "state"},
          {"PROTO_STATE", "proto_state"},
          {"RULE", "rule"},
          {"HELPER", "helper"},
          {"PACKETS", nullptr,
           [](const Json& r) { return both_ways(r, "packets_original", "packets_reply"); }, kRight},
          {"ID", nullptr, connection_id},
          {"MASTER", nullptr, master_of}}},
        {"conntrack save", "Connections and expectations into a file: FILE", {}},
        {"conntrack restore", "Connections and expectations from such a file: FILE", {}},
        {"conntrack count", "How many connections there are", {}},
        {"expect list",
         "The expectations that wait for their connection",
         {{"HELPER", "helper"},
          {"CLASS", "class"},
          {"PROTO", "proto"},
          {"SOURCE", nullptr, expected_source},
          {"DESTINATION", nullptr, [](const Json& r) { return endpoint(r, "dst", "dport", "*"); }},
          {"TIMEOUT", "timeout_s", nullptr, kRight},
          {"FLAGS", "flags"},
          {"ZONE", "zone"},
          {"OWNER", "owner", nullptr, kRight},
          {"ID", "id"},
          {"MASTER", nullptr, master_of}}},
        {"expect create", "File one: proto= dst= dport= and master= or no_master=true …", {}},
        {"expect delete",
         "End those that match: id= helper= proto= src= dst= dport= zone= master=",
         {}},
        {"expect flush", "End all expectations", {}},
        {"expect events",
         "What happens to expectations, until interrupted (or count=N)",
         {{"EVENT", "event"},
          {"CAUSE", "cause"},
          {"HELPER", "helper"},
          {"PROTO", "proto"},
          {"SOURCE", nullptr, expected_source},
          {"DESTINATION", nullptr, [](const Json& r) { return endpoint(r, "dst", "dport", "*"); }},
          {"MASTER", nullptr, master_of}}},
        {"helper remove", "Take a helper out of service while traffic flows: name=", {}},
        {"helper list",
         "The helpers and what they have seen",
         {{"NAME", "name"},
          {"KIND", "kind"},
          {"PROTO", "proto"},
          {"PORTS", "ports"},
          {"PROCESS", nullptr, process_of},
          {"ATTACHED", "attached", nullptr, kRight},
          {"MESSAGES", "messages", nullptr, kRight},
          {"EXPECTATIONS", "expectations", nullptr, kRight},
          {"COUNTERS", nullptr, further_counters}}},
        {"stats",
         "All counters, by worker",
         {{"WORKER", "worker", nullptr, kRight},
          {"NAME", "name"},
          {"VALUE", "value", nullptr, kRight},
          {"HELP", "help"}}},
        {"drops",
         "Packets dropped, by reason",
         {{"REASON", "reason"}, {"PACKETS", "packets", nullptr, kRight}, {"HELP", "help"}}},
    };
    return kViews;
}

// ---- output ----

/// Standard output with a buffer. Once writing has failed everything else is swallowed.
class Output {
  public:
    void line(std::string_view text) {
        buffer_ += text;
        buffer_ += '\n';
        if (buffer_.size() >= 64 * 1024) flush();
    }
    void flush() {
        for (std::string_view rest = buffer_; error_ == 0 && !rest.empty();) {
            const ssize_t n = ::write(STDOUT_FILENO, rest.data(), rest.size());
            if (n >= 0)
                rest.remove_prefix(static_cast<std::size_t>(n));
            else if (errno != EINTR)
                error_ = errno;
        }
        buffer_.clear();
    }
    int error() const noexcept { return error_; }

  private:
    std::string buffer_;
    int error_ = 0;
};

/// Lines up cells. The first rows are held back to learn the widths from; a later cell that is
/// wider shifts its own line only, so that lists of any length stream in constant memory.
class Table {
  public:
    Table(const View& view, Output& out) : columns_(view.columns), out_(out) {}

    void add(const Json& row) {
        std::vector<std::string> cells;
        if (columns_.empty() && generic_.empty())
            for (const auto& [key, value] : row.items())
                generic_.push_back(key);
        for (const Column& column : columns_)
            cells.push_back(column.cell(row));
        for (const std::string& key : generic_)
            cells.push_back(text_of(field(row, key.c_str())));
        if (printing_) return print(cells);
        held_.push_back(std::move(cells));
        if (held_.size() == kSample) start();
    }

    /// After the last row.
    void finish() {
        if (!printing_) start();
    }

  private:
    static constexpr std::size_t kSample = 200;

    void start() {
        printing_ = true;
        std::vector<std::string> titles;
        for (const Column& column : columns_)
            titles.emplace_back(column.title);
        for (std::string title : generic_) {
            std::transform(title.begin(), title.end(), title.begin(),
                           [](char c) { return c >= 'a' && c <= 'z' ? char(c - 'a' + 'A') : c; });
            titles.push_back(std::move(title));
        }
        if (titles.empty()) return;  // a generic table without a row
        widths_.resize(titles.size());
        held_.insert(held_.begin(), std::move(titles));
        for (const auto& cells : held_)
            for (std::size_t i = 0; i < cells.size(); ++i)
                widths_[i] = std::max(widths_[i], cells[i].size());
        for (const auto& cells : held_)
            print(cells);
        held_.clear();
    }

    void print(const std::vector<std::string>& cells) {
        std::string line;
        for (std::size_t i = 0; i < cells.size(); ++i) {
            const std::size_t pad = widths_[i] - std::min(widths_[i], cells[i].size());
            const bool right = i < columns_.size() && columns_[i].right;
            if (right) line.append(pad, ' ');
            line += cells[i];
            if (i + 1 == cells.size()) break;
            if (!right) line.append(pad, ' ');
            line += "  ";
        }
        out_.line(line);
    }

    std::vector<Column> columns_;
    std::vector<std::string> generic_;
    Output& out_;
    bool printing_ = false;
    std::vector<std::vector<std::string>> held_;
    std::vector<std::size_t> widths_;
};

int complain(const std::string& message, int code) {
    std::fprintf(stderr, "posternctl: %s\n", message.c_str());
    return code;
}

/// A value as the daemon wants it: numbers and truth values are not text.
Json value_of(const std::string& text) {
    if (text == "true" || text == "false") return text == "true";
    const bool digits = !text.empty() && text.size() <= 10 &&
                        text.find_first_not_of("0123456789") == std::string::npos;
    return digits ? Json(std::stoll(text)) : Json(text);
}

int ask(const std::string& socket, const View& view, const Json& args, bool json) {
    const bool stream = view.command.ends_with(" events");
    // Of a stream nothing may come for long.
    auto client = stream ? ControlClient::connect(socket, 0) : ControlClient::connect(socket);
    if (!client) return complain(client.error().message, kFailed);
    client->ask(view.command, args);

    Output out;
    Table table(view, out);
    Reply reply;
    while ((reply = client->next()).kind == Reply::Kind::row) {
        if (json)
            out.line(reply.text);
        else
            table.add(Json::parse(reply.text));
        if (stream) {
            if (!json) table.finish();
            out.flush();
        }
        if (out.error() != 0) break;
    }
    if (!json) table.finish();
    out.flush();
    if (out.error() == EPIPE) return kOk;  // `| head` has seen enough
    if (out.error() != 0)
        return complain("cannot write: " + std::generic_category().message(out.error()), kFailed);
    if (reply.kind == Reply::Kind::end) return kOk;
    const bool our_fault = reply.code == "unknown_command" || reply.code == "bad_args";
    return complain(reply.text, our_fault ? kUsage : kFailed);
}

void print_commands(std::FILE* to) {
    std::fprintf(to, "Usage: posternctl [-s SOCKET] [--json] COMMAND [KEY=VALUE...]\n\n");
    for (const View& view : views())
        std::fprintf(to, "  %-16s %s\n", std::string(view.command).c_str(), view.help);
    std::fprintf(to, "  %-16s %s\n", "help", "This list");
}

int run(int argc, char** argv) {
    CLI::App app("Asks a running postern firewall about its state.", "posternctl");
    app.footer("Exit codes: 0 answered, 1 no daemon or no answer, 2 wrong command line.");
    std::string socket = kDefaultControlSocket;
    bool json = false;
    app.add_option("-s,--socket", socket, "The daemon's control socket")
        ->capture_default_str()
        ->take_last();
    app.add_flag("--json", json, "One JSON object a line instead of columns");
    app.set_help_flag("-h,--help", "Print this help and exit");
    app.fallthrough();
    app.require_subcommand(0, 1);
    app.allow_extras();  // complained about below, in better words

    const View* chosen = nullptr;
    std::map<std::string, CLI::App*> groups;
    for (const View& view : views()) {
        CLI::App* parent = &app;
        std::string name(view.command);
        if (const auto blank = name.find(' '); blank != std::string::npos) {
            const std::string group = name.substr(0, blank);
            name.erase(0, blank + 1);
            parent = groups[group];
            if (parent == nullptr) {
                parent = groups[group] = app.add_subcommand(group, "(more with --help)");
                parent->fallthrough();
            }
        }
        parent->add_subcommand(name, view.help)->fallthrough()->callback([&chosen, &view] {
            chosen = &view;
        });
    }
    CLI::App* const help = app.add_subcommand("help", "Print the commands and exit");

    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& e) {
        return app.exit(e) == 0 ? kOk : kUsage;
    }
    if (help->parsed()) {
        print_commands(stdout);
        return kOk;
    }
    if (chosen != nullptr &&
        (chosen->command == "conntrack save" || chosen->command == "conntrack restore")) {
        const auto files = app.remaining(true);
        if (files.size() != 1 || files[0].starts_with('-'))
            return complain(std::string(chosen->command) + ": expected one file", kUsage);
        return chosen->command.ends_with("save") ? save_state(socket, files[0])
                                                 : restore_state(socket, files[0]);
    }
    Json args = Json::object();
    for (const std::string& extra : app.remaining(true)) {
        const auto equals = extra.find('=');
        if (chosen == nullptr || equals == 0 || equals == std::string::npos || extra[0] == '-')
            return complain("there is no command or option '" + extra +
                                "'; 'posternctl help' lists them, arguments are KEY=VALUE",
                            kUsage);
        args[extra.substr(0, equals)] = value_of(extra.substr(equals + 1));
    }
    if (chosen == nullptr) {
        print_commands(stderr);
        return kUsage;
    }
    return ask(socket, *chosen, args, json);
}

}  // namespace
}  // namespace postern

int main(int argc, char** argv) {
    std::signal(SIGPIPE, SIG_IGN);  // a closed pipe is an error of write(), see Output
    try {
        return postern::run(argc, argv);
    } catch (const std::exception& e) {
        std::fprintf(stderr, "posternctl: %s\n", e.what());
        return postern::kFailed;
    }
}
