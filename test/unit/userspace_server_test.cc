// SPDX-License-Identifier: BSD-3-Clause
// The sockets of helper processes, and the records on them; and the rings with a thread at each
// end.
#include <cstring>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "userspace/server.h"
#include "userspace/wire.h"

namespace postern {
namespace {

using Record = std::vector<std::uint8_t>;
using std::chrono::microseconds;

Record hello(unsigned version = 1) {
    Record r(wire::kHelloBytes);
    r[0] = 1;
    r[4] = wire::kHelloBytes;
    r[8] = static_cast<std::uint8_t>(version);
    return r;
}

/// "Accept", to question `number`, with `count` expectations of port 5000 on 192.0.2.2.
Record answer(unsigned number, unsigned count = 0) {
    Record r(wire::kAnswerBytes + count * wire::kExpectBytes);
    r[0] = 5;
    r[1] = 1;
    r[4] = static_cast<std::uint8_t>(r.size());
    r[5] = static_cast<std::uint8_t>(r.size() >> 8);
    r[12] = 1;
    std::memcpy(&r[16], &number, 4);
    r[20] = static_cast<std::uint8_t>(count);
    for (unsigned i = 0; i < count; ++i) {
        std::uint8_t* e = &r[wire::kAnswerBytes + i * wire::kExpectBytes];
        e[1] = proto::tcp;
        e[2] = 1;
        e[3] = 4;
        e[6] = 5000 & 0xff;
        e[7] = 5000 >> 8;
        const std::uint8_t dst[]{192, 0, 2, 2};
        std::memcpy(e + 32, dst, 4);
    }
    return r;
}

UserspaceHelper toy(const std::string& socket = {}, std::uint32_t queue = 4) {
    UserspaceHelper h;
    h.id = 1;
    h.name = "toy";
    h.socket = socket;
    h.data_bytes = 4;
    h.queue = queue;
    h.class_protocols = {proto::tcp};
    return h;
}

// ---- records ----

TEST(UserspaceWire, ReadsAnAnswerWithExpectations) {
    Record r = answer(0x01020304, 2);
    r[2] = 1 | 4;  // proven, state
    r[21] = 4;
    r[24] = 9;
    std::uint8_t* e = &r[wire::kAnswerBytes];
    e[2] = 2 | 4 | 8;
    e[4] = 20;
    e[8] = 24;
    e[12] = 60;
    e[16] = 198;
    Answer a;
    const char* wrong = wire::decode_answer(r, toy(), 1, a);
    ASSERT_EQ(wrong, nullptr) << wrong;
    EXPECT_EQ(a.number, 0x01020304u);
    EXPECT_EQ(a.conn.index, 1u);
    EXPECT_TRUE(a.proven && a.has_state && !a.drop && !a.give_up);
    EXPECT_EQ(a.state[0], 9);
    ASSERT_EQ(a.count, 2);
    const PinHole& h = a.requests[0];
    EXPECT_EQ(h.sport.host(), 20);
    EXPECT_FALSE(h.any_sport());
    EXPECT_EQ(h.dport.host(), 5000);
    EXPECT_EQ(h.src.length, 24);
    EXPECT_EQ(h.timeout_ms, 60'000u);
    EXPECT_EQ(h.flags, expect_flag::permanent | expect_flag::skip_master);
    EXPECT_TRUE(h.announced_by_listener);
    EXPECT_EQ(h.dst.to_string(), "192.0.2.2");
    EXPECT_TRUE(a.requests[1].any_sport());
}

TEST(UserspaceWire, EveryByteOfAnAnswerThatHasARangeIsChecked) {
    struct Case {
        const char* words;
        std::size_t at;
        std::uint8_t value;
    };
    const std::size_t e = wire::kAnswerBytes;
    for (const Case& c : {Case{"not an answer", 0, 4},
                          {"verdict", 1, 3},
                          {"verdict", 1, 0},
                          {"mean nothing", 2, 8},
                          {"in its head", 4, 1},
                          {"worker", 8, 1},
                          {"number of its", 20, 2},
                          {"more than 16", 20, 17},
                          {"declared", 21, 5},
                          {"mean nothing", 22, 1},
                          {"longer than it says", 30, 1},
                          {"class", e, 1},
                          {"protocol", e + 1, proto::udp},
                          {"mean nothing", e + 2, 16},
                          {"family", e + 3, 5},
                          {"mean nothing", e + 9, 1},
                          {"prefix", e + 8, 33},
                          {"timeout", e + 15, 0x40},
                          {"zeros", e + 20, 1},
                          {"zeros", e + 36, 1}}) {
        Record r = answer(1, 1);
        r[c.at] = c.value;
        Answer a;
        const char* wrong = wire::decode_answer(r, toy(), 1, a);
        ASSERT_NE(wrong, nullptr) << "byte " << c.at;
        EXPECT_NE(std::string(wrong).find(c.words), std::string::npos) << c.at << ": " << wrong;
    }
    Record port = answer(1, 1);
    port[e + 6] = port[e + 7] = 0;
    Answer a;
    EXPECT_NE(wire::decode_answer(port, toy(), 1, a), nullptr);
}

TEST(UserspaceWire, NoCutRecordIsTaken) {
    const Record whole = answer(1, 2);
    for (std::size_t n = 0; n < whole.size(); ++n) {
        Record r(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(n));
        Answer a;
        EXPECT_NE(wire::decode_answer(r, toy(), 1, a), nullptr) << n;
        if (n >= wire::kHeadBytes) {  // also when it says so itself
            r[4] = static_cast<std::uint8_t>(n);
            EXPECT_EQ(wire::decode_answer(r, toy(), 1, a) == nullptr, false) << n;
        }
    }
    EXPECT_EQ(wire::check_hello(hello()), nullptr);
    EXPECT_NE(wire::check_hello(hello(2)), nullptr);
    for (std::size_t n = 0; n < wire::kHelloBytes; ++n)
        EXPECT_NE(wire::check_hello(Bytes(hello()).first(n)), nullptr);
}

// ---- sockets ----

class UserspaceSockets : public ::testing::Test {
  protected:
    void SetUp() override {
        char name[] = "/tmp/postern_userspace_XXXXXX";
        folder_ = ::mkdtemp(name);
        make({toy(path())});
    }
    void TearDown() override {
        server_.reset();
        ::rmdir(folder_.c_str());
    }
    std::string path() const { return folder_ + "/toy.sock"; }
    void make(std::vector<UserspaceHelper> helpers) {
        server_.reset();
        link_ = std::make_unique<UserspaceLink>(std::move(helpers), 1, 64);
        auto opened = UserspaceServer::open(
            *link_, {.now = [this] { return now_; }, .log = [this](const auto& s) { log_ = s; }});
        ASSERT_TRUE(opened) << opened.error().message;
        server_ = std::move(opened).value();
    }
    /// Rounds until nothing happens any more.
    void serve_all() {
        while (server_->poll(microseconds(0))) {
        }
    }
    UniqueFd connect() {
        UniqueFd fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0));
        sockaddr_un a{};
        a.sun_family = AF_UNIX;
        std::strcpy(a.sun_path, path().c_str());
        EXPECT_EQ(::connect(fd.get(), reinterpret_cast<sockaddr*>(&a), sizeof a), 0);
        return fd;
    }
    void say(const UniqueFd& fd, const Record& r) {
        ::send(fd.get(), r.data(), r.size(), MSG_NOSIGNAL);
        serve_all();
    }
    /// Type of the next record, 0 at the end, nothing when there is none; its text, in `text_`.
    std::optional<unsigned> hear(const UniqueFd& fd) {
        std::uint8_t b[1024];
        const ssize_t n = ::recv(fd.get(), b, sizeof b, 0);
        if (n < 0) return std::nullopt;
        text_.clear();
        if (n > 8) text_.assign(reinterpret_cast<char*>(b) + 8, static_cast<std::size_t>(n) - 8);
        return n == 0 ? 0u : b[0];
    }
    UniqueFd greeted() {
        UniqueFd fd = connect();
        say(fd, hello());
        EXPECT_EQ(hear(fd), 2u);
        return fd;
    }
    bool ask(unsigned number, std::string_view text, std::uint32_t within_ms = 100) {
        Question* q = link_->rings(WorkerId{0}).questions.reserve();
        if (q == nullptr) return false;
        q->kind = Question::Kind::message;
        q->helper = 1;
        q->number = number;
        q->conn = {1, 0, {}};
        q->deadline = now_ + within_ms;
        q->length = static_cast<std::uint16_t>(text.size());
        std::memcpy(q->bytes, text.data(), text.size());
        link_->rings(WorkerId{0}).questions.publish();
        return true;
    }
    const ProcessCounters& counters() { return server_->status(1)->counters; }

    Tick now_{1000};
    std::string folder_, log_, text_;
    std::unique_ptr<UserspaceLink> link_;
    std::unique_ptr<UserspaceServer> server_;
};

TEST_F(UserspaceSockets, QuestionGoesOutAnswerComesIn) {
    const UniqueFd process = greeted();
    EXPECT_TRUE(link_->connected(1));
    EXPECT_EQ(server_->status(1)->pid, ::getpid());
    EXPECT_FALSE(server_->status(2));
    ask(7, "DATA 5000\n");
    serve_all();
    EXPECT_EQ(hear(process), 4u);
    EXPECT_EQ(text_.substr(wire::kQuestionBytes - 8), "DATA 5000\n");
    say(process, answer(7, 1));
    Answer a;
    ASSERT_TRUE(link_->rings(WorkerId{0}).answers.pop(a));
    EXPECT_EQ(a.number, 7u);
    EXPECT_EQ(a.count, 1);
    EXPECT_EQ(counters().questions_sent.get(), 1u);
    EXPECT_EQ(counters().answers.get(), 1u);
}

TEST_F(UserspaceSockets, SecondProcessIsRefusedUntilTheFirstIsGone) {
    UniqueFd first = greeted();
    UniqueFd second = connect();
    serve_all();
    EXPECT_EQ(hear(second), 3u);
    EXPECT_NE(text_.find("serves helper toy"), std::string::npos) << text_;
    EXPECT_EQ(hear(second), 0u);
    EXPECT_EQ(counters().clients_refused.get(), 1u);
    EXPECT_TRUE(link_->connected(1));
    first.reset();
    const UniqueFd third = greeted();  // although nobody has noticed yet
    EXPECT_TRUE(link_->connected(1));
    EXPECT_EQ(counters().connects.get(), 2u);
}

TEST_F(UserspaceSockets, BadRecordsEndTheConnectionAndSayWhy) {
    unsigned bad = 0;
    for (const Record& r : {Record{1}, Record(4000, 5), Record(400, 5), hello(), answer(1, 17)}) {
        const UniqueFd process = greeted();
        say(process, r);
        EXPECT_EQ(hear(process), 3u);
        EXPECT_FALSE(text_.empty());
        EXPECT_NE(log_.find(text_), std::string::npos) << log_;
        EXPECT_EQ(hear(process), 0u);
        EXPECT_FALSE(link_->connected(1));
        EXPECT_EQ(counters().bad_records.get(), ++bad);
    }
    const UniqueFd process = connect();
    say(process, answer(1));
    EXPECT_EQ(hear(process), 3u);
}

TEST_F(UserspaceSockets, WhoSaysNothingMakesRoom) {
    const UniqueFd silent = connect();
    serve_all();
    EXPECT_FALSE(link_->connected(1));
    now_ = now_ + 2000;
    serve_all();
    EXPECT_EQ(hear(silent), 3u);
    const UniqueFd process = greeted();
    EXPECT_TRUE(link_->connected(1));
}

TEST_F(UserspaceSockets, QuestionsWaitForAProcessUntilTheirTimeIsOver) {
    ask(1, "one\n", 10);
    ask(2, "two\n", 100);
    serve_all();
    now_ = now_ + 10;
    const UniqueFd process = greeted();
    serve_all();
    EXPECT_EQ(hear(process), 4u);
    EXPECT_EQ(text_.substr(wire::kQuestionBytes - 8), "two\n");
    EXPECT_FALSE(hear(process));
    EXPECT_EQ(counters().questions_expired.get(), 1u);
}

TEST_F(UserspaceSockets, ProcessThatDoesNotReadCostsABoundedList) {
    const UniqueFd process = greeted();
    unsigned asked = 0;
    while (counters().questions_lost.get() == 0 && asked < 100'000) {
        asked += ask(asked, "say\n");
        serve_all();
    }
    EXPECT_GT(counters().questions_lost.get(), 0u);
    now_ = now_ + 1000;
    serve_all();
    EXPECT_EQ(counters().questions_sent.get() + counters().questions_expired.get() +
                  counters().questions_lost.get(),
              asked);
    EXPECT_TRUE(link_->connected(1));
}

TEST_F(UserspaceSockets, SocketIsClaimedOnce) {
    UserspaceLink other({toy(path())}, 1, 64);
    const auto second =
        UserspaceServer::open(other, {.now = [this] { return now_; }, .log = [](const auto&) {}});
    ASSERT_FALSE(second);
    EXPECT_NE(second.error().message.find("another daemon"), std::string::npos);
    serve_all();
    server_.reset();
    EXPECT_NE(::access(path().c_str(), F_OK), 0) << "left behind";
}

// ---- a thread at each end ----

TEST_F(UserspaceSockets, ManyQuestionsFromAnotherThreadAreAnsweredInOrder) {
    make({toy(path(), 64)});
    constexpr unsigned kQuestions = 20'000;
    std::atomic<bool> stop{false};
    // Its clock stands still: the fixture's is not for several threads.
    std::thread serving([&] { server_->run(stop); });
    std::thread process([&] {
        const UniqueFd fd = connect();
        const Record h = hello();
        ::send(fd.get(), h.data(), h.size(), MSG_NOSIGNAL);
        std::uint8_t b[1024];
        while (!stop.load(std::memory_order_relaxed)) {
            const ssize_t n = ::recv(fd.get(), b, sizeof b, MSG_DONTWAIT);
            if (n <= 0 || b[0] != 4) {
                std::this_thread::yield();
                continue;
            }
            unsigned number;
            std::memcpy(&number, b + 16, 4);
            const Record a = answer(number, number % 3);
            ::send(fd.get(), a.data(), a.size(), MSG_NOSIGNAL);
        }
    });
    while (!link_->connected(1))
        std::this_thread::yield();
    unsigned asked = 0, answered = 0;
    while (answered < kQuestions) {
        // As a worker: never more than `queue` without an answer.
        while (asked < kQuestions && asked - answered < 64 && ask(asked, "say\n"))
            ++asked;
        Answer a;
        bool any = false;
        for (; link_->rings(WorkerId{0}).answers.pop(a); ++answered, any = true) {
            ASSERT_EQ(a.number, answered);
            ASSERT_EQ(a.count, answered % 3);
        }
        if (!any) std::this_thread::yield();
    }
    stop = true;
    serving.join();
    process.join();
    EXPECT_EQ(counters().questions_sent.get(), kQuestions);
    EXPECT_EQ(counters().questions_lost.get() + counters().answers_lost.get(), 0u);
}

}  // namespace
}  // namespace postern
