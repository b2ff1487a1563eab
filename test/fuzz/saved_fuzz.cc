// SPDX-License-Identifier: BSD-3-Clause
// Files of saved connections: what is taken from one can be written and read again without loss,
// and a helper can go on from whatever private state and stream it was given.
//
// Input: the lines of such a file. Lines that are no record are payload, said in turn by client and
// server of the connection before them, whose helper reads them.
#include <sstream>
#include <string_view>

#include "require.h"
#include "state_file.h"
#include "support/saved.h"

namespace postern {
namespace {

/// A connection whose helper goes on.
class Resumed {
  public:
    explicit Resumed(SavedSetting& s) : s_(s) {}
    ~Resumed() { end(); }
    Resumed(const Resumed&) = delete;
    Resumed& operator=(const Resumed&) = delete;

    void begin(const SavedConnection& saved) {
        end();
        if (!saved.image.helper.there) return;
        tcp_ = saved.image.conn.protocol() == proto::tcp;
        const Tuple original = saved.image.conn.tuple();
        conn_ = s_.engine->resume(
            saved.image.helper,
            Applicant{.helper = saved.image.helper.conn.helper, .original = original, .owner = 1});
        require(conn_ != nullptr, "a slot was lost");
        // Saved again, it is what it was; but for a stream that was none.
        HelperImage again;
        s_.engine->save(*conn_, again);
        require(again.conn.state == saved.image.helper.conn.state && !again.cut, "another state");
    }
    void say(std::string_view text) {
        if (conn_ == nullptr || conn_->helper == kNoHelper) return;
        const auto by = turn_++ % 2 == 0 ? Direction::original : Direction::reply;
        const Bytes bytes(reinterpret_cast<const std::uint8_t*>(text.data()), text.size());
        if (tcp_)
            s_.engine->on_segment(conn_, by, conn_->stream[index(by)].next_seq, 0x18, bytes, emit_);
        else
            s_.engine->on_datagram(conn_, by, bytes, emit_);
    }

  private:
    void end() {
        if (conn_ != nullptr) s_.engine->detach(conn_, emit_);
        conn_ = nullptr;
    }

    SavedSetting& s_;
    HelperConn* conn_ = nullptr;
    bool tcp_ = false;
    unsigned turn_ = 0;
    Emit emit_;
};

void check(const SavedSetting& s, const SavedConnection& saved) {
    const Conn& c = saved.image.conn;
    require(c.from_edge < s.plan.edges.size() && c.to_edge < s.plan.edges.size() &&
                c.timeouts() <= s.plan.timeout_names.size() &&
                (c.rule == kNoRule || c.rule.number() < s.plan.rules.size()),
            "a name that does not exist");
    require(home_of(s.steering, c).number() < s.steering.workers, "no such worker");
    const Json record = s.record_of(saved);
    auto again = read_record(s.plan, *s.helpers, record);
    require(again.ok(), "what was read and written cannot be read");
    require(s.record_of(std::get<SavedConnection>(*again)) == record, "something was lost");
}
void check(const SavedExpectation& saved) {
    const ExpectRequest& r = saved.request;
    require(r.class_index < kExpectClasses, "a class that does not exist");
    require(r.any_src() || r.src.address.family == r.dst.family, "two families");
    require(r.src.length <= address_bytes(r.src.address.family) * 8, "a prefix too long");
    require(r.timeout_ms <= INT32_MAX, "a timeout that ticks cannot hold");
}

}  // namespace
}  // namespace postern

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace postern;
    static SavedSetting setting;
    const std::string text(reinterpret_cast<const char*>(data), size);
    std::istringstream file(text);
    if (auto whole = read_state_file(file, "f")) {
        const std::size_t n = whole->connections.size();
        require(masters_first(std::move(whole->connections)).size() == n, "a connection was lost");
    }
    Resumed resumed(setting);
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
        const Json record = Json::parse(line, nullptr, false);
        if (record.is_discarded()) {
            resumed.say(line + "\r\n");
            continue;
        }
        auto read = read_record(setting.plan, *setting.helpers, record);
        if (!read) {
            require(!read.error().message.empty(), "an error without words");
        } else if (const auto* connection = std::get_if<SavedConnection>(&*read)) {
            check(setting, *connection);
            resumed.begin(*connection);
        } else {
            check(std::get<SavedExpectation>(*read));
        }
    }
    return 0;
}
