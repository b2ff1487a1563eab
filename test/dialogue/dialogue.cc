// SPDX-License-Identifier: BSD-3-Clause
#include "dialogue.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "helper/registry.h"

namespace postern {
namespace {

std::string with_commas(const IpAddr& a) {
    std::string s = a.family == Family::ipv4 ? a.to_string() : "0.0.0.0";
    std::replace(s.begin(), s.end(), '.', ',');
    return s;
}

std::string in_brackets(const IpAddr& a) {
    return a.family == Family::ipv4 ? a.to_string() : "[" + a.to_string() + "]";
}

std::string raw_bytes(const IpAddr& a) {
    return {reinterpret_cast<const char*>(a.bytes.data()), address_bytes(a.family)};
}

/// Stands where {length} was until the length is known.
constexpr std::string_view kLengthHere = "\001length\001";

/// As DCC writes addresses: one decimal number, or IPv6's text.

std::string as_number(const IpAddr& a) {
    if (a.family != Family::ipv4) return a.to_string();
    std::uint32_t n = 0;
    for (unsigned i = 0; i < 4; ++i)
        n = n << 8 | a.bytes[i];
    return std::to_string(n);
}

/// "00 9c1a {client#}" in the notation of text.

std::string hex_as_text(const std::string& in) {
    std::istringstream words(in);
    std::string out;
    for (std::string word; words >> word;) {
        if (word[0] == '{') {
            out += word;
            continue;
        }
        if (word.size() % 2 != 0 ||
            word.find_first_not_of("0123456789abcdefABCDEF") != std::string::npos)
            throw std::runtime_error("not pairs of hexadecimal digits: " + word);
        for (std::size_t i = 0; i < word.size(); i += 2)
            out += "\\x" + word.substr(i, 2);
    }
    return out;
}

/// The words after CLASS in the order in which print() writes them; the class's own timeout when

/// there is none.

std::string expect_words(std::istringstream& in, const ExpectClass& cls) {
    std::string timeout = std::to_string(cls.timeout_s), word;
    std::vector<std::string> words;
    while (in >> word) {
        if (word.find_first_not_of("0123456789") == std::string::npos)
            timeout = word;
        else
            words.push_back(word);
    }
    std::sort(words.begin(), words.end());
    for (const std::string& w : words)
        timeout += " " + w;
    return timeout;
}

const ExpectClass* find_class(const Dialogue& d, std::string_view name) {
    for (const ExpectClass& c : d.config.desc->classes)
        if (c.name == name) return &c;
    return nullptr;
}

}  // namespace

std::string expand(std::string_view in, const Addresses& addresses) {
    std::string out;
    for (std::size_t i = 0; i < in.size(); ++i) {
        if (in[i] == '\\' && i + 1 < in.size()) {
            const char c = in[++i];
            if (c == 'x') {
                out += static_cast<char>(std::stoi(std::string(in.substr(i + 1, 2)), nullptr, 16));
                i += 2;
            } else {
                out += c == 'r' ? '\r' : c == 'n' ? '\n' : c == 't' ? '\t' : c;
            }
        } else if (in[i] == '{') {
            const auto end = in.find('}', i);
            const std::string name(in.substr(i + 1, end - i - 1));
            i = end;
            const auto star = name.find('*');
            if (star != std::string::npos)
                out.append(std::stoul(name.substr(0, star)),
                           name.size() == star + 2
                               ? name[star + 1]
                               : static_cast<char>(std::stoi(name.substr(star + 1), nullptr, 16)));
            else if (name == "af")
                out += addresses.client.family == Family::ipv4 ? '1' : '2';
            else if (name == "client" || name == "server")
                out += (name == "client" ? addresses.client : addresses.server).to_string();
            else if (name == "[client]" || name == "[server]")
                out += in_brackets(name == "[client]" ? addresses.client : addresses.server);
            else if (name == "ip")
                out += addresses.client.family == Family::ipv4 ? "IP4" : "IP6";
            else if (name == "client," || name == "server,")
                out += with_commas(name == "client," ? addresses.client : addresses.server);
            else if (name == "client#" || name == "server#")
                out += raw_bytes(name == "client#" ? addresses.client : addresses.server);
            else if (name == "length")
                out += kLengthHere;
            else if (name == "client_number" || name == "server_number")
                out += as_number(name == "client_number" ? addresses.client : addresses.server);
            else
                throw std::runtime_error("unknown {" + name + "}");
        } else {
            out += in[i];
        }
    }
    if (const auto at = out.find(kLengthHere); at != std::string::npos) {
        const auto head = out.find("\r\n\r\n");
        const std::size_t body = head == std::string::npos ? 0 : out.size() - head - 4;
        out.replace(at, kLengthHere.size(), std::to_string(body));
    }
    return out;
}

Dialogue parse(const std::filesystem::path& path) {
    Dialogue d;
    d.file = path.string();
    std::ifstream in(path);
    std::string line;
    bool parting = false;
    for (int n = 1; std::getline(in, line); ++n) {
        const auto first = line.find_first_not_of(' ');
        if (first == std::string::npos || line[first] == '#') continue;
        const auto wrong = [&](const char* what) {
            throw std::runtime_error(d.file + ":" + std::to_string(n) + ": " + what);
        };
        line.erase(0, first);
        if ((line[0] == 'C' || line[0] == 'S') && line.size() > 1 &&
            std::string_view(":|-=").find(line[1]) != std::string_view::npos) {
            Words w;
            w.by = line[0] == 'C' ? Direction::original : Direction::reply;
            w.lost = line[1] == '-';
            w.text = line.size() > 3 ? line.substr(3) : "";
            if (line[1] == '=')
                w.text = hex_as_text(w.text);
            else if (line[1] != '|')
                w.text += "\\r\\n";
            d.words.push_back(std::move(w));
            continue;
        }
        if (line[0] == '+' || line[0] == '=') {
            if (d.words.empty()) wrong("there are no words to go on with");
            const std::string text = line.size() > 2 ? line.substr(2) : "";
            d.words.back().text += line[0] == '=' ? hex_as_text(text) : text + "\\r\\n";
            continue;
        }
        std::istringstream rest(line);
        std::string key, word;
        rest >> key;
        if (key == "helper") {
            rest >> word;
            d.config.id = kHelper;
            d.config.desc = find_helper(word);
            if (d.config.desc == nullptr) wrong("no such helper");
            if ((d.config.desc->transports & transport::tcp) == 0) d.over = {proto::udp};
            if ((d.config.desc->transports & transport::udp) != 0) d.usual = proto::udp;
            while (rest >> word) {
                const auto eq = word.find('=');
                d.config.params.emplace_back(word.substr(0, eq), word.substr(eq + 1));
            }
        } else if (key == "families") {
            d.families.clear();
            while (rest >> word)
                d.families.push_back(word == "ipv4" ? Family::ipv4 : Family::ipv6);
        } else if (key == "to") {
            if (!(rest >> word >> d.client_port)) d.client_port = 40000;
            d.server = IpAddr::parse(word);
            if (!d.server) wrong("bad address");
            d.families = {d.server->family};
        } else if (key == "midstream") {
            rest >> word;
            d.picked_up = word == "picked";
            if (!d.picked_up) d.syn_seen[word == "server"] = false;
        } else if (key == "in") {
            d.in_order = true;
        } else if (key == "once") {
            d.once = true;
        } else if (key == "every") {
            if (!(rest >> d.every) || d.every == 0) wrong("bad every");
        } else if (key == "over") {
            d.over.clear();
            while (rest >> word)
                d.over.push_back(word == "udp" ? proto::udp : proto::tcp);
        } else if (key == "expect") {
            std::string src, arrow, dst, cls;
            rest >> src >> arrow >> dst >> cls;
            const ExpectClass* known = d.config.desc == nullptr ? nullptr : find_class(d, cls);
            if (arrow != "->" || d.words.empty() || known == nullptr) wrong("bad expect");
            d.words.back().expect.push_back(src + " -> " + dst + " " + cls + " " +
                                            expect_words(rest, *known));
        } else if (key == "activate" || key == "remove" || key == "grant_in_master" ||
                   key == "end" || key == "adopt") {
            std::string all = key;
            while (rest >> word)
                all += " " + word;
            if (d.words.empty()) wrong("nobody has said anything");
            (parting ? d.parting : d.words.back().expect).push_back(all);
        } else if (key == "min_timeout") {
            unsigned v = 0;
            if (!(rest >> v) || d.words.empty()) wrong("bad min_timeout");
            d.words.back().min_timeout_s = static_cast<std::uint16_t>(v);
        } else if (key == "destroy") {
            parting = true;
        } else if (key == "count") {
            std::uint64_t v = 0;
            if (!(rest >> word >> v)) wrong("bad count");
            d.counts[word] = v;
        } else {
            wrong("neither words nor a directive");
        }
    }
    if (d.config.desc == nullptr) throw std::runtime_error(d.file + ": no helper line");
    return d;
}

std::string print(const PinHole& p, const HelperDesc& desc, const Addresses& a,
                  std::uint8_t usual) {
    std::string src = p.any_src() ? "any" : a.name(p.src.address);
    if (!p.any_src() && p.src.length != address_bytes(p.src.address.family) * 8)
        src += "/" + std::to_string(p.src.length);
    if (!p.any_sport()) src += ":" + std::to_string(p.sport.host());
    std::vector<std::string> words;
    if ((p.flags & expect_flag::permanent) != 0) words.emplace_back("permanent");
    if ((p.flags & expect_flag::inactive) != 0) words.emplace_back("inactive");
    if ((p.flags & expect_flag::skip_master) != 0) words.emplace_back("skip_master");
    if ((p.flags & expect_flag::beside) != 0) words.emplace_back("beside");
    if ((p.flags & expect_flag::stays) != 0) words.emplace_back("stays");
    if (p.again != 0) words.push_back("again=" + std::to_string(p.again));
    if (p.call != 0) words.push_back("call=" + std::to_string(p.call));
    if (p.tag != 0) words.push_back("tag=" + std::to_string(p.tag));
    if (p.child != PinHole::kNoChild)
        words.push_back("child=" + std::string(desc.children[p.child]));
    if (p.protocol != usual) words.push_back(protocol_name(p.protocol));
    std::sort(words.begin(), words.end());
    std::string out = src + " -> " + a.name(p.dst) + ":" + std::to_string(p.dport.host());
    if (p.more_ports != 0) out += "-" + std::to_string(p.dport.host() + p.more_ports);
    out += " " + std::string(desc.classes[p.class_index].name) + " " +
           std::to_string(p.timeout_ms / 1000);
    for (const std::string& w : words)
        out += " " + w;
    return out;
}

std::string print(const EmitAction& act, const HelperDesc& desc, const Addresses& a) {
    const auto cls = [&] {
        return std::string(act.class_index == Emit::kAnyClass
                               ? "any"
                               : desc.classes[act.class_index].name) +
               " " + std::to_string(act.tag);
    };
    const auto end = [&](const IpAddr& address, Be16 port) {
        return a.name(address) + ":" + std::to_string(port.host());
    };
    const auto call = [&] {
        return act.call != 0 ? " call=" + std::to_string(act.call) : std::string();
    };
    switch (act.kind) {
        case EmitAction::Kind::activate:
            return "activate " + cls() + " " + std::to_string(act.timeout_s) + call();
        case EmitAction::Kind::remove: {
            std::ostringstream mask;
            if (act.mask != ~0u) mask << " mask=" << std::hex << act.mask;
            return "remove " + cls() + mask.str() + call() + (act.others ? " others" : "");
        }
        case EmitAction::Kind::remove_branch:
            return "remove branch " + std::to_string(act.tag) + call();
        case EmitAction::Kind::grant_in_master:
            return "grant_in_master " + cls() + " " + std::to_string(act.timeout_s) + call() + " " +
                   protocol_name(act.child.protocol) + " " + end(act.child.dst, act.child.dport) +
                   " asked_call=" + std::to_string(act.asked_call) +
                   " asked_tag=" + std::to_string(act.asked_tag);
        case EmitAction::Kind::end_child:
        case EmitAction::Kind::adopt_child: break;
    }
    const char* what = act.kind == EmitAction::Kind::adopt_child ? "adopt " : "end ";
    return what + protocol_name(act.child.protocol) + " " + end(act.child.src, act.child.sport) +
           " -> " + end(act.child.dst, act.child.dport);
}

}  // namespace postern
