// SPDX-License-Identifier: BSD-3-Clause
// The model's hash against the values that Microsoft publishes ("Verifying the RSS Hash
// Calculation"; also the 82599's data sheet, section 7.1.2.8.3).
#include <array>

#include <gtest/gtest.h>

#include "net/addr.h"
#include "nic/nic_model.h"

namespace postern::nic {
namespace {

constexpr std::array<std::uint8_t, 40> kKey{
    0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3,
    0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3,
    0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa};

struct Row {
    const char* source;
    unsigned sport;
    const char* destination;
    unsigned dport;
    std::uint32_t addresses, all;  ///< hashes
};
constexpr Row kRows[] = {
    {"66.9.149.187", 2794, "161.142.100.80", 1766, 0x323e8fc2, 0x51ccc178},
    {"199.92.111.2", 14230, "65.69.140.83", 4739, 0xd718262a, 0xc626b0ea},
    {"24.19.198.95", 12898, "12.22.207.184", 38024, 0xd2d0a5de, 0x5c2b394a},
    {"38.27.205.30", 48228, "209.142.163.6", 2217, 0x82989176, 0xafc7327f},
    {"153.39.163.191", 44251, "202.188.127.2", 1303, 0x5d1809c5, 0x10e828a2},
    {"3ffe:2501:200:1fff::7", 2794, "3ffe:2501:200:3::1", 1766, 0x2cc18cd5, 0x40207d3d},
    {"3ffe:501:8::260:97ff:fe40:efab", 14230, "ff02::1", 4739, 0x0f0c461c, 0xdde51bbf},
    {"3ffe:1900:4545:3:200:f8ff:fe21:67cf", 44251, "fe80::200:f8ff:fe21:67cf", 38024, 0x4b61e985,
     0x02d1feef}};

TEST(Toeplitz, IsThatOfThePublishedSuite) {
    for (const Row& row : kRows) {
        const auto source = IpAddr::parse(row.source), destination = IpAddr::parse(row.destination);
        ASSERT_TRUE(source && destination) << row.source;
        const unsigned bytes = source->family == Family::ipv4 ? 4 : 16;
        Frame input(source->bytes.begin(), source->bytes.begin() + bytes);
        input.insert(input.end(), destination->bytes.begin(), destination->bytes.begin() + bytes);
        EXPECT_EQ(toeplitz(kKey, input), row.addresses) << row.source;
        for (const unsigned port : {row.sport, row.dport}) {
            input.push_back(static_cast<std::uint8_t>(port >> 8));
            input.push_back(static_cast<std::uint8_t>(port));
        }
        EXPECT_EQ(toeplitz(kKey, input), row.all) << row.source;
    }
}

}  // namespace
}  // namespace postern::nic
