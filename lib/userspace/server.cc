// SPDX-License-Identifier: BSD-3-Clause
#include "userspace/server.h"

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

#include <poll.h>
#include <sys/socket.h>

#include "userspace/wire.h"

namespace postern {
namespace {

constexpr unsigned kRecordsARound = 64;     ///< of one process
constexpr unsigned kQuestionsARound = 256;  ///< of one worker

std::string errno_text() {
    return std::generic_category().message(errno);
}

}  // namespace

Result<std::unique_ptr<UserspaceServer>> UserspaceServer::open(UserspaceLink& link,
                                                               Options options) {
    std::vector<std::unique_ptr<Seat>> seats;
    for (const UserspaceHelper& h : link.helpers()) {
        auto listener =
            ListeningSocket::claim(h.socket, SOCK_SEQPACKET, "socket of helper " + h.name);
        if (!listener) return listener.error();
        seats.push_back(std::make_unique<Seat>(h, std::move(listener).value()));
    }
    return std::unique_ptr<UserspaceServer>(
        new UserspaceServer(link, std::move(options), std::move(seats)));
}

UserspaceServer::UserspaceServer(UserspaceLink& link, Options options,
                                 std::vector<std::unique_ptr<Seat>> seats)
    : link_(link),
      options_(std::move(options)),
      seats_(std::move(seats)),
      out_(std::max<std::size_t>(wire::question_room(link.message_bytes()), 1024)) {
    link_.serve();
    for (const auto& seat : seats_)
        by_helper_[seat->helper.id] = seat.get();
}

UserspaceServer::~UserspaceServer() {
    for (const auto& seat : seats_)
        link_.set_connected(seat->helper.id, false);
}

std::optional<UserspaceServer::Status> UserspaceServer::status(HelperId helper) const {
    const Seat* seat = by_helper_[helper];
    if (seat == nullptr) return std::nullopt;
    return Status{link_.connected(helper), seat->pid.load(std::memory_order_relaxed),
                  seat->counters, seat->helper.socket};
}

bool UserspaceServer::poll(std::chrono::microseconds timeout) {
    std::array<pollfd, 2 * kMaxHelpers> fds;
    nfds_t n = 0;
    for (const auto& seat : seats_) {
        fds[n++] = {seat->listener.fd(), POLLIN, 0};
        const bool blocked = seat->greeted && !seat->waiting.empty();
        fds[n++] = {seat->client.get(), static_cast<short>(blocked ? POLLIN | POLLOUT : POLLIN), 0};
    }
    const timespec wait{timeout.count() / 1'000'000, timeout.count() % 1'000'000 * 1000};
    const int ready = ::ppoll(fds.data(), n, &wait, nullptr);
    bool worked = false;
    const Tick now = options_.now();
    for (std::size_t i = 0; i < seats_.size(); ++i) {
        Seat& seat = *seats_[i];
        if (ready > 0 && fds[2 * i].revents != 0) accept_process(seat), worked = true;
        // Also directly after it connected: its hello may have arrived.
        if (seat.client && receive(seat)) worked = true;
        if (seat.client && !seat.greeted && reached(seat.since + options_.hello_ms, now))
            hang_up(seat, "no hello within " + std::to_string(options_.hello_ms) + " ms", true);
        flush(seat, now);
    }
    return take_questions() || worked;
}

void UserspaceServer::run(const std::atomic<bool>& stop) {
    using std::chrono::microseconds;
    // Workers cannot wake this thread: that would be a system call. So it polls the rings often
    // under load, and rarely after a time without questions.
    constexpr unsigned kEagerRounds = 400;
    constexpr microseconds kEager{50}, kIdle{1000}, kAbsent{20'000};
    unsigned quiet = 0;
    while (!stop.load(std::memory_order_relaxed)) {
        const bool present = std::any_of(seats_.begin(), seats_.end(),
                                         [](const auto& seat) { return bool{seat->client}; });
        quiet = poll(!present ? kAbsent : quiet < kEagerRounds ? kEager : kIdle) ? 0 : quiet + 1;
    }
}

void UserspaceServer::accept_process(Seat& seat) {
    UniqueFd fd(::accept4(seat.listener.fd(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!fd) return;
    ucred peer{};
    socklen_t size = sizeof peer;
    ::getsockopt(fd.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size);
    if (seat.client) receive(seat);  // it may have disconnected unnoticed
    if (seat.client) {
        seat.counters.clients_refused.add();
        const std::string why = "another process (pid " +
                                std::to_string(seat.pid.load(std::memory_order_relaxed)) +
                                ") serves helper " + seat.helper.name;
        options_.log("helper " + seat.helper.name + ": process " + std::to_string(peer.pid) +
                     " refused: " + why);
        return say_why(fd.get(), why);
    }
    seat.client = std::move(fd);
    seat.greeted = false;
    seat.since = options_.now();
    seat.pid.store(peer.pid, std::memory_order_relaxed);
}

bool UserspaceServer::receive(Seat& seat) {
    std::array<std::uint8_t, wire::kMaxAnswerBytes + 1> buffer;
    bool any = false;
    for (unsigned i = 0; i < kRecordsARound && seat.client; ++i) {
        // MSG_TRUNC: the record's true length, so that a cut one is noticed.
        const ssize_t got =
            ::recv(seat.client.get(), buffer.data(), buffer.size(), MSG_DONTWAIT | MSG_TRUNC);
        if (got < 0) {
            if (errno == EINTR) continue;
            if (errno != EAGAIN) hang_up(seat, "its socket failed: " + errno_text(), false);
            return any;
        }
        any = true;
        if (got == 0) {
            hang_up(seat, "it has gone", false);
        } else if (static_cast<std::size_t>(got) > wire::kMaxAnswerBytes) {
            seat.counters.bad_records.add();
            hang_up(seat,
                    "a record of " + std::to_string(got) + " bytes; the longest has " +
                        std::to_string(wire::kMaxAnswerBytes),
                    true);
        } else {
            take_answer(seat, Bytes(buffer).first(static_cast<std::size_t>(got)));
        }
    }
    return any;
}

void UserspaceServer::take_answer(Seat& seat, Bytes record) {
    const char* wrong = seat.greeted
                            ? wire::decode_answer(record, seat.helper, link_.workers(), answer_)
                            : wire::check_hello(record);
    if (wrong != nullptr) {
        seat.counters.bad_records.add();
        return hang_up(seat, wrong, true);
    }
    if (!seat.greeted) {
        seat.greeted = true;
        seat.counters.connects.add();
        const std::size_t n = wire::encode_welcome(seat.helper, link_.message_bytes(), out_);
        if (send_record(seat, Bytes(out_).first(n)) != Sent::yes) return;
        link_.set_connected(seat.helper.id, true);
        options_.log("helper " + seat.helper.name + ": process " +
                     std::to_string(seat.pid.load(std::memory_order_relaxed)) + " connected");
        return;
    }
    seat.counters.answers.add();
    auto& ring = link_.rings(answer_.conn.worker).answers;
    Answer* slot = ring.reserve();
    if (slot == nullptr) return seat.counters.answers_lost.add();
    *slot = answer_;
    ring.publish();
}

bool UserspaceServer::take_questions() {
    bool any = false;
    for (unsigned w = 0; w < link_.workers(); ++w) {
        auto& ring = link_.rings(WorkerId::from(w)).questions;
        for (unsigned i = 0; i < kQuestionsARound; ++i) {
            const Question* q = ring.front();
            if (q == nullptr) break;
            any = true;
            if (Seat* seat = by_helper_[q->helper]) give(*seat, *q);
            ring.drop_front();
        }
    }
    return any;
}

void UserspaceServer::give(Seat& seat, const Question& q) {
    const bool expires = q.kind == Question::Kind::message;
    if (!seat.greeted && !expires) return;  // the next process does not know that connection
    if (expires && reached(q.deadline, options_.now()))
        return seat.counters.questions_expired.add();
    const std::size_t n = wire::encode_question(q, seat.helper, out_);
    const Bytes record = Bytes(out_).first(n);
    if (seat.greeted && seat.waiting.empty()) {
        const Sent sent = send_record(seat, record);
        if (sent == Sent::yes && expires) seat.counters.questions_sent.add();
        if (sent == Sent::yes) return;
        if (sent == Sent::never && !expires) return;
    }
    if (seat.waiting.size() >= seat.helper.queue) return seat.counters.questions_lost.add();
    seat.waiting.push_back({{record.begin(), record.end()}, q.deadline, expires});
}

void UserspaceServer::flush(Seat& seat, Tick now) {
    while (!seat.waiting.empty()) {
        const Record& next = seat.waiting.front();
        if (next.expires && reached(next.deadline, now)) {
            seat.counters.questions_expired.add();
        } else {
            if (!seat.greeted) return;
            if (send_record(seat, next.bytes) != Sent::yes) return;
            if (next.expires) seat.counters.questions_sent.add();
        }
        seat.waiting.pop_front();
    }
}

UserspaceServer::Sent UserspaceServer::send_record(Seat& seat, Bytes record) {
    for (;;) {
        if (::send(seat.client.get(), record.data(), record.size(), MSG_NOSIGNAL | MSG_DONTWAIT) >=
            0)
            return Sent::yes;
        if (errno == EINTR) continue;
        if (errno == EAGAIN || errno == ENOBUFS) return Sent::later;
        hang_up(seat, "its socket failed: " + errno_text(), false);
        return Sent::never;
    }
}

void UserspaceServer::say_why(int fd, std::string_view why) {
    const std::size_t n = wire::encode_error(why, out_);
    (void)::send(fd, out_.data(), n, MSG_NOSIGNAL | MSG_DONTWAIT);
    // Closing with unread bytes would send the other end a "connection reset" before these words.
    for (unsigned i = 0; i<kRecordsARound&& ::recv(fd, out_.data(), out_.size(), MSG_DONTWAIT)> 0;
         ++i) {
    }
}

void UserspaceServer::hang_up(Seat& seat, const std::string& why, bool tell) {
    options_.log("helper " + seat.helper.name + ": process " +
                 std::to_string(seat.pid.load(std::memory_order_relaxed)) + ": " + why);
    if (tell) say_why(seat.client.get(), why);
    link_.set_connected(seat.helper.id, false);
    seat.client.reset();
    seat.greeted = false;
    // Questions about connections that only the disconnected process knew.
    std::erase_if(seat.waiting, [](const Record& r) { return !r.expires; });
}

}  // namespace postern
