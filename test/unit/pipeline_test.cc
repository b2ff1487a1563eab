// SPDX-License-Identifier: BSD-3-Clause
// The whole path, several workers on one thread: what a master and its children do to each other.
#include <gtest/gtest.h>

#include "support/eal.h"
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

TEST(KeepAlive, StaleMasterIsNobody) {
    World world(kFtpOnly, 1);
    Ftp ftp(world);
    ASSERT_TRUE(ftp.data(50000).open());
    world.fw().worker(0).end_connection(world.connection(21)->id.index);
    // Its slot is another connection's now, which has nothing to do with the child.
    Ftp other(world);
    for (unsigned s = 0; s < 14; s += 2) {
        world.pass(2000);
        ASSERT_TRUE(child_speaks(world, 50000));
    }
    EXPECT_FALSE(world.connection(21));
}

}  // namespace
}  // namespace postern
