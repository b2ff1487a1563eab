// SPDX-License-Identifier: BSD-3-Clause
// The JSON form: a line a record.
#include <algorithm>
#include <string>
#include <string_view>

#include "state/json_record.h"
#include "state/reader_forms.h"

namespace postern {
namespace {

using Next = RecordReader::Next;

constexpr std::uint64_t kLinesVersion = 1;
constexpr std::size_t kMaxLine = 1u << 20;        ///< bytes
constexpr std::uint64_t kMaxTimeMs = 1ull << 52;  ///< differences cannot overflow

bool has_number(const Json& body, const char* key) {
    return body.contains(key) && body[key].is_number_unsigned();
}

class LinesForm : public ReaderForm {
  public:
    explicit LinesForm(ReaderShared& shared) : s_(shared) {}

    void plan_changed() override {}

    Next next(SavedRecord& out) override {
        for (;;) {
            const auto rest = s_.rest();
            const auto newline = std::find(rest.begin() + static_cast<std::ptrdiff_t>(searched_),
                                           rest.end(), std::uint8_t{'\n'});
            std::size_t length = static_cast<std::size_t>(newline - rest.begin());
            if (length > kMaxLine) return s_.end(where("is too long for a record"));
            if (newline == rest.end() && !s_.over) {
                searched_ = length;
                return Next::more;
            }
            searched_ = 0;
            if (rest.empty()) return s_.end(ended_ ? "" : "is cut short");
            ++line_;
            const std::string_view text(reinterpret_cast<const char*>(rest.data()), length);
            const Json record = Json::parse(text, nullptr, false);
            s_.take(length + (newline == rest.end() ? 0 : 1));
            if (const auto next = read(record, out)) return *next;
        }
    }

  private:
    std::string where(const std::string& what) const {
        return "line " + std::to_string(line_) + ": " + what;
    }

    /// Nothing: it is no record for the caller.
    std::optional<Next> read(const Json& record, SavedRecord& out) {
        if (ended_) return s_.end(where("there is more after the end"));
        const bool is_object = record.is_object() && record.size() == 1;
        const std::string kind = is_object ? record.begin().key() : std::string();
        if (line_ == 1) return head(kind, record);
        if (!is_object) return s_.bad(where("expected an object with one key"));
        if (kind == "end") return end(record.front());
        RecordFault fault = RecordFault::none;
        auto read = read_record(*s_.plan, *s_.helpers, record, &fault);
        if (!read) return s_.bad(where(read.error().message), fault);
        out = std::move(*read);
        return Next::record;
    }

    std::optional<Next> head(const std::string& kind, const Json& record) {
        const Json body = kind == "postern_state" ? record.front() : Json();
        if (!body.is_object() || !has_number(body, "version") || !has_number(body, "saved_ms"))
            return s_.end(where("this is no file of `posternctl conntrack save`"));
        if (body["version"] != kLinesVersion)
            return s_.end(where("version " + body["version"].dump() + " of the file (expected " +
                                std::to_string(kLinesVersion) + ")"));
        const auto saved_ms = body["saved_ms"].get<std::uint64_t>();
        if (saved_ms > kMaxTimeMs)
            return s_.end(where("saved_ms is " + std::to_string(saved_ms) +
                                " (expected milliseconds since 1970)"));
        s_.header.saved_ms = static_cast<std::int64_t>(saved_ms);
        if (body.contains("host") && body["host"].is_string())
            s_.header.host = body["host"].get<std::string>();
        if (has_number(body, "plan_digest"))
            s_.header.plan_digest = body["plan_digest"].get<std::uint64_t>();
        if (has_number(body, "boot_ms") && body.contains("boot_id") &&
            body["boot_id"].is_string()) {
            const auto boot_ms = body["boot_ms"].get<std::uint64_t>();
            if (boot_ms > kMaxTimeMs)
                return s_.end(where("boot_ms is " + std::to_string(boot_ms) +
                                    " (expected milliseconds since the machine's start)"));
            s_.header.boot_ms = static_cast<std::int64_t>(boot_ms);
            s_.header.boot_id = body["boot_id"].get<std::string>();
        }
        s_.has_header = true;
        return std::nullopt;
    }

    std::optional<Next> end(const Json& body) {
        ended_ = true;
        const auto of = [&body](const char* key) {
            return body.is_object() && has_number(body, key) ? body[key].get<std::uint64_t>() : 0;
        };
        s_.totals.connections = of("connections");
        s_.totals.expectations = of("expectations");
        s_.totals.cut = of("cut");
        s_.totals.filtered = of("filtered");
        s_.totals.zone_gone = of("zone_gone");
        s_.totals.expectations_gone = of("expectations_gone");
        s_.totals.expectations_filtered = of("expectations_filtered");
        if (body.is_object() && has_number(body, "connections") && !s_.agrees())
            return s_.end(where("the number of records is another one than the end states"));
        return std::nullopt;
    }

    ReaderShared& s_;
    std::uint64_t line_ = 0;
    std::size_t searched_ = 0;  ///< bytes of the rest without an end of line
    bool ended_ = false;
};

}  // namespace

std::unique_ptr<ReaderForm> lines_form(ReaderShared& shared) {
    return std::make_unique<LinesForm>(shared);
}

}  // namespace postern
