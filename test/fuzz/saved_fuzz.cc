// SPDX-License-Identifier: BSD-3-Clause
// Files of saved connections: what is taken from one can be written and read again without loss,
// and a helper can go on from whatever private state and stream it was given.
//
// Input: a file in either form. Of the JSON form, lines that are no record are payload, said in
// turn by client and server of the connection before them, whose helper reads them. What was read
// is written in the binary form and read again, as it is and with some bytes changed. Input that
// begins with "R" is records of the binary form, without blocks, whose checksums nobody finds by
// chance.
#include <sstream>
#include <string_view>

#include "require.h"
#include "state/record_reader.h"
#include "state/record_writer.h"
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

/// Reads a file in pieces; all that is read is sound. Returns the records, as JSON.
std::vector<Json> read_file(const SavedSetting& s, std::string_view file, bool& whole) {
    RecordReader reader(s.plan, *s.helpers);
    std::vector<Json> out;
    for (SavedRecord record;;) {
        switch (reader.next(record)) {
            case RecordReader::Next::record:
                if (const auto* c = std::get_if<SavedConnection>(&record)) {
                    check(s, *c);
                    out.push_back(s.record_of(*c));
                } else {
                    check(std::get<SavedExpectation>(record));
                }
                break;
            case RecordReader::Next::bad:
                require(!reader.problem().empty(), "an error without words");
                require(reader.fault() != RecordFault::none, "an error without a cause");
                break;
            case RecordReader::Next::more: {
                const std::string_view piece = file.substr(0, 1000);
                reader.feed(piece);
                file.remove_prefix(piece.size());
                if (file.empty()) reader.feed_end();
                break;
            }
            case RecordReader::Next::end:
                whole = reader.is_whole();
                require(whole == reader.problem().empty(), "an end without words");
                return out;
        }
    }
}

/// Records as a file whose checksums are right.
std::string in_blocks(std::string_view records) {
    std::string out(state_wire::kMagic);
    const std::uint32_t format = state_wire::kFormat;
    out.append(reinterpret_cast<const char*>(&format), sizeof format);
    state_wire::BlockHeader header;
    for (; !records.empty(); ++header.number) {
        const std::string_view part = records.substr(0, state_wire::kMaxRecords);
        header.bytes = static_cast<std::uint32_t>(part.size());
        header.crc = header.crc_of(part.data());
        out.append(reinterpret_cast<const char*>(&header), sizeof header);
        out += part;
        records.remove_prefix(part.size());
    }
    return out;
}
/// The records of a file of one block.
std::string out_of_block(const std::string& file) {
    const std::size_t start =
        state_wire::kMagic.size() + sizeof state_wire::kFormat + sizeof(state_wire::BlockHeader);
    return file.size() < start ? std::string() : file.substr(start);
}

/// In the binary form it is the same, and with changes nothing unsound.
void check_binary(const SavedSetting& s, const std::vector<SavedConnection>& all,
                  std::uint32_t seed) {
    RecordWriter writer(
        {.saved_ms = 1, .boot_ms = 3, .boot_id = "b", .host = "h", .plan_digest = 2});
    writer.set_plan(s.plan, *s.helpers);
    std::vector<Json> expected;
    for (const SavedConnection& c : all) {
        Conn conn = c.image.conn;
        if (c.image.helper.there) conn.helper = c.image.helper.conn.helper;
        conn.master = c.master;
        conn.last_seen_ms = conn.start_ms = 0u - c.idle_ms;
        require(writer.connection(c.id, conn, &c.image.helper, Tick{}), "a zone was lost");
        expected.push_back(s.record_of(c));
    }
    writer.finish();
    std::string file;
    writer.take(file);
    bool whole = false;
    const auto again = read_file(s, file, whole);
    require(whole, "what was written is not whole");
    for (std::size_t i = 0; i < expected.size(); ++i) {
        // Without an id record_of() gives it one.
        if (!all[i].id) continue;
        require(again.at(i) == expected[i], "the binary form is another");
    }
    std::string records = out_of_block(file);
    for (unsigned n = 0; n < 4 && !records.empty(); ++n) {
        seed = seed * 1664525u + 1013904223u;
        records[seed % records.size()] = static_cast<char>(seed >> 24);
        read_file(s, in_blocks(records), whole);
    }
}

}  // namespace
}  // namespace postern

extern "C" int LLVMFuzzerInitialize(int*, char***) {
    return 0;
}
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace postern;
    static SavedSetting setting;
    const std::string text(reinterpret_cast<const char*>(data), size);
    bool whole = false;
    read_file(setting, text, whole);
    if (text.starts_with('R')) read_file(setting, in_blocks(text.substr(1)), whole);
    std::vector<SavedConnection> all;
    std::uint32_t seed = static_cast<std::uint32_t>(size);
    for (const char c : text)
        seed = seed * 31 + static_cast<unsigned char>(c);
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
            if (all.size() < 16) all.push_back(*connection);
        } else {
            check(std::get<SavedExpectation>(*read));
        }
    }
    if (!all.empty()) check_binary(setting, all, seed);
    return 0;
}
