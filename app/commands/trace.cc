// SPDX-License-Identifier: BSD-3-Clause
// `trace`: the way of packets through the stages. Some rows a packet, one after the other: its
// arrival, each stage that it was in, its end.
#include <deque>

#include "commands/context.h"
#include "commands/tap_args.h"
#include "tap_rows.h"

namespace postern {
namespace {

/// For the headers of packets that become answers.
constexpr std::uint32_t kHeaders = 256;

class TraceSource : public RowSource {
  public:
    TraceSource(Firewall& fw, std::unique_ptr<TapReader> reader, std::uint64_t packets)
        : fw_(fw), reader_(std::move(reader)), left_(packets) {}

    Pull next(Json& row) override {
        if (!greeted_) {
            greeted_ = true;
            row = event("listening", "from here on");
            return Pull::row;
        }
        if (waiting_.empty()) {
            if (reader_ == nullptr) return Pull::done;
            if (const std::uint64_t lost = reader_->newly_lost(); lost != 0) {
                row = event("lost", std::to_string(lost) + " packets: too fast for their reader");
                row["events"] = lost;
                return Pull::row;
            }
            const TapRecord* record = left_ == 0 ? nullptr : reader_->front();
            if (record == nullptr && left_ != 0 && !reader_->is_over()) return Pull::pending;
            if (record == nullptr) return end(row);
            --left_;
            ++number_;
            for (Json& r : trace_rows(fw_.plan(), *record, TscWall::now(), number_))
                waiting_.push_back(std::move(r));
            reader_->drop_front();
        }
        row = std::move(waiting_.front());
        waiting_.pop_front();
        return Pull::row;
    }

  private:
    static Json event(const char* name, const std::string& text) {
        return {{"event", name}, {"stage", name}, {"text", text}};
    }
    Pull end(Json& row) {
        const char* const cause = left_ == 0 ? "packets" : "time";
        row = event("end", std::string("the bound of ") + cause + " is reached");
        row["cause"] = cause;
        row["packets"] = number_;
        row["lost"] = reader_->lost();
        reader_.reset();
        return Pull::row;
    }

    Firewall& fw_;
    std::unique_ptr<TapReader> reader_;  ///< null: the last row has been given
    std::uint64_t left_, number_ = 0;
    bool greeted_ = false;
    std::deque<Json> waiting_;
};

Source trace(Firewall& fw, const Json& json) {
    Args args(fw.plan(), json);
    TapConfig config;
    config.filter = read_filter(args, json);
    config.trace = true;
    config.snap = kHeaders;
    const std::uint32_t packets = args.uint("packets", UINT32_MAX).value_or(kTapPackets);
    const std::uint32_t seconds = read_time(args);
    if (!args.problem.empty()) return Error{args.problem};
    auto reader = TapReader::start(fw, std::move(config), seconds);
    if (!reader) return reader.error();
    return Source(std::make_unique<TraceSource>(fw, std::move(*reader), packets));
}

}  // namespace

Command command_trace(const CommandContext& context) {
    Firewall& fw = context.fw;
    return {.name = "trace",
            .help = "Show the way of packets through the stages: verdict, rule, connection, helper",
            .args = {filter_arg(), packets_arg(), time_arg()},
            .handler = [&fw](const Json& args) { return trace(fw, args); },
            // Shows who talks to whom, packet by packet, at the workers' cost.
            .effect = Effect::write,
            .columns = {number("PACKET", "packet"),
                        ranked(1, number("WORKER", "worker")),
                        {"STAGE", {"stage"}},
                        {"RESULT", {"text"}}},
            .endless = true};
}

}  // namespace postern
