// SPDX-License-Identifier: BSD-3-Clause
// Records of a helper's process: whatever is taken is within what was declared, and nothing else is
// read than the record.
//
// Input: one record. Decoded from a copy of exactly its length, so that a read beyond it is found.
#include <algorithm>
#include <vector>

#include "require.h"
#include "userspace/wire.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace postern;
    UserspaceHelper helper;
    helper.id = 3;
    helper.data_bytes = 8;
    helper.class_protocols = {proto::tcp, proto::udp};
    constexpr unsigned kWorkers = 2;

    const std::vector<std::uint8_t> record(data, data + size);
    (void)wire::check_hello(record);
    Answer a;
    if (wire::decode_answer(record, helper, kWorkers, a) != nullptr) return 0;
    require(a.helper == helper.id && a.conn.worker.number() < kWorkers,
            "from or for somebody else");
    require(a.count <= Answer::kMaxRequests, "more expectations than there is room for");
    require(size == wire::kAnswerBytes + a.count * wire::kExpectBytes, "bytes nobody has read");
    require(std::all_of(a.state.begin() + helper.data_bytes, a.state.end(),
                        [](std::uint8_t b) { return b == 0; }),
            "more state than declared");
    for (unsigned i = 0; i < a.count; ++i) {
        const PinHole& h = a.requests[i];
        require(h.class_index < helper.class_protocols.size(), "a class that is not declared");
        require(h.protocol == helper.class_protocols[h.class_index], "a protocol not declared");
        require(h.dst.family == Family::ipv4 || h.dst.family == Family::ipv6, "no family");
        require(h.src.address.family == h.dst.family, "two families");
        require(h.src.length <= address_bytes(h.dst.family) * 8, "a prefix too long");
        require(h.timeout_ms <= kMaxTimeoutS * 1000, "a timeout that ticks cannot hold");
        require(h.child == PinHole::kNoChild && h.tag == 0, "something that was not said");
    }
    return 0;
}
