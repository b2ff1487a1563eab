// SPDX-License-Identifier: BSD-3-Clause
#include "h323/schema.h"

namespace postern::h323 {
namespace {

using per::Field;
using per::Kind;
using per::Type;

constexpr bool kOptional = true;
/// A component that is not read; the last one of a list.
constexpr Field kTheRest{};

// --- Both protocols ---------------------------------------------------------------------------

constexpr Type integer(std::uint64_t low, std::uint64_t high) {
    return {.kind = Kind::integer, .low = low, .high = high};
}
constexpr Type octets(std::uint64_t low, std::uint64_t high) {
    return {.kind = Kind::octets, .low = low, .high = high};
}
constexpr Type characters(std::uint64_t low, std::uint64_t high, std::uint8_t bits) {
    return {.kind = Kind::characters, .char_bits = bits, .low = low, .high = high};
}
constexpr Type sequence(std::span<const Field> root) {
    return {.kind = Kind::sequence, .root = root};
}
constexpr Type choice(std::span<const Field> root) {
    return {.kind = Kind::choice, .root = root};
}
/// The same with an extension marker.
constexpr Type sequence_ext(std::span<const Field> root, std::span<const Field> extensions = {}) {
    return {.kind = Kind::sequence, .extensible = true, .root = root, .extensions = extensions};
}
constexpr Type choice_ext(std::span<const Field> root, std::span<const Field> extensions = {}) {
    return {.kind = Kind::choice, .extensible = true, .root = root, .extensions = extensions};
}
constexpr Type list_of(std::span<const Field> element) {
    return {.kind = Kind::sequence_of, .root = element};
}

constexpr Type kNull{.kind = Kind::null};
constexpr Type kBoolean{.kind = Kind::boolean};
constexpr Type kObjectId{.kind = Kind::object_id};
constexpr Type kOctetString{.kind = Kind::octets};
constexpr Type kByte = integer(0, 255);
constexpr Type kByteFrom1 = integer(1, 255);
constexpr Type kWord = integer(0, 65535);
constexpr Type kWordFrom1 = integer(1, 65535);
constexpr Type kDword = integer(0, 4294967295);
constexpr Type kIp4 = octets(4, 4);
constexpr Type kIp6 = octets(16, 16);
constexpr Type kTwoOctets = octets(2, 2);
constexpr Type kSixOctets = octets(6, 6);
constexpr Type kUpTo20Octets = octets(1, 20);
constexpr Type kDigits = characters(1, 128, 4);  // of "0123456789#*,"

constexpr Field kNulls[] = {{&kNull}, {&kNull}, {&kNull}, {&kNull}, {&kNull}, {&kNull},
                            {&kNull}, {&kNull}, {&kNull}, {&kNull}, {&kNull}, {&kNull}};
/// A choice of `n` alternatives without contents.
constexpr Type plain_choice(std::size_t n) {
    return choice(std::span(kNulls).first(n));
}
constexpr Type plain_choice_ext(std::size_t n) {
    return choice_ext(std::span(kNulls).first(n));
}

constexpr Field kIp4List[] = {{&kIp4}};
constexpr Type kRoute = list_of(kIp4List);

// --- H.225.0: common elements -----------------------------------------------------------------

constexpr Field kH221Fields[] = {{&kByte}, {&kByte}, {&kWord}};
constexpr Type kH221 = sequence_ext(kH221Fields);
constexpr Field kIdentifierFields[] = {{&kObjectId}, {&kH221}};
constexpr Type kNonStandardIdentifier = choice_ext(kIdentifierFields);
constexpr Field kNonStandardFields[] = {{&kNonStandardIdentifier}, {&kOctetString}};
constexpr Type kNonStandard = sequence(kNonStandardFields);

constexpr Field kIpAddressFields[] = {{&kIp4, false, kIp}, {&kWord, false, kPort}};
constexpr Type kIpAddress = sequence(kIpAddressFields);
constexpr Field kIp6AddressFields[] = {{&kIp6, false, kIp}, {&kWord, false, kPort}};
constexpr Type kIp6Address = sequence_ext(kIp6AddressFields);
constexpr Type kRouting = plain_choice_ext(2);
constexpr Field kSourceRouteFields[] = {{&kIp4}, {&kWord}, {&kRoute}, {&kRouting}};
constexpr Type kSourceRoute = sequence_ext(kSourceRouteFields);
constexpr Field kIpxFields[] = {{&kSixOctets}, {&kIp4}, {&kTwoOctets}};
constexpr Type kIpx = sequence(kIpxFields);
constexpr Field kTransportFields[] = {{&kIpAddress},  {&kSourceRoute}, {&kIpx},
                                      {&kIp6Address}, {&kIp6},         {&kUpTo20Octets},
                                      {&kNonStandard}};
constexpr Type kTransportAddress = choice_ext(kTransportFields);

constexpr Type kH323Id = characters(1, 256, 16);
constexpr Field kAliasFields[] = {{&kDigits}, {&kH323Id}};
constexpr Type kAlias = choice_ext(kAliasFields);
constexpr Field kAliasList[] = {{&kAlias}};
constexpr Type kAliases = list_of(kAliasList);
constexpr Type kIdentifier = characters(1, 128, 16);  // of gatekeepers and endpoints
constexpr Type kGuid = octets(16, 16);

constexpr Type kProduct = octets(1, 256);
constexpr Field kVendorFields[] = {{&kH221}, {&kProduct, kOptional}, {&kProduct, kOptional}};
constexpr Type kVendor = sequence_ext(kVendorFields);
/// TerminalInfo and others: {nonStandardData OPTIONAL, ...}.
constexpr Field kOnlyNonStandard[] = {{&kNonStandard, kOptional}};
constexpr Type kInfo = sequence_ext(kOnlyNonStandard);
constexpr Field kSupportedFields[] = {{&kNonStandard}, {&kInfo}, {&kInfo}, {&kInfo}, {&kInfo},
                                      {&kInfo},        {&kInfo}, {&kInfo}, {&kInfo}};
constexpr Type kSupported = choice_ext(kSupportedFields);
constexpr Field kSupportedList[] = {{&kSupported}};
constexpr Type kProtocols = list_of(kSupportedList);
constexpr Field kGatewayFields[] = {{&kProtocols, kOptional}, {&kNonStandard, kOptional}};
constexpr Type kGateway = sequence_ext(kGatewayFields);
constexpr Field kEndpointFields[] = {
    {&kNonStandard, kOptional}, {&kVendor, kOptional}, {&kInfo, kOptional}, {&kGateway, kOptional},
    {&kInfo, kOptional},        {&kInfo, kOptional},   {&kBoolean},         {&kBoolean}};
constexpr Type kEndpointType = sequence_ext(kEndpointFields);

constexpr Field kQ954Fields[] = {{&kBoolean}, {&kBoolean}};
constexpr Type kQ954 = sequence_ext(kQ954Fields);
constexpr Field kQseriesFields[] = {{&kBoolean}, {&kBoolean}, {&kBoolean}, {&kBoolean},
                                    {&kBoolean}, {&kBoolean}, {&kBoolean}, {&kQ954}};
constexpr Type kQseries = sequence_ext(kQseriesFields);
constexpr Type kCallType = plain_choice_ext(4);
constexpr Field kCallReferenceList[] = {{&kWord}};
constexpr Type kCallReferences = list_of(kCallReferenceList);
constexpr Field kFastStartList[] = {{&kOctetString, false, kFastStart}};
constexpr Type kFastStarts = list_of(kFastStartList);
constexpr Field kH245ControlList[] = {{&kOctetString, false, kH245Control}};
constexpr Type kH245Controls = list_of(kH245ControlList);

// --- H.225.0: call signalling -----------------------------------------------------------------

constexpr Type kConferenceGoal = plain_choice_ext(3);
constexpr Field kSetupFields[] = {{&kObjectId, false, kProtocol},
                                  {&kTransportAddress, kOptional, kH245Address},
                                  {&kAliases, kOptional},
                                  {&kEndpointType},
                                  {&kAliases, kOptional},
                                  {&kTransportAddress, kOptional},
                                  {&kAliases, kOptional},
                                  {&kCallReferences, kOptional},
                                  {&kBoolean},
                                  {&kGuid},
                                  {&kConferenceGoal},
                                  {&kQseries, kOptional},
                                  {&kCallType}};
constexpr Field kSetupExtensions[] = {{}, {}, {}, {}, {}, {}, {&kFastStarts}};
constexpr Type kSetupUuie = sequence_ext(kSetupFields, kSetupExtensions);

/// At the same position in CallProceeding, Alerting and Connect.
constexpr Field kAnswerExtensions[] = {{}, {}, {}, {}, {&kFastStarts}};
constexpr Field kProceedingFields[] = {
    {&kObjectId}, {&kEndpointType}, {&kTransportAddress, kOptional, kH245Address}};
constexpr Type kProceedingUuie = sequence_ext(kProceedingFields, kAnswerExtensions);
constexpr Field kConnectFields[] = {
    {&kObjectId}, {&kTransportAddress, kOptional, kH245Address}, {&kEndpointType}, {&kGuid}};
constexpr Type kConnectUuie = sequence_ext(kConnectFields, kAnswerExtensions);

constexpr Field kInformationFields[] = {{&kObjectId}};
constexpr Type kInformationUuie = sequence_ext(kInformationFields);
constexpr Type kReleaseReason = plain_choice_ext(12);
constexpr Field kReleaseFields[] = {{&kObjectId}, {&kReleaseReason, kOptional}};
constexpr Type kReleaseUuie = sequence_ext(kReleaseFields);

constexpr Field kFacilityReasonFields[] = {
    {&kNull}, {&kNull, false, kCallForwarded}, {&kNull}, {&kNull}};
constexpr Type kFacilityReason = choice_ext(kFacilityReasonFields);
constexpr Field kFacilityFields[] = {{&kObjectId},
                                     {&kTransportAddress, kOptional, kAlternativeAddress},
                                     {&kAliases, kOptional},
                                     {&kGuid, kOptional},
                                     {&kFacilityReason}};
constexpr Field kFacilityExtensions[] = {
    {}, {}, {}, {}, {}, {}, {&kTransportAddress, false, kH245Address}, {&kFastStarts}};
constexpr Type kFacilityUuie = sequence_ext(kFacilityFields, kFacilityExtensions);

constexpr Field kCallIdFields[] = {{&kGuid}};
constexpr Type kCallId = sequence_ext(kCallIdFields);
constexpr Field kSecurityModeFields[] = {{&kNonStandard}, {&kNull}, kTheRest, kTheRest};
constexpr Type kSecurityMode = choice_ext(kSecurityModeFields);
/// Here security tokens precede fastStart, and are not extensions. They are not read, so a message
/// with tokens opens h245Address only.
constexpr Field kProgressFields[] = {{&kObjectId},
                                     {&kEndpointType},
                                     {&kTransportAddress, kOptional, kH245Address},
                                     {&kCallId},
                                     {&kSecurityMode, kOptional},
                                     {nullptr, kOptional},
                                     {nullptr, kOptional},
                                     {&kFastStarts, kOptional}};
constexpr Type kProgressUuie = sequence_ext(kProgressFields);

constexpr Field kBodyFields[] = {{&kSetupUuie, false, kSetup},
                                 {&kProceedingUuie, false, kCallProceeding},
                                 {&kConnectUuie, false, kConnect},
                                 {&kProceedingUuie, false, kAlerting},
                                 {&kInformationUuie},
                                 {&kReleaseUuie, false, kReleaseComplete},
                                 {&kFacilityUuie, false, kFacility}};
constexpr Field kBodyExtensions[] = {{&kProgressUuie, false, kProgress}};
constexpr Type kBody = choice_ext(kBodyFields, kBodyExtensions);
constexpr Field kPduFields[] = {{&kBody}, {&kNonStandard, kOptional}};
constexpr Field kPduExtensions[] = {{}, {}, {&kH245Controls}};
constexpr Type kPdu = sequence_ext(kPduFields, kPduExtensions);
constexpr Field kUserInformationFields[] = {{&kPdu}, {nullptr, kOptional}};

// --- H.225.0: RAS -----------------------------------------------------------------------------

constexpr Field kRasAddressList[] = {{&kTransportAddress, false, kRasAddress}};
constexpr Type kRasAddresses = list_of(kRasAddressList);
constexpr Field kSignalAddressList[] = {{&kTransportAddress, false, kCallSignalAddress}};
constexpr Type kSignalAddresses = list_of(kSignalAddressList);
constexpr Type kTtl = integer(1, 4294967295);
constexpr Type kCallModel = plain_choice_ext(2);

constexpr Field kGrqFields[] = {{&kWordFrom1},
                                {&kObjectId},
                                {&kNonStandard, kOptional},
                                {&kTransportAddress, false, kRasAddress},
                                {&kEndpointType},
                                {&kIdentifier, kOptional},
                                {&kQseries, kOptional},
                                {&kAliases, kOptional}};
constexpr Type kGrq = sequence_ext(kGrqFields);
constexpr Field kGcfFields[] = {{&kWordFrom1},
                                {&kObjectId},
                                {&kNonStandard, kOptional},
                                {&kIdentifier, kOptional},
                                {&kTransportAddress, false, kRasAddress}};
constexpr Type kGcf = sequence_ext(kGcfFields);
/// alternateEndpoints of a request, alternateGatekeeper of a confirmation; then timeToLive.
constexpr Field kTtlExtensions[] = {{}, {&kTtl, false, kTimeToLive}};
constexpr Field kRrqFields[] = {
    {&kWordFrom1},    {&kObjectId},           {&kNonStandard, kOptional},
    {&kBoolean},      {&kSignalAddresses},    {&kRasAddresses},
    {&kEndpointType}, {&kAliases, kOptional}, {&kIdentifier, kOptional},
    {&kVendor}};
constexpr Type kRrq = sequence_ext(kRrqFields, kTtlExtensions);
constexpr Field kRcfFields[] = {
    {&kWordFrom1},       {&kObjectId},           {&kNonStandard, kOptional},
    {&kSignalAddresses}, {&kAliases, kOptional}, {&kIdentifier, kOptional},
    {&kIdentifier}};
constexpr Type kRcf = sequence_ext(kRcfFields, kTtlExtensions);
constexpr Field kUrqFields[] = {{&kWordFrom1},
                                {&kSignalAddresses},
                                {&kAliases, kOptional},
                                {&kNonStandard, kOptional},
                                {&kIdentifier, kOptional}};
constexpr Type kUrq = sequence_ext(kUrqFields);
constexpr Field kUcfFields[] = {{&kWordFrom1}, {&kNonStandard, kOptional}};
constexpr Type kUcf = sequence_ext(kUcfFields);
constexpr Field kArqFields[] = {{&kWordFrom1},
                                {&kCallType},
                                {&kCallModel, kOptional},
                                {&kIdentifier},
                                {&kAliases, kOptional},
                                {&kTransportAddress, kOptional, kCallSignalAddress},
                                {&kAliases, kOptional},
                                {&kAliases},
                                {&kTransportAddress, kOptional, kCallSignalAddress},
                                {&kDword},
                                {&kWord},
                                {&kNonStandard, kOptional},
                                {&kQseries, kOptional},
                                {&kGuid},
                                {&kBoolean},
                                {&kBoolean}};
constexpr Type kArq = sequence_ext(kArqFields);
constexpr Field kAcfFields[] = {{&kWordFrom1},
                                {&kDword},
                                {&kCallModel},
                                {&kTransportAddress, false, kCallSignalAddress},
                                {&kWordFrom1, kOptional},
                                {&kNonStandard, kOptional}};
constexpr Type kAcf = sequence_ext(kAcfFields);
constexpr Field kLrqFields[] = {{&kWordFrom1},
                                {&kIdentifier, kOptional},
                                {&kAliases},
                                {&kNonStandard, kOptional},
                                {&kTransportAddress, false, kRasAddress}};
constexpr Type kLrq = sequence_ext(kLrqFields);
constexpr Field kLcfFields[] = {{&kWordFrom1},
                                {&kTransportAddress, false, kCallSignalAddress},
                                {&kTransportAddress, false, kRasAddress},
                                {&kNonStandard, kOptional}};
constexpr Type kLcf = sequence_ext(kLcfFields);
constexpr Field kIrrFields[] = {{&kNonStandard, kOptional},
                                {&kWordFrom1},
                                {&kEndpointType},
                                {&kIdentifier},
                                {&kTransportAddress, false, kRasAddress},
                                {&kSignalAddresses},
                                {&kAliases, kOptional},
                                {nullptr, kOptional}};
constexpr Type kIrr = sequence_ext(kIrrFields);

constexpr Field kRasFields[] = {{&kGrq, false, kGatekeeperRequest},
                                {&kGcf, false, kGatekeeperConfirm},
                                kTheRest,  // GRJ
                                {&kRrq, false, kRegistrationRequest},
                                {&kRcf, false, kRegistrationConfirm},
                                {nullptr, false, kRegistrationReject},
                                {&kUrq, false, kUnregistrationRequest},
                                {&kUcf, false, kUnregistrationConfirm},
                                kTheRest,  // URJ
                                {&kArq, false, kAdmissionRequest},
                                {&kAcf, false, kAdmissionConfirm},
                                kTheRest,  // ARJ
                                kTheRest,  // BRQ
                                kTheRest,  // BCF
                                kTheRest,  // BRJ
                                kTheRest,  // DRQ
                                kTheRest,  // DCF
                                kTheRest,  // DRJ
                                {&kLrq, false, kLocationRequest},
                                {&kLcf, false, kLocationConfirm},
                                kTheRest,  // LRJ
                                kTheRest,  // IRQ
                                {&kIrr, false, kInfoRequestResponse},
                                kTheRest,   // NonStandardMessage
                                kTheRest};  // UnknownMessageResponse

// --- H.245: common elements -------------------------------------------------------------------

constexpr Type kH221Plain = sequence(kH221Fields);
constexpr Field kPlainIdentifierFields[] = {{&kObjectId}, {&kH221Plain}};
constexpr Type kPlainIdentifier = choice(kPlainIdentifierFields);
constexpr Field kNonStandardPlainFields[] = {{&kPlainIdentifier}, {&kOctetString}};
constexpr Type kNonStandardPlain = sequence(kNonStandardPlainFields);
constexpr Field kNonStandardPlainList[] = {{&kNonStandardPlain}};
constexpr Type kNonStandardsPlain = list_of(kNonStandardPlainList);

constexpr Type kUnicastIp4 = sequence_ext(kIpAddressFields);
constexpr Type kUnicastIp6 = sequence_ext(kIp6AddressFields);
constexpr Type kUnicastIpx = sequence_ext(kIpxFields);
constexpr Type kUnicastRouting = plain_choice(2);
constexpr Field kUnicastRouteFields[] = {{&kUnicastRouting}, {&kIp4}, {&kWord}, {&kRoute}};
constexpr Type kUnicastRoute = sequence_ext(kUnicastRouteFields);
constexpr Field kUnicastFields[] = {
    {&kUnicastIp4}, {&kUnicastIpx}, {&kUnicastIp6}, {&kIp6}, {&kUnicastRoute}};
constexpr Type kUnicast = choice_ext(kUnicastFields);
constexpr Field kMulticastIp4Fields[] = {{&kIp4}, {&kWord}};
constexpr Type kMulticastIp4 = sequence_ext(kMulticastIp4Fields);
constexpr Field kMulticastIp6Fields[] = {{&kIp6}, {&kWord}};
constexpr Type kMulticastIp6 = sequence_ext(kMulticastIp6Fields);
constexpr Field kMulticastFields[] = {{&kMulticastIp4}, {&kMulticastIp6}};
constexpr Type kMulticast = choice_ext(kMulticastFields);
constexpr Field kMediaAddressFields[] = {{&kUnicast}, {&kMulticast}};
constexpr Type kMediaAddress = choice_ext(kMediaAddressFields);

// --- H.245: contents of a channel -------------------------------------------------------------

constexpr Type kFrames = integer(1, 256);
constexpr Type kPictureInterval = integer(1, 32);
constexpr Type kH261Interval = integer(1, 4);
constexpr Type kH261Rate = integer(1, 19200);
constexpr Field kH261Fields[] = {{&kH261Interval, kOptional},
                                 {&kH261Interval, kOptional},
                                 {&kBoolean},
                                 {&kH261Rate},
                                 {&kBoolean}};
constexpr Type kH261 = sequence_ext(kH261Fields);
constexpr Type kVideoRate = integer(0, 1073741823);
constexpr Type kVideoBuffer = integer(0, 262143);
constexpr Type kLines = integer(0, 16383);
constexpr Type kFrameRate = integer(0, 15);
constexpr Field kH262Fields[] = {{&kBoolean},
                                 {&kBoolean},
                                 {&kBoolean},
                                 {&kBoolean},
                                 {&kBoolean},
                                 {&kBoolean},
                                 {&kBoolean},
                                 {&kBoolean},
                                 {&kBoolean},
                                 {&kBoolean},
                                 {&kBoolean},
                                 {&kVideoRate, kOptional},
                                 {&kVideoBuffer, kOptional},
                                 {&kLines, kOptional},
                                 {&kLines, kOptional},
                                 {&kFrameRate, kOptional},
                                 {&kDword, kOptional}};
constexpr Type kH262 = sequence_ext(kH262Fields);
constexpr Type kH263Rate = integer(1, 192400);
constexpr Type kH263Buffer = integer(0, 524287);
constexpr Field kH263Fields[] = {{&kPictureInterval, kOptional},
                                 {&kPictureInterval, kOptional},
                                 {&kPictureInterval, kOptional},
                                 {&kPictureInterval, kOptional},
                                 {&kPictureInterval, kOptional},
                                 {&kH263Rate},
                                 {&kBoolean},
                                 {&kBoolean},
                                 {&kBoolean},
                                 {&kBoolean},
                                 {&kBoolean},
                                 {&kH263Buffer, kOptional},
                                 {&kWord, kOptional}};
constexpr Type kH263 = sequence_ext(kH263Fields);
constexpr Field kIs11172VideoFields[] = {
    {&kBoolean},          {&kVideoRate, kOptional}, {&kVideoBuffer, kOptional},
    {&kLines, kOptional}, {&kLines, kOptional},     {&kFrameRate, kOptional},
    {&kDword, kOptional}};
constexpr Type kIs11172Video = sequence_ext(kIs11172VideoFields);
constexpr Field kVideoFields[] = {
    {&kNonStandardPlain}, {&kH261}, {&kH262}, {&kH263}, {&kIs11172Video}};
constexpr Type kVideo = choice_ext(kVideoFields);

constexpr Field kG7231Fields[] = {{&kFrames}, {&kBoolean}};
constexpr Type kG7231 = sequence(kG7231Fields);
constexpr Type kIs11172Rate = integer(1, 448);
constexpr Field kIs11172AudioFields[] = {{&kBoolean}, {&kBoolean}, {&kBoolean},
                                         {&kBoolean}, {&kBoolean}, {&kBoolean},
                                         {&kBoolean}, {&kBoolean}, {&kIs11172Rate}};
constexpr Type kIs11172Audio = sequence_ext(kIs11172AudioFields);
constexpr Type kIs13818Rate = integer(1, 1130);
constexpr Field kIs13818Fields[] = {
    {&kBoolean}, {&kBoolean}, {&kBoolean}, {&kBoolean}, {&kBoolean}, {&kBoolean}, {&kBoolean},
    {&kBoolean}, {&kBoolean}, {&kBoolean}, {&kBoolean}, {&kBoolean}, {&kBoolean}, {&kBoolean},
    {&kBoolean}, {&kBoolean}, {&kBoolean}, {&kBoolean}, {&kBoolean}, {&kBoolean}, {&kIs13818Rate}};
constexpr Type kIs13818 = sequence_ext(kIs13818Fields);
constexpr Field kAudioFields[] = {
    {&kNonStandardPlain}, {&kFrames}, {&kFrames},       {&kFrames}, {&kFrames},
    {&kFrames},           {&kFrames}, {&kFrames},       {&kG7231},  {&kFrames},
    {&kFrames},           {&kFrames}, {&kIs11172Audio}, {&kIs13818}};
constexpr Type kAudio = choice_ext(kAudioFields);

constexpr Field kDataProtocolFields[] = {
    {&kNonStandardPlain}, {&kNull}, {&kNull}, {&kNull}, {&kNull}, {&kNull}, {&kNull}};
constexpr Field kDataProtocolExtensions[] = {{}, {}, {}, {&kNull, false, kSeparateLanStack}};
constexpr Type kDataProtocol = choice_ext(kDataProtocolFields, kDataProtocolExtensions);
constexpr Field kT84Flags[] = {{&kBoolean}, {&kBoolean}, {&kBoolean}, {&kBoolean}, {&kBoolean},
                               {&kBoolean}, {&kBoolean}, {&kBoolean}, {&kBoolean}, {&kBoolean},
                               {&kBoolean}, {&kBoolean}, {&kBoolean}, {&kBoolean}, {&kBoolean},
                               {&kBoolean}, {&kBoolean}, {&kBoolean}, {&kBoolean}};
constexpr Type kT84Restricted = sequence_ext(kT84Flags);
constexpr Field kT84ProfileFields[] = {{&kNull}, {&kT84Restricted}};
constexpr Type kT84Profile = choice(kT84ProfileFields);
constexpr Field kT84Fields[] = {{&kDataProtocol}, {&kT84Profile}};
constexpr Type kT84 = sequence(kT84Fields);
constexpr Field kNlpidFields[] = {{&kDataProtocol}, {&kOctetString}};
constexpr Type kNlpid = sequence(kNlpidFields);
constexpr Field kApplicationFields[] = {{&kNonStandardPlain},
                                        {&kDataProtocol, false, kT120},
                                        {&kDataProtocol},
                                        {&kDataProtocol},
                                        {&kT84},
                                        {&kDataProtocol},
                                        {&kDataProtocol},
                                        {&kNlpid},
                                        {&kNull},
                                        {&kDataProtocol}};
constexpr Type kApplication = choice_ext(kApplicationFields);
constexpr Field kDataFields[] = {{&kApplication}, {&kDword}};
constexpr Type kData = sequence_ext(kDataFields);
constexpr Field kEncryptionFields[] = {{&kNonStandardPlain}, {&kNull}};
constexpr Type kEncryption = choice_ext(kEncryptionFields);
constexpr Field kDataTypeFields[] = {{&kNonStandardPlain}, {&kNull}, {&kVideo}, {&kAudio}, {&kData},
                                     {&kEncryption}};
constexpr Type kDataType = choice_ext(kDataTypeFields);

// --- H.245: logical channels ------------------------------------------------------------------

constexpr Type kTerminal = integer(0, 192);
constexpr Field kTerminalFields[] = {{&kTerminal}, {&kTerminal}};
constexpr Type kTerminalLabel = sequence_ext(kTerminalFields);
constexpr Type kPayloadType = integer(96, 127);
constexpr Type kPacketization = plain_choice_ext(1);
constexpr Field kH2250Fields[] = {
    {&kNonStandardsPlain, kOptional}, {&kByte},
    {&kByteFrom1, kOptional},         {&kMediaAddress, kOptional, kMediaChannel},
    {&kBoolean, kOptional},           {&kMediaAddress, kOptional, kMediaControlChannel},
    {&kBoolean, kOptional},           {&kBoolean, kOptional},
    {&kTerminalLabel, kOptional},     {&kPayloadType, kOptional},
    {&kPacketization, kOptional}};
constexpr Type kH2250 = sequence_ext(kH2250Fields);
constexpr Field kH2250Extension[] = {{&kH2250}};
constexpr Field kH2250AckFields[] = {{&kNonStandardsPlain, kOptional},
                                     {&kByteFrom1, kOptional},
                                     {&kMediaAddress, kOptional, kMediaChannel},
                                     {&kMediaAddress, kOptional, kMediaControlChannel},
                                     {&kPayloadType, kOptional}};
constexpr Type kH2250Ack = sequence_ext(kH2250AckFields);

// Multiplexes other than that of H.323 (H.222, H.223, V.76) have no addresses.
constexpr Field kOtherMultiplexes[] = {kTheRest, kTheRest, kTheRest};
constexpr Type kForwardMultiplex = choice_ext(kOtherMultiplexes, kH2250Extension);
constexpr Type kReverseMultiplex =
    choice_ext(std::span(kOtherMultiplexes).first(2), kH2250Extension);
constexpr Type kReverseAckMultiplex =
    choice_ext(std::span(kOtherMultiplexes).first(1), kH2250Extension);
constexpr Field kForwardAckFields[] = {{&kH2250Ack}};
constexpr Type kForwardAckMultiplex = choice_ext(kForwardAckFields);

constexpr Type kNumericString = characters(1, 16, 4);
constexpr Field kQ2931NumberFields[] = {{&kNumericString}, {&kUpTo20Octets}};
constexpr Type kQ2931Number = choice_ext(kQ2931NumberFields);
constexpr Field kQ2931Fields[] = {{&kQ2931Number}, {&kUpTo20Octets, kOptional}};
constexpr Type kQ2931 = sequence_ext(kQ2931Fields);
constexpr Field kNetworkFields[] = {{&kQ2931}, {&kDigits}, {&kMediaAddress, false, kSeparateStack}};
constexpr Type kNetwork = choice_ext(kNetworkFields);
constexpr Type kDistribution = plain_choice_ext(2);
constexpr Type kReference = octets(1, 255);
constexpr Field kAccessFields[] = {
    {&kDistribution, kOptional}, {&kNetwork}, {&kBoolean}, {&kReference, kOptional}};
constexpr Type kAccess = sequence_ext(kAccessFields);

constexpr Field kForwardFields[] = {{&kWord, kOptional}, {&kDataType}, {&kForwardMultiplex}};
constexpr Type kForward = sequence_ext(kForwardFields);
constexpr Field kReverseFields[] = {{&kDataType}, {&kReverseMultiplex, kOptional}};
constexpr Type kReverse = sequence_ext(kReverseFields);
constexpr Field kOpenFields[] = {
    {&kWordFrom1, false, kChannelNumber}, {&kForward}, {&kReverse, kOptional}};
constexpr Field kOpenExtensions[] = {{&kAccess}};
constexpr Field kReverseAckFields[] = {
    {&kWordFrom1}, {&kWord, kOptional}, {&kReverseAckMultiplex, kOptional}};
constexpr Type kReverseAck = sequence_ext(kReverseAckFields);
constexpr Field kOpenAckFields[] = {{&kWordFrom1, false, kChannelNumber},
                                    {&kReverseAck, kOptional}};
constexpr Field kOpenAckExtensions[] = {{&kAccess}, {&kForwardAckMultiplex}};
constexpr Type kOpenAck = sequence_ext(kOpenAckFields, kOpenAckExtensions);
/// OpenLogicalChannelReject and CloseLogicalChannel: only the channel matters.
constexpr Field kChannelFields[] = {{&kWordFrom1, false, kChannelNumber}, kTheRest};
constexpr Type kChannel = sequence_ext(kChannelFields);

constexpr Field kCapabilitySetFields[] = {{&kByte},
                                          {&kObjectId, false, kProtocol},
                                          {nullptr, kOptional},
                                          {nullptr, kOptional},
                                          {nullptr, kOptional}};
constexpr Type kCapabilitySet = sequence_ext(kCapabilitySetFields);

constexpr Field kRequestFields[] = {kTheRest,  // NonStandard
                                    kTheRest,  // MasterSlaveDetermination
                                    {&kCapabilitySet, false, kTerminalCapabilitySet},
                                    {&kFastStartChannel, false, kOpenLogicalChannel},
                                    {&kChannel, false, kCloseLogicalChannel},
                                    kTheRest,   // RequestChannelClose
                                    kTheRest,   // MultiplexEntrySend
                                    kTheRest,   // RequestMultiplexEntry
                                    kTheRest,   // RequestMode
                                    kTheRest,   // RoundTripDelayRequest
                                    kTheRest};  // MaintenanceLoopRequest
constexpr Type kRequest = choice_ext(kRequestFields);
constexpr Field kResponseFields[] = {kTheRest,
                                     kTheRest,
                                     kTheRest,
                                     kTheRest,
                                     kTheRest,
                                     {&kOpenAck, false, kOpenLogicalChannelAck},
                                     {&kChannel, false, kOpenLogicalChannelReject},
                                     kTheRest,
                                     kTheRest,
                                     kTheRest,
                                     kTheRest,
                                     kTheRest,
                                     kTheRest,
                                     kTheRest,
                                     kTheRest,
                                     kTheRest,
                                     kTheRest,
                                     kTheRest,
                                     kTheRest};
constexpr Type kResponse = choice_ext(kResponseFields);
constexpr Field kCommandFields[] = {
    kTheRest, kTheRest, kTheRest, kTheRest, kTheRest, {nullptr, false, kEndSession}, kTheRest};
constexpr Type kCommand = choice_ext(kCommandFields);
constexpr Field kControlFields[] = {{&kRequest}, {&kResponse}, {&kCommand}, kTheRest};

}  // namespace

constinit const Type kUserInformation = sequence_ext(kUserInformationFields);
constinit const Type kRasMessage = choice_ext(kRasFields);
constinit const Type kFastStartChannel = sequence_ext(kOpenFields, kOpenExtensions);
constinit const Type kControlMessage = choice_ext(kControlFields);

}  // namespace postern::h323
