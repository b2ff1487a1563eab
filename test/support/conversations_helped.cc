// SPDX-License-Identifier: BSD-3-Clause
// Conversations that helpers read.
#include <deque>

#include "base/types.h"
#include "support/conversation_parts.h"

namespace postern::conversations {
namespace {

/// Lines to say in a control connection: who, and what.
struct Line {
    unsigned side;
    std::string text;
};

class Ftp : public Conversation {
  public:
    Ftp(unsigned number, bool v6) : number_(number), v6_(v6) {}
    std::string name() const override { return "ftp " + std::to_string(number_); }
    Packet next(Random& random) override {
        if (control_.phase() == Tcp::Phase::closed) {
            ++connection_;
            control_.begin(ends(number_, v6_, 34000 + connection_, 21), true, random);
            lines_ = {{1, "220 ready\r\n"},
                      {0, "USER a\r\n"},
                      {1, "331 password\r\n"},
                      {0, "PASS b\r\n"},
                      {1, "230 in\r\n"}};
            data_.clear();
            announced_ = 0;
        }
        if (control_.phase() < Tcp::Phase::open) return control_.handshake();
        if (!data_.empty() && random.one_in(2)) return of_data(random);
        if (lines_.empty()) {
            if (announced_ != 0) {
                // The data connection follows its announcement.
                data_.emplace_back().begin(ends(number_, v6_, 35000 + announced_, announced_), true,
                                           random);
                announced_ = 0;
                Packet p = data_.back().handshake();
                p.announced = true;
                p.what = "data connection: " + p.what;
                return p;
            }
            if (random.one_in(60)) {
                control_ = {};
                return next(random);
            }
            if (random.one_in(3)) return control_.acknowledge(random.below(2));
            announces_ = 20000 + port_++ % 10000;
            lines_ = {{0, "EPSV\r\n"}, {1, "229 ok (|||" + std::to_string(announces_) + "|)\r\n"}};
        }
        const Line line = lines_.front();
        lines_.pop_front();
        if (lines_.empty()) announced_ = announces_, announces_ = 0;
        Packet p = control_.say(line.side, line.text);
        p.announces = announced_ != 0;
        p.control = true;
        p.what = line.text.substr(0, line.text.size() - 2);
        return p;
    }

  private:
    Packet of_data(Random& random) {
        const std::size_t n = random.below(static_cast<unsigned>(data_.size()));
        Packet p = data_[n].any(random);
        p.what = "data connection: " + p.what;
        if (data_[n].phase() == Tcp::Phase::closed)
            data_.erase(data_.begin() + static_cast<std::ptrdiff_t>(n));
        return p;
    }

    unsigned number_;
    unsigned connection_ = 0;
    bool v6_;
    Tcp control_;
    std::deque<Line> lines_;
    std::deque<Tcp> data_;
    unsigned port_ = 0, announces_ = 0, announced_ = 0;
};

class Tftp : public Conversation {
  public:
    Tftp(unsigned number, bool v6) : number_(number), v6_(v6) {}
    std::string name() const override { return "tftp " + std::to_string(number_); }
    Packet next(Random& random) override {
        const Flow f = ends(number_, v6_, 36000 + connection_, 69);
        Flow answers = f.back();
        answers.sport = static_cast<std::uint16_t>(37000 + connection_);
        if (step_ == 0) {
            step_ = 1;
            Packet p =
                honest(frames::udp(f, std::string("\0\1file\0octet\0", 13)), true, "read request");
            p.announces = true;
            return p;
        }
        if (step_ > 1 && random.one_in(30)) {
            step_ = 0;
            ++connection_;
            return next(random);
        }
        const bool first = step_ == 1;
        step_ = 2;
        const bool data = first || random.one_in(2);
        Packet p = honest(frames::udp(data ? answers : answers.back(),
                                      std::string(data ? "\0\3\0\1x" : "\0\4\0\1", data ? 5 : 4)),
                          !data, data ? "data" : "acknowledgement");
        p.announced = first;
        return p;
    }

  private:
    unsigned number_;
    unsigned connection_ = 0;
    bool v6_;
    unsigned step_ = 0;
};

class Pptp : public Conversation {
  public:
    Pptp(unsigned number, bool v6) : number_(number), v6_(v6) {}
    std::string name() const override { return "pptp " + std::to_string(number_); }
    Packet next(Random& random) override {
        if (control_.phase() == Tcp::Phase::closed) {
            ++connection_;
            control_.begin(ends(number_, v6_, 38000 + connection_, 1723), true, random);
            lines_ = {{0, message(1, 156, {0x01, 0x00})},
                      {1, message(2, 156, {0x01, 0x00, 0x01, 0x00})}};
            call_ = calls_ = 0;
        }
        if (control_.phase() < Tcp::Phase::open) return control_.handshake();
        if (!lines_.empty()) {
            const Line line = lines_.front();
            lines_.pop_front();
            if (lines_.empty()) call_ = calls_, first_ = call_ != 0;
            Packet p = control_.say(line.side, line.text);
            p.announces = call_ != 0;
            p.control = true;
            p.what = "message " + std::to_string(static_cast<unsigned>(line.text[9]));
            return p;
        }
        if (call_ == 0 || (calls_ < kCalls && random.one_in(60))) {
            ++calls_;
            const auto id = static_cast<std::uint8_t>(calls_);
            lines_ = {{0, message(7, 168, {0, id})}, {1, message(8, 32, {1, id, 0, id, 1})}};
            return next(random);
        }
        if (random.one_in(4)) return control_.acknowledge(random.below(2));
        const bool there = first_ || random.one_in(2);
        const Flow f = ends(number_, v6_, 0, 0);
        Packet p = honest(frames::gre_call(there ? f.src : f.dst, there ? f.dst : f.src,
                                           static_cast<std::uint16_t>(call_ + (there ? 256 : 0))),
                          there, "a packet of the call");
        p.announced = std::exchange(first_, false);
        return p;
    }

  private:
    static std::string message(std::uint8_t type, std::uint8_t size,
                               std::initializer_list<std::uint8_t> fields) {
        std::string m{0, static_cast<char>(size), 0, 1, 0x1a, 0x2b, 0x3c, 0x4d,
                      0, static_cast<char>(type), 0, 0};
        for (const std::uint8_t b : fields)
            m += static_cast<char>(b);
        m.resize(size, '\0');
        return m;
    }

    unsigned number_;
    unsigned connection_ = 0;
    bool v6_;
    Tcp control_;
    std::deque<Line> lines_;
    static constexpr unsigned kCalls = 6;  ///< fewer than its helper lets a control connection have
    unsigned calls_ = 0, call_ = 0;
    bool first_ = false;
};

}  // namespace

std::unique_ptr<Conversation> ftp(unsigned number, bool v6) {
    return std::make_unique<Ftp>(number, v6);
}
std::unique_ptr<Conversation> tftp(unsigned number, bool v6) {
    return std::make_unique<Tftp>(number, v6);
}
std::unique_ptr<Conversation> pptp(unsigned number, bool v6) {
    return std::make_unique<Pptp>(number, v6);
}

}  // namespace postern::conversations
