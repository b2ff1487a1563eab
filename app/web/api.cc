// SPDX-License-Identifier: BSD-3-Clause
#include "web/api.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include <arpa/inet.h>

#include "base/wall_clock.h"
#include "web/page.h"

namespace postern {
namespace {

constexpr std::string_view kPrefix = "/api/v1/";
constexpr std::string_view kReplayPath = "/api/v1/replay";
/// Forms of other pages cannot send it, nor scripts without this server's consent.
constexpr std::string_view kCaptureType = "application/vnd.tcpdump.pcap";
constexpr const char* kJson = "application/json; charset=utf-8";
// Nothing from elsewhere, nothing inline, in no frame.
constexpr const char* kPolicy =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for "
    "'script'";

std::string dumped(const Json& json) {
    return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}
HttpAnswer json_answer(int status, std::string text) {
    return {.status = status, .type = kJson, .body = std::move(text)};
}
HttpAnswer problem(int status, const std::string& code, const std::string& message) {
    return json_answer(status, dumped({{"error", {{"code", code}, {"message", message}}}}));
}

std::string array_of(const std::vector<std::string>& objects) {
    std::string out = "[";
    for (const std::string& object : objects)
        out.append(out.size() == 1 ? "" : ",").append(object);
    return out + ']';
}

/// Those of `postern replay`; what their values consist of.
constexpr std::string_view kReplayArguments[] = {"inside", "inside_mac", "in_port", "bridge"};
constexpr const char* kReplayLetters =
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.:/,_-";

/// "conntrack list" is found at /api/v1/conntrack/list.
std::string path_of(const Json& command) {
    std::string path = command.value("command", "");
    std::ranges::replace(path, ' ', '/');
    return std::string(kPrefix) + path;
}
bool is_served(const Json& command) {
    return command.value("effect", "write") == "read" && !command.value("endless", false) &&
           command.value("file", "none") == "none";
}
std::vector<Json> served_commands() {
    static constexpr const char* kKnown[] = {
#include "known_commands.inc"
    };
    std::vector<Json> served;
    for (const char* text : kKnown)
        if (Json command = Json::parse(text, nullptr, false);
            command.is_object() && is_served(command))
            served.push_back(std::move(command));
    return served;
}

std::optional<std::uint64_t> number_of(const std::string& text) {
    std::uint64_t n = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
    if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
    return n;
}

/// Of equal cost whatever the difference is.
bool equal(std::string_view a, std::string_view b) {
    unsigned different = a.size() == b.size() ? 0 : 1;
    for (std::size_t i = 0; i < b.size(); ++i)
        different |= static_cast<unsigned char>(i < a.size() ? a[i] ^ b[i] : 1);
    return different == 0;
}

bool is_address(const std::string& text) {
    std::array<unsigned char, 16> bytes;
    return ::inet_pton(AF_INET, text.c_str(), bytes.data()) == 1 ||
           ::inet_pton(AF_INET6, text.c_str(), bytes.data()) == 1;
}

MetricRow own_metric(const char* group, const char* name, const char* kind, const char* unit,
                     const char* help, std::uint64_t value) {
    MetricRow row;
    row.group = group;
    row.name = name;
    row.kind = kind;
    row.unit = unit;
    row.help = help;
    row.value = value;
    return row;
}

// ---- the description ----------------------------------------------------------------------------

Json schema_of_row(const Json& command) {
    Json properties = Json::object();
    for (const Json& column : command.value("columns", Json::array())) {
        // The first one names the row: of `stats` the number of a worker, or a word.
        const bool number = !properties.empty() && column.value("right", false) &&
                            column.value("form", "value") == "value";
        for (const Json& field : column.value("fields", Json::array())) {
            const auto name = field.get<std::string>();
            const std::size_t dot = name.find('.');
            Json type = number ? Json{{"type", "number"}, {"nullable", true}} : Json::object();
            if (dot == std::string::npos) {
                if (!properties.contains(name)) properties[name] = std::move(type);
            } else {
                Json& outer = properties[name.substr(0, dot)];
                if (!outer.contains("type")) outer = {{"type", "object"}, {"nullable", true}};
                outer["properties"][name.substr(dot + 1)] = std::move(type);
            }
        }
    }
    return {{"type", "object"}, {"properties", std::move(properties)}};
}

Json parameter(const std::string& name, const std::string& help, Json schema,
               bool required = false) {
    return {{"name", name},
            {"in", "query"},
            {"required", required},
            {"description", help},
            {"schema", std::move(schema)}};
}
Json parameters_of(const Json& command) {
    Json out = Json::array();
    for (const Json& arg : command.value("args", Json::array())) {
        std::string help = arg.value("help", "");
        if (const auto form = arg.value("form", ""); !form.empty()) help += " (" + form + ")";
        if (arg.value("negatable", false)) help += "; !VALUE means all others";
        Json schema{{"type", "string"}};
        if (const Json values = arg.value("values", Json()); values.is_array()) {
            if (arg.value("negatable", false))
                help += "; values: " + dumped(values);
            else
                schema["enum"] = values;
        }
        out.push_back(parameter(arg.value("name", ""), help, std::move(schema),
                                arg.value("required", false)));
    }
    out.push_back(parameter("limit", "the most rows to answer",
                            {{"type", "integer"},
                             {"minimum", 1},
                             {"maximum", Api::kMaxRows},
                             {"default", Api::kRows}}));
    return out;
}

Json content(const Json& schema) {
    return {{"application/json", {{"schema", schema}}}};
}
Json responses(const Json& schema) {
    const Json error = content({{"$ref", "#/components/schemas/Error"}});
    return {{"200", {{"description", "the answer"}, {"content", content(schema)}}},
            {"400", {{"description", "the daemon refuses the question"}, {"content", error}}},
            {"401", {{"description", "a token is needed"}, {"content", error}}},
            {"503", {{"description", "no daemon, or no answer in time"}, {"content", error}}}};
}
Json get(const std::string& id, const std::string& help, Json parameters, const Json& schema) {
    return {{"get",
             {{"operationId", id},
              {"summary", help},
              {"parameters", std::move(parameters)},
              {"responses", responses(schema)}}}};
}
Json numbered(const char* key) {
    return {{"type", "object"},
            {"required", {"next", "now", key}},
            {"properties",
             {{"next", {{"type", "integer"}}},
              {"now", {{"type", "integer"}, {"description", "milliseconds after 1970"}}},
              {"period_ms", {{"type", "integer"}}},
              {key,
               {{"type", "array"},
                {"items",
                 {{"type", "object"},
                  {"required", {"seq"}},
                  {"properties", {{"seq", {{"type", "integer"}}}}}}}}}}}};
}

Json replay_description() {
    Json parameters = Json::array();
    for (const std::string_view name : kReplayArguments)
        parameters.push_back(
            parameter(std::string(name), "as of `postern replay`", {{"type", "string"}}));
    const Json answer{{"type", "object"},
                      {"required", {"rows", "left_out", "summary"}},
                      {"properties",
                       {{"rows", {{"type", "array"}, {"items", {{"type", "object"}}}}},
                        {"left_out", {{"type", "integer"}}},
                        {"summary", {{"type", "object"}, {"nullable", true}}}}}};
    Json post = get("replay",
                    "The verdicts on the packets of a capture, as `postern replay --json` has them",
                    std::move(parameters), answer);
    Json description{{"post", post["get"]}};
    description["post"]["requestBody"] = {
        {"required", true},
        {"content",
         {{std::string(kCaptureType), {{"schema", {{"type", "string"}, {"format", "binary"}}}}}}}};
    for (const auto& [status, text] : {std::pair{"415", "another Content-Type"},
                                       {"422", "the capture cannot be replayed"},
                                       {"429", "another capture is replayed"}})
        description["post"]["responses"][status] = {
            {"description", text}, {"content", content({{"$ref", "#/components/schemas/Error"}})}};
    return description;
}

HttpAnswer numbered_answer(const NumberedLines& lines, const char* key, const HttpRequest& request,
                           const std::string& more) {
    std::uint64_t after = 0, next = 0;
    for (const auto& [name, value] : request.query) {
        const auto n = number_of(value);
        if (name != "after" || !n || request.query.size() > 1)
            return problem(400, "bad_args", "expected one parameter: after=NUMBER");
        after = *n;
    }
    const std::string array = lines.after(after, next);
    return json_answer(200, "{\"next\":" + std::to_string(next) +
                                ",\"now\":" + std::to_string(wall_ms()) + more + ",\"" + key +
                                "\":" + array + "}");
}

}  // namespace

Api::Api(Daemon& daemon, const History& history, ReplayBox& replays, ApiOptions options)
    : daemon_(daemon),
      history_(history),
      replays_(replays),
      options_(std::move(options)),
      commands_(served_commands()) {}

HttpAnswer Api::handle(const HttpRequest& request) {
    HttpAnswer answer =
        host_is_ours(request.header("host"))
            ? route(request)
            : problem(421, "wrong_host", "this name is not one of this server's; --host adds one");
    answer.headers.insert(answer.headers.end(), {{"Content-Security-Policy", kPolicy},
                                                 {"X-Content-Type-Options", "nosniff"},
                                                 {"X-Frame-Options", "DENY"},
                                                 {"Referrer-Policy", "no-referrer"},
                                                 {"Cross-Origin-Resource-Policy", "same-origin"},
                                                 {"Cross-Origin-Opener-Policy", "same-origin"},
                                                 {"Cache-Control", "no-store"}});
    const auto hundreds = static_cast<std::size_t>(answer.status) / 100;
    answers_[std::min(hundreds, answers_.size() - 1)].fetch_add(1, std::memory_order_relaxed);
    return answer;
}

HttpAnswer Api::route(const HttpRequest& request) {
    const bool posts = request.method == "POST";
    if (posts != (request.path == kReplayPath))
        return problem(405, "method",
                       posts ? "only captures are posted, to /api/v1/replay" : "expected POST");
    // The page has no secret; it asks for the token.
    for (const PageFile& file : page_files())
        if (request.path == file.path)
            return {.status = 200, .type = file.type, .body = std::string(file.content)};
    if (request.path == "/healthz") return {.body = "ok\n"};
    if (!has_token(request)) {
        HttpAnswer answer = problem(401, "token_needed", "a token is needed");
        answer.headers.emplace_back("WWW-Authenticate", "Bearer realm=\"postern-web\"");
        return answer;
    }
    if (posts) return replay(request);
    if (request.path == "/metrics") return metrics(request);
    if (request.path == "/api/v1/openapi.json") return json_answer(200, openapi());
    if (request.path == "/api/v1/status") return status();
    if (request.path == "/api/v1/history")
        return numbered_answer(history_.points(), "points", request,
                               ",\"period_ms\":" + std::to_string(History::kPeriodMs));
    if (request.path == "/api/v1/expect/recent")
        return numbered_answer(history_.expectations(), "events", request, "");
    for (const Json& command : commands_)
        if (request.path == path_of(command)) return rows(command, request);
    return problem(404, "not_found", "there is no such resource; see /api/v1/openapi.json");
}

HttpAnswer Api::metrics(const HttpRequest& request) {
    const auto begun = Daemon::Clock::now();
    Metrics all = read_metrics(daemon_);
    const auto add = [&all](MetricRow row) { all.rows.push_back(std::move(row)); };
    add(own_metric("up", "up", "gauge", "events", "1 if the daemon answers, else 0",
                   all.why.empty() ? 1 : 0));
    MetricRow took = own_metric("web", "scrape", "gauge", "microseconds",
                                "how long the daemon's answer to this scrape took", 0);
    took.real = std::chrono::duration<double>(Daemon::Clock::now() - begun).count();
    add(std::move(took));
    add(own_metric("web", "daemon_questions", "counter", "events",
                   "questions that postern-web asked the daemon", daemon_.asked()));
    add(own_metric("web", "daemon_failures", "counter", "events",
                   "questions without an answer: no daemon, or not in time", daemon_.failed()));
    for (std::size_t i = 2; i < answers_.size(); ++i) {
        MetricRow row = own_metric("web", "answers", "counter", "events",
                                   "answers to HTTP requests, by the hundreds of their status",
                                   answers_[i].load(std::memory_order_relaxed));
        row.labels = {{"status", std::to_string(i) + "xx"}};
        add(std::move(row));
    }
    const MetricFormat format = preferred_format(request.header("accept"));
    return {.status = 200, .type = content_type(format), .body = metrics_text(all.rows, format)};
}

HttpAnswer Api::rows(const Json& command, const HttpRequest& request) {
    Json args = Json::object();
    Daemon::Bounds bounds{.rows = kRows, .bytes = 16u << 20};
    for (const auto& [name, value] : request.query) {
        if (request.query.count(name) > 1)
            return problem(400, "bad_args", "parameter '" + name + "' is given more than once");
        if (name != "limit") {
            args[name] = value;
            continue;
        }
        const auto n = number_of(value);
        if (!n || *n < 1 || *n > kMaxRows)
            return problem(400, "bad_args",
                           "limit: expected a number from 1 to " + std::to_string(kMaxRows));
        bounds.rows = static_cast<std::size_t>(*n);
    }
    const auto answer = daemon_.ask(command.value("command", ""), args, bounds);
    if (answer->state == DaemonAnswer::State::unavailable)
        return problem(503, "unavailable", answer->error);
    if (answer->state == DaemonAnswer::State::refused)
        return problem(answer->code == "internal" ? 500 : 400, answer->code, answer->error);
    return json_answer(200, "{\"rows\":" + array_of(answer->rows) +
                                ",\"truncated\":" + (answer->truncated ? "true}" : "false}"));
}

HttpAnswer Api::status() {
    const auto answer = daemon_.ask("memory", Json::object(), {});
    const bool up = answer->state == DaemonAnswer::State::ok;
    return json_answer(200, dumped({{"up", up},
                                    {"why", up ? Json(nullptr) : Json(answer->error)},
                                    {"version", POSTERN_VERSION},
                                    {"token", !options_.token.empty()},
                                    {"replay", replays_.available()}}));
}

HttpAnswer Api::replay(const HttpRequest& request) {
    if (!replays_.available())
        return problem(404, "no_replay", "postern-web was started without --replay-config");
    if (request.header("content-type") != kCaptureType)
        return problem(415, "content_type", "expected Content-Type: " + std::string(kCaptureType));
    std::vector<std::string> arguments;
    for (const auto& [name, value] : request.query) {
        const auto known = std::ranges::find(kReplayArguments, name);
        if (known == std::end(kReplayArguments))
            return problem(400, "bad_args", "expected one of inside, inside_mac, in_port, bridge");
        if (value.empty() || value.size() > 256 ||
            value.find_first_not_of(kReplayLetters) != value.npos)
            return problem(400, "bad_args", name + ": expected letters, digits and .:/,_-");
        std::string option = "--" + name;
        std::ranges::replace(option, '_', '-');
        arguments.push_back(option + "=" + value);
    }
    std::string capture;
    if (!request.read_body || !request.read_body(capture))
        return problem(413, "too_large", "a capture may have 16 MiB, and has to come within 30 s");
    const ReplayAnswer answer = replays_.run(capture, arguments);
    if (answer.state == ReplayAnswer::State::busy) return problem(429, "busy", answer.error);
    if (answer.state == ReplayAnswer::State::failed)
        return problem(422, "replay_failed", answer.error);
    return json_answer(200, "{\"rows\":" + array_of(answer.rows) +
                                ",\"left_out\":" + std::to_string(answer.left_out) +
                                ",\"summary\":" + answer.summary + "}");
}

bool Api::host_is_ours(std::string_view host) const {
    // A page of somebody else can make a browser ask this server under a name of its own (DNS
    // rebinding), and would read the answers. It cannot do so with an address.
    std::string name(host);
    if (name.starts_with('[')) {
        const std::size_t end = name.find(']');
        if (end == std::string::npos) return false;
        name = name.substr(1, end - 1);
    } else {
        name = name.substr(0, name.find(':'));
    }
    for (char& c : name)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    return name == "localhost" || is_address(name) ||
           std::ranges::find(options_.hosts, name) != options_.hosts.end();
}

bool Api::has_token(const HttpRequest& request) const {
    if (options_.token.empty()) return true;
    const std::string_view given = request.header("authorization");
    constexpr std::string_view kScheme = "bearer ";
    if (given.size() < kScheme.size()) return false;
    std::string scheme(given.substr(0, kScheme.size()));
    for (char& c : scheme)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    return scheme == kScheme && equal(given.substr(kScheme.size()), options_.token);
}

std::string Api::openapi() {
    Json paths = Json::object();
    for (const Json& command : served_commands()) {
        Json list{
            {"type", "object"},
            {"required", {"rows", "truncated"}},
            {"properties",
             {{"rows", {{"type", "array"}, {"items", schema_of_row(command)}}},
              {"truncated",
               {{"type", "boolean"}, {"description", "there were more than `limit` rows"}}}}}};
        std::string id = command.value("command", "");
        std::ranges::replace(id, ' ', '_');
        paths[path_of(command)] = get(id, command.value("help", ""), parameters_of(command), list);
    }
    const Json after =
        parameter("after", "only what has a higher number: `next` of the last answer",
                  {{"type", "integer"}, {"minimum", 0}});
    paths["/api/v1/history"] =
        get("history", "Sums of the metrics of the last quarter of an hour, every 2 seconds",
            Json::array({after}), numbered("points"));
    paths["/api/v1/expect/recent"] =
        get("expect_recent", "Recent events of expectations, as `expect events` shows them",
            Json::array({after}), numbered("events"));
    paths["/api/v1/status"] = get("status", "Whether the daemon answers", Json::array(),
                                  {{"type", "object"},
                                   {"required", {"up", "version", "token", "replay"}},
                                   {"properties",
                                    {{"up", {{"type", "boolean"}}},
                                     {"why", {{"type", "string"}, {"nullable", true}}},
                                     {"version", {{"type", "string"}}},
                                     {"token", {{"type", "boolean"}}},
                                     {"replay", {{"type", "boolean"}}}}}});
    paths[std::string(kReplayPath)] = replay_description();
    const Json error{{"type", "object"},
                     {"required", {"error"}},
                     {"properties",
                      {{"error",
                        {{"type", "object"},
                         {"required", {"code", "message"}},
                         {"properties",
                          {{"code", {{"type", "string"}}}, {"message", {{"type", "string"}}}}}}}}}};
    return Json{{"openapi", "3.0.3"},
                {"info",
                 {{"title", "postern-web"},
                  {"version", POSTERN_VERSION},
                  {"description",
                   "What a running postern firewall shows: the objects of `posternctl --json`. "
                   "Rows may have more fields than are named here."}}},
                {"security", Json::array({Json::object(), {{"token", Json::array()}}})},
                {"paths", std::move(paths)},
                {"components",
                 {{"schemas", {{"Error", error}}},
                  {"securitySchemes", {{"token", {{"type", "http"}, {"scheme", "bearer"}}}}}}}}
        .dump(1);
}

}  // namespace postern
