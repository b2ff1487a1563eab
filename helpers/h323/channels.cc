// SPDX-License-Identifier: BSD-3-Clause
#include "h323/channels.h"

namespace postern::h323 {
namespace {

using Items = std::span<const per::Item>;

bool has(Items items, std::uint8_t mark) noexcept {
    return std::any_of(items.begin(), items.end(),
                       [mark](const per::Item& i) { return i.mark == mark; });
}

/// {itu-t recommendation h 245 version}, encoded.
constexpr std::uint8_t kH245Id[] = {0x00, 0x08, 0x81, 0x75, 0x00};

std::uint32_t channel_number(Items items) noexcept {
    for (const per::Item& i : items)
        if (i.mark == kChannelNumber) return i.number;
    return 0;
}

/// The announcement of an OpenLogicalChannel or its Ack: media addresses, and that of a separate
/// stack, which is accepted for T.120 only.
void expect_channel(Items items, Requests& requests, std::uint8_t class_index, std::uint32_t tag,
                    bool t120) noexcept {
    for (std::size_t i = 0; i < items.size(); ++i) {
        const std::uint8_t mark = items[i].mark;
        if (mark != kMediaChannel && mark != kMediaControlChannel && mark != kSeparateStack)
            continue;
        const auto to = address_in(per::inside(items, i));
        if (!to) continue;
        if (mark != kSeparateStack) {
            requests.expect_media(*to, class_index, tag);
        } else if (t120) {
            PinHole hole = requests.from_listener(*to, proto::tcp);
            hole.class_index = class_index;
            hole.tag = tag;
            hole.flags |= expect_flag::permanent;  // several connections
            requests.expect(hole);
        }
    }
}

/// Unless the caller has a tag for all: channel numbers are each proposer's own.
std::uint32_t tag_of(std::uint32_t tag, Direction proposed_by, std::uint32_t number) noexcept {
    return tag != 0 ? tag : (index(proposed_by) + 1) << 16 | number;
}

}  // namespace

ControlMessage read_control(Bytes message, OpenChannels& channels, Requests& requests,
                            std::uint8_t class_index, std::uint32_t tag) noexcept {
    per::Tree tree;
    if (!per::decode(kControlMessage, message, tree)) return ControlMessage::unreadable;
    const Items items = tree.items();
    if (items.empty()) return ControlMessage::other;
    const Items inside = per::inside(items, 0);
    const std::uint32_t number = channel_number(inside);
    const Direction speaker = requests.view().direction;
    switch (items[0].mark) {
        case kTerminalCapabilitySet:
            return is_version_of(inside, kH245Id) ? ControlMessage::capabilities
                                                  : ControlMessage::unreadable;
        case kOpenLogicalChannel:
            channels.propose(speaker, number);
            expect_channel(inside, requests, class_index, tag_of(tag, speaker, number),
                           has(inside, kT120) && has(inside, kSeparateLanStack));
            return ControlMessage::open;
        case kOpenLogicalChannelAck:
            if (!channels.answer(!speaker, number)) return ControlMessage::unasked_ack;
            expect_channel(inside, requests, class_index, tag_of(tag, !speaker, number), true);
            return ControlMessage::open_ack;
        case kOpenLogicalChannelReject:
            channels.answer(!speaker, number);
            if (tag == 0) requests.emit().remove(class_index, tag_of(0, !speaker, number));
            return ControlMessage::open_reject;
        case kCloseLogicalChannel:
            channels.answer(speaker, number);
            if (tag == 0) requests.emit().remove(class_index, tag_of(0, speaker, number));
            return ControlMessage::close;
        case kEndSession:
            requests.emit().remove(class_index, tag);
            return ControlMessage::end_session;
        default: return ControlMessage::other;
    }
}

bool read_fast_start(Bytes channel, Requests& requests, std::uint8_t class_index,
                     std::uint32_t tag) noexcept {
    per::Tree tree;
    if (!per::decode(kFastStartChannel, channel, tree)) return false;
    expect_channel(tree.items(), requests, class_index, tag,
                   has(tree.items(), kT120) && has(tree.items(), kSeparateLanStack));
    return true;
}

}  // namespace postern::h323
