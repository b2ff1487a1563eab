// SPDX-License-Identifier: BSD-3-Clause
// `log follow`: the records of packets that the log gets, as they come.
#include "commands/context.h"
#include "log/record_log.h"

namespace postern {
namespace {

constexpr std::string_view kVerdicts[] = {"accept", "drop", "reject"};

/// The conditions of one client.
struct RecordFilter {
    std::optional<std::uint8_t> protocol;
    std::optional<Prefix> src, dst;
    std::optional<Be16> sport, dport;
    std::optional<std::size_t> verdict;
    std::optional<DropReason> reason;
    std::optional<std::string> rule;

    bool matches(const Plan& plan, const PacketRecord& r) const {
        const auto in = [&](const std::optional<Prefix>& prefix, const IpAddr& address) {
            return !prefix || (r.family != Family::none && prefix->contains(address));
        };
        return (!protocol || (r.family != Family::none && r.protocol == *protocol)) &&
               in(src, source_of(r)) && in(dst, destination_of(r)) &&
               (!sport || r.sport == *sport) && (!dport || r.dport == *dport) &&
               (!verdict || static_cast<std::size_t>(r.fate) == *verdict) &&
               (!reason || (r.fate != Fate::accept && r.why == *reason)) &&
               (!rule || rule_of(plan, r) == rule);
    }
};

class FollowSource : public RowSource {
  public:
    FollowSource(RecordLog& log, std::function<bool(const PacketRecord&)> wanted,
                 std::optional<std::uint32_t> count)
        : log_(log), left_(count) {
        follower_.wanted = std::move(wanted);
        log_.add(follower_);
    }
    ~FollowSource() override { log_.remove(follower_); }
    FollowSource(const FollowSource&) = delete;
    FollowSource& operator=(const FollowSource&) = delete;

    Pull next(Json& row) override {
        if (!greeted_) {  // so that a script knows from which moment on it misses nothing
            greeted_ = true;
            row["event"] = "listening";
            return Pull::row;
        }
        if (left_ == 0u) return Pull::done;
        if (follower_.waiting.empty()) log_.turn();
        if (follower_.waiting.empty()) {
            if (follower_.lost == 0) return Pull::pending;
            row["event"] = "lost";
            row["events"] = std::exchange(follower_.lost, 0);
            return Pull::row;
        }
        row = std::move(follower_.waiting.front());
        follower_.waiting.pop_front();
        if (left_) --*left_;
        return Pull::row;
    }

  private:
    RecordLog& log_;
    RecordLog::Follower follower_;
    std::optional<std::uint32_t> left_;
    bool greeted_ = false;
};

std::vector<std::string> reason_words() {
    std::vector<std::string> all;
    for (unsigned r = 1; r < kDropReasons; ++r)
        all.emplace_back(drop_reason_table()[r].name);
    return all;
}

Source follow(Firewall& fw, RecordLog& log, const Json& args) {
    const Plan& plan = fw.plan();
    Args a(plan, args);
    RecordFilter f;
    f.protocol = a.protocol("proto");
    f.src = a.prefix("src");
    f.dst = a.prefix("dst");
    f.sport = a.port("sport");
    f.dport = a.port("dport");
    f.verdict = a.word("verdict", kVerdicts);
    const auto words = reason_words();
    const std::vector<std::string_view> reasons(words.begin(), words.end());
    if (const auto i = a.word("reason", reasons)) f.reason = static_cast<DropReason>(*i + 1);
    if (args.contains("rule")) {
        f.rule = args.value("rule", std::string());
        if (*f.rule != kDefaultRule)
            if (const auto id = a.rule("rule")) f.rule = plan.rule_name(*id);  // in its own case
    }
    const auto count = a.uint("count", UINT32_MAX);
    if (!a.problem.empty()) return Error{a.problem};
    return Source(std::make_unique<FollowSource>(
        log, [&fw, f](const PacketRecord& r) { return f.matches(fw.plan(), r); }, count));
}

}  // namespace

Command command_log_follow(const CommandContext& context) {
    Firewall& fw = context.fw;
    const auto names = [plan = plan_of(context)] {
        auto all = rule_names(plan)();
        all.emplace_back(kDefaultRule);
        return all;
    };
    return {
        .name = "log follow",
        .help = "Show the records of packets that the configuration logs, until interrupted",
        .args = {{"proto", ArgType::scalar, false, "tcp, udp, … or a number"},
                 {"src", ArgType::prefix, false, "its source lies in this prefix"},
                 {"dst", ArgType::prefix, false, "its destination lies in this prefix"},
                 {"sport", ArgType::integer, false, "its source port"},
                 {"dport", ArgType::integer, false, "its destination port"},
                 {.name = "verdict", .help = "what became of it", .values = words_of(kVerdicts)},
                 {.name = "reason", .help = "why it was dropped", .values = reason_words()},
                 {.name = "rule",
                  .help = "name of the rule that decided, or `default`",
                  .candidates = names},
                 {"count", ArgType::integer, false, "end after this many records"}},
        .handler = [&fw, log = context.log](const Json& args) { return follow(fw, *log, args); },
        .effect = Effect::read,
        .columns = {{"TIME", {"time"}},
                    {"VERDICT", {"verdict"}},
                    {"RULE", {"rule"}},
                    {"REASON", {"reason"}},
                    {"IN", {"in"}},
                    {"PROTO", {"proto"}},
                    {"SOURCE", {"src", "sport"}, CellForm::endpoint},
                    {"DESTINATION", {"dst", "dport"}, CellForm::endpoint},
                    {"FLAGS", {"tcp_flags"}},
                    number("BYTES", "bytes"),
                    {"ID", {"id"}}},
        .endless = true};
}

}  // namespace postern
