// SPDX-License-Identifier: BSD-3-Clause
// The types of H.323 messages, as far as they have to be read: H.225.0 (12/2009) annex H and H.245
// (12/2009) annex A. Other parts are omitted if PER allows it: always extensions, and everything
// after the last field of interest. Constant data.
#pragma once

#include <cstdint>

#include "h323/per.h"

namespace postern::h323 {

/// Marks of the fields of interest.
enum Mark : std::uint8_t {
    kIp = 1,  ///< octets: 4 or 16
    kPort,
    kProtocol,  ///< object identifier: which version of which recommendation
    // H.225.0 call signalling, in a Q.931 message
    kSetup,
    kCallProceeding,
    kConnect,
    kAlerting,
    kReleaseComplete,
    kFacility,
    kProgress,
    kH245Address,
    kAlternativeAddress,
    kCallForwarded,  ///< the reason of a Facility
    kFastStart,      ///< octets: an H.245 OpenLogicalChannel
    kH245Control,    ///< octets: an H.245 message
    // H.225.0 RAS
    kGatekeeperRequest,
    kGatekeeperConfirm,
    kRegistrationRequest,
    kRegistrationConfirm,
    kRegistrationReject,
    kUnregistrationRequest,
    kUnregistrationConfirm,
    kAdmissionRequest,
    kAdmissionConfirm,
    kLocationRequest,
    kLocationConfirm,
    kInfoRequestResponse,
    kRasAddress,
    kCallSignalAddress,
    kTimeToLive,  ///< seconds
    // H.245
    kTerminalCapabilitySet,
    kOpenLogicalChannel,
    kOpenLogicalChannelAck,
    kOpenLogicalChannelReject,
    kCloseLogicalChannel,
    kEndSession,
    kChannelNumber,  ///< of the forward channel
    kMediaChannel,
    kMediaControlChannel,
    kT120,              ///< the channel's data type
    kSeparateLanStack,  ///< its protocol, inside of kT120
    kSeparateStack,     ///< its address
};

/// H323-UserInformation: contents of the user-user element of a Q.931 message.
extern const per::Type kUserInformation;
/// RasMessage: a datagram of RAS.
extern const per::Type kRasMessage;
/// MultimediaSystemControlMessage: contents of a TPKT of H.245.
extern const per::Type kControlMessage;
/// Contents of each element of fastStart.
extern const per::Type kFastStartChannel;

}  // namespace postern::h323
