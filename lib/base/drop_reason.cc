// SPDX-License-Identifier: BSD-3-Clause
#include "base/drop_reason.h"

namespace postern {

const std::array<DropReasonInfo, kDropReasons>& drop_reason_table() noexcept {
    static constexpr std::array<DropReasonInfo, kDropReasons> kTable{{
#define X(name, help) {#name, help},
        POSTERN_DROP_REASONS(X)
#undef X
    }};
    return kTable;
}

}  // namespace postern
