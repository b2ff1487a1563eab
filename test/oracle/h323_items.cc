// SPDX-License-Identifier: BSD-3-Clause
// Prints what the H.323 helpers find in PER-coded messages, for h323_test.py to compare with
// another reader. Input: lines "TYPE HEX", TYPE being ras, q931 (the user-user element), h245 or
// fast (an element of fastStart). Output: a line for each, "unreadable" or, in the order of the
// message, MARK, MARK=NUMBER and MARK=ADDRESS/PORT; of tunnelled and fast-start messages what is in
// them.
#include <cstdint>
#include <cstdio>
#include <iostream>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "h323/requests.h"
#include "h323/schema.h"

namespace postern::h323 {
namespace {

const char* name(std::uint8_t mark) {
    switch (mark) {
        case kSetup: return "setup";
        case kCallProceeding: return "callProceeding";
        case kConnect: return "connect";
        case kAlerting: return "alerting";
        case kReleaseComplete: return "releaseComplete";
        case kFacility: return "facility";
        case kProgress: return "progress";
        case kH245Address: return "h245Address";
        case kAlternativeAddress: return "alternativeAddress";
        case kCallForwarded: return "callForwarded";
        case kGatekeeperRequest: return "gatekeeperRequest";
        case kGatekeeperConfirm: return "gatekeeperConfirm";
        case kRegistrationRequest: return "registrationRequest";
        case kRegistrationConfirm: return "registrationConfirm";
        case kRegistrationReject: return "registrationReject";
        case kUnregistrationRequest: return "unregistrationRequest";
        case kUnregistrationConfirm: return "unregistrationConfirm";
        case kAdmissionRequest: return "admissionRequest";
        case kAdmissionConfirm: return "admissionConfirm";
        case kLocationRequest: return "locationRequest";
        case kLocationConfirm: return "locationConfirm";
        case kInfoRequestResponse: return "infoRequestResponse";
        case kRasAddress: return "rasAddress";
        case kCallSignalAddress: return "callSignalAddress";
        case kTimeToLive: return "timeToLive";
        case kTerminalCapabilitySet: return "terminalCapabilitySet";
        case kOpenLogicalChannel: return "openLogicalChannel";
        case kOpenLogicalChannelAck: return "openLogicalChannelAck";
        case kOpenLogicalChannelReject: return "openLogicalChannelReject";
        case kCloseLogicalChannel: return "closeLogicalChannel";
        case kEndSession: return "endSessionCommand";
        case kChannelNumber: return "forwardLogicalChannelNumber";
        case kMediaChannel: return "mediaChannel";
        case kMediaControlChannel: return "mediaControlChannel";
        case kT120: return "t120";
        case kSeparateLanStack: return "separateLANStack";
        case kSeparateStack: return "localAreaAddress";
        default: return nullptr;
    }
}

bool print(const per::Type& type, Bytes bytes, std::string& out) {
    per::Tree tree;
    if (!per::decode(type, bytes, tree)) return false;
    const auto items = tree.items();
    for (std::size_t i = 0; i < items.size(); ++i) {
        const per::Item& item = items[i];
        if (item.mark == kFastStart || item.mark == kH245Control) {
            const auto& inner = item.mark == kFastStart ? kFastStartChannel : kControlMessage;
            if (!print(inner, item.bytes(), out)) out += " unreadable";
            continue;
        }
        const char* n = name(item.mark);
        if (n == nullptr) continue;
        switch (item.mark) {
            case kTimeToLive:
            case kChannelNumber:
                out += std::string(" ") + n + "=" + std::to_string(item.number);
                break;
            case kH245Address:
            case kAlternativeAddress:
            case kRasAddress:
            case kCallSignalAddress:
            case kMediaChannel:
            case kMediaControlChannel:
            case kSeparateStack:
                if (const auto a = address_in(per::inside(items, i)))
                    out += std::string(" ") + n + "=" + a->host.to_string() + "/" +
                           std::to_string(a->port.host());
                break;
            default: out += std::string(" ") + n;
        }
    }
    return true;
}

}  // namespace
}  // namespace postern::h323

int main() {
    using namespace postern::h323;
    const std::map<std::string, const postern::per::Type*> types{{"ras", &kRasMessage},
                                                                 {"q931", &kUserInformation},
                                                                 {"h245", &kControlMessage},
                                                                 {"fast", &kFastStartChannel}};
    std::string type, hex;
    while (std::cin >> type >> hex) {
        std::vector<std::uint8_t> bytes;
        for (std::size_t i = 0; i + 1 < hex.size(); i += 2)
            bytes.push_back(static_cast<std::uint8_t>(std::stoul(hex.substr(i, 2), nullptr, 16)));
        std::string out;
        if (!print(*types.at(type), bytes, out)) out = " unreadable";
        std::cout << out.substr(out.empty() ? 0 : 1) << '\n';
    }
}
