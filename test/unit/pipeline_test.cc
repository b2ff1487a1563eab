// SPDX-License-Identifier: BSD-3-Clause
// The whole path, several workers on one thread: what a master and its children do to each other.
#include <gtest/gtest.h>

#include "support/eal.h"
#include "support/requests.h"
#include "world.h"

namespace postern {
namespace {

const auto* const kEal = ::testing::AddGlobalTestEnvironment(new EalEnvironment);

const std::string kFtpOnly =
    "helpers: [{name: ftp}]\n"
    "timeouts: {tcp: {established: 10, unacknowledged: 10, retransmitted: 10}}\n"
    "policy:\n"
    "  default: drop\n"
    "  rules:\n"
    "    - {name: control, from: inside, proto: tcp, dport: 21, ct: [new], action: accept,"
    " helper: ftp}\n"
    "    - {name: data, ct: [related], related: [ftp], action: accept}\n";

/// An FTP control connection from inside that is ready for commands.
class Ftp {
  public:
    explicit Ftp(World& world)
        : world_(world), control_(world, frames::flow("192.0.2.1", 40000, "192.0.2.2", 21)) {
        EXPECT_TRUE(control_.open());
        EXPECT_TRUE(control_.server("220 ready\r\n"));
        EXPECT_TRUE(control_.client("USER anonymous\r\n"));
        EXPECT_TRUE(control_.server("230 in\r\n"));
    }
    Talk& control() { return control_; }
    /// A passive data connection to this port of the server, not opened yet.
    Talk data(std::uint16_t port) {
        EXPECT_TRUE(control_.client("EPSV\r\n"));
        EXPECT_TRUE(control_.server("229 ok (|||" + std::to_string(port) + "|)\r\n"));
        EXPECT_TRUE(control_.client("RETR f\r\n"));
        return Talk(world_, frames::flow("192.0.2.1", 41000, "192.0.2.2", port));
    }

  private:
    World& world_;
    Talk control_;
};

/// A port for a data connection that lives on another worker than port 21's connection, or on the
/// same.
std::uint16_t port_on(World& world, Ftp& ftp, bool same) {
    const unsigned master = world.connection(21)->worker;
    for (std::uint16_t port = 50000; port < 50100; ++port) {
        if (!ftp.data(port).open()) break;
        if ((world.connection(port)->worker == master) == same) return port;
    }
    ADD_FAILURE() << "no port found";
    return 0;
}

/// The server acknowledges once more what the client said in the data connection at `port`.
bool child_speaks(World& world, std::uint16_t port) {
    frames::TcpFields t;
    t.flags = 0x10;
    t.seq = 5001;
    t.ack = 1001;
    return world.from_outside(frames::tcp(frames::flow("192.0.2.2", port, "192.0.2.1", 41000), t));
}

class BusyChild : public ::testing::TestWithParam<std::pair<unsigned, bool>> {};

TEST_P(BusyChild, KeepsItsSilentMaster) {
    const auto [workers, same] = GetParam();
    World world(kFtpOnly, workers);
    Ftp ftp(world);
    const std::uint16_t port = port_on(world, ftp, same);
    for (unsigned s = 0; s < 60; s += 2) {  // six times the timeout
        world.pass(2000);
        ASSERT_TRUE(child_speaks(world, port)) << "after " << s << " s";
        ASSERT_TRUE(world.connection(21)) << "after " << s << " s";
    }
    EXPECT_TRUE(ftp.control().server("226 done\r\n"));
    EXPECT_GT(world.sum(&WorkerCounters::masters_kept), 0u);
    EXPECT_EQ(world.sum(&WorkerCounters::masters_not_told), 0u);
}
INSTANTIATE_TEST_SUITE_P(Workers, BusyChild,
                         ::testing::Values(std::pair{1u, true}, std::pair{3u, true},
                                           std::pair{3u, false}, std::pair{8u, false}));

TEST(KeepAlive, SilentChildDoesNot) {
    World world(kFtpOnly, 3);
    Ftp ftp(world);
    ASSERT_TRUE(ftp.data(50000).open());
    world.pass(12'600);  // the timeout, and what the child's first packets were worth
    EXPECT_FALSE(world.connection(21));
    EXPECT_FALSE(world.connection(50000));
}

TEST(KeepAlive, MasterThatIsBeingClosedKeepsItsShortTime) {
    World world(kFtpOnly, 1);
    Ftp ftp(world);
    ASSERT_TRUE(ftp.data(50000).open());
    EXPECT_TRUE(ftp.control().packet(Direction::original, 0x04));  // reset: closed after 10 s
    for (unsigned s = 0; s < 14; s += 2) {
        world.pass(2000);
        ASSERT_TRUE(child_speaks(world, 50000));
    }
    EXPECT_FALSE(world.connection(21));
    EXPECT_TRUE(world.connection(50000));  // lives on without it
}

const std::string kFtps =
    "helpers: [{name: ftp, params: {encrypted_passive: 50000-50003}}]\n"
    "policy:\n"
    "  rules:\n"
    "    - {name: control, from: inside, proto: tcp, dport: 21, ct: [new], action: accept,"
    " helper: ftp}\n"
    "    - {name: data, ct: [related], related: [ftp], action: accept}\n";

struct End {
    Direction first;
    bool reset;
};
class EncryptedRange : public ::testing::TestWithParam<End> {};

TEST_P(EncryptedRange, EndsWithTheSessionAndNotWithTheConnection) {
    constexpr std::uint8_t kFin = 0x11, kAck = 0x10, kRst = 0x04;
    World world(kFtps, 3);
    Talk control(world, frames::flow("192.0.2.1", 40000, "192.0.2.2", 21));
    ASSERT_TRUE(control.open());
    ASSERT_TRUE(control.server("220 ready\r\n"));
    ASSERT_TRUE(control.client("AUTH TLS\r\n"));
    ASSERT_TRUE(control.server("234 go ahead\r\n"));
    ASSERT_EQ(world.fw().expectations().live(), 4u);
    Talk data(world, frames::flow("192.0.2.1", 41000, "192.0.2.2", 50001));
    ASSERT_TRUE(data.open());
    const auto [first, reset] = GetParam();
    if (reset) {
        ASSERT_TRUE(control.packet(first, kRst));
    } else {
        ASSERT_TRUE(control.packet(first, kFin));
        EXPECT_EQ(world.fw().expectations().live(), 4u) << "nobody has answered it";
        ASSERT_TRUE(control.packet(!first, kAck));
    }
    EXPECT_TRUE(world.connection(21)) << "its state ends later";
    EXPECT_EQ(world.fw().expectations().live(), 0u);
    EXPECT_FALSE(Talk(world, frames::flow("192.0.2.1", 41001, "192.0.2.2", 50001)).open());
    EXPECT_TRUE(data.server("the transfer goes on"));
}
INSTANTIATE_TEST_SUITE_P(Ends, EncryptedRange,
                         ::testing::Values(End{Direction::original, false},
                                           End{Direction::reply, false},
                                           End{Direction::original, true},
                                           End{Direction::reply, true}));

TEST(KeepAlive, StaleMasterIsNobody) {
    World world(kFtpOnly, 1);
    Ftp ftp(world);
    ASSERT_TRUE(ftp.data(50000).open());
    world.fw().worker(0).tracking().end(world.connection(21)->id.index, ConnEnd::control);
    // Its slot is another connection's now, which has nothing to do with the child.
    Ftp other(world);
    for (unsigned s = 0; s < 14; s += 2) {
        world.pass(2000);
        ASSERT_TRUE(child_speaks(world, 50000));
    }
    EXPECT_FALSE(world.connection(21));
}

/// What all owners together have ended for this reason.
std::uint64_t ended(World& world, ExpectEnd why) {
    std::uint64_t n = 0;
    for (unsigned o = 0; o < world.fw().expectations().owners(); ++o)
        n += world.fw().expectations().owner(static_cast<OwnerId>(o)).ended(why);
    return n;
}

class RemovedHelper : public ::testing::TestWithParam<unsigned> {};

TEST_P(RemovedHelper, LeavesItsConnectionsAndTakesItsExpectationsAlong) {
    World world(kFtpOnly, GetParam());
    Ftp ftp(world);
    ASSERT_TRUE(ftp.data(50000).open());  // a child that exists
    Talk pending = ftp.data(50001);
    ASSERT_EQ(world.fw().expectations().live(), 1u);
    EXPECT_FALSE(world.fw().is_gone(1));
    world.fw().remove_helper(1);
    world.turn();
    EXPECT_TRUE(world.fw().is_gone(1));
    EXPECT_EQ(world.sum(&WorkerCounters::helpers_detached), 1u);
    EXPECT_EQ(world.fw().expectations().live(), 0u);
    EXPECT_EQ(ended(world, ExpectEnd::helper_removed), 1u);
    EXPECT_FALSE(pending.open());
    // The connections themselves live on, unwatched; new ones get no helper either.
    EXPECT_EQ(world.connection(21)->conn.helper, kNoHelper);
    EXPECT_TRUE(child_speaks(world, 50000));
    EXPECT_FALSE(ftp.data(50002).open());
    Talk next(world, frames::flow("192.0.2.3", 40000, "192.0.2.2", 21));
    EXPECT_TRUE(next.open());
    EXPECT_EQ(world.sum(&WorkerCounters::helpers_detached), 1u);
    EXPECT_EQ(world.fw().expectations().live(), 0u);
    // Ending a connection that lost its helper gives nothing back twice.
    EXPECT_TRUE(ftp.control().packet(Direction::original, 0x04));
    world.pass(12'000);
    EXPECT_FALSE(world.connection(21));
}
INSTANTIATE_TEST_SUITE_P(Workers, RemovedHelper, ::testing::Values(1u, 3u));

const std::string kNoHelperInRule =
    "policy:\n"
    "  default: drop\n"
    "  rules:\n"
    "    - {from: inside, proto: tcp, dport: [21, 80], ct: [new], action: accept}\n"
    "    - {ct: [related], action: accept}\n";

TEST(AutoAssign, IsOffAndCountsWhatItWouldHaveDone) {
    World world("helpers: [{name: ftp}]\n" + kNoHelperInRule, 1);
    ASSERT_TRUE(Talk(world, frames::flow("192.0.2.1", 1, "192.0.2.2", 80)).open());
    EXPECT_EQ(world.sum(&WorkerCounters::helpers_not_assigned), 0u);
    Ftp ftp(world);
    EXPECT_EQ(world.sum(&WorkerCounters::helpers_not_assigned), 1u);
    EXPECT_FALSE(ftp.data(50000).open());
}

TEST(AutoAssign, GivesTheHelperByPort) {
    World world("helpers: [{name: ftp, auto_assign: true}]\n" + kNoHelperInRule, 1);
    Ftp ftp(world);
    EXPECT_TRUE(ftp.data(50000).open());
    EXPECT_EQ(world.sum(&WorkerCounters::helpers_not_assigned), 0u);
}

TEST(CreateExpectRequest, FilesForALiveMasterOnly) {
    World world(kFtpOnly, 3);
    Ftp ftp(world);
    const auto control = *world.connection(21);
    CreateExpectReply reply;
    const auto ask_for = [&](ConnId master) {
        CreateExpectRequest request;
        request.master = master;
        request.request.protocol = proto::tcp;
        request.request.dst = *IpAddr::parse("192.0.2.1");
        request.request.dport = Be16::from_host(2000);
        request.request.timeout_ms = 5000;
        request.request.flags = expect_flag::userspace;
        reply = std::get<CreateExpectReply>(ask(world.fw().worker(control.worker), request));
        world.turn();
        return reply.found;
    };
    ConnId stale = control.id;
    ++stale.generation;
    EXPECT_FALSE(ask_for(stale));
    EXPECT_TRUE(ask_for(control.id));
    EXPECT_EQ(reply.result.outcome, InsertOutcome::created);
    // Its child comes from any source, and has the control connection for its master.
    Talk child(world, frames::flow("192.0.2.2", 20, "192.0.2.1", 2000), false);
    EXPECT_TRUE(child.open());
    EXPECT_EQ(world.connection(2000)->conn.master, control.id);
    // It ends with its master, like a helper's own.
    EXPECT_TRUE(ask_for(control.id));
    world.fw().worker(control.worker).tracking().end(control.id.index, ConnEnd::control);
    EXPECT_EQ(world.fw().expectations().live(), 0u);
    EXPECT_FALSE(ask_for(control.id));
}

}  // namespace
}  // namespace postern
