// SPDX-License-Identifier: BSD-3-Clause
#include "pipeline/helper_questions.h"

#include <cstring>

namespace postern {

HelperQuestions::HelperQuestions(UserspaceLink& link, WorkerId worker)
    : link_(link), rings_(link.rings(worker)) {
    for (const UserspaceHelper& h : link.helpers())
        settings_[h.id] = &h;
}

void HelperQuestions::message(Direction direction, Bytes bytes) noexcept {
    Asking& a = asking_;
    ++a.messages;
    if (a.mode != Mode::ask) return;
    if (bytes.size() > link_.message_bytes()) {
        a.too_long = true;
        return;
    }
    Question* q = rings_.questions.reserve();
    if (q == nullptr) return;
    q->kind = Question::Kind::message;
    q->helper = a.helper;
    q->direction = direction;
    q->continues = a.asked != 0;
    q->ct_zone = a.ct_zone;
    q->length = static_cast<std::uint16_t>(bytes.size());
    q->number = number_++;
    q->deadline = a.deadline;
    q->conn = a.conn;
    q->original = *a.original;
    std::memcpy(q->state.data(), a.state, q->state.size());
    std::memcpy(q->bytes, bytes.data(), bytes.size());
    rings_.questions.publish();
    ++a.asked;
}

bool HelperQuestions::report_ended(HelperId helper, ConnId conn, CtZone ct_zone,
                                   const Tuple& original, const std::uint8_t* state) noexcept {
    Question* q = rings_.questions.reserve();
    if (q == nullptr) return false;
    q->kind = Question::Kind::ended;
    q->helper = helper;
    q->direction = Direction::original;
    q->continues = false;
    q->ct_zone = ct_zone;
    q->length = 0;
    q->number = number_++;
    q->conn = conn;
    q->original = original;
    std::memcpy(q->state.data(), state, q->state.size());
    rings_.questions.publish();
    return true;
}

}  // namespace postern
