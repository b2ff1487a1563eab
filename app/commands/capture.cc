// SPDX-License-Identifier: BSD-3-Clause
// `capture`: packets as they come, leave, or are dropped.
//
// The first row names the interfaces, in the order of their numbers; then a row a packet, with its
// bytes as base64 in `frame`. A row {"event": "lost"} stands where records are missing. The last
// row has the totals, and the bound that ended it.
#include "base/base64.h"
#include "commands/context.h"
#include "commands/tap_args.h"
#include "tap_rows.h"

namespace postern {
namespace {

constexpr std::string_view kPoints[] = {"receive", "drop", "transmit", "all"};
constexpr std::string_view kForms[] = {"full", "frames"};
constexpr std::uint32_t kSnap = 2048, kMinSnap = 64;
constexpr std::uint32_t kBytes = 1u << 30;

/// A row about the stream itself: `event`, and what people read in the column of comments.
Json event_row(const char* event, const std::string& comment) {
    return {{"event", event}, {"at", event}, {"comment", comment}};
}

class CaptureSource : public RowSource {
  public:
    struct Bounds {
        std::uint64_t packets = kTapPackets, bytes = kBytes;
    };
    CaptureSource(Firewall& fw, std::unique_ptr<TapReader> reader, Bounds bounds, bool frames_only)
        : fw_(fw), reader_(std::move(reader)), bounds_(bounds), frames_only_(frames_only) {}

    Pull next(Json& row) override {
        if (!greeted_) {  // so that a script knows from which moment on it misses nothing
            greeted_ = true;
            row = event_row("listening", "from here on");
            row["interfaces"] = Json::array();
            for (const PortPlan& port : fw_.plan().ports)
                row["interfaces"].push_back(port.name);
            return Pull::row;
        }
        if (reader_ == nullptr) return Pull::done;
        if (const std::uint64_t lost = reader_->newly_lost(); lost != 0) {
            row = event_row("lost", std::to_string(lost) + " packets: too fast for their reader");
            row["events"] = lost;
            return Pull::row;
        }
        if (packets_ == bounds_.packets) return end(row, "packets");
        const TapRecord* record = reader_->front();
        if (record == nullptr) return reader_->is_over() ? end(row, "time") : Pull::pending;
        if (bytes_ + record->kept > bounds_.bytes) return end(row, "bytes");
        show(row, *record);
        ++packets_;
        bytes_ += record->kept;
        reader_->drop_front();
        return Pull::row;
    }

  private:
    void show(Json& row, const TapRecord& r) {
        const auto now = std::chrono::steady_clock::now();
        if (now >= set_clock_) {
            clock_ = TscWall::now();
            set_clock_ = now + std::chrono::seconds(1);
        }
        if (frames_only_)
            row = {{"event", "packet"},
                   {"at", to_string(r.point)},
                   {"comment", tap_comment(fw_.plan(), r)}};
        else
            row = tap_row(fw_.plan(), r, clock_);
        row["interface"] = tap_port(r);
        row["time_ns"] = clock_.us(r.packet.tsc) * 1000;
        row["length"] = r.packet.frame_bytes;
        std::string text;
        append_base64(text, {reinterpret_cast<const char*>(r.bytes), r.kept});
        row["frame"] = std::move(text);
    }
    Pull end(Json& row, const char* cause) {
        row = event_row("end", std::string("the bound of ") + cause + " is reached");
        row["cause"] = cause;
        row["packets"] = packets_;
        row["bytes"] = bytes_;
        row["lost"] = reader_->lost();
        reader_.reset();
        return Pull::row;
    }

    Firewall& fw_;
    std::unique_ptr<TapReader> reader_;  ///< null: the last row has been given
    Bounds bounds_;
    bool frames_only_, greeted_ = false;
    std::uint64_t packets_ = 0, bytes_ = 0;
    TscWall clock_ = TscWall::now();
    std::chrono::steady_clock::time_point set_clock_;
};

std::vector<std::string> drop_reason_words() {
    std::vector<std::string> all;
    for (unsigned r = 1; r < kDropReasons; ++r)
        all.emplace_back(drop_reason_table()[r].name);
    return all;
}

/// "receive", "receive,drop", ...
void read_points(Args& args, const std::string& text, TapConfig& config) {
    for (std::size_t at = 0; at <= text.size();) {
        const std::size_t end = std::min(text.find(',', at), text.size());
        const std::string word = text.substr(at, end - at);
        at = end + 1;
        const bool all = word == "all";
        if (!all && word != "receive" && word != "drop" && word != "transmit")
            return args.wrong("at",
                              "expected receive, drop, transmit or all, or some of them with "
                              "commas between, found '" +
                                  word + "'");
        config.receive |= all || word == "receive";
        config.drop |= all || word == "drop";
        config.transmit |= all || word == "transmit";
    }
}

Source capture(Firewall& fw, const Json& json) {
    Args args(fw.plan(), json);
    TapConfig config;
    config.filter = read_filter(args, json);
    const auto words = drop_reason_words();
    const std::vector<std::string_view> reasons(words.begin(), words.end());
    const auto reason = args.word("reason", reasons);
    if (reason) {
        config.reasons.reset();
        config.reasons.set(*reason + 1);
    }
    read_points(args, json.value("at", reason ? "drop" : "all"), config);
    if (reason && (config.receive || config.transmit))
        args.wrong("reason", "it is for at=drop only");
    config.snap = args.uint("snap", TapConfig::kMaxSnap).value_or(kSnap);
    if (config.snap < kMinSnap) args.wrong("snap", "expected at least " + std::to_string(kMinSnap));
    CaptureSource::Bounds bounds;
    bounds.packets = args.uint("packets", UINT32_MAX).value_or(kTapPackets);
    bounds.bytes = args.uint("bytes", UINT32_MAX).value_or(kBytes);
    const std::uint32_t seconds = read_time(args);
    const auto form = args.word("form", kForms);
    if (!args.problem.empty()) return Error{args.problem};
    auto reader = TapReader::start(fw, std::move(config), seconds);
    if (!reader) return reader.error();
    return Source(std::make_unique<CaptureSource>(fw, std::move(*reader), bounds, form == 1u));
}

}  // namespace

Command command_capture(const CommandContext& context) {
    Firewall& fw = context.fw;
    return {.name = "capture",
            .help =
                "Show packets as they come, leave or are dropped, with their verdict; -w writes "
                "them into a pcapng file, or to standard output (-)",
            .args = {filter_arg(),
                     {.name = "at",
                      .help = "where: some of these, with commas between (default: all)",
                      .values = words_of(kPoints)},
                     {.name = "reason",
                      .help = "packets dropped for this reason only",
                      .values = drop_reason_words()},
                     {"snap", ArgType::integer, false,
                      "keep this many bytes of each (default: 2048, 64 to 16384)"},
                     packets_arg(),
                     {"bytes", ArgType::integer, false,
                      "end after this many bytes of packets (default: 1073741824)"},
                     time_arg(),
                     {.name = "form",
                      .help = "fields of the rows: full (the default), or frames, their bytes and "
                              "comments only",
                      .values = words_of(kForms)}},
            .handler = [&fw](const Json& args) { return capture(fw, args); },
            // Shows payload.
            .effect = Effect::write,
            .columns = {{"TIME", {"time"}},
                        {"AT", {"at"}},
                        ranked(2, {"IN", {"in"}}),
                        ranked(3, {"OUT", {"out"}}),
                        {"PROTO", {"proto"}},
                        {"SOURCE", {"src", "sport"}, CellForm::endpoint},
                        {"DESTINATION", {"dst", "dport"}, CellForm::endpoint},
                        ranked(1, {"FLAGS", {"tcp_flags"}}),
                        number("BYTES", "bytes"),
                        {"COMMENT", {"comment"}}},
            .endless = true,
            .file = FileUse::packets};
}

}  // namespace postern
