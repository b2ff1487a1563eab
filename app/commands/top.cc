// SPDX-License-Identifier: BSD-3-Clause
// `top`: who has the most: sources, destinations or rules, by what their connections carry in some
// seconds; and whose packets the limits drop.
#include <algorithm>
#include <chrono>
#include <map>
#include <tuple>

#include "commands/context.h"
#include "conn_conditions.h"
#include "tap_reader.h"
#include "tap_rows.h"
#include "top_sums.h"

namespace postern {
namespace {

constexpr std::string_view kOf[] = {"sources", "destinations", "rules", "limits"};
enum class Of : std::uint8_t {
    sources,
    destinations,
    rules,
    limits
};
constexpr std::string_view kBy[] = {"bytes", "packets", "connections", "new"};
constexpr std::uint32_t kPeriod = 2, kMaxPeriod = 60;
constexpr std::uint32_t kCount = 20;
/// Work in one call of next(): about a millisecond.
constexpr unsigned kStep = 4096;
/// Conditions whose answer is the same in both passes.
constexpr std::string_view kConditions[] = {"zone",  "from",   "to",    "family", "proto",
                                            "src",   "dst",    "sport", "dport",  "mark",
                                            "label", "helper", "rule"};

/// `seconds` 0: there was no period.
Json a_second(std::uint64_t n, double seconds) {
    if (seconds == 0) return nullptr;
    return static_cast<std::uint64_t>(static_cast<double>(n) / seconds + 0.5);
}

/// Two passes over the connections, with the period from one beginning to the other. Without a
/// period the second one only: totals so far.
class SumsSource : public RowSource {
  public:
    SumsSource(Firewall& fw, std::shared_ptr<QueryOwners> owners, ConnFilter filter, Of of,
               TopSums::By by, std::uint32_t period_s, std::size_t count)
        : fw_(fw),
          names_(fw),
          owners_(std::move(owners)),
          filter_(std::move(filter)),
          of_(of),
          period_(period_s),
          count_(count),
          sums_(by, HashSecret::random()),
          second_(period_s == 0) {
        begin_pass();
    }

    Pull next(Json& row) override {
        if (queries_ == nullptr && !second_) {
            if (Clock::now() < begun_ + period_) return Pull::pending;
            second_ = true;
            seconds_ = std::chrono::duration<double>(Clock::now() - begun_).count();
            begin_pass();
        }
        for (unsigned n = 0; queries_ != nullptr && n < kStep; ++n) {
            ConnQuery::Row found;
            const Pull pull = queries_->next(found);
            if (pull == Pull::pending) return Pull::pending;
            if (pull == Pull::row) {
                add(found);
                continue;
            }
            queries_.reset();
            if (second_) rows_ = sums_.largest(count_);
        }
        if (queries_ != nullptr || !second_) return Pull::pending;
        if (at_ == rows_.size()) return Pull::done;
        row = row_of(rows_[at_++]);
        return Pull::row;
    }

  private:
    using Clock = std::chrono::steady_clock;

    void begin_pass() {
        if (!second_) begun_ = Clock::now();
        queries_ = std::make_unique<ConnQueries>(fw_, owners_, ConnQuery::Action::list, filter_);
    }
    void add(const ConnQuery::Row& found) {
        const Conn& c = found.conn;
        TopSums::Key key;
        if (of_ == Of::sources) key.address = c.tuple().src;
        if (of_ == Of::destinations) key.address = c.tuple().dst;
        if (of_ == Of::rules) key.number = c.rule.number();
        TopSums::Sum sum;
        sum.bytes = c.bytes(Direction::original) + c.bytes(Direction::reply);
        sum.packets = c.packets(Direction::original) + c.packets(Direction::reply);
        if (!second_) return sums_.add_before(key, sum);
        sum.connections = 1;
        const std::int32_t age_ms = found.now - Tick{c.start_ms};
        sum.fresh = age_ms >= 0 && age_ms < static_cast<std::int32_t>(seconds_ * 1000) ? 1 : 0;
        sums_.add(key, sum);
    }
    Json row_of(const TopSums::Row& r) const {
        std::string name = r.key.address.to_string();
        if (of_ == Of::rules)
            name = r.key.number == kNoRule.number() ? std::string("-")
                                                    : fw_.plan().names.rules.name(r.key.number);
        constexpr const char* kFields[] = {"source", "destination", "rule"};
        return {{"name", name},
                {"of", kFields[static_cast<unsigned>(of_)]},
                {"bytes", r.sum.bytes},
                {"packets", r.sum.packets},
                {"bytes_s", a_second(r.sum.bytes, seconds_)},
                {"packets_s", a_second(r.sum.packets, seconds_)},
                {"connections", r.sum.connections},
                {"new", r.sum.fresh},
                {"new_s", a_second(r.sum.fresh, seconds_)},
                {"reason", nullptr},
                {"dropped", nullptr}};
    }

    Firewall& fw_;
    Firewall::NamesHold names_;
    std::shared_ptr<QueryOwners> owners_;
    ConnFilter filter_;
    Of of_;
    std::chrono::seconds period_;
    std::size_t count_;
    TopSums sums_;
    bool second_;                           ///< the second pass has begun
    std::unique_ptr<ConnQueries> queries_;  ///< of the pass; null: between passes, or after them
    Clock::time_point begun_;
    double seconds_ = 0;  ///< from the beginning of the first pass to that of the second
    std::vector<TopSums::Row> rows_;
    std::size_t at_ = 0;
};

constexpr DropReason kLimitReasons[] = {
    DropReason::ct_table_full, DropReason::source_half_open, DropReason::source_rate,
    DropReason::worker_rate,   DropReason::zone_full,        DropReason::fragment_full,
    DropReason::helper,        DropReason::expect,           DropReason::rule_rate,
    DropReason::rule_at_once,  DropReason::rule_source_rate, DropReason::rule_source_at_once};

/// Counts records of dropped packets by source and reason.
class LimitsSource : public RowSource {
  public:
    LimitsSource(Firewall& fw, std::unique_ptr<TapReader> reader, std::size_t count)
        : fw_(fw), reader_(std::move(reader)), most_(count) {}

    Pull next(Json& row) override {
        if (reader_ != nullptr) {
            for (unsigned n = 0; n < kStep; ++n) {
                const TapRecord* r = reader_->front();
                if (r == nullptr) break;
                take(*r);
                reader_->drop_front();
            }
            if (!reader_->is_over() || reader_->front() != nullptr) return Pull::pending;
            finish();
        }
        if (at_ == rows_.size()) return Pull::done;
        row = std::move(rows_[at_++]);
        return Pull::row;
    }

  private:
    static constexpr std::size_t kSources = 4096;  ///< beyond them packets count as "others"
    using Key = std::tuple<IpAddr, DropReason>;

    void take(const TapRecord& r) {
        Key key{source_of(r.packet), r.packet.why};
        if (counts_.size() >= kSources && !counts_.contains(key)) key = {IpAddr{}, r.packet.why};
        ++counts_[key];
    }
    void finish() {
        for (const auto& [key, n] : counts_)
            rows_.push_back(row_of(std::get<0>(key), std::string(to_string(std::get<1>(key))), n));
        std::ranges::stable_sort(rows_, [](const Json& a, const Json& b) {
            return a["dropped"].get<std::uint64_t>() > b["dropped"].get<std::uint64_t>();
        });
        if (rows_.size() > most_) rows_.resize(most_);
        // Too fast for their ring: of unknown sources.
        if (const std::uint64_t lost = reader_->lost(); lost != 0)
            rows_.push_back(row_of({}, "not counted by source", lost));
        reader_.reset();
    }
    static Json row_of(const IpAddr& source, const std::string& reason, std::uint64_t n) {
        return {{"name", source.family == Family::none ? "others" : source.to_string()},
                {"of", "limit"},
                {"bytes_s", nullptr},
                {"packets_s", nullptr},
                {"connections", nullptr},
                {"new_s", nullptr},
                {"reason", reason},
                {"dropped", n}};
    }

    Firewall& fw_;
    std::unique_ptr<TapReader> reader_;  ///< null: all has been counted
    std::size_t most_;
    std::map<Key, std::uint64_t> counts_;
    std::vector<Json> rows_;
    std::size_t at_ = 0;
};

Source top(Firewall& fw, const std::shared_ptr<QueryOwners>& owners, Json json) {
    Args args(fw.plan(), json);
    const auto of = static_cast<Of>(args.word("of", kOf).value_or(0));
    const auto by = static_cast<TopSums::By>(args.word("by", kBy).value_or(0));
    const std::uint32_t period = args.time("period", kMaxPeriod).value_or(kPeriod);
    const std::uint32_t count =
        args.uint("count", static_cast<std::uint32_t>(TopSums::kKept)).value_or(kCount);
    if (!args.problem.empty()) return Error{args.problem};
    for (const char* own : {"of", "by", "period", "count"})
        json.erase(own);
    if (of == Of::limits) {
        if (!json.empty())
            return Error{json.begin().key() +
                         ": conditions are for connections; a packet that a "
                         "limit drops has none"};
        TapConfig config;
        config.drop = config.for_top = true;
        config.reasons.reset();
        for (const DropReason why : kLimitReasons)
            config.reasons.set(static_cast<unsigned>(why));
        auto reader = TapReader::start(fw, std::move(config), period);
        if (!reader) return reader.error();
        return Source(std::make_unique<LimitsSource>(fw, std::move(*reader), count));
    }
    auto filter = read_connection_filter(fw.plan(), json);
    if (!filter) return filter.error();
    return Source(std::make_unique<SumsSource>(fw, owners, *filter, of, by, period, count));
}

}  // namespace

Command command_top(const CommandContext& context) {
    std::vector<ArgSpec> args{
        {.name = "of",
         .help =
             "sources (the default), destinations, rules; limits: whose packets the limits drop",
         .values = words_of(kOf),
         .positional = true},
        {.name = "by", .help = "in the order of: bytes (the default), …", .values = words_of(kBy)},
        {"period", ArgType::time, false,
         "watch for this time (default: 2s, at most 1m; 0: totals so far)"},
        {"count", ArgType::integer, false, "the first N (default: 20, at most 256)"}};
    for (ArgSpec& condition : connection_conditions(plan_of(context)))
        if (std::ranges::find(kConditions, condition.name) != std::end(kConditions))
            args.push_back(std::move(condition));
    return {.name = "top",
            .help = "Show who has the most: bytes, packets, connections, new connections a second",
            .args = std::move(args),
            .handler = [&fw = context.fw, owners = context.query_owners](
                           const Json& json) { return top(fw, owners, json); },
            .effect = Effect::read,
            .columns = {{"OF", {"of"}},
                        {"NAME", {"name"}},
                        number("BYTES/S", "bytes_s"),
                        number("PACKETS/S", "packets_s"),
                        number("CONNECTIONS", "connections"),
                        number("NEW/S", "new_s"),
                        ranked(1, {"REASON", {"reason"}}),
                        ranked(1, number("DROPPED", "dropped"))}};
}

}  // namespace postern
