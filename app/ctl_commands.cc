// SPDX-License-Identifier: BSD-3-Clause
#include "ctl_commands.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "control/suggest.h"
#include "ctl_text.h"

namespace postern {
namespace {

std::string name_of(const Json& command) {
    return command.value("command", "");
}

std::string join(const Words& words, std::size_t n, const char* between = " ") {
    std::string all;
    for (std::size_t i = 0; i < std::min(n, words.size()); ++i)
        all += (i == 0 ? "" : between) + words[i];
    return all;
}

bool begins_with(const Words& words, const Words& beginning) {
    return beginning.size() <= words.size() &&
           std::equal(beginning.begin(), beginning.end(), words.begin());
}

const Json& args_of(const Json& command) {
    static const Json kNone = Json::array();
    const auto it = command.find("args");
    return it == command.end() ? kNone : *it;
}

/// Whether it takes the name of a file as a word.
bool uses_file(const Json& command) {
    const std::string use = command.value("file", "none");
    return use == "read" || use == "write";
}
/// Whether the user gives its arguments. Those of a command that reads a file are posternctl's.
bool takes_arguments(const Json& command) {
    return command.value("file", "none") != "read";
}

/// "state=new|related|established", "sport=INTEGER".
std::string shape_of(const Json& arg) {
    std::string type;
    for (const char c : arg.value("type", "string"))
        type += c == ' ' ? '_' : c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
    if (type == "BOOLEAN") type = "true|false";
    if (const Words values = arg.value("values", Words{}); !values.empty() && values.size() <= 4)
        type = join(values, values.size(), "|");
    return arg.value("name", "") + "=" + type;
}

Words names_of(const Json& args) {
    Words names;
    for (const Json& arg : args)
        names.push_back(arg.value("name", ""));
    return names;
}

std::string takes(const Json& command) {
    const Words names = names_of(args_of(command));
    if (names.empty()) return "; it takes none";
    return "; it takes " + join(names, names.size(), "=, ") + "=";
}

/// The types of these arguments that have a form of their own: "PORTS  21, ftp, ...".
std::string forms_of(const Json& args) {
    std::string out;
    Words seen;
    for (const Json& arg : args) {
        const std::string form = arg.value("form", "");
        const std::string shape = shape_of(arg);
        const std::string type = shape.substr(shape.find('=') + 1);
        if (form.empty() || std::find(seen.begin(), seen.end(), type) != seen.end()) continue;
        seen.push_back(type);
        out += help_row(type, form, 18);
    }
    return out;
}

const Json* find_arg(const Json& command, const std::string& name) {
    for (const Json& arg : args_of(command))
        if (arg.value("name", "") == name) return &arg;
    return nullptr;
}

const Json* filter_of(const Json& command) {
    for (const Json& arg : args_of(command))
        if (arg.value("type", "") == "filter") return &arg;
    return nullptr;
}

/// Arguments of a command with a filter. Words of a filter contain equals signs, too: those that do
/// not begin with an argument's name are the filter.
Result<Json> read_with_filter(const Json& command, const std::string& filter, const Words& words) {
    Json args = Json::object();
    std::string text;
    for (const std::string& word : words) {
        const auto equals = word.find('=');
        const std::string key = equals == std::string::npos ? "" : lower(word.substr(0, equals));
        if (key.empty() || key == filter || find_arg(command, key) == nullptr) {
            text += (text.empty() ? "" : " ") + word.substr(key == filter ? equals + 1 : 0);
            continue;
        }
        if (args.contains(key))
            return Error{name_of(command) + ": '" + key + "' is given more than once"};
        args[key] = word.substr(equals + 1);
    }
    if (!text.empty()) args[filter] = text;
    return args;
}

}  // namespace

Result<CtlCommands> CtlCommands::ask(ControlClient& client) {
    client.ask("help");
    CtlCommands out;
    Reply reply;
    while ((reply = client.next()).kind == Reply::Kind::row) {
        Json command = Json::parse(reply.text, nullptr, false);
        if (command.is_object()) out.commands_.push_back(std::move(command));
    }
    if (reply.kind != Reply::Kind::end) return Error{reply.text};
    return out;
}

CtlCommands CtlCommands::known() {
    static constexpr const char* kKnown[] = {
#include "known_commands.inc"
    };
    CtlCommands out;
    for (const char* text : kKnown)
        if (Json command = Json::parse(text, nullptr, false); command.is_object())
            out.commands_.push_back(std::move(command));
    return out;
}

CtlCommands::Match CtlCommands::match(const Words& words) const {
    Match best;
    for (const Json& command : commands_) {
        const Words name = split(name_of(command), ' ');
        if (begins_with(words, name) && name.size() > best.words) best = {&command, name.size()};
    }
    return best;
}

std::string CtlCommands::no_match(const Words& words) const {
    Words names, next;
    for (const Json& command : commands_) {
        const Words name = split(name_of(command), ' ');
        names.push_back(name_of(command));
        if (name.size() > 1 && name[0] == words[0]) next.push_back(name[1]);
    }
    if (next.empty()) {
        std::string near = nearest(lower(join(words, 2)), names);
        if (near.empty()) near = nearest(lower(words[0]), names);
        return "there is no command '" + join(words, 2) + "'" +
               (near.empty() ? "" : ", did you mean '" + near + "'?") +
               "; 'posternctl help' lists them";
    }
    const std::string all = join(next, next.size(), ", ");
    if (words.size() == 1) return words[0] + ": expected one of " + all;
    return "there is no command '" + join(words, 2) + "'" + suggestion(lower(words[1]), next) +
           "; expected one of " + all;
}

std::string CtlCommands::list(const Words& beginning) const {
    std::size_t width = 0;
    for (const Json& command : commands_)
        width = std::max(width, name_of(command).size());
    std::string out;
    for (const Json& command : commands_)
        if (begins_with(split(name_of(command), ' '), beginning))
            out += help_row(name_of(command), command.value("help", ""), width);
    return out;
}

Words CtlCommands::complete(const Words& words, ControlClient* client) const {
    Words out;
    if (words.empty()) return out;
    const Words before(words.begin(), words.end() - 1);
    const std::string& last = words.back();
    const auto add = [&](const std::string& candidate) {
        if (candidate.starts_with(last) &&
            std::find(out.begin(), out.end(), candidate) == out.end())
            out.push_back(candidate);
    };
    const Match found = match(before);
    if (found.command == nullptr) {
        for (const Json& command : commands_) {
            const Words name = split(name_of(command), ' ');
            if (begins_with(name, before)) add(name[before.size()]);
        }
        return out;
    }
    const auto given = [&](const std::string& name) {
        return std::any_of(before.begin(), before.end(),
                           [&](const std::string& w) { return w.starts_with(name + "="); });
    };
    const auto add_values = [&](const std::string& name, const std::string& prefix) {
        if (client == nullptr) {
            for (const std::string& value :
                 find_arg(*found.command, name) == nullptr
                     ? Words{}
                     : find_arg(*found.command, name)->value("values", Words{}))
                add(prefix + value);
            return;
        }
        client->ask("complete", {{"command", name_of(*found.command)}, {"argument", name}});
        Reply reply;
        while ((reply = client->next()).kind == Reply::Kind::row)
            add(prefix + Json::parse(reply.text).value("value", ""));
    };
    if (const auto equals = last.find('='); equals != std::string::npos) {
        add_values(last.substr(0, equals), last.substr(0, equals + 1));
        return out;
    }
    for (const Json& arg : args_of(*found.command)) {
        const std::string name = arg.value("name", "");
        if (given(name) || !takes_arguments(*found.command)) continue;
        if (arg.value("positional", false)) add_values(name, "");
        add(name + "=");
    }
    return out;
}

Result<Json> read_arguments(const Json& command, const Words& words) {
    Json args = Json::object();
    const std::string name = name_of(command);
    if (const Json* filter = filter_of(command); filter != nullptr)
        return read_with_filter(command, filter->value("name", ""), words);
    const auto give = [&](const std::string& key, const std::string& value) -> Result<void> {
        if (args.contains(key)) return Error{name + ": '" + key + "' is given more than once"};
        const Json* arg = find_arg(command, key);
        // The daemon has another working directory.
        const bool is_path = arg != nullptr && arg->value("type", "") == "file";
        args[key] = is_path ? std::filesystem::absolute(value).string() : value;
        return {};
    };
    for (const std::string& word : words) {
        const auto equals = word.find('=');
        if (equals == std::string::npos || equals == 0) {
            std::string free;
            for (const Json& arg : args_of(command)) {
                const std::string of = arg.value("name", "");
                if (free.empty() && arg.value("positional", false) &&
                    (!args.contains(of) || arg.value("repeated", false)))
                    free = of;
            }
            if (args.contains(free)) {  // it takes all further words
                args[free] = args[free].get<std::string>() + "," + word;
                continue;
            }
            if (free.empty())
                return Error{name + ": '" + word + "' is not KEY=VALUE" + takes(command)};
            if (auto r = give(free, word); !r) return r.error();
            continue;
        }
        const bool negated = word[equals - 1] == '!';
        const std::string key = lower(word.substr(0, equals - (negated ? 1 : 0)));
        const Json* const arg = find_arg(command, key);
        if (arg == nullptr)
            return Error{name + ": there is no argument '" + key + "'" +
                         suggestion(key, names_of(args_of(command))) + takes(command)};
        if (negated && !arg->value("negatable", false))
            return Error{name + ": '" + key + "' cannot be negated"};
        if (auto r = give(key, (negated ? "!" : "") + word.substr(equals + 1)); !r)
            return r.error();
    }
    return args;
}

Result<std::string> read_file_argument(const Json& command, const Words& words) {
    if (words.empty() || words[0].empty() || (words.size() != 1 && !takes_arguments(command)))
        return Error{name_of(command) + ": expected one file"};
    return words[0];
}

std::string help_of(const Json& command) {
    const Json& args = args_of(command);
    std::string usage = "Usage: posternctl [-s SOCKET] [--json] " + name_of(command);
    if (uses_file(command)) usage += " FILE";
    if (command.value("file", "none") == "packets") usage += " [-w FILE]";
    if (const Json* filter = filter_of(command)) usage += " [" + filter->value("name", "") + "]";
    std::size_t width = 0;
    bool optional = false, negatable = false;
    for (const Json& arg : args) {
        if (!takes_arguments(command)) break;
        negatable = negatable || arg.value("negatable", false);
        width = std::max(width, std::min<std::size_t>(shape_of(arg).size(), 26));
        if (arg.value("required", false))
            usage +=
                " " + (arg.value("positional", false)
                           ? arg.value("name", "") + (arg.value("repeated", false) ? "..." : "")
                           : shape_of(arg));
        else
            optional = true;
    }
    std::string out = usage + (optional ? " [KEY=VALUE...]" : "") + "\n\n";
    for (const std::string& line : wrapped(command.value("help", ""), 80))
        out += line + "\n";
    if (command.value("file", "none") == "write")
        out += "\n" + help_row("FILE", "written by posternctl: a new file of mode 0600", 4);
    if (command.value("file", "none") == "packets")
        out += "\n" + help_row("-w FILE", "written by posternctl: a pcapng file of mode 0600", 7);
    if (command.value("file", "none") == "read")
        out += "\n" + help_row("FILE", "only you or root may own it or write to it", 4);
    if (takes_arguments(command) && !args.empty()) {
        out += "\nArguments:\n";
        for (const Json& arg : args) {
            std::string text = arg.value("help", "");
            if (arg.value("required", false)) text += " (required)";
            if (arg.value("positional", false))
                text += "; '" + arg.value("name", "") + "=' may be left out";
            if (const Words values = arg.value("values", Words{}); values.size() > 4)
                text += ": " + join(values, values.size(), ", ");
            out += help_row(shape_of(arg), text, width);
        }
        if (const std::string forms = forms_of(args); !forms.empty()) out += "\nValues:\n" + forms;
        if (negatable)
            out +=
                "\nKEY!=VALUE means all others ('!' needs quotes in some shells; KEY=!VALUE is "
                "the\nsame). Names may be written in any case.\n";
    }
    const Json columns = command.value("columns", Json::array());
    if (!columns.empty()) {
        std::string titles = "Columns:";
        for (const Json& column : columns)
            titles += " " + column.value("title", "");
        out += "\n";
        for (const std::string& line : wrapped(titles, 80))
            out += line + "\n";
    }
    out += "\nEffect: " + command.value("effect", "write") +
           (command.value("effect", "write") == "read" ? " (also on the reading socket)\n"
                                                       : " (the control socket only)\n");
    std::string codes = "Exit codes:";
    const Json described = command.value("exit_codes", Json::object());
    for (const auto& [code, meaning] : described.items())
        codes += (codes.ends_with(":") ? " " : ", ") + code + " " + meaning.get<std::string>();
    for (const std::string& line : wrapped(codes, 80))
        out += line + "\n";
    return out;
}

}  // namespace postern
